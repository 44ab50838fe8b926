"""Persistence diagrams, whose births and deaths are differentiable in the weights of edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import ArgumentError


@dataclass(frozen=True)
class Diagram:
    """The classes of one dimension that come and go.

    Args:
        dimension: of the homology.
        pairs: [c, 2] birth and death, sorted; a class that never ends dies at infinity, or at minus
            infinity where weights fall (superlevel).
        edges: [c, 2] the rows of graph.edges whose weights these are; -1 for the birth of a
            component, and for a death that never comes.
        superlevel: whether weights fall, so that deaths lie below births.
    """

    dimension: int
    pairs: Float[Tensor, "c 2"]
    edges: Int[Tensor, "c 2"]
    superlevel: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def births(self) -> Float[Tensor, " c"]:
        return self.pairs[:, 0]

    @property
    def deaths(self) -> Float[Tensor, " c"]:
        return self.pairs[:, 1]

    @property
    def lengths(self) -> Float[Tensor, " c"]:
        """|death - birth|, infinite for classes that never end."""
        return (self.deaths - self.births).abs()

    def finite(self) -> Diagram:
        """The classes that end."""
        return self._rows(self.deaths.isfinite())

    def endless(self) -> Diagram:
        """The classes that never end."""
        return self._rows(~self.deaths.isfinite())

    def ended(self, level: float) -> Diagram:
        """All classes, those that never end being ended at `level`, and none of length 0.

        For weights of attention, 0 is such a level: there every pair is joined.
        """
        sign = -1 if self.superlevel else 1
        pairs = self.pairs.detach()
        latest = float((sign * pairs[pairs.isfinite()]).max()) if len(self) else -torch.inf
        if sign * level < latest:
            raise ArgumentError(
                "level",
                level,
                f"a level that comes after all births and deaths, {sign * latest:.6g}",
                "pass that level or a later one",
            )
        deaths = self.deaths.where(self.deaths.isfinite(), torch.full_like(self.deaths, level))
        ended = replace(self, pairs=torch.stack([self.births, deaths], 1))
        return ended._rows(ended.lengths > 0)

    def _rows(self, kept: Tensor) -> Diagram:
        return replace(self, pairs=self.pairs[kept], edges=self.edges[kept])
