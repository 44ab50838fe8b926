"""Renormalization as the choice of a tile's rank and level: an interpretation put to the test.

    python experiments/renormalization_levels.py [--table synthetic|rank|level|all] [--json PATH]

Blocks of 256 keys are cut into tiles of B = 8 to 256 tokens, runs of a bisecting tree in key space
or runs in time; two tiles of B merge into one of 2B, moments exactly. With M the second moment of
the queries and Sigma_B the mean covariance of keys within tiles of B, the couplings are

    v_d(B) = e_d^T M^1/2 Sigma_B M^1/2 e_d,

variances of logits that a mean hides, along the eigenvectors e_d at the largest B; y_d is the slope
of log v_d against log B. No v_d can fall, for merging adds what lies between the parts: a direction
counts as relevant when y_d > 1/2, halfway from noise that every tile holds already (0) to a walk
(1). The two interpretations:

- `rank`: the number of relevant directions tells which rank r a second-order summary needs. Rank
  needed: the least r that closes 80 % of the gap between the errors of rank 0 (means) and of the
  whole covariance. Spearman's correlation over all key heads of SmolLM2, beside other predictors.
- `level`: the B of each head and block, chosen for the least sum of expected errors at a number of
  reads, needs v at two levels only, as the exponent tells the others.

Errors are |out - exact| / |exact| of queries of the second half, which read 4 sinks and the second
half exactly and the first half in tiles; whatever is chosen is chosen from the first half.

What came out (results/renormalization_levels.json): both interpretations fail on SmolLM2. Planted
walks are counted right by y, through noise too, where the effective rank is lost. But the model's
keys are near noise in this sense (the trace grows as B^0.2): the median head has at most 1.5
relevant directions and needs rank 2 to 4, and in none of four settings does any predictor correlate
with the rank needed beyond chance. Rank 4 for all errs as little as each head's own rank. Exponents
cannot know better: the eigenvalues of one covariance relative to another are the same in every
metric, so they tell nothing of what queries see. Two levels do foretell the others (level 64 within
8 to 12 %) and choose as well as all levels measured, but neither choice is better than one size for
all, except for key-space tiles at the most reads (8 % less error); and moments of all levels cost
O(n) anyway. The TileManager's own cuts are ahead of all of them, most so at many reads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import circumstances, rounded
from far_tree import bisect
from fisher_boundaries import LAYERS, SINKS, managed
from torch import Tensor

from adaptive_attention_tiling.tiling import (
    NodeMoments,
    merged,
    moments_of_tokens,
)
from adaptive_attention_tiling.tiling.tree import LogitSpread, guarded

BLOCK, SIZES = 256, (8, 16, 32, 64, 128, 256)
RANKS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
RANK_SIZES = (16, 64)
ASKING = 64
ORDERS = ("key space", "time")
RELEVANT = 0.5


@dataclass
class Head:
    """A key head: far keys in blocks, the queries of the far half, and those that read.

    keys [n, D] and values [n, E] of the far half; past [m, D], asking [Q, D]; what they read
    exactly: near_lse [Q] and near_out [Q, E]; exact [Q, E].
    """

    keys: Tensor
    values: Tensor
    past: Tensor
    asking: Tensor
    near_lse: Tensor
    near_out: Tensor
    exact: Tensor

    def levels(self, order: str) -> list[NodeMoments]:
        """Moments of the tiles of every size, each level merged from the one below."""
        keys, values = self.keys, self.values
        if order == "key space":
            rms = self.past.square().mean(0).sqrt()
            inside = bisect((keys * rms).unflatten(0, (-1, BLOCK)), SIZES[0])
            index = (inside + BLOCK * torch.arange(len(inside))[:, None]).flatten()
            keys, values = keys[index], values[index]
        cut = [x.unflatten(0, (-1, SIZES[0])) for x in (keys, values)]
        found = [moments_of_tokens(*cut, torch.ones(cut[0].shape[:2], dtype=torch.bool))]
        for _ in SIZES[1:]:
            found.append(merged(found[-1].map(lambda x: x.unflatten(0, (-1, 2)))))
        return found

    def error(self, moments: NodeMoments) -> float:
        """Of reading the far half through the means of these tiles."""
        return self._error(moments.count.log() + self.asking @ moments.key.mT, moments.value)

    def second_order_errors(self, moments: NodeMoments) -> list[float]:
        """The same with the guarded second order along so many axes of each tile, for RANKS."""
        values, axes = (x.flip(-1) for x in torch.linalg.eigh(moments.covariance))
        values = torch.nn.functional.pad(values.clamp_min(0), (0, 1))
        seen = torch.einsum("qd,mda->qma", self.asking, axes)
        slope = (moments.cross @ axes).mT
        logit = moments.count.log() + self.asking @ moments.key.mT
        length = self.asking.norm(dim=1)[:, None]
        errors = []
        for rank in RANKS:
            squares = seen[..., :rank].square()
            held = (squares * values[:, :rank]).sum(-1)
            beside = (length.square() - squares.sum(-1)).clamp_min(0)
            variance = held + values[:, rank] * beside
            largest = torch.minimum(
                length * moments.radius, ((moments.count - 1) * variance).sqrt()
            )
            spread = LogitSpread(moments.count.expand_as(held), held, variance, largest)
            estimate = guarded(spread)
            tilt = estimate.tilt[..., None] * seen[..., :rank]
            errors.append(
                self._error(logit + estimate.growth, moments.value, tilt, slope[:, :rank])
            )
        return errors

    def _error(
        self, logit: Tensor, value: Tensor, tilt: Tensor | None = None, slope: Tensor | None = None
    ) -> float:
        lse = torch.cat([self.near_lse[:, None], logit], 1).logsumexp(1)
        weight = (logit - lse[:, None]).exp()
        out = weight @ value + (self.near_lse - lse).exp()[:, None] * self.near_out
        if tilt is not None and slope is not None:
            out = out + (weight[..., None] * tilt).flatten(1) @ slope.flatten(0, 1)
        return float((out - self.exact).norm() / self.exact.norm())


def chosen_tiles(levels: Sequence[NodeMoments], sizes: Sequence[int]) -> NodeMoments:
    """The tiles of every block at the size that is chosen for it."""
    parts = []
    for block, size in enumerate(sizes):
        first, count = block * (BLOCK // size), BLOCK // size
        level = levels[SIZES.index(size)]
        parts.append(level.map(lambda x, a=first, n=count: x[a : a + n]))
    return joined(parts)


def joined(parts: Sequence[NodeMoments]) -> NodeMoments:
    """Tiles of several levels side by side."""
    return NodeMoments(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    )


def couplings(head: Head, levels: Sequence[NodeMoments]) -> Tensor:
    """v_d(B) [levels, D], the largest of the last level first."""
    values, vectors = torch.linalg.eigh(head.past.mT @ head.past / len(head.past))
    root = vectors * values.clamp_min(0).sqrt() @ vectors.mT
    inside = torch.stack([root @ level.covariance.mean(0) @ root for level in levels])
    axes = torch.linalg.eigh(inside[-1]).eigenvectors.flip(-1)
    return (axes.mT @ inside @ axes).diagonal(dim1=-2, dim2=-1).clamp_min(1e-30)


def slopes(sizes: Sequence[int], values: Tensor) -> Tensor:
    """Slope of log values [levels, ...] against log B, by least squares."""
    x = torch.tensor(sizes, dtype=values.dtype).log()
    x = x - x.mean()
    weight = x.view(-1, *[1] * (values.dim() - 1))
    return (weight * values.log()).sum(0) / x.square().sum()


def growth_in_any_metric(lower: NodeMoments, upper: NodeMoments, ratio: float) -> Tensor:
    """log_ratio of the generalised eigenvalues of both mean covariances."""
    a, b = lower.covariance.mean(0).double(), upper.covariance.mean(0).double()
    whiten = torch.linalg.inv(torch.linalg.cholesky(a + 1e-9 * a.trace() * torch.eye(len(a))))
    return torch.linalg.eigvalsh(whiten @ b @ whiten.mT).clamp_min(1e-12).log() / math.log(ratio)


def predictors(head: Head, levels: Sequence[NodeMoments], place: int) -> dict[str, float]:
    """Of the rank needed at SIZES[place]; from the first half alone."""
    v = couplings(head, levels)
    here, y = v[place], slopes(SIZES, v)
    share = here / here.sum()
    total = float(slopes(SIZES, v.sum(1)))
    widest = here >= 0.01 * here.max()
    return {
        "relevant (y > 1/2)": float((y > RELEVANT).sum()),
        "y above that of the trace": float((y > total).sum()),
        "relevant and of 1 % of the largest": float(((y > RELEVANT) & widest).sum()),
        "relevant in any metric": float(
            (growth_in_any_metric(levels[1], levels[4], 8) > RELEVANT).sum()
        ),
        "sum of y": float(y.sum()),
        "exponent of the trace": total,
        "effective rank (participation)": float(1 / share.square().sum()),
        "effective rank (entropy)": float(torch.special.entr(share).sum().exp()),
        "directions of logit variance > 0.1": float((here > 0.1).sum()),
        "hidden logit variance": float(here.sum()),
    }


def rank_needed(errors: Sequence[float]) -> int | None:
    """The least rank that closes 80 % of the gap; None where second order gains under 10 %."""
    means, whole = errors[0], errors[-1]
    if whole > 0.9 * means:
        return None
    good = whole + 0.2 * (means - whole)
    return next(rank for rank, error in zip(RANKS, errors, strict=True) if error <= good)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Correlation of ranks, ties shared; 0 where one does not vary."""
    x, y = (ranked(torch.tensor(list(z), dtype=torch.float64)) for z in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = float(x.norm() * y.norm())
    return float(x @ y) / size if size > 0 else 0.0


def ranked(x: Tensor) -> Tensor:
    return ((x[:, None] > x).double() + 0.5 * (x[:, None] == x).double()).sum(1)


def hidden(head: Head, level: NodeMoments) -> Tensor:
    """Mean variance [blocks] of past queries' logits inside the tiles of each block."""
    metric = head.past.mT @ head.past / len(head.past)
    variance = (level.covariance * metric).sum((-2, -1))
    return variance.unflatten(0, (len(head.keys) // BLOCK, -1)).mean(1).clamp_min(1e-12)


def block_shares(head: Head, level: NodeMoments) -> Tensor:
    """Share [blocks] of the last past queries' attention to the far half, by means."""
    logit = level.count.log() + head.past[-ASKING:] @ level.key.mT
    return logit.softmax(-1).mean(0).unflatten(0, (len(head.keys) // BLOCK, -1)).sum(1)


def expected(variance: Tensor, shares: Tensor) -> Tensor:
    """Error of means, to second order in logits that a Gaussian spreads: share sqrt(e^v - 1)."""
    return shares * variance.clamp(max=10).expm1().sqrt()


def allotted(errors: Tensor, reads: int) -> Tensor:
    """Size of each block [n] for the least sum of errors [levels, n] at so many reads or fewer."""
    cost = torch.tensor([BLOCK / size for size in SIZES])[:, None]
    low, high = 1e-12, 1e3
    for _ in range(60):
        middle = math.sqrt(low * high)
        choice = (errors + middle * cost).argmin(0)
        low, high = (low, middle) if cost[choice, 0].sum() <= reads else (middle, high)
    return torch.tensor(SIZES)[(errors + high * cost).argmin(0)]


def level_rows(heads: Sequence[Head], order: str) -> Iterator[dict[str, Any]]:
    """Errors at equal reads: one size for all, sizes by measured and by extrapolated variances."""
    levels = [head.levels(order) for head in heads]
    blocks = len(heads[0].keys) // BLOCK
    measured = torch.stack(
        [
            torch.cat([hidden(h, own[n]) for h, own in zip(heads, levels, strict=True)])
            for n in range(len(SIZES))
        ]
    )
    steps = torch.arange(len(SIZES))[:, None]
    growth = (measured[1] / measured[0]).log()
    extrapolated = (measured[0].log() + growth * steps).exp()
    by_head = growth.unflatten(0, (-1, blocks)).mean(1).repeat_interleave(blocks)
    shares = torch.cat([block_shares(h, own[1]) for h, own in zip(heads, levels, strict=True)])
    variances = {
        "measured at all levels": measured,
        "extrapolated from two levels": extrapolated,
        "extrapolated, one exponent a head": (measured[0].log() + by_head * steps).exp(),
        "exponent 1 (a walk)": measured[0] * 2.0**steps,
        "exponent 0 (noise)": measured[0].expand_as(measured),
    }
    for size in (16, 32, 64):
        reads = len(shares) * BLOCK // size
        ways = {"one size": torch.full((len(shares),), size)}
        for name, variance in variances.items():
            ways[name] = allotted(expected(variance, shares), reads)
        yield {
            "order": order,
            "reads_of_size": size,
            "error": {
                name: mean_error(heads, levels, sizes.unflatten(0, (-1, blocks)))
                for name, sizes in ways.items()
            },
            "reads": {name: int((BLOCK // sizes).sum()) for name, sizes in ways.items()},
            "misjudged": float((extrapolated / measured).log().abs()[SIZES.index(64)].median()),
        }


def mean_error(
    heads: Sequence[Head], levels: Sequence[Sequence[NodeMoments]], sizes: Tensor
) -> float:
    found = [
        head.error(chosen_tiles(own, row))
        for head, own, row in zip(heads, levels, sizes.tolist(), strict=True)
    ]
    return sum(found) / len(found)


def manager_error(heads: Sequence[Head], size: int) -> float:
    """Of as many segments of the `TileManager`, cut from each head's keys in their metric."""
    found = []
    for head in heads:
        tiles = len(head.keys) // size
        borders = managed(head.past[None], head.keys[None], tiles, seen=True, signal="states")[0]
        parts = [
            moments_of_tokens(
                *(x[None, a:b] for x in (head.keys, head.values)),
                torch.ones(1, b - a, dtype=torch.bool),
            )
            for a, b in itertools.pairwise(borders.tolist())
        ]
        found.append(head.error(joined(parts)))
    return sum(found) / len(found)


def walking_keys(directions: int, noise: float, seed: int) -> Head:
    """Keys that wander in some directions, 64 tokens long, with noise in all; queries see all."""
    generator = torch.Generator().manual_seed(seed)
    tokens, width = 4 * BLOCK, 64
    keep = math.exp(-1 / 64)
    steps = torch.randn(tokens, directions, generator=generator) * (1 - keep**2) ** 0.5
    walk = [steps[0]]
    for step in steps[1:]:
        walk.append(keep * walk[-1] + step)
    keys = noise * torch.randn(tokens, width, generator=generator)
    keys[:, :directions] += torch.stack(walk)
    keys = keys @ torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    values = keys @ torch.randn(width, width, generator=generator)
    past, asking = 2 * torch.randn(2, 3 * ASKING, width, generator=generator)
    near = torch.full((len(asking),), -torch.inf)
    exact = (asking @ keys.mT).softmax(-1) @ values
    return Head(keys, values, past, asking, near, torch.zeros_like(exact), exact)


def synthetic() -> Iterator[dict[str, Any]]:
    place = SIZES.index(64)
    for noise in (0.02, 0.1):
        for directions in (1, 2, 4, 8):
            counted, needed, effective = [], [], []
            for seed in range(4):
                head = walking_keys(directions, noise, seed)
                levels = head.levels("time")
                told = predictors(head, levels, place)
                counted.append(told["relevant (y > 1/2)"])
                effective.append(told["effective rank (participation)"])
                needed.append(rank_needed(head.second_order_errors(levels[place])))
            yield {
                "noise": noise,
                "walking": directions,
                "relevant": counted,
                "effective_rank": effective,
                "rank_needed": needed,
            }


def captured(text: str, tokens: int) -> list[tuple[int, Head]]:
    """Every key head of SmolLM2 and the layer it is in."""
    from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model
    from adaptive_attention_tiling.data.sources import named
    from adaptive_attention_tiling.evaluation.error_curve import Capture
    from adaptive_attention_tiling.evaluation.variant import observed

    network, tokenizer = load_model()
    ids = torch.tensor([first_tokens(named(SotuSpeeches(), text), tokenizer, tokens)])
    capture = Capture(range(network.config.num_hidden_layers), tokens)
    with observed(network, capture.see), torch.inference_mode():
        network.base_model(input_ids=ids, use_cache=False)
    return [
        (layer, reading(queries * scale, k, v))
        for layer, (query, key, value, scale) in sorted(capture.kept.items())
        for queries, k, v in zip(
            query[0].clone().unflatten(0, (key.shape[1], -1)), key[0], value[0], strict=True
        )
    ]


def reading(query: Tensor, key: Tensor, value: Tensor) -> Head:
    """Queries [h, T, D] of one key head: 64 of the second half each, far from the far half."""
    tokens = len(key)
    far = slice(SINKS, SINKS + tokens // 2)
    rows = torch.linspace(far.stop + 64, tokens - 1, ASKING).round().long()
    asking = query[:, rows].flatten(0, 1)
    hidden_keys = torch.arange(tokens) > rows.repeat(len(query))[:, None]
    logits = (asking @ key.mT).masked_fill(hidden_keys, -torch.inf)
    exact = logits.softmax(-1) @ value
    logits[:, far] = -torch.inf
    near = logits.logsumexp(-1), logits.softmax(-1) @ value
    return Head(key[far], value[far], query[:, far].flatten(0, 1), asking, *near, exact)


def ranks(heads: Sequence[Head]) -> Iterator[dict[str, Any]]:
    """Which predictor knows the rank that each head needs."""
    for order in ORDERS:
        cut = [head.levels(order) for head in heads]
        for size in RANK_SIZES:
            place = SIZES.index(size)
            errors = [h.second_order_errors(own[place]) for h, own in zip(heads, cut, strict=True)]
            need = [rank_needed(e) for e in errors]
            kept = [i for i, r in enumerate(need) if r is not None]
            told = [predictors(heads[i], cut[i], place) for i in kept]
            wanted = [float(need[i] or 0) for i in kept]

            def mean_at(choice: Sequence[float], kept: list[int] = kept, e: Any = errors) -> float:
                """Error when each head takes the next rank that is no less than its choice."""
                at = [min(n for n, r in enumerate(RANKS) if r >= min(c, 64)) for c in choice]
                return sum(e[i][n] for i, n in zip(kept, at, strict=True)) / len(kept)

            counts = [row["relevant (y > 1/2)"] for row in told]
            yield {
                "order": order,
                "size": size,
                "heads": len(heads),
                "second_order_gains": len(kept),
                "rank_needed_quartiles": quartiles(wanted),
                "chance_correlation": 1.96 / math.sqrt(max(len(kept) - 1, 1)),
                "correlation": {
                    name: spearman([row[name] for row in told], wanted) for name in told[0]
                },
                "quartiles": {name: quartiles([row[name] for row in told]) for name in told[0]},
                "error": {
                    "means": mean_at([0] * len(kept)),
                    "rank 1": mean_at([1] * len(kept)),
                    "rank 4": mean_at([4] * len(kept)),
                    "relevant": mean_at(counts),
                    "needed": mean_at(wanted),
                    "whole": mean_at([64] * len(kept)),
                },
                "mean_rank": {
                    "relevant": sum(counts) / len(kept),
                    "needed": sum(wanted) / len(kept),
                },
            }


def quartiles(values: Sequence[float]) -> list[float]:
    at = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    found: list[float] = torch.tensor(list(values), dtype=torch.float64).quantile(at).tolist()
    return found


def level(heads: Sequence[Head]) -> Iterator[dict[str, Any]]:
    for order in ORDERS:
        for row in level_rows(heads, order):
            if order == "time":
                row["error"]["TileManager"] = manager_error(heads, row["reads_of_size"])
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=("synthetic", "rank", "level", "all"), default="all")
    parser.add_argument("--text", default="1873-Grant-1", help="name of a speech")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--json", metavar="PATH", help="write the results there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = circumstances("renormalization_levels.py", options.json)
    document |= {"text": options.text, "tokens": options.tokens}
    heads = captured(options.text, options.tokens) if options.table != "synthetic" else []
    chosen = [head for layer_, head in heads if layer_ in LAYERS]
    for name, rows in (
        ("synthetic", synthetic),
        ("rank", lambda: ranks([head for _, head in heads])),
        ("level", lambda: level(chosen)),
    ):
        if options.table in (name, "all"):
            document[name] = []
            for row in rows():
                document[name].append(rounded(row))
                print(json.dumps(document[name][-1]), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
