"""Constructors: what they promise of centres, widths and amplitudes."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import INITIALIZERS, KINDS, Bounds, SplatField, make_field
from adaptive_attention_tiling.splats.clusters import (
    cluster_covariance,
    cluster_variance,
    k_means,
)
from adaptive_attention_tiling.splats.least_squares import nonnegative_least_squares
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clustered(heads, number, width, clusters, noise, seed=0):
    """Points around the same centres twice, as queries and keys of a head that matches topics."""
    source = generator(seed)
    centres = torch.randn(heads, clusters, width, generator=source)

    def points():
        label = torch.randint(clusters, (heads, number, 1), generator=source)
        drawn = centres.gather(1, label.expand(-1, -1, width))
        return drawn + noise * torch.randn(heads, number, width, generator=source)

    return points(), points(), centres


def mahalanobis(field, x):
    """[H, N, K] squared distances, from the covariances."""
    splats = field.splats()
    gap = x[:, :, None] - splats.mean[:, None]
    inverse = torch.linalg.inv(splats.covariance)
    return torch.einsum("hnkd,hkde,hnke->hnk", gap, inverse, gap)


def log_kernel(field, query, key):
    """log sum_s exp(l_s(q) + l_s(k)), [H, N, M]."""
    reading, writing = field.log_features(query[None])[0], field.log_features(key[None])[0]
    return torch.logsumexp(reading[:, :, None] + writing[:, None], -1)


@torch.no_grad()
def output_error(field, query, key, scale):
    """Relative error of the attention output against softmax."""
    value = torch.randn(*key.shape[:2], 8, generator=generator(9)).to(query)
    expected = torch.softmax(scale * query @ key.mT, -1) @ value
    actual = torch.softmax(log_kernel(field, query, key), -1) @ value
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [4, 64])
def test_a_standard_normal_point_is_as_far_away_at_any_width(kind, width):
    field = SplatField.random(
        heads=2, splats=64, width=width, kind=kind, generator=generator(), dtype=torch.float64
    )
    x = torch.randn(2, 200, width, generator=generator(1), dtype=torch.float64)
    assert float(mahalanobis(field, x).mean().detach()) == pytest.approx(20.0, rel=0.15)


def test_random_draws_what_is_asked():
    field = SplatField.random(
        heads=3, splats=400, width=8, spread=2.0, scale=0.7, amplitude=3.0, generator=generator()
    )
    splats = field.splats()
    assert float(splats.mean.std().detach()) == pytest.approx(2.0, rel=0.05)
    assert_close(splats.scale, torch.full_like(splats.scale, 0.7))
    assert_close(splats.log_amplitude, torch.full_like(splats.log_amplitude, math.log(3.0)))
    assert field.norm_factor is None


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_a_random_field_can_learn(kind):
    """Factors of zero would never move: their gradient is a multiple of themselves."""
    field = SplatField.random(heads=2, splats=5, width=4, kind=kind, generator=generator())
    x = torch.randn(2, 2, 9, 4, generator=generator(1))
    torch.logsumexp(field.log_features(x), -1).square().sum().backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("name", ["random", "kmeans", "pca", "from_teacher"])
@pytest.mark.parametrize("kind", KINDS)
def test_capacity_leaves_empty_slots_at_the_end(name, kind):
    query, key, _ = clustered(2, 40, 4, 4, 0.3)
    given = {"random": {"heads": 2, "width": 4}, "kmeans": {"points": query}}
    given |= {"pca": {"points": query}, "from_teacher": {"query": query, "key": key}}
    options = {"splats": 6, "kind": kind, "capacity": 10, **given[name]}
    field = make_field(name, **options)
    assert field.count == 10
    assert not field.alive[:, 6:].any()
    if name != "from_teacher":
        assert field.alive[:, :6].all()
    assert not torch.logsumexp(field.log_features(query[None]), -1).isnan().any()


def test_the_same_generator_gives_the_same_field():
    query, key, _ = clustered(2, 60, 4, 4, 0.3)
    for name, given in {
        "random": {"heads": 2, "width": 4},
        "kmeans": {"points": query},
        "from_teacher": {"query": query, "key": key, "samples": 30},
    }.items():
        first, second, third = (
            make_field(name, **given, splats=6, generator=generator(seed)) for seed in (1, 1, 2)
        )
        assert_bit_equal(first.raw_mean, second.raw_mean)
        assert not torch.equal(first.raw_mean, third.raw_mean)


def test_the_table_and_the_class_agree():
    assert set(INITIALIZERS) == {"random", "kmeans", "pca", "from_teacher"}
    for name in INITIALIZERS:
        assert callable(getattr(SplatField, name))


def test_k_means_finds_clusters_that_lie_apart():
    points, _, centres = clustered(3, 300, 5, 8, 0.01, seed=3)
    found = k_means(points, 8, generator=generator())
    nearest = torch.cdist(centres, found.centres).min(-1)
    assert (nearest.values < 0.01).all()
    assert (nearest.indices.sort(-1).values == torch.arange(8)).all()
    assert_close(found.sizes.sum(-1), torch.full((3,), 300.0))
    assert float(cluster_variance(points, found).mean()) == pytest.approx(1e-4, rel=1.0)


def test_k_means_has_no_empty_cluster_and_settles_at_means():
    points = torch.randn(2, 50, 3, generator=generator(4))
    found = k_means(points, 20, iterations=100, generator=generator())
    assert (found.sizes > 0).all()
    for head in range(2):
        for cluster in range(20):
            members = points[head][found.labels[head] == cluster]
            assert_close(found.centres[head, cluster], members.mean(0))


def test_k_means_with_equal_points_still_has_centres():
    points = torch.ones(1, 10, 3)
    found = k_means(points, 4)
    assert_close(found.centres, torch.ones(1, 4, 3))
    field = SplatField.kmeans(points, splats=4, kind="full")
    assert torch.isfinite(field.log_features(points[None])).all()


def test_as_many_splats_as_points_is_a_splat_on_each():
    points = torch.randn(1, 12, 3, generator=generator(5))
    found = k_means(points, 12, generator=generator())
    assert_close(found.centres[0].sort(0).values, points[0].sort(0).values)


def test_golden_covariances_borrow_from_the_one_that_all_share():
    """As if each cluster had two more points per axis with the pooled covariance."""
    points = torch.randn(2, 40, 3, generator=generator(6), dtype=torch.float64)
    found = k_means(points, 4, generator=generator())
    covariance, variance = cluster_covariance(points, found), cluster_variance(points, found)
    for head in range(2):
        own, sizes = [], []
        for cluster in range(4):
            members = points[head][found.labels[head] == cluster] - found.centres[head, cluster]
            own.append(members.T @ members)
            sizes.append(len(members))
        floor = 1e-4 * points[head].var(0, correction=0).mean() * torch.eye(3)
        shared = sum(own) / 40 + floor
        for cluster in range(4):
            expected = (own[cluster] + 6 * shared) / (sizes[cluster] + 6)
            assert_close(covariance[head, cluster], expected)
            expected = (own[cluster] + 2 * shared).diagonal() / (sizes[cluster] + 2)
            assert_close(variance[head, cluster], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_kmeans_splats_hold_their_points(kind):
    """Points lie about 4 squared units from their own splat, and far from the others."""
    points, _, _ = clustered(2, 400, 8, 4, 0.1)
    field = SplatField.kmeans(points, splats=4, kind=kind, generator=generator())
    nearest, owner = mahalanobis(field, points).detach().min(-1)
    assert float(nearest.mean()) == pytest.approx(4.0, rel=0.1)
    assert all(len(owner[head].unique()) == 4 for head in range(2))


def test_wide_points_get_wide_bounds():
    points = 40 * torch.randn(1, 50, 2, generator=generator())
    assert SplatField.kmeans(points, splats=4).bounds.mean > 60
    with pytest.raises(ArgumentError, match="mean: got"):
        SplatField.kmeans(points, splats=4, bounds=Bounds())


def test_pca_centres_lie_along_the_principal_directions():
    axis = torch.tensor([0.6, 0.8, 0.0])
    along = torch.randn(1, 500, 1, generator=generator())
    points = 5 * along * axis + 0.1 * torch.randn(1, 500, 3, generator=generator(1)) + 2
    field = SplatField.pca(points, splats=7, directions=1)
    centres = field.splats().mean[0].detach() - points.mean((0, 1))
    shares = (centres @ axis).abs() / centres.norm(dim=-1).clamp(min=1e-3)
    assert (shares[centres.norm(dim=-1) > 1] > 0.999).all()
    places = (centres @ axis).sort().values
    projected = ((points[0] - points.mean((0, 1))) @ axis).sort().values
    below = torch.searchsorted(projected, places) / 500
    assert (below - (torch.arange(7) + 0.5) / 7).abs().max() < 0.01


def test_pca_covariance_is_that_of_the_points_but_for_the_layout():
    points = torch.randn(1, 5000, 2, generator=generator()) @ torch.diag(torch.tensor([4.0, 1.0]))
    field = SplatField.pca(points, splats=16, kind="full", directions=1)
    expected = torch.diag(torch.tensor([16.0 / 256, 1.0]))
    assert (field.splats().covariance[0, 3] - expected).abs().max() < 0.05


@pytest.mark.parametrize("splats", [1, 5, 32])
def test_pca_makes_just_as_many_different_centres(splats):
    points = torch.randn(2, 200, 6, generator=generator())
    field = SplatField.pca(points, splats=splats, directions=3)
    assert field.count == splats
    assert len(field.splats().mean[0].detach().unique(dim=0)) == splats


def problem(rows=40, columns=15, heads=6, seed=0):
    source = generator(seed)
    matrix = torch.rand(heads, rows, columns, generator=source, dtype=torch.float64)
    right = torch.randn(heads, rows, generator=source, dtype=torch.float64)
    return matrix.mT @ matrix, (matrix.mT @ right[..., None])[..., 0]


@pytest.mark.parametrize("seed", range(4))
def test_least_squares_meets_the_optimality_conditions(seed):
    """x >= 0, slope >= 0, and one of the two zero."""
    gram, target = problem(seed=seed)
    x = nonnegative_least_squares(gram, target)
    slope = (gram @ x[..., None])[..., 0] - target
    assert (x >= 0).all()
    assert (slope >= -1e-7).all()
    assert (x * slope).abs().max() <= 1e-7
    assert (x == 0).any()
    assert (x > 0).any()


def test_least_squares_of_almost_equal_columns_meets_them_too():
    """Gaussians that overlap, as those of a dense field do: condition number beyond 1e15."""
    places = torch.linspace(-1, 1, 60, dtype=torch.float64)
    columns = torch.exp(-((places[:, None] - places).square()))[None]
    target = (columns @ torch.exp(-20 * places.square())[:, None])[..., 0]
    x = nonnegative_least_squares(columns @ columns, target)
    slope = (columns @ columns @ x[..., None])[..., 0] - target
    assert (x >= 0).all()
    assert (slope >= -1e-6 * target.abs().max()).all()
    assert (x * slope).abs().max() <= 1e-6 * target.abs().max() * x.max()


def test_least_squares_finds_what_made_the_target():
    gram, _ = problem()
    truth = torch.rand(6, 15, generator=generator(7), dtype=torch.float64)
    truth[:, ::3] = 0.0
    found = nonnegative_least_squares(gram, (gram @ truth[..., None])[..., 0])
    assert (found - truth).abs().max() < 1e-5


def test_least_squares_of_a_singular_system_is_finite():
    gram, target = problem()
    gram = torch.cat([torch.cat([gram, gram], -1)] * 2, -2)
    x = nonnegative_least_squares(gram, torch.cat([target, target], -1))
    single = nonnegative_least_squares(*problem())
    assert (x >= 0).all()
    assert (x[:, :15] + x[:, 15:] - single).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_field_is_far_nearer_to_softmax_than_a_random_one(kind):
    query, key, _ = clustered(2, 300, 16, 8, 0.3)
    options = {"splats": 32, "kind": kind}
    mapped = SplatField.from_teacher(query, key, generator=generator(), **options)
    drawn = SplatField.random(heads=2, width=16, generator=generator(), **options)
    error = output_error(mapped, query, key, 0.25)
    assert error < 0.15
    assert error < output_error(drawn, query, key, 0.25) / 5


def test_a_mapped_field_serves_points_it_has_not_seen():
    query, key, _ = clustered(2, 600, 16, 8, 0.3)
    mapped = SplatField.from_teacher(query[:, :300], key[:, :300], splats=32, generator=generator())
    assert output_error(mapped, query[:, 300:], key[:, 300:], 0.25) < 0.15


@pytest.mark.parametrize(("width", "splats", "limit"), [(2, 128, 0.05), (3, 192, 0.11)])
def test_many_splats_approximate_the_softmax_kernel(width, splats, limit):
    """With 256 splats: 0.02 in two dimensions, 0.07 in three, 0.12 in four, of the output."""
    query = torch.randn(2, 300, width, generator=generator(1), dtype=torch.float64)
    key = torch.randn(2, 300, width, generator=generator(2), dtype=torch.float64)
    scale = width**-0.5
    field = SplatField.from_teacher(query, key, splats=splats, generator=generator())
    assert output_error(field, query, key, scale) < limit
    ratio = log_kernel(field, query, key).detach() - scale * query @ key.mT
    assert ratio.abs().median() < limit


def test_amplitudes_can_only_get_worse():
    """The fit is a minimum: any other amplitude, and any without the background, fits less."""
    query, key, _ = clustered(1, 200, 3, 4, 0.3)
    query, key = query.double(), key.double()
    field = SplatField.from_teacher(query, key, splats=8, generator=generator())
    scale = 3**-0.5
    logits = scale * query @ key.mT
    normaliser = torch.logsumexp(logits, -1, keepdim=True).exp()

    def loss(splats):
        field.set_splats(splats)
        error = (
            log_kernel(field, query, key).exp() / normaliser - torch.softmax(logits, -1)
        ).square()
        return float(error.sum().detach())

    best = field.splats().detached()
    least = loss(best)
    for slot in range(8):
        for factor in (0.9, 1.1):
            logs = best.log_amplitude.clone()
            logs[0, slot] += math.log(factor)
            assert loss(best.with_arrays({**best.arrays(), "log_amplitude": logs})) >= least - 1e-9


def test_mapped_fields_may_go_without_background():
    query, key, _ = clustered(1, 100, 4, 4, 0.3)
    bare = SplatField.from_teacher(query, key, splats=8, background=False)
    assert not bare.has_background
    assert_close(bare.norm_factor, torch.tensor([0.5]))


@pytest.mark.parametrize("apart", [2.0, 8.0])
def test_queries_far_from_keys_stay_finite(apart):
    """exp(-c |q - k|^2 / 2) is down to exp(-128) here; amplitudes need room, not infinities."""
    query, key, _ = clustered(2, 100, 16, 4, 0.3)
    field = SplatField.from_teacher(query + apart, key - apart, splats=16, generator=generator())
    assert torch.isfinite(field.splats().log_amplitude).all()
    assert output_error(field, query + apart, key - apart, 0.25) < 0.5


POINTS = torch.randn(2, 20, 3)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("name", lambda: make_field("kmean", POINTS, splats=2)),
        ("heads", lambda: SplatField.random(heads=0, splats=2, width=3)),
        ("splats", lambda: SplatField.random(heads=1, splats=0, width=3)),
        ("width", lambda: SplatField.random(heads=1, splats=2, width=0)),
        ("kind", lambda: SplatField.random(heads=1, splats=2, width=3, kind="round")),
        ("rank", lambda: SplatField.random(heads=1, splats=2, width=3, kind="low_rank", rank=4)),
        ("spread", lambda: SplatField.random(heads=1, splats=2, width=3, spread=-1.0)),
        ("scale", lambda: SplatField.random(heads=1, splats=2, width=3, scale=0.0)),
        ("amplitude", lambda: SplatField.kmeans(POINTS, splats=2, amplitude=0.0)),
        ("capacity", lambda: SplatField.random(heads=1, splats=2, width=3, capacity=1)),
        ("points", lambda: SplatField.kmeans(POINTS[0], splats=2)),
        ("points", lambda: SplatField.kmeans(POINTS.long(), splats=2)),
        ("points", lambda: SplatField.pca(POINTS / 0, splats=2)),
        ("splats", lambda: SplatField.kmeans(POINTS, splats=21)),
        ("distance", lambda: SplatField.kmeans(POINTS, splats=2, distance=0.0)),
        ("splats", lambda: SplatField.pca(POINTS, splats=0)),
        ("directions", lambda: SplatField.pca(POINTS, splats=2, directions=4)),
        ("key", lambda: SplatField.from_teacher(POINTS, POINTS[:1], splats=2)),
        ("query", lambda: SplatField.from_teacher(POINTS[0], POINTS, splats=2)),
        ("scale", lambda: SplatField.from_teacher(POINTS, POINTS, splats=2, scale=-1.0)),
        ("samples", lambda: SplatField.from_teacher(POINTS, POINTS, splats=2, samples=0)),
    ],
)
def test_what_is_refused_is_named(name, build):
    with pytest.raises(ArgumentError, match=f"^{name}: got ") as caught:
        build()
    assert caught.value.name == name
