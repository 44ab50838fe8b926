"""Read key-value pairs, then give the value of each key as it comes again."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...errors import ArgumentError
from .batch import IGNORED, TokenBatch, require_int, require_size
from .draws import distinct, distinct_uniform, integers


@dataclass(frozen=True, kw_only=True)
class AssociativeRecall:
    """Multi-query associative recall: `k1 v1 k2 v2 x x k2 x k1 x`, the answer at k2 being v2.

    The pairs fill the first `2 * pairs` positions. What follows is a row of slots two tokens wide;
    each key comes again at the start of a slot of its own, the n-th slot drawn with a weight of
    `n ** (power - 1)`, in turn and without putting back. So 0.01 asks most keys soon and a few late
    and 1 asks them anywhere. Keys are different ids from `1 .. vocabulary // 2 - 1`, values
    different ids from the upper half. Other positions hold random ids of the whole vocabulary, or 0
    if `noise` is false.

    Noise may by chance equal a key, but only after the pairs: the answer is the value that stood
    behind the key among the pairs, whatever follows the key later. Guessing one of the values seen,
    without knowing which belongs to which key, gives about `1 / pairs`, far above `chance`.

    Source: Arora et al. 2023 (Zoology, arXiv 2312.04927) and the generator published with it. Its
    `random_non_queries` is our `noise`; its length must be even, ours need not.
    """

    vocabulary: int = 8192
    length: int = 64
    pairs: int = 4
    power: float = 0.01
    noise: bool = True

    def __post_init__(self) -> None:
        require_int("pairs", self.pairs, 1, "ask for at least one pair")
        require_int("vocabulary", self.vocabulary, 4, "leave room for 0, a key and two values")
        require_int("length", self.length, 4, "leave room for a pair and a slot")
        if not 0 < self.power <= 1:
            raise ArgumentError(
                "power", self.power, "above 0, at most 1", "pass power=0.01, or 1 for no preference"
            )
        if self.pairs > len(self.keys):
            raise ArgumentError(
                "vocabulary",
                self.vocabulary,
                f"at least {2 * self.pairs + 2}, for {self.pairs} keys beside 0 in its lower half",
                "pass a larger vocabulary or fewer pairs",
            )
        if self.length < 4 * self.pairs:
            raise ArgumentError(
                "length",
                self.length,
                f"at least {4 * self.pairs}: {self.pairs} pairs and a slot of two for each key",
                "pass a longer length or fewer pairs",
            )

    @property
    def keys(self) -> range:
        return range(1, self.vocabulary // 2)

    @property
    def values(self) -> range:
        return range(self.vocabulary // 2, self.vocabulary)

    @property
    def asked(self) -> int:
        return self.pairs

    @property
    def chance(self) -> float:
        return 1 / len(self.values)

    @property
    def optimum(self) -> float:
        return 1.0

    def batch(self, size: int, generator: torch.Generator) -> TokenBatch:
        """`size` sequences, each with pairs of its own."""
        return recall_batch(self, self.keys, size, generator)


def recall_batch(
    task: AssociativeRecall, keys: range, size: int, generator: torch.Generator
) -> TokenBatch:
    """A batch of `task` in which only `keys`, and no other keys, occur; noise keeps to them too."""
    require_size(size)
    first_key, first_value = keys.start, task.values.start
    asked = first_key + distinct_uniform(size, len(keys), task.pairs, generator)
    answers = first_value + distinct_uniform(size, len(task.values), task.pairs, generator)

    shape = (size, task.length)
    inputs = torch.zeros(shape, dtype=torch.int64, device=generator.device)
    if task.noise:
        # Numbered 0, then the keys, then the values: with all keys that is the id itself.
        drawn = integers(1 + len(keys) + len(task.values), shape, generator)
        as_value = drawn - 1 - len(keys) + first_value
        inputs = torch.where(drawn > len(keys), as_value, drawn - 1 + first_key)
        inputs.masked_fill_(drawn == 0, 0)

    context = 2 * task.pairs
    inputs[:, :context:2], inputs[:, 1:context:2] = asked, answers
    slots = torch.arange(1, (task.length - context) // 2 + 1, device=generator.device)
    places = context + 2 * distinct(size, slots ** (task.power - 1), task.pairs, generator)
    inputs.scatter_(1, places, asked)
    targets = torch.full_like(inputs, IGNORED).scatter_(1, places, answers)
    return TokenBatch(inputs=inputs, targets=targets)
