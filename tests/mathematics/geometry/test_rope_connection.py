import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers.rotary import rotate
from adaptive_attention_tiling.mathematics.geometry.fiber_bundle import (
    BundlePoint,
    Path,
    frame_error_bound,
    grid_frame_error_bound,
    holonomy_defect,
    householder_steps,
    line_transports,
    loop_holonomy,
    plaquette_holonomy,
    rotary_bundle,
    rotary_frequencies,
    rotary_transport,
)


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def reflections(*shape):
    """Householder reflections that differ from each other, as data would make them."""
    return householder_steps(random(*shape), torch.full(shape[:-1], 2.0, dtype=torch.float64))


def aligning(vectors):
    """U_ij, the reflection product that takes unit vector j to unit vector i in their plane."""
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    total = unit[:, None] + unit[None]
    strength = torch.full(total.shape[:-1], 2.0, dtype=torch.float64)
    second = householder_steps(total, strength)  # w_i + w_j: takes w_j to -w_i
    first = householder_steps(unit[None].expand_as(total), strength)  # w_j to -w_j
    return second @ first


def test_golden_rotary_connection_is_flat():
    """B8: R_ij R_jk R_ki - 1 of U(1)^16 is zero to 1.8e-15, and so is F."""
    frequencies = rotary_frequencies(32)
    p = torch.arange(8, dtype=torch.float64)[:, None]
    closed = rotary_transport(frequencies, p[None], p[:, None])
    triangles = closed[:, :, None] * closed[None] * closed.transpose(0, 1)[:, None]
    assert triangles.shape == (8, 8, 8, 16)
    assert float((triangles - 1).abs().max()) < 1.8e-15
    assert float(holonomy_defect(torch.diag_embed(closed)).max()) < 1.8e-15
    bundle = rotary_bundle(frequencies)
    corners = torch.tensor([[0.0], [3.0], [-4.0], [0.0]], dtype=torch.float64)
    around = bundle.holonomy(Path.through(corners), steps=1)
    assert float((around - torch.eye(16)).abs().max()) < 1e-14  # by matrix exponentials
    assert bundle.curvature(p).abs().max() == 0
    assert bundle.is_flat()


@pytest.mark.parametrize("axes", [1, 2])
def test_rotary_transport_depends_on_end_points_alone(axes):
    frequencies = random(axes, 8)
    bundle = rotary_bundle(frequencies)
    start, end, between = random(3, 5, axes).unbind(0)
    straight = bundle.transport(Path.through(torch.stack([start, end], 1)), steps=1)
    detour = bundle.transport(Path.through(torch.stack([start, between, end], 1)), steps=1)
    torch.testing.assert_close(detour, straight, rtol=0, atol=1e-14)
    closed = torch.diag_embed(rotary_transport(frequencies, start, end))
    torch.testing.assert_close(straight, closed, rtol=0, atol=1e-14)


