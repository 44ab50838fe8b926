"""The tree holds what its tokens say, in any pieces, and no reading is further off than bounded."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close, assert_monotone
from adaptive_attention_tiling.tiling import KeyTree
from adaptive_attention_tiling.tiling.tree import Estimate, KeyCut, read
from adaptive_attention_tiling.tiling.tree.reference import reference_moments, reference_read

LAYOUT = TileLayout(super_block=16, tile=4, group=2, cells=2)
N, S, D, E, T = 2, 7 * 16 + 5, 4, 3, 5
KINDS = ("gaussian", "clustered", "heavy", "outliers")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def drawn(kind: str, scale: float = 1.0, tokens: int = S) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values and queries."""
    key = normal(N, tokens, D)
    if kind == "clustered":
        key = normal(6, D)[torch.randint(6, (N, tokens))] * 2 + 0.1 * key
    elif kind == "heavy":
        key = key / torch.rand(N, tokens, 1, dtype=torch.float64).sqrt()
    elif kind == "outliers":
        key = 0.1 * key + 5 * key * (torch.rand(N, tokens, 1) < 0.02)
    return key * scale, normal(N, tokens, E), normal(N, T, D)


def grown(
    key: Tensor, value: Tensor, *, rank: int | None = None, valid: Tensor | None = None
) -> KeyTree:
    tree = KeyTree(LAYOUT, rank=rank)
    tree.append(key, value, valid=valid)
    return tree


def exact(query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None) -> Tensor:
    """Softmax attention over the tokens of whole super-blocks."""
    whole = key.shape[1] - key.shape[1] % LAYOUT.super_block
    logits = query @ key[:, :whole].mT
    if valid is not None:
        logits = logits.masked_fill(~valid[:, None, :whole], -torch.inf)
    return logits.softmax(-1) @ value[:, :whole]


def error(got: Tensor, wanted: Tensor, value: Tensor) -> Tensor:
    """In units of the largest value [n, T]."""
    return (got - wanted).norm(dim=-1) / value.norm(dim=-1).amax(1)[:, None]


def padding(tokens: int = S) -> Tensor:
    valid = torch.rand(N, tokens) < 0.7
    valid[:, :20] = False
    return valid


@pytest.mark.parametrize("rank", [None, 2])
def test_moments_of_every_height_are_those_of_the_tokens_it_names(rank):
    (key, value, _), valid = drawn("gaussian"), padding()
    tree = grown(key, value, rank=rank, valid=valid)
    assert (tree.heights, tree.length, tree.finished) == (4, S, 7 * 16)
    for height in range(tree.heights):
        members, moments = tree.tokens(height), tree.moments(height)
        for n in range(N):
            for node in range(members.shape[1]):
                at = members[n, node][members[n, node] >= 0]
                assert moments.count[n, node] == len(at)
                assert valid[n, at].all()
                if not len(at):
                    continue
                mean, value_mean, sigma, cross = reference_moments(key[n, at], value[n, at])
                assert_close(moments.key[n, node], mean, row="special_case")
                assert_close(moments.value[n, node], value_mean, row="special_case")
                assert moments.radius[n, node] >= (key[n, at] - mean).norm(dim=-1).max() - 1e-12
                if rank is None:
                    assert_close(moments.covariance[n, node], sigma, row="special_case")
                    assert_close(moments.cross[n, node], cross, row="special_case")
                else:
                    leading = torch.linalg.eigvalsh(sigma).flip(-1)
                    assert_close(moments.variances[n, node], leading[:rank], row="special_case")
                    assert_close(moments.rest[n, node], leading[rank], row="special_case")


def test_nodes_of_a_height_share_the_tokens_among_them():
    """Heights of 1, 1, 2 and 4 super-blocks: 7, 7, 6 and 4 of them, each token once."""
    key, value, _ = drawn("gaussian")
    tree = grown(key, value)
    for height, blocks in enumerate((7, 7, 6, 4)):
        for members in tree.tokens(height):
            assert members.flatten().sort().values.tolist() == list(range(16 * blocks))
    tile_of = tree.tokens(0).flatten(1).argsort(-1) // LAYOUT.tile
    for n, node in ((0, 0), (1, 3)):
        tiles = tile_of[n, tree.tokens(2)[n, node]].bincount()
        assert set(tiles.tolist()) <= {0, LAYOUT.tile}, "a node is made of whole tiles"


