"""Waves along the text that a head's attention lets grow."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import pattern_response
from adaptive_attention_tiling.mathematics.dynamics import PatternDynamics, PeriodicGrid


def head(tokens, width, values, seed=0):
    """Query, key, value, and maps of values to queries and keys."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(tokens, width)] * 2 + [(tokens, values)] + [(values, width)] * 2
    query, key, value, *maps = (torch.randn(s, generator=generator).double() for s in shapes)
    return query, key, value, tuple(maps)


def attended(states, query, key, value, maps, *, is_causal=True, scale=0.5):
    """Outputs of states u, by the definition."""
    changed = states - value
    logits = scale * (query + changed @ maps[0]) @ (key + changed @ maps[1]).mT
    if is_causal:
        ahead = torch.ones(len(logits), len(logits)).triu(1).bool()
        logits = logits.masked_fill(ahead, -torch.inf)
    return logits.softmax(-1) @ states


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("window", [6, 64])
def test_gains_and_rates_are_those_of_the_full_jacobian(is_causal, window):
    query, key, value, maps = head(9, 4, 3)

    def output(states):
        return attended(states, query, key, value, maps, is_causal=is_causal)

    jacobian = torch.func.jacrev(output)(value)
    first = max(0, 9 - window)
    size = 9 - first
    jacobian = jacobian[first:, :, first:]
    found = pattern_response(
        query, key, value, is_causal=is_causal, scale=0.5, maps=maps, diffusion=0.3, window=window
    )
    assert found.wave_numbers.tolist() == pytest.approx(
        [2 * math.pi * m / size for m in range(1, size // 2 + 1)]
    )
    place = torch.arange(size)
    for k, gain, rate in zip(found.wave_numbers, found.gain, found.rates, strict=True):
        wave = torch.polar(torch.ones(size).double(), k * place)
        symbol = torch.einsum("i,iajb,j->ab", wave.conj(), jacobian.to(wave.dtype), wave) / size
        assert float(gain) == pytest.approx(float(torch.linalg.svdvals(symbol)[0]))
        largest = float(torch.linalg.eigvals(symbol).real.max())
        assert float(rate) == pytest.approx(largest - 1 - 0.3 * float(k) ** 2)
        assert float(gain) >= largest - 1e-12
    assert found.growth == float(found.rates.max())
    assert found.wavelength == 2 * math.pi / float(found.wave_numbers[found.rates.argmax()])


def dynamics(query, key, value, maps, diffusion):
    """du/dt = -u + A(u) u + diffusion u'' of a bidirectional head, as a system on a ring."""
    grid = PeriodicGrid((len(value),), (float(len(value)),))

    def reaction(states, _):
        return attended(states, query, key, value, maps, is_causal=False) - states

    return PatternDynamics(grid, torch.full((value.shape[1],), diffusion).double(), reaction, 0.0)


def test_waves_of_one_number_set_off_as_in_pattern_dynamics():
    query, key, value, maps = head(12, 4, 1)
    system = dynamics(query, key, value, maps, 0.2)
    found = pattern_response(
        query, key, value, is_causal=False, scale=0.5, maps=maps, diffusion=0.2
    )
    place = torch.arange(12)[:, None]
    for k, rate in zip(found.wave_numbers, found.rates, strict=True):
        # A wave's rate is the mean over its places along the text.
        both = [system.stability_analysis(value, f(k * place)) for f in (torch.cos, torch.sin)]
        if float(k) == pytest.approx(math.pi):  # the sine is 0 on every token
            continue
        expected = sum(float(metrics.perturbation_rate) for metrics in both) / 2
        assert float(rate) == pytest.approx(expected)


def test_rates_are_eigenvalues_where_only_offsets_count():
    place = torch.arange(16)
    around = (place[:, None] - place).remainder(16).double()
    key, value = torch.eye(16).double(), torch.ones(16, 2).double()
    query = 4 * ((2 * math.pi * around / 16).cos() + 0.4 * (2 * math.pi * around / 16).sin())
    maps = (torch.randn(2, 16).double(), torch.randn(2, 16).double())
    found = pattern_response(
        query, key, value, is_causal=False, scale=0.5, maps=maps, diffusion=0.1
    )
    waves = torch.cos(2 * math.pi * place / 16)[:, None].expand(16, 2).double()
    metrics = dynamics(query, key, value, maps, 0.1).stability_analysis(value, waves)
    eigenvalues = metrics.eigenvalues.real
    for rate in found.rates:
        assert float((eigenvalues - rate).abs().min()) < 1e-6
    # States that are all alike cannot cluster: the mean stays, all waves fade.
    assert float(metrics.growth_rate) == pytest.approx(0, abs=1e-6)
    assert found.growth < 0
    assert found.wavelength == pytest.approx(16)


@pytest.mark.parametrize(("strength", "grows"), [(0.5, False), (2.0, True)])
def test_tokens_cluster_where_attraction_outweighs_their_spread(strength, grows):
    """A tilt leaves a normal law its variance s^2 = 1: the rate is near -1 + strength s^2."""
    value = torch.randn(400, 1).double()
    maps = (strength**0.5 * torch.eye(1).double(),) * 2
    query, key = (value @ m for m in maps)
    found = pattern_response(
        query, key, value, is_causal=False, scale=1.0, maps=maps, window=400, waves=3
    )
    assert (found.growth > 0) == grows
    # That wave sets off to the same side when it is let go.
    small = 1e-4 * torch.cos(2 * math.pi * torch.arange(400) / found.wavelength)[:, None]
    rate, moved = (
        attended(u, query, key, value, maps, is_causal=False, scale=1.0) - u
        for u in (value, value + small)
    )
    assert (float(((moved - rate) * small).sum()) > 0) == grows


def test_maps_are_fitted_to_the_text():
    _, _, value, maps = head(300, 4, 3)
    query, key = (value @ m + 5 for m in maps)
    given = pattern_response(query, key, value, maps=maps)
    fitted = pattern_response(query.float(), key.float(), value.float())
    torch.testing.assert_close(given.rates, fitted.rates, rtol=0.01, atol=0.01)
    torch.testing.assert_close(given.gain, fitted.gain, rtol=0.01, atol=0.01)
    # Queries and keys that have nothing to do with values only smooth them.
    query, key, value, _ = head(300, 4, 1)
    loose = pattern_response(query, key, torch.ones_like(value))
    assert bool((loose.gain <= 1).all())
    assert loose.growth < 0


def test_waves_are_spread_in_octaves():
    found = pattern_response(*head(300, 4, 2)[:3])
    expected = [1, 2, 4, 8, 16, 32, 64, 128]
    assert (found.wave_numbers * 256 / (2 * math.pi)).round().tolist() == expected
    assert len(pattern_response(*head(300, 4, 2)[:3], waves=3).rates) == 3
    assert not found.rates.requires_grad


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_short_texts(tokens):
    found = pattern_response(*head(tokens, 4, 2)[:3])
    assert len(found.rates) == (tokens > 1)
    assert math.isnan(found.growth) == math.isnan(found.wavelength) == (tokens == 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(3, 4)}, "query: got"),
        ({"value": torch.ones(4, 2)}, r"value: got torch.float32 \[4, 2\]"),
        ({"value": torch.full((5, 2), torch.nan)}, "value: got"),
        ({"maps": (torch.ones(2, 4), torch.ones(4, 2))}, r"maps: got .*expected two of \[2, 4\]"),
        ({"diffusion": -1.0}, "diffusion: got -1"),
        ({"window": 1}, "window: got 1"),
        ({"waves": 0}, "waves: got 0"),
    ],
)
def test_bad_input_is_told(change, message):
    given = {"query": torch.ones(5, 4), "key": torch.ones(5, 4), "value": torch.ones(5, 2)}
    with pytest.raises(ArgumentError, match=message):
        pattern_response(**(given | change))
