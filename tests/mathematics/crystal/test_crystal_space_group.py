import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    RefractionSystem,
    SymmetryOperations,
    body_centred_cubic,
    face_centred_cubic,
    hexagonal,
    orthogonal,
    point_group_symbol,
    primitive_cell,
    primitive_translations,
    simple_cubic,
    space_group,
    symmetry_group,
    symmetry_operations,
    wallpaper_group,
)
from adaptive_attention_tiling.mathematics.crystal.primitive_cell import row_echelon

SPGLIB = "spglib, of the oracles extra, is not installed"


def real(value):
    return torch.tensor(value, dtype=torch.float64)


FCC = face_centred_cubic()
CLOSE_PACKED = [[0.0, 0, 0], [1 / 3, 1 / 3, 0.5]]
TRICLINIC = real([[1.0, 0, 0], [0.2, 1.1, 0], [0.3, 0.4, 1.3]])
QUARTER = [[0.0, 0, 0], [0.25, 0.25, 0.25]]
HALF = [[0.0, 0, 0], [0.5, 0.5, 0.5]]
ONE = [[0.1, 0.2, 0.3]]

# Lattice, atoms, kinds; number, symbol, operations; point group.
CRYSTALS = {
    "B5 SC": (simple_cubic(), ONE, [0], 221, "Pm-3m", 48, "m-3m"),
    "B5 FCC": (FCC, ONE, [0], 225, "Fm-3m", 48, "m-3m"),
    "B5 BCC": (body_centred_cubic(), ONE, [0], 229, "Im-3m", 48, "m-3m"),
    "B5 diamond": (FCC, QUARTER, [0, 0], 227, "Fd-3m", 48, "m-3m"),
    "B5 zincblende": (FCC, QUARTER, [0, 1], 216, "F-43m", 24, "-43m"),
    "B5 NaCl": (FCC, HALF, [0, 1], 225, "Fm-3m", 48, "m-3m"),
    "B5 CsCl": (simple_cubic(), HALF, [0, 1], 221, "Pm-3m", 48, "m-3m"),
    "B5 HCP": (
        hexagonal(1.0, math.sqrt(8 / 3)),
        CLOSE_PACKED,
        [0, 0],
        194,
        "P6_3/mmc",
        24,
        "6/mmm",
    ),
    "B5 tetragonal": (orthogonal(1.0, 1.0, 1.3), ONE, [0], 123, "P4/mmm", 16, "4/mmm"),
    "B5 orthorhombic": (orthogonal(1.0, 1.2, 1.5), ONE, [0], 47, "Pmmm", 8, "mmm"),
    "B5 triclinic": (TRICLINIC, ONE, [0], 2, "P-1", 2, "-1"),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_golden_names_of_eleven_crystals(name):
    spglib = pytest.importorskip("spglib", reason=SPGLIB)
    lattice, positions, species, number, symbol, count, point_group = CRYSTALS[name]
    group = RefractionSystem().compute_symmetries(lattice, real(positions), torch.tensor(species))
    assert (group.number, group.symbol, len(group.rotations)) == (number, symbol, count)
    assert group.point_group == point_group
    assert group.named_by == f"spglib {spglib.__version__}"
    assert len(group.wyckoff) == len(species)


def test_letters_of_positions_are_those_of_the_tables():
    """NaCl's ions are at a and b, zincblende's at two of a to d, all of -43m."""
    pytest.importorskip("spglib", reason=SPGLIB)
    letters = [
        set(symmetry_group(FCC, real(positions), torch.tensor([0, 1])).wyckoff)
        for positions in (HALF, QUARTER)
    ]
    assert letters == [{"a", "b"}, {"a", "d"}]


def test_without_spglib_space_groups_are_not_named_and_all_else_is(monkeypatch):
    monkeypatch.setattr("adaptive_attention_tiling.optional.installed", lambda name: False)
    monkeypatch.setattr(
        "adaptive_attention_tiling.mathematics.crystal.space_group.installed", lambda name: False
    )
    group = symmetry_group(FCC, real(QUARTER), torch.tensor([0, 1]))
    assert (group.number, group.symbol, group.wyckoff) == (None, None, None)
    assert group.named_by.startswith("nothing: spglib names space groups and is missing (pip")
    assert (group.point_group, group.system) == ("-43m", "face-centred cubic")
    assert len(group.rotations) == 24
    plane = symmetry_group(hexagonal(), real([[0.0, 0]]), torch.tensor([0]))
    assert plane[2:] == ("6mm", "hexagonal", 17, "p6mm", None, "this package")


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_point_groups_of_all_space_groups_are_those_of_spglib():
    spglib = pytest.importorskip("spglib", reason=SPGLIB)
    named = {}
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        if kind.number in named:
            continue
        whole = spglib.get_symmetry_from_database(hall)["rotations"]
        named[kind.number] = kind.pointgroup_international
        assert point_group_symbol(torch.from_numpy(whole).long()) == kind.pointgroup_international
    assert len(named) == 230
    assert len(set(named.values())) == 32


def closed(generators):
    """All products of pairs (W, t) modulo whole translations."""
    known = {}
    queue = [(torch.eye(2, dtype=torch.int64), real([0.0, 0]))]
    while queue:
        whole, shift = queue.pop()
        key = (*whole.flatten().tolist(), *(shift * 12).round().long().remainder(12).tolist())
        if key not in known:
            known[key] = (whole, shift.remainder(1))
            queue += [(whole @ w, shift @ w.double() + t) for w, t in generators]
    return list(known.values())


def op(rows, shift=(0.0, 0.0)):
    return torch.tensor(rows), real(shift)


HALF_TURN, QUARTER_TURN = op([[-1, 0], [0, -1]]), op([[0, 1], [-1, 0]])
MIRROR, ACROSS = op([[-1, 0], [0, 1]]), op([[0, 1], [1, 0]])
GLIDE, CENTRING = op([[-1, 0], [0, 1]], (0.0, 0.5)), op([[1, 0], [0, 1]], (0.5, 0.5))
THIRD, SIXTH = op([[-1, 1], [-1, 0]]), op([[0, 1], [-1, 1]])
ANTI = op([[0, -1], [-1, 0]])
OBLIQUE = real([[1.0, 0], [0.3, 1.2]])
RECTANGLE, SQUARE, HEXAGON = orthogonal(1.0, 1.5), orthogonal(1.0, 1.0), hexagonal()
# Generators, lattice, and the space group of the pattern with a mirror through its plane.
PATTERNS = {
    "p1": ([], OBLIQUE, 6),
    "p2": ([HALF_TURN], OBLIQUE, 10),
    "pm": ([MIRROR], RECTANGLE, 25),
    "pg": ([GLIDE], RECTANGLE, 26),
    "cm": ([MIRROR, CENTRING], RECTANGLE, 38),
    "p2mm": ([MIRROR, HALF_TURN], RECTANGLE, 47),
    "p2mg": ([op([[-1, 0], [0, 1]], (0.5, 0.0)), HALF_TURN], RECTANGLE, 51),
    "p2gg": ([op([[-1, 0], [0, 1]], (0.5, 0.5)), HALF_TURN], RECTANGLE, 55),
    "c2mm": ([MIRROR, HALF_TURN, CENTRING], RECTANGLE, 65),
    "p4": ([QUARTER_TURN], SQUARE, 83),
    "p4mm": ([QUARTER_TURN, MIRROR], SQUARE, 123),
    "p4gm": ([QUARTER_TURN, op([[-1, 0], [0, 1]], (0.5, 0.5))], SQUARE, 127),
    "p3": ([THIRD], HEXAGON, 174),
    "p3m1": ([THIRD, ACROSS], HEXAGON, 187),
    "p31m": ([THIRD, ANTI], HEXAGON, 189),
    "p6": ([SIXTH], HEXAGON, 175),
    "p6mm": ([SIXTH, ACROSS], HEXAGON, 191),
}


def pattern(name):
    """An atom at a general place with its images, and a second kind near them."""
    generators, lattice, _ = PATTERNS[name]
    operations = closed(generators)
    kinds = ([0.137, 0.081], 0), ([0.211, 0.372], 1), ([0.043, 0.291], 2)
    atoms = [real(place) @ w.double() + t for place, _ in kinds for w, t in operations]
    species = [kind for _, kind in kinds for _ in operations]
    return lattice, torch.stack(atoms), torch.tensor(species), operations


@pytest.mark.parametrize("name", PATTERNS)
def test_each_wallpaper_group_is_told_in_any_cell(name):
    lattice, positions, species, operations = pattern(name)
    number = list(PATTERNS).index(name) + 1
    listed = SymmetryOperations(*map(torch.stack, zip(*operations, strict=True)))
    assert wallpaper_group(listed) == (number, name)
    for basis in ([[1, 2], [0, 1]], [[0, 2], [1, 0]]):
        cell = real(basis) @ lattice
        placed = positions @ torch.linalg.inv(real(basis))
        if abs(basis[0][0] * basis[1][1] - basis[0][1] * basis[1][0]) == 2:
            placed = torch.cat([placed, placed + real([0.5, 0])])
        kinds = species.repeat(len(placed) // len(species))
        # Another origin, and the mirror image.
        group = symmetry_group(cell * real([1.0, -1.0]), placed + real([0.3, 0.9]), kinds)
        assert (group.number, group.symbol, group.named_by) == (number, name, "this package")


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_wallpaper_groups_are_layers_of_spglib(name):
    spglib = pytest.importorskip("spglib", reason=SPGLIB)
    lattice, positions, species, operations = pattern(name)
    cell = torch.block_diag(lattice, real([[0.77]]))
    flat = torch.nn.functional.pad(positions, (0, 1))
    data = spglib.get_symmetry_dataset((cell.tolist(), flat.tolist(), species.tolist()))
    assert data.number == PATTERNS[name][2]
    assert len(symmetry_operations(lattice, positions, species).rotations) == len(operations)


@pytest.mark.parametrize(
    ("positions", "species", "expected"),
    [
        ([[0.0], [0.5]], [0, 1], ("m", "chain", 2, "pm")),
        ([[0.0], [0.3]], [0, 1], ("1", "chain", 1, "p1")),
        ([[0.0], [0.3], [0.4]], [0, 1, 2], ("1", "chain", 1, "p1")),
        ([[0.0], [0.5]], [0, 0], ("m", "chain", 2, "pm")),
    ],
    ids=["halves", "two kinds", "three kinds", "half a cell"],
)
def test_line_groups(positions, species, expected):
    group = symmetry_group(orthogonal(1.0), real(positions), torch.tensor(species))
    assert group[2:6] == expected


def test_primitive_cells():
    conventional = real([[0.0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    salt = torch.cat([conventional, conventional + 0.5])
    species = torch.tensor([3] * 4 + [5] * 4)
    cell = primitive_cell(2 * simple_cubic(), salt, species)
    assert float(torch.linalg.det(cell.lattice).abs()) == pytest.approx(2, rel=1e-14)
    assert cell.species.tolist() == [3, 5]
    group = symmetry_group(2 * simple_cubic(), salt, species)
    assert len(group.rotations) == 192
    assert (group.point_group, group.system) == ("m-3m", "face-centred cubic")
    assert 0 <= float(cell.positions.min()) <= float(cell.positions.max()) < 1
    # Places agree with those of the large cell modulo its own primitive lattice.
    steps = (cell.positions @ cell.lattice - 2 * salt[[0, 4]]) @ torch.linalg.inv(cell.lattice)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-12)
    operations = symmetry_operations(2 * simple_cubic(), salt, species)
    basis = primitive_translations(operations)
    assert float(torch.linalg.det(basis).abs()) == pytest.approx(0.25)
    # A primitive cell stays one, as do two stacked cubes of a stretched cell.
    assert primitive_cell(FCC, real(QUARTER), torch.tensor([0, 1])).positions.shape == (2, 3)
    stacked = primitive_cell(
        orthogonal(1.0, 1.0, 2.0), real([[0.0, 0, 0], [0, 0, 0.5]]), torch.tensor([0, 0])
    )
    torch.testing.assert_close(stacked.lattice.abs().sum(0), torch.ones(3).double())
    name = symmetry_group(orthogonal(1.0, 2.0), real([[0.0, 0], [0, 0.5]]), torch.tensor([0, 0]))
    assert (name.symbol, name.point_group, len(name.rotations)) == ("p4mm", "4mm", 8)


@pytest.mark.parametrize("off", [0.0, 4e-4])
def test_primitive_cells_of_nearly_equal_layers(off):
    """Two stacked cubes whose second atom is off by less than the tolerance are one cube."""
    layers = real([[0.2, 0.3, 0.9], [0.2, 0.3, 0.4 + off]])
    cell = primitive_cell(orthogonal(1.0, 1.0, 2.0), layers, torch.tensor([7, 7]), 1e-3)
    assert cell.species.tolist() == [7]
    assert bool(((cell.positions >= 0) & (cell.positions < 1)).all())
    steps = (cell.positions @ cell.lattice - real([0.2, 0.3, 1.8])) @ torch.linalg.inv(cell.lattice)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=4e-3)


def test_bases_by_euclid():
    assert row_echelon([[6, 0], [0, 6], [4, 2], [2, 4]], 2) == [[2, 4], [0, 6]]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-9, 10, (5, 3), generator=generator).tolist()
    basis = real([[float(x) for x in row] for row in row_echelon(rows, 3)])
    combined = real(rows) @ torch.linalg.inv(basis)
    torch.testing.assert_close(combined, combined.round(), rtol=0, atol=1e-9)
    # As large as their common divisor of minors allows.
    minors = [
        round(float(torch.linalg.det(real([rows[i], rows[j], rows[k]]))))
        for i in range(5)
        for j in range(i)
        for k in range(j)
    ]
    assert abs(round(float(torch.linalg.det(basis)))) == math.gcd(*minors)


def test_tolerance_is_one_length_for_spglib_and_us():
    """Atoms off by 0.3 in a cell whose edges are 71, known to one part in 100 of that."""
    pytest.importorskip("spglib", reason=SPGLIB)
    noisy = real([[0.0, 0, 0], [0.252, 0.249, 0.251]])
    group = symmetry_group(100 * FCC, noisy, torch.tensor([0, 0]), 0.01)
    assert (group.number, len(group.rotations)) == (227, 48)
    assert symmetry_group(100 * FCC, noisy, torch.tensor([0, 0])).number == 2
    # In any unit of length, which spglib by itself does not bear.
    for unit in (1e-7, 1e7):
        assert symmetry_group(unit * FCC, noisy, torch.tensor([0, 0]), 0.01).number == 227


BROKEN = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])
MISUSED = {
    "no group": (lambda: point_group_symbol(BROKEN), "rotations: got 2 matrices that are no group"),
    "singular": (lambda: point_group_symbol(0 * BROKEN), "1 matrices that are no group"),
    "shape": (lambda: point_group_symbol(BROKEN[0]), r"rotations: got shape \[2, 2\]"),
    "none": (lambda: point_group_symbol(BROKEN[:0]), r"rotations: got shape \[0, 2, 2\]"),
    "space": (
        lambda: wallpaper_group(symmetry_operations(FCC, real(ONE), torch.tensor([0]))),
        r"operations: got rotations \[48, 3, 3\]",
    ),
    "no wallpaper": (
        lambda: wallpaper_group(SymmetryOperations(BROKEN, torch.zeros(2, 2).double())),
        "2 matrices that are no group",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()


def test_another_count_than_spglibs_is_told(monkeypatch):
    pytest.importorskip("spglib", reason=SPGLIB)
    fewer = SymmetryOperations(torch.eye(3, dtype=torch.int64)[None], torch.zeros(1, 3))
    monkeypatch.setattr(
        "adaptive_attention_tiling.mathematics.crystal.space_group.symmetry_operations",
        lambda *_: fewer,
    )
    with pytest.raises(ArgumentError, match="spglib finds 48 operations where we find 1"):
        space_group.symmetry_group(FCC, real(ONE), torch.tensor([0]))
