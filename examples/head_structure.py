"""The shape of every head's attention on a text: loops, bottlenecks, growth of paths.

    python examples/head_structure.py [--layers 0 8 15 22 29] [--tokens 512] [--model FOLDER]

For each head of SmolLM2 (or of the model in FOLDER) the graph of its 8 strongest links a token is
taken, and a line tells its pieces, its loops, where it is narrow and how well it mixes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model, longest
from adaptive_attention_tiling.evaluation.diagnostics import HeadStructure, head_structure
from adaptive_attention_tiling.evaluation.error_curve import Capture
from adaptive_attention_tiling.evaluation.variant import observed


def structures(
    tokens: int, layers: Sequence[int], model: Path | None = None
) -> Iterator[tuple[int, int, HeadStructure]]:
    """(layer, head, structure) on the start of a speech."""
    network, tokenizer = load_model(model)
    ids = torch.tensor([first_tokens(longest(SotuSpeeches()), tokenizer, tokens)])
    capture = Capture(layers, tokens)
    with torch.inference_mode(), observed(network, capture.see):
        network.base_model(input_ids=ids, use_cache=False)
    for layer, (query, key, _, scale) in sorted(capture.kept.items()):
        shared = query.shape[1] // key.shape[1]
        for head in range(query.shape[1]):
            found = head_structure(query[0, head], key[0, head // shared], scale=scale)
            yield layer, head, found


def line(layer: int, head: int, found: HeadStructure) -> str:
    holes, narrow, zeta = found.persistence, found.curvature, found.zeta
    figures = (
        f"{layer:5} {head:4} {len(found.graph.edges):6} {holes.components:7} {holes.loops:6}"
        f" {holes.endless_loops:8} {float(holes.total_persistence[1]):8.3f} {narrow.mean:7.2f}"
        f" {narrow.least:6.2f} {zeta.cycle_entropy:8.3f} {zeta.spectral_gap:6.3f}"
    )
    return f"{figures}  {' '.join(f'{i}-{j}' for i, j in narrow.bottlenecks)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 8, 15, 22, 29])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args(arguments)
    print(
        "layer head  edges  pieces  loops  endless  lasting  curv.  least  entropy    gap"
        "  bottlenecks"
    )
    for found in structures(options.tokens, options.layers, options.model):
        print(line(*found), flush=True)


if __name__ == "__main__":
    main()