@pytest.mark.parametrize("rank", [None, 1])
def test_the_same_tree_in_whatever_pieces(rank):
    (key, value, query), valid = drawn("heavy"), padding()
    scale = torch.rand(N, D, dtype=torch.float64) + 0.5
    whole = KeyTree(LAYOUT, rank=rank)
    whole.append(key, value, valid=valid, scale=scale)
    for pieces in ([1] * S, [3, 50, 0, 1, S - 54], [16] * 7 + [5]):
        tree = KeyTree(LAYOUT, rank=rank)
        for k, v, there in zip(*(x.split(pieces, 1) for x in (key, value, valid)), strict=True):
            tree.append(k, v, valid=there, scale=scale)
        assert (tree.heights, tree.length) == (whole.heights, whole.length)
        for height in range(tree.heights):
            assert_bit_equal(tree.tokens(height), whole.tokens(height))
            for name, x in vars(tree.moments(height)).items():
                assert_bit_equal(x, getattr(whole.moments(height), name), what=name)
        cuts = [each.cut(query, tolerance=0.3) for each in (tree, whole)]
        assert_bit_equal(tree.read(query, cuts[0]).output, whole.read(query, cuts[1]).output)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_everything_opened_is_softmax_attention(padded, order):
    (key, value, query), valid = drawn("gaussian"), padding() if padded else None
    tree = grown(key, value, valid=valid)
    cut = tree.cut(query, tolerance=0, order=order)
    assert_close(tree.read(query, cut).output, exact(query, key, value, valid), row="special_case")
    there = torch.ones(N, S) if valid is None else valid
    assert (cut.rows == there[:, : 7 * 16].sum(-1)[:, None]).all()
    assert not cut.error.any()


