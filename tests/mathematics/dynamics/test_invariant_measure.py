import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    MarkovChain,
    birkhoff_average,
    block_entropies,
    lyapunov_exponents,
    pesin_entropy,
    ulam_chain,
)

DOUBLE = torch.float64
ZERO, ONE = torch.zeros(1, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE)


def logistic(x):
    return 4 * x * (1 - x)


def doubling(x):
    return (2 * x).remainder(1)


def markov_map(x):
    """Linear on [0, 1/2] onto [0, 1] and on [1/2, 1] onto [0, 1/2]: slopes 2 and 1."""
    return torch.where(x < 0.5, 2 * x, x - 0.5)


def test_density_of_the_logistic_map():
    """1 / (pi sqrt(x (1 - x))), whose poles boxes blur: the error falls slowly with their size."""
    errors = []
    for boxes in (32, 128, 512):
        found = ulam_chain(logistic, ZERO, ONE, boxes, samples=64)
        edges = torch.linspace(0, 1, boxes + 1, dtype=DOUBLE)
        law = (2 / math.pi * edges.sqrt().asin()).diff()
        errors.append(float((found.measure() - law).abs().sum()))
    assert errors[0] / errors[1] > 1.5
    assert errors[1] / errors[2] > 1.5
    assert errors[2] < 0.07
    middle = found.centres[256, 0]
    exact = 1 / (math.pi * (middle * (1 - middle)).sqrt())
    assert float(found.density()[256]) == pytest.approx(float(exact), rel=0.05)
    means = found.space_average(lambda x: torch.cat([x, x * x], -1)).tolist()
    assert means == pytest.approx([0.5, 0.375], abs=0.02)


def test_time_averages_are_space_averages():
    """Of x^2 under a skewed expanding map, whose orbits do not run out of bits."""

    def skewed(x):
        return torch.where(x < 0.3, x / 0.3, (1 - x) / 0.7)

    chain = ulam_chain(skewed, ZERO, ONE, 300, samples=70)
    starts = torch.rand(2000, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    in_time = birkhoff_average(skewed, lambda x: x.square(), starts, 300).mean()
    in_space = chain.space_average(lambda x: x.square())[0]
    assert float(in_space) == pytest.approx(1 / 3, abs=1e-4)
    assert float(in_time) == pytest.approx(float(in_space), abs=2e-3)


def test_a_markov_partition_is_exact():
    """pi = (2/3, 1/3), |lambda_2| = 1/2, and entropy rate = Lyapunov exponent = (2/3) ln 2."""
    found = ulam_chain(markov_map, ZERO, ONE, 2)
    assert found.chain.transitions.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert found.measure().tolist() == pytest.approx([2 / 3, 1 / 3], abs=1e-14)
    assert float(found.chain.second_modulus()) == pytest.approx(0.5, abs=1e-14)
    rate = float(found.chain.entropy_rate())
    assert rate == pytest.approx(2 / 3 * math.log(2), abs=1e-14)
    slopes = torch.tensor([2.0, 1.0], dtype=DOUBLE).log()
    assert float((found.measure() * slopes).sum()) == pytest.approx(rate, abs=1e-14)


def test_correlations_of_the_doubling_map_halve():
    """C_t = 2^-t / 12 for g(x) = x, and boxes of 2^-k keep that but for their own variance."""
    found = ulam_chain(doubling, ZERO, ONE, 256)
    values = found.correlations(lambda x: x[:, 0], 6)
    exact = torch.tensor([2.0**-t / 12 for t in range(7)], dtype=DOUBLE)
    torch.testing.assert_close(values, exact, rtol=0, atol=1e-4)


def test_the_cat_map_keeps_area_and_mixes():
    def cat(x):
        return (x @ torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=DOUBLE)).remainder(1)

    found = ulam_chain(cat, torch.zeros(2, dtype=DOUBLE), torch.ones(2, dtype=DOUBLE), 16, 8)
    torch.testing.assert_close(found.density(), torch.ones(256, dtype=DOUBLE), rtol=0, atol=1e-12)
    wave = found.correlations(lambda x: (2 * math.pi * x[:, 0]).cos(), 3)
    assert abs(float(wave[2])) < 0.02 * float(wave[0])


def test_boxes_are_counted_with_the_last_coordinate_fastest():
    """On 4 x 4 boxes of sides 1/4 and 1/2, x moves on by one box and y stays: i -> i + 4 mod 16."""
    low, high = torch.tensor([0.0, 2.0], dtype=DOUBLE), torch.tensor([1.0, 4.0], dtype=DOUBLE)

    def shift(x):
        return torch.stack([(x[:, 0] + 0.25).remainder(1), x[:, 1]], -1)

    found = ulam_chain(shift, low, high, 4, 2)
    torch.testing.assert_close(
        found.chain.transitions, torch.eye(16, dtype=DOUBLE).roll(4, 1), rtol=0, atol=0
    )
    assert found.centres[1].tolist() == [0.125, 2.75]
    assert found.volume == 0.125


