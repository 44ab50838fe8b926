"""Time every call of a model's attention function, whichever it is, and keep its reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from ...errors import UnsupportedError
from ...ops.tiled_attention import TiledAttentionReport
from .settings import REPORT_TO, attention_layers, dispatcher

_RECORDER = "aat_recorder"


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention function.

    layer_idx    the layer's own `layer_idx`; its place among the attention layers if it has none
    seconds      wall time of the call and nothing else; on an accelerator, until it has finished
    cpu_seconds  processor time of all threads meanwhile, which waiting for others does not raise
    queries, keys  tokens of each sequence
    report       of tiled attention on whole sequences, if reports were asked for
    """

    layer_idx: int
    seconds: float
    cpu_seconds: float
    queries: int
    keys: int
    report: TiledAttentionReport | None


@contextmanager
def recording(model: nn.Module, reports: bool = False) -> Iterator[list[AttentionCall]]:
    """Within the context, append an `AttentionCall` to the list for each call of `model`.

    All registered implementations are timed in the same way, around exactly the call that the
    layer makes: masks, projections and the cache's update are outside. Calls of other models are
    not recorded. `reports=True` costs time; do not time with it.

    Raises UnsupportedError for attn_implementation="eager", whose function is not registered.
    """
    calls: list[AttentionCall] = []
    with ExitStack() as stack:
        for place, layer in enumerate(attention_layers(model)):
            interface = dispatcher(layer)
            assert interface is not None
            name = _implementation(layer)
            stack.enter_context(_timed(interface, name))
            index = getattr(layer, "layer_idx", None)
            recorder = _Recorder(calls, place if index is None else index)
            stack.enter_context(_attribute(layer, _RECORDER, recorder))
            if reports:
                stack.enter_context(_attribute(layer, REPORT_TO, recorder.keep))
        yield calls


@dataclass
class _Recorder:
    calls: list[AttentionCall]
    layer_idx: int
    report: TiledAttentionReport | None = None

    def keep(self, report: TiledAttentionReport) -> None:
        self.report = report

    def take_report(self) -> TiledAttentionReport | None:
        report, self.report = self.report, None
        return report


@dataclass
class _Timed:
    """An attention function that times itself for layers that carry a recorder."""

    function: Callable[..., Any]
    users: int = field(default=0)

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        recorder: _Recorder | None = getattr(module, _RECORDER, None)
        if recorder is None:
            return self.function(module, query, key, *args, **kwargs)
        _wait_for(query)
        cpu, wall = time.process_time(), time.perf_counter()
        result = self.function(module, query, key, *args, **kwargs)
        _wait_for(query)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        recorder.calls.append(
            AttentionCall(
                recorder.layer_idx,
                seconds,
                cpu_seconds,
                query.shape[2],
                key.shape[2],
                recorder.take_report(),
            )
        )
        return result


@contextmanager
def _timed(interface: AttentionInterface, name: str) -> Iterator[None]:
    """Let `interface` answer `name` with a function that times itself.

    Only the local part of the register is touched, and it is put back when the last user leaves.
    """
    found = interface[name]
    timed = found if isinstance(found, _Timed) else _Timed(found)
    interface[name] = timed
    timed.users += 1
    try:
        yield
    finally:
        timed.users -= 1
        if not timed.users:
            del interface[name]
            if interface[name] is not timed.function:
                interface[name] = timed.function


@contextmanager
def _attribute(module: nn.Module, name: str, value: object) -> Iterator[None]:
    if hasattr(module, name):
        raise UnsupportedError(
            "recording: the model is being recorded already. Fix: leave the outer context first."
        )
    setattr(module, name, value)
    try:
        yield
    finally:
        delattr(module, name)


def _implementation(layer: nn.Module) -> str:
    config: Any = getattr(layer, "config", None)
    name = getattr(config, "_attn_implementation", None)
    if not isinstance(name, str) or name == "eager":
        raise UnsupportedError(
            f"recording: {type(layer).__name__} uses attn_implementation={name!r}, which is not a "
            "registered function. Fix: use 'sdpa' or 'adaptive_tiled'."
        )
    return name


def _wait_for(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
