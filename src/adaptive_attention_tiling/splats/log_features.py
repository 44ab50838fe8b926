"""The logarithms of splat features, prepared once and evaluated at many points."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from .splats import Kind, Splats


class PreparedFeatures(NamedTuple):
    """A function of (tensors, x), so that gradients can be sent to `tensors` by whoever calls it.

    function(tensors, x [B, H, T, D]) -> log features [B, H, T, F]
    """

    function: Callable[[tuple[Tensor, ...], Tensor], Tensor]
    tensors: tuple[Tensor, ...]
    kind: Kind

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(self.tensors, x)


def prepare(
    splats: Splats, background: Tensor | None, norm_factor: Tensor | None
) -> PreparedFeatures:
    """l_s(x) = 1/2 log a_s - 1/2 (x - mu_s)^T Sigma_s^-1 (x - mu_s) + 1/2 kappa |x|^2.

    Squares are expanded, so that all splats come from one matrix product; points and centres
    are first moved by the mean centre of the head, which keeps the expansion accurate.
    `background` [H] (log amplitude) adds a last feature, that of an infinitely wide splat.
    """
    origin = splats.mean.detach().mean(1, keepdim=True)
    mean = splats.mean - origin
    peak = (0.5 * splats.log_amplitude).masked_fill(~splats.alive, -torch.inf)
    rows = 0 if background is None else 1
    if norm_factor is None:
        norm_factor = peak.new_zeros(0)

    def with_background(tensor: Tensor) -> Tensor:
        """A row of zeros more for a splat that is the same everywhere."""
        return pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, rows)) if rows else tensor

    def heights(offset: Tensor) -> Tensor:
        return offset if background is None else torch.cat([offset, 0.5 * background[:, None]], 1)

    if splats.kind == "full":
        lower = splats.cholesky
        eye = torch.eye(splats.width).to(mean).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        centres = (inverse @ mean[..., None])[..., 0]
        tensors = origin, norm_factor, heights(peak)
        return PreparedFeatures(
            _full, (*tensors, with_background(inverse), with_background(centres)), "full"
        )
    precision = splats.scale.square().reciprocal()
    if splats.kind == "scalar":
        precision = precision[..., None]
    offset = peak - 0.5 * (mean.square() * precision).sum(-1)
    tensors = origin, norm_factor, heights(offset)
    linear, square = with_background(mean * precision), with_background(-0.5 * precision)
    if splats.kind == "scalar":
        return PreparedFeatures(_scalar, (*tensors, linear, square), "scalar")
    weights = torch.cat([square, linear], -1)
    if splats.factor is None:
        return PreparedFeatures(_diagonal, (*tensors, weights), "diagonal")
    # Woodbury: Sigma^-1 = P - W W^T with P = diag(1 / scale^2), W = P F C^-T and
    # C C^T = I + F^T P F.
    scaled = precision[..., None] * splats.factor
    eye = torch.eye(splats.factor.shape[-1]).to(mean)
    lower = torch.linalg.cholesky(eye + splats.factor.mT @ scaled)
    whitened = torch.linalg.solve_triangular(lower, scaled.mT, upper=False)  # [H, K, R, D]
    centres = with_background((whitened @ mean[..., None])[..., 0])
    return PreparedFeatures(
        _low_rank,
        (*tensors, weights, with_background(whitened), centres, heights(peak)),
        "low_rank",
    )


def _scalar(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    origin, norm_factor, offset, linear, square = tensors
    y = x - origin
    logs = (y @ linear.mT).add_(offset[:, None])
    return _tilted(logs + y.square().sum(-1, keepdim=True) * square.mT, norm_factor, x)


def _diagonal(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    return _tilted(_diagonal_form(tensors, x - tensors[0]), tensors[1], x)


def _low_rank(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    *_, whitened, centres, ceiling = tensors
    y = x - tensors[0]
    rows = torch.einsum("bhtd,hkrd->bhtkr", y, whitened) - centres[:, None]
    logs = _diagonal_form(tensors, y) + 0.5 * rows.square().sum(-1)
    # A difference of large numbers far along a factor: rounding must not lift it over the centre.
    return _tilted(torch.minimum(logs, ceiling[:, None]), tensors[1], x)


def _full(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    origin, norm_factor, offset, inverse, centres = tensors
    rows = torch.einsum("bhtd,hkrd->bhtkr", x - origin, inverse) - centres[:, None]
    return _tilted(offset[:, None] - 0.5 * rows.square().sum(-1), norm_factor, x)


def _diagonal_form(tensors: tuple[Tensor, ...], y: Tensor) -> Tensor:
    offset, weights = tensors[2:4]
    return (torch.cat([y.square(), y], -1) @ weights.mT).add_(offset[:, None])


def _tilted(logs: Tensor, norm_factor: Tensor, x: Tensor) -> Tensor:
    if not norm_factor.numel():
        return logs
    return logs + 0.5 * norm_factor[:, None, None] * x.square().sum(-1, keepdim=True)