def test_a_rotation_does_not_mix():
    found = ulam_chain(lambda x: (x + 0.375).remainder(1), ZERO, ONE, 8)
    values = found.correlations(lambda x: (2 * math.pi * x[:, 0]).cos(), 8)
    assert float(values[8]) == pytest.approx(float(values[0]), abs=1e-12)
    assert float(found.chain.second_modulus()) == pytest.approx(1, abs=1e-12)


def test_entropy_of_symbols_is_that_of_the_chain():
    transitions = torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=DOUBLE)
    generator = torch.Generator().manual_seed(0)
    state, path = torch.zeros(400, dtype=torch.long), []
    for _ in range(500):
        path.append(state)
        state = (torch.rand(400, generator=generator) < transitions[state, 1].float()).long()
    found = block_entropies(torch.stack(path[20:], 1), 5)
    rate = float(MarkovChain(transitions).entropy_rate())
    assert found.rates[1:].tolist() == pytest.approx([rate] * 4, abs=3e-3)
    assert float(found.rates[0]) > rate + 0.1
    assert found.words.tolist() == [2, 4, 8, 16, 32]


def test_halves_of_the_logistic_map_have_its_exponent():
    """x < 1/2 or not generates: h = ln 2 = the positive exponent."""
    x = torch.rand(500, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    exponent = pesin_entropy(lyapunov_exponents(logistic, x, steps=200).mean(0))
    path = []
    for _ in range(250):
        x = logistic(x)
        path.append(x[:, 0])
    symbols = (torch.stack(path[50:], 1) >= 0.5).long()
    rates = block_entropies(symbols, 6).rates
    assert rates.tolist() == pytest.approx([math.log(2)] * 6, abs=2e-3)
    assert float(exponent) == pytest.approx(math.log(2), abs=2e-3)


def test_names_of_symbols_do_not_matter():
    g = torch.Generator().manual_seed(4)
    symbols = torch.randint(0, 3, (200,), generator=g)
    found = block_entropies(symbols, 4)
    # Products of such names with numbers of words leave 64 bits.
    named = torch.tensor([0, 2**62 - 1, 2**63 - 1])[symbols]
    for one, other in zip(found, block_entropies(named, 4), strict=True):
        torch.testing.assert_close(one, other)


def test_single_precision_may_round_past_the_box():
    low, high = torch.tensor([0.1]), torch.tensor([0.7])
    past = torch.nextafter(high, 2 * high)
    found = ulam_chain(lambda x: torch.where(x < 0.4, past, low), low, high, 8)
    assert found.measure().tolist() == pytest.approx([0.5, *[0] * 6, 0.5], abs=1e-6)


def test_words_are_counted_as_by_hand():
    found = block_entropies(torch.tensor([[0, 1, 1, 0, 1]]), 3)
    shares = ([2 / 5, 3 / 5], [2 / 4, 1 / 4, 1 / 4], [1 / 3] * 3)  # 01 11 10 01; 011 110 101
    by_hand = [-sum(p * math.log(p) for p in share) for share in shares]
    assert found.entropies.tolist() == pytest.approx(by_hand, abs=1e-14)
    assert float(found.rates[2]) == pytest.approx(by_hand[2] - by_hand[1], abs=1e-14)
    # A period is known after its words are.
    period = block_entropies(torch.arange(3000)[None] % 3, 4)
    assert period.rates[1:].abs().max() < 1e-3


def test_only_exponents_above_zero_count():
    exponents = torch.tensor([[0.5, 0.2, -3.0], [-1.0, -1.0, -1.0]], dtype=DOUBLE)
    assert pesin_entropy(exponents).tolist() == pytest.approx([0.7, 0.0])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: ulam_chain(lambda x: 2 * x, ZERO, ONE, 8), "step: got a map that leaves"),
        (lambda: ulam_chain(lambda x: x[:1], ZERO, ONE, 8), "step: got a result"),
        (lambda: ulam_chain(doubling, ONE, ZERO, 8), "low: got"),
        (lambda: ulam_chain(doubling, ZERO, ONE, 1), "boxes: got 1"),
        (lambda: ulam_chain(doubling, ZERO, ONE, 2**15), "boxes: got 32768 along 1"),
        (lambda: ulam_chain(doubling, ZERO, ONE, 8, samples=0), "samples: got 0"),
        (lambda: block_entropies(torch.tensor([0.5, 1.0]), 1), "symbols: got torch.float32"),
        (lambda: block_entropies(torch.tensor([-1, 1]), 1), "symbols: got none, or one below"),
        (lambda: block_entropies(torch.tensor([0, 1]), 3), "longest: got 3"),
        (lambda: block_entropies(torch.tensor([0, 1]), 2.0), "longest: got 2.0"),
        (lambda: ulam_chain(doubling, ZERO[:0], ONE[:0], 8), "low: got"),
        (lambda: ulam_chain(doubling, ZERO.long(), ONE.long(), 8), "low: got .* floating"),
    ],
)
def test_what_has_no_measure_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
