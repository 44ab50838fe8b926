"""The benchmarks by name. Each is a module here with `run(options) -> results as plain data`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # naming what there is takes no torch
    from .measure import Options


@dataclass(frozen=True)
class Benchmark:
    """about: what it answers; minutes: of one core, quick and whole, as measured."""

    about: str
    minutes: tuple[float, float]


REGISTRY = {
    "gaussian_splat": Benchmark("splat attention by length, and what its options cost", (1, 1)),
    "splat_step": Benchmark("one more token, against a cache of all keys", (1, 1)),
    "linear_attention": Benchmark("linear attention, ONNX Runtime, gated delta rule", (1, 1)),
    "fidelity_attention": Benchmark("fidelity attention, and where features beat pairs", (1, 1)),
    "selective_scan": Benchmark("the scan: native, in chunks, and as a loop", (1, 1)),
    "softmax_attention": Benchmark("exact attention to all keys and to a window", (1, 1)),
    "tiled_exact": Benchmark("tiled attention that reads everything", (1, 1)),
    "tiled_text": Benchmark("tiled attention by tolerance on a model's own inputs", (1, 1)),
    "tiled_model": Benchmark("SmolLM2 with tiled attention: loss and time", (1, 1)),
    "tiler": Benchmark("the optimal tiler: share of attention's time, growth, rivals", (1, 1)),
    "instruction_sets": Benchmark("one source, compiled for several instruction sets", (1, 1)),
    "memory_use": Benchmark("peaks, scratch, growth and fragments of memory", (1, 1)),
    "core_operations": Benchmark("single operations against fixed times", (1, 1)),
    "import_time": Benchmark("importing the package, and its first call", (1, 1)),
}


def run(name: str, options: Options) -> dict[str, Any]:
    """Results of one benchmark; nothing is timed of a contender that is wrong."""
    results: dict[str, Any] = importlib.import_module(f"{__package__}.{name}").run(options)
    return results
