import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    TightBinding,
    density_of_states,
    diatomic_chain,
    dynamical_matrix,
    graphene,
    hexagonal,
    kronig_penney_bands,
    nearest_neighbours,
    orthogonal,
    phonon_modes,
    plane_wave_hamiltonian,
    reciprocal_lattice,
    ssh_chain,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def mathieu(k, q, most=8):
    """y'' + (a - 2 q cos 2 x) y = 0 with y = exp(i k x) times a function of period pi."""
    harmonics = torch.tensor([[1], [-1]])
    return torch.linalg.eigvalsh(
        plane_wave_hamiltonian(real([k]), real([[2.0]]), harmonics, real([q, q]), most)
    )


@pytest.mark.parametrize(
    ("k", "band", "expected"),
    [(0, 0, -0.455138604107), (1, 0, -0.110248816992), (1, 1, 1.85910807251)],
    ids=["B5 Mathieu a0", "B5 Mathieu b1", "B5 Mathieu a1"],
)
def test_golden_mathieu_bands(k, band, expected):
    assert float(mathieu(k, 1.0)[band]) == pytest.approx(expected, abs=6e-12)


def test_golden_gaps_of_nearly_free_electrons():
    """B5: first gap at q = 1 and q = 0.1; to first order it is 2 |V_1|."""
    assert float(mathieu(1, 1.0)[:2].diff()) == pytest.approx(1.96935688951, abs=1e-11)
    assert float(mathieu(1, 0.1)[:2].diff()) == pytest.approx(0.199968755969, abs=1e-12)
    errors = [abs(float(mathieu(1, q)[:2].diff()) - 2 * q) for q in (0.1, 0.05)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.02)


def test_mathieu_bands_are_those_of_scipy():
    special = pytest.importorskip(
        "scipy.special", reason="scipy, of the oracles extra, is not installed"
    )
    for q in (0.3, 2.5):
        theirs = [special.mathieu_a(0, q), special.mathieu_b(2, q), special.mathieu_a(2, q)]
        torch.testing.assert_close(mathieu(0, q)[:3], real(theirs), rtol=1e-11, atol=1e-11)


def test_plane_waves_without_a_potential_are_free_and_shift_with_g():
    reciprocal = reciprocal_lattice(hexagonal())
    none = (torch.zeros(0, 2, dtype=torch.int64), real([]))
    k = real([[0.3, -0.2], [1.0, 2.0]])
    found = torch.linalg.eigvalsh(plane_wave_hamiltonian(k, reciprocal, *none, 2))
    torch.testing.assert_close(found[:, 0], k.square().sum(1))
    harmonics = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    amplitudes = torch.tensor([1 + 0.5j, 1 - 0.5j, 0.3, 0.3], dtype=torch.complex128)
    matrix = plane_wave_hamiltonian(k, reciprocal, harmonics, amplitudes, 4)
    torch.testing.assert_close(matrix, matrix.mH)
    shifted = plane_wave_hamiltonian(k + reciprocal[0], reciprocal, harmonics, amplitudes, 4)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(shifted)[:, :3],
        torch.linalg.eigvalsh(matrix)[:, :3],
        atol=1e-7,
        rtol=0,
    )
    each = torch.stack(
        [plane_wave_hamiltonian(row, reciprocal, harmonics, amplitudes, 4) for row in k]
    )
    torch.testing.assert_close(each, matrix, rtol=0, atol=1e-12)
    # More waves lower every eigenvalue.
    fewer = torch.linalg.eigvalsh(plane_wave_hamiltonian(k, reciprocal, harmonics, amplitudes, 1))
    assert bool((fewer >= torch.linalg.eigvalsh(matrix)[:, :9] - 1e-12).all())
    k = real([0.3, -0.2]).requires_grad_()
    real_amplitudes = real([1.0, 1.0]).requires_grad_()

    def lowest(k, value):
        both = value[:1].expand(2)
        return torch.linalg.eigvalsh(plane_wave_hamiltonian(k, reciprocal, harmonics[:2], both, 1))[
            :2
        ]

    assert torch.autograd.gradcheck(lowest, (k, real_amplitudes))


WALLS = 1.5 * math.pi


@pytest.mark.parametrize(
    ("phase", "band", "expected"),
    [
        (0.0, 0, 2.25050361356),
        (math.pi, 0, math.pi),
        (math.pi, 1, 4.71238898038),
        (0.0, 1, 2 * math.pi),
        (0.0, 2, 7.41539561136),
    ],
    ids=["B5 bottom 1", "B5 top 1", "B5 bottom 2", "top 2", "B5 bottom 3"],
)
def test_golden_kronig_penney_edges(phase, band, expected):
    found = kronig_penney_bands(real(phase), WALLS, 3)
    assert float(found[band]) == pytest.approx(expected, abs=5e-12)


