"""Divergences and entropies of categorical distributions."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.information import (
    alpha_divergence,
    bregman_divergence,
    chi_square_divergence,
    conditional_entropy,
    conditional_mutual_information,
    cross_entropy,
    hellinger_distance,
    jeffreys_divergence,
    jensen_shannon_divergence,
    joint_entropy,
    kl_divergence,
    min_entropy,
    mutual_information,
    negative_entropy,
    renyi_divergence,
    renyi_entropy,
    reverse_kl_divergence,
    shannon_entropy,
    total_variation,
    tsallis_entropy,
)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def points(*shape):
    return torch.randn(*shape, dtype=torch.float64).softmax(-1)


def close(got, wanted, tolerance=1e-12):
    wanted = torch.as_tensor(wanted, dtype=got.dtype)
    torch.testing.assert_close(got, wanted.expand_as(got), rtol=tolerance, atol=tolerance)


P, Q = tensor(0.5, 0.25, 0.25, 0), tensor(0.25, 0.25, 0.25, 0.25)
DIVERGENCES = {
    "kl": kl_divergence,
    "reverse": reverse_kl_divergence,
    "jeffreys": jeffreys_divergence,
    "jensen_shannon": jensen_shannon_divergence,
    "renyi_half": lambda p, q, **k: renyi_divergence(p, q, 0.5, **k),
    "renyi_2": lambda p, q, **k: renyi_divergence(p, q, 2, **k),
    "renyi_inf": lambda p, q, **k: renyi_divergence(p, q, math.inf, **k),
    "alpha_0": lambda p, q, **k: alpha_divergence(p, q, 0, **k),
    "alpha_3": lambda p, q, **k: alpha_divergence(p, q, 3, **k),
    "hellinger": hellinger_distance,
    "total_variation": total_variation,
    "chi_square": chi_square_divergence,
}
every_divergence = pytest.mark.parametrize("name", DIVERGENCES)
LOG_2 = math.log(2)


@pytest.mark.parametrize(
    ("name", "there", "back"),
    [
        ("kl", LOG_2 / 2, math.inf),
        ("reverse", math.inf, LOG_2 / 2),
        ("jeffreys", math.inf, math.inf),
        ("renyi_half", -2 * math.log(0.5 + 0.125**0.5), -2 * math.log(0.5 + 0.125**0.5)),
        ("renyi_2", math.log(1.5), math.inf),
        ("renyi_inf", LOG_2, math.inf),
        ("alpha_0", 4 * (0.5 - 0.125**0.5), 4 * (0.5 - 0.125**0.5)),
        # -1/2 (1 - sum p^-1 q^2), infinite where p is 0 and q is not
        ("alpha_3", math.inf, 0.25),
        ("hellinger", (0.5 - 0.125**0.5) ** 0.5, (0.5 - 0.125**0.5) ** 0.5),
        ("total_variation", 0.25, 0.25),
        ("chi_square", 0.5, math.inf),
    ],
)
def test_hand_worked_with_a_zero(name, there, back):
    divergence = DIVERGENCES[name]
    close(divergence(P, Q), there)
    close(divergence(Q, P), back)
    if name not in ("hellinger", "total_variation", "chi_square"):
        close(divergence(P.log(), Q.log(), log_space=True), there)
        close(divergence(Q.log(), P.log(), log_space=True), back)


@every_divergence
def test_divergences_are_zero_for_equals_alone_and_never_below(name):
    divergence = DIVERGENCES[name]
    p, q = points(100, 5), points(100, 5)
    assert bool((divergence(p, p).abs() < 1e-14).all())
    assert bool((divergence(p, q) > 1e-6).all())


@every_divergence
def test_no_map_of_outcomes_adds_to_a_divergence(name):
    """Data processing: of all f-divergences, and of Renyi's."""
    divergence = DIVERGENCES[name]
    p, q = points(200, 5), points(200, 5)
    markov = points(5, 3)
    before, after = divergence(p, q), divergence(p @ markov, q @ markov)
    assert bool((after <= before + 1e-14).all())
    lumped = p[:, :4].clone(), q[:, :4].clone()
    for given, whole in zip(lumped, (p, q), strict=True):
        given[:, 3] += whole[:, 4]
    assert bool((divergence(*lumped) <= before + 1e-14).all())


