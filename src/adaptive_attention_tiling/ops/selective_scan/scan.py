"""Which implementation scans."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from ..arguments import Explanation, check_implementation
from .arguments import IMPLEMENTATIONS
from .chunked import chunked_scan
from .native import native_scan


def explain_selective_scan(
    x: Float[Tensor, "B T I"], *, implementation: str | None = None
) -> Explanation:
    """Which implementation `selective_scan` takes here, and why.

    Raises:
        ArgumentError: a name that is no implementation.
        UnsupportedError: "native" where it cannot run.
    """
    check_implementation(implementation, IMPLEMENTATIONS)
    if implementation is None:
        missing = _missing(x)
        if missing is not None:
            return Explanation("chunked", missing)
        return Explanation("native", f"kernels for {_instruction_set()}: {native.choice().reason}")
    if implementation == "native":
        missing = _missing(x)
        if missing is not None:
            raise UnsupportedError(
                f"implementation: native kernels cannot run: {missing}. Fix: leave it out."
            )
    return Explanation(implementation, "pinned by the caller")


def scan(
    x: Float[Tensor, "B T I"],
    delta: Float[Tensor, "B T I"],
    A: Float[Tensor, "I N"],
    write: Float[Tensor, "B T N"],
    read: Float[Tensor, "B T N"] | None,
    start: Float[Tensor, "B I N"],
    *,
    widths: Int[Tensor, "B T"] | None = None,
    implementation: str | None = None,
) -> tuple[Float[Tensor, "B T I"] | None, Float[Tensor, "B I N"]]:
    """(y or None without `read`, the last state) by "native" or "chunked"; see `chunked_scan`."""
    chosen = explain_selective_scan(x, implementation=implementation).implementation
    run = native_scan if chosen == "native" else chunked_scan
    return run(x, delta, A, write, read, start, widths=widths)


def _missing(x: Tensor) -> str | None:
    """Why native kernels cannot scan x; None if they can."""
    if x.device.type != "cpu":
        return f"native kernels run on the CPU, x is on {x.device}"
    if torch.promote_types(x.dtype, torch.float32) not in (torch.float32, torch.float64):
        return f"native kernels compute in float32 or float64, x is {x.dtype}"
    choice = native.choice()
    return None if choice.library is not None else f"native kernels: {choice.reason}"


def _instruction_set() -> str:
    library = native.choice().library
    assert library is not None
    return library.instruction_set
