"""Transport between tokens, pair by pair or step by step: may keys be turned once and cached?

U_ij takes the fibre of token j to that of token i. Keys can be carried once to a frame that all
tokens share, whatever query will ask, if U_ij = U_i0 U_0j for some token 0, and so if and only if
transport around every loop is the identity. What loops leave over bounds the error of scores.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import ArgumentError
from .atlas import tolerance


def householder_steps(
    directions: Float[Tensor, "*b n r"], strengths: Float[Tensor, "*b n"]
) -> Float[Tensor, "*b n r r"]:
    """H_t = 1 - beta_t w_t w_t^T, of unit vectors w_t; a reflection at beta = 2, singular at 1.

    Yang et al., PaTH Attention (2025), where w and beta depend on the token.
    """
    if directions.shape[:-1] != strengths.shape:
        raise ArgumentError(
            "strengths",
            f"shape {list(strengths.shape)}",
            f"{list(directions.shape[:-1])}",
            "pass one strength a direction",
        )
    unit = torch.nn.functional.normalize(directions, dim=-1)
    outer = unit[..., :, None] * unit[..., None, :]
    identity = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device)
    return identity - strengths[..., None, None] * outer


def line_transports(steps: Float[Tensor, "*b n r r"]) -> Float[Tensor, "*b n n r r"]:
    """U_ij = S_i S_(i-1) ... S_(j+1) for i >= j, and U_ji = U_ij^(-1), of tokens on one line.

    S_t is the step from token t - 1 to token t; S_0 is not used. There are no loops on a line, so
    these transports have no holonomy whatever the steps depend on: with invertible steps such keys
    can be cached. Where steps are nearly singular the cached keys lose digits as the condition
    number of U_0j tells.
    """
    count, size = _sizes("steps", steps, 3)
    frames = [
        torch.eye(size, dtype=steps.dtype, device=steps.device).expand_as(steps[..., 0, :, :])
    ]
    for t in range(1, count):
        frames.append(steps[..., t, :, :] @ frames[-1])
    from_first = torch.stack(frames, -3)
    transports: Tensor = (
        from_first[..., :, None, :, :] @ torch.linalg.inv(from_first)[..., None, :, :, :]
    )
    return transports


def loop_holonomy(
    transports: Float[Tensor, "*b n n r r"], loops: Int[Tensor, "m k"]
) -> Float[Tensor, "*b m r r"]:
    """U_(l1 l2) U_(l2 l3) ... U_(lk l1) around loops of tokens.

    Args:
        transports: U_ij at [..., i, j, :, :].
        loops: tokens l1, ..., lk of each loop, int64.
    """
    count, _ = _sizes("transports", transports, 4)
    if loops.dim() != 2 or loops.dtype != torch.int64 or loops.shape[1] < 1:
        raise ArgumentError(
            "loops", f"{loops.dtype} {list(loops.shape)}", "int64 [m, k]", "pass rows of tokens"
        )
    if loops.numel() and not 0 <= int(loops.min()) <= int(loops.max()) < count:
        raise ArgumentError(
            "loops",
            f"tokens {int(loops.min())} to {int(loops.max())}",
            f"0 to {count - 1}",
            "number tokens from 0",
        )
    here, there = loops, loops.roll(-1, 1)
    found = transports[..., here[:, 0], there[:, 0], :, :]
    for k in range(1, loops.shape[1]):
        found = found @ transports[..., here[:, k], there[:, k], :, :]
    return found


def holonomy_defect(
    transports: Float[Tensor, "*b n n r r"], loops: Int[Tensor, "m k"] | None = None
) -> Float[Tensor, "*b m"]:
    """|H - 1|, in the spectral norm, of the holonomy H of loops.

    Zero on all of them if and only if keys may be carried once and cached.

    Args:
        transports: U_ij, with U_ji = U_ij^(-1).
        loops: as in `loop_holonomy`; None takes the triangles (i, j, 0) with 0 < i < j, which are
            flat together only if all loops are.
    """
    if loops is None:
        count, _ = _sizes("transports", transports, 4)
        pairs = torch.combinations(torch.arange(1, count, device=transports.device), 2)
        loops = torch.nn.functional.pad(pairs, (0, 1))
    holonomy = loop_holonomy(transports, loops)
    identity = torch.eye(holonomy.shape[-1], dtype=holonomy.dtype, device=holonomy.device)
    defect: Tensor = torch.linalg.matrix_norm(holonomy - identity, ord=2)
    return defect


def frame_error_bound(
    transports: Float[Tensor, "*b n n r r"], root: int = 0
) -> Float[Tensor, "*b n n"]:
    """What one frame a tile costs: delta_ij = |U_ij - U_io U_oj|, in the spectral norm.

        |q_i^T U_ij k_j - (U_io^T q_i)^T (U_oj k_j)| <= delta_ij |q_i| |k_j|

    with U_oj k_j cached in the frame of the root o. Equality is met by some q and k. For isometric
    U delta_ij is the defect |H - 1| of the loop (i, o, j), since the spectral norm does not see the
    factor U_ij.

    Args:
        transports: U_ij of a tile's tokens.
        root: o.
    """
    count, _ = _sizes("transports", transports, 4)
    if not 0 <= root < count:
        raise ArgumentError("root", root, f"0 to {count - 1}", "pass a token of the tile")
    through = transports[..., :, None, root, :, :] @ transports[..., None, root, :, :, :]
    bound: Tensor = torch.linalg.matrix_norm(transports - through, ord=2)
    return bound


def plaquette_holonomy(
    right: Float[Tensor, "*b h w1 r r"], down: Float[Tensor, "*b h1 w r r"]
) -> Float[Tensor, "*b h1 w1 r r"]:
    """Around the squares of a grid of h by w tokens: right, down, left and up, from (y, x).

        H_yx = D_yx^(-1) R_(y+1)x^(-1) D_y(x+1) R_yx

    Args:
        right: R_yx from token (y, x) to (y, x + 1), with w1 = w - 1.
        down: D_yx from token (y, x) to (y + 1, x), with h1 = h - 1.
    """
    _check_grid(right, down)
    around = down[..., :, 1:, :, :] @ right[..., :-1, :, :, :]
    back = right[..., 1:, :, :, :] @ down[..., :, :-1, :, :]
    holonomy: Tensor = torch.linalg.solve(back, around)
    return holonomy


def grid_frame_error_bound(
    right: Float[Tensor, "*b h w1 r r"], down: Float[Tensor, "*b h1 w r r"]
) -> Float[Tensor, "*b"]:
    """The sum of |H_p - 1| over the squares of a grid, for isometric steps.

    Two routes between tokens differ by no more than this in the spectral norm, if no square is
    encircled more than once between them: the loop that they make is a product of squares' H_p,
    each carried to one token by an isometry g_p, and

        |g_1 H_1 g_1^(-1) ... g_k H_k g_k^(-1) - 1| <= |H_1 - 1| + ... + |H_k - 1|.

    So it bounds the error of scores, over |q| |k|, when a tile of the grid shares one frame. It is
    the discrete form of |holonomy - 1| <= integral of |F| over what the loop encircles.
    """
    _check_grid(right, down)
    for name, steps in (("right", right), ("down", down)):
        gram = steps.mH @ steps
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        defect = (gram - identity).detach().abs()
        if defect.numel() and not bool(defect.max() <= tolerance(defect)):
            raise ArgumentError(
                name,
                f"steps {float(defect.max()):.3g} away from isometries",
                "steps with S^H S = 1",
                "pass reflections or rotations",
            )
    holonomy = plaquette_holonomy(right, down)
    identity = torch.eye(holonomy.shape[-1], dtype=holonomy.dtype, device=holonomy.device)
    norms: Tensor = torch.linalg.matrix_norm(holonomy - identity, ord=2)
    return norms.sum((-2, -1))


def _sizes(name: str, matrices: Tensor, least: int) -> tuple[int, int]:
    """Tokens and fibre width of [*b, n, r, r] (least 3 axes) or [*b, n, n, r, r] (least 4)."""
    shape = matrices.shape
    square = matrices.dim() >= least and shape[-1] == shape[-2] > 0
    if not square or (least == 4 and shape[-3] != shape[-4]):
        wanted = "[..., n, r, r]" if least == 3 else "[..., n, n, r, r]"
        raise ArgumentError(name, f"shape {list(shape)}", wanted, "pass square matrices")
    if not bool(matrices.detach().isfinite().all()):
        raise ArgumentError(name, "NaN or infinity", "finite numbers", "leave such tokens out")
    return shape[-3], shape[-1]


def _check_grid(right: Tensor, down: Tensor) -> None:
    _sizes("right", right, 3)
    _sizes("down", down, 3)
    high, wide = right.shape[-4:-2] if right.dim() > 3 else (0, 0)
    if right.dim() < 4 or down.shape != (
        *right.shape[:-4],
        high - 1,
        wide + 1,
        *right.shape[-2:],
    ):
        raise ArgumentError(
            "down",
            f"shape {list(down.shape)} beside right {list(right.shape)}",
            "right [..., h, w - 1, r, r] and down [..., h - 1, w, r, r]",
            "pass one step a pair of neighbours",
        )
