"""Transitions between resolutions lose what they must, raise no norm and compose."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.router import MODES, CrossScaleRouter, routing_weights

SIZES = (1, 2, 4, 8, 16)
LEARNT = ("extension", "rotation")


def make(mode: str, *, seed: int = 0, dim: int = -1, size: float = 1.0) -> CrossScaleRouter:
    """A router with random parameters."""
    torch.manual_seed(seed)
    sizes = SIZES if mode in LEARNT else None
    router = CrossScaleRouter(mode, resolutions=sizes, dim=dim).double()
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return router


def state(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def matrix(router: CrossScaleRouter, before: int, after: int) -> Tensor:
    """The transition, which is linear: its images of unit vectors in rows."""
    return router(torch.eye(before, dtype=torch.float64), after)


PAIRS = [(few, many) for few in SIZES for many in SIZES if few < many]


@pytest.mark.parametrize("mode", MODES)
def test_down_after_up_is_the_identity_and_up_after_down_on_its_image(mode):
    router = make(mode, size=0.5)
    for few, many in PAIRS:
        x, y = state(3, few), state(3, many)
        assert_close(router(router(x, many), few), x)
        seen = router(router(y, few), many)
        assert_close(router(router(seen, few), many), seen)
        assert (seen - y).abs().max() > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_transitions_compose(mode):
    router = make(mode, size=0.5)
    for few, middle, many in ((1, 2, 4), (2, 4, 16), (1, 8, 16), (4, 8, 16)):
        x, y = state(3, few), state(3, many)
        assert_close(router(router(y, middle), few), router(y, few))
        assert_close(router(router(x, middle), many), router(x, many))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_no_norm_grows(mode, seed):
    router = make(mode, seed=seed, size=0.5)
    for few, many in PAIRS:
        x, y = state(20, few), state(20, many)
        assert_close(router.norm(router(x, many)), router.norm(x))
        assert (router.norm(router(y, few)) <= router.norm(y) * (1 + 1e-12)).all()
    assert_close(router.norm(2 * x), 2 * router.norm(x))


@pytest.mark.parametrize("mode", ["nested", "rotation"])
def test_spectral_norms_are_at_most_one(mode):
    router = make(mode, size=3.0)
    for few, many in PAIRS:
        for before, after in ((few, many), (many, few)):
            assert torch.linalg.matrix_norm(matrix(router, before, after), 2) <= 1 + 1e-12


@pytest.mark.parametrize("mode", LEARNT)
def test_laws_hold_after_training(mode):
    """A few steps towards states whose later channels follow from the first ones."""
    router = CrossScaleRouter(mode, resolutions=SIZES).double()
    law = 0.7 * state(4, 12)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.03)
    errors = []
    for _ in range(60):
        x = state(32, 4)
        goal = torch.cat([x, x @ law], -1)
        start = goal[:, :4] if mode == "extension" else router(goal, 4)
        error = (router(start, 16) - goal).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
    x, y = state(9, 4), state(9, 16)
    assert_close(router(router(x, 16), 4), x)
    assert_close(router(router(x, 8), 16), router(x, 16))
    assert_close(router.norm(router(x, 16)), router.norm(x))
    assert (router.norm(router(y, 4)) <= router.norm(y) * (1 + 1e-12)).all()
    if mode == "rotation":
        assert torch.linalg.matrix_norm(matrix(router, 4, 16), 2) <= 1 + 1e-12


def test_golden_transitions():
    x, y = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0, 5.0, 8.0])
    expected = {
        "linear": ([1, 2, 3, 3], [1, 5]),
        "nearest": ([1, 1, 3, 3], [1, 5]),
        "area": ([1, 1, 3, 3], [1.5, 6.5]),
        "nested": ([1, 3, 0, 0], [1, 2]),
    }
    for mode, (up, down) in expected.items():
        router = CrossScaleRouter(mode)
        assert router(x, 4).tolist() == up
        assert router(y, 2).tolist() == down
    router = CrossScaleRouter("extension", resolutions=(4,))
    with torch.no_grad():
        router.transition.predictor[2, 0], router.transition.predictor[3, 2] = 2.0, -1.0
        router.transition.predictor[1, 3] = 9.0  # above the diagonal: never read
    assert router(x, 4).tolist() == [1, 3, 2, -2]


@pytest.mark.parametrize("mode", LEARNT)
def test_learning_starts_from_appended_zeros(mode):
    learnt, plain = CrossScaleRouter(mode, resolutions=SIZES), CrossScaleRouter("nested")
    for before, after in ((4, 16), (16, 2)):
        x = torch.randn(3, before)
        assert_close(learnt(x, after), plain(x, after))


@pytest.mark.parametrize("mode", ["nested", "extension"])
def test_channels_that_stay_are_kept_bit_for_bit(mode):
    router, x = make(mode), state(2, 5, 8)
    assert_bit_equal(router(x, 16)[..., :8], x)
    assert_bit_equal(router(x, 4), x[..., :4])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dim", [-1, -2])
def test_a_batch_is_a_loop(mode, dim):
    router = make(mode, dim=dim, size=0.5)
    sources, targets = [4, 8, 4, 4, 16, 4, 1], [8, 8, 8, 2, 4, 8, 16]
    states = [state(2, 3, n) if dim == -1 else state(2, n, 3) for n in sources]
    routed = router.route_states(states, sources, targets)
    assert [x.shape[dim] for x in routed] == targets
    for one, n, m, out in zip(states, sources, targets, routed, strict=True):
        last = one.movedim(dim, -1)
        assert_close(out, (last @ matrix_of(router, n, m)).movedim(-1, dim))
    assert routed[1] is states[1]


def matrix_of(router: CrossScaleRouter, before: int, after: int) -> Tensor:
    eye = torch.eye(before, dtype=torch.float64)
    if before == after:
        return eye
    return router(eye.movedim(-1, router.dim), after).movedim(router.dim, -1)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_states_and_parameters(mode):
    router = make(mode, size=0.3)
    for before, after in ((4, 16), (8, 2)):
        x = state(2, before).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, after=after: router(x, after), x)
    for name, parameter in router.named_parameters():
        router.zero_grad()
        few = 4 if name.endswith("predictor") else int(name.split(".")[-1])
        if few == 1:
            continue  # a rotation in one dimension has no angle
        for other in (4, 16):
            if other != few:
                x = state(3, min(few, other))
                (router(x, max(few, other)) * state(3, max(few, other))).sum().backward()
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_states_keep_their_dtype(mode, dtype):
    router = CrossScaleRouter(mode, resolutions=SIZES if mode in LEARNT else None)
    for after in (2, 16):
        assert router(torch.randn(2, 4).to(dtype), after).dtype == dtype


def test_golden_routing_weights():
    weights = routing_weights([8, 4, 16], [8, 16])
    expected = torch.tensor([[1, 0.5, 0.5], [0.5, 0.25, 1]], dtype=torch.float64)
    assert_close(weights, expected / torch.tensor([[2.0], [1.75]], dtype=torch.float64))
    assert_close(weights.sum(-1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
def test_a_mixture_is_the_weighted_mean_of_what_is_routed(mode):
    router, sources, targets = make(mode, size=0.5), [4, 8, 16, 8], [8, 2, 8]
    states = [state(2, 3, n) for n in sources]
    mixed = router.mix_states(states, sources, targets)
    weights = routing_weights(sources, targets)
    largest = torch.stack([router.norm(x) for x in states]).amax(0)
    for j, target in enumerate(targets):
        terms = [w * router(x, target) for w, x in zip(weights[j], states, strict=True)]
        assert_close(mixed[j], sum(terms))
        assert (router.norm(mixed[j]) <= largest * (1 + 1e-12)).all()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("interpolation_mode", lambda: CrossScaleRouter("cubic")),
        ("resolutions", lambda: CrossScaleRouter("rotation")),
        ("resolutions", lambda: CrossScaleRouter("extension", resolutions=(0, 4))),
        ("resolutions", lambda: CrossScaleRouter("linear", resolutions=(4,))),
        ("resolutions", lambda: CrossScaleRouter("area")(torch.ones(4), 6)),
        ("resolutions", lambda: make("rotation")(torch.ones(4), 3)),
        ("resolutions", lambda: make("extension")(torch.ones(4), 32)),
        ("resolution", lambda: CrossScaleRouter("nested")(torch.ones(4), 0)),
        (
            "source_resolutions",
            lambda: CrossScaleRouter("nested").route_states([torch.ones(4)], [3], [2]),
        ),
        (
            "target_resolutions",
            lambda: CrossScaleRouter("nested").route_states([torch.ones(4)], [4], [2, 3]),
        ),
        ("source_states", lambda: CrossScaleRouter("nested").mix_states([], [], [2])),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
