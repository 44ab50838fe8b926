"""The lattice of a head's map of attention."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_lattice


def logits_of(steps, tokens=420, height=4.0, seed=0):
    """Noise, with `height` more where (query, offset) is a point of a lattice and a place aside."""
    place = torch.arange(tokens)
    pairs = torch.stack([place[:, None].expand(tokens, tokens), place[:, None] - place], -1)
    whole = (pairs - torch.tensor([1, 3])).double() @ torch.linalg.inv(torch.tensor(steps).double())
    there = ((whole - whole.round()).abs() < 1e-6).all(-1)
    noise = torch.randn(tokens, tokens, generator=torch.Generator().manual_seed(seed))
    return noise + height * there


def lattice_of(logits, **settings):
    return attention_lattice(logits, torch.eye(len(logits)), scale=1.0, **settings)


@pytest.mark.parametrize(
    "steps",
    [[[1, 0], [0, 13]], [[1, 1], [0, 13]], [[9, 0], [0, 9]], [[7, 2], [0, 8]], [[2, 0], [1, 11]]],
    ids=["offset", "position", "record", "oblique", "every other query"],
)
def test_steps_of_a_planted_map_are_found(steps):
    found = lattice_of(logits_of(steps))
    true = torch.tensor(steps).double()
    assert found.cells == round(abs(float(torch.linalg.det(true))))
    # The same lattice: whole in the coordinates of the true one, and as coarse.
    whole = found.steps.double() @ torch.linalg.inv(true)
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-9)
    assert found.explained > 3 * found.cells / (160 * 256)
    # Reduced: no shorter step is left in the pair.
    short, long = sorted(found.steps.double().square().sum(1).tolist())
    assert 2 * abs(float(found.steps[0] @ found.steps[1])) <= short <= long


def test_attention_may_fall_with_distance():
    place = torch.arange(420)
    falling = 2 * (-(place[:, None] - place).abs() / 60).exp()
    assert lattice_of(logits_of([[1, 0], [0, 13]], height=2.0) + 2 * falling).cells == 13


def test_a_smooth_map_has_no_lattice():
    noise = torch.randn(1, 1, 460, 460, generator=torch.Generator().manual_seed(0))
    smooth = 80 * torch.nn.functional.avg_pool2d(noise, 41, stride=1)[0, 0]
    assert lattice_of(smooth) is None
    assert lattice_of(smooth, least_cells=1).cells == 1


def test_all_of_a_map_that_repeats_is_explained():
    found = lattice_of(logits_of([[1, 0], [0, 13]], height=40.0) / 10)
    assert found.explained > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_noise_columns_and_equal_attention_have_no_lattice(seed):
    assert lattice_of(logits_of([[1, 0], [0, 13]], height=0.0, seed=seed)) is None
    logits = torch.randn(420, 420, generator=torch.Generator().manual_seed(seed))
    logits[:, torch.randperm(420, generator=torch.Generator().manual_seed(seed))[:9]] += 6
    assert lattice_of(logits) is None
    assert lattice_of(torch.zeros(420, 420)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(1, 420, 4)}, r"query: got query \[1, 420, 4\]"),
        ({"rows": 200, "span": 256}, r"query: got 420 tokens, expected rows \+ span = 456"),
        ({"reach": 81}, "reach: got 81"),
        ({"reach": 3}, "reach: got 3"),
    ],
)
def test_bad_input_is_told(change, message):
    arguments = {"query": torch.rand(420, 4), "key": torch.rand(420, 4)} | change
    with pytest.raises(ArgumentError, match=message):
        attention_lattice(**arguments)
