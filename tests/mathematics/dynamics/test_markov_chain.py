import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics.markov_chain import MarkovChain

DOUBLE = torch.float64
TWO_STATES = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=DOUBLE)


def random_chain(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE).softmax(-1)


def test_golden_two_states():
    chain = MarkovChain(TWO_STATES)
    assert chain.stationary().tolist() == pytest.approx([5 / 6, 1 / 6], abs=1e-15)
    assert float(chain.second_modulus()) == pytest.approx(0.4, abs=1e-15)
    rate = float(chain.entropy_rate())
    by_hand = 5 / 6 * -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) + math.log(2) / 6
    assert rate == pytest.approx(by_hand, abs=1e-15)
    assert rate == pytest.approx(0.38642700792, abs=1e-11)


def test_golden_kemeny_constant():
    assert float(MarkovChain(TWO_STATES).kemeny_constant()) == pytest.approx(1 + 1 / 0.6, abs=1e-14)


def test_kemeny_is_the_mean_time_to_a_random_state_from_anywhere():
    matrix = random_chain(5, 5)
    chain = MarkovChain(matrix)
    law = chain.stationary()
    times = torch.zeros(5, 5, dtype=DOUBLE)
    for target in range(5):
        others = [state for state in range(5) if state != target]
        inner = matrix[others][:, others]
        steps = torch.linalg.solve(torch.eye(4, dtype=DOUBLE) - inner, torch.ones(4, dtype=DOUBLE))
        times[others, target] = steps
        times[target, target] = 1 + matrix[target, others] @ steps
    from_each = times @ law
    # A start at the target counts its return, pi_j times 1/pi_j, in place of 0.
    from_each = from_each - law * times.diagonal() + 1
    torch.testing.assert_close(from_each, chain.kemeny_constant().expand(5), rtol=1e-12, atol=1e-12)
    eigenvalues = chain.eigenvalues()
    sums = 1 + (1 / (1 - eigenvalues[1:])).sum().real
    torch.testing.assert_close(sums, chain.kemeny_constant(), rtol=1e-11, atol=0)


def test_stationary_laws_stay():
    matrix = random_chain(3, 6, 6, seed=1)
    chain = MarkovChain(matrix)
    law = chain.stationary()
    torch.testing.assert_close((law[:, None] @ matrix)[:, 0], law, rtol=0, atol=1e-14)
    torch.testing.assert_close(law.sum(-1), torch.ones(3, dtype=DOUBLE))
    for number in range(3):
        single = MarkovChain(matrix[number])
        torch.testing.assert_close(single.stationary(), law[number])
        torch.testing.assert_close(single.entropy_rate(), chain.entropy_rate()[number])
        torch.testing.assert_close(single.second_modulus(), chain.second_modulus()[number])
        torch.testing.assert_close(single.kemeny_constant(), chain.kemeny_constant()[number])


def test_independent_draws_and_cycles():
    row = torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE)
    draws = MarkovChain(row.expand(3, 3))
    torch.testing.assert_close(draws.stationary(), row)
    assert float(draws.entropy_rate()) == pytest.approx(float(-(row * row.log()).sum()))
    assert float(draws.second_modulus()) < 1e-8
    cycle = MarkovChain(torch.eye(4, dtype=DOUBLE).roll(1, 1))
    assert float(cycle.entropy_rate()) == 0
    assert float(cycle.second_modulus()) == pytest.approx(1)
    assert float(MarkovChain(torch.ones(1, 1)).second_modulus()) == 0


def test_causal_attention_ends_at_its_first_token():
    scores = torch.randn(6, 6, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    causal = scores.masked_fill(torch.ones(6, 6).triu(1) > 0, -math.inf).softmax(-1)
    law = MarkovChain(causal).stationary()
    torch.testing.assert_close(law, torch.eye(6, dtype=DOUBLE)[0], rtol=0, atol=1e-14)


def test_mixing_time_and_depth():
    chain = MarkovChain(TWO_STATES)
    # |P^t(2, .) - pi| = 5/6 0.4^t.
    distances = [5 / 6 * 0.4**t for t in range(20)]
    for bound in (0.25, 0.1, 0.01, 1e-5):
        expected = next(t for t, distance in enumerate(distances) if distance <= bound)
        assert chain.mixing_time(bound) == expected
    assert chain.mixing_time(0.9) == 0
    assert float(chain.mixing_depth(0.01)) == pytest.approx(math.log(0.01) / math.log(0.4))
    slow = MarkovChain(torch.tensor([[1 - 1e-4, 1e-4], [1e-4, 1 - 1e-4]], dtype=DOUBLE))
    expected = math.ceil(math.log(2 * 0.01) / math.log(1 - 2e-4))
    assert slow.mixing_time(0.01) == expected


def test_gradients():
    logits = torch.randn(3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    logits.requires_grad_()

    def figures(logits):
        chain = MarkovChain(logits.softmax(-1))
        return torch.stack([chain.entropy_rate(), chain.kemeny_constant(), chain.stationary()[0]])

    assert torch.autograd.gradcheck(figures, logits)
    assert torch.autograd.gradgradcheck(figures, logits)


def test_float32():
    chain = MarkovChain(random_chain(20, 20).float())
    law = MarkovChain(random_chain(20, 20)).stationary()
    assert chain.stationary().dtype == torch.float32
    torch.testing.assert_close(chain.stationary().double(), law, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("states", [3, 30, 100])
def test_classes_that_never_meet_have_no_common_law(dtype, states):
    block = random_chain(states, states).to(dtype)
    chain = MarkovChain(torch.block_diag(block, block))
    with pytest.raises(ArgumentError, match="two classes that never meet"):
        chain.stationary()


def test_a_chain_that_forgets_nothing_is_of_infinite_depth():
    assert float(MarkovChain(EYE.flip(0)).mixing_depth(0.01)) == math.inf
    assert float(MarkovChain(torch.full_like(EYE, 0.5)).mixing_depth(0.01)) < 0.2


EYE = torch.eye(2, dtype=DOUBLE)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: MarkovChain(torch.ones(2, 3)), r"floating \[..., n, n\]"),
        (lambda: MarkovChain(2 * EYE - 0.5), "an entry < 0"),
        (lambda: MarkovChain(torch.full((2, 2), torch.nan)), "an entry < 0 or NaN"),
        (lambda: MarkovChain(0.9 * EYE), "a row sum 0.1 away from 1"),
        (lambda: MarkovChain(EYE).stationary(), "two classes that never meet"),
        (lambda: MarkovChain(EYE.flip(0)).mixing_time(longest=64), "not mixed after 64 steps"),
        (lambda: MarkovChain(TWO_STATES[None]).mixing_time(), "one chain"),
        (lambda: MarkovChain(TWO_STATES).mixing_depth(1.5), "remaining: got 1.5"),
    ],
)
def test_what_is_no_chain_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
