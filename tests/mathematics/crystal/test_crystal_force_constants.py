import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ForceConstants,
    RefractionSystem,
    body_centred_cubic,
    diatomic_chain,
    dynamical_matrix,
    face_centred_cubic,
    hexagonal,
    lattice_point_group,
    nearest_neighbours,
    neighbour_bonds,
    orthogonal,
    reciprocal_lattice,
    simple_cubic,
    spring_matrices,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def waves(count, size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(count, size, generator=generator, dtype=torch.float64)


FCC = face_centred_cubic()
ATOM, HALF = real([[0.0, 0, 0]]), real([[0.0, 0, 0], [0.5, 0.5, 0.5]])
QUARTER = real([[0.0, 0, 0], [0.25, 0.25, 0.25]])
CHAIN = ForceConstants.springs(orthogonal(1.0), real([[0.0], [0.5]]), (1.0, 2.0), (1.0,))
SALT = ForceConstants.springs(FCC, HALF, (1.0, 1.7), (1.0, 0.3), (0.1, 0.02))
DIAMOND = ForceConstants.springs(FCC, QUARTER, (1.2, 1.2), (1.0, 0.2), (0.15, 0.03))
# One kind of atom on two shells in the plane, with three atoms in a cell.
KAGOME = ForceConstants.springs(
    hexagonal(), real([[0.0, 0], [0.5, 0], [0, 0.5]]), (1.0, 2.0, 3.0), (1.0, 0.4), (0.2, 0.1)
)
CRYSTALS = {"chain": CHAIN, "salt": SALT, "diamond": DIAMOND, "kagome": KAGOME}


@pytest.mark.parametrize(
    ("q", "acoustic", "optical"),
    [
        (0.0, 0.0, 1.73205080757),
        (1.0, 0.402465168352, 1.68464292604),
        (math.pi, 1.0, 1.41421356237),
    ],
    ids=["B5 diatomic q=0", "B5 diatomic q=1", "B5 diatomic q=pi"],
)
def test_golden_diatomic_chain(q, acoustic, optical):
    found = CHAIN.modes(real([q])).frequencies
    # The square of an acoustic frequency is right to rounding, so at q = 0 it is to 1e-8.
    torch.testing.assert_close(
        found, real([acoustic, optical]), rtol=0, atol=2e-8 if not q else 5e-12
    )


def test_golden_speed_of_sound_is_exact():
    """B5: a sqrt(C / (2 (M_1 + M_2)))."""
    torch.testing.assert_close(
        CHAIN.sound_speeds(real([1.0])), real([0.408248290464]), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("point", "expected"),
    [(2 * math.pi * real([1.0, 0, 0]), [4.0, 4, 8]), (math.pi * real([1.0, 1, 1]), [2.0, 2, 8])],
    ids=["B7 FCC X", "B7 FCC L"],
)
def test_golden_fcc_by_force_constants(point, expected):
    found = RefractionSystem().phonon_modes(point, FCC)
    torch.testing.assert_close(found.frequencies, real(expected).sqrt(), rtol=0, atol=4e-15)


@pytest.mark.parametrize("lattice", [FCC, body_centred_cubic(1.3), simple_cubic()], ids=str)
def test_one_atom_in_a_cell_is_the_bravais_form(lattice):
    q = waves(4, 3)
    ours = ForceConstants.springs(lattice, ATOM + 0.2, (2.0,), (1.5,)).dynamical_matrix(q)
    assert float(ours.imag.abs().max()) < 1e-14
    expected = dynamical_matrix(q, nearest_neighbours(lattice), 1.5, 2.0)
    torch.testing.assert_close(ours.real, expected, rtol=0, atol=1e-13)


def test_the_chain_is_its_closed_form():
    q = torch.linspace(0.1, 6, 12, dtype=torch.float64)
    expected = torch.stack(diatomic_chain(q, (1.0, 2.0)), 1)
    torch.testing.assert_close(CHAIN.modes(q[:, None]).frequencies, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CRYSTALS)
def test_laws_of_dynamical_matrices(name):
    crystal = CRYSTALS[name]
    size = len(crystal.lattice)
    q = waves(6, size)
    matrix = crystal.dynamical_matrix(q)
    torch.testing.assert_close(matrix, matrix.mH, rtol=0, atol=1e-14)
    torch.testing.assert_close(crystal.dynamical_matrix(-q), matrix.conj(), rtol=0, atol=1e-14)
    each = torch.stack([crystal.dynamical_matrix(row) for row in q])
    torch.testing.assert_close(each, matrix, rtol=0, atol=1e-14)
    assert float(crystal.sum_rule().abs().max()) < 1e-14
    frequencies, polarisations = crystal.modes(q)
    kept = (matrix @ polarisations) - polarisations * frequencies[:, None].square()
    assert float(kept.abs().max()) < 1e-13
    shifted = crystal.modes(q + reciprocal_lattice(crystal.lattice)[-1]).frequencies
    torch.testing.assert_close(shifted, frequencies, rtol=0, atol=1e-12)
    # A shift of the whole crystal costs nothing: as many zeros at q = 0 as dimensions.
    still = crystal.modes(torch.zeros(size, dtype=torch.float64)).frequencies
    assert float(still[:size].abs().max()) < 5e-8
    assert bool((still[size:] > 0.5).all())


@pytest.mark.parametrize("name", ["salt", "diamond"])
def test_frequencies_have_the_symmetry_of_the_lattice(name):
    crystal, q = CRYSTALS[name], waves(2, 3)
    inverse = torch.linalg.inv(FCC)
    turned = [q @ (inverse @ w.double() @ FCC) for w in lattice_point_group(FCC)[::7]]
    found = crystal.modes(torch.stack(turned)).frequencies
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-12)


