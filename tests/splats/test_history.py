"""Activations are shares of tokens, and follow splats from slot to slot."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import (
    ActivationHistory,
    SplatField,
    activation,
    apply_edit,
    birth,
    death,
    split,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

H, K, D = 2, 4, 3


def make(background: float | None = 1e-3) -> SplatField:
    mean = torch.randn(H, K, D, dtype=torch.float64)
    ones = torch.ones(H, K, dtype=torch.float64)
    return SplatField.scalar(mean, ones, 2 * ones, background=background)


def mask(*places: tuple[int, int]) -> Tensor:
    result = torch.zeros(H, K, dtype=torch.bool)
    for place in places:
        result[place] = True
    return result


def test_golden_a_token_between_two_equal_splats_is_shared():
    mean = torch.tensor([[[-1.0], [1.0]]])
    field = SplatField.scalar(mean, torch.ones(1, 2), torch.ones(1, 2), background=None)
    one = activation(field, torch.tensor([[[[0.0]]]]))
    assert_close(one, torch.tensor([[0.5, 0.5]]))
    # phi at 1: exp(-2) and 1; the mean with the first token
    share = 1 / (1 + torch.exp(torch.tensor(-2.0)))
    both = activation(field, torch.tensor([[[[0.0], [1.0]]]]))
    assert_close(both[0, 1], (0.5 + share) / 2)


def test_shares_sum_to_one_without_a_background_and_to_less_with_one():
    x = torch.randn(3, H, 5, D, dtype=torch.float64)
    assert_close(activation(make(None), x).sum(-1), torch.ones(H, dtype=torch.float64))
    assert (activation(make(1.0), x).sum(-1) < 0.99).all()


def test_padding_counts_as_if_it_were_not_there():
    field, x = make(), torch.randn(2, H, 5, D, dtype=torch.float64)
    padding = torch.tensor([[True] * 3 + [False] * 2] * 2)
    expected = activation(field, x[:, :, :3])
    assert_close(activation(field, x, padding), expected)
    assert (activation(field, x) - expected).abs().max() > 1e-3
    assert activation(field, x, torch.zeros_like(padding)).abs().max() == 0


def test_a_head_without_splats_or_background_has_no_activation():
    field = make(None)
    apply_edit(field, death(field.splats(), mask(*[(0, k) for k in range(K)])))
    result = activation(field, torch.randn(1, H, 5, D, dtype=torch.float64))
    assert result[0].tolist() == [0] * K
    assert_close(result[1].sum(), torch.tensor(1.0, dtype=torch.float64))


def test_the_mean_is_over_the_last_steps():
    history = ActivationHistory(H, K, window=3)
    steps = torch.rand(7, H, K)
    for number, step in enumerate(steps, 1):
        history.record(step)
        assert_close(history.mean(), steps[max(0, number - 3) : number].mean(0))
        assert bool(history.full.all()) == (number >= 3)


def test_edits_are_followed_and_a_split_divides():
    field, history = make(), ActivationHistory(H, K, window=5)
    for _ in range(3):
        history.record(torch.rand(H, K))
    before = history.mean().clone()
    gone = death(field.splats(), mask((0, 1), (1, 0)))
    halves = split(gone.splats, mask((0, 3)))
    points = torch.zeros(H, 1, D)
    only = torch.tensor([[False], [True]])
    edit = gone.then(halves)
    edit = edit.then(birth(edit.splats, points, scale=1.0, amplitude=1.0, where=only))
    apply_edit(field, edit, statistics=[history])
    after = history.mean()
    assert_close(after[0, [1, 3]], before[0, [3, 3]] / 2)
    assert_bit_equal(after[0, [0, 2]], before[0, [0, 2]])
    assert after[1, 0] == 0
    assert history.age[1].tolist() == [0, 3, 3, 3]
    history.record(torch.full((H, K), 0.5))
    assert history.mean()[1, 0] == 0.5, "over the one step that it has lived"
    assert_close(history.mean()[0, 0], (3 * before[0, 0] + 0.5) / 4)


def test_it_goes_on_where_it_was_saved():
    steps = torch.rand(9, H, K)
    one, two = ActivationHistory(H, K, 4), ActivationHistory(H, K, 4)
    for step in steps[:6]:
        one.record(step)
    two.load_state_dict(one.state_dict())
    for step in steps[6:]:
        one.record(step)
        two.record(step)
    for name, buffer in one.state_dict().items():
        assert_bit_equal(two.state_dict()[name], buffer)
    one.reset()
    assert one.mean().abs().max() == 0
    assert one.age.max() == 0


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("window", lambda: ActivationHistory(H, K, 0)),
        ("activation", lambda: ActivationHistory(H, K, 2).record(torch.zeros(H, K + 1))),
        ("x", lambda: activation(make(), torch.zeros(1, H + 1, 5, D))),
        (
            "key_padding_mask",
            lambda: activation(
                make(), torch.zeros(1, H, 5, D, dtype=torch.float64), torch.ones(1, 5)
            ),
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.name == name
