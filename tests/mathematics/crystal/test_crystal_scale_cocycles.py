import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ISING_CRITICAL_COUPLING,
    FixedPoint,
    ScaleCohomology,
    box_dimension,
    fixed_point,
    free_energy,
    invariant_ratio,
    ising_decimation,
    ising_decimation_inhomogeneity,
    migdal_kadanoff,
    migdal_kadanoff_inhomogeneity,
    onsager_free_energy,
    power_law,
    regular_free_energy,
    scale_cocycle,
    scaling_fields,
    spontaneous_magnetisation,
)
from adaptive_attention_tiling.mathematics.crystal.carleman import (
    carleman_matrix,
    monomials,
    taylor_series,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def decimated(k):
    return ising_decimation_inhomogeneity(k)[..., 0]


def moved(k):
    return migdal_kadanoff_inhomogeneity(k)[..., 0]


CRITICAL = fixed_point(migdal_kadanoff, real([0.3]))


def mixing(k):
    x, y = k.unbind(-1)
    return torch.stack([1.9 * x + 0.3 * y + 0.4 * x * y, 0.6 * y - 0.2 * x**2 + 0.1 * y**2], -1)


def test_golden_free_energy_of_the_ising_chain():
    """B5: f(1) = 1.12692801104, as the sum over scales of what decimation leaves."""
    couplings = real([[1.0], [0.2], [-0.7], [0.0], [3.0]])
    found = free_energy(ising_decimation, decimated, couplings, 2.0)
    assert float(found.value[0]) == pytest.approx(1.12692801104, abs=5e-12)
    wanted = (2 * couplings[:, 0].cosh()).log()
    torch.testing.assert_close(found.value, wanted, rtol=1e-14, atol=1e-15)
    assert float(found.error.max()) < 1e-17
    each = torch.stack([free_energy(ising_decimation, decimated, k, 2.0).value for k in couplings])
    torch.testing.assert_close(found.value, each, rtol=1e-15, atol=0)
    # Short sums miss no more than they say.
    for steps in (2, 3, 5, 8, 20):
        short = free_energy(ising_decimation, decimated, couplings, 2.0, steps)
        missing = (short.value - wanted).abs()
        assert bool((missing <= short.error * (1 + 1e-9) + 1e-15).all()), steps
        # Nor do they say much more, where the flow has come to rest.
        assert bool((short.error[1:4] <= 3 * missing[1:4] + 1e-15).all()), steps


def test_free_energy_of_the_moved_bonds():
    couplings = real([[0.0], [0.2], [0.35], [8.0]])
    found = free_energy(migdal_kadanoff, moved, couplings, 4.0).value
    rest = free_energy(migdal_kadanoff, moved, migdal_kadanoff(couplings), 4.0).value
    torch.testing.assert_close(found, rest / 4 + moved(couplings), rtol=1e-14, atol=0)
    assert float(found[0]) == pytest.approx(math.log(2), abs=1e-15)
    # Two bonds a spin, all satisfied, and ln 2 of each spin whose bonds were moved away.
    assert float(found[-1]) == pytest.approx(16 + math.log(2) / 3, abs=1e-9)
    # Moving bonds is a variation: its free energy is not below the exact one (Kadanoff).
    assert bool((found >= onsager_free_energy(couplings[:, 0]) - 1e-14).all())


def test_spins_are_summed_out_on_the_hierarchical_lattice():
    """The spin between two moved bonds, summed out by hand."""
    k = 0.37
    weights = {}
    for ends in ((1, 1), (1, -1)):
        total = 0.0
        for s in (1, -1):
            total += math.exp(2 * k * s * (ends[0] + ends[1]))
        weights[ends] = total
    coarse = math.log(weights[1, 1] / weights[1, -1]) / 2
    left = math.log(weights[1, 1] * weights[1, -1]) / 2
    assert float(migdal_kadanoff(real(k))) == pytest.approx(coarse, abs=1e-14)
    # Half of the spins are summed out so, a quarter is free.
    wanted = left / 2 + math.log(2) / 4
    assert float(migdal_kadanoff_inhomogeneity(real(k))) == pytest.approx(wanted, abs=1e-14)


def test_free_energies_are_differentiable():
    def planes(k):
        return free_energy(migdal_kadanoff, moved, k, 4.0, 16).value

    k = real([[0.1], [0.5]]).requires_grad_()
    assert torch.autograd.gradcheck(planes, k)
    assert torch.autograd.gradgradcheck(planes, k)
    chain = real([0.7]).requires_grad_()
    (energy,) = torch.autograd.grad(free_energy(ising_decimation, decimated, chain, 2.0)[0], chain)
    torch.testing.assert_close(energy, chain.detach().tanh(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("cells", [1.0, 2.0, 4.0])
def test_the_cocycle_law(cells):
    start = real([[0.3, -0.2], [0.1, 0.25]])

    def leaves(k):
        return (k**2).sum(-1) + k[..., 0].cos()

    def c(k, n):
        return scale_cocycle(mixing, leaves, k, cells, n)

    later = mixing(mixing(start))
    torch.testing.assert_close(c(start, 5), c(start, 2) + c(later, 3) / cells**2)
    assert c(start, 0).tolist() == [0, 0]

    # A coboundary: g = f - f o R / c is summed to f - f o R^n / c^n.
    def f(k):
        return k.prod(-1).exp()

    def boundary(k):
        return f(k) - f(mixing(k)) / cells

    found = scale_cocycle(mixing, boundary, start, cells, 2)
    torch.testing.assert_close(found, f(start) - f(later) / cells**2)


def test_the_singular_part_is_multiplied_by_the_cells():
    """f_sing(R K) = 4 f_sing(K) on both sides, with f_sing ~ |t|^(2 / y_T), 2 / y_T = 2.6765."""
    regular = regular_free_energy(migdal_kadanoff, moved, CRITICAL, 4.0, 6)

    def singular(k):
        return free_energy(migdal_kadanoff, moved, k, 4.0).value - regular(k)

    (field,) = scaling_fields(migdal_kadanoff, CRITICAL, 6)
    power = 2 / float(CRITICAL.exponents)
    for offset in (-0.02, -0.01, 0.01, 0.02):
        k = CRITICAL.couplings + offset
        ratio = float(singular(migdal_kadanoff(k)) / singular(k))
        assert ratio == pytest.approx(4, abs=1e-3)
        assert float(field(k).abs()) ** power < 1e3 * abs(float(singular(k)))
    # |u|^(d / y) times a function that repeats with the eigenvalue, hardly rippled.
    amplitudes = []
    for offset in (0.008, 0.01, 0.013):
        k = CRITICAL.couplings + offset
        amplitudes.append(float(singular(k)) / float(field(k).abs()) ** power)
    assert max(amplitudes) / min(amplitudes) == pytest.approx(1, abs=0.05)


def test_third_derivatives_diverge_at_the_critical_point():
    """The n-th derivative converges while eigenvalue^n < 4: here up to the second."""
    k = CRITICAL.couplings.detach().clone().requires_grad_()
    sizes = []
    for steps in (10, 12, 14, 16):
        value = scale_cocycle(migdal_kadanoff, moved, k, 4.0, steps)
        row = []
        for _ in range(3):
            (value,) = torch.autograd.grad(value.sum(), k, create_graph=True)
            row.append(float(value.detach()))
        sizes.append(row)
    eigenvalue = float(CRITICAL.eigenvalues.real)
    steps = real(sizes).diff(dim=0).abs()
    rates = (steps[1:] / steps[:-1])[-1].sqrt()
    wanted = real([eigenvalue**n / 4 for n in (1, 2, 3)])
    torch.testing.assert_close(rates, wanted, rtol=0.02, atol=0)
    assert float(wanted[1]) < 1 < float(wanted[2])


def test_resonance_obstructs_a_power_series():
    """x' = 2 x and g = x^2: with c = 4 only x^2 ln x solves f(x) = f(2 x) / 4 + x^2."""

    def double(k):
        return 2 * k

    def square(k):
        return k[..., 0] ** 2

    fixed = fixed_point(double, real([0.1]))
    with pytest.raises(ArgumentError, match=r"eigenvalues to the powers \(2,\) make 4"):
        regular_free_energy(double, square, fixed, 4.0, 2)
    # Without resonance, or with a series that ends before it, there is one: x^2 / (1 - 4 / 5).
    found = regular_free_energy(double, square, fixed, 5.0, 2)
    torch.testing.assert_close(found.coefficients, real([0.0, 0, 5]))
    regular_free_energy(double, square, fixed, 4.0, 1)
    # No twist: g(K*) is the obstruction of degree 0.
    with pytest.raises(ArgumentError, match=r"powers \(0,\) make 1"):
        regular_free_energy(double, square, fixed, 1.0, 2)


def test_scaling_fields_are_multiplied_by_their_eigenvalues():
    errors = {}
    for order in (1, 2, 3):
        for size in (0.02, 0.01):
            fixed = fixed_point(mixing, real([0.01, 0.01]))
            k = size * real([[1.0, 0.5], [-0.6, 1.0]])
            for number, field in enumerate(scaling_fields(mixing, fixed, order)):
                gap = field(mixing(k)) - field.eigenvalue.real * field(k)
                errors[order, size, number] = float(gap.abs().max())
    for order in (1, 2, 3):
        for number in (0, 1):
            slope = math.log2(errors[order, 0.02, number] / errors[order, 0.01, number])
            assert slope > order + 0.7, (order, number)
    fields = scaling_fields(mixing, fixed, 4)
    torch.testing.assert_close(
        torch.stack([f.exponent for f in fields]), real([math.log2(1.9), math.log2(0.6)])
    )
    ratio = invariant_ratio(*fields, k)
    torch.testing.assert_close(invariant_ratio(*fields, mixing(k)), ratio, rtol=1e-3, atol=0)
    # Left eigenvectors to linear order.
    left = torch.stack([f.series.coefficients[1:3] for f in fields])
    slope = torch.func.jacrev(mixing)(real([0.0, 0.0]))
    torch.testing.assert_close(left @ slope, real([[1.9], [0.6]]) * left, rtol=0, atol=1e-14)
    torch.testing.assert_close(left.norm(dim=1), torch.ones_like(left[0]))


def test_a_field_is_carried_through_a_basin():
    """R(x) = x / (2 - x), a sink at 0, is made linear by x / (1 - x) everywhere in (-1, 1)."""

    def block_map(k):
        return k / (2 - k)

    fixed = fixed_point(block_map, real([0.1]))
    (field,) = scaling_fields(block_map, fixed, 4)
    k = real([[0.3], [0.9], [-0.8]])
    wanted = k[:, 0] / (1 - k[:, 0])
    torch.testing.assert_close(field.carried(block_map, k, 18), wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        field.series.coefficients, real([0.0, 1, 1, 1, 1]), rtol=0, atol=1e-13
    )
    # The relevant field of the inverse map, by its own flow to the fixed point.
    step = block_map(k)
    torch.testing.assert_close(
        field.carried(block_map, step, 18), field.carried(block_map, k, 18) / 2
    )


def test_complex_eigenvalues_have_complex_fields():
    def spiral(k):
        x, y = k.unbind(-1)
        return 0.8 * torch.stack([x * 0.6 - y * 0.8 + x * y, x * 0.8 + y * 0.6 - 0.3 * x**2], -1)

    fixed = fixed_point(spiral, real([0.01, 0.01]))
    one, other = scaling_fields(spiral, fixed, 5)
    k = real([[0.02, -0.01]])
    for field in (one, other):
        gap = (field(spiral(k)) - field.eigenvalue * field(k)).abs()
        assert float(gap) < 1e-9
    assert one(k).is_complex()
    torch.testing.assert_close(one.eigenvalue.conj(), other.eigenvalue)


def test_carleman_matrix_composes():
    """Of R o R it is the square of that of R."""
    centre = real([0.0, 0.0])
    once = carleman_matrix(mixing, centre, 4)
    twice = carleman_matrix(lambda k: mixing(mixing(k)), centre, 4)
    torch.testing.assert_close(twice, once @ once, rtol=1e-12, atol=1e-13)
    assert monomials(2, 2) == ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    series = taylor_series(lambda k: (k[0] + 2 * k[1]).exp() * real([1.0, 3]), centre, 3)
    wanted = [1, 1, 2, 0.5, 2, 2, 1 / 6, 1, 2, 8 / 6]
    torch.testing.assert_close(series, real([1.0, 3])[:, None] * real(wanted))


def test_golden_critical_coupling_of_the_plane():
    """B5: K_c = 0.44068679351, Onsager's integral there ln(2) / 2 + 2 G / pi."""
    assert pytest.approx(0.44068679351, abs=5e-12) == ISING_CRITICAL_COUPLING
    assert math.sinh(2 * ISING_CRITICAL_COUPLING) == pytest.approx(1, abs=1e-15)
    found = float(onsager_free_energy(real(ISING_CRITICAL_COUPLING)))
    assert found == pytest.approx(0.929695398342, abs=5e-13)
    assert found == pytest.approx(math.log(2) / 2 + 2 * 0.915965594177219 / math.pi, abs=2e-15)


def test_golden_spontaneous_magnetisation():
    """B5: M(1/2) = 0.911319377877."""
    k = real([0.5, 0.44, 0.2, ISING_CRITICAL_COUPLING + 1e-9, 20.0])
    found = spontaneous_magnetisation(k)
    assert float(found[0]) == pytest.approx(0.911319377877, abs=5e-13)
    assert found[1:3].tolist() == [0, 0]
    assert float(found[3]) == pytest.approx((8 * math.sqrt(2) * 1e-9) ** 0.125, rel=1e-6)
    assert float(found[4]) == pytest.approx(1, abs=1e-15)
    assert torch.autograd.gradcheck(spontaneous_magnetisation, real([0.5, 0.3]).requires_grad_())


def test_onsager_series_symmetry_and_duality():
    k = real([0.02, 0.05, 0.08])
    v = k.tanh()
    high = math.log(2) + 2 * k.cosh().log() + v**4 + 2 * v**6 + 4.5 * v**8 + 12 * v**10
    torch.testing.assert_close(onsager_free_energy(k), high, rtol=0, atol=2e-11)
    torch.testing.assert_close(onsager_free_energy(-k), onsager_free_energy(k))
    # Kramers and Wannier: f(K) - ln(sinh 2K) / 2 is even under sinh 2K sinh 2K' = 1.
    dual = (1 / (2 * k).sinh()).asinh() / 2
    sides = [onsager_free_energy(x) - (2 * x).sinh().log() / 2 for x in (k, dual)]
    torch.testing.assert_close(*sides, rtol=1e-14, atol=0)
    assert onsager_free_energy(torch.tensor(0.3)).dtype == torch.float32
    assert float(onsager_free_energy(torch.tensor(0.3))) == pytest.approx(0.79055907, abs=2e-7)


def test_onsager_energy_and_specific_heat():
    special = pytest.importorskip(
        "scipy.special", reason="scipy, of the oracles extra, is not installed"
    )
    k = real([0.1, 0.3, 0.4406, 0.441, 0.7]).requires_grad_()
    (energy,) = torch.autograd.grad(onsager_free_energy(k).sum(), k)
    x = k.detach()
    modulus = 2 * (2 * x).sinh() / (2 * x).cosh() ** 2
    elliptic = torch.from_numpy(special.ellipk(modulus.square().numpy()))
    wanted = (1 + 2 / math.pi * (2 * (2 * x).tanh() ** 2 - 1) * elliptic) / (2 * x).tanh()
    torch.testing.assert_close(energy, wanted, rtol=1e-11, atol=0)
    places = real([0.25, -0.3]).requires_grad_()
    assert torch.autograd.gradcheck(onsager_free_energy, places)
    assert torch.autograd.gradgradcheck(onsager_free_energy, places)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_derivatives_without_coupling_and_when_all_spins_are_aligned(dtype):
    """f = ln 2 + K^2 + O(K^4) at 0 and 2 |K| for large K, which overflow nowhere."""
    k = torch.tensor([0.0, 20.0, -20.0, 400.0], dtype=dtype, requires_grad=True)
    (energy,) = torch.autograd.grad(onsager_free_energy(k).sum(), k, create_graph=True)
    (bend,) = torch.autograd.grad(energy.sum(), k)
    close = {"rtol": 0, "atol": 20 * torch.finfo(dtype).eps}
    torch.testing.assert_close(energy.detach(), k.new_tensor([0.0, 2, -2, 2]), **close)
    torch.testing.assert_close(bend, k.new_tensor([2.0, 0, 0, 0]), **close)
    cold = k.detach()[3:].requires_grad_()
    (slope,) = torch.autograd.grad(spontaneous_magnetisation(cold).sum(), cold)
    assert slope.tolist() == [0]


def cantor(levels):
    places = torch.zeros(1, dtype=torch.float64)
    for level in range(1, levels + 1):
        places = torch.cat([places, places + 2 * 3.0**-level])
    return places[:, None]


def sierpinski(levels):
    places = torch.zeros(1, 2, dtype=torch.float64)
    for level in range(1, levels + 1):
        steps = 2.0**-level * real([[0.0, 0], [1, 0], [0, 1]])
        places = (places + steps[:, None]).reshape(-1, 2)
    return places


def test_golden_box_dimensions():
    """B5: Cantor ln 2 / ln 3, Sierpinski ln 3 / ln 2, counted in boxes."""
    # A little less than powers of 1/3, so that rounding moves no point out of its box.
    found = box_dimension(cantor(10), [(1 - 1e-9) * 3.0**-k for k in range(1, 8)])
    assert float(found.dimension) == pytest.approx(0.630929753571, abs=1e-9)
    found = box_dimension(sierpinski(8), [2.0**-k for k in range(1, 7)])
    assert float(found.dimension) == pytest.approx(1.58496250072, abs=5e-12)
    assert float(found.error) < 1e-12
    # Boxes of other sizes scatter about the line, by what the error tells.
    sizes = [0.7 * 0.8**k for k in range(12)]
    rough = box_dimension(sierpinski(8), sizes)
    assert 1e-3 < float(rough.error) < 0.1
    assert abs(float(rough.dimension) - math.log2(3)) < 4 * float(rough.error)
    full = torch.cartesian_prod(*[torch.arange(64.0)] * 2)
    assert float(box_dimension(full, [2.0, 4, 8, 16]).dimension) == pytest.approx(2)


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_dimensions_of_a_binomial_measure(order):
    """Masses p and 1 - p at each halving: D_q = log2(p^q + (1 - p)^q) / (1 - q)."""
    p, masses = 0.3, torch.ones(1, dtype=torch.float64)
    for _ in range(10):
        masses = torch.stack([p * masses, (1 - p) * masses], 1).flatten()
    places = torch.arange(1024.0, dtype=torch.float64)[:, None] / 1024
    found = box_dimension(places, [2.0**-k for k in range(1, 9)], masses, order)
    if order == 1:
        wanted = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    else:
        wanted = math.log2(p**order + (1 - p) ** order) / (1 - order)
    assert float(found.dimension) == pytest.approx(wanted, abs=1e-12)


def test_power_laws_with_and_without_ripples():
    generator = torch.Generator().manual_seed(0)
    x = torch.logspace(0, 3, 200, dtype=torch.float64)
    noise = 0.05 * torch.randn(200, generator=generator, dtype=torch.float64)
    plain = 3 * x**-1.7 * noise.exp()
    found = power_law(x, plain)
    assert abs(float(found.slope) + 1.7) < 4 * float(found.error) < 0.02
    assert (float(found.log_period), float(found.chance)) == (math.inf, 1)
    periods = [math.log(b) for b in (1.5, 2, 2.5, 3, 4, 5, 6)]
    none = power_law(x, plain, periods, generator=generator)
    assert float(none.chance) > 0.05
    rippled = plain * (0.1 * (2 * math.pi * x.log() / math.log(3) + 1).cos()).exp()
    found = power_law(x, rippled, periods, generator=generator)
    assert float(found.log_period) == pytest.approx(math.log(3))
    assert float(found.amplitude) == pytest.approx(0.1, abs=0.02)
    assert float(found.chance) == pytest.approx(0.01)
    assert abs(float(found.slope) + 1.7) < 4 * float(found.error)


def test_invariants_of_structures():
    system = ScaleCohomology(real([0.1, 0.1]), block_map=mixing, order=3)
    fixed = fixed_point(mixing, real([0.01, 0.01]))
    relevant, irrelevant, ratio = system.scale_invariants(fixed)
    k = 0.01 * real([[1.0, 0.5], [-0.6, 1.0]])
    for field in (relevant, irrelevant):
        growth = 2 ** float(field.weight)
        torch.testing.assert_close(
            field.function(mixing(k)), growth * field.function(k), rtol=1e-4, atol=0
        )
    assert float(ratio.weight) == 0
    torch.testing.assert_close(ratio.function(mixing(k)), ratio.function(k), rtol=1e-3, atol=0)
    names = {i.name: float(i.weight) for i in system.scale_invariants(sierpinski(7))}
    assert list(names) == ["box dimension", "information dimension", "correlation dimension"]
    assert all(value == pytest.approx(math.log2(3), abs=0.02) for value in names.values())
    # No boxes so small that they count points: two dimensions of a thousand at random.
    plane = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert [float(i.weight) for i in system.scale_invariants(plane)] == pytest.approx(
        [2, 2, 2], abs=0.05
    )
    exact = system.scale_invariants(sierpinski(7), [2.0**-k for k in range(1, 6)])
    assert float(exact[2].weight) == pytest.approx(math.log2(3), abs=1e-11)
    single = ScaleCohomology(real([[1.0]]), block_map=ising_decimation)
    assert float(single.free_energy(decimated, 2.0).value) == pytest.approx(1.12692801104)


def test_invariants_have_the_order_and_sizes_that_are_told():
    fixed, k = fixed_point(mixing, real([0.01, 0.01])), real([0.1, 0.2])
    for order in (1, 3):
        found = ScaleCohomology(k, block_map=mixing, order=order).scale_invariants(fixed)[0]
        assert torch.equal(found.function(k), scaling_fields(mixing, fixed, order)[0](k))
    places = torch.rand(4096, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    system = ScaleCohomology(k, block_map=mixing)
    for kept, count in ((places, 8), (places[:16], 3)):
        extent = (1 + 1e-9) * float(kept.max() - kept.min())
        told = system.scale_invariants(kept, [extent / 2**n for n in range(1, count + 1)])
        found = system.scale_invariants(kept)
        assert [float(i.weight) for i in found] == [float(i.weight) for i in told]


def test_amplitudes_and_errors_of_power_laws():
    """A ripple of 0.3 cos + 0.4 sin; the error of a slope is sqrt(s^2 / S_xx), m - 2 in s^2."""
    x = torch.linspace(0, 4, 40, dtype=torch.float64)
    angle = 2 * math.pi * x
    y = 0.5 * x + 0.3 * angle.cos() + 0.4 * angle.sin()
    found = power_law(x.exp(), y.exp(), [1.0])
    assert (float(found.slope), float(found.amplitude)) == pytest.approx((0.5, 0.5))
    plain, away = power_law(x.exp(), y.exp()), x - x.mean()
    left = y - y.mean() - plain.slope * away
    wanted = (left.square().sum() / 38 / away.square().sum()).sqrt()
    torch.testing.assert_close(plain.error, wanted)


def test_fields_of_erased_and_marginal_couplings_tell_no_scale():
    """R = (3 x + y^2, y + x y, 0.25 z, z y) at 0 with b = 3: y = 1, 0, ln(1/4) / ln 3, -inf."""

    def block_map(k):
        x, y, z, w = k.unbind(-1)
        return torch.stack([3 * x + y**2, y + x * y, 0.25 * z, z * y + w**2], -1)

    zero = torch.zeros(4, dtype=torch.float64)
    fixed = fixed_point(block_map, zero, 3.0)
    fields = scaling_fields(block_map, fixed, 1)
    wanted = [1, 0, -math.log(4) / math.log(3), -math.inf]
    assert [float(field.exponent) for field in fields] == pytest.approx(wanted)
    assert [field.tells_scale for field in fields] == [True, False, True, False]
    system = ScaleCohomology(zero, block_map=block_map, scale=3.0, order=1)
    assert [i.name for i in system.scale_invariants(fixed)][4:] == ["ratio of fields 0 and 2"]
    with pytest.raises(ArgumentError, match="one of y = -inf, marginal or erased"):
        invariant_ratio(fields[0], fields[3], zero)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equal_eigenvectors_are_told_in_both_precisions(dtype):
    def jordan(k):
        return torch.stack([2 * k[..., 0] + k[..., 1], 2 * k[..., 1]], -1)

    fixed = fixed_point(jordan, torch.zeros(2, dtype=dtype))
    with pytest.raises(ArgumentError, match="without a basis of eigenvectors"):
        scaling_fields(jordan, fixed, 1)


RESTING = FixedPoint(real([0.0]), torch.ones(1, dtype=torch.complex128), real([0.0]))
MISUSED = {
    "cells": (lambda: free_energy(ising_decimation, decimated, real([1.0]), 1.0), "cells: got 1.0"),
    "steps": (
        lambda: free_energy(ising_decimation, decimated, real([1.0]), 2.0, 1),
        "steps: got 1",
    ),
    "growth": (
        lambda: free_energy(lambda k: 3 * k, lambda k: k[..., 0], real([1.0]), 2.0),
        "grow 1.5 times a step",
    ),
    "shape": (
        lambda: free_energy(ising_decimation, lambda k: k, real([1.0]), 2.0),
        r"inhomogeneity: got couplings \[1\] sent to \[1\]",
    ),
    "order": (lambda: scaling_fields(mixing, RESTING, 9), "order: got 9"),
    "jordan": (
        lambda: scaling_fields(
            lambda k: k @ real([[0.5, 0], [1, 0.5]]),
            FixedPoint(real([0.0, 0]), torch.full((2,), 0.5 + 0j), real([-1.0, -1])),
        ),
        "without a basis of eigenvectors",
    ),
    "carried": (
        lambda: scaling_fields(migdal_kadanoff, CRITICAL)[0].carried(
            migdal_kadanoff, real([1]), -1
        ),
        "steps: got -1",
    ),
    "marginal": (
        lambda: invariant_ratio(*[scaling_fields(lambda k: 1 * k, RESTING, 1)[0]] * 2, real([1.0])),
        "one of y = 0, marginal or erased",
    ),
    "coupling": (lambda: onsager_free_energy(real(math.nan)), "coupling: got NaN"),
    "whole": (lambda: spontaneous_magnetisation(torch.tensor(1)), "whole numbers"),
    "antiferromagnet": (lambda: spontaneous_magnetisation(real(-0.5)), "one below 0"),
    "few points": (
        lambda: box_dimension(cantor(3), [0.1, 0.2, 0.3]),
        r"points: got shape \[8, 1\]",
    ),
    "few sizes": (lambda: box_dimension(cantor(5), [0.1, 0.2, 0.2]), "sizes: got"),
    "masses": (
        lambda: box_dimension(cantor(4), [0.1, 0.2, 0.3], torch.zeros(16)),
        r"masses: got shape \[16\]",
    ),
    "endless mass": (
        lambda: box_dimension(cantor(4), [0.1, 0.2, 0.3], torch.full((16,), math.inf)),
        "masses: got shape",
    ),
    "places a period apart": (
        lambda: power_law(2 ** torch.arange(9.0), torch.ones(9), [math.log(2)]),
        "log_periods: got 0.693147, by which",
    ),
    "places half a period apart": (
        lambda: power_law(2 ** torch.arange(9.0), torch.ones(9), [2 * math.log(2)]),
        "log_periods: got 1.38629, by which",
    ),
    "moment": (lambda: box_dimension(cantor(4), [0.1, 0.2, 0.3], order=-1.0), "order: got -1.0"),
    "profile": (lambda: power_law(torch.arange(9.0), torch.ones(9)), "places: got shape"),
    "values": (lambda: power_law(torch.ones(9), torch.ones(8)), r"values: got shape \[8\]"),
    "periods": (
        lambda: power_law(torch.arange(1.0, 10), torch.ones(9), [3.0]),
        r"log_periods: got \[3.0\]",
    ),
    "one place": (lambda: power_law(torch.ones(9), torch.ones(9)), "places: got one place"),
    "shuffles": (
        lambda: power_law(torch.arange(1.0, 10), torch.ones(9), [1.0], 0),
        "shuffles: got 0",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
