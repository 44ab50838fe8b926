"""The same work in this process or in several, with the same results."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Generic, TypeVar

import torch

from ...backends.memory import keep_freed_memory
from ...errors import ArgumentError, UnsupportedError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(Generic[Task, Result]):
    """Gives tasks to a function, in this process or in `count` others, one torch thread each.

    Use it as made by `workers`. Results are kept in the order of tasks. At most `waiting` tasks are
    under way: more of them wait for the oldest, so that memory stays small.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        pool: ProcessPoolExecutor | None,
        waiting: int,
        done: Callable[[], None],
    ) -> None:
        self._function, self._pool, self._waiting, self._done = function, pool, waiting, done
        self._pending: deque[Future[Result]] = deque()
        self._results: list[Result] = []

    def give(self, task: Task) -> None:
        """Have it done, now or later."""
        if self._pool is None:
            with _alone():
                self._results.append(self._function(task))
            self._done()
            return
        while len(self._pending) >= self._waiting:
            self._take()
        self._pending.append(self._pool.submit(self._function, task))

    def results(self) -> list[Result]:
        """What came out, task by task; waits for all."""
        while self._pending:
            self._take()
        return self._results

    def _take(self) -> None:
        oldest = self._pending.popleft()
        wait([oldest])
        try:
            self._results.append(oldest.result())
        except BrokenProcessPool as error:
            raise UnsupportedError(
                "workers: one of them was ended from outside, as a machine short of memory does. "
                "Fix: use one worker, or read fewer tokens."
            ) from error
        self._done()


@contextmanager
def workers(
    function: Callable[[Task], Result],
    count: int,
    *,
    waiting: int = 16,
    done: Callable[[], None] = lambda: None,
) -> Iterator[Workers[Task, Result]]:
    """`count` processes that call `function`; with 1, this process does it itself.

    Processes start afresh ("spawn") and import `function` by its name. They compute with one
    thread, and so does this process while it calls it: sums of floats depend on how they are split.

    Args:
        function: at the top of a module; tasks and results can be pickled.
        waiting: tasks under way at most, those being worked on included.
        done: called after each result, in order.
    """
    if count < 1:
        raise ArgumentError("workers", count, "an integer >= 1", "pass the number of cores")
    if count == 1:
        yield Workers(function, None, waiting, done)
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_prepare)
    try:
        yield Workers(function, pool, max(waiting, count), done)
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Ctrl-C is for the process that gives the tasks: it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()


@contextmanager
def _alone() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
