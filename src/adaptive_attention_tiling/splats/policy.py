"""Changes the structure of a field while it trains: when, and from which observations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.optim import Optimizer

from ..errors import ArgumentError
from .apply import apply_edit
from .coverage import measure_coverage
from .field import SplatField
from .history import ActivationHistory, activation, check_padding
from .plan import plan_edits
from .shift import ShiftDetector


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """When a field is edited, and what counts as too little, too much and too alike.

    Off unless `every` is given. In `experiments/splat_adaptation.py` edits paid clearly for narrow
    splats whose tokens moved out of their reach, with `every=25, growth=1.0, start=25, window=20,
    most=4, radius=3.5, split=2.0` at width 16. With the defaults below and `every=100` they cost a
    field of wide splats an eighth of its accuracy: splats that idle die where nothing is
    uncovered, and are missing after the next shift.

    Attributes:
        every: steps from the first round of edits to the second; None, the default, never edits.
        growth: by what the time between rounds grows with each round; 1 keeps it.
        longest: what it grows to at most, in steps.
        start: the step of the first round.
        stop: no round at this step or later; None goes on to the end.
        window: steps over which activations are averaged. Younger splats are not judged.
        death: splats with less than this share of their head's mean activation are moved or die.
        split: splats with more than this multiple of it are split.
        spread: of a split, see `split`.
        merge: splats that overlap more than this are merged, see `redundancy`.
        most: edits of each sort in a head and round; 0 only watches.
        scale: deviation of new splats; None takes the median of the living ones.
        radius: Mahalanobis radius in which a point is covered; None as in `measure_coverage` and
            `uncovered`.
        support: share of the sample that has to make up a gap, or it gets no new splat.
        sample: tokens kept a head, from the last `window` steps, to measure coverage with.
        on_shift: start again with `every` between rounds when the tokens' distribution changes.
        reference, recent, false_alarm_rate: of the detector of such changes, see `ShiftDetector`.
        seed: of every draw.
    """

    every: int | None = None
    growth: float = 1.5
    longest: int = 2000
    start: int = 100
    stop: int | None = None
    window: int = 50
    death: float = 0.05
    split: float = 4.0
    spread: float = 0.5
    merge: float = 0.95
    most: int = 2
    scale: float | None = None
    radius: float | None = None
    support: float = 0.01
    sample: int = 512
    on_shift: bool = True
    reference: int = 256
    recent: int = 128
    false_alarm_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        every = math.inf if self.every is None else self.every
        self._require("every", every >= 1, "an integer >= 1, or None")
        self._require("growth", 1 <= self.growth < math.inf, "a number >= 1")
        self._require(
            "longest", self.every is None or self.longest >= self.every, "at least `every`"
        )
        self._require("start", self.start >= 0, "an integer >= 0")
        self._require(
            "stop", self.stop is None or self.stop > self.start, "a step after `start`, or None"
        )
        self._require("window", self.window >= 1, "an integer >= 1")
        self._require("death", 0 <= self.death < 1, "a number in [0, 1)")
        self._require("split", self.split > 1, "a number > 1")
        self._require("spread", 0 < self.spread < 1, "a number between 0 and 1")
        self._require("merge", 0 < self.merge <= 1, "a number in (0, 1]")
        self._require("most", self.most >= 0, "an integer >= 0")
        self._require("scale", self.scale is None or self.scale > 0, "a number > 0, or None")
        self._require("radius", self.radius is None or self.radius > 0, "a number > 0, or None")
        self._require("support", 0 <= self.support < 1, "a number in [0, 1)")
        self._require("sample", self.sample >= 1, "an integer >= 1")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            default = type(self).__dataclass_fields__[name].default
            raise ArgumentError(name, getattr(self, name), expected, f"pass {name}={default}")


@dataclass(frozen=True, kw_only=True)
class AdaptationReport:
    """What a call of `AdaptationPolicy.step` did; coverages are None between rounds.

    Edits are counted over all heads. Coverage is the mean over heads of the share of sampled
    tokens within reach of a splat. `shifted`: the tokens' distribution has changed since the last
    call.
    """

    step: int
    births: int = 0
    deaths: int = 0
    merges: int = 0
    splits: int = 0
    relocations: int = 0
    coverage_before: float | None = None
    coverage_after: float | None = None
    shifted: bool = False

    @property
    def edits(self) -> int:
        return self.births + self.deaths + self.merges + self.splits + self.relocations


class AdaptationPolicy:
    """Watches what a field sees, and edits it in rounds, dense at first and sparser later.

        for step, batch in enumerate(batches):
            ...                              # forward, backward, optimizer.step()
            policy.observe(keys)             # what the field was given, [B, H, T, D]
            report = policy.step(step)

    Build it once the field is on its device. It draws from a generator of its own, so training
    draws the same numbers with and without it. `state_dict` holds all it knows: with it, the
    field's and the optimizer's, interrupted training goes on bit for bit as it would have. It
    knows of one process only: in distributed training, where ranks see different tokens, observe
    the same ones on all of them.
    """

    def __init__(
        self, config: AdaptationConfig, field: SplatField, optimizer: Optimizer | None = None
    ) -> None:
        self.config, self.field, self.optimizer = config, field, optimizer
        like = field.raw_mean
        self.history = ActivationHistory(field.heads, field.count, config.window).to(like.device)
        self.sample = torch.zeros(
            config.sample, field.heads, field.width, dtype=like.dtype, device=like.device
        )
        self.sampled = 0
        # One vector a token: what all heads see of it.
        self.detector = ShiftDetector(
            field.heads * field.width,
            reference=config.reference,
            window=config.recent,
            false_alarm_rate=config.false_alarm_rate,
            seed=config.seed,
        ).to(like.device)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.interval = float(config.every or 0)
        self.due = config.start
        self.shifted = False

    @torch.no_grad()
    def observe(
        self, x: Float[Tensor, "B H T D"], key_padding_mask: Bool[Tensor, "B T"] | None = None
    ) -> None:
        """Take note of what the field sees in a training step; sends no gradients.

        The shift detector gets one random token of each sequence, since tokens of one sequence are
        alike: see `ShiftDetector`.

        Args:
            key_padding_mask: True for tokens, False for padding.
        """
        if self.config.every is None:
            return
        self.history.record(activation(self.field, x, key_padding_mask))
        if key_padding_mask is None:
            key_padding_mask = x.new_ones(x.shape[0], x.shape[2], dtype=torch.bool)
        check_padding(key_padding_mask, x)
        tokens = x.transpose(1, 2)  # [B, T, H, D]
        self._keep(tokens[key_padding_mask])
        if self.config.on_shift:
            chosen = self._one_of_each(key_padding_mask)
            if self.detector.update(tokens[chosen].flatten(1)).shifted:
                self.shifted = True
                self.detector.reset()

    @torch.no_grad()
    def step(self, number: int) -> AdaptationReport:
        """Edit the field if a round is due at this training step.

        Call it after the optimizer's step; see `apply_edit` for what becomes of its moments.
        """
        config, shifted = self.config, self.shifted
        self.shifted = False
        if config.every is None:
            return AdaptationReport(step=number)
        if shifted:
            self.interval = float(config.every)
            self.due = min(self.due, max(number + config.every, config.start))
        stopped = config.stop is not None and number >= config.stop
        if number < self.due or stopped:
            return AdaptationReport(step=number, shifted=shifted)
        self.due = number + round(self.interval)
        self.interval = min(self.interval * config.growth, config.longest)
        points = self._points(number)
        plan = plan_edits(
            self.field.splats(),
            self.history.mean(),
            self.history.full,
            points,
            config,
            self.generator,
        )
        before = self._coverage(points)
        apply_edit(self.field, plan.edit, optimizer=self.optimizer, statistics=[self.history])
        return AdaptationReport(
            step=number,
            births=plan.births,
            deaths=plan.deaths,
            merges=plan.merges,
            splits=plan.splits,
            relocations=plan.relocations,
            coverage_before=before,
            coverage_after=self._coverage(points),
            shifted=shifted,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the policy knows, as tensors and numbers."""
        return {
            "history": {n: b.clone() for n, b in self.history.state_dict().items()},
            "detector": {n: b.clone() for n, b in self.detector.state_dict().items()},
            "sample": self.sample.clone(),
            "sampled": self.sampled,
            "generator": self.generator.get_state(),
            "interval": self.interval,
            "due": self.due,
            "shifted": self.shifted,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, by a policy of the same config and field shape."""
        expected = self.state_dict()
        if state.keys() != expected.keys() or state["sample"].shape != self.sample.shape:
            raise ArgumentError(
                "state",
                f"{sorted(state)}, sample {list(getattr(state.get('sample'), 'shape', []))}",
                f"{sorted(expected)}, sample {list(self.sample.shape)}",
                "pass the state_dict of a policy with this config and a field of this shape",
            )
        self.history.load_state_dict(state["history"])
        self.detector.load_state_dict(state["detector"])
        self.sample.copy_(state["sample"])
        self.generator.set_state(state["generator"].cpu())
        self.sampled, self.due = int(state["sampled"]), int(state["due"])
        self.interval, self.shifted = float(state["interval"]), bool(state["shifted"])

    def _keep(self, tokens: Tensor) -> None:
        """Put some of these tokens [N, H, D] in the place of the oldest of the sample."""
        size = self.config.sample
        number = min(len(tokens), math.ceil(size / self.config.window))
        chosen = torch.randperm(len(tokens), generator=self.generator)[:number]
        places = (self.sampled + torch.arange(number)) % size
        self.sample[places.to(self.sample.device)] = tokens[chosen.to(tokens.device)].to(
            self.sample
        )
        self.sampled += number

    def _one_of_each(self, key_padding_mask: Tensor) -> Tensor:
        """One random token of each sequence that has any, as a mask [B, T]."""
        number = key_padding_mask.sum(1, keepdim=True)
        ticket = torch.rand(len(number), 1, generator=self.generator, dtype=torch.float64)
        turn = 1 + (ticket.to(number.device) * number).long()
        return key_padding_mask & (key_padding_mask.cumsum(1) == turn)

    def _points(self, number: int) -> Tensor:
        if not self.sampled:
            raise ArgumentError(
                "number",
                number,
                "a step by which the policy has observed tokens",
                "call observe(x) in every training step, before step(number)",
            )
        return self.sample[: self.sampled].transpose(0, 1)

    def _coverage(self, points: Tensor) -> float:
        share = measure_coverage(self.field.splats(), points, radius=self.config.radius).share
        return share.mean().item()
