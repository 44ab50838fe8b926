"""An emulator of attention that reads far tokens through summaries: exact in value, dense in time.

Causal. A query reads its own super-block of 256 tokens, the one before and 4 sinks exactly. The far
tokens before are cut into nested sets; from the coarsest level down, each query (or block of
queries) opens the sets that a rule names, reads those that it leaves closed through a summary, or
not at all, and reads the tokens of opened finest sets exactly. `Tally` counts the multiply-adds
that a program would need that touches only what is read; the emulator itself touches everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adaptive_attention_tiling.ops.softmax_attention import EMPTY, Partial, partial_attention

BLOCK, SINKS = 256, 4
# exp(x) - 1 of a logit variance above this says "open it" at any mass that matters.
LARGEST_VARIANCE = 10.0
# None of 8 logits of variance x is further over their mean than sqrt(7 x), says Samuelson.
TAIL = 7.0
_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How far tokens are cut, what decides which sets are opened, and what the others give.

    sizes   tokens per set, coarse to fine (greedy cuts: on average)
    order   "key_space": cells of a bisecting tree inside each super-block; "contiguous": runs;
            "greedy": runs cut where neighbouring keys differ most in direction
    decide  "error": p sqrt(exp(x) - 1), p the set's share of the query's normaliser and x the
            variance of the logits inside it, for the mean query of the block before; "tail":
            p sqrt(x + g^2), g = (exp(a) - 1 - a) / 7, a = sqrt(7 x), x that of the query itself;
            "mass": p; "bound": the largest logit that the set's box of keys allows; "oracle": the
            true error of reading the set through its mean
    rest    closed sets give their "mean", nothing ("drop"), or a mean moved along `rank` principal
            axes of the set's keys ("second"), as far as the set extends
    unit    None, or "value" / "fisher": errors are weighed with the rms norm of the set's values,
            Euclidean or in a metric of the head's output
    bar     what `decide` is compared with; for "bound" the number of sets that are opened
    shared  queries that share a choice: the largest of their figures decides
    """

    sizes: tuple[int, ...] = (8,)
    order: str = "key_space"
    decide: str = "error"
    rest: str = "mean"
    unit: str | None = None
    bar: float = 0.0
    shared: int = 1
    rank: int = 0


@dataclass
class Tally:
    """Multiply-adds in rows; a row is a key and a value read by one query of one head: 2 D."""

    near: float = 0.0
    look: float = 0.0
    summaries: float = 0.0
    tokens: float = 0.0
    build: float = 0.0
    dense: float = 0.0

    def shares(self) -> dict[str, float]:
        """Each part as a share of dense causal attention, and their sum."""
        parts = {f.name: getattr(self, f.name) / self.dense for f in fields(self)}
        parts.pop("dense")
        return {**parts, "total": sum(parts.values())}

    def __iadd__(self, other: Tally) -> Tally:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))
        return self


@dataclass
class Level:
    """Sets of one level, the same number in every super-block; axes of sets G, M.

    `owner` [G, n] is the set of each token in tree order, None where all have `size` tokens.
    axes [G, M, r, D], low and high [G, M, r]: projections on the principal axes that the query's
    product with them is to be multiplied by; slope [G, M, r, E]: change of the value along them.
    """

    size: int
    per_block: int
    owner: Tensor | None
    count: Tensor
    key: Tensor
    value: Tensor
    variance: Tensor
    scale: Tensor | None = None
    axes: Tensor | None = None
    spread: Tensor | None = None
    low: Tensor | None = None
    high: Tensor | None = None
    slope: Tensor | None = None
    box: tuple[Tensor, Tensor] | None = None
    gram: Tensor | None = None


@dataclass
class Tree:
    """Far tokens in tree order: positions [G, n], keys and values, and the levels of sets."""

    order: Int[Tensor, "G n"]
    member: Float[Tensor, "G n"]
    keys: Float[Tensor, "G n D"]
    values: Float[Tensor, "G n E"]
    levels: list[Level] = field(default_factory=list)