def test_a_ring_of_cells_has_the_same_frequencies():
    """The force matrix of 3 x 4 cells of the kagome net, built atom by atom."""
    wide, high, size = 3, 4, 2
    crystal = KAGOME
    index = {
        (a, b, i): (a * high + b) * 3 + i
        for a in range(wide)
        for b in range(high)
        for i in range(3)
    }
    force = torch.zeros(len(index), len(index), size, size, dtype=torch.float64)
    for (a, b, i), row in index.items():
        for f, s, cell, matrix in zip(
            crystal.first.tolist(),
            crystal.second.tolist(),
            crystal.cells.tolist(),
            crystal.matrices,
            strict=True,
        ):
            if f == i:
                far = index[(a + cell[0]) % wide, (b + cell[1]) % high, s]
                mean = (crystal.masses[i] * crystal.masses[s]).sqrt()
                force[row, far] += matrix / mean
    dense = force.transpose(1, 2).reshape(len(index) * size, -1)
    expected = torch.linalg.eigvalsh(dense)
    steps = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).double() / real([3.0, 4])
    found = crystal.modes(steps @ reciprocal_lattice(crystal.lattice)).frequencies.square()
    torch.testing.assert_close(found.flatten().sort().values, expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "symbols"), [("salt", ["Na", "Cl"]), ("diamond", ["C", "C"])])
def test_dynamical_matrices_are_those_of_phonopy(name, symbols):
    reason = "phonopy, of the oracles extra, is not installed"
    phonopy = pytest.importorskip("phonopy", reason=reason)
    atoms = pytest.importorskip("phonopy.structure.atoms", reason=reason)
    crystal = CRYSTALS[name]
    cell = atoms.PhonopyAtoms(
        symbols=symbols,
        cell=FCC.numpy(),
        scaled_positions=crystal.positions.numpy(),
        masses=crystal.masses.numpy(),
    )
    large = phonopy.Phonopy(
        cell, supercell_matrix=3 * torch.eye(3).int().numpy(), primitive_matrix="P"
    )
    places = 3 * torch.from_numpy(large.supercell.scaled_positions)
    constants = torch.zeros(len(places), len(places), 3, 3, dtype=torch.float64)
    kinds = torch.arange(2).repeat_interleave(27)
    for row, place in enumerate(places):
        for number in (crystal.first == kinds[row]).nonzero().flatten().tolist():
            j = int(crystal.second[number])
            offset = crystal.positions[j] - crystal.positions[kinds[row]]
            away = (places - place - offset - crystal.cells[number]) / 3
            (column,) = ((away - away.round()).abs().amax(1) < 1e-6).nonzero().flatten().tolist()
            assert kinds[column] == j
            constants[row, column] += crystal.matrices[number]
    large.force_constants = constants.numpy()
    for fraction in waves(3, 3, seed=5):
        theirs = torch.from_numpy(large.get_dynamical_matrix_at_q(fraction.numpy()))
        q = fraction @ reciprocal_lattice(FCC)
        torch.testing.assert_close(crystal.dynamical_matrix(q), theirs, rtol=0, atol=1e-10)


