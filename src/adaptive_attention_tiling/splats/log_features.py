"""The logarithms of splat features, prepared once and evaluated at many points."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .splats import Splats


class PreparedFeatures(NamedTuple):
    """A function of (tensors, x), so that gradients can be sent to `tensors` by whoever calls it.

    function(tensors, x [B, H, T, D]) -> log features [B, H, T, F]
    """

    function: Callable[[tuple[Tensor, ...], Tensor], Tensor]
    tensors: tuple[Tensor, ...]

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
    offset = 0.5 * splats.log_amplitude
    if splats.kind == "scalar":
        precision = splats.scale.square().reciprocal()[..., None]
        linear, square = mean * precision, -0.5 * precision
        offset = offset - 0.5 * (mean.square() * precision).sum(-1)
        extra: tuple[Tensor, ...] = ()
        function = _scalar
    elif splats.kind == "full":
        inverse = torch.linalg.solve_triangular(
            splats.cholesky,
            torch.eye(splats.width).to(mean).expand_as(splats.cholesky),
            upper=False,
        )
        linear, square = inverse, (inverse @ mean[..., None])[..., 0]
        extra = ()
        function = _full
    else:
        precision = splats.scale.square().reciprocal()
        linear, square = mean * precision, -0.5 * precision
        offset = offset - 0.5 * (mean.square() * precision).sum(-1)
        function, extra = _diagonal, ()
        if splats.factor is not None:
            # Woodbury: Sigma^-1 = P - W W^T with P = diag(1 / scale^2), W = P F C^-T and
            # C C^T = I + F^T P F.
            scaled = precision[..., None] * splats.factor
            eye = torch.eye(splats.factor.shape[-1]).to(mean)
            lower = torch.linalg.cholesky(eye + splats.factor.mT @ scaled)
            whitened = torch.linalg.solve_triangular(lower, scaled.mT, upper=False)  # [H, K, R, D]
            centres = (whitened @ mean[..., None])[..., 0]
            extra = (whitened, centres, 0.5 * splats.log_amplitude)
            function = _low_rank
    if background is None:
        background = offset.new_zeros(splats.heads, 0)
    else:
        background = 0.5 * background[:, None]
    if norm_factor is None:
        norm_factor = offset.new_zeros(0)
    tensors = (origin, linear, square, offset, splats.alive, background, norm_factor, *extra)
    return PreparedFeatures(function, tensors)


def _scalar(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    origin, linear, square, offset, *_ = tensors
    y = x - origin
    quadratic = y.square().sum(-1, keepdim=True) * square[..., 0][:, None]
    return _finish(tensors, x, quadratic + (y @ linear.mT + offset[:, None]))


def _diagonal(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    return _finish(tensors, x, _diagonal_form(tensors, x - tensors[0]))


def _low_rank(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    *_, whitened, centres, ceiling = tensors
    y = x - tensors[0]
    rows = torch.einsum("bhtd,hkrd->bhtkr", y, whitened) - centres[:, None]
    logs = _diagonal_form(tensors, y) + 0.5 * rows.square().sum(-1)
    # A difference of large numbers far along a factor: rounding must not lift it over the centre.
    return _finish(tensors, x, torch.minimum(logs, ceiling[:, None]))


def _full(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    origin, inverse, centres, offset, *_ = tensors
    rows = torch.einsum("bhtd,hkrd->bhtkr", x - origin, inverse) - centres[:, None]
    return _finish(tensors, x, offset[:, None] - 0.5 * rows.square().sum(-1))


def _diagonal_form(tensors: tuple[Tensor, ...], y: Tensor) -> Tensor:
    _, linear, square, offset, *_ = tensors
    return torch.cat([y.square(), y], -1) @ torch.cat([square, linear], -1).mT + offset[:, None]


def _finish(tensors: tuple[Tensor, ...], x: Tensor, logs: Tensor) -> Tensor:
    alive, background, norm_factor = tensors[4:7]
    logs = logs.masked_fill(~alive[:, None], -torch.inf)
    if background.shape[-1]:
        logs = torch.cat([logs, background[:, None].expand(*logs.shape[:-1], 1)], -1)
    if norm_factor.numel():
        logs = logs + 0.5 * norm_factor[:, None, None] * x.square().sum(-1, keepdim=True)
    return logs