@every_divergence
def test_batches_are_loops_and_broadcast(name):
    divergence = DIVERGENCES[name]
    p, q = points(3, 1, 5), points(4, 5)
    loop = [divergence(p[i, 0], q[j]) for i in range(3) for j in range(4)]
    close(divergence(p, q).flatten(), torch.stack(loop), 1e-14)


@every_divergence
def test_gradients(name):
    """In logits; at p = q too for those that are smooth there."""
    divergence = DIVERGENCES[name]
    a, b = (torch.randn(2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def of_logits(x, y):
        return divergence(x.softmax(-1), y.softmax(-1))

    assert torch.autograd.gradcheck(of_logits, (a, b))
    assert torch.autograd.gradgradcheck(of_logits, (a, b), fast_mode=True)
    if name not in ("hellinger", "total_variation", "renyi_inf"):
        same = a.detach().clone().requires_grad_()
        assert torch.autograd.gradgradcheck(of_logits, (a, same), fast_mode=True)


@pytest.mark.parametrize("name", ["kl", "jensen_shannon", "renyi_2", "alpha_0"])
def test_half_the_fisher_metric_is_their_second_order(name):
    """D(p || p + v) = c sum v^2 / p, c = 1/2 but 1/8 of Jensen-Shannon, and the order of Renyi."""
    p, v = points(4), 1e-4 * (points(4) - points(4))
    share = {"kl": 0.5, "jensen_shannon": 0.125, "renyi_2": 1.0, "alpha_0": 0.5}[name]
    close(DIVERGENCES[name](p, p + v) / (v.square() / p).sum(), share, 2e-3)


@pytest.mark.parametrize("zeros", [False, True])
def test_gradients_stay_finite_beside_zeros(zeros):
    p = tensor(0.5, 0.5, 0.0).requires_grad_()
    q = tensor(0.2, 0.8, 0.0) if zeros else tensor(0.2, 0.3, 0.5)
    for divergence in (kl_divergence, jensen_shannon_divergence, hellinger_distance):
        (slope,) = torch.autograd.grad(divergence(p, q), p)
        assert bool(slope.isfinite().all())
    for entropy in (shannon_entropy, min_entropy, lambda x: renyi_entropy(x, 0.5)):
        (slope,) = torch.autograd.grad(entropy(p), p)
        assert bool(slope.isfinite().all())


def test_logs_keep_what_probabilities_lose():
    """Single precision: exp(-200) is 0, its logarithm is not."""
    p = torch.tensor([0.0, -200.0]).log_softmax(-1)
    q = torch.tensor([0.0, -300.0]).log_softmax(-1)
    assert kl_divergence(q, p, log_space=True).item() == 0
    flat = torch.tensor([0.5, 0.5]).log()
    assert kl_divergence(flat, p, log_space=True).item() == pytest.approx(100 - LOG_2, rel=1e-6)
    assert kl_divergence(flat.exp(), p.exp()).item() == math.inf


def test_a_generator_that_is_learnt_has_its_gradient():
    """|x - y|^2 weighted by w has the derivative |x - y|^2."""
    weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
    divergence = bregman_divergence(lambda x: (weight * x.square()).sum(-1), P, Q)
    (slope,) = torch.autograd.grad(divergence, weight)
    torch.testing.assert_close(slope, (P - Q).square())
    with torch.no_grad():
        assert not bregman_divergence(negative_entropy, P, Q).requires_grad


def test_nearly_equal_distributions_are_a_rounding_apart_but_for_distances():
    """In float32, with logits 1e-4 apart: KL is 4e-9, less than eps."""
    logits, step = torch.randn(2, 500, 16, dtype=torch.float64)
    p, q = logits.softmax(-1), (logits + 1e-4 * step).softmax(-1)
    for divergence in (kl_divergence, jensen_shannon_divergence):
        single = divergence(p.float(), q.float())
        assert bool((single < 0).any())
        torch.testing.assert_close(single.double(), divergence(p, q), rtol=0, atol=3e-7)
    single = hellinger_distance(p.float(), q.float())
    torch.testing.assert_close(single.double(), hellinger_distance(p, q), rtol=1e-2, atol=0)


def test_distances_among_them_have_no_shortcuts():
    p, q, r = points(500, 4), points(500, 4), points(500, 4)
    for distance in (
        hellinger_distance,
        total_variation,
        lambda a, b: jensen_shannon_divergence(a, b).sqrt(),
    ):
        close(distance(p, q), distance(q, p))
        assert bool((distance(p, r) <= distance(p, q) + distance(q, r) + 1e-14).all())


def test_inequalities_between_them():
    p, q = points(500, 4), points(500, 4)
    kl, tv, h = kl_divergence(p, q), total_variation(p, q), hellinger_distance(p, q)
    assert bool((tv.square() <= kl / 2).all()), "Pinsker"
    assert bool((kl <= chi_square_divergence(p, q).log1p()).all())
    assert bool((h.square() <= tv).all() & (tv <= 2**0.5 * h).all())
    assert bool((jensen_shannon_divergence(p, q) <= LOG_2 * tv).all())
    orders = torch.stack([renyi_divergence(p, q, a) for a in (0, 0.3, 1, 1.5, 2, 20, math.inf)])
    assert bool((orders.diff(dim=0) >= -1e-14).all())


def test_families_pass_through_their_special_members():
    p, q = points(50, 4), points(50, 4)
    close(renyi_divergence(p, q, 1 + 1e-7), kl_divergence(p, q), 1e-5)
    close(renyi_divergence(p, q, 2), chi_square_divergence(p, q).log1p())
    close(alpha_divergence(p, q, -1), kl_divergence(p, q))
    close(alpha_divergence(p, q, -1 + 1e-7), kl_divergence(p, q), 1e-6)
    close(alpha_divergence(p, q, 1 - 1e-7), kl_divergence(q, p), 1e-6)
    close(alpha_divergence(p, q, 0), 4 * hellinger_distance(p, q).square())
    close(alpha_divergence(p, q, -3), chi_square_divergence(p, q) / 2)
    close(alpha_divergence(p, q, 0.4), alpha_divergence(q, p, -0.4))
    close(reverse_kl_divergence(p, q), kl_divergence(q, p))
    close(bregman_divergence(negative_entropy, p, q), kl_divergence(p, q))
    close(bregman_divergence(lambda x: x.square().sum(-1), p, q), (p - q).square().sum(-1))
    close(renyi_divergence(tensor(0.5, 0.5, 0), tensor(0.5, 0, 0.5), 0), LOG_2)
    assert renyi_divergence(tensor(1, 0), tensor(0, 1), 0.5).item() == math.inf


ENTROPIES = {
    "shannon": shannon_entropy,
    "renyi_half": lambda p: renyi_entropy(p, 0.5),
    "renyi_2": lambda p: renyi_entropy(p, 2),
    "renyi_0": lambda p: renyi_entropy(p, 0),
    "min": min_entropy,
    "tsallis_2": lambda p: tsallis_entropy(p, 2),
    "tsallis_half": lambda p: tsallis_entropy(p, 0.5),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shannon", 1.5 * LOG_2),
        ("renyi_half", 2 * math.log(1 + 0.5**0.5)),
        ("renyi_2", -math.log(0.375)),
        ("renyi_0", math.log(3)),
        ("min", LOG_2),
        ("tsallis_2", 0.625),
        ("tsallis_half", 2 * (0.5**0.5 + 1) - 2),
    ],
)
def test_hand_worked_entropies(name, expected):
    close(ENTROPIES[name](P), expected)
    sure = tensor(1, 0, 0)
    close(ENTROPIES[name](sure), 0.0)


@pytest.mark.parametrize("name", ENTROPIES)
def test_entropy_grows_with_mixing_and_has_gradients(name):
    entropy = ENTROPIES[name]
    p = points(100, 5)
    mix = points(100, 5) @ torch.eye(5).double()
    doubly = torch.stack([torch.eye(5).double()[torch.randperm(5)] for _ in range(4)]).mean(0)
    assert bool((entropy(p @ doubly) >= entropy(p) - 1e-13).all()), "Schur concave"
    if name not in ("renyi_0", "renyi_2", "min"):
        assert bool((entropy((p + mix) / 2) >= (entropy(p) + entropy(mix)) / 2 - 1e-13).all())
    logits = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: entropy(z.softmax(-1)), logits)