def attend(
    query: Float[Tensor, "H T D"],
    key: Float[Tensor, "G T D"],
    value: Float[Tensor, "G T E"],
    rule: Rule,
    tally: Tally,
    *,
    metric: Float[Tensor, "H E E"] | None = None,
    blocks: list[int] | None = None,
    tree: Tree | None = None,
) -> Float[Tensor, "H t E"]:
    """Outputs of the queries in `blocks` of 256 (all, if None), one after the other.

    Queries are scaled by the caller; T is a whole number of super-blocks. A `tree` that was grown
    before for the same sets saves growing it.
    """
    query, key, value = (x.contiguous() for x in (query, key, value))
    blocks = list(range(query.shape[1] // BLOCK)) if blocks is None else blocks
    far = max(0, max(blocks) - 1) * BLOCK
    if tree is None and far:
        tree = grow(query[:, :far], key[:, :far], value[:, :far], rule, metric, tally)
    pieces = []
    for block in blocks:
        rows = slice(block * BLOCK, (block + 1) * BLOCK)
        near = near_part(query[:, rows], key, value, block, tally)
        if tree is None or block < 2:
            pieces.append(near.out)
            continue
        before = query[:, rows.start - BLOCK : rows.start]
        pieces.append(FarRead(query[:, rows], before, near, tree, block - 1, rule, tally).out())
    return torch.cat(pieces, 1)


def near_part(query: Tensor, key: Tensor, value: Tensor, block: int, tally: Tally) -> Partial:
    """Exact attention to the query's own super-block, the one before, and the sinks."""
    first, heads = max(0, block - 1) * BLOCK, len(query)
    sinks = SINKS if first else 0
    keys, values = (
        torch.cat([x[:, :sinks], x[:, first : (block + 1) * BLOCK]], 1) for x in (key, value)
    )
    hidden = torch.ones(BLOCK, keys.shape[1], dtype=torch.bool).triu(keys.shape[1] - BLOCK + 1)
    bias = torch.zeros(1, 1, *hidden.shape).masked_fill(hidden, EMPTY)
    shared = query.unflatten(0, (len(key), -1))
    spread = (x[:, None].expand(-1, shared.shape[1], -1, -1) for x in (keys, values))
    part = partial_attention(shared, *spread, bias=bias)
    tally.near += heads * float((~hidden).sum())
    tally.dense += heads * (block * BLOCK * BLOCK + BLOCK * (BLOCK + 1) / 2)
    return Partial(part.out.flatten(0, 1), part.lse.flatten(0, 1))


def grow(
    query: Tensor, key: Tensor, value: Tensor, rule: Rule, metric: Tensor | None, tally: Tally
) -> Tree:
    """Cut whole super-blocks into the sets of `rule`, and summarise them."""
    groups, length, width = key.shape
    cut = query.view(groups, -1, length // BLOCK, BLOCK, width)
    rms = cut.square().mean((1, 3)).sqrt()
    order = torch.arange(length).expand(groups, -1)
    if rule.order == "key_space":
        points = key.view(groups, -1, BLOCK, width) * rms[:, :, None]
        points[:, :1, :SINKS] = 0.0
        inside = bisect(points.flatten(0, 1), min(rule.sizes))
        start = torch.arange(length // BLOCK)[:, None] * BLOCK
        order = (inside.view(groups, -1, BLOCK) + start).flatten(1)
        halvings = math.log2(BLOCK / min(rule.sizes))
        tally.build += groups * length * 5 * halvings / 2
    member = (order >= SINKS).to(key.dtype)
    keys, values = (x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])) for x in (key, value))
    tree = Tree(order, member, keys, values)
    weight = value_weights(values, len(query), metric, rule.unit)
    for size in rule.sizes:
        owner = greedy_runs(key, size) if rule.order == "greedy" else None
        tree.levels.append(summarise(tree, size, owner, rule, rms, weight))
        tally.build += groups * length * (2 + rule.rank * 5) * 0.5
    return tree


def bisect(rows: Float[Tensor, "n S D"], leaf: int) -> Int[Tensor, "n S"]:
    """Order rows so that runs of S / 2^i are cells, each halved at the median of its main axis."""
    n, size, width = rows.shape
    start = torch.arange(n)[:, None] * size
    order, flat, cell = torch.arange(n * size), rows.reshape(-1, width), size
    while cell > leaf:
        cells = flat.view(-1, cell, width)
        cells = cells - cells.mean(1, keepdim=True)
        axis = (cells[:, -1] - cells[:, 0])[:, :, None]
        for _ in range(2):
            axis = cells.mT @ (cells @ axis)
            axis = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-30)
        ranks = (cells @ axis)[..., 0].argsort(dim=-1, stable=True)
        chosen = (ranks + torch.arange(0, n * size, cell)[:, None]).view(-1)
        flat, order, cell = flat[chosen], order[chosen], cell // 2
    return order.view(n, size) - start


