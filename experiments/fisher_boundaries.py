"""Where to cut keys into contiguous tiles: equal length in the Fisher metric of their queries.

    python experiments/fisher_boundaries.py [--table synthetic|model] [--json PATH] ...

Every tile of keys is read as its mean key and mean value, weighed with its number of tokens, and
the outputs are compared with exact attention. All ways have the same number of tiles; only the
borders differ. Errors are |out - exact| / |exact|; no tile is opened.

- `synthetic`: keys walk at a speed that changes along the text. Isotropic queries look everywhere;
  anisotropic ones at an eighth of the directions, in which keys move at a speed of its own. All
  queries read all keys.
- `model`: queries, keys and values of SmolLM2-135M-Instruct on a speech. The queries of the second
  half read 4 sinks and their own half exactly, and the rest of the first half in tiles, whose
  borders its own queries set: nothing looks ahead.

Borders are set so that tiles are equally long along the path of keys (arc length); or equal in
"energy", the sum of squared steps, which follows single jumps; or by the "best cut", the dynamic
programme's least squared distance of keys from their tile's mean. Each in the metric that is named.
"TileManager" reads at most as many segments of 1 to 128 tokens, in tiles that start at multiples
of 4, chosen from the keys or from the density of their steps.

What came out (results/fisher_boundaries.json): with anisotropic queries the form halves the error
of Euclidean lengths, with isotropic ones it changes nothing. On SmolLM2 equal lengths gain nothing
over tiles of equal size, in any metric: no step between keys is longer than 6 mean ones. The best
cut in the second moment halves the error, by setting apart some tokens that layers 3 and 8 attend
to from everywhere, as to sinks, and whose values are small; the covariance of queries, which
forgets what they share, does not see those.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import circumstances, rounded
from torch import Tensor

from adaptive_attention_tiling.mathematics.information import CategoricalFisherRao
from adaptive_attention_tiling.tiling import (
    CausalQueryMetric,
    FisherMetric,
    InformationDensityAnalyzer,
    TileManager,
    arc_lengths,
    equal_arc_borders,
    query_metric,
)

TILES, TOKENS, WIDTH, PROBES, SEEDS = 32, 1024, 64, 64, 8
LAYERS = (0, 3, 8, 15, 22, 29)
SINKS = 4
Borders = Callable[[Tensor, Tensor, int], Tensor]


def uniform(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    """Borders of equal numbers of tokens."""
    return equal_arc_borders(torch.zeros(key.shape[:-1]), tiles)


def euclidean(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    return equal_arc_borders(arc_lengths(key), tiles)


def euclidean_energy(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    return equal_arc_borders(arc_lengths(key).square(), tiles)


def form(*, power: int = 1, **options: Any) -> Borders:
    """Equal length in `query_metric`, or equal energy with power 2."""

    def borders(query: Tensor, key: Tensor, tiles: int) -> Tensor:
        lengths = arc_lengths(key, query_metric(query, scale=1.0, **options))
        return equal_arc_borders(lengths**power, tiles)

    return borders


def causal(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    """Equal length in `CausalQueryMetric`; queries that share keys follow each other."""
    shared = query.unflatten(-2, (-1, key.shape[-2])).movedim(-3, 0)
    squares = [arc_lengths(key, CausalQueryMetric(q, scale=1.0)).square() for q in shared]
    return equal_arc_borders(torch.stack(squares).mean(0).sqrt(), tiles)


def literal(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    """Equal length of j -> p(. | k_j), the softmax over 64 probe queries, on the sphere."""
    chosen = torch.linspace(0, query.shape[-2] - 1, PROBES).long()
    p = (key @ query[..., chosen, :].mT).softmax(-1)
    steps = CategoricalFisherRao().distance(p[..., :-1, :], p[..., 1:, :])
    return equal_arc_borders(torch.nn.functional.pad(steps, (1, 0)), tiles)


def euclidean_best_cut(query: Tensor, key: Tensor, tiles: int) -> Tensor:
    return least_energy(key, tiles)


def best_cut(**options: Any) -> Borders:
    """In `query_metric`, which is Euclidean in its coordinates."""

    def borders(query: Tensor, key: Tensor, tiles: int) -> Tensor:
        metric = query_metric(query, scale=1.0, **{"rank": key.shape[-1], **options})
        return least_energy(metric.coordinates(key), tiles)

    return borders


def least_energy(key: Tensor, tiles: int) -> Tensor:
    """Least squared distance of keys from the mean of their tile: O(T^2) for each tile."""
    batch, tokens = key.shape[:-2], key.shape[-2]
    states = key.double().reshape(-1, *key.shape[-2:])
    sums = torch.nn.functional.pad(states.cumsum(-2), (0, 0, 1, 0))
    squares = torch.nn.functional.pad(states.square().sum(-1).cumsum(-1), (1, 0))
    length = torch.arange(tokens + 1)[None, :] - torch.arange(tokens + 1)[:, None]
    apart = torch.cdist(sums, sums).square() / length.clamp(min=1)
    lost = squares[:, None, :] - squares[:, :, None] - apart  # of a tile from row to column
    lost = lost.masked_fill(length < 1, torch.inf)
    best, choices = lost[:, 0], []
    for _ in range(tiles - 1):
        best, choice = (best[:, :, None] + lost).min(1)
        choices.append(choice)
    stops = [torch.full((len(sums),), tokens)]
    for choice in reversed(choices):
        stops.append(choice.gather(1, stops[-1][:, None])[:, 0])
    stops.append(torch.zeros_like(stops[0]))
    return torch.stack(stops[::-1], -1).view(*batch, tiles + 1)


WAYS: dict[str, Borders] = {
    "uniform": uniform,
    "Euclid": euclidean,
    "Fisher form": form(centred=True),
    "Fisher form, rank 8": form(centred=True, rank=8),
    "second moment": form(),
    "second moment, causal": causal,
    "Fisher-Rao, 64 probes": literal,
    "Euclid, energy": euclidean_energy,
    "second moment, energy": form(power=2),
    "Euclid, best cut": euclidean_best_cut,
    "Fisher form, best cut": best_cut(centred=True),
    "second moment, best cut": best_cut(),
    "second moment, rank 8, best cut": best_cut(rank=8),
}


MANAGED: dict[str, dict[str, Any]] = {
    "TileManager on keys, Euclid": {"seen": False, "signal": "states"},
    "TileManager on keys, second moment": {"seen": True, "signal": "states"},
    "TileManager on density, Euclid": {"seen": False, "signal": "density"},
    "TileManager on density, second moment": {"seen": True, "signal": "density"},
}


def means(x: Tensor, borders: Tensor) -> Tensor:
    """The mean of every tile."""
    sums = torch.nn.functional.pad(x.double().cumsum(-2), (0, 0, 1, 0))
    index = borders[..., None].expand(*borders.shape, x.shape[-1])
    return (sums.gather(-2, index).diff(dim=-2) / borders.diff(dim=-1)[..., None]).to(x)


def error(query: Tensor, key: Tensor, value: Tensor, borders: Tensor) -> float:
    """|out - exact| / |exact| over all queries; every query reads every key."""
    exact = (query @ key.mT).softmax(-1) @ value
    bias = borders.diff(dim=-1).to(key).log()[..., None, :]
    out = (query @ means(key, borders).mT + bias).softmax(-1) @ means(value, borders)
    return float((out - exact).norm() / exact.norm())


def moving_subject(seed: int, *, isotropic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [T, D]: bursts of motion, other ones in what queries see."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def path(width: int) -> Tensor:
        """A random walk at a speed that changes some twentyfold."""
        speed = smooth(normal(1, TOKENS), 32)[0]
        speed = (1.5 * speed / speed.std()).exp()
        steps = smooth(normal(width, TOKENS), 8).T
        walk = (steps * speed[:, None]).cumsum(0)
        return (walk - walk.mean(0)) / walk.std(0)

    seen, unseen = WIDTH // 8, WIDTH - WIDTH // 8
    if isotropic:
        key, spread = path(WIDTH), torch.ones(WIDTH)
    else:
        key = torch.cat([path(seen), path(unseen)], -1)
        spread = torch.cat([torch.ones(seen), torch.full((unseen,), 0.03)])
    spread = spread / spread.square().mean().sqrt()
    rotation = torch.linalg.qr(normal(WIDTH, WIDTH)).Q
    query = normal(TOKENS, WIDTH) * spread / WIDTH**0.5
    value = key @ normal(WIDTH, WIDTH) / WIDTH**0.5
    return query @ rotation, key @ rotation, value


def smooth(x: Tensor, width: int) -> Tensor:
    """A Gaussian mean along the last axis."""
    t = torch.arange(-4 * width, 4 * width + 1)
    kernel = (-0.5 * (t / width).square()).exp()
    kernel = (kernel / kernel.sum())[None, None]
    return torch.nn.functional.conv1d(x[:, None], kernel, padding=4 * width)[:, 0]


def synthetic() -> Iterator[dict[str, Any]]:
    for kind in ("isotropic", "anisotropic"):
        found: dict[str, list[float]] = {name: [] for name in WAYS}
        for seed in range(SEEDS):
            query, key, value = moving_subject(seed, isotropic=kind == "isotropic")
            for name, borders in WAYS.items():
                found[name].append(error(query, key, value, borders(query, key, TILES)))
        yield {
            "queries": kind,
            "error": {name: sum(x) / len(x) for name, x in found.items()},
            "wins_over_euclid": {
                name: sum(a < b for a, b in zip(x, found["Euclid"], strict=True))
                for name, x in found.items()
            },
        }


class Reading:
    """What SmolLM2 attends to on a speech: its first half is far, its second half reads it."""

    def __init__(self, text: str, tokens: int) -> None:
        from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model
        from adaptive_attention_tiling.data.sources import named
        from adaptive_attention_tiling.evaluation.error_curve import Capture
        from adaptive_attention_tiling.evaluation.variant import observed

        model, tokenizer = load_model()
        ids = torch.tensor([first_tokens(named(SotuSpeeches(), text), tokenizer, tokens)])
        capture = Capture(LAYERS, tokens)
        with observed(model, capture.see), torch.inference_mode():
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        self.layers = {
            number: (q[0].unflatten(0, (k.shape[1], -1)) * scale, k[0], v[0])
            for number, (q, k, v, scale) in sorted(capture.kept.items())
        }
        self.half = tokens // 2
        states = hidden[SINKS : self.half].float().clone()
        head = FisherMetric(model.get_output_embeddings().weight.detach().float())
        self.output_lengths = arc_lengths(states, head)

    def borders(self, number: int, way: str, tiles: int) -> Sequence[Tensor]:
        """Of the far keys of a layer, for each of its key heads."""
        query, key, _ = self.layers[number]
        far, seen = key[:, SINKS : self.half], query[:, :, SINKS : self.half].flatten(1, 2)
        if way == "Fisher of the output head":
            return [equal_arc_borders(self.output_lengths, tiles)] * len(far)
        if way in MANAGED:
            return managed(seen, far, tiles, **MANAGED[way])
        return WAYS[way](seen, far, tiles).unbind()

    def longest_step(self, number: int) -> float:
        """Of the far keys' steps in the second moment, over their mean; the largest of heads."""
        query, key, _ = self.layers[number]
        metric = query_metric(query[:, :, SINKS : self.half].flatten(1, 2), scale=1.0)
        lengths = arc_lengths(key[:, SINKS : self.half], metric)[:, 1:]
        return float((lengths.amax(1) / lengths.mean(1)).max())

    def error(self, number: int, borders: Sequence[Tensor]) -> float:
        """Mean over heads of |out - exact| / |exact| of the second half's queries."""
        far, near = slice(SINKS, self.half), slice(self.half, None)
        errors = []
        for query, key, value, own in zip(*self.layers[number], borders, strict=True):
            asking, ends = query[:, near], (key[:SINKS], key[near], value[:SINKS], value[near])
            exact = attend(asking, ends, key[far], value[far], torch.ones(1))
            count = own.diff().to(key)
            out = attend(asking, ends, means(key[far], own), means(value[far], own), count)
            errors.append((out - exact).norm(dim=(-2, -1)) / exact.norm(dim=(-2, -1)))
        return float(torch.cat(errors).mean())


