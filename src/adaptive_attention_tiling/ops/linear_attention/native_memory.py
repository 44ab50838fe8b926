"""Memories that compiled kernels read, and when they can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from ..softmax_attention import Partial
from .arguments import Reading
from .feature_memory import FeatureMemory
from .log_memory import LogMemory
from .memory import Chunk, Memory, MemorySums
from .native import memory_absorb, memory_read, memory_scan
from .native_gradients import kept_tokens

# Features that torch evaluates are held for this many tokens at once: those of full covariances
# leave the caches with more.
_GIVEN_AT_ONCE = 128


@dataclass(frozen=True)
class NativeMemory:
    """A memory of which compiled kernels do the reading; what it means is unchanged."""

    memory: FeatureMemory | LogMemory

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.memory.tensors

    @property
    def heads(self) -> int:
        return self.memory.heads

    @property
    def features(self) -> int:
        return self.memory.features

    def start(self, sums: MemorySums) -> MemorySums:
        return self.memory.start(sums)

    def attend(
        self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk
    ) -> tuple[Partial, MemorySums]:
        differentiated = _differentiated((*tensors, *sums, *chunk))
        # Gradients in log space find sums anew.
        every = kept_tokens(self.features) if differentiated and not self._logarithms else 0
        out, lse, *after, _, _ = memory_scan(
            self._points(tensors, chunk.query),
            self._points(tensors, chunk.key),
            chunk.value,
            chunk.gate,
            chunk.decay,
            *sums,
            *self._features(tensors),
            every,
        )
        return self._part(out, lse), _sums_of(*after)

    def absorb(self, tensors: tuple[Tensor, ...], sums: MemorySums, chunk: Chunk) -> MemorySums:
        key = self._points(tensors, chunk.key)
        after = memory_absorb(
            key, chunk.value, chunk.gate, chunk.decay, *sums, *self._features(tensors)
        )
        return _sums_of(*after)

    def read(self, tensors: tuple[Tensor, ...], sums: MemorySums, query: Tensor) -> Partial:
        found = memory_read(self._points(tensors, query), *sums, *self._features(tensors))
        return self._part(*found)

    def _points(self, tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """[B, H (R), T, D or F] of points [B, H, (R,) T, D]: what features are computed from."""
        if self.memory.native.kind != "given":
            return x.flatten(1, -3)
        many = x.flatten(2, -2)
        if isinstance(self.memory, LogMemory):
            features = self.memory.log_feature_map(tensors, many)
        else:
            features = self.memory.feature_map(tensors, many)
        points: Tensor = features.unflatten(2, x.shape[2:-1]).flatten(1, -3)
        return points

    def _features(self, tensors: tuple[Tensor, ...]) -> tuple[list[Tensor], str, int, float, bool]:
        how = self.memory.native
        parameters = [] if how.kind == "given" else list(tensors)
        return parameters, how.kind, how.constant, how.background, self._logarithms

    @property
    def _logarithms(self) -> bool:
        return isinstance(self.memory, LogMemory)

    def _part(self, out: Tensor, lse: Tensor) -> Partial:
        shape = self.heads, -1
        return Partial(out.unflatten(1, shape), lse.unflatten(1, shape))


def _sums_of(values: Tensor, mass: Tensor, level: Tensor) -> MemorySums:
    """Levels are constants that scale."""
    return MemorySums(values, mass, level.detach())


def _differentiated(tensors: Iterable[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors if t is not None)


def native_memory(
    memory: Memory, tensors: Iterable[Tensor | None]
) -> tuple[NativeMemory | None, str]:
    """The memory as kernels read it, or None; and why. `tensors` are those that a call is given."""
    if not isinstance(memory, FeatureMemory | LogMemory):
        return None, "sums by index are read in torch alone"
    if torch.compiler.is_compiling():
        return None, "compilers of graphs do not follow the choice of kernels"
    present = [*(t for t in tensors if t is not None), *memory.tensors]
    if any(t.device.type != "cpu" for t in present):
        return None, "kernels read tensors on the CPU only"
    chosen = native.choice()
    if chosen.library is None:
        return None, chosen.reason
    return NativeMemory(memory), f"compiled for {chosen.library.instruction_set}"


def read_natively(
    memory: Memory, tensors: tuple[Tensor, ...], given: Reading, *, chunk: int
) -> tuple[Memory, int]:
    """The memory that a call reads, and for how many tokens at once.

    Raises:
        UnsupportedError: native reading is pinned and cannot be.
    """
    if given.implementation not in (None, "native"):
        return memory, chunk
    state = given.initial_state
    carried = () if state is None else (state.values, state.key, state.value, state.gate)
    found, why = native_memory(memory, (*tensors, given.gate, given.decay, *carried))
    if found is None:
        if given.implementation == "native":
            raise UnsupportedError(
                f"implementation: this cannot be read natively: {why}. Fix: leave implementation "
                "out; then torch reads what kernels cannot."
            )
        return memory, chunk
    if found.memory.native.kind == "given":
        return found, _GIVEN_AT_ONCE
    query, key, _ = tensors
    return found, max(1, query.shape[2], key.shape[2])
