"""Attention as a job: inputs, a pass over them, and its truth at a few queries.

A truth in float64 at every query of a long text would take all pairs. At R queries it takes R T of
them, so the answers that are timed can be checked at every length: outputs at these queries, and
the gradients of sum(output . outer) over these queries only, with respect to everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from adaptive_attention_tiling.backends import native

from .contender import Absent, Contender

HEADS, WIDTH = 8, 64

# From tensors by name, and the module that belongs to them, to an output [B, H, T, E].
Attend = Callable[..., Tensor]


@dataclass(frozen=True, kw_only=True)
class Job:
    """tensors: the inputs by name; outer: the gradient of the output; rows: queries looked at."""

    tensors: Mapping[str, Tensor]
    outer: Tensor
    rows: Tensor
    backward: bool
    inputs: Mapping[str, int | float | str] = field(default_factory=dict)

    def contender(
        self,
        name: str,
        attend: Attend,
        exact: Attend,
        *,
        module: nn.Module | None = None,
        reads: Sequence[str] = ("query", "key", "value"),
        rule: str = "",
        tolerance: float = 1e-4,
        instruction_set: str = "",
    ) -> Contender:
        """`attend(*tensors, [module])` is timed; `exact(*tensors, [module,] rows)` is its truth.

        Tensors are those that it `reads`; they and the module's parameters get gradients.
        """
        own = [self.tensors[name] for name in reads]
        modules = () if module is None else (module,)
        leaves = [*own, *_parameters(module)]
        few = torch.zeros_like(self.outer)
        few[:, :, self.rows] = self.outer[:, :, self.rows]

        def run() -> object:
            if not self.backward:
                with torch.no_grad():
                    return attend(*own, *modules)
            return torch.autograd.grad(attend(*own, *modules), leaves, self.outer)

        def answer() -> Sequence[Tensor]:
            if not self.backward:
                with torch.no_grad():
                    return [attend(*own, *modules)[:, :, self.rows]]
            out = attend(*own, *modules)
            return [out.detach()[:, :, self.rows], *torch.autograd.grad(out, leaves, few)]

        def truth() -> Sequence[Tensor]:
            double = [t.detach().double().requires_grad_() for t in own]
            copies = [deepcopy(one).double() for one in modules]
            with torch.set_grad_enabled(self.backward):
                out = exact(*double, *copies, self.rows)
            if not self.backward:
                return [out]
            wanted = [*double, *(p for copy in copies for p in _parameters(copy))]
            upstream = self.outer[:, :, self.rows].double()
            return [out.detach(), *torch.autograd.grad(out, wanted, upstream)]

        return Contender(
            name=name,
            run=run,
            answer=answer,
            truth=truth,
            rule=rule,
            tolerance=tolerance,
            instruction_set=instruction_set,
        )

    def forms(
        self,
        name: str,
        attend: Attend,
        exact: Attend,
        *,
        forms: Sequence[str] = ("chunked", "native"),
        all_sets: bool = False,
        **options: object,
    ) -> list[Contender | Absent]:
        """One contender for each implementation; `attend` takes its name as `implementation`.

        "native" is by the fastest instruction set that runs here, or by each of them. All else runs
        with native kernels off, so that no part of it is native.
        """
        found: list[Contender | Absent] = []
        for form in forms:
            sets = native_sets(all_sets=all_sets) if form == "native" else [("off", "")]
            for instruction_set, reason in sets:
                told = f"{name}, {form}" + (f" {instruction_set}" if form == "native" else "")
                if reason:
                    found.append(Absent(told, reason))
                    continue

                def by_form(*tensors: object, form: str = form) -> Tensor:
                    return attend(*tensors, implementation=form)

                found.append(
                    self.contender(told, by_form, exact, instruction_set=instruction_set, **options)  # type: ignore[arg-type]
                )
        return found


def native_sets(*, all_sets: bool) -> list[tuple[str, str]]:
    """Instruction sets to run by, and why where one cannot."""
    runnable = native.runnable_sets()
    if not runnable:
        return [(native.INSTRUCTION_SETS[-1] if all_sets else "", "not built")]
    if not all_sets:
        return [(runnable[0], "")]
    reason = "not what this processor has, or not built"
    return [(s, "" if s in runnable else reason) for s in native.INSTRUCTION_SETS]


def random_job(
    tokens: int,
    *,
    backward: bool = False,
    heads: int = HEADS,
    width: int = WIDTH,
    value_width: int | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Job:
    """Gaussian queries, keys and values [1, H, T, D]."""
    source = torch.Generator().manual_seed(seed)

    def drawn(n: int) -> Tensor:
        return torch.randn(1, heads, tokens, n, generator=source).to(dtype)

    value_width = width if value_width is None else value_width
    tensors = {"query": drawn(width), "key": drawn(width), "value": drawn(value_width)}
    for tensor in tensors.values():
        tensor.requires_grad_(backward)
    inputs = {"B": 1, "H": heads, "T": tokens, "D": width, "E": value_width}
    return Job(
        tensors=tensors,
        outer=drawn(value_width),
        rows=rows_looked_at(tokens),
        backward=backward,
        inputs=inputs | {"dtype": str(dtype).removeprefix("torch."), "seed": seed},
    )


def rows_looked_at(tokens: int, most: int = 12) -> Tensor:
    """Evenly spread, the first and the last among them."""
    return torch.linspace(0, tokens - 1, min(tokens, most)).long().unique()


def _parameters(module: nn.Module | None) -> list[Tensor]:
    return [] if module is None else [p for p in module.parameters() if p.requires_grad]