def attend(
    query: Tensor, ends: tuple[Tensor, ...], far_key: Tensor, far_value: Tensor, count: Tensor
) -> Tensor:
    """Attention to sinks, to far means of `count` tokens each, and causally to near keys."""
    sink_key, near_key, sink_value, near_value = ends
    length = len(near_key)
    logits = query @ torch.cat([sink_key, far_key, near_key]).mT
    logits[..., SINKS:-length] += count.log()
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    logits[..., -length:].masked_fill_(hidden, -torch.inf)
    return logits.softmax(-1) @ torch.cat([sink_value, far_value, near_value])


def managed(query: Tensor, key: Tensor, tiles: int, *, seen: bool, signal: str) -> list[Tensor]:
    """Segments of the `TileManager`, no more than `tiles`; in steps of 4 tokens.

    Args:
        seen: in the second moment of queries, or Euclidean.
        signal: "states" are the keys themselves; "density" is that of their steps.
    """
    manager = TileManager(
        4, 128, super_block=512, resolutions=[0.5**k for k in range(8)], overhead=0
    )
    metric = query_metric(query, scale=1.0, rank=key.shape[-1]) if seen else None
    if signal == "density":
        given = InformationDensityAnalyzer(1, metric=metric).compute_density(key)
    else:
        given = metric.coordinates(key) if metric else key
    tiling = manager.optimize_tiling(given, tiles / key.shape[-2], kind=signal)
    ends = torch.nn.functional.pad(tiling.segment_ids(), (1, 1), value=-1).diff() != 0
    return [row.nonzero()[:, 0] for row in ends]


def model(text: str, tokens: int) -> Iterator[dict[str, Any]]:
    reading = Reading(text, tokens)
    for tiles in (TILES, 2 * TILES):
        found = {
            way: [reading.error(n, reading.borders(n, way, tiles)) for n in reading.layers]
            for way in (*WAYS, *MANAGED, "Fisher of the output head")
        }
        yield {
            "tiles": tiles,
            "layers": list(reading.layers),
            "error": {way: sum(x) / len(x) for way, x in found.items()},
            "error_by_layer": found,
            "longest_step_over_mean": [reading.longest_step(n) for n in reading.layers],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=("synthetic", "model", "all"), default="all")
    parser.add_argument("--text", default="1873-Grant-1", help="name of a speech")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--json", metavar="PATH", help="write the results there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        **circumstances("fisher_boundaries.py", options.json),
        "text": options.text,
    }
    document["tokens"] = options.tokens
    for name, rows in (
        ("synthetic", synthetic),
        ("model", lambda: model(options.text, options.tokens)),
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