def test_shells_of_rock_salt_and_diamond():
    salt = neighbour_bonds(FCC, HALF, 3)
    assert torch.bincount(salt.shell).tolist() == [12, 24, 16]
    distances = salt.vectors.norm(dim=1)
    torch.testing.assert_close(distances, real([0.25, 0.5, 0.75]).sqrt()[salt.shell])
    diamond = neighbour_bonds(FCC, QUARTER + 5.3, 3)
    assert torch.bincount(diamond.shell).tolist() == [8, 24, 24]
    apart = (QUARTER @ FCC)[diamond.second] - (QUARTER @ FCC)[diamond.first]
    torch.testing.assert_close(diamond.vectors, apart + diamond.cells.double() @ FCC)
    # A skewed basis of the same crystal has the same bonds.
    skew = real([[1.0, 3, 0], [0, 1, 0], [0, -2, 1]])
    again = neighbour_bonds(skew @ FCC, QUARTER @ torch.linalg.inv(skew), 3)
    torch.testing.assert_close(
        again.vectors.norm(dim=1).sort().values, diamond.vectors.norm(dim=1).sort().values
    )


def test_springs_act_along_and_across_bonds():
    found = spring_matrices(real([[0.0, 2.0]]), 3.0, 0.5)
    torch.testing.assert_close(found, -real([[[0.5, 0.0], [0.0, 3.0]]]))
    # Equal along and across: each component for itself, as a scalar field on the lattice.
    even = ForceConstants.springs(simple_cubic(), ATOM, (1.0,), (1.0,), (1.0,))
    q = waves(3, 3)
    squares = 4 * (q / 2).sin().square().sum(1)
    torch.testing.assert_close(even.modes(q).frequencies.square(), squares[:, None].expand(3, 3))


@pytest.mark.parametrize("name", CRYSTALS)
def test_velocities_are_gradients_of_frequencies(name):
    crystal = CRYSTALS[name]
    size = len(crystal.lattice)
    q = waves(1, size, seed=3)[0]
    direction = torch.nn.functional.normalize(waves(1, size, seed=4)[0], dim=0)
    rows = torch.autograd.functional.jacobian(lambda k: crystal.modes(k).frequencies, q)
    torch.testing.assert_close(
        crystal.velocities(q, direction), rows @ direction, rtol=1e-9, atol=1e-9
    )


