"""Clusters that change place in the course of training: vectors, and keys to be recalled."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import ArgumentError
from .associative_recall import AssociativeRecall, recall_batch
from .batch import TokenBatch, require_int, require_positive, require_size
from .draws import integers


@dataclass(frozen=True, kw_only=True)
class ShiftingClusters:
    """A source that is one thing up to a training step and another from that step on.

    Phase n of the source lasts from `shifts[n - 1]` up to but not with `shifts[n]`. What is fitted
    to one phase is out of place in the next, in either of two forms:

    - `vectors`: `centres` Gaussians of standard deviation `spread`, alike likely, in `dimension`
      dimensions. All centres lie `separation` from each other, on orthogonal axes that are drawn
      anew, from `seed`, for each phase. Their best accuracy is `bayes_accuracy`.
    - `batch`: `recall`, with the keys (and noise) of one phase only: the keys are cut into as many
      equal runs as there are phases, and those left over are unused. Values stay the same.
      `chance` and `optimum` are of this form, and the same in every phase.
    """

    shifts: tuple[int, ...] = (1000,)
    recall: AssociativeRecall = field(default_factory=AssociativeRecall)
    centres: int = 4
    dimension: int = 16
    separation: float = 8.0
    spread: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((0, *self.shifts), self.shifts, strict=False))
        if not rising:
            raise ArgumentError(
                "shifts", self.shifts, "rising steps above 0", "pass steps like (1000, 2000)"
            )
        require_int("centres", self.centres, 1, "ask for at least one cluster")
        require_int("dimension", self.dimension, 1, "pass the width of the vectors")
        require_int("seed", self.seed, 0, "pass seed=0")
        require_positive("separation", self.separation, "pass separation=8 for clear clusters")
        require_positive("spread", self.spread, "pass spread=1")
        if self.centres > self.dimension:
            raise ArgumentError(
                "centres",
                self.centres,
                f"at most dimension, {self.dimension}, since each lies on an axis of its own",
                f"pass dimension={self.centres} or fewer centres",
            )
        if self.recall.pairs > len(self.keys(0)):
            raise ArgumentError(
                "recall",
                self.recall,
                f"a vocabulary with {self.recall.pairs} keys in each of {self.phases} phases",
                "give it a larger vocabulary or fewer pairs",
            )

    @property
    def vocabulary(self) -> int:
        return self.recall.vocabulary

    @property
    def length(self) -> int:
        return self.recall.length

    @property
    def asked(self) -> int:
        return self.recall.asked

    @property
    def chance(self) -> float:
        return self.recall.chance

    @property
    def optimum(self) -> float:
        return self.recall.optimum

    @property
    def phases(self) -> int:
        return len(self.shifts) + 1

    def phase(self, step: int) -> int:
        """Which phase a training step falls into, from 0."""
        require_int("step", step, 0, "pass the number of the training step")
        return sum(shift <= step for shift in self.shifts)

    def keys(self, step: int) -> range:
        """The ids that are keys at this step."""
        width = len(self.recall.keys) // self.phases
        start = self.recall.keys.start + self.phase(step) * width
        return range(start, start + width)

    def batch(self, size: int, generator: torch.Generator, *, step: int = 0) -> TokenBatch:
        """`size` sequences of `recall` with the keys of this step."""
        return recall_batch(self.recall, self.keys(step), size, generator)

    def means(self, step: int) -> Tensor:
        """The cluster centres at this step, `[centres, dimension]`."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.dimension, self.centres)
        for _ in range(self.phase(step) + 1):
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        axes, triangle = torch.linalg.qr(drawn)
        # QR leaves the signs open; with a positive diagonal it is unique and the axes are uniform.
        axes = axes * triangle.diagonal().sign()
        means: Tensor = axes.T * self.separation / 2**0.5
        return means.float()

    def vectors(self, step: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points `[size, length, dimension]` and the clusters they came from, `[size, length]`."""
        require_size(size)
        means = self.means(step).to(generator.device)
        labels = integers(self.centres, (size, self.length), generator)
        shape = (size, self.length, self.dimension)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return means[labels] + self.spread * noise, labels

    @property
    def bayes_accuracy(self) -> float:
        """How often the nearest centre, the best of all rules, is the right one.

        ∫ φ(z) Φ(z + a)^(centres - 1) dz with a = separation / (√2 spread): along the axis of the
        right centre the point lies at a + z, and it must lie less far along all the others, as with
        orthogonal signals in white noise.
        """
        z = torch.linspace(-12, 12, 4801, dtype=torch.float64)
        density = torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5
        ahead = torch.special.ndtr(z + self.separation / (2**0.5 * self.spread))
        return float(torch.trapezoid(density * ahead ** (self.centres - 1), z))
