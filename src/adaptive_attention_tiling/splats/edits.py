"""Edits of splats: birth, death, split, merge and relocation, as functions of arrays.

An edit never changes a shape: splats are born into empty slots, and what dies leaves one. Every
function works on all heads at once, leaves its arguments as they are, and raises an ArgumentError
where it cannot do all that was asked; nothing is done in part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import ArgumentError
from .moments import log_amplitude_of, log_mass
from .splats import Splats


@dataclass(frozen=True, kw_only=True)
class Edit:
    """New arrays, and for each of their slots where it comes from.

    Attributes:
        splats: the new values.
        source: the slot of the old arrays whose parameters, optimizer moments and statistics a
            slot goes on with, or -1 where it starts fresh or was emptied [H, K].
    """

    splats: Splats
    source: Tensor

    def __post_init__(self) -> None:
        shape = (self.splats.heads, self.splats.count)
        if tuple(self.source.shape) != shape or self.source.dtype != torch.int64:
            raise ArgumentError(
                "source",
                f"{self.source.dtype} {list(self.source.shape)}",
                f"torch.int64 {list(shape)}",
                "name one old slot, or -1, for each slot",
            )
        if self.source.numel() and not (-1 <= self.source.min() <= self.source.max() < shape[1]):
            raise ArgumentError(
                "source",
                f"values from {int(self.source.min())} to {int(self.source.max())}",
                f"values from -1 to {shape[1] - 1}",
                "use -1 for slots that start fresh",
            )

    def then(self, later: Edit) -> Edit:
        """This edit, followed by one of its result."""
        earlier = self.source.gather(1, later.source.clamp(min=0))
        return Edit(splats=later.splats, source=earlier.masked_fill(later.source < 0, -1))


def no_edit(splats: Splats) -> Edit:
    """The edit that changes nothing."""
    return Edit(splats=splats.detached(), source=_identity(splats))


@torch.no_grad()
def birth(
    splats: Splats,
    points: Float[Tensor, "H n D"],
    *,
    scale: Tensor | float,
    amplitude: Tensor | float,
    where: Bool[Tensor, "H n"] | None = None,
) -> Edit:
    """Put splats at `points`, into the first empty slots of each head, in the order of the points.

    Args:
        points: the centres.
        scale: standard deviations: one for all, [H, n], or, unless the kind is scalar, [H, n, D].
            A low-rank or full covariance is born diagonal.
        amplitude: one for all or [H, n].
        where: False for points that are to be left out, so that heads may differ in number.
    """
    heads, count = points.shape[:2]
    _check("points", points, (splats.heads, count, splats.width))
    where = points.new_ones(heads, count, dtype=torch.bool) if where is None else where
    _check_mask("where", where, (heads, count))
    slots = _empty_slots(splats, where)
    edit = no_edit(splats)
    arrays = edit.splats.arrays()
    head, point = where.nonzero(as_tuple=True)
    rows = head, slots[where]
    wide = (heads, count, *splats.scale.shape[2:])
    chosen = head, point
    arrays["mean"][rows] = points.to(splats.mean)[chosen]
    arrays["scale"][rows] = _per_splat("scale", scale, wide, splats.scale)[chosen]
    logs = _per_splat("amplitude", amplitude, (heads, count), splats.scale).log()
    arrays["log_amplitude"][rows] = logs[chosen]
    arrays["alive"][rows] = True
    if "factor" in arrays:
        arrays["factor"][rows] = 0
    edit.source[rows] = -1
    return edit


@torch.no_grad()
def death(splats: Splats, dead: Bool[Tensor, "H K"]) -> Edit:
    """Empty the slots where `dead` is True; those that are empty already stay so."""
    _check_mask("dead", dead, (splats.heads, splats.count))
    alive = splats.alive & ~dead
    source = _identity(splats).masked_fill(dead, -1)
    return Edit(splats=replace(splats.detached(), alive=alive), source=source)


@torch.no_grad()
def split(splats: Splats, which: Bool[Tensor, "H K"], *, spread: float = 0.5) -> Edit:
    """Replace splats by two of half their mass, one in their slot and one in an empty slot.

    With sigma^2 the variance along a unit axis u, the halves have the moments

        mean -+ spread sigma u,   covariance Sigma - spread^2 sigma^2 u u^T

    so that together they have the mass, mean and covariance of the splat. The axis is the
    principal one of a full covariance; the widest coordinate of a diagonal one; of a low-rank one
    whichever is longer, its widest coordinate or the leading singular vector of F, since only
    these keep the kind. Scalar covariances cannot stay isotropic and keep the covariance in more
    than one dimension: they keep its trace, and part along the coordinate in which the living
    centres of the head vary most. Source: both halves go on with the splat's.

    Args:
        spread: in (0, 1); 0 would put the halves on top of each other, 1 make them flat.
    """
    _check_mask("which", which, (splats.heads, splats.count))
    _check_alive("which", splats, which)
    if not 0 < spread < 1:
        raise ArgumentError("spread", spread, "a number between 0 and 1", "pass spread=0.5")
    slots = _empty_slots(splats, which)
    edit = no_edit(splats)
    old, arrays = splats.detached(), edit.splats.arrays()
    offset, halves = _halves(old, spread)
    half_mass = log_mass(old) - math.log(2)
    halves = replace(halves, log_amplitude=log_amplitude_of(half_mass, halves))
    head, first = which.nonzero(as_tuple=True)
    second = slots[which]
    for name, values in halves.arrays().items():
        arrays[name][head, first] = values[head, first]
        arrays[name][head, second] = values[head, first]
    arrays["mean"][head, first] -= offset[head, first]
    arrays["mean"][head, second] += offset[head, first]
    edit.source[head, second] = first
    return edit


@torch.no_grad()
def merge(splats: Splats, pairs: Int[Tensor, "H n 2"]) -> Edit:
    """Replace pairs of splats by one with their mass, mean and covariance, in the slot named first.

    With w the first one's share of the mass and delta the difference of the means, the covariance
    is w Sigma_1 + (1 - w) Sigma_2 + w (1 - w) delta delta^T. A full covariance holds it. Others
    hold the nearest of what they can: a diagonal one its diagonal, a scalar one its trace, and a
    low-rank one its whole diagonal and, through the R leading singular vectors of what the mean of
    the two diagonal parts leaves over, most of the rest. The second slot is emptied. Source: the
    heavier of the two.

    Args:
        pairs: two living slots each; no slot may be named twice. Rows of -1 are left out, so that
            heads may differ in number.
    """
    used = _check_pairs(splats, pairs)
    edit = no_edit(splats)
    arrays = edit.splats.arrays()
    index = pairs.clamp(min=0)
    one, two = _rows(splats.detached(), index[..., 0]), _rows(splats.detached(), index[..., 1])
    merged = _merged(one, two)
    heavier = torch.where(log_mass(one) >= log_mass(two), index[..., 0], index[..., 1])
    head, pair = used.nonzero(as_tuple=True)
    kept, freed = pairs[used].unbind(-1)
    for name, values in merged.arrays().items():
        arrays[name][head, kept] = values[head, pair]
    arrays["alive"][head, freed] = False
    edit.source[head, kept] = heavier[used]
    edit.source[head, freed] = -1
    return edit


@torch.no_grad()
def relocate(
    splats: Splats,
    which: Bool[Tensor, "H K"],
    points: Float[Tensor, "H K D"],
    *,
    scale: Tensor | float,
    amplitude: Tensor | float,
) -> Edit:
    """Move living splats to where they are needed, to start afresh there in the slots they have.

    The idea is that of Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo"
    (2024): a splat that does nothing is moved, not shrunk away. Theirs join splats that do much and
    share their opacity (our `split` after a `death`); ours go to given points. Source: -1.

    Args:
        points: a new centre for every slot; read where `which` is True.
        scale: standard deviations: one for all, [H, K], or, unless the kind is scalar, [H, K, D].
        amplitude: one for all or [H, K].
    """
    _check_mask("which", which, (splats.heads, splats.count))
    _check_alive("which", splats, which)
    _check("points", points, tuple(splats.mean.shape))
    # The splat that leaves a slot makes it the only one that its successor can take.
    others = replace(splats, alive=torch.ones_like(splats.alive))
    edit = death(others, which)
    edit = edit.then(birth(edit.splats, points, scale=scale, amplitude=amplitude, where=which))
    return replace(edit, splats=replace(edit.splats, alive=splats.alive.clone()))


def _halves(splats: Splats, spread: float) -> tuple[Tensor, Splats]:
    """How far the halves lie from the mean [H, K, D], and their covariances."""
    left = math.sqrt(1 - spread**2)
    if splats.kind == "scalar":
        axis = _one_hot(_centre_variance(splats).argmax(-1), splats.width)[:, None]
        offset = spread * splats.scale[..., None] * axis.to(splats.scale)
        return offset, replace(splats, scale=splats.scale * math.sqrt(1 - spread**2 / splats.width))
    if splats.kind == "full":
        values, vectors = torch.linalg.eigh(splats.covariance.double())
        offset = spread * values[..., -1:].sqrt() * vectors[..., -1]
        rest = splats.covariance.double() - offset[..., None] * offset[..., None, :]
        return offset.to(splats.mean), _with_cholesky(splats, rest)
    axis = _one_hot(splats.scale.argmax(-1), splats.width)
    offset = spread * torch.where(axis, splats.scale, 0)
    narrow = torch.where(axis, left * splats.scale, splats.scale)
    if splats.factor is None or splats.factor.shape[-1] == 0:
        return offset, replace(splats, scale=narrow)
    left_vectors, sizes, right_vectors = torch.linalg.svd(splats.factor, full_matrices=False)
    leading = left_vectors[..., :1] * sizes[..., None, :1]
    along_factor = sizes[..., :1] > splats.scale.amax(-1, keepdim=True)  # [H, K, 1]
    reduced = splats.factor - (1 - left) * leading @ right_vectors[..., :1, :]
    return torch.where(along_factor, spread * leading[..., 0], offset), replace(
        splats,
        scale=torch.where(along_factor, splats.scale, narrow),
        factor=torch.where(along_factor[..., None], reduced, splats.factor),
    )


def _merged(one: Splats, two: Splats) -> Splats:
    mass_one, mass_two = log_mass(one), log_mass(two)
    share = torch.sigmoid(mass_one - mass_two)[..., None]  # [H, n, 1]
    delta = one.mean - two.mean
    between = (share * (1 - share)).sqrt() * delta
    mean = two.mean + share * delta
    if one.kind == "scalar":
        squares = (
            share * one.scale[..., None].square() + (1 - share) * two.scale[..., None].square()
        )
        scale = (squares[..., 0] + between.square().mean(-1)).sqrt()
        result = replace(one, mean=mean, scale=scale)
    elif one.kind == "full":
        weight, rank_one = share.double()[..., None], between.double()[..., None]
        sigma = weight * one.covariance.double() + (1 - weight) * two.covariance.double()
        result = _with_cholesky(replace(one, mean=mean), sigma + rank_one @ rank_one.mT)
    else:
        squares = share * one.scale.square() + (1 - share) * two.scale.square()
        if one.factor is None or two.factor is None:
            result = replace(one, mean=mean, scale=(squares + between.square()).sqrt())
        else:
            weight = share[..., None].sqrt()
            columns = [weight * one.factor, (1 - share[..., None]).sqrt() * two.factor]
            rest = torch.cat([*columns, between[..., None]], -1)  # [H, n, D, 2 R + 1]
            factor, left_over = _leading(rest, one.factor.shape[-1])
            scale = (squares + left_over.square().sum(-1)).sqrt()
            result = replace(one, mean=mean, scale=scale, factor=factor)
    total = torch.logaddexp(mass_one, mass_two)
    return replace(result, log_amplitude=log_amplitude_of(total, result))


def _leading(columns: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """F [..., D, rank] and G such that F F^T + G G^T = columns columns^T, F as large as can be."""
    vectors, sizes, _ = torch.linalg.svd(columns, full_matrices=False)
    scaled = vectors * sizes[..., None, :]
    factor = scaled[..., :rank]
    missing = rank - factor.shape[-1]  # a rank above the width
    return torch.nn.functional.pad(factor, (0, missing)), scaled[..., rank:]


def _with_cholesky(splats: Splats, covariance: Tensor) -> Splats:
    lower = torch.linalg.cholesky(covariance).to(splats.scale)
    return replace(splats, scale=lower.diagonal(dim1=-2, dim2=-1), factor=lower.tril(-1))


def _centre_variance(splats: Splats) -> Tensor:
    """The variance of each coordinate over the living centres of a head, [H, D]."""
    weight = splats.alive.to(splats.mean)[..., None]
    number = weight.sum(1, keepdim=True).clamp(min=1)
    middle = (weight * splats.mean).sum(1, keepdim=True) / number
    return (weight * (splats.mean - middle).square()).sum(1) / number[:, 0]


def _rows(splats: Splats, index: Tensor) -> Splats:
    """The splats in slots `index` [H, n]."""
    heads = torch.arange(splats.heads, device=index.device)[:, None]
    return splats.with_arrays({name: a[heads, index] for name, a in splats.arrays().items()})


def _identity(splats: Splats) -> Tensor:
    slots = torch.arange(splats.count, device=splats.mean.device)
    return slots.expand(splats.heads, -1).clone()


def _one_hot(index: Tensor, width: int) -> Tensor:
    return torch.arange(width, device=index.device) == index[..., None]


def _empty_slots(splats: Splats, wanted: Tensor) -> Tensor:
    """For the i-th True of a row of `wanted` [H, n] the i-th empty slot of that head."""
    needed, empty = wanted.sum(1), (~splats.alive).sum(1)
    if bool((needed > empty).any()):
        head = int((needed - empty).argmax())
        raise ArgumentError(
            "splats",
            f"{int(empty[head])} empty slots in head {head}",
            f"{int(needed[head])} for as many new splats",
            "let splats die first, ask for fewer, or build the field with spare slots",
        )
    order = splats.alive.to(torch.uint8).argsort(dim=1, stable=True)  # the empty ones first
    rank = (wanted.cumsum(1) - 1).clamp(0, splats.count - 1)
    return order.gather(1, rank)


def _per_splat(name: str, value: Tensor | float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if tensor.dim() == 2 and len(shape) == 3:
        tensor = tensor[..., None]
    if tensor.dim() not in (0, len(shape)) or not bool((tensor > 0).all()):
        raise ArgumentError(
            name,
            f"shape {list(tensor.shape)} with a smallest value of {float(tensor.min())}",
            f"a number, or a tensor that fits {list(shape)}, > 0",
            "give one value for all or one a splat",
        )
    try:
        return tensor.expand(shape)
    except RuntimeError:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", f"shape {list(shape)}", "give one a splat"
        ) from None


def _check(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", f"shape {list(shape)}", "give every head its own"
        )


def _check_mask(name: str, mask: Tensor, shape: tuple[int, ...]) -> None:
    _check(name, mask, shape)
    if mask.dtype != torch.bool:
        raise ArgumentError(name, mask.dtype, "torch.bool", "pass a mask, such as indices == 3")


def _check_alive(name: str, splats: Splats, which: Tensor) -> None:
    wrong = (which & ~splats.alive).nonzero()
    if len(wrong):
        raise ArgumentError(
            name,
            f"the empty slot {wrong[0].tolist()} [head, slot]",
            "living splats only",
            "combine the mask with splats.alive",
        )


def _check_pairs(splats: Splats, pairs: Tensor) -> Tensor:
    """Which of the pairs are to be merged, [H, n]."""
    if pairs.dim() != 3 or pairs.dtype != torch.int64:
        raise ArgumentError(
            "pairs", f"{pairs.dtype} {list(pairs.shape)}", "torch.int64 [H, n, 2]", "pass slots"
        )
    _check("pairs", pairs, (splats.heads, pairs.shape[1], 2))
    used = (pairs >= 0).all(-1)
    if bool((pairs[~used] != -1).any()) or bool((pairs >= splats.count).any()):
        raise ArgumentError(
            "pairs",
            f"slots from {int(pairs.min())} to {int(pairs.max())}",
            f"slots from 0 to {splats.count - 1}, or rows of two -1",
            "name two slots of one head in a row",
        )
    head, _ = used.nonzero(as_tuple=True)
    times = torch.zeros(splats.heads, splats.count, dtype=torch.int64, device=pairs.device)
    for side in pairs[used].unbind(-1):
        times += torch.bincount(head * splats.count + side, minlength=times.numel()).view_as(times)
    if bool((times > 1).any()):
        raise ArgumentError(
            "pairs",
            f"slot {(times > 1).nonzero()[0].tolist()} [head, slot] more than once",
            "every slot at most once",
            "merge the rest in a second edit",
        )
    _check_alive("pairs", splats, times > 0)
    return used