def test_kronig_penney_laws():
    """B5 gap 1 = 5 pi^2 / 4; each root solves the equation; few and strong walls have limits."""
    edges = kronig_penney_bands(real(math.pi), WALLS, 2)
    assert float(edges.square().diff()) == pytest.approx(12.3370055014, abs=1e-10)
    phase = torch.linspace(-3, 3, 7, dtype=torch.float64)
    x = kronig_penney_bands(phase, 2.0, 4)
    closed = x.cos() + 2 * x.sin() / x
    torch.testing.assert_close(closed, phase.cos()[:, None].expand(7, 4), rtol=0, atol=1e-13)
    free = kronig_penney_bands(real(0.5), 1e-9, 3)
    torch.testing.assert_close(
        free, real([0.5, 2 * math.pi - 0.5, 2 * math.pi + 0.5]), rtol=0, atol=1e-8
    )
    boxes = kronig_penney_bands(phase, 1e9, 3)
    torch.testing.assert_close(boxes, math.pi * real([1.0, 2, 3]).expand(7, 3), rtol=1e-8, atol=0)
    walls = real(2.0).requires_grad_()
    inner = real([0.4, 1.5]).requires_grad_()
    assert torch.autograd.gradcheck(lambda k, p: kronig_penney_bands(k, p, 3), (inner, walls))


K = real([4 * math.pi / 3, 0])
M = math.pi * real([1.0, 1 / math.sqrt(3)])


@pytest.mark.parametrize(
    ("point", "energy", "accuracy"),
    [(0 * K, 3.0, 1e-15), (M, 1.0, 1e-15), (K, 0.0, 1e-15)],
    ids=["B5 graphene Gamma", "B5 graphene M", "B5 graphene K"],
)
def test_golden_graphene_energies(point, energy, accuracy):
    bands = graphene().bands(point)
    torch.testing.assert_close(bands, real([-energy, energy]), rtol=0, atol=4 * accuracy)


def test_golden_fermi_velocity_of_graphene_in_every_direction():
    sheet = graphene(2.7, 2.46)
    for turn in (0.0, 0.4, 2.0):
        slopes = sheet.velocities(K / 2.46, real([math.cos(turn), math.sin(turn)]))
        expected = 0.866025403784 * 2.7 * 2.46
        torch.testing.assert_close(slopes, real([-expected, expected]), rtol=1e-11, atol=0)
    # Apart from crossings velocities are gradients.
    k = real([0.3, 0.9]).requires_grad_()
    (gradient,) = torch.autograd.grad(sheet.bands(k)[1], k)
    along = sheet.velocities(k.detach(), real([0.6, 0.8]))[1]
    torch.testing.assert_close(along, gradient @ real([0.6, 0.8]))


def test_golden_gap_of_the_ssh_chain():
    """B5: 2 |t_1 - t_2| = 0.8, at k = pi."""
    chain = ssh_chain(1.0, 0.6)
    assert float(chain.bands(real([math.pi])).diff()) == pytest.approx(0.8, abs=1e-15)
    k = torch.linspace(-math.pi, math.pi, 41, dtype=torch.float64)[:, None]
    bands = chain.bands(k)
    closed = (1 + 0.36 + 1.2 * k[:, 0].cos()).sqrt()
    torch.testing.assert_close(bands, torch.stack([-closed, closed], 1))
    assert float(bands.diff().min()) == pytest.approx(0.8, abs=1e-14)


def test_tight_binding_is_the_ring_of_cells():
    """Bands at k = 2 pi m / N are the eigenvalues of the ring of N cells."""
    level, hop, far = 0.4, 1 + 0.5j, -0.3j
    chain = TightBinding(
        orthogonal(1.0),
        2,
        [(0, 0, (0,)), (0, 1, (0,)), (1, 0, (2,))],
        torch.tensor([level, hop, far], dtype=torch.complex128),
    )
    cells = 7
    ring = torch.zeros(2 * cells, 2 * cells, dtype=torch.complex128)
    for cell in range(cells):
        ring[2 * cell, 2 * cell] += level / 2
        ring[2 * cell, 2 * cell + 1] += hop
        ring[2 * cell + 1, 2 * ((cell + 2) % cells)] += far
    expected = torch.linalg.eigvalsh(ring + ring.mH)
    k = 2 * math.pi / cells * torch.arange(cells, dtype=torch.float64)[:, None]
    torch.testing.assert_close(chain.bands(k).flatten().sort().values, expected)
    each = torch.stack([chain.bands(row) for row in k])
    torch.testing.assert_close(chain.bands(k), each, rtol=0, atol=1e-14)


def test_gradients_of_tight_binding():
    def bands(k, t):
        hops = [(0, 1, (0, 0)), (0, 1, (1, 0)), (0, 1, (0, 1))]
        return TightBinding(hexagonal(), 2, hops, t).bands(k)

    k = real([[0.3, 0.2], [1.0, -0.7]]).requires_grad_()
    t = real([1.0, 0.8, 1.3]).requires_grad_()
    assert torch.autograd.gradcheck(bands, (k, t))
    assert torch.autograd.gradgradcheck(bands, (k, t))


