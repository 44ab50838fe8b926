import pytest
import torch

from adaptive_attention_tiling.data.synthetic import IGNORED, Needle


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def places(batch):
    return (batch.inputs == batch.inputs[:, -1:]).int().argmax(dim=1)


def test_the_shortest_text():
    batch = Needle(vocabulary=2, length=3).batch(2, seeded())
    assert batch.inputs.tolist() == [[0, 1, 0]] * 2
    assert batch.targets.tolist() == [[IGNORED, IGNORED, 1]] * 2


@pytest.mark.parametrize(("depth", "place"), [(0, 0), (0.25, 2), (0.5, 4), (0.99, 8), (1.0, 8)])
def test_the_pair_lies_at_its_depth(depth, place):
    batch = Needle(vocabulary=20, length=11, depth=depth).batch(100, seeded())
    assert (places(batch) == place).all()
    assert torch.equal(batch.inputs[:, place + 1], batch.targets[:, -1])
    assert (batch.targets[:, :-1] == IGNORED).all()


def test_without_a_depth_every_place_is_alike_likely():
    batch = Needle(vocabulary=20, length=12).batch(6000, seeded())
    share = torch.bincount(places(batch), minlength=10) / 6000
    assert len(share) == 10
    assert (share - 0.1).abs().max() < 5 * (0.1 * 0.9 / 6000) ** 0.5


def test_the_text_is_anything_but_the_key():
    batch = Needle(vocabulary=6, length=40).batch(500, seeded())
    key = batch.inputs[:, -1:]
    assert ((batch.inputs == key).sum(dim=1) == 2).all()
    assert set(key.flatten().tolist()) == {0, 1, 2}
    assert set(batch.targets[:, -1].tolist()) == {3, 4, 5}
    text = batch.inputs[(key == 1).flatten()]
    assert set(text.flatten().tolist()) == {0, 1, 2, 3, 4, 5}
