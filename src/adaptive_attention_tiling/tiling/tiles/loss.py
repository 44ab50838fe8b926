"""Measured information loss: the energy lost when a tile is read as the means of its segments.

A segment of L tokens x_0 .. x_(L-1) that is replaced by its mean loses

    E = sum_j |x_j - mean|^2 = 1/L sum_(i<j) |x_i - x_j|^2.

Where only a density is known, rho_k = E|x_k - x_(k-1)|^2 with steps that are uncorrelated,
E|x_i - x_j|^2 = rho_(i+1) + .. + rho_j. Step k lies inside the pairs with i < k <= j, of which
there are k (L - k), so the expected energy is

    E = sum_(k=1)^(L-1) rho_k k (L - k) / L.

A tile loses the sum over its segments of `span` tokens, of which the last may be shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .offers import Offers
from .tiling import Tiling

Signal = Literal["states", "density"]


def span_losses(signal: Float[Tensor, "n L *C"], offered: Offers) -> Float[Tensor, "R K n"]:
    """The energy that each offered span loses at each resolution. Differentiable in the signal.

    Where segments never cross the programme's positions, a span's energy is a difference of
    prefix sums over positions; else segments start where the span does, and prefix sums over
    tokens in float64 give each segment's energy (rounding: 1e-16 of the super-block's).

    Args:
        signal: states [n, L, C] or density [n, L] of n super-blocks of `offered.tokens` tokens.
        offered: what may be cut from them.
    """
    if not offered.is_aligned:
        return _losses_from_tokens(signal, offered)
    prefix = prefix_losses(signal, offered)
    lost = prefix.index_select(1, offered.stop) - prefix.index_select(1, offered.start)
    return lost.clamp_min(0).to(signal.dtype)


def prefix_losses(signal: Float[Tensor, "n L *C"], offered: Offers) -> Float[Tensor, "R P n"]:
    """Energy lost before each position at each resolution, in float64.

    Only where `offered.is_aligned`: what a tile loses is then the difference between its borders.
    """
    energies = (_aligned_density if signal.dim() == 2 else _aligned_states)(
        signal, offered.spans, int(offered.borders[1])
    )
    return torch.nn.functional.pad(energies.double().cumsum(1), (0, 0, 1, 0))


def tiling_loss(states: Float[Tensor, "n T C"], tiling: Tiling) -> Float[Tensor, "n S"]:
    """The energy that each super-block loses under any tiling, from its segments one by one."""
    ids = tiling.segment_ids()
    segments = int(ids.max()) + 1
    index = ids[..., None].expand_as(states)
    total = states.new_zeros(len(states), segments, states.shape[-1]).scatter_add(1, index, states)
    count = states.new_zeros(len(states), segments).scatter_add(1, ids, states.new_ones(ids.shape))
    mean = total / count.clamp_min(1)[..., None]
    lost = (states - mean.gather(1, index)).square().sum(-1)
    return torch.stack([block.sum(1) for block in lost.split(tiling.super_block, 1)], 1)


def _aligned_states(
    states: Float[Tensor, "n L C"], spans: tuple[int, ...], granule: int
) -> Float[Tensor, "R P n"]:
    """Energy inside each granule, segment length by segment length, from sums of shorter ones.

    sum_j |x_j - mean|^2 = sum over parts of (their own + their size |their mean - mean|^2).
    """
    n, tokens, _ = states.shape
    energies = {1: states.new_zeros(tokens // granule, n)}
    sums, size = states, 1
    for span in sorted(spans):
        if span == 1:
            continue
        if span % size:
            sums, size = states, 1
        sums, apart = _merged(sums, span // size)
        own = apart.view(n, tokens // granule, -1).sum(-1).mT / size
        energies[span] = energies[size] + own
        size = span
    return torch.stack([energies[span] for span in spans])


def _merged(
    sums: Float[Tensor, "n L C"], parts: int
) -> tuple[Float[Tensor, "n L2 C"], Float[Tensor, "n L2"]]:
    """Sums of `parts` neighbours, and the squared distances of the parts to their mean."""
    if parts == 2:
        first, second = sums[:, 0::2], sums[:, 1::2]
        apart = first - second
        return first + second, torch.linalg.vector_norm(apart, dim=-1).square() * 0.5
    grouped = sums.unflatten(1, (-1, parts))
    total = grouped.sum(2)
    return total, (grouped - total[:, :, None] / parts).square().sum((2, 3))


def _aligned_density(
    density: Float[Tensor, "n L"], spans: tuple[int, ...], granule: int
) -> Float[Tensor, "R P n"]:
    """Expected energy inside each granule: sum_k rho_k k (span - k) / span."""
    n, tokens = density.shape
    energies = []
    for span in spans:
        step = torch.arange(span, dtype=density.dtype, device=density.device)
        weighted = density.view(n, -1, span) * (step * (span - step) / span)
        energies.append(weighted.view(n, tokens // granule, granule).sum(-1).mT)
    return torch.stack(energies)


Energy = Callable[[Int[Tensor, " K"], Int[Tensor, " K"]], Float[Tensor, "K n"]]


def _losses_from_tokens(signal: Tensor, offered: Offers) -> Float[Tensor, "R K n"]:
    energy = (_density_energy if signal.dim() == 2 else _states_energy)(signal.double())
    start, stop = offered.borders[offered.start], offered.borders[offered.stop]
    lost = [_lost(energy, start, stop, span, offered.tokens) for span in offered.spans]
    return torch.stack(lost).clamp_min(0).to(signal.dtype)


def _lost(
    energy: Energy, start: Tensor, stop: Tensor, span: int, tokens: int
) -> Float[Tensor, "K n"]:
    """Whole segments from sums in strides of `span`, and the rest of each tile by itself."""
    if span == 1:
        return torch.zeros_like(energy(start, start))
    rest = stop - (stop - start) % span
    lost = energy(rest, stop)
    first = torch.arange(max(0, tokens - span + 1))
    if not len(first):
        return lost
    whole = torch.nn.functional.pad(
        energy(first, first + span), (0, 0, 0, span + -len(first) % span + span)
    )
    grouped: Tensor = whole.unflatten(0, (-1, span))
    strides = grouped.flip(0).cumsum(0).flip(0).flatten(0, 1)
    return lost + strides[start] - strides[rest]


def _states_energy(states: Float[Tensor, "n L C"]) -> Energy:
    """sum |x|^2 - |sum x|^2 / L, around the super-block's mean lest large numbers cancel."""
    centred = states - states.mean(1, keepdim=True).detach()
    sums = torch.nn.functional.pad(centred.cumsum(1), (0, 0, 1, 0)).movedim(1, 0)
    squares = torch.nn.functional.pad(centred.square().sum(-1).cumsum(1), (1, 0)).mT

    def energy(start: Tensor, stop: Tensor) -> Tensor:
        length = (stop - start).clamp_min(1)[:, None]
        between = (sums[stop] - sums[start]).square().sum(-1)
        return squares[stop] - squares[start] - between / length

    return energy


def _density_energy(density: Float[Tensor, "n L"]) -> Energy:
    """With t = start + k: sum rho_t (t - start) (stop - t) / L, from sums of rho t^m, m = 0, 1, 2.

    rho at `start` itself has weight 0.
    """
    t = torch.arange(density.shape[1], dtype=density.dtype, device=density.device)
    zeroth, first, second = (
        torch.nn.functional.pad((density * t**m).cumsum(1), (1, 0)).mT for m in range(3)
    )

    def energy(start: Tensor, stop: Tensor) -> Tensor:
        a, b = start[:, None], stop[:, None]
        m0, m1, m2 = (m[stop] - m[start] for m in (zeroth, first, second))
        return ((a + b) * m1 - m2 - a * b * m0) / (b - a).clamp_min(1)

    return energy
