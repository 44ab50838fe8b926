"""Smooth differential forms on R^n, given as functions of the point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .exterior_algebra import (
    check_components,
    compound,
    contraction,
    star_components,
    wedge_components,
    wedge_table,
)

PointFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DifferentialForm:
    """w(x) = sum over I of w_I(x) e^I, a k-form on R^n or an open part of it.

    Args:
        degree: k.
        dimension: n.
        function: points [*b, n] -> components [*b, C(n, k)] in the order of increasing
            multi-indices; any differentiable torch function of each point alone, without
            branches on values. A 0-form keeps a last axis of size 1.

    Source: Lee, Introduction to Smooth Manifolds (2013), chapter 14.
    """

    degree: int
    dimension: int
    function: PointFunction

    def __post_init__(self) -> None:
        if self.degree < 0 or self.dimension < 1:
            raise ArgumentError(
                "degree",
                f"{self.degree} on R^{self.dimension}",
                "degree >= 0 on R^n with n >= 1",
                "pass the number of indices",
            )

    def __call__(self, points: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """The components at each point."""
        if points.dim() < 1 or points.shape[-1] != self.dimension:
            raise ArgumentError(
                "points", f"shape {list(points.shape)}", f"[..., {self.dimension}]", "use R^n"
            )
        components = self.function(points)
        check_components("function", components, self.dimension, self.degree)
        return components

    def __add__(self, other: DifferentialForm) -> DifferentialForm:
        """The sum of two forms of one degree."""
        _check_alike(self, other)
        return self._with(lambda x: self(x) + other(x))

    def __sub__(self, other: DifferentialForm) -> DifferentialForm:
        """The difference of two forms of one degree."""
        return self + (-1.0) * other

    def __rmul__(self, factor: float | Tensor) -> DifferentialForm:
        """A constant times the form."""
        return self._with(lambda x: factor * self(x))

    def _with(self, function: PointFunction) -> DifferentialForm:
        return DifferentialForm(self.degree, self.dimension, function)


def wedge(first: DifferentialForm, second: DifferentialForm) -> DifferentialForm:
    """a wedge b = (-1)^{pq} b wedge a, of degree p + q; a 0-form multiplies."""
    if first.dimension != second.dimension:
        raise _other_space(first, second)
    p, q, n = first.degree, second.degree, first.dimension
    return DifferentialForm(p + q, n, lambda x: wedge_components(first(x), second(x), n, p, q))


def exterior_derivative(form: DifferentialForm) -> DifferentialForm:
    """dw = sum over j and I of d w_I / d x^j  e^j wedge e^I.

    d d = 0, and d(a wedge b) = da wedge b + (-1)^p a wedge db. Derivatives are exact, by reverse
    differentiation, and can be differentiated again in the points and in parameters.

    Source: Lee (2013), theorem 14.24.
    """
    k, n = form.degree, form.dimension

    def function(points: Tensor) -> Tensor:
        table = wedge_table(n, 1, k).to(points)
        return torch.einsum("...ij,jik->...k", _jacobian(form, points), table)

    return DifferentialForm(k + 1, n, function)


def pullback(map_: PointFunction, form: DifferentialForm, dimension: int) -> DifferentialForm:
    """(f^* w)_I(x) = sum over J of w_J(f(x)) det(d f^J / d x^I); d f^* = f^* d.

    Args:
        map_: f, points [*b, m] -> points [*b, n].
        form: w on R^n.
        dimension: m.
    """

    def function(points: Tensor) -> Tensor:
        minors = compound(_jacobian(map_, points), form.degree)
        return (form(map_(points))[..., None, :] @ minors)[..., 0, :]

    return DifferentialForm(form.degree, dimension, function)


def interior_product(field: PointFunction, form: DifferentialForm) -> DifferentialForm:
    """(i_X w)_I = sum_j X^j w_{jI}, of degree k - 1.

    Args:
        field: X, points [*b, n] -> vectors [*b, n].
        form: w, of degree 1 or more.
    """
    if form.degree == 0:
        raise ArgumentError("form", "degree 0", "degree >= 1", "the product with a function is 0")
    k = form.degree
    return DifferentialForm(k - 1, form.dimension, lambda x: contraction(field(x), form(x), k))


def lie_derivative(field: PointFunction, form: DifferentialForm) -> DifferentialForm:
    """L_X w = i_X dw + d i_X w, the change of w along the flow of X (Cartan's formula).

    Source: Lee (2013), theorem 14.35.
    """
    along = interior_product(field, exterior_derivative(form))
    if form.degree == 0:
        return along
    return along + exterior_derivative(interior_product(field, form))


def hodge_star(form: DifferentialForm, metric: PointFunction | Tensor) -> DifferentialForm:
    """a wedge star b = <a, b> sqrt(det g) e^1 wedge ... wedge e^n, of degree n - k.

    Args:
        form: b.
        metric: g_ij, a symmetric positive definite [n, n], or points [*b, n] -> [*b, n, n].

    Raises:
        ArgumentError: where the metric is not positive definite.
    """
    k, n = form.degree, form.dimension
    g = _metric_function(metric)
    return DifferentialForm(n - k, n, lambda x: star_components(form(x), k, g(x)))


def codifferential(form: DifferentialForm, metric: PointFunction | Tensor) -> DifferentialForm:
    """delta = (-1)^{n(k+1)+1} star d star, the adjoint of d: <d a, b> = <a, delta b>.

    On a 1-form it is minus the divergence. Source: Jost, Riemannian Geometry and Geometric
    Analysis (2017), section 3.3.
    """
    if form.degree == 0:
        raise ArgumentError("form", "degree 0", "degree >= 1", "delta of a function is 0")
    sign = (-1.0) ** (form.dimension * (form.degree + 1) + 1)
    return sign * hodge_star(exterior_derivative(hodge_star(form, metric)), metric)


def laplacian(form: DifferentialForm, metric: PointFunction | Tensor) -> DifferentialForm:
    """The Hodge Laplacian d delta + delta d >= 0; minus Laplace-Beltrami on functions."""
    result = codifferential(exterior_derivative(form), metric)
    if form.degree == 0:
        return result
    return result + exterior_derivative(codifferential(form, metric))


def integrate(
    form: DifferentialForm,
    chart: PointFunction,
    lower: Float[Tensor, " k"],
    upper: Float[Tensor, " k"],
    order: int = 12,
) -> Float[Tensor, ""]:
    """The integral of w over the image of a box, by Gauss-Legendre points along each side.

    Args:
        form: a k-form on R^n.
        chart: the parametrisation, points [*b, k] of the box -> points [*b, n].
        lower, upper: the corners of the box, [k].
        order: points a side; exact for polynomials of degree 2 order - 1 in each parameter.
    """
    if lower.shape != (form.degree,) or upper.shape != lower.shape or form.degree < 1:
        raise ArgumentError(
            "lower",
            f"shapes {list(lower.shape)} and {list(upper.shape)}",
            f"[{form.degree}], one side a degree of the form",
            "integrate a k-form over k parameters",
        )
    nodes, weights = (
        torch.from_numpy(values).to(lower) for values in numpy.polynomial.legendre.leggauss(order)
    )
    k, half = form.degree, (upper - lower) / 2
    grids = torch.meshgrid(*[nodes] * k, indexing="ij")
    points = lower + half * (1 + torch.stack(grids, -1).reshape(-1, k))
    factors = prod(torch.meshgrid(*[weights] * k, indexing="ij"), start=torch.ones_like(half[0]))
    values = pullback(chart, form, k)(points)[:, 0]
    return (values * factors.reshape(-1)).sum() * half.prod()


def _jacobian(function: PointFunction, points: Tensor) -> Tensor:
    """d f_i / d x^j at each point, [*b, i, j]."""
    flat = points.reshape(-1, points.shape[-1])
    result = torch.func.vmap(torch.func.jacrev(function))(flat)
    jacobian: Tensor = result.reshape(*points.shape[:-1], *result.shape[1:])
    return jacobian


def _metric_function(metric: PointFunction | Tensor) -> PointFunction:
    if isinstance(metric, Tensor):
        return lambda points: metric.expand(*points.shape[:-1], *metric.shape)
    return metric


def _check_alike(first: DifferentialForm, second: DifferentialForm) -> None:
    if first.dimension != second.dimension or first.degree != second.degree:
        raise _other_space(first, second)


def _other_space(first: DifferentialForm, second: DifferentialForm) -> ArgumentError:
    return ArgumentError(
        "second",
        f"degree {second.degree} on R^{second.dimension}",
        f"a form like the first, degree {first.degree} on R^{first.dimension}",
        "pull one of them back",
    )
