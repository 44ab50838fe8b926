"""The Fisher metric of keys under queries, and tiles of equal length in it."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import CategoricalFisherRao, SoftmaxFamily
from adaptive_attention_tiling.testing import assert_close
from adaptive_attention_tiling.tiling import (
    CausalQueryMetric,
    DenseMetric,
    InformationDensityAnalyzer,
    LowRankMetric,
    TileManager,
    arc_lengths,
    equal_arc_borders,
    query_metric,
    query_moments,
)


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("centred", [True, False])
def test_the_form_is_the_mean_square_of_the_change_of_logits(centred):
    query, step = normal(3, 40, 6) + 1, normal(3, 20, 6)
    change = torch.einsum("hqd,hsd->hsq", query, step) * 0.5
    wanted = change.var(-1, correction=0) if centred else change.square().mean(-1)
    dense = query_metric(query, scale=0.5, centred=centred)
    assert_close(dense.squared_norm(step, step), wanted)
    full = query_metric(query, scale=0.5, centred=centred, rank=6)
    assert_close(full.squared_norm(step, step), wanted)
    cut = query_metric(query, scale=0.5, centred=centred, rank=2)
    assert bool((cut.squared_norm(step, step) <= wanted + 1e-12).all())


def test_it_is_the_metric_of_the_softmax_over_queries_at_the_origin():
    query, step = normal(30, 5), normal(5)
    family = SoftmaxFamily(query * 5**-0.5)
    wanted = family.squared_norm(torch.zeros(5, dtype=torch.float64), step)
    assert_close(query_metric(query, centred=True).squared_norm(step, step), wanted)


def test_short_steps_are_as_long_as_fisher_rao_says():
    """|dk|^2 against the literal distance of softmax(q . k) and softmax(q . (k + dk))."""
    query, step = normal(50, 4), normal(4)
    metric, sphere = query_metric(query, scale=1.0, centred=True), CategoricalFisherRao()
    errors = []
    for size in (1e-1, 1e-2, 1e-3):
        p, q = ((s * (query @ step)).softmax(-1) for s in (0.0, size))
        length = metric.squared_norm(step, size * step).sqrt()
        errors.append(((sphere.distance(p, q) - length).abs() / length).item())
    assert errors[0] < 0.2
    assert errors[2] < 2e-3
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("centred", [True, False])
def test_causal_metric_is_that_of_the_queries_so_far(centred):
    query, step = normal(2, 150, 4) + 0.5, normal(2, 150, 4)
    fast = CausalQueryMetric(query, centred=centred).squared_norm(step, step)
    for t in (0, 1, 63, 64, 149):
        slow = query_metric(query[:, : t + 1], centred=centred)
        x = step[:, t : t + 1]
        assert_close(fast[:, t : t + 1], slow.squared_norm(x, x))


def test_causal_lengths_do_not_look_ahead_and_go_on_in_pieces():
    query, key = normal(2, 150, 4), normal(2, 150, 4)
    whole = arc_lengths(key, CausalQueryMetric(query))
    later = query.clone()
    later[:, 70:] += 100
    assert torch.equal(arc_lengths(key, CausalQueryMetric(later))[:, :70], whole[:, :70])
    first = CausalQueryMetric(query[:, :70])
    second = CausalQueryMetric(query[:, 70:], past=first.moments)
    steps = key.diff(dim=1, prepend=key[:, :1])
    assert_close(second.squared_norm(steps[:, 70:], steps[:, 70:]).sqrt(), whole[:, 70:])
    moments = query_moments(query)
    assert_close(second.moments.matrix(), moments.matrix())


def test_gradients_of_both_forms():
    step = normal(2, 9, 3).requires_grad_()
    query = normal(2, 9, 3).requires_grad_()
    for metric in (query_metric, CausalQueryMetric):
        assert torch.autograd.gradcheck(
            lambda q, x, metric=metric: metric(q, centred=True).squared_norm(x, x).sum(-1) + 0.0,
            (query, step),
        )


@pytest.mark.parametrize("metric", [None, DenseMetric(torch.eye(3).double())])
def test_lengths_of_steps_have_gradients_also_where_a_step_is_zero(metric):
    """As the first one always is, which has none."""
    states = normal(1, 3)[[0, 0, 0]] + torch.tensor([[0.0], [0.0], [2.0]]).double()
    states.requires_grad_()
    (slope,) = torch.autograd.grad(arc_lengths(states, metric).sum(), states)
    expected = torch.tensor([[0.0], [-1.0], [1.0]]).double().expand(3, 3) / 3**0.5
    torch.testing.assert_close(slope, expected)


def test_equal_lengths_cut_the_path_in_equal_parts():
    lengths = torch.tensor([[0.0, 1, 1, 1, 1, 4, 4, 4], [0, 0, 0, 0, 0, 0, 0, 0]])
    assert equal_arc_borders(lengths, 2).tolist() == [[0, 5, 8], [0, 4, 8]]
    assert equal_arc_borders(lengths, 4).tolist() == [[0, 4, 5, 6, 8], [0, 2, 4, 6, 8]]
    assert equal_arc_borders(lengths, 8).tolist() == [list(range(9))] * 2


@pytest.mark.parametrize("tiles", [1, 7, 31, 60])
def test_every_tile_has_a_token_and_at_most_its_share_of_the_path(tiles):
    lengths = normal(5, 60).exp() * (torch.rand(5, 60) > 0.7)
    borders = equal_arc_borders(lengths, tiles)
    assert bool((borders.diff(dim=-1) > 0).all())
    assert borders[:, 0].tolist() == [0] * 5
    assert borders[:, -1].tolist() == [60] * 5
    if tiles <= 7:  # more of them than steps share single tokens
        covered = lengths.cumsum(-1)
        inside = covered.gather(1, borders[:, 1:] - 1) - covered.gather(1, borders[:, :-1])
        assert bool((inside <= covered[:, -1:] / tiles + 1e-12).all())


def pooled_error(query, key, value, borders):
    """|out - exact| / |exact| of attention to mean keys and values, weighed with their number."""
    tile = torch.bucketize(torch.arange(len(key)), borders[1:-1], right=True)
    pool = torch.nn.functional.one_hot(tile, len(borders) - 1).to(key)
    count = pool.sum(0)
    exact = (query @ key.mT).softmax(-1) @ value
    weights = (query @ (pool.mT @ key / count[:, None]).mT + count.log()).softmax(-1)
    return ((weights @ (pool.mT @ value / count[:, None]) - exact).norm() / exact.norm()).item()


def two_bursts(seed):
    """Keys of 8 channels that move early and 8 that move late; values follow the first."""
    generator = torch.Generator().manual_seed(seed)
    speed = torch.ones(256, 16, dtype=torch.float64)
    speed[:64, :8], speed[192:, 8:] = 12, 12
    steps = torch.randn(256, 16, generator=generator, dtype=torch.float64) * speed
    key = steps.cumsum(0)
    key = (key - key.mean(0)) / key.std(0)
    return key, torch.randn(200, 16, generator=generator, dtype=torch.float64)


def errors_of(*, anisotropic):
    found = {"euclid": 0.0, "fisher": 0.0}
    for seed in range(6):
        key, query = two_bursts(seed)
        if anisotropic:
            query[:, 8:] *= 0.02
        metric = query_metric(query, scale=1.0, centred=True)
        for name, way in (("euclid", None), ("fisher", metric)):
            borders = equal_arc_borders(arc_lengths(key, way), 16)
            found[name] += pooled_error(query, key, key[:, :8], borders) / 6
    return found


def test_the_form_pays_where_queries_look_one_way_and_only_there():
    anisotropic, isotropic = errors_of(anisotropic=True), errors_of(anisotropic=False)
    assert anisotropic["fisher"] < 0.8 * anisotropic["euclid"], anisotropic
    assert isotropic["fisher"] == pytest.approx(isotropic["euclid"], rel=0.1), isotropic


def test_density_and_tiles_take_the_metric():
    """Steps that no query sees have no density, and the tile manager merges across them."""
    key = torch.zeros(1, 64, 2)
    key[:, ::2, 1] = 5.0  # unseen
    key[:, 48:, 0] = torch.linspace(0, 3, 16)
    query = torch.zeros(1, 10, 2)
    query[..., 0] = torch.linspace(-1, 1, 10)
    metric = query_metric(query, scale=1.0)
    density = InformationDensityAnalyzer(1, metric=metric).compute_density(key)
    assert bool((density[:, :48] == 0).all())
    assert bool((density[:, 49:] > 0).all())
    tiler = TileManager(8, 16, super_block=64, resolutions=(1, 1 / 8))
    tiling = tiler.optimize_tiling(density, 0.45, kind="density")
    resolution = {tile.start: tile.resolution for tile in tiling.tiles(0)}
    assert resolution[0] == 0.125
    assert resolution[max(resolution)] == 1.0


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("query", lambda: query_metric(torch.zeros(3))),
        ("query", lambda: query_metric(torch.zeros(0, 3))),
        ("rank", lambda: query_metric(normal(4, 3), rank=4)),
        ("past", lambda: query_moments(normal(4, 3), past=query_moments(normal(4, 2)))),
        ("past", lambda: CausalQueryMetric(normal(4, 3), past=query_moments(normal(2, 4, 3)))),
        (
            "tangent",
            lambda: CausalQueryMetric(normal(4, 3)).squared_norm(normal(5, 3), normal(5, 3)),
        ),
        ("tangent", lambda: query_metric(normal(4, 3)).squared_norm(normal(5, 2), normal(5, 2))),
        ("matrix", lambda: DenseMetric(torch.tensor([[1.0, 0], [1, 1]]))),
        ("matrix", lambda: DenseMetric(-torch.eye(2))),
        ("matrix", lambda: DenseMetric(torch.full((2, 2), torch.nan))),
        ("matrix", lambda: DenseMetric(torch.ones(2, 3))),
        ("tangent", lambda: LowRankMetric(normal(3, 2)).coordinates(normal(4, 2))),
        ("states", lambda: arc_lengths(torch.zeros(3))),
        ("tiles", lambda: equal_arc_borders(torch.ones(3), 4)),
        ("tiles", lambda: equal_arc_borders(torch.ones(3), 0)),
        ("lengths", lambda: equal_arc_borders(torch.tensor([1.0, -1]), 1)),
        ("lengths", lambda: equal_arc_borders(torch.tensor([1.0, torch.nan]), 1)),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
