"""Means over the tokens just past, without a look ahead."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError


def window_sums(values: Float[Tensor, "*b n"], width: int) -> Float[Tensor, "*b m"]:
    """Sums of `width` neighbours each, m = n - width + 1.

    Windows of 1, 2, 4, ... are added up, log2(width) times. Unlike differences of running sums
    this neither cancels nor depends on where the text began, so that a token's sum is the same
    number, bit for bit, whether the text comes at once or token by token.
    """
    length = values.shape[-1] - width + 1
    if width < 1 or length < 0:
        raise ArgumentError(
            "width", width, f"an integer from 1 to {values.shape[-1]}", "pass a smaller width"
        )
    total, start, block, size = None, 0, values, 1
    while True:
        if width & size:
            part = block[..., start : start + length]
            total = part if total is None else total + part
            start += size
        if 2 * size > width:
            break
        block = block[..., :-size] + block[..., size:]
        size *= 2
    assert total is not None
    return total
