"""SplatField: the learnable Gaussians through which all pairs of tokens of a head talk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArgumentError
from .log_features import PreparedFeatures, prepare
from .splats import Kind, Splats

# Amplitude of the background at the start: next to nothing beside a splat that fits.
BACKGROUND = 1e-6


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What training cannot leave: |mu_d| <= mean, and ranges of deviations and amplitudes."""

    mean: float = 16.0
    scale: tuple[float, float] = (0.05, 64.0)
    amplitude: tuple[float, float] = (1e-8, 1e4)

    def __post_init__(self) -> None:
        for name in ("scale", "amplitude"):
            low, high = getattr(self, name)
            if not 0 < low < high < math.inf:
                raise ArgumentError(name, (low, high), "0 < low < high", "give (low, high)")
        if not 0 < self.mean < math.inf:
            raise ArgumentError("mean", self.mean, "a finite bound > 0", "give the largest |mu_d|")


class SplatField(nn.Module):
    """K Gaussian splats in each of H heads, as parameters that stay within `Bounds`.

    With amplitude a_s, centre mu_s and covariance Sigma_s of splat s of a head,

        l_s(x) = 1/2 log a_s - 1/2 (x - mu_s)^T Sigma_s^-1 (x - mu_s) + 1/2 kappa |x|^2

    so that sum_s exp(l_s(q) + l_s(k)) is the weight that query q gives to key k. `kappa`
    (`norm_factor`, one number a head, None for 0; only a mapped softmax teacher needs it) is the
    share of the softmax kernel exp(c q.k) that depends on one point only. A background splat,
    infinitely wide, gives every key some weight; it is the last feature.

    Build one with `random`, `kmeans`, `pca` or `from_teacher` (see `initial.py`), or from tensors
    with `scalar`, `diagonal`, `low_rank` or `full`. Structure never changes in a forward pass; see
    `edits.py`. Parameters are unconstrained; `splats()` gives the constrained values:
    mu = b tanh(raw / b), log of scale and amplitude = low + (high - low) sigmoid(raw).
    """

    alive: Tensor
    norm_factor: Tensor | None
    raw_factor: nn.Parameter | None
    raw_background: nn.Parameter | None

    def __init__(
        self,
        splats: Splats,
        *,
        background: Float[Tensor, " H"] | float | None = BACKGROUND,
        norm_factor: Float[Tensor, " H"] | float | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__()
        self.kind: Kind = splats.kind
        self.bounds = bounds or Bounds()
        self.raw_mean = nn.Parameter(torch.empty_like(splats.mean))
        self.raw_scale = nn.Parameter(torch.empty_like(splats.scale))
        self.raw_amplitude = nn.Parameter(torch.empty_like(splats.log_amplitude))
        self.register_parameter("raw_factor", None)
        if splats.factor is not None:
            self.raw_factor = nn.Parameter(torch.empty_like(splats.factor))
        self.register_buffer("alive", splats.alive.clone())
        self.register_parameter("raw_background", None)
        if background is not None:
            self.raw_background = nn.Parameter(self._background_raw(background, splats.mean))
        if norm_factor is not None:
            norm_factor = torch.as_tensor(norm_factor).to(splats.mean).expand(splats.heads).clone()
        self.register_buffer("norm_factor", norm_factor)
        self._kept: tuple[object, PreparedFeatures] | None = None
        self.set_splats(splats)

    @classmethod
    def scalar(
        cls,
        mean: Float[Tensor, "H K D"],
        scale: Float[Tensor, "H K"],
        amplitude: Float[Tensor, "H K"],
        *,
        background: Float[Tensor, " H"] | float | None = BACKGROUND,
        norm_factor: Float[Tensor, " H"] | float | None = None,
        bounds: Bounds | None = None,
    ) -> SplatField:
        """Sigma = scale^2 I."""
        splats = _from_tensors("scalar", mean, scale, amplitude)
        return cls(splats, background=background, norm_factor=norm_factor, bounds=bounds)

    @classmethod
    def diagonal(
        cls,
        mean: Float[Tensor, "H K D"],
        scale: Float[Tensor, "H K D"],
        amplitude: Float[Tensor, "H K"],
        *,
        background: Float[Tensor, " H"] | float | None = BACKGROUND,
        norm_factor: Float[Tensor, " H"] | float | None = None,
        bounds: Bounds | None = None,
    ) -> SplatField:
        """Sigma = diag(scale^2)."""
        splats = _from_tensors("diagonal", mean, scale, amplitude)
        return cls(splats, background=background, norm_factor=norm_factor, bounds=bounds)

    @classmethod
    def low_rank(
        cls,
        mean: Float[Tensor, "H K D"],
        scale: Float[Tensor, "H K D"],
        factor: Float[Tensor, "H K D R"],
        amplitude: Float[Tensor, "H K"],
        *,
        background: Float[Tensor, " H"] | float | None = BACKGROUND,
        norm_factor: Float[Tensor, " H"] | float | None = None,
        bounds: Bounds | None = None,
    ) -> SplatField:
        """Sigma = diag(scale^2) + factor factor^T."""
        splats = _from_tensors("low_rank", mean, scale, amplitude, factor)
        return cls(splats, background=background, norm_factor=norm_factor, bounds=bounds)

    @classmethod
    def full(
        cls,
        mean: Float[Tensor, "H K D"],
        covariance: Float[Tensor, "H K D D"],
        amplitude: Float[Tensor, "H K"],
        *,
        background: Float[Tensor, " H"] | float | None = BACKGROUND,
        norm_factor: Float[Tensor, " H"] | float | None = None,
        bounds: Bounds | None = None,
    ) -> SplatField:
        """Any symmetric positive definite Sigma."""
        lower, info = torch.linalg.cholesky_ex(covariance)
        if bool(info.any()) or not torch.allclose(covariance, covariance.mT, atol=1e-5):
            raise ArgumentError(
                "covariance",
                "a matrix that is not symmetric positive definite",
                "symmetric positive definite matrices",
                "add a multiple of the identity, or symmetrise it",
            )
        scale = lower.diagonal(dim1=-2, dim2=-1)
        splats = _from_tensors("full", mean, scale, amplitude, lower.tril(-1))
        return cls(splats, background=background, norm_factor=norm_factor, bounds=bounds)

    @staticmethod
    def random(**options: Any) -> SplatField:
        """See `initial.random`."""
        from .initial import random

        return random(**options)

    @staticmethod
    def kmeans(points: Float[Tensor, "H N D"], **options: Any) -> SplatField:
        """See `initial.kmeans`."""
        from .initial import kmeans

        return kmeans(points, **options)

    @staticmethod
    def pca(points: Float[Tensor, "H N D"], **options: Any) -> SplatField:
        """See `initial.pca`."""
        from .initial import pca

        return pca(points, **options)

    @staticmethod
    def from_teacher(
        query: Float[Tensor, "H N D"], key: Float[Tensor, "H M D"], **options: Any
    ) -> SplatField:
        """See `teacher.from_teacher`."""
        from .teacher import from_teacher

        return from_teacher(query, key, **options)

    @property
    def heads(self) -> int:
        return self.raw_mean.shape[0]

    @property
    def count(self) -> int:
        """Slots a head, empty ones included."""
        return self.raw_mean.shape[1]

    @property
    def width(self) -> int:
        return self.raw_mean.shape[2]

    @property
    def has_background(self) -> bool:
        return self.raw_background is not None

    @property
    def features(self) -> int:
        """Features a head: the splats and the background."""
        return self.count + self.has_background

    @property
    def log_background(self) -> Tensor | None:
        """The log amplitude of the background splat [H], or None."""
        if self.raw_background is None:
            return None
        return _within(self.raw_background, *self.bounds.amplitude)

    @property
    def bounded(self) -> bool:
        """Whether log features have an upper bound that does not depend on the point."""
        return self.norm_factor is None

    def splats(self) -> Splats:
        """The constrained values; gradients flow from them to the parameters."""
        reach, factor = self.bounds.mean, None
        if self.raw_factor is not None:
            largest = self.bounds.scale[1]
            factor = largest * torch.tanh(self.raw_factor / largest)
        return Splats(
            kind=self.kind,
            mean=reach * torch.tanh(self.raw_mean / reach),
            scale=_within(self.raw_scale, *self.bounds.scale).exp(),
            factor=factor,
            log_amplitude=_within(self.raw_amplitude, *self.bounds.amplitude),
            alive=self.alive,
        )

    @torch.no_grad()
    def set_splats(self, splats: Splats) -> None:
        """Take over values of the same kind and shape; what lies outside the bounds is refused."""
        splats.check_values()
        for name, raw in self.raw_values(splats).items():
            getattr(self, name).copy_(raw)
        self.alive.copy_(splats.alive)

    @torch.no_grad()
    def raw_values(self, splats: Splats) -> dict[str, Tensor]:
        """The parameters, by name, whose constrained values `splats` holds."""
        if splats.kind != self.kind or splats.mean.shape != self.raw_mean.shape:
            raise ArgumentError(
                "splats",
                f"{splats.kind} {list(splats.mean.shape)}",
                f"{self.kind} {list(self.raw_mean.shape)}",
                "keep kind, heads, capacity and width",
            )
        reach = self.bounds.mean
        if not bool((splats.mean.abs() <= reach * (1 + _ROUNDING)).all()):
            raise ArgumentError(
                "mean",
                f"|mean| up to {float(splats.mean.abs().max()):.4g}",
                f"coordinates up to {reach}",
                "pass bounds=Bounds(mean=...) that hold the centres",
            )
        amplitude = splats.log_amplitude.clamp(min=math.log(self.bounds.amplitude[0]) + 1e-3)
        raw = {
            "raw_mean": _outside_reach(splats.mean, reach),
            "raw_scale": _outside(splats.scale.log(), "scale", *self.bounds.scale),
            "raw_amplitude": _outside(amplitude, "amplitude", *self.bounds.amplitude),
        }
        if splats.factor is not None:
            largest = self.bounds.scale[1]
            if not bool((splats.factor.abs() <= largest * (1 + _ROUNDING)).all()):
                raise ArgumentError(
                    "factor",
                    f"entries up to {float(splats.factor.abs().max()):.4g}",
                    f"entries up to {largest}",
                    "pass bounds=Bounds(scale=...) that hold them",
                )
            raw["raw_factor"] = _outside_reach(splats.factor, largest)
        return raw

    def prepared(self) -> PreparedFeatures:
        """The feature function with what it needs computed once; see `PreparedFeatures`.

        In evaluation mode and without gradients it is kept until a parameter changes, which
        torch counts (writing through `.data` is not counted: call `train()` and `eval()` then).
        """
        if self.training or torch.is_grad_enabled():
            self._kept = None
            return prepare(self.splats(), self.log_background, self.norm_factor)
        own = [*self.parameters(), *self.buffers()]
        versions = tuple((t.data_ptr(), t.dtype, t._version) for t in own)
        if self._kept is None or self._kept[0] != versions:
            fresh = prepare(self.splats(), self.log_background, self.norm_factor)
            self._kept = versions, fresh
        return self._kept[1]

    def log_features(self, x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T F"]:
        """l_s(x) of every splat, -inf for empty slots; the background comes last."""
        if x.dim() != 4 or x.shape[1] != self.heads or x.shape[3] != self.width:
            raise ArgumentError(
                "x",
                f"shape {list(x.shape)}",
                f"[B, {self.heads}, T, {self.width}]",
                "give every head of the field its own points",
            )
        return self.prepared()(x)

    def extra_repr(self) -> str:
        background = "with" if self.has_background else "without"
        return (
            f"{self.kind}, heads={self.heads}, splats={self.count}, width={self.width}, "
            f"{background} background"
        )

    def _background_raw(self, background: Tensor | float, like: Tensor) -> Tensor:
        amplitude = torch.as_tensor(background, dtype=torch.float64, device=like.device)
        if not bool((amplitude > 0).all()):
            raise ArgumentError("background", background, "amplitudes > 0, or None", "use None")
        logs = amplitude.expand(like.shape[0]).log().to(like.dtype)
        return _outside(logs, "background", *self.bounds.amplitude)


# A parameter that training drove to its bound, where rounding may lift it a little over, can be
# read and set again; it comes back this close to the bound, where its gradient is not yet lost.
_EDGE, _ROUNDING = 1e-6, 1e-5


def _from_tensors(
    kind: Kind, mean: Tensor, scale: Tensor, amplitude: Tensor, factor: Tensor | None = None
) -> Splats:
    if not bool((amplitude > 0).all()):
        raise ArgumentError(
            "amplitude",
            f"a smallest value of {float(amplitude.min())}",
            "amplitudes > 0",
            "leave splats without weight out, or mark their slots as empty",
        )
    alive = torch.ones(mean.shape[:2], dtype=torch.bool, device=mean.device)
    return Splats(
        kind=kind,
        mean=mean,
        scale=scale,
        log_amplitude=amplitude.log(),
        alive=alive,
        factor=factor,
    )


def _within(raw: Tensor, low: float, high: float) -> Tensor:
    """A logarithm between those of low and high."""
    return math.log(low) + (math.log(high) - math.log(low)) * torch.sigmoid(raw)


def _outside(logs: Tensor, name: str, low: float, high: float) -> Tensor:
    """The inverse of `_within`; values beyond the bounds are refused."""
    share = (logs - math.log(low)) / (math.log(high) - math.log(low))
    if not bool(((share >= -_ROUNDING) & (share <= 1 + _ROUNDING)).all()):
        raise ArgumentError(
            name,
            f"values from {float(logs.exp().min()):.4g} to {float(logs.exp().max()):.4g}",
            f"values between {low:g} and {high:g}",
            f"pass bounds=Bounds({'amplitude' if name == 'background' else name}=(low, high))",
        )
    return torch.logit(share, eps=_EDGE)


def _outside_reach(values: Tensor, reach: float) -> Tensor:
    """The inverse of reach tanh(raw / reach)."""
    return reach * torch.atanh((values / reach).clamp(-1 + _EDGE, 1 - _EDGE))
