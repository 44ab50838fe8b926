"""An emulator of attention that reads far tokens through summaries: exact in value, dense in time.

Causal. A query reads its own super-block of 256 tokens, the one before and 4 sinks exactly. The far
tokens before are cut into nested sets; from the coarsest level down, each query (or block of
queries) opens the sets that a rule names, reads those that it leaves closed through a summary, or
not at all, and reads the tokens of opened finest sets exactly. `Tally` counts the multiply-adds
that a program would need that touches only what is read; the emulator itself touches everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from far_rule import BLOCK, SINKS, Rule, Tally
from far_tree import Level, Tree, grow
from jaxtyping import Float
from torch import Tensor

from adaptive_attention_tiling.ops.softmax_attention import EMPTY, Partial, partial_attention

# exp(x) - 1 of a logit variance above this says "open it" at any mass that matters.
LARGEST_VARIANCE = 10.0
# None of 8 logits of variance x is further over their mean than sqrt(7 x), says Samuelson.
TAIL = 7.0
_AT_ONCE = 1024


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
