import torch

from adaptive_attention_tiling.data.synthetic import IGNORED, Copy, SelectiveCopy


def test_copy_with_a_single_symbol():
    batch = Copy(vocabulary=2, length=6).batch(1, torch.Generator().manual_seed(0))
    assert batch.inputs.tolist() == [[1, 1, 1, 0, 1, 1]]
    assert batch.targets.tolist() == [[IGNORED, IGNORED, IGNORED, 1, 1, 1]]


def test_a_copied_string_comes_back_as_input_one_position_after_it_was_asked():
    batch = Copy(vocabulary=50, length=20).batch(40, torch.Generator().manual_seed(0))
    assert torch.equal(batch.targets[:, 10:], batch.inputs[:, :10])
    assert torch.equal(batch.inputs[:, 11:], batch.targets[:, 10:-1])
    assert ((batch.inputs == 0).sum(dim=1) == 1).all()


def test_selective_copy_without_room_for_blanks():
    task = SelectiveCopy(vocabulary=3, length=4, items=2)
    batch = task.batch(1, torch.Generator().manual_seed(0))
    assert batch.inputs.tolist() == [[2, 2, 1, 1]]
    assert batch.targets.tolist() == [[IGNORED, IGNORED, 2, 2]]


def test_selective_copy_puts_its_symbols_anywhere_among_all_kinds_of_blanks():
    task = SelectiveCopy(vocabulary=9, length=12, items=2, blanks=3)
    inputs = task.batch(2000, torch.Generator().manual_seed(0)).inputs
    assert (inputs[:, 10:] == 3).all()
    context = inputs[:, :10]
    assert set(context.flatten().tolist()) == {0, 1, 2, 4, 5, 6, 7, 8}
    assert ((context > 3).sum(dim=1) == 2).all()
    # Each place of ten holds a symbol with probability 2/10.
    share = (context > 3).double().mean(dim=0)
    assert (share - 0.2).abs().max() < 5 * (0.2 * 0.8 / 2000) ** 0.5