@pytest.mark.parametrize("rank", [None, 0, 2])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("kind", KINDS)
def test_no_query_is_further_off_than_certified(kind, scale, rank):
    key, value, query = drawn(kind, scale)
    tree, wanted = grown(key, value, rank=rank), exact(query, key, value)
    for order in (1, 2):
        for tolerance in (1e-3, 0.05, 0.5, 5.0):
            cut = tree.cut(query, tolerance=tolerance, order=order)
            assert (cut.error <= tolerance * (1 + 1e-9)).all()
            for read_in in (1, 2):
                got = tree.read(query, cut, order=read_in)
                assert (error(got.output, wanted, value[:, : 7 * 16]) <= got.error + 1e-14).all()
                assert read_in != order or (got.error <= cut.error * (1 + 1e-9)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padded_tokens_may_hold_anything(dtype):
    (key, value, query), valid = (x.to(dtype) for x in drawn("gaussian")), padding()
    tree = grown(key, value, valid=valid)
    torn = grown(*(x.masked_fill(~valid[..., None], torch.inf) for x in (key, value)), valid=valid)
    cut = tree.cut(query, tolerance=0.2)
    assert_bit_equal(torn.read(query, cut).output, tree.read(query, cut).output)


def test_the_dearest_node_is_opened_first():
    """One super-block; the first four keys lie far apart, the others nearly together."""
    tree = KeyTree(TileLayout(super_block=16, tile=4, group=2, cells=2, order="contiguous"))
    key = 1e-3 * normal(1, 16, D)
    key[:, :4] = normal(1, 4, D)
    tree.append(key, normal(1, 16, E))
    query = normal(1, 1, D)
    assert tree.cut(query, rows=2).closed[0, 0].tolist() == [False] * 4 + [True] * 2
    assert tree.cut(query, rows=3).closed[0, 0].tolist() == [True, True] + [False] * 3 + [True]
    cut = tree.cut(query, rows=6)
    assert cut.closed[0, 0].tolist() == [False, True] + [False] * 3 + [True]
    assert (cut.exact[0, 0].tolist(), cut.rows.item()) == ([True, False, False, False], 6)
    within = tree.cut(query, tolerance=0.5 * tree.cut(query, rows=3).error.item())
    assert_bit_equal(within.closed, cut.closed)


@pytest.mark.parametrize("order", [1, 2])
def test_more_rows_and_smaller_tolerances(order):
    key, value, query = drawn("gaussian")
    tree = grown(key, value)
    cuts = [tree.cut(query, rows=rows, order=order) for rows in (10, 20, 40, 80, 112)]
    for rows, cut in zip((10, 20, 40, 80, 112), cuts, strict=True):
        assert (cut.rows <= rows).all()
        assert (cut.rows > rows - LAYOUT.tile).all()
    assert_monotone([cut.error.mean() for cut in cuts], decreasing=True, what="error by rows")
    read_rows = [
        tree.cut(query, tolerance=at, order=order).rows.double().mean() for at in (0.01, 0.1, 1.0)
    ]
    assert_monotone(read_rows, decreasing=True, what="rows by tolerance")
    assert read_rows[0] > 2 * read_rows[-1]


def test_only_far_super_blocks_are_read():
    key, value, query = drawn("gaussian")
    tree, far = grown(key, value), torch.tensor([True] * 3 + [False] * 2 + [True, False])
    at = far.repeat_interleave(16).nonzero()[:, 0]
    wanted = exact(query, key[:, at], value[:, at])
    cut = tree.cut(query, tolerance=0, far=far)
    assert_close(tree.read(query, cut).output, wanted, row="special_case")
    coarse = tree.cut(query, rows=1, far=far)
    assert (coarse.rows == 2 * 3).all(), "a pair, a block and a block, each of two nodes"


def nodes_of(
    tree: KeyTree, cut: KeyCut, n: int, t: int
) -> tuple[list[tuple[list[int], Tensor]], list[int]]:
    """The closed sets of tokens, with their radii, and the tokens read exactly."""
    closed, first = [], 0
    for height in range(tree.heights):
        radius = tree.moments(height).radius[n]
        for node in cut.closed[n, t, first : first + len(radius)].nonzero()[:, 0]:
            closed.append((tree.tokens(height)[n, node].tolist(), radius[node]))
        first += len(radius)
    return closed, tree.tokens(0)[n, cut.exact[n, t]].flatten().tolist()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["gaussian", "outliers"])
def test_reading_and_all_gradients_are_those_of_the_formula(kind, order):
    leaves = [x.requires_grad_() for x in drawn(kind)]
    key, value, query = leaves
    tree = grown(key, value)
    cut = tree.cut(query, rows=30)
    got = tree.read(query, cut, order=order)
    loss, wanted = 0, 0
    for n in range(N):
        for t in range(2):
            sets, tokens = nodes_of(tree, cut, n, t)
            output, lse = reference_read(query[n, t], key[n], value[n], sets, tokens, order)
            assert_close(got.output[n, t], output)
            assert_close(got.lse[n, t], lse)
            weight = normal(E)
            loss = loss + got.output[n, t] @ weight + got.lse[n, t].cos()
            wanted = wanted + output @ weight + lse.cos()
    fast = torch.autograd.grad(loss, leaves, retain_graph=True)
    for x, y in zip(fast, torch.autograd.grad(wanted, leaves), strict=True):
        assert_close(x, y, gradient=True)


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_through_a_fixed_cut_are_its_slopes(order):
    """Central differences over tokens and queries, the moments and their guard included."""
    layout = TileLayout(super_block=8, tile=4, group=2, cells=1)
    tokens = [x[:1, :8, :2] * 1.5 for x in drawn("gaussian")]
    leaves = [x.clone().requires_grad_() for x in (*tokens[:2], tokens[2][:, :2])]
    first = KeyTree(layout)
    first.append(*leaves[:2])
    cut = first.cut(leaves[2], rows=5)
    assert cut.exact.any()
    assert cut.closed.any()

    def through(key: Tensor, value: Tensor, query: Tensor) -> Tensor:
        tree = KeyTree(layout)
        tree.append(key, value)
        return tree.read(query, cut, order=order).output

    assert torch.autograd.gradcheck(through, leaves)


