import math

import pytest
import torch
from torch.nn.functional import elu

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    AttentionRows,
    FeaturePair,
    attention_rows,
    fit_to_rows,
    mixer_features,
    mixer_fits,
)

MIXERS = ("linear", "exponential", "fidelity", "splat")


def head(tokens=640, width=16):
    query, key = torch.randn(2, tokens, width)
    return query, key, torch.randn(tokens, 5) + 0.5


def far_mask(queries, tokens, is_causal, window=64, sinks=4):
    far = torch.zeros(len(queries), tokens, dtype=torch.bool)
    for row, i in enumerate(queries.tolist()):
        for j in range(sinks, tokens):
            far[row, j] = i - j >= window or (not is_causal and j - i >= window)
    return far


def planted(weights, queries, is_causal):
    """Rows whose far weights are given; a query gives the rest to itself."""
    weights = weights * far_mask(queries, weights.shape[1], is_causal)
    weights = weights * (0.9 / weights.sum(1).max())
    weights[torch.arange(len(queries)), queries] = 1 - weights.sum(1)
    return AttentionRows(queries, weights, is_causal)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("mixer", MIXERS)
def test_a_mixer_s_own_weights_are_found_by_it_alone(mixer, is_causal):
    query, key, value = head()
    features = mixer_features(query * 3, key)
    phi, psi = features[mixer]
    queries = torch.arange(340, 640)
    rows = planted(phi[queries] @ psi.mT, queries, is_causal)
    fits = fit_to_rows(features, rows, value)
    # What is missing is the ridge's.
    assert fits[mixer].explained > 0.985
    assert fits[mixer].error < 2e-3
    for other in set(MIXERS) - {mixer}:
        assert fits[other].explained < 0.85
        assert fits[other].error > 10 * fits[mixer].error


@pytest.mark.parametrize("is_causal", [True, False])
def test_fits_are_those_of_least_squares_over_pairs(is_causal):
    query, key, value = head(120, 6)
    phi, psi = torch.rand(2, 120, 3).double()
    rows = attention_rows(query, key, rows=20, first=60, is_causal=is_causal)
    far = far_mask(rows.queries, 120, is_causal, window=5, sinks=2)
    held = [n % 3 == 2 for n in range(20)]
    fitted = [n for n in range(20) if not held[n]]
    keys = [j for j in range(120) if all(bool(far[n, j]) for n in fitted)]
    pairs = [(n, j) for n in fitted for j in keys]
    design = torch.stack([torch.outer(phi[rows.queries[n]], psi[j]).flatten() for n, j in pairs])
    target = torch.stack([rows.weights[n, j] for n, j in pairs])
    gram = design.mT @ design
    ridge = 1e-5 * torch.linalg.eigvalsh(gram).max()
    matrix = torch.linalg.solve(gram + ridge * torch.eye(9), design.mT @ target).view(3, 3)
    missed, spread, away, norm = [], [], 0.0, 0.0
    for n in range(20):
        if not held[n]:
            continue
        i, weights = int(rows.queries[n]), rows.weights[n].clone()
        for j in range(120):
            if far[n, j]:
                weights[j] = max(0.0, float(phi[i] @ matrix @ psi[j]))
                missed.append(float(weights[j] - rows.weights[n, j]) ** 2)
                spread.append(float(rows.weights[n, j]))
        exact = rows.weights[n] @ value.double()
        away += float((weights @ value.double() / weights.sum() - exact).square().sum())
        norm += float(exact.square().sum())
    mean = sum(spread) / len(spread)
    explained = 1 - sum(missed) / sum((a - mean) ** 2 for a in spread)
    fit = fit_to_rows({"any": FeaturePair(phi, psi)}, rows, value, window=5, sinks=2)["any"]
    assert (fit.name, fit.features) == ("any", 3)
    assert fit.explained == pytest.approx(explained, rel=1e-6)
    assert fit.error == pytest.approx(math.sqrt(away / norm), rel=1e-6)


def test_even_attention_is_the_mean_of_all_keys():
    _, key, value = head(300)
    fits = mixer_fits(torch.zeros(300, 16), key, value, is_causal=False)
    assert list(fits) == ["window", "mean", *MIXERS]
    # The ridge takes 1e-5 of it.
    assert fits["mean"].error < 1e-4
    assert fits["window"].error > 0.05
    assert (fits["window"].features, fits["mean"].features) == (0, 1)
    for fit in fits.values():
        assert math.isnan(fit.explained)


