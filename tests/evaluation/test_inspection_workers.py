"""Work in other processes comes out as in this one, in order, errors included."""

import os

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.evaluation.inspection import workers


def summed(number):
    """A sum that depends on how many threads add it up, and whether gradients are kept."""
    values = torch.linspace(0, number + 1, 1_000_003).sin()
    values.requires_grad_()
    total = values.square().sum()
    total.backward()
    return os.getpid(), torch.get_num_threads(), total.item(), values.grad.sum().item()


def raising(number):
    raise ArgumentError("number", number, "another", "pass 2")


def dying(number):
    os._exit(3)


def done_by(function, count, tasks):
    told = []
    with workers(function, count, waiting=2, done=lambda: told.append(1)) as crew:
        for task in tasks:
            crew.give(task)
        results = crew.results()
    assert len(told) == len(results)
    return results


def test_any_number_of_workers_gives_the_same():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            here, there = (done_by(summed, count, range(5)) for count in (1, 2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert [entry[1:] for entry in here] == [entry[1:] for entry in there]
    assert {entry[1] for entry in here} == {1}
    assert {entry[0] for entry in here} == {os.getpid()}
    assert os.getpid() not in {entry[0] for entry in there}


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_comes_out_as_itself(count):
    with pytest.raises(ArgumentError, match="number: got 0"):
        done_by(raising, count, [0, 1])


def test_a_worker_that_is_ended_is_named():
    with pytest.raises(UnsupportedError, match="Fix: use one worker"):
        done_by(dying, 2, [0, 1, 2, 3])


def test_no_workers_are_refused():
    with pytest.raises(ArgumentError, match="workers: got 0"):
        done_by(summed, 0, [])