def greedy_runs(key: Float[Tensor, "G n D"], size: int) -> Int[Tensor, "G n"]:
    """The run of each token, BLOCK / size in each super-block, cut where the cosine is least."""
    unit = key / key.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    unlike = 1 - (unit[:, 1:] * unit[:, :-1]).sum(-1)
    unlike = torch.cat([torch.zeros_like(unlike[:, :1]), unlike], 1).unflatten(1, (-1, BLOCK))
    cuts = unlike[..., 1:].topk(BLOCK // size - 1, dim=-1).indices + 1
    first = torch.zeros_like(unlike, dtype=torch.long).scatter(-1, cuts, 1).cumsum(-1)
    return (first + torch.arange(first.shape[1])[:, None] * (BLOCK // size)).flatten(1)


def value_weights(
    values: Tensor, heads: int, metric: Tensor | None, unit: str | None
) -> Float[Tensor, "H n"] | None:
    """|v|^2 of every token, in the unit of a rule."""
    if unit is None:
        return None
    spread = values.repeat_interleave(heads // len(values), 0)
    if unit == "value":
        return spread.square().sum(-1)
    assert metric is not None
    return ((spread @ metric) * spread).sum(-1)


def summarise(
    tree: Tree, size: int, owner: Tensor | None, rule: Rule, rms: Tensor, weight: Tensor | None
) -> Level:
    """The moments of all sets of a level."""
    groups, length, _ = tree.keys.shape
    per_block = BLOCK // size
    total = per_block * (length // BLOCK)

    def sums(x: Tensor, member: Tensor = tree.member) -> Tensor:
        x = x * member[..., None]
        if owner is None:
            return x.unflatten(1, (total, size)).sum(2)
        at = owner.repeat_interleave(len(x) // groups, 0)[..., None].expand_as(x)
        return x.new_zeros(len(x), total, x.shape[-1]).scatter_add_(1, at, x)

    def each(x: Tensor) -> Tensor:
        if owner is None:
            return x.repeat_interleave(size, 1)
        return x.gather(1, owner[..., None].expand(-1, -1, x.shape[-1]))

    count = sums(torch.ones_like(tree.member)[..., None])[..., 0]
    share = count.clamp_min(1.0)[..., None]
    mean, value = sums(tree.keys) / share, sums(tree.values) / share
    away = (tree.keys - each(mean)) * tree.member[..., None]
    level = Level(size, per_block, owner, count, mean, value, sums(away.square()) / share)
    if weight is not None:
        repeat = len(weight) // groups
        heads = tree.member.repeat_interleave(repeat, 0)
        mean_square = sums(weight[..., None], heads) / share.repeat_interleave(repeat, 0)
        level.scale = mean_square[..., 0].sqrt()
    if rule.rank:
        metric = rms.repeat_interleave(per_block, 1)
        cells = (x.unflatten(1, (total, size)) for x in (away, tree.values - each(value)))
        principal_axes(level, *cells, metric, share, rule.rank)
    if rule.decide == "bound":
        cells = tree.keys.unflatten(1, (total, size))
        level.box = cells.amin(2), cells.amax(2)
    return level


def principal_axes(
    level: Level, away: Tensor, values: Tensor, metric: Tensor, share: Tensor, rank: int
) -> None:
    """Add the `rank` directions in which the logits of each set vary most.

    away [G, M, L, D] and values [G, M, L, E] have mean zero. `variance` keeps what is left.
    """
    points = away * metric[:, :, None]
    back = metric.clamp_min(1e-20)
    found: dict[str, list[Tensor]] = {x: [] for x in ("axes", "spread", "low", "high", "slope")}
    for _ in range(rank):
        far = points.square().sum(-1).argmax(2)[..., None, None]
        axis = points.gather(2, far.expand(-1, -1, 1, points.shape[-1]))
        for _ in range(4):
            axis = (points @ axis.mT * points).sum(2, keepdim=True)
            axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-20)
        along = (points * axis).sum(-1)
        spread = along.square().sum(-1) / share[..., 0]
        slope = (along[..., None] * values).sum(2) / share / spread.clamp_min(1e-20)[..., None]
        points = points - along[..., None] * axis
        parts = (axis[:, :, 0] / back, spread, along.amin(-1), along.amax(-1), slope)
        for name, part in zip(found, parts, strict=True):
            found[name].append(part)
    level.axes, level.spread, level.low, level.high, level.slope = (
        torch.stack(x, 2) for x in found.values()
    )
    level.variance = (points / back[:, :, None]).square().sum(2) / share


@dataclass
class FarRead:
    """One block of queries reads the far field: the first `far` super-blocks of the tree."""

    query: Float[Tensor, "H t D"]
    before: Float[Tensor, "H t D"]
    near: Partial
    tree: Tree
    far: int
    rule: Rule
    tally: Tally

    def __post_init__(self) -> None:
        """Queries of one key head as rows [G, rows, D]; each coordinate's mean square before."""
        self.rows = self.query.reshape(len(self.tree.keys), -1, self.query.shape[-1])
        square = self.before.square().mean(1)
        self.square = square.view(len(self.rows), -1, square.shape[-1])

    def out(self) -> Float[Tensor, "H t E"]:
        """Attention to everything, each part relative to exp(self.base)."""
        visited: Tensor | None = None
        for number, level in enumerate(self.tree.levels):
            logits, variance, moved = self._look(level)
            if number == 0:
                self._start(logits)
            share = (logits - self.base[..., None]).exp_()
            opened = self._opened(number, level, share, variance)
            if visited is not None:
                opened = opened * visited
            closed = 1 - opened if visited is None else visited - opened
            self._count(level, visited, closed)
            if self.rule.rest != "drop":
                self._read(level, share.mul_(closed), moved)
            visited = self._inside(number, opened)
        self._tokens(visited)
        return (self.total / self.mass[..., None]).view(*self.query.shape[:2], -1)

    def _look(self, level: Level) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits of sets (log counts included), variance inside, and moves along the axes."""
        m = level.per_block * self.far
        count = level.count[:, :m].log()[:, None]
        logits = torch.baddbmm(count, self.rows, level.key[:, :m].mT)
        if self.rule.decide == "tail":
            variance = self.rows.square() @ level.variance[:, :m].mT
        else:
            variance = (self.square @ level.variance[:, :m].mT).repeat_interleave(BLOCK, 1)
        if level.axes is None:
            return logits, variance, None
        assert level.spread is not None
        assert level.low is not None
        assert level.high is not None
        moves = []
        for r in range(self.rule.rank):
            y = self.rows @ level.axes[:, :m, r].mT
            spread, low, high = (x[:, None, :m, r] for x in (level.spread, level.low, level.high))
            inside = y.square() * spread
            logits += guarded_growth(inside, torch.where(y > 0, y * high, y * low))
            moves.append((y * spread).clamp_(low, high))
            variance = variance + inside
        return logits, variance, torch.stack(moves)

    def _start(self, logits: Tensor) -> None:
        lse = self.near.lse.reshape(len(self.rows), -1)
        self.base = torch.logaddexp(lse, logits.logsumexp(-1))
        self.mass = (lse - self.base).exp()
        self.total = self.near.out.reshape(*self.rows.shape[:2], -1) * self.mass[..., None]

    def _opened(self, number: int, level: Level, share: Tensor, variance: Tensor) -> Tensor:
        """1.0 where a set is opened, whether or not the query came to it."""
        m = share.shape[-1]
        if self.rule.decide == "bound":
            assert level.box is not None
            low, high = (x[:, :m] for x in level.box)
            most = self.rows.clamp_min(0) @ high.mT + self.rows.clamp_max(0) @ low.mT
            kept = min(int(self.rule.bar), m)
            return (most >= most.topk(kept, dim=-1).values[..., -1:]).to(share)
        if self.rule.decide == "oracle":
            cost = self._true_error(level, share)
        elif self.rule.decide == "mass":
            cost = share.clone()
        elif self.rule.decide == "tail":
            highest = (TAIL * variance).sqrt_().clamp_(max=30.0)
            tail = (torch.expm1(highest) - highest).div_(TAIL)
            cost = tail.square_().add_(variance).sqrt_().mul_(share)
        else:
            cost = torch.expm1(variance.clamp(max=LARGEST_VARIANCE)).sqrt_() * share
        if level.scale is not None:
            cost.unflatten(1, (-1, BLOCK)).mul_(
                level.scale[:, :m].unflatten(0, (len(share), -1))[:, :, None]
            )
        if self.rule.shared > 1:
            blocks = cost.unflatten(1, (-1, self.rule.shared))
            cost = blocks.amax(2, keepdim=True).expand_as(blocks).flatten(1, 2)
        return (cost > self.rule.bar).to(share)

    def _true_error(self, level: Level, share: Tensor) -> Tensor:
        """|| sum_j (e^{s_j} - e^{mean s}) (v_j - o) || / Z of every set, with the true o and Z."""
        size, n = level.size, self.far * BLOCK
        lse, out = self.near.lse.reshape(len(self.rows), -1), self.near.out.reshape_as(self.total)
        found = []
        for g, rows in enumerate(self.rows):
            logits = rows @ self.tree.keys[g, :n].T
            logits.masked_fill_(self.tree.member[g, :n] == 0, EMPTY)
            whole = torch.logaddexp(lse[g], logits.logsumexp(-1))
            weight = (logits - whole[:, None]).exp_()
            true = weight @ self.tree.values[g, :n] + out[g] * (lse[g] - whole).exp()[:, None]
            scale = (self.base[g] - whole).exp()[:, None] / level.count[g, : share.shape[-1]]
            mean = (share[g] * scale.nan_to_num(posinf=0.0))[..., None]
            over = (weight.unflatten(-1, (-1, size)) - mean) * self.tree.member[g, :n].view(
                -1, size
            )
            cells = self.tree.values[g, :n].unflatten(0, (-1, size))
            square = torch.einsum("tml,mlk,tmk->tm", over, cells @ cells.mT, over)
            along = (over * (true @ self.tree.values[g, :n].T).unflatten(-1, (-1, size))).sum(-1)
            sums = over.sum(-1)
            square += sums * (sums * true.square().sum(-1, keepdim=True) - 2 * along)
            found.append(square.clamp_min_(0).sqrt_())
        return torch.stack(found)

    def _count(self, level: Level, visited: Tensor | None, closed: Tensor) -> None:
        rule, every = self.rule, self.rows.shape[0] * self.rows.shape[1] * closed.shape[-1]
        looked = every if visited is None else float(visited.sum())
        # A bound takes two products, as does a query's own variance; an oracle does not look.
        scores = {"bound": 2, "tail": 2 + rule.rank, "oracle": 0}.get(rule.decide, 1 + rule.rank)
        each = 0.5 * scores
        self.tally.look += looked * each
        if rule.rest != "drop":
            read = 1.0 if rule.decide == "oracle" else 0.5 * (1 + rule.rank)
            self.tally.summaries += float(closed.sum()) * read

    def _read(self, level: Level, weight: Tensor, moved: Tensor | None) -> None:
        m = weight.shape[-1]
        self.mass += weight.sum(-1)
        self.total.baddbmm_(weight, level.value[:, :m])
        if moved is not None:
            assert level.slope is not None
            for r, move in enumerate(moved):
                self.total.baddbmm_(move.mul_(weight), level.slope[:, :m, r])

    def _inside(self, number: int, opened: Tensor) -> Tensor:
        """`opened` for the sets one level down, or, from the finest, as it is."""
        if number + 1 == len(self.tree.levels):
            return opened
        ratio = self.tree.levels[number].size // self.tree.levels[number + 1].size
        return opened.repeat_interleave(ratio, -1)

    def _tokens(self, opened: Tensor | None) -> None:
        """Add the tokens of opened finest sets, a few columns at a time to stay in cache."""
        assert opened is not None
        level, n = self.tree.levels[-1], self.far * BLOCK
        for g, rows in enumerate(self.rows):
            member = self.tree.member[g]
            for start in range(0, n, _AT_ONCE):
                span = slice(start, min(start + _AT_ONCE, n))
                weight = rows @ self.tree.keys[g, span].T
                weight.sub_(self.base[g][:, None]).exp_()
                if level.owner is None:
                    part = opened[g][:, span.start // level.size : span.stop // level.size]
                    weight.unflatten(1, (-1, level.size)).mul_(part[..., None])
                    self.tally.tokens += float(part.sum()) * level.size
                else:
                    part = opened[g].index_select(1, level.owner[g, span])
                    weight.mul_(part)
                    self.tally.tokens += float(part.sum())
                if start == 0:
                    weight.mul_(member[span])
                self.mass[g] += weight.sum(-1)
                self.total[g].addmm_(weight, self.tree.values[g, span])


def guarded_growth(variance: Tensor, most: Tensor) -> Tensor:
    """log mean_j exp(x_j) for x_j of mean 0: the Gaussian x / 2, but no more than Bennett allows.

    mean_j exp(x_j) <= 1 + (s^2 / m^2)(exp(m) - 1 - m), s^2 the variance and m >= max_j x_j.
    """
    most = most.clamp(1e-3, 30.0)
    allowed = torch.log1p(variance / most.square() * (torch.expm1(most) - most))
    return torch.minimum(variance / 2, allowed)
