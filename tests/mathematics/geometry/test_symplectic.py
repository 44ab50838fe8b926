import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.geometry.symplectic import (
    SymplecticForm,
    lagrangian_defect,
    standard_matrix,
    symplectic_defect,
    symplectic_projection,
)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def magnetic(z):
    """dq_i ^ dp_i + B(q) dq_1 ^ dq_2 on R^4: closed, since B depends on q alone."""
    field = 1 + z[..., 0].square() * z[..., 1].cos()
    corner = torch.zeros(4, 4, dtype=z.dtype)
    corner[0, 1], corner[1, 0] = 1, -1
    return standard_matrix(2, z.dtype) + field[..., None, None] * corner


def twisted(z):
    """Nondegenerate and not closed: B depends on p."""
    return magnetic(torch.cat([z[..., 2:3], z[..., 1:]], -1))


def exact(z):
    """d theta of theta_i = z_i z_(i+1)^2 + the standard one, with many entries that change."""

    def theta(z):
        j = standard_matrix(z.shape[-1] // 2, z.dtype)
        return 0.1 * z * z.roll(-1, -1).square() + z @ j / 2

    slopes = torch.func.vmap(torch.func.jacrev(theta))(z.reshape(-1, z.shape[-1]))
    slopes = slopes.view(*z.shape, z.shape[-1])
    return slopes.mT - slopes


FORMS = {
    "standard": (SymplecticForm.standard(2), 4),
    "magnetic": (SymplecticForm(magnetic), 4),
    "exact": (SymplecticForm(exact), 4),
    "large": (SymplecticForm.standard(5), 10),
}


def functions(width):
    a = random(3, width, width)
    return [
        lambda z, a=a, k=k: (z @ a[k]).sin().sum(-1) + torch.einsum("...i,ij,...j->...", z, a[k], z)
        for k in range(3)
    ]


def momentum(z):
    return torch.linalg.cross(z[..., :3], z[..., 3:])


def test_golden_bracket_of_angular_momenta():
    """{Lx, Ly} = Lz, and in circles."""
    form, z = SymplecticForm.standard(3), random(7, 6)
    for k in range(3):
        first, second = (lambda z, i=i: momentum(z)[..., i] for i in (k, (k + 1) % 3))
        found = form.poisson_bracket(first, second)(z)
        torch.testing.assert_close(found, momentum(z)[..., (k + 2) % 3], rtol=0, atol=1e-14)


def test_a_central_force_keeps_angular_momentum():
    """Noether: {H, Lz} = 0 of H = p^2 / 2 - 1 / |q|, and not of a force that is not central."""
    form, z = SymplecticForm.standard(3), random(5, 6)

    def energy(z, weights):
        return z[..., 3:].square().sum(-1) / 2 - 1 / (weights * z[..., :3].square()).sum(-1).sqrt()

    for weights, kept in (([1.0, 1, 1], True), ([1.0, 2, 1], False)):
        weights = torch.tensor(weights, dtype=torch.float64)
        found = form.poisson_bracket(
            lambda z, w=weights: energy(z, w), lambda z: momentum(z)[..., 2]
        )(z)
        assert bool((found.abs() < 1e-12).all()) is kept


def test_fields_of_the_standard_form_are_hamiltons_equations():
    form, z = SymplecticForm.standard(1), random(6, 2)
    field = form.hamiltonian_field(lambda z: z[..., 1].square() / 2 - z[..., 0].cos())
    expected = torch.stack([z[:, 1], -z[:, 0].sin()], -1)
    torch.testing.assert_close(field(z), expected, rtol=0, atol=1e-15)
    position, speed = (lambda z: z[..., 0]), (lambda z: z[..., 1])
    assert form.poisson_bracket(position, speed)(z).tolist() == [1.0] * 6


def test_a_magnetic_form_gives_the_lorentz_force():
    z = random(4, 4)
    field = SymplecticForm(magnetic).hamiltonian_field(lambda z: z[..., 2:].square().sum(-1) / 2)(z)
    strength = magnetic(z)[:, 0, 1]
    force = strength[:, None] * torch.stack([-z[:, 3], z[:, 2]], -1)
    torch.testing.assert_close(field, torch.cat([z[:, 2:], force], -1), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("form", "width"), FORMS.values(), ids=FORMS)
def test_laws_of_symplectic_forms(form, width):
    z = random(3, width)
    form.check(z)
    u, v = random(3, width), random(3, width)
    torch.testing.assert_close(form(z, u, v), -form(z, v, u), rtol=0, atol=1e-13)
    f, g, h = functions(width)
    field = form.hamiltonian_field(f)(z)
    slope = torch.func.jvp(f, (z,), (v,))[1]
    torch.testing.assert_close(form(z, field, v), slope)  # omega(X_f, .) = df
    bracket = form.poisson_bracket
    torch.testing.assert_close(bracket(f, g)(z), -bracket(g, f)(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bracket(f, g)(z), form(z, field, form.hamiltonian_field(g)(z)))
    product = bracket(f, lambda z: g(z) * h(z))(z)
    leibniz = bracket(f, g)(z) * h(z) + g(z) * bracket(f, h)(z)
    torch.testing.assert_close(product, leibniz)
    turns = [bracket(a, bracket(b, c))(z) for a, b, c in ((f, g, h), (g, h, f), (h, f, g))]
    assert float(sum(turns).abs().max()) < 1e-11 * float(torch.stack(turns).abs().max())
    frame = form.darboux_frame(z)
    j = standard_matrix(width // 2).expand(3, width, width)
    torch.testing.assert_close(frame.mT @ form.matrix(z) @ frame, j, rtol=0, atol=1e-13)
    rows = torch.stack([form.darboux_frame(row) for row in z])
    assert torch.equal(rows, frame)


def test_jacobi_fails_where_a_form_is_not_closed():
    form, z = SymplecticForm(twisted), random(3, 4)
    f, g, h = functions(4)
    bracket = form.poisson_bracket
    turns = [bracket(a, bracket(b, c))(z) for a, b, c in ((f, g, h), (g, h, f), (h, f, g))]
    assert float(sum(turns).abs().max()) > 1e-2
    derivative = form.exterior_derivative(z)
    torch.testing.assert_close(derivative, -derivative.transpose(-1, -2))
    torch.testing.assert_close(derivative[:, 2, 0, 1], 2 * z[:, 2] * z[:, 1].cos())
    with pytest.raises(ArgumentError, match="matrix: got d omega with an entry of"):
        form.check(z)


def symplectic(*batch, half=3):
    """exp(J S) of symmetric S."""
    s = random(*batch, 2 * half, 2 * half)
    return torch.linalg.matrix_exp(0.3 * standard_matrix(half) @ (s + s.mT))


def test_projection_keeps_symplectic_matrices_and_makes_others_symplectic():
    matrices = symplectic(4)
    assert float(symplectic_defect(matrices).max()) < 1e-12
    torch.testing.assert_close(symplectic_projection(matrices), matrices, rtol=0, atol=1e-12)
    near = matrices + 0.02 * random(4, 6, 6)
    found = symplectic_projection(near)
    assert float(symplectic_defect(near).min()) > 1e-2
    assert float(symplectic_defect(found).max()) < 1e-12
    assert float((found - near).abs().max()) < 0.5
    rows = torch.stack([symplectic_projection(row) for row in near])
    torch.testing.assert_close(rows, found)
    # It goes along with changes of basis: S(A M B) = A S(M) B of symplectic A and B.
    a, b = symplectic(2)
    torch.testing.assert_close(symplectic_projection(a @ near @ b), a @ found @ b)
    torch.testing.assert_close(symplectic_projection(3 * matrices), matrices)


def test_flows_of_hamiltonian_fields_are_symplectic():
    """Leapfrog of the pendulum, and not Euler's method."""

    def kick(z, h):
        return torch.stack([z[..., 0], z[..., 1] - h * z[..., 0].sin()], -1)

    def drift(z, h):
        return torch.stack([z[..., 0] + h * z[..., 1], z[..., 1]], -1)

    def euler(z):
        return z + 0.1 * torch.stack([z[..., 1], -z[..., 0].sin()], -1)

    jacobian = torch.func.jacfwd(lambda z: kick(drift(kick(z, 0.05), 0.1), 0.05))(random(2))
    assert float(symplectic_defect(jacobian)) < 2e-16
    assert float(symplectic_defect(torch.func.jacfwd(euler)(random(2)))) > 1e-3


def test_graphs_of_symmetric_matrices_are_lagrangian():
    s = random(5, 3, 3)
    unit = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    assert float(lagrangian_defect(torch.cat([unit, s + s.mT], -2)).max()) < 1e-14
    assert float(lagrangian_defect(torch.cat([unit, s], -2)).min()) > 1e-2
    plane = torch.zeros(4, 2, dtype=torch.float64)
    plane[0, 0] = plane[2, 1] = 1  # q_1 and p_1
    assert float(lagrangian_defect(plane)) == pytest.approx(1)
    moved = symplectic() @ torch.cat([unit[0], s[0] + s[0].mT], -2)
    assert float(lagrangian_defect(moved)) < 1e-12


def test_gradcheck():
    z = random(2, 4).requires_grad_()
    form = SymplecticForm(magnetic)
    f, g, _ = functions(4)
    for function in (form.hamiltonian_field(f), form.poisson_bracket(f, g), form.darboux_frame):
        assert torch.autograd.gradcheck(function, z, fast_mode=True)
    assert torch.autograd.gradgradcheck(form.poisson_bracket(f, g), z, fast_mode=True)
    near = (symplectic(2, half=2) + 0.05 * random(2, 4, 4)).requires_grad_()
    assert torch.autograd.gradcheck(symplectic_projection, near, fast_mode=True)


def test_float32_stays_float32():
    z = random(3, 4).float()
    assert SymplecticForm.standard(2).darboux_frame(z).dtype == torch.float32
    found = symplectic_projection(symplectic(3).float() + 0.01)
    assert float(symplectic_defect(found).max()) < 1e-4


Z = random(2, 4)
MISUSED = {
    "no positions": (lambda: SymplecticForm.standard(0), "half: got 0"),
    "odd width": (
        lambda: SymplecticForm.standard(2).check(Z[:, :3]),
        r"z: got points \[2, 3\] with a form of shape \[2, 4, 4\]",
    ),
    "NaN": (lambda: SymplecticForm(magnetic).check(Z * math.nan), "z: got NaN or infinity"),
    "symmetric part": (
        lambda: SymplecticForm(lambda z: magnetic(z) + torch.eye(4)).check(Z),
        "matrix: got 2 from antisymmetric",
    ),
    "degenerate": (
        lambda: SymplecticForm(lambda z: 0 * magnetic(z)).check(Z),
        "matrix: got a condition number of",
    ),
    "degenerate frame": (
        lambda: SymplecticForm(lambda z: 0 * magnetic(z)).darboux_frame(Z),
        "matrix: got a degenerate form",
    ),
    "odd matrix": (lambda: symplectic_defect(random(3, 3)), r"matrix: got shape \[3, 3\]"),
    "NaN matrix": (lambda: symplectic_defect(random(2, 2) * math.nan), "matrix: got NaN"),
    "singular matrix": (
        lambda: symplectic_projection(torch.zeros(2, 2)),
        "matrix: got a singular matrix",
    ),
    "wide frame": (lambda: lagrangian_defect(random(4, 3)), r"frame: got shape \[4, 3\]"),
    "frame of one direction": (
        lambda: lagrangian_defect(torch.ones(4, 2)),
        "columns that depend on each other",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()


def test_no_points_are_no_error():
    form, none = SymplecticForm.standard(2), torch.zeros(0, 4)
    form.check(none)
    assert form.darboux_frame(none).shape == (0, 4, 4)
    assert symplectic_projection(form.matrix(none)).shape == (0, 4, 4)


def test_matrices_too_far_from_symplectic_are_told():
    with pytest.raises(CorrectnessError, match="no symplectic factor after 30 iterations"):
        symplectic_projection(torch.diag(torch.tensor([2.0, -0.3], dtype=torch.float64)))
