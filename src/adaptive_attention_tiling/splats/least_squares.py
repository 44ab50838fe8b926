"""Non-negative least squares over every head at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_RIDGE = 1e-9
_SLACK = 1e-9


def nonnegative_least_squares(
    gram: Float[Tensor, "H K K"], target: Float[Tensor, "H K"]
) -> Float[Tensor, "H K"]:
    """The x >= 0 with the least 1/2 x^T gram x - target^T x, in float64.

    The active set method: let the coordinate with the steepest descent become positive, solve for
    all positive ones, and let those go that turn negative on the way there. The objective never
    rises, so whatever rounding does to a gram matrix of almost equal columns the answer is
    feasible. A ridge of 1e-9 of the largest diagonal entry makes it unique; slopes below 1e-9 of
    the largest target count as flat. Source: Lawson and Hanson, "Solving least squares problems",
    1974, chapter 23.
    """
    gram, target = gram.double(), target.double()
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    largest = gram.diagonal(dim1=-2, dim2=-1).amax(-1).clamp(min=torch.finfo(gram.dtype).tiny)
    gram = gram + _RIDGE * largest[:, None, None] * eye
    slack = _SLACK * target.abs().amax(-1, keepdim=True)
    x = torch.zeros_like(target)
    positive = torch.zeros_like(target, dtype=torch.bool)
    for _ in range(3 * gram.shape[-1]):
        descent = target - (gram @ x[..., None])[..., 0]
        gain, newest = descent.masked_fill(positive, -torch.inf).max(-1, keepdim=True)
        open_ = gain > slack
        if not bool(open_.any()):
            break
        before = positive
        positive = positive.scatter(-1, newest, positive.gather(-1, newest) | open_)
        x, positive = _settle(gram, target, x, positive)
        if torch.equal(before, positive):
            break  # rounding refuses the coordinate that it had asked for
    return x


def _settle(
    gram: Tensor, target: Tensor, x: Tensor, positive: Bool[Tensor, "H K"]
) -> tuple[Tensor, Tensor]:
    """The least squares solution in the positive coordinates, less those that turn negative."""
    while True:
        goal = _solve(gram, target, positive)
        negative = positive & (goal <= 0)
        if not bool(negative.any()):
            return goal, positive
        shares = torch.where(negative, x / (x - goal).clamp(min=1e-300), torch.inf)
        share = shares.amin(-1, keepdim=True).clamp(max=1.0)
        x = torch.lerp(x, goal, share).clamp(min=0.0)
        gone = negative & (shares <= share)
        positive = positive & ~gone
        x = torch.where(positive, x, 0.0)


def _solve(gram: Tensor, target: Tensor, positive: Tensor) -> Tensor:
    """Solve for the positive coordinates alone: systems as large as the longest list of them."""
    size = int(positive.sum(-1).max())
    if size == 0:
        return torch.zeros_like(target)
    listed, index = positive.to(torch.uint8).topk(size, dim=-1)
    listed = listed.bool()
    rows = gram.gather(1, index[..., None].expand(-1, -1, gram.shape[-1]))
    system = rows.gather(2, index[:, None].expand(-1, size, -1))
    eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
    system = torch.where(listed[..., None] & listed[:, None], system, eye)
    right = torch.where(listed, target.gather(1, index), 0.0)
    solution = torch.linalg.solve(system, right)
    return torch.zeros_like(target).scatter(1, index, torch.where(listed, solution, 0.0))