def errors_of_orders(
    tree: KeyTree, cut: KeyCut, query: Tensor, wanted: Tensor, value: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Mean error and mean bound, first order and second."""
    reads = [tree.read(query, cut, order=order) for order in (1, 2)]
    for each in reads:
        assert (error(each.output, wanted, value) <= each.error).all()
    return [(error(x.output, wanted, value).mean(), x.error.mean()) for x in reads]


def test_order_of_the_error_on_light_tails():
    """Half the spread: half the error of means, a quarter of second order's; bounds likewise."""
    key, value, query = drawn("gaussian", 0.1)
    measured = []
    for scale in (1.0, 0.5):
        tree = grown(key * scale, value)
        cut, wanted = tree.cut(query, rows=14), exact(query, key * scale, value)
        measured.append(errors_of_orders(tree, cut, query, wanted, value))
    wide, narrow = measured
    for order in (1, 2):
        for one, half in zip(wide[order - 1], narrow[order - 1], strict=True):
            assert 0.8 * 2**order <= one / half <= 1.25 * 2**order
    assert wide[1][0] < 0.2 * wide[0][0], "second order is the better one"
    assert wide[1][1] < 0.2 * wide[0][1], "and is known to be"


@pytest.mark.parametrize(("kind", "scale"), [("heavy", 4.0), ("outliers", 2.0), ("clustered", 3.0)])
def test_the_guard_keeps_second_order_in_reach_where_tails_are_heavy(kind, scale, monkeypatch):
    """Its errors are no more than a quarter above those of means; a Gaussian's are a multiple."""
    key, value, query = drawn(kind, scale)
    tree, wanted = grown(key, value), exact(query, key, value)
    cut = tree.cut(query, rows=1)
    first, second = (at[0] for at in errors_of_orders(tree, cut, query, wanted, value))
    assert second <= 1.25 * first
    monkeypatch.setattr(read, "guarded", lambda s: Estimate(s.held / 2, torch.ones_like(s.held)))
    gaussian = error(tree.read(query, cut).output, wanted, value)
    assert gaussian.mean() > 2 * first
    assert gaussian.max() > 1.5, "the Gaussian reads values that are out of reach"


def test_nothing_but_padding_reads_nothing():
    leaves = [x.requires_grad_() for x in drawn("gaussian")]
    tree = grown(*leaves[:2], valid=torch.zeros(N, S, dtype=torch.bool))
    got = tree.read(leaves[2], tree.cut(leaves[2], tolerance=0.1))
    assert not got.output.any()
    assert not got.error.any()
    assert (got.lse == -torch.inf).all()
    for gradient in torch.autograd.grad(got.output.sum(), leaves, allow_unused=True):
        assert gradient is None or not gradient.any()


BAD = {
    "key": lambda tree, k, v, q: tree.append(k[0], v),
    "value": lambda tree, k, v, q: tree.append(k, v[:, 1:]),
    "valid": lambda tree, k, v, q: tree.append(k, v, valid=torch.ones(1, 1).bool()),
    "scale": lambda tree, k, v, q: tree.append(k, v, scale=torch.ones(N, D + 1)),
    "query": lambda tree, k, v, q: tree.cut(q[:1], tolerance=0.1),
    "far": lambda tree, k, v, q: tree.cut(q, tolerance=0.1, far=torch.ones(3).bool()),
    "order": lambda tree, k, v, q: tree.cut(q, tolerance=0.1, order=3),
    "tolerance": lambda tree, k, v, q: tree.cut(q),
    "tolerance, rows": lambda tree, k, v, q: tree.cut(q, tolerance=0.1, rows=3),
    "-1": lambda tree, k, v, q: tree.cut(q, tolerance=-1),
    "height": lambda tree, k, v, q: tree.moments(9),
    "length": lambda tree, k, v, q: KeyTree(LAYOUT).cut(q, tolerance=0.1),
    "rank": lambda tree, k, v, q: grown(k, v, rank=-1),
    "as before": lambda tree, k, v, q: tree.append(k[..., 1:], v),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named(name):
    key, value, query = drawn("gaussian")
    with pytest.raises(ArgumentError, match=name):
        BAD[name](grown(key, value), key, value, query)
