"""The benchmarks by name. Each is a module here with `run(options) -> results as plain data`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # naming what there is takes no torch
    from .measure import Options


@dataclass(frozen=True)
class Benchmark:
    """about: what it answers; minutes: about how many a core of its own takes, quick and whole."""

    about: str
    minutes: tuple[float, float]


REGISTRY = {
    "gaussian_splat": Benchmark("splat attention by length, and what its options cost", (1, 12)),
    "splat_step": Benchmark("one more token, against a cache of all keys", (0.3, 0.5)),
    "linear_attention": Benchmark("linear attention, ONNX Runtime, gated delta rule", (1, 4)),
    "fidelity_attention": Benchmark("fidelity attention, and where features beat pairs", (1, 6)),
    "selective_scan": Benchmark("the scan: native, in chunks, and as a loop", (0.5, 3)),
    "softmax_attention": Benchmark("exact attention to all keys and to a window", (0.5, 3)),
    "resolvent_attention": Benchmark("attention over paths against one attention", (0.2, 1)),
    "tiled_exact": Benchmark("tiled attention that reads everything", (0.5, 6)),
    "tiled_text": Benchmark("tiled attention by tolerance on a model's own inputs", (1, 10)),
    "tiled_model": Benchmark("SmolLM2 with tiled attention: loss and time", (2, 25)),
    "tiler": Benchmark("the optimal tiler: share of attention's time, growth, rivals", (0.5, 3)),
    "persistence": Benchmark("persistent homology of sparse graphs, native and peers", (0.5, 3)),
    "curvature": Benchmark("scalar curvature of a learnt metric against loops", (0.2, 2)),
    "reversible": Benchmark("training without keeping activations: memory and time", (0.2, 2)),
    "instruction_sets": Benchmark("one source, compiled for several instruction sets", (0.3, 1)),
    "memory_use": Benchmark("peaks, scratch, growth and fragments of memory", (1, 4)),
    "core_operations": Benchmark("single operations against fixed times", (0.3, 0.5)),
    "import_time": Benchmark("importing the package, and its first call", (0.5, 1.5)),
}


def run(name: str, options: Options) -> dict[str, Any]:
    """Results of one benchmark; nothing is timed of a contender that is wrong."""
    results: dict[str, Any] = importlib.import_module(f"{__package__}.{name}").run(options)
    return results