def test_density_of_states_of_a_chain():
    """E = -2 cos k has g(E) = 1 / (pi sqrt(4 - E^2)), and each density holds one state."""
    k = 2 * math.pi * (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    grid = torch.linspace(-3, 3, 601, dtype=torch.float64)
    density = density_of_states(-2 * k.cos(), grid, 0.02)
    inner = grid.abs() < 1.5
    closed = 1 / (math.pi * (4 - grid[inner].square()).sqrt())
    torch.testing.assert_close(density[inner], closed, rtol=2e-3, atol=0)
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("phase", "acoustic", "optical"),
    [
        (0.0, 0.0, 1.73205080757),
        (1.0, 0.402465168352, 1.68464292604),
        (math.pi, 1.0, 1.41421356237),
    ],
    ids=["B5 q=0", "B5 q=1", "B5 q=pi"],
)
def test_golden_diatomic_chain(phase, acoustic, optical):
    modes = diatomic_chain(real(phase), (1.0, 2.0))
    assert float(modes.acoustic) == pytest.approx(acoustic, abs=5e-13)
    assert float(modes.optical) == pytest.approx(optical, abs=5e-12)


def test_golden_speed_of_sound_and_monoatomic_chain():
    q = real(1e-6)
    speed = diatomic_chain(q, (1.0, 2.0)).acoustic / q
    assert float(speed) == pytest.approx(0.408248290464, abs=1e-12)
    chain = nearest_neighbours(orthogonal(1.0))
    frequency, _ = phonon_modes(dynamical_matrix(real([math.pi / 2]), chain))
    assert float(frequency) == pytest.approx(1.41421356237, abs=5e-12)
    # Equal masses: half the cell, the branches of one chain folded, meeting at the edge.
    q = torch.linspace(0, math.pi, 9, dtype=torch.float64)
    modes = diatomic_chain(q, (1.0, 1.0))
    torch.testing.assert_close(modes.acoustic, 2 * (q / 4).sin(), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(modes.optical, 2 * (q / 4).cos(), rtol=1e-7, atol=0)


def test_a_diatomic_chain_is_its_dynamical_matrix():
    q = torch.linspace(-3, 3, 11, dtype=torch.float64)
    spring, first, second = 2.5, 0.7, 1.9
    cross = -spring * (1 + torch.exp(-1j * q)) / math.sqrt(first * second)
    matrix = torch.zeros(11, 2, 2, dtype=torch.complex128)
    matrix[:, 0, 0], matrix[:, 1, 1] = 2 * spring / first, 2 * spring / second
    matrix[:, 0, 1], matrix[:, 1, 0] = cross, cross.conj()
    expected = torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt()
    modes = diatomic_chain(q, (first, second), spring)
    torch.testing.assert_close(torch.stack(modes, 1), expected, rtol=1e-10, atol=1e-7)
    inputs = [real(v).requires_grad_() for v in (0.9, first, second, spring)]
    assert torch.autograd.gradcheck(lambda q, m, n, c: tuple(diatomic_chain(q, (m, n), c)), inputs)


ONE = torch.tensor([[1], [-1]])
MISUSED = {
    "complex potential": (
        lambda: plane_wave_hamiltonian(real([0.0]), real([[2.0]]), ONE, real([1.0, 2.0])),
        "amplitudes: got V_-g other than",
    ),
    "one side": (
        lambda: plane_wave_hamiltonian(real([0.0]), real([[2.0]]), ONE[:1], real([1.0])),
        "expected a real potential",
    ),
    "harmonics": (
        lambda: plane_wave_hamiltonian(real([0.0]), real([[2.0]]), ONE.double(), real([1.0, 1])),
        "harmonics: got torch.float64",
    ),
    "waves": (
        lambda: plane_wave_hamiltonian(real([0.0]), real([[2.0]]), ONE, real([1.0, 1]), 0),
        "most: got 0",
    ),
    "k": (
        lambda: plane_wave_hamiltonian(real([0.0, 1]), real([[2.0]]), ONE, real([1.0, 1])),
        r"wavevector: got shape \[2\]",
    ),
    "walls": (lambda: kronig_penney_bands(real(0.0), -1.0, 1), "strength: got -1.0"),
    "no band": (lambda: kronig_penney_bands(real(0.0), 1.0, 0), "count: got 0"),
    "phase": (lambda: kronig_penney_bands(real(math.nan), 1.0, 1), "phase: got NaN"),
    "orbital": (
        lambda: TightBinding(orthogonal(1.0), 1, [(0, 1, (0,))], real([1.0])),
        "hops: got",
    ),
    "hop": (
        lambda: TightBinding(orthogonal(1.0), 2, [(0, 1, (0,))], real([1.0, 2])),
        r"amplitudes: got shape \[2\]",
    ),
    "sheet": (lambda: graphene().bands(real([1.0])), r"wavevector: got shape \[1\]"),
    "sheet NaN": (lambda: graphene().bands(K * math.nan), "wavevector: got NaN"),
    "width": (lambda: density_of_states(real([1.0]), real([1.0]), 0.0), "width: got 0.0"),
    "no energies": (lambda: density_of_states(real([]), real([1.0]), 1.0), "energies: got none"),
    "mass": (lambda: diatomic_chain(real(0.0), (0.0, 1.0)), "masses: got 0.0"),
    "chain NaN": (lambda: diatomic_chain(real(math.nan), (1.0, 1.0)), "phase: got NaN"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
