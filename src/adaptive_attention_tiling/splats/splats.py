"""Splats as plain arrays: what edits, pictures and constructors work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import ArgumentError

Kind = Literal["scalar", "diagonal", "low_rank", "full"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Splats:
    """K Gaussians a_s exp(-1/2 (x - mu_s)^T Sigma_s^-1 (x - mu_s)) in each of H heads.

    Attributes:
        kind: what Sigma may be, and with it what `scale` and `factor` hold:
            "scalar"    Sigma = scale^2 I                    scale [H, K]
            "diagonal"  Sigma = diag(scale^2)                scale [H, K, D]
            "low_rank"  Sigma = diag(scale^2) + F F^T        scale [H, K, D], factor [H, K, D, R]
            "full"      Sigma = L L^T, L = tril(F, -1) + diag(scale)
                                                             scale [H, K, D], factor [H, K, D, D]
        mean: centres mu [H, K, D].
        scale: standard deviations, > 0.
        factor: F above; None for the first two kinds. Of a full one only what lies below the
            diagonal counts.
        log_amplitude: log a [H, K].
        alive: False for empty slots, which weigh nothing [H, K].
    """

    kind: Kind
    mean: Tensor
    scale: Tensor
    log_amplitude: Tensor
    alive: Tensor
    factor: Tensor | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if self.mean.dim() != 3:
            raise ArgumentError(
                "mean",
                f"shape {list(self.mean.shape)}",
                "[H, K, D]: heads, splats, width",
                "add the axis of heads, for example mean[None]",
            )
        heads, splats, width = self.mean.shape
        flat = (heads, splats)
        wide = (heads, splats, width)
        self._check("scale", self.scale, flat if self.kind == "scalar" else wide)
        self._check("log_amplitude", self.log_amplitude, flat)
        self._check("alive", self.alive, flat)
        if self.kind in ("scalar", "diagonal"):
            if self.factor is not None:
                raise ArgumentError(
                    "factor",
                    f"shape {list(self.factor.shape)}",
                    f"None for a {self.kind} covariance",
                    'leave it out, or use kind "low_rank" or "full"',
                )
        else:
            rank = width if self.kind == "full" or self.factor is None else self.factor.shape[-1]
            self._check("factor", self.factor, (*wide, rank))

    def check_values(self) -> None:
        """Raise an ArgumentError for values that no Gaussian has."""
        if not bool((self.scale > 0).all()):
            raise ArgumentError(
                "scale",
                f"a smallest value of {float(self.scale.min())}",
                "standard deviations > 0",
                "pass deviations, not their logarithms",
            )
        for name in ("mean", "scale", "log_amplitude", "factor"):
            tensor = getattr(self, name)
            if tensor is not None and not bool(torch.isfinite(tensor).all()):
                raise ArgumentError(
                    name, "inf or nan", "finite values", "mark empty slots with alive=False"
                )

    @property
    def heads(self) -> int:
        return self.mean.shape[0]

    @property
    def count(self) -> int:
        """Slots a head, empty ones included."""
        return self.mean.shape[1]

    @property
    def width(self) -> int:
        return self.mean.shape[2]

    @property
    def cholesky(self) -> Tensor:
        """L [H, K, D, D] with Sigma = L L^T, of a full kind only."""
        assert self.factor is not None
        return self.factor.tril(-1) + torch.diag_embed(self.scale)

    @property
    def covariance(self) -> Tensor:
        """Sigma [H, K, D, D], for every kind."""
        if self.kind == "full":
            lower = self.cholesky
            return lower @ lower.mT
        scale = self.scale if self.kind != "scalar" else self.scale[..., None].expand_as(self.mean)
        sigma = torch.diag_embed(scale.square())
        return sigma if self.factor is None else sigma + self.factor @ self.factor.mT

    def detached(self) -> Splats:
        """The same values without their history of gradients, in memory of their own."""
        return self.with_arrays({n: t.detach().clone() for n, t in self.arrays().items()})

    def with_arrays(self, arrays: Mapping[str, Tensor]) -> Splats:
        """The same kind with other arrays, named as `arrays()` names them."""
        return Splats(
            kind=self.kind,
            mean=arrays["mean"],
            scale=arrays["scale"],
            log_amplitude=arrays["log_amplitude"],
            alive=arrays["alive"],
            factor=arrays.get("factor"),
        )

    def arrays(self) -> dict[str, Tensor]:
        """Every array by name; each has the axes [H, K, ...]."""
        named = {n: getattr(self, n) for n in ("mean", "scale", "log_amplitude", "alive", "factor")}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def _check(self, name: str, tensor: Tensor | None, shape: tuple[int, ...]) -> None:
        if tensor is None or tuple(tensor.shape) != shape:
            raise ArgumentError(
                name,
                None if tensor is None else f"shape {list(tensor.shape)}",
                f"shape {list(shape)} for kind {self.kind!r} and mean {list(self.mean.shape)}",
                "give every splat of every head its own",
            )


def check_kind(kind: str) -> None:
    """Raise an ArgumentError for a name that is not a kind of covariance."""
    if kind not in KINDS:
        raise ArgumentError("kind", repr(kind), f"one of {KINDS}", "check the spelling")
