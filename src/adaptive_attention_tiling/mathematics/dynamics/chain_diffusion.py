"""Relaxation and diffusion along a chain of cells of different lengths, by implicit steps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ...errors import ArgumentError
from ..tridiagonal import solve_tridiagonal


def distances(lengths: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m-1"]:
    """Of the centres of neighbours, d_i = (h_i + h_{i+1}) / 2."""
    return 0.5 * (lengths[..., 1:] + lengths[..., :-1])


def chain_laplacian(
    values: Float[Tensor, "*b m"], lengths: Float[Tensor, "*b m"]
) -> Float[Tensor, "*b m"]:
    """((u_{i+1} - u_i) / d_i - (u_i - u_{i-1}) / d_{i-1}) / h_i, without flux through the ends.

    Symmetric and <= 0 in <u, v> = sum_i h_i u_i v_i; sum_i h_i (Laplacian u)_i = 0.

    Args:
        lengths: h > 0 of the cells.

    Source: finite volumes, Eymard, Gallouet and Herbin, Handbook of Numerical Analysis 7 (2000),
    section 5.
    """
    _check_lengths(values, lengths)
    flux = values.diff(dim=-1) / distances(lengths)
    return (pad(flux, (0, 1)) - pad(flux, (1, 0))) / lengths


def relaxation_diffusion_step(
    values: Float[Tensor, "*b m"],
    source: Float[Tensor, "*b m"],
    step: float,
    *,
    diffusion: float | Float[Tensor, ""],
    rate: float | Float[Tensor, "*b m"] = 1.0,
    lengths: Float[Tensor, "*b m"] | None = None,
) -> Float[Tensor, "*b m"]:
    """Backward Euler of u_t = -rate (u - source) + diffusion u_xx: one tridiagonal solve.

        (1 + step rate_i) u'_i - step diffusion (Laplacian u')_i = u_i + step rate_i source_i

    The matrix has no positive entry beside its diagonal and rows that sum to 1 + step rate_i, so
    every u'_i is an average of values and sources: min(u, source) <= u' <= max(u, source) for any
    step, diffusion and lengths, and nothing oscillates. No wave number grows: the rates are
    -rate - diffusion k^2, so one such field cannot form a pattern of its own.

    Args:
        values: u.
        source: what u relaxes to, such as information per token.
        step: in time, > 0.
        diffusion: >= 0, in squared units of length a unit of time.
        rate: of relaxation, >= 0, one number or one for each cell.
        lengths: of the cells; 1 each if None.

    Raises:
        ArgumentError: what lies outside these ranges, or unlike shapes.

    Source: Varga, Matrix Iterative Analysis (1962), section 3.5 (M-matrices).
    """
    _check(values, source, step, diffusion, rate)
    lengths = torch.ones_like(values) if lengths is None else lengths
    _check_lengths(values, lengths)
    tie = step * diffusion / distances(lengths)
    own = lengths * (1 + step * rate) + pad(tie, (1, 0)) + pad(tie, (0, 1))
    return solve_tridiagonal(own, -tie, lengths * (values + step * rate * source))


def _check(
    values: Tensor, source: Tensor, step: float, diffusion: float | Tensor, rate: float | Tensor
) -> None:
    if values.dim() < 1 or values.shape[-1] == 0:
        raise ArgumentError("values", list(values.shape), "[*b, m], m >= 1", "pass a chain")
    if source.dim() < 1 or values.shape[-1] != source.shape[-1]:
        raise ArgumentError(
            "source", list(source.shape), f"as many cells as values {list(values.shape)}", "cut it"
        )
    if not 0 < step < math.inf:
        raise ArgumentError("step", step, "a finite number > 0", "pass step=1.0")
    for name, given in (("diffusion", diffusion), ("rate", rate)):
        numbers = torch.as_tensor(given).detach()
        if not bool((numbers.ge(0) & numbers.isfinite()).all()):
            raise ArgumentError(name, given, "finite numbers >= 0", "diffusion has no way back")
        if numbers.dim() and numbers.shape[-1] not in (1, values.shape[-1]):
            raise ArgumentError(
                name, list(numbers.shape), f"one number, or {values.shape[-1]} last", "pass one"
            )


def _check_lengths(values: Tensor, lengths: Tensor) -> None:
    if lengths.dim() < 1 or lengths.shape[-1] != values.shape[-1]:
        raise ArgumentError(
            "lengths", list(lengths.shape), f"{values.shape[-1]} cells last", "pass one a cell"
        )
    wrong = lengths.detach()[~((lengths > 0) & lengths.isfinite())]
    if len(wrong):
        raise ArgumentError("lengths", float(wrong[0]), "finite numbers > 0", "drop empty cells")
