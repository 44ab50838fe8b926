"""Transfer entropy: what the past of one process tells of another beyond its own past, in nats.

    TE(X -> Y) = I(Y_t ; X_past | Y_past) = H(Y_t | Y_past) - H(Y_t | Y_past, X_past) >= 0

Source: Schreiber, Measuring information transfer, 2000, (4); for normal processes it is half the
Granger causality (Barnett, Barrett and Seth, 2009).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import check_positive_definite, symmetric_part


def stationary_covariance(
    transition: Float[Tensor, "*b n n"], noise: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """S = A S A^T + Q of z_t = A z_(t-1) + e_t, e_t of covariance Q, by a linear solve.

    Raises:
        ArgumentError: A has an eigenvalue of modulus 1 or above.
    """
    _check_process(transition, noise)
    size = transition.shape[-1]
    left = torch.einsum("...ij,...kl->...ikjl", transition, transition)
    left = left.reshape(*transition.shape[:-2], size**2, size**2)
    identity = torch.eye(size**2, dtype=left.dtype, device=left.device)
    solved = torch.linalg.solve(identity - left, noise.flatten(-2)[..., None])
    return symmetric_part(solved[..., 0].unflatten(-1, (size, size)))


def normal_transfer_entropy(
    transition: Float[Tensor, "*b n n"],
    noise: Float[Tensor, "*b n n"],
    source: list[int],
    target: list[int],
    *,
    lags: int = 1,
) -> Float[Tensor, "*b"]:
    """TE of a stationary VAR(1) z_t = A z_(t-1) + e_t, from `lags` tokens of both pasts.

        log det Cov(y_t | y_past) / 2 - log det Cov(y_t | y_past, x_past) / 2

    Conditional covariances are exact for these lags; with more lags they fall to those of the whole
    past. A VAR of higher order is a VAR(1) of stacked states. Other components are not conditioned
    on.

    Args:
        source, target: components that make up X and Y.

    Raises:
        ArgumentError: the process is not stationary, Q is not positive definite, or components
            overlap or do not exist.
    """
    size = transition.shape[-1]
    chosen = [*source, *target]
    if (
        not source
        or not target
        or len(set(chosen)) < len(chosen)
        or not set(chosen) <= {*range(size)}
    ):
        raise ArgumentError(
            "source",
            f"{source} and {target}",
            f"distinct components below {size}",
            "name them once",
        )
    if isinstance(lags, bool) or not isinstance(lags, int) or lags < 1:
        raise ArgumentError("lags", lags, "an integer >= 1", "pass lags=1")
    joint = _joint_covariance(transition, noise, lags)
    now = target
    own = [lag * size + i for lag in range(1, lags + 1) for i in target]
    others = [lag * size + i for lag in range(1, lags + 1) for i in source]
    without = _conditional_log_det(joint, now, own)
    return (without - _conditional_log_det(joint, now, own + others)) / 2


def discrete_transfer_entropy(
    source: Int[Tensor, " T"],
    target: Int[Tensor, " T"],
    *,
    lags: int = 1,
) -> Float[Tensor, ""]:
    """The plug-in estimate from counts of (y_t, x_(t-lags .. t-1), y_(t-lags .. t-1)).

    Biased upwards: independent sequences give about (n_y - 1)(n_x^k - 1) n_y^k / (2 T) with k lags
    (Panzeri and Treves, 1996), not 0.

    Args:
        source, target: int64 symbols >= 0 of one sequence each.
    """
    symbols = _checked_symbols(source, target, lags)
    x, y = (_windows(s, lags) for s in symbols)
    x_past, y_past = x[:, :-1], y[:, :-1]
    both = torch.cat([x_past, y_past], 1)
    whole = torch.cat([x_past, y], 1)
    logs = _log_counts(whole) + _log_counts(y_past) - _log_counts(both) - _log_counts(y)
    return logs.mean()


def _log_counts(rows: Tensor) -> Tensor:
    """log of how often each row occurs, one number a row."""
    _, which, counts = rows.unique(dim=0, return_inverse=True, return_counts=True)
    return torch.as_tensor(counts[which].double().log())


def _joint_covariance(transition: Tensor, noise: Tensor, lags: int) -> Tensor:
    """Of (z_t, z_(t-1), ..., z_(t-lags)): Cov(z_t, z_(t-k)) = A^k S."""
    forward = [stationary_covariance(transition, noise)]
    for _ in range(lags):
        forward.append(transition @ forward[-1])
    rows = [
        torch.cat([forward[j - i] if j >= i else forward[i - j].mT for j in range(lags + 1)], -1)
        for i in range(lags + 1)
    ]
    return torch.cat(rows, -2)


def _conditional_log_det(covariance: Tensor, now: list[int], given: list[int]) -> Tensor:
    """log det Cov(now | given) = log det of both, less that of what is given."""
    both = now + given
    first = torch.linalg.slogdet(covariance[..., both, :][..., :, both]).logabsdet
    second = torch.linalg.slogdet(covariance[..., given, :][..., :, given]).logabsdet
    return torch.as_tensor(first - second)


def _check_process(transition: Tensor, noise: Tensor) -> None:
    if transition.shape[-2:] != noise.shape[-2:]:
        raise ArgumentError(
            "noise", f"shape {list(noise.shape)}", f"that of A, {list(transition.shape)}", "pass Q"
        )
    check_positive_definite("noise", noise)
    largest = torch.linalg.eigvals(transition.detach()).abs().amax(-1)
    if not bool((largest < 1).all()):
        raise ArgumentError(
            "transition",
            f"an eigenvalue of modulus {float(largest.max()):.6g}",
            "a stationary process, all below 1",
            "scale A down",
        )


def _checked_symbols(source: Tensor, target: Tensor, lags: int) -> tuple[Tensor, Tensor]:
    for name, given in (("source", source), ("target", target)):
        if given.dim() != 1 or given.dtype != torch.int64 or bool((given < 0).any()):
            raise ArgumentError(
                name,
                f"{given.dtype} {list(given.shape)}",
                "int64 [T] with entries >= 0",
                "number symbols from 0",
            )
    if len(source) != len(target) or not 1 <= lags < len(source):
        raise ArgumentError(
            "lags",
            f"{lags} of {len(source)} and {len(target)}",
            "1 to T - 1 of equal T",
            "pass lags=1",
        )
    return source, target


def _windows(symbols: Tensor, lags: int) -> Tensor:
    return symbols.unfold(0, lags + 1, 1)