def test_velocities_where_branches_meet():
    """Along (1, 0, 0) the transverse branches of FCC meet; across, they part."""
    crystal = ForceConstants.springs(FCC, ATOM, (1.0,), (1.0,), (0.1,))
    q = real([2.0, 0, 0])
    for direction in (real([1.0, 0, 0]), real([0.0, 0.6, 0.8])):
        step = 1e-5 * direction
        ahead, behind = (crystal.modes(q + s * step).frequencies for s in (1, -1))
        slopes = (ahead - behind) / 2e-5
        torch.testing.assert_close(crystal.velocities(q, direction), slopes, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", CRYSTALS)
def test_speeds_of_sound_are_slopes_at_small_wavevectors(name):
    crystal = CRYSTALS[name]
    size = len(crystal.lattice)
    direction = torch.nn.functional.normalize(waves(1, size, seed=4)[0], dim=0)
    speeds = crystal.sound_speeds(direction)
    small = crystal.modes(1e-3 * direction).frequencies[:size] / 1e-3
    torch.testing.assert_close(speeds, small, rtol=2e-7, atol=0)
    slopes = crystal.velocities(1e-3 * direction, direction)[:size]
    torch.testing.assert_close(slopes, speeds, rtol=1e-6, atol=0)


def test_closed_speeds_of_sound_of_fcc():
    """C_11 = 2 C_12 = 2 C_44 for central springs: a sqrt(C / M) times 1 / sqrt 2, 1/2 on axes."""
    crystal = ForceConstants.springs(2 * FCC, ATOM, (3.0,), (5.0,))
    found = crystal.sound_speeds(real([1.0, 0, 0]))
    expected = 2 * math.sqrt(5 / 3) * real([0.5, 0.5, math.sqrt(0.5)])
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_gradients_in_everything():
    def frequencies(q, lattice, positions, masses, central, transverse):
        crystal = ForceConstants.springs(lattice, positions, masses, central, transverse)
        return crystal.modes(q).frequencies

    inputs = (
        waves(1, 2),
        hexagonal() + 0.01 * waves(2, 2, 7),
        real([[0.0, 0], [0.35, 0.3]]),
        real([1.0, 1.7]),
        real([1.0, 0.8, 0.7, 0.6, 0.5]),  # no two distances are equal here
        real([0.2, 0.1, 0.1, 0.2, 0.1]),
    )
    assert torch.autograd.gradcheck(frequencies, tuple(x.requires_grad_() for x in inputs))

    def speeds(masses, central, transverse, direction):
        crystal = ForceConstants.springs(FCC, QUARTER, masses, central, transverse)
        return crystal.sound_speeds(direction), crystal.velocities(direction, direction)

    inputs = (real([1.0, 1.7]), real([1.0]), real([0.2]), real([0.5, 0.3, 0.8]))
    assert torch.autograd.gradcheck(speeds, tuple(x.requires_grad_() for x in inputs))


CHANGES = {
    "outside the cell": (torch.eye(3), [[3.0, -2, 1], [0, 5, -4]], [0, 1]),
    "other order": (torch.eye(3), [[0.0, 0, 0], [0, 0, 0]], [1, 0]),
    "left-handed": (torch.eye(3)[[1, 0, 2]], [[0.0, 0, 0], [0, 0, 0]], [0, 1]),
    "skewed": ([[1.0, 2, 0], [0, 1, 0], [-1, 1, 1]], [[0.0, 0, 0], [0, 0, 0]], [0, 1]),
}


@pytest.mark.parametrize(("change", "moves", "order"), CHANGES.values(), ids=CHANGES)
def test_frequencies_do_not_depend_on_how_a_crystal_is_told(change, moves, order):
    change, moves, masses = torch.as_tensor(change).double(), real(moves), real([1.0, 2.5])
    springs = (1.0, 0.4, 0.1), (0.2, 0.05, 0.0)
    wanted = ForceConstants.springs(FCC, QUARTER, masses, *springs)
    places = (QUARTER @ torch.linalg.inv(change) + moves)[order]
    found = ForceConstants.springs(change @ FCC, places, masses[order], *springs)
    q = 3 * waves(4, 3)
    torch.testing.assert_close(found.modes(q).frequencies, wanted.modes(q).frequencies)


def test_unstable_waves_have_negative_frequencies():
    """A square net of negative springs across its bonds gives way along them first."""
    net = ForceConstants.springs(orthogonal(1.0, 1.0), real([[0.0, 0]]), (1.0,), (1.0,), (-0.1,))
    q = real([math.pi, 0])
    torch.testing.assert_close(net.modes(q).frequencies, real([-math.sqrt(0.4), 2.0]))
    torch.testing.assert_close(net.sound_speeds(real([1.0, 0])), real([-math.sqrt(0.1), 1.0]))
    # Of a stable crystal none is negative, those at q = 0 least of all.
    grid = torch.cat([waves(50, 3), torch.zeros(1, 3, dtype=torch.float64)])
    assert float(SALT.modes(grid).frequencies.min()) >= 0
    assert float(DIAMOND.modes(grid).frequencies.min()) >= 0


def test_sum_rule_is_told_and_imposed():
    broken = SALT.matrices.clone()
    broken[-2:] += torch.diag(real([0.3, 0.2, 0.1]))
    parts = SALT.lattice, SALT.positions, SALT.masses, SALT.first, SALT.second, SALT.cells
    crystal = ForceConstants(*parts, broken)
    torch.testing.assert_close(
        crystal.sum_rule(), torch.diag(real([0.3, 0.2, 0.1])).expand(2, 3, 3)
    )
    assert float(crystal.modes(torch.zeros(3).double()).frequencies[0]) > 0.1
    torch.testing.assert_close(crystal.with_sum_rule().matrices, SALT.matrices)
    with pytest.raises(ArgumentError, match="a shift that costs energy"):
        crystal.sound_speeds(real([1.0, 0, 0]))


def test_force_constants_need_not_be_symmetric_themselves():
    """Only with those of the opposite pair transposed, as where bonds have no mirror."""
    turn = real([[0.0, 0.2, 0], [-0.2, 0, 0], [0, 0, 0]])
    matrices = SALT.matrices.clone()
    i, j, cell = int(SALT.first[0]), int(SALT.second[0]), SALT.cells[0]
    opposite = (SALT.first == j) & (SALT.second == i) & (SALT.cells == -cell).all(1)
    matrices[0] += turn
    matrices[opposite] += turn.T
    parts = SALT.lattice, SALT.positions, SALT.masses, SALT.first, SALT.second, SALT.cells
    matrix = ForceConstants(*parts, matrices).dynamical_matrix(waves(3, 3))
    torch.testing.assert_close(matrix, matrix.mH, rtol=0, atol=1e-14)
    matrices[opposite] += 2 * turn
    with pytest.raises(ArgumentError, match="differ from their transposed"):
        ForceConstants(*parts, matrices)


def test_float32_stays_float32():
    cell = face_centred_cubic(dtype=torch.float32)
    crystal = ForceConstants.springs(cell, HALF.float(), (1.0, 1.7), (1.0, 0.3), (0.1, 0.02))
    q = waves(3, 3)
    found = crystal.modes(q.float())
    assert found.frequencies.dtype == torch.float32
    torch.testing.assert_close(
        found.frequencies, SALT.modes(q).frequencies.float(), rtol=1e-5, atol=1e-5
    )


PARTS = CHAIN.lattice, CHAIN.positions, CHAIN.masses, CHAIN.first, CHAIN.second, CHAIN.cells
ODD = CHAIN.matrices * (1 + 0.1 * torch.arange(6.0))[:, None, None]


def chain_with(index, value):
    parts = [*PARTS, CHAIN.matrices]
    parts[index] = value
    return lambda: ForceConstants(*parts)


MISUSED = {
    "negative mass": (chain_with(2, real([1.0, -1.0])), r"masses: got \[1.0, -1.0\]"),
    "infinite mass": (chain_with(2, real([1.0, math.inf])), r"masses: got \[1.0, inf\]"),
    "masses": (chain_with(2, real([1.0])), r"masses: got shape \[1\]"),
    "flat lattice": (chain_with(0, real([[0.0]])), "depend on each other"),
    "atom": (chain_with(3, CHAIN.first + 1), r"first: got \[0, 1, 2\]"),
    "before": (chain_with(3, CHAIN.first - 1), r"first: got \[-1, 0, 1\]"),
    "shapes": (chain_with(5, CHAIN.cells[1:]), "matrices: got shapes"),
    "NaN": (chain_with(6, CHAIN.matrices * math.nan), "matrices: got NaN"),
    "action": (chain_with(6, ODD), "differ from their transposed"),
    "no opposite": (chain_with(5, CHAIN.cells + 1), "from one end only"),
    "twice": (
        lambda: ForceConstants(
            *PARTS[:3],
            *(torch.cat([part, part[-1:]]) for part in (*PARTS[3:], CHAIN.matrices)),
        ),
        "a pair listed twice",
    ),
    "no self": (
        lambda: ForceConstants(
            *PARTS[:3], *(part[:-2] for part in (*PARTS[3:], CHAIN.matrices))
        ).with_sum_rule(),
        r"none of atoms \[0, 1\] on themselves",
    ),
    "wave": (lambda: CHAIN.modes(real([1.0, 2])), r"wavevector: got shape \[2\]"),
    "wave NaN": (lambda: CHAIN.modes(real([math.nan])), "wavevector: got NaN"),
    "no slope": (lambda: CHAIN.velocities(real([0.0]), real([1.0])), "a frequency of 0"),
    "across": (
        lambda: ForceConstants.springs(FCC, ATOM, (1.0,), (1.0, 2.0), (1.0,)),
        r"transverse: got shape \[1\] for central of \[2\]",
    ),
    "no spring": (lambda: ForceConstants.springs(FCC, ATOM, (1.0,), ()), "shells: got 0"),
    "spring": (
        lambda: ForceConstants.springs(FCC, ATOM, (1.0,), (math.nan,)),
        "central: got NaN",
    ),
    "no atom": (lambda: neighbour_bonds(FCC, ATOM[:0]), r"positions: got shape \[0, 3\]"),
    "atoms NaN": (lambda: neighbour_bonds(FCC, ATOM * math.nan), "positions: got NaN"),
    "one place": (
        lambda: neighbour_bonds(FCC, torch.cat([ATOM, ATOM + 1])),
        "two atoms at one place",
    ),
    "no bond": (lambda: spring_matrices(ATOM), r"vectors: got shape \[1, 3\] or a zero"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
