"""One token at a time through compiled kernels, in place: what generation calls.

The ordinary calls return a new state and cost some hundred microseconds around the kernel. Here the
state is held in the layout of csrc/memory_step.cpp and written to, and the structure of the call
is laid out once, so that a step sets a few addresses and calls.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...backends import native
from ...backends.native.layout import View
from ...errors import ArgumentError, UnsupportedError
from ..softmax_attention import EMPTY
from .memory import without_level
from .native import feature_fields
from .state import MemoryState

# Heads that one thread takes at least: below, starting a thread costs more than it saves.
_HEADS_A_THREAD = 64
_OUTPUTS_AT_ONCE = 64


class NativeStep:
    """A memory state [B, H, ...] that takes one token a call, and is changed by it.

    Args:
        state: what was read before. It is copied; its rollback limit must be 0.
        kind, parameters, constant, background: the features, see `feature_fields`; as they are
            now, for their weights are packed once.
        width: D of keys. scale: of logits in the window and of sinks.
    """

    def __init__(
        self,
        state: MemoryState,
        kind: str,
        parameters: Sequence[Tensor],
        constant: int,
        background: float,
        *,
        width: int,
        scale: float,
    ) -> None:
        assert not state.rollback_limit
        library = native.choice().library
        assert library is not None
        self._library = library
        self._state = state
        self._width, self._scale = width, scale
        self._dtype = state.values.dtype
        parameters = [tensor.detach().to(self._dtype) for tensor in parameters]
        self._features = feature_fields(kind, parameters, constant, background, width=width)
        self._hold(state)
        self._oldest = 0  # slot of the window
        self._outs: list[Tensor] = []
        self._shapes: tuple[torch.Size, ...] | None = None

    def step(
        self,
        query: Float[Tensor, "B R*H 1 D"],
        key: Float[Tensor, "B G 1 D"],
        value: Float[Tensor, "B G 1 E"],
        gate: Float[Tensor, "B H 1"] | None = None,
        decay: Float[Tensor, "B H 1"] | None = None,
    ) -> Float[Tensor, "B R*H 1 E"]:
        """Read one token and answer its query, as an ordinary causal call of T = 1 does.

        Raises:
            ArgumentError: shapes, dtypes or devices that do not fit, by name.
            UnsupportedError: a gradient is asked for.
        """
        if (query.shape, key.shape, value.shape) != self._shapes:
            self._lay_out(query, key, value)
        if torch.is_grad_enabled() and (
            query.requires_grad or key.requires_grad or value.requires_grad
        ):
            raise UnsupportedError(
                "query, key, value: a step in place has no gradient. Fix: step under "
                "torch.no_grad(), or make ordinary calls."
            )
        result = query.dtype
        held = query, key, value = self._fit(query), self._fit(key), self._fit(value)
        self._query.data = query.data_ptr()
        self._key.data = key.data_ptr()
        self._value.data = value.data_ptr()
        out = self._next_out()
        rows = self._see(self._decay, "decay", decay), self._see(self._new_gate, "gate", gate)
        self._call.oldest = self._oldest
        self._run(self._address)
        del held, rows
        if self._window:
            self._oldest = (self._oldest + 1) % self._window
        return out if result is self._dtype else out.to(result)

    def state(self) -> MemoryState:
        """An equal state, which shares no memory with this one."""
        window, sinks, width = self._window, self._sinks, self._value_width
        key, value = self._slot_key.mT, self._slot_value[..., :width]
        order = (torch.arange(window) + self._oldest) % max(window, 1)
        values = _copy(self._values[..., :width])
        mass = _copy(self._mass[..., : values.shape[2]])
        return MemoryState(
            values=values,
            mass=mass,
            level=torch.zeros_like(mass),
            key=_copy(key[:, :, order]),
            value=_copy(value[:, :, order]),
            gate=_copy(self._gate[:, :, order, None]),
            sink_key=_copy(key[:, :, window : window + sinks]),
            sink_value=_copy(value[:, :, window : window + sinks]),
            length=self._length.clone(),
        )

    def _hold(self, state: MemoryState) -> None:
        """Copy a state into the layout of the kernel."""
        lanes = self._library.vector_bytes // self._dtype.itemsize

        def padded(count: int) -> int:
            return -(-count // lanes) * lanes

        values, mass, _ = without_level(state.sums)
        batch, heads, features, width = values.shape
        window, sinks = state.window, state.sinks
        slots = window + sinks

        def new(*shape: int) -> Tensor:
            return torch.zeros(batch, heads, *shape, dtype=self._dtype)

        self._values, self._mass = new(features, padded(width)), new(padded(features))
        self._values[..., :width], self._mass[..., :features] = values.detach(), mass.detach()
        self._slot_key, self._slot_value = (
            new(self._width, padded(slots)),
            new(slots, padded(width)),
        )
        self._slot_key[..., :slots] = torch.cat([state.key, state.sink_key], 2).detach().mT
        self._slot_value[..., :width] = torch.cat([state.value, state.sink_value], 2).detach()
        self._gate = _copy(state.gate.detach()[..., 0])
        self._bias = new(padded(slots)).fill_(EMPTY)
        self._bias[..., :window].masked_fill_(self._gate > EMPTY, 0.0)
        read = torch.arange(sinks) < state.length[:, None]
        self._bias[..., window:slots].masked_fill_(read[:, None], 0.0)
        self._length = state.length.clone()
        self._window, self._sinks, self._value_width = window, sinks, width
        self._gate_shape = torch.Size((batch, heads, 1))

    def _fit(self, tensor: Tensor) -> Tensor:
        """The tensor as the kernel reads it: itself, if it can be."""
        if tensor.dtype is self._dtype and tensor.is_contiguous() and tensor.is_cpu:
            return tensor
        if not tensor.is_cpu:
            raise ArgumentError("query, key, value", tensor.device, "the CPU", "use tensor.cpu()")
        return tensor.to(self._dtype).contiguous()

    def _next_out(self) -> Tensor:
        """A new tensor for the output; they are made many at once, because making one is slow."""
        if not self._outs:
            block = torch.empty(_OUTPUTS_AT_ONCE, *self._out_shape, dtype=self._dtype)
            self._outs = list(block.unbind())
        out = self._outs.pop()
        self._out.data = out.data_ptr()
        return out

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        batch, heads = self._values.shape[:2]
        for name, tensor, width in (
            ("query", query, self._width),
            ("key", key, self._width),
            ("value", value, self._value_width),
        ):
            shape = list(tensor.shape)
            expected = [batch, "heads", 1, width]
            if tensor.dim() != 4 or [shape[0], *shape[2:]] != [batch, 1, width] or not shape[1]:
                raise ArgumentError(
                    name, f"shape {shape}", str(expected), "pass one token of the state's rows"
                )
        if query.shape[1] % heads:
            raise ArgumentError(
                "query", f"{query.shape[1]} heads", f"a multiple of {heads}", "check the heads"
            )
        if heads % key.shape[1] or value.shape[1] != key.shape[1]:
            raise ArgumentError(
                "key",
                f"{key.shape[1]} heads beside {value.shape[1]} of value",
                f"equal divisors of {heads}",
                "check the heads",
            )

    def _lay_out(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        self._check(query, key, value)
        batch, heads = self._values.shape[:2]
        self._out_shape = (batch, query.shape[1], 1, self._value_width)
        sizes = torch.zeros(2, dtype=torch.long)
        threads = max(1, min(torch.get_num_threads(), batch * heads // _HEADS_A_THREAD, heads))
        fields = {
            "query": self._like(query.shape),
            "key": self._like(key.shape),
            "value": self._like(value.shape),
            "out": self._like(self._out_shape),
            "gate": self._like((batch, heads, 1)),
            "decay": self._like((batch, heads, 1)),
            "values": self._values,
            "mass": self._mass,
            "slot_key": self._slot_key,
            "slot_value": self._slot_value,
            "slot_bias": self._bias,
            "window_gate": self._gate,
            "length": self._length,
            "sizes": sizes,
            "batch": batch,
            "heads": heads,
            "group": query.shape[1] // heads,
            "copies": heads // key.shape[1],
            "value_width": self._value_width,
            "window": self._window,
            "sinks": self._sinks,
            "scale": self._scale,
            "threads": threads,
            "features": self._values.shape[2],
            **self._features,
        }
        call = self._library.arguments("memory_step", **fields)
        self._library.run("memory_step_sizes", self._dtype, call)
        prepared, work = (-(-int(size) // 16) * 16 for size in sizes)
        self._prepared = torch.zeros(heads, prepared, dtype=self._dtype)
        self._work = torch.zeros(threads, work, dtype=self._dtype)
        native.fill(call.prepared, self._prepared)
        native.fill(call.work, self._work)
        self._library.run("memory_step_prepare", self._dtype, call)
        self._call, self._address = call, ctypes.addressof(call)
        self._run = self._library.function("memory_step", self._dtype)
        self._query, self._key, self._value, self._out = call.query, call.key, call.value, call.out
        self._new_gate, self._decay = call.gate, call.decay
        self._outs = []
        self._shapes = query.shape, key.shape, value.shape

    def _like(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of that shape, to take strides from; addresses are set at each step."""
        return torch.empty(shape, dtype=self._dtype)

    def _see(self, view: View, name: str, tensor: Tensor | None) -> Tensor | None:
        """Let the call see a number for each head; what is returned must live until it was made."""
        if tensor is None:
            view.data = None
            return None
        if tensor.shape != self._gate_shape:
            raise ArgumentError(
                name,
                f"shape {list(tensor.shape)}",
                f"[B, H, 1] = {list(self._gate_shape)}, H heads of the memory",
                "pass one number for each head",
            )
        tensor = self._fit(tensor)
        view.data = tensor.data_ptr()
        return tensor


def _copy(tensor: Tensor) -> Tensor:
    """A copy in order of its axes, whatever the tensor is a view of."""
    return tensor.clone(memory_format=torch.contiguous_format)
