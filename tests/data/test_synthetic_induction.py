import torch

from adaptive_attention_tiling.data.synthetic import IGNORED, Induction


def test_the_shortest_sequence():
    batch = Induction(vocabulary=2, length=3).batch(20, torch.Generator().manual_seed(0))
    rows = set(map(tuple, torch.cat([batch.inputs, batch.targets], dim=1).tolist()))
    assert rows == {(0, 1, 0, IGNORED, IGNORED, 1), (1, 0, 1, IGNORED, IGNORED, 0)}


def test_the_asked_token_stands_nowhere_else():
    batch = Induction(vocabulary=3, length=30).batch(500, torch.Generator().manual_seed(0))
    asked = batch.inputs[batch.targets != IGNORED]
    same = batch.inputs == asked[:, None]
    assert (same.sum(dim=1) == 2).all()
    # Its second place is where the question is.
    assert (same & (batch.targets != IGNORED)).any(dim=1).all()


def test_every_pair_of_places_is_alike_likely():
    batch = Induction(vocabulary=5, length=6).batch(6000, torch.Generator().manual_seed(0))
    again = (batch.targets != IGNORED).int().argmax(dim=1)
    asked = batch.inputs.gather(1, again[:, None])
    seen = (batch.inputs == asked).int().argmax(dim=1)
    counts = torch.bincount(6 * seen + again, minlength=36).reshape(6, 6)
    allowed = torch.ones(6, 6).triu(2).bool()
    assert allowed.sum() == 10
    assert (counts[~allowed] == 0).all()
    assert (counts[allowed] / 6000 - 0.1).abs().max() < 5 * (0.1 * 0.9 / 6000) ** 0.5