def test_splats_hold_clusters_that_lines_do_not():
    centres = 4 * torch.nn.functional.normalize(torch.randn(24, 16), dim=1)
    value = torch.randn(24, 5)
    kinds = torch.randint(24, (900,))
    points = centres[kinds] + 0.1 * torch.randn(900, 16)
    fits = mixer_fits(points, points, value[kinds], scale=0.5)
    assert fits["splat"].explained > 0.9
    assert fits["linear"].explained < 0.8
    assert fits["splat"].error < 0.2 * fits["linear"].error
    assert fits["linear"].error < 0.9 * fits["mean"].error


def test_coordinates_keep_logits_and_have_equal_moments():
    query, key, _ = head(200, 8)
    query, key = query @ torch.randn(8, 8) * 0.5, key + 3
    features = mixer_features(query, key, scale=0.4)
    x, y = (z.log() for z in features["exponential"])
    key = (key - key.mean(0)).double()
    torch.testing.assert_close(x @ y.mT, 0.4 * query.double() @ key.mT, rtol=1e-5, atol=1e-5)
    moments = x.mT @ x / 200
    torch.testing.assert_close(y.mT @ y / 200, moments, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moments, moments.diagonal().diag(), rtol=1e-5, atol=1e-5)
    assert (moments.diagonal().diff() < 0).all()
    torch.testing.assert_close(features["linear"].key, elu(y) + 1)
    # States and shares of splats have norm and sum 1.
    for z in features["fidelity"]:
        torch.testing.assert_close(z.square().sum(1), torch.ones(200).double())
        assert z.shape[1] == 45
    for z in features["splat"]:
        torch.testing.assert_close(z.sum(1), torch.ones(200).double())
        assert z.shape[1] == 64
    first, second = (z[:, 0] for z in features["fidelity"])
    white = x.square().div(moments.diagonal()).sum(1)
    torch.testing.assert_close(first, 32 / (32 + white), rtol=1e-5, atol=1e-5)
    assert 0 < second.min() < second.max() < 1


def test_splats_are_gaussians_of_one_radius():
    query, key, _ = head(300, 4)
    features = mixer_features(query, key)
    x, y = (z.log() for z in features["exponential"])
    # log of a ratio of two splats is affine in the point, alike for queries and keys.
    points = torch.cat([x, y])
    shares = torch.cat(list(features["splat"])).log()
    ratio = shares[:, :1] - shares[:, 1:]
    affine = torch.cat([points, torch.ones(600, 1)], 1)
    solved = torch.linalg.lstsq(affine, ratio).solution
    torch.testing.assert_close(affine @ solved, ratio, rtol=1e-4, atol=1e-4)
    assert ratio.std() > 0.5


@pytest.mark.parametrize("tokens", [1, 2, 5, 70])
@pytest.mark.parametrize("is_causal", [True, False])
def test_short_texts_have_no_far_keys_to_fit(tokens, is_causal):
    fits = mixer_fits(*head(tokens), is_causal=is_causal)
    for fit in fits.values():
        assert math.isnan(fit.error)
        assert math.isnan(fit.explained)
    assert fits["linear"].features == 16


def test_draws_repeat_and_scale_is_that_of_the_logits():
    query, key, value = head(300)
    first, again = mixer_fits(query, key, value), mixer_fits(query / 4, key, value, scale=1.0)
    other = mixer_fits(query, key, value, generator=torch.Generator().manual_seed(1))
    for name, fit in first.items():
        assert fit.error == pytest.approx(again[name].error, rel=1e-4)
        assert fit.error >= 0
        assert fit.explained <= 1
    assert first["splat"].error != other["splat"].error


@pytest.mark.parametrize(
    ("given", "name"), [({"window": -1}, "window"), ({"sinks": -1}, "sinks"), ({"rows": 0}, "rows")]
)
def test_bad_arguments_are_named(given, name):
    with pytest.raises(ArgumentError, match=rf"^{name}"):
        mixer_fits(*head(100), **given)


def test_bad_values_are_named():
    query, key, value = head(100)
    with pytest.raises(ArgumentError, match=r"^value"):
        mixer_fits(query, key, value[:-1])
