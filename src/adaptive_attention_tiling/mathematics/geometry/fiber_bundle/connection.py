"""Connections in one chart: gauge transformations, curvature, the Bianchi identity.

A connection is A = A_i dx^i with matrices A_i(x), as a function from coordinates [*p, n] to
[*p, n, r, r], the form's index first. Its covariant derivative of a section s is ds + A s.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Connection = Callable[[Tensor], Tensor]


def partials(function: Callable[[Tensor], Tensor], x: Float[Tensor, "*p n"]) -> Tensor:
    """d_i f(x), [*p, n, ...], of a function [*p, n] -> [*p, ...] that acts row by row.

    By forward mode with one direction a row of a vmap, so f must not branch on values. The
    derivative's axis comes after those of points.
    """
    basis = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    columns: Tensor = torch.func.vmap(lambda row: slope_along(function, x, row.expand_as(x))[1])(
        basis
    )
    return columns.movedim(0, x.dim() - 1)


def slope_along(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "*p n"], vector: Float[Tensor, "*p n"]
) -> tuple[Tensor, Tensor]:
    """f(x) and v^i d_i f(x)."""
    found = torch.func.jvp(function, (x.contiguous(),), (vector.contiguous(),))
    return found[0], found[1]


def along(components: Tensor, vector: Float[Tensor, "*p n"]) -> Tensor:
    """A(v) = A_i v^i, [*p, r, r], of components [*p, n, r, r]."""
    return torch.einsum("...i,...ijk->...jk", vector.to(components.dtype), components)


def gauge_transformed(connection: Connection, gauge: Callable[[Tensor], Tensor]) -> Connection:
    """The same connection in the frame in which sections are g s.

        A'_i = g A_i g^(-1) - (d_i g) g^(-1)

    Args:
        connection: A.
        gauge: g, [*p, n] -> [*p, r, r].

    Nakahara, Geometry, Topology and Physics (2003), section 10.1.3, whose t is our g^(-1).
    """

    def transformed(x: Tensor) -> Tensor:
        g = gauge(x)[..., None, :, :]
        moved: Tensor = (g @ connection(x) - partials(gauge, x)) @ torch.linalg.inv(g)
        return moved

    return transformed


def curvature_form(connection: Connection, x: Float[Tensor, "*p n"]) -> Tensor:
    """F = dA + A ^ A, as components [*p, n, n, r, r].

        F_ij = d_i A_j - d_j A_i + [A_i, A_j]

    Nakahara (2003), section 10.3.4.
    """
    a = connection(x)
    slopes = partials(connection, x)
    products = a[..., :, None, :, :] @ a[..., None, :, :, :]
    half = slopes + products
    return half - half.transpose(-4, -3)


def bianchi_form(connection: Connection, x: Float[Tensor, "*p n"]) -> Tensor:
    """dF + [A, F], as components [*p, n, n, n, r, r]; zero for every connection.

        (DF)_ijk = D_i F_jk + D_j F_ki + D_k F_ij,   D_i F = d_i F + [A_i, F]

    Nakahara (2003), section 10.3.5.
    """
    a = connection(x)[..., :, None, None, :, :]
    form = curvature_form(connection, x)[..., None, :, :, :, :]
    slopes = partials(lambda y: curvature_form(connection, y), x)
    one = slopes + a @ form - form @ a  # D_i F_jk
    cyclic = one.movedim((-5, -4, -3), (-4, -3, -5)) + one.movedim((-5, -4, -3), (-3, -5, -4))
    return one + cyclic
