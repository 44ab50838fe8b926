"""The token-wise networks between mixers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, silu


class GELUNetwork(nn.Module):
    """W_out gelu(W_in x)."""

    def __init__(self, width: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.input = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        out: Tensor = self.output(gelu(self.input(x)))
        return out


class SwiGLUNetwork(nn.Module):
    """W_out (silu(W_gate x) * W_in x). Shazeer, GLU variants improve Transformer (2020), eq. 6."""

    def __init__(self, width: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=bias)
        self.input = nn.Linear(width, hidden, bias=bias)
        self.output = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        out: Tensor = self.output(silu(self.gate(x)) * self.input(x))
        return out
