"""The learned parts around fidelity patterns: heights of keys, a flow, and routes of tiles."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...ops.quantum_geometric import PatternFlow, RouteShares


class LocalHeights(nn.Module):
    """Keys weighed by a height: small where the height is large.

        h_v(x) = 1/2 log(1 + |w_v . x|^2),    log weight = -sum_v s_v h_v(x),    s_v >= 0

    h_v is the height of the point [1 : w_v . x] at the real place, with the norm of R^2 in place of
    the largest coordinate. The sum of all weights prod_v H_v^(-s_v), which normalises attention, is
    then a partial sum of a height zeta function in several variables. s_v starts near 0.

    Source: Batyrev and Tschinkel, Manin's conjecture for toric varieties (1998), section 2.
    """

    def __init__(self, width: int, heads: int, rank: int) -> None:
        super().__init__()
        self.forms = nn.Linear(width, heads * rank, bias=False)
        self.shape = heads, rank
        self.exponent = nn.Parameter(torch.full((heads * rank,), -3.0))

    def heights(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B G T r"]:
        """h_v of each token."""
        forms = self.forms(x).unflatten(-1, self.shape)
        return (0.5 * torch.log1p(forms.square())).transpose(1, 2)

    def forward(self, heights: Float[Tensor, "B G T r"]) -> Float[Tensor, "B G T"]:
        """The logarithm of each key's weight, at most 0."""
        exponent = softplus(self.exponent).view(*self.shape)
        return -(heights * exponent[:, None]).sum(-1)


class FlowSteps(nn.Module):
    """The steps of a flow, short at the start, and how far heat passes at once.

    `rate`: logits of each step's share of the longest safe step, [steps H]. `width`: log sigma [G].
    Parameters are vectors here and in `LocalHeights`, which training spares weight decay: 0 is no
    resting place for them.
    """

    def __init__(self, steps: int, heads: int, groups: int, width: float) -> None:
        super().__init__()
        self.shape = steps, heads
        self.rate = nn.Parameter(torch.full((steps * heads,), -2.0))
        self.width = nn.Parameter(torch.full((groups,), width).log())

    def forward(self, radius: float | None) -> PatternFlow:
        rates = torch.sigmoid(self.rate).view(*self.shape)
        return PatternFlow(rates=rates, width=self.width.exp(), radius=radius)


class TileRoutes(nn.Module):
    """Which of S memories a tile is written to, and which of them a query reads; open at first.

    With one memory there is no choice of what to read, only whether a tile is written.
    """

    def __init__(self, width: int, heads: int, groups: int, routes: int) -> None:
        super().__init__()
        self.routes = routes
        self.write = nn.Linear(width, groups * (routes + 1))
        self.read = nn.Linear(width, heads * routes) if routes > 1 else None
        self.heads = heads
        with torch.no_grad():
            self.write.bias.zero_().view(groups, routes + 1)[:, -1] = -4.0

    def forward(self, x: Float[Tensor, "B T C"]) -> RouteShares:
        writes = self.write(x).unflatten(-1, (-1, self.routes + 1)).transpose(1, 2)
        if self.read is None:
            reads = writes.new_ones(x.shape[0], self.heads, x.shape[1], 1)
        else:
            logits = self.read(x).unflatten(-1, (-1, self.routes)).transpose(1, 2)
            reads = logits.softmax(-1)
        return RouteShares(reads, writes)
