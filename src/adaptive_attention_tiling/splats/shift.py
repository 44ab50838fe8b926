"""Whether the distribution of embeddings has changed, with a stated rate of false alarms."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArgumentError


class ShiftReport(NamedTuple):
    """What the last check found; before the first one, statistic 0 and an infinite threshold."""

    statistic: float
    threshold: float
    shifted: bool
    checks: int


def energy_test(
    reference: Float[Tensor, "*b R D"],
    recent: Float[Tensor, "*b W D"],
    *,
    false_alarm_rate: float,
    permutations: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """The energy distance of two samples, and what it exceeds by chance at the rate given.

    E = 2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs (Szekely and Rizzo, 2013), which is 0 for
    equal samples and, with large ones, only for equal distributions. Coordinates are divided by
    their deviation in both samples together. Under exchangeability each of the `permutations`
    random ways to part the vectors anew gives a value as likely as any other to rank first, so

        P(E > threshold) <= false_alarm_rate

    exactly, whatever the distribution and the dimension, and almost with equality if
    false_alarm_rate * (permutations + 1) is an integer.
    """
    both = torch.cat([reference, recent], -2)
    both = both - both.mean(-2, keepdim=True)
    deviation = both.std(-2, keepdim=True)
    both = both / torch.where(deviation > 0, deviation, 1)
    distances = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = reference.shape[-2], recent.shape[-2]
    signs = torch.cat([both.new_full((first,), 1 / first), both.new_full((second,), -1 / second)])
    order = torch.rand(permutations, first + second, generator=generator).argsort(-1)
    parts = torch.cat([signs[None], signs[order.to(both.device)]])
    # -w^T D w with w the signed weights is 2 mean|X - Y| - mean|X - X'| - mean|Y - Y'|.
    values = -((parts @ distances) * parts).sum(-1)
    rank = math.floor(false_alarm_rate * (permutations + 1) + 1e-9)
    threshold = values[..., 1:].topk(rank, -1).values[..., -1]
    return values[..., 0], threshold


class ShiftDetector(nn.Module):
    """Compares windows of recent vectors with a reference, by a permutation test (`energy_test`).

    The first `reference` vectors given are the reference; from then on every `window` vectors are
    compared with it and then let go. Memory is fixed. `false_alarm_rate` holds for `checks`
    comparisons together (Bonferroni): with the default, 1, it is the rate of each comparison, and
    a run of n comparisons raises a false alarm with probability at most n times that.

    The rate holds for vectors that are exchangeable while nothing changes, such as independent
    draws. Tokens of one text are not: neighbours are alike, windows then differ more than their
    size suggests, and nearly every comparison is a false alarm (in the tests, with an
    autoregression of coefficient 0.9). Give one token, or few, of each of many sequences.
    Embeddings that drift because the model trains are a shift too.

    Args:
        width: of the vectors.
        permutations: of each test; None takes 5 / rate of one comparison.
        seed: of the permutations.
    """

    vectors: Tensor
    seen: Tensor
    checked: Tensor

    def __init__(
        self,
        width: int,
        *,
        reference: int = 256,
        window: int = 128,
        false_alarm_rate: float = 0.01,
        checks: int = 1,
        permutations: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"width": (width, 1), "reference": (reference, 2), "window": (window, 2)}
        for name, (number, least) in {**sizes, "checks": (checks, 1)}.items():
            if number < least:
                raise ArgumentError(name, number, f"an integer >= {least}", f"pass {name}={least}")
        if not 0 < false_alarm_rate < 1:
            raise ArgumentError(
                "false_alarm_rate", false_alarm_rate, "a number between 0 and 1", "pass 0.01"
            )
        self.rate = false_alarm_rate / checks
        least = math.ceil(1 / self.rate - 1e-9) - 1
        self.permutations = math.ceil(5 / self.rate - 1e-9) - 1
        if permutations is not None:
            self.permutations = permutations
        if self.permutations < least:
            raise ArgumentError(
                "permutations",
                permutations,
                f"at least {least} for a rate of {self.rate:g} each",
                "pass permutations=None",
            )
        self.reference, self.window, self.seed = reference, window, seed
        self.register_buffer("vectors", torch.zeros(reference + window, width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("checked", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, x: Float[Tensor, "*n D"]) -> ShiftReport:
        """Take vectors in, in order, and compare as often as a window fills.

        Returns the first comparison among them that found a shift, or else the last, or, if there
        was none, one that says so.
        """
        if x.dim() < 1 or x.shape[-1] != self.vectors.shape[-1]:
            raise ArgumentError(
                "x",
                f"shape {list(x.shape)}",
                f"[..., {self.vectors.shape[-1]}]",
                "pass vectors of the detector's width",
            )
        report = ShiftReport(0.0, math.inf, False, int(self.checked))
        vectors = x.detach().reshape(-1, x.shape[-1]).to(self.vectors)
        while len(vectors):
            seen = int(self.seen)
            taken = vectors[: len(self.vectors) - seen]
            self.vectors[seen : seen + len(taken)] = taken
            self.seen += len(taken)
            vectors = vectors[len(taken) :]
            if int(self.seen) == len(self.vectors):
                new = self._check()
                report = report if report.shifted else new
        return report

    def reset(self) -> None:
        """Take a new reference from the next vectors on."""
        self.seen.zero_()

    def _check(self) -> ShiftReport:
        # Drawn anew in each comparison, and the same ones if a run is resumed.
        generator = torch.Generator().manual_seed(self.seed + int(self.checked))
        statistic, threshold = energy_test(
            self.vectors[: self.reference],
            self.vectors[self.reference :],
            false_alarm_rate=self.rate,
            permutations=self.permutations,
            generator=generator,
        )
        self.checked += 1
        self.seen.fill_(self.reference)
        shifted = bool(statistic > threshold)
        return ShiftReport(float(statistic), float(threshold), shifted, int(self.checked))
