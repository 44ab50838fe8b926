"""A residual stack of two streams that keeps its last activations only, and runs backwards.

    p_l = p_{l-1} + kick_l(q_{l-1}),    q_l = q_{l-1} + drift_l(p_l)

is the leapfrog of Hamilton's equations with a force and a velocity for each layer. Whatever the
two are, a layer is undone exactly but for rounding,

    q_{l-1} = q_l - drift_l(p_l),    p_{l-1} = p_l - kick_l(q_{l-1})

so the backward pass works activations out again, layer by layer, instead of keeping them. The two
streams are summed in float64, so that the numbers which come back are, rounded to the layers' own
type, the numbers that were.

Source: Gomez et al., The reversible residual network (2017); Hairer, Lubich and Wanner, Geometric
Numerical Integration (2006), section I.3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArgumentError, CorrectnessError, UnsupportedError


class LeapfrogLayer(nn.Module):
    """A kick and a drift out of two modules; settings go to the kick."""

    def __init__(self, kick: nn.Module, drift: nn.Module) -> None:
        super().__init__()
        self.kick = kick
        self.drift = drift


class ReversibleStack(nn.Module):
    """Layers of kick and drift whose training memory does not grow with their number.

    Gradients are those of plain autograd but for rounding, of every parameter and both streams.
    Random numbers (dropout) and autocast are in the backward pass what they were in the forward
    pass. What a layer counts while it runs (running means, hooks) it counts twice. Under
    `torch.compile` the stack itself runs uncompiled, so that fullgraph=True is refused there.
    There are no gradients of gradients; `unrolled` has them, and keeps all activations.

    Args:
        layers: modules with `kick` and `drift`, such as `LeapfrogLayer`.
        sums: the type in which the streams are summed; None is that of the streams, for devices
            without float64: the error of gradients then grows with depth.
    """

    def __init__(
        self, layers: Iterable[nn.Module], sums: torch.dtype | None = torch.float64
    ) -> None:
        super().__init__()
        self.sums = sums
        self.layers = nn.ModuleList(layers)
        for number, layer in enumerate(self.layers):
            if not (
                callable(getattr(layer, "kick", None)) and callable(getattr(layer, "drift", None))
            ):
                raise ArgumentError(
                    "layers",
                    f"{type(layer).__name__} at {number}",
                    "modules with kick and drift",
                    "use LeapfrogLayer(kick, drift)",
                )

    def forward(
        self, q: Float[Tensor, "*b"], p: Float[Tensor, "*b"], *settings: Any
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Both streams after all layers. `settings` go to every kick and get no gradients."""
        streams: tuple[Tensor, Tensor] = reversible_leapfrog(
            self.layers, q, p, *settings, sums=self.sums
        )
        return streams

    def unrolled(
        self, q: Float[Tensor, "*b"], p: Float[Tensor, "*b"], *settings: Any
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """The same by plain autograd, which keeps all activations."""
        _check(q, p, settings)
        dtype: torch.dtype = q.dtype
        layer: Any
        q, p = self._summed(q), self._summed(p)
        for layer in self.layers:
            p = _plus(p, layer.kick(q.to(dtype), *settings))
            q = _plus(q, layer.drift(p.to(dtype)))
        return q.to(dtype), p.to(dtype)

    @torch.no_grad()
    def inverse(
        self, q: Float[Tensor, "*b"], p: Float[Tensor, "*b"], *settings: Any
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """The streams that `forward` made these of, up to rounding; without dropout."""
        _check(q, p, settings)
        dtype: torch.dtype = q.dtype
        layer: Any
        q, p = self._summed(q), self._summed(p)
        for layer in reversed(self.layers):
            q = _plus(q, -layer.drift(p.to(dtype)))
            p = _plus(p, -layer.kick(q.to(dtype), *settings))
        return q.to(dtype), p.to(dtype)

    def _summed(self, stream: Tensor) -> Tensor:
        return stream if self.sums is None else stream.to(self.sums)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def reversible_leapfrog(
    layers: Iterable[nn.Module],
    q: Float[Tensor, "*b"],
    p: Float[Tensor, "*b"],
    *settings: Any,
    sums: torch.dtype | None = torch.float64,
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """`ReversibleStack.forward` of layers that another module holds."""
    _check(q, p, settings)
    layers, kind = tuple(layers), q.device.type
    parameters = tuple({id(x): x for layer in layers for x in layer.parameters()}.values())
    call = _Call(
        layers=layers,
        dtype=q.dtype,
        sums=sums or q.dtype,
        settings=settings,
        parameters=parameters,
        versions=_versions(parameters) if torch.is_grad_enabled() else (),
        autocast=(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)),
    )
    result: tuple[Tensor, Tensor] = _Leapfrog.apply(call, q, p, *call.parameters)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class _Call:
    """What the backward pass must know beside the last activations."""

    layers: tuple[nn.Module, ...]
    dtype: torch.dtype
    sums: torch.dtype
    settings: tuple[Any, ...]
    parameters: tuple[nn.Parameter, ...]
    versions: tuple[int, ...]
    autocast: tuple[str, torch.dtype, bool]
    chances: list[_RandomState | None] = field(default_factory=list)

    def halves(self) -> Iterator[_Half]:
        """kick_1, drift_1, kick_2, ..."""
        for layer in self.layers:
            yield _Half(layer, layer.kick, self.settings)
            yield _Half(layer, layer.drift, ())


class _Half(NamedTuple):
    """One of the two functions of a layer."""

    layer: nn.Module
    function: Any
    settings: tuple[Any, ...]


class _Leapfrog(torch.autograd.Function):
    """(q_0, p_0, parameters) -> (q_L, p_L)."""

    @staticmethod
    def forward(ctx: Any, call: _Call, q: Tensor, p: Tensor, *parameters: Tensor) -> Any:
        read, changed = q.to(call.sums), p.to(call.sums)
        for half in call.halves():
            before = _RandomState.now(q.device)
            changed = _plus(changed, half.function(read.to(call.dtype), *half.settings))
            call.chances.append(before if before.moved() else None)
            read, changed = changed, read
        ctx.call = call
        ctx.save_for_backward(read, changed)
        return read.to(call.dtype), changed.to(call.dtype)

    @staticmethod
    def backward(ctx: Any, grad_read: Tensor, grad_changed: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "create_graph: a reversible stack is not twice differentiable. Fix: call "
                "stack.unrolled(q, p), which keeps all activations."
            )
        call: _Call = ctx.call
        if _versions(call.parameters) != call.versions:
            raise CorrectnessError(
                "parameters: changed between the forward and the backward pass, which works "
                "activations out again. Fix: step the optimiser after loss.backward()"
            )
        read, changed = ctx.saved_tensors
        grad_read, grad_changed = grad_read.to(call.sums), grad_changed.to(call.sums)
        totals: dict[int, Tensor] = {}
        for half, chance in zip(reversed([*call.halves()]), reversed(call.chances), strict=True):
            read, changed = changed, read
            grad_read, grad_changed = grad_changed, grad_read
            added, grad = _again(call, half, chance, read, grad_changed, totals)
            changed, grad_read = changed - added, grad_read + grad
        grads = grad_read.to(call.dtype), grad_changed.to(call.dtype)
        return (None, *grads, *(totals.get(id(x)) for x in call.parameters))


def _again(
    call: _Call,
    half: _Half,
    chance: _RandomState | None,
    read: Tensor,
    grad: Tensor,
    totals: dict[int, Tensor],
) -> tuple[Tensor, Tensor]:
    """What a half has added, and the gradient it hands back; adds to the totals of parameters."""
    read = read.detach().to(call.dtype).requires_grad_()
    wanted = [x for x in half.layer.parameters() if x.requires_grad]
    kind, dtype, enabled = call.autocast
    with (
        torch.enable_grad(),
        torch.autocast(kind, dtype, enabled),
        nullcontext() if chance is None else chance.restored(),
    ):
        added = half.function(read, *half.settings)
    if not added.requires_grad:
        return added, torch.zeros_like(read)
    found = torch.autograd.grad(added, [read, *wanted], grad.to(added.dtype), allow_unused=True)
    for parameter, part in zip(wanted, found[1:], strict=True):
        if part is not None:
            before = totals.get(id(parameter))
            totals[id(parameter)] = part if before is None else before + part
    return added.detach(), torch.zeros_like(read) if found[0] is None else found[0]


@dataclass(frozen=True)
class _RandomState:
    """Of the generators that a function of tensors on `device` may draw from."""

    device: torch.device
    processor: Tensor
    accelerator: Tensor  # empty on the CPU

    @classmethod
    def now(cls, device: torch.device) -> _RandomState:
        on_cuda = device.type == "cuda"
        accelerator = torch.cuda.get_rng_state(device) if on_cuda else torch.empty(0)
        return cls(device, torch.get_rng_state(), accelerator)

    def moved(self) -> bool:
        """Whether anything was drawn since."""
        now = _RandomState.now(self.device)
        return not (
            torch.equal(self.processor, now.processor)
            and torch.equal(self.accelerator, now.accelerator)
        )

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Within the context, draw again what was drawn after this state."""
        on_cuda = len(self.accelerator) > 0
        with torch.random.fork_rng(devices=[self.device] if on_cuda else []):
            torch.set_rng_state(self.processor)
            if on_cuda:
                torch.cuda.set_rng_state(self.accelerator, self.device)
            yield


def _versions(parameters: tuple[nn.Parameter, ...]) -> tuple[int, ...]:
    """How often each was changed in place."""
    return tuple(x._version for x in parameters)


def _plus(stream: Tensor, added: Tensor) -> Tensor:
    if added.shape != stream.shape:
        raise ArgumentError(
            "layers",
            f"a kick or drift of shape {list(added.shape)} beside streams {list(stream.shape)}",
            "functions that keep the shape",
            "reshape what they give",
        )
    return stream + added


def _check(q: Tensor, p: Tensor, settings: tuple[Any, ...]) -> None:
    if q.shape != p.shape or q.dtype != p.dtype or not q.is_floating_point():
        raise ArgumentError(
            "p",
            f"{p.dtype} {list(p.shape)} beside q {q.dtype} {list(q.shape)}",
            "two floating streams of one shape and dtype",
            "start both with the embedding",
        )
    if any(isinstance(x, Tensor) and x.requires_grad for x in settings):
        raise ArgumentError(
            "settings", "a tensor that requires gradients", "constants", "pass it without gradients"
        )