def test_entropies_fall_with_the_order_and_add():
    p, q = points(100, 4), points(100, 3)
    orders = torch.stack([renyi_entropy(p, a) for a in (0, 0.5, 1, 2, 9, math.inf)])
    assert bool((orders.diff(dim=0) <= 1e-14).all())
    close(renyi_entropy(p, 1 + 1e-7), shannon_entropy(p), 1e-6)
    close(tsallis_entropy(p, 1 + 1e-7), shannon_entropy(p), 1e-6)
    product = (p[:, :, None] * q[:, None, :]).flatten(1)
    for order in (0.5, 1, 2, math.inf):
        close(renyi_entropy(product, order), renyi_entropy(p, order) + renyi_entropy(q, order))
    a, b = tsallis_entropy(p, 3), tsallis_entropy(q, 3)
    close(tsallis_entropy(product, 3), a + b - 2 * a * b)


def test_cross_entropy_is_entropy_and_divergence():
    p, q = points(50, 4), points(50, 4)
    close(cross_entropy(p, q), shannon_entropy(p) + kl_divergence(p, q))
    assert cross_entropy(Q, P).item() == math.inf


def test_chain_rules_of_tables():
    joint = points(50, 12).view(50, 3, 4)
    x, y = joint.sum(-1), joint.sum(-2)
    close(conditional_entropy(joint), joint_entropy(joint) - shannon_entropy(x))
    information = mutual_information(joint)
    close(information, shannon_entropy(y) - conditional_entropy(joint))
    close(information, shannon_entropy(x) + shannon_entropy(y) - joint_entropy(joint))
    product = (x[:, :, None] * y[:, None, :]).flatten(1)
    close(information, kl_divergence(joint.flatten(1), product))
    assert bool((information > 0).all())
    close(mutual_information(product.view(50, 3, 4)), 0.0)