def test_scores_by_transport_are_those_of_the_rotary_layer():
    width, tokens = 16, 9
    heads = random(2, 1, 1, tokens, width)
    positions = torch.tensor([[0, 1, 2, 5, 8, 13, 40, 41, 100]])
    query, key = (rotate(rows, positions)[0, 0] for rows in heads)
    expected = query @ key.T
    frequencies = rotary_frequencies(width)
    p = positions[0, :, None].double()
    fibres = torch.complex(heads[..., : width // 2], heads[..., width // 2 :])[:, 0, 0]
    moved = rotary_transport(frequencies, p[None], p[:, None]) * fibres[1]  # [query, key, D/2]
    scores = torch.einsum("id,ijd->ij", fibres[0].conj(), moved).real
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-13)
    # The layer's turned keys are the keys carried to position 0 by the bundle.
    paths = Path.through(torch.stack([p, torch.zeros_like(p)], 1))
    cached = rotary_bundle(frequencies).parallel_transport(
        BundlePoint(p, "all", fibres[1]), paths, steps=1
    )
    flat = torch.cat([cached.fiber.real, cached.fiber.imag], -1)
    torch.testing.assert_close(flat, key, rtol=0, atol=1e-12)


def test_products_along_a_line_have_no_holonomy_and_keys_can_be_cached():
    strengths = 2 * torch.rand(7, dtype=torch.float64)
    transports = line_transports(householder_steps(random(7, 4), strengths))
    assert float(holonomy_defect(transports).max()) < 1e-11
    assert float(frame_error_bound(transports).max()) < 1e-11
    steps = householder_steps(random(2, 7, 4), strengths.expand(2, 7))
    found = line_transports(steps)
    by_hand = steps[:, 5] @ steps[:, 4] @ steps[:, 3]
    torch.testing.assert_close(found[:, 5, 2], by_hand)
    torch.testing.assert_close(found[:, 2, 5], torch.linalg.inv(by_hand))


def test_transports_by_pairs_have_holonomy_which_is_a_solid_angle():
    """In three dimensions the one that aligns unit vectors is transport along great circles."""
    corners = torch.eye(3, dtype=torch.float64)
    transports = aligning(corners)
    found = loop_holonomy(transports, torch.tensor([[0, 2, 1]]))[0]
    # An octant has the area pi / 2, by which the tangent plane turns.
    expected = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    defect = float(holonomy_defect(transports)[0])
    assert defect == pytest.approx(2 * math.sin(math.pi / 4), abs=1e-14)


@pytest.mark.parametrize("root", [0, 3])
def test_error_of_one_frame_is_bounded_and_the_bound_is_met(root):
    transports = aligning(random(6, 5))
    bound = frame_error_bound(transports, root)
    query, key = random(200, 6, 5), random(200, 6, 5)
    exact = torch.einsum("sir,ijrc,sjc->sij", query, transports, key)
    cached = torch.einsum("jrc,sjc->sjr", transports[root], key)
    turned = torch.einsum("irc,sir->sic", transports[:, root], query)
    error = (exact - turned @ cached.mT).abs()
    allowed = bound * query.norm(dim=-1)[..., :, None] * key.norm(dim=-1)[..., None, :]
    assert bool((error <= allowed + 1e-12).all())
    assert float((error / allowed.clamp(min=1e-12)).max()) > 0.8
    through = transports[:, root, None] @ transports[root][None]
    left, value, right = torch.linalg.svd((transports - through)[1, 4])
    assert float(left[:, 0] @ (transports - through)[1, 4] @ right[0]) == pytest.approx(
        float(bound[1, 4])
    )
    # For isometries it is the holonomy of the loop through the root.
    others = torch.tensor([[1, root, 4], [2, root, 5]])
    defects = holonomy_defect(transports, others)
    torch.testing.assert_close(defects, bound[[1, 2], [4, 5]])
    assert float(value[0]) > 0.1


def test_loops_are_flat_together_with_those_through_the_first_token():
    frames = torch.linalg.qr(random(5, 3, 3)).Q
    flat = frames[:, None] @ frames.mT[None]
    assert float(holonomy_defect(flat).max()) < 1e-13
    every = torch.combinations(torch.arange(5), 4)
    assert float(holonomy_defect(flat, every).max()) < 1e-13
    bent = flat.clone()
    turn = torch.linalg.qr(random(3, 3)).Q
    bent[3, 4], bent[4, 3] = turn, turn.mT
    assert int((holonomy_defect(bent) > 0.1).sum()) == 1  # only the triangle (3, 4, 0)


def routes(right, down, moves):
    """Transport from (0, 0) along a word of moves."""
    y, x, found = 0, 0, torch.eye(right.shape[-1], dtype=right.dtype)
    for move in moves:
        found = (right[y, x] if move == "r" else down[y, x]) @ found
        y, x = (y, x + 1) if move == "r" else (y + 1, x)
    return found


def test_curvature_of_a_grid_bounds_what_routes_differ_by():
    small = 0.04 * random(2, 4, 4, 3, 3)
    near = torch.linalg.matrix_exp(small - small.mT)
    for right, down in [
        (reflections(4, 3, 3), reflections(3, 4, 3)),
        (near[0, :, :3], near[1, :3]),
    ]:
        bound = float(grid_frame_error_bound(right, down))
        words = ["rrrddd", "dddrrr", "rdrdrd", "drrddr", "ddrrrd"]
        ends = torch.stack([routes(right, down, word) for word in words])
        gaps = torch.linalg.matrix_norm(ends[:, None] - ends[None], ord=2)
        assert 0 < float(gaps.max()) <= bound
    assert bound < 2  # which says something of the near case: isometries differ by 2 at most
    one = plaquette_holonomy(right, down)[0, 0]
    by_hand = routes(right, down, "dr").mT @ routes(right, down, "rd")
    torch.testing.assert_close(one, by_hand)
    assert float(torch.linalg.matrix_norm(one - torch.eye(3), ord=2)) > 1e-3


def test_pure_gauges_on_a_grid_are_flat():
    frames = torch.linalg.qr(random(3, 4, 3, 3)).Q
    right, down = frames[:, 1:] @ frames[:, :-1].mT, frames[1:] @ frames[:-1].mT
    assert float(grid_frame_error_bound(right, down)) < 1e-13


def test_gradcheck_of_defects_and_transports():
    # Norms have a corner where they vanish, as they do on the triangles of isometries.
    transports = random(4, 4, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(holonomy_defect, transports, fast_mode=True)
    assert torch.autograd.gradcheck(frame_error_bound, transports, fast_mode=True)
    steps = householder_steps(random(4, 3), torch.rand(4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(line_transports, steps, fast_mode=True)
    frequencies, p = random(1, 4).requires_grad_(), random(2, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w, p: rotary_transport(w, p[0], p[1]), (frequencies, p), fast_mode=True
    )


GRID = torch.eye(2).expand(2, 2, 2, 2)
MISUSED = {
    "odd width": (lambda: rotary_frequencies(7), "width: got 7"),
    "frequencies of one axis": (lambda: rotary_bundle(random(4)), r"frequencies: .*\[4\]"),
    "NaN frequency": (lambda: rotary_bundle(random(1, 4) * math.nan), "frequencies: got NaN"),
    "positions of two axes": (
        lambda: rotary_transport(random(1, 4), random(3, 2), random(3, 1)),
        r"start: got shape \[3, 2\], expected \[..., 1\]",
    ),
    "strengths": (
        lambda: householder_steps(random(3, 2), random(2)),
        r"strengths: got shape \[2\], expected \[3\]",
    ),
    "not square": (lambda: line_transports(random(3, 2, 4)), r"steps: got shape \[3, 2, 4\]"),
    "not pairs": (lambda: holonomy_defect(random(3, 4, 2, 2)), r"transports: got shape"),
    "NaN": (lambda: holonomy_defect(random(3, 3, 2, 2) * math.nan), "transports: got NaN"),
    "loops of floats": (lambda: loop_holonomy(random(3, 3, 2, 2), random(1, 3)), "loops: got"),
    "loop of strangers": (
        lambda: loop_holonomy(random(3, 3, 2, 2), torch.tensor([[0, 1, 3]])),
        "loops: got tokens 0 to 3, expected 0 to 2",
    ),
    "root": (lambda: frame_error_bound(random(3, 3, 2, 2), 3), "root: got 3, expected 0 to 2"),
    "grid": (lambda: plaquette_holonomy(GRID, GRID), "down: got shape"),
    "not isometric": (
        lambda: grid_frame_error_bound(2 * GRID, GRID[:1, :1].expand(1, 3, 2, 2)),
        "right: got steps 3 away from isometries",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