def test_chain_rule_and_data_processing_of_three_variables():
    joint = points(50, 24).view(50, 2, 3, 4)
    both = mutual_information(joint.permute(0, 1, 3, 2).flatten(2))
    with_z, given_z = mutual_information(joint.sum(2)), conditional_mutual_information(joint)
    close(both, with_z + given_z)
    assert bool((given_z >= 0).all())
    x, to_z, to_y = points(50, 2), points(50, 2, 4), points(50, 4, 3)
    chain = torch.einsum("nx,nxz,nzy->nxyz", x, to_z, to_y)  # x - z - y
    close(conditional_mutual_information(chain), 0.0)
    assert bool((mutual_information(chain.sum(3)) <= mutual_information(chain.sum(2))).all())
    table = tensor([0.5, 0.0], [0.0, 0.5])
    close(mutual_information(table), LOG_2)
    close(conditional_entropy(table), 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl_divergence(tensor(0.5, 0.6), Q), "p: got"),
        (lambda: kl_divergence(P, tensor(0.5, 0.5)), "q: got 2 outcomes, expected 4"),
        (lambda: kl_divergence(P, tensor(math.nan, 1)), "q: got least nan"),
        (lambda: kl_divergence(P, Q, log_space=True), "p: got"),
        (lambda: renyi_divergence(P, Q, -1), "order: got -1"),
        (lambda: renyi_entropy(P, math.nan), "order: got nan"),
        (lambda: tsallis_entropy(P, math.inf), "order: got inf"),
        (lambda: shannon_entropy(torch.ones(3, 0)), "p: got no outcomes"),
        (lambda: shannon_entropy(-P), "p: got least -0.5"),
        (lambda: mutual_information(P), "joint: got shape"),
        (lambda: conditional_mutual_information(P[None]), "joint: got shape"),
        (lambda: mutual_information(torch.ones(2, 2)), "a sum of 4"),
    ],
)
def test_what_is_no_distribution_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
