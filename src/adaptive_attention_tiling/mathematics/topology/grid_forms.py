"""Differential forms on rectangular grids, whose axes may be circles or lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import pi, prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ArgumentError
from .cubical_complex import CubicalComplex
from .exterior_algebra import multi_indices, wedge_table
from .hodge import HodgeDecomposition


class GridForms:
    """Cochains of a grid in n dimensions: a k-form has a value for every k-dimensional cell.

    A k-form is a tensor [*b, C(n, k), N_1, ..., N_n]: for each increasing multi-index I the
    integrals over the cells that span the axes of I and start at the given point. On an axis that
    is a line the last point starts no cell; entries there are 0 in results and not read.
    The inner product is <a, b> = sum of a b (dual volume) / (volume), where the dual cell of a
    point has length h, and h / 2 at the ends of a line (so that nothing flows out).

    Args:
        shape: N_1 ... N_n, the points along each axis; 2 or more on a line.
        spacing: h_1 ... h_n > 0, [n]; gradients reach it.
        periodic: for each axis whether it is a circle; all are by default.

    Raises:
        ArgumentError: for another number of axes, no points, or a spacing that is not positive.

    Source: Hirani, Discrete Exterior Calculus (2003), chapters 3 and 4.
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Float[Tensor, " n"],
        periodic: Sequence[bool] | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self.periodic = tuple(periodic) if periodic is not None else (True,) * len(self.shape)
        self.spacing = spacing
        self.dimension = len(self.shape)
        least = [1 if wrap else 2 for wrap in self.periodic]
        if len(least) != self.dimension or not all(
            type(n) is int and n >= low for n, low in zip(self.shape, least, strict=False)
        ):
            raise ArgumentError(
                "shape",
                f"{list(self.shape)} with periodic {list(self.periodic)}",
                "a point or more on every circle, two on every line",
                "pass as many axes as flags",
            )
        if spacing.shape != (self.dimension,) or not bool((spacing > 0).all()):
            raise ArgumentError(
                "spacing",
                f"{spacing.tolist()}",
                f"{self.dimension} numbers > 0",
                "pass a step an axis",
            )

    def cells(self, degree: int) -> Bool[Tensor, "*cells"]:
        """Which entries of a k-form are cells."""
        masks = [self._component_cells(index) for index in self._indices(degree)]
        return torch.stack(masks) if masks else torch.zeros(0, *self.shape, dtype=torch.bool)

    def weights(self, degree: int) -> Float[Tensor, "*cells"]:
        """(dual volume) / (volume) of each cell, the diagonal Hodge star; > 0 everywhere."""
        return torch.stack([self._component_weights(index) for index in self._indices(degree)])

    def inner(
        self, first: Float[Tensor, "*b c *s"], second: Float[Tensor, "*b c *s"], degree: int
    ) -> Float[Tensor, "*b"]:
        """<a, b>, the integral of a wedge star b."""
        product = self._checked(first, degree) * self._checked(second, degree)
        return (product * self.weights(degree)).flatten(-self.dimension - 1).sum(-1)

    def derivative(self, form: Float[Tensor, "*b c *s"], degree: int) -> Float[Tensor, "*b d *s"]:
        """(d f)(cell) = f(boundary of the cell), of degree k + 1; d d = 0 exactly in integers."""
        form = self._checked(form, degree)
        steps = torch.stack([form.roll(-1, axis) - form for axis in self._axes], -1)
        table = wedge_table(self.dimension, 1, degree).to(form)
        moved = steps.movedim(-self.dimension - 2, -1)
        result = torch.einsum("...ji,jik->...k", moved, table).movedim(-1, -self.dimension - 1)
        return result * self.cells(degree + 1)

    def codifferential(
        self, form: Float[Tensor, "*b c *s"], degree: int
    ) -> Float[Tensor, "*b d *s"]:
        """delta, with <d a, f> = <a, delta f>, of degree k - 1."""
        if degree == 0:
            raise ArgumentError("degree", 0, "1 or more", "delta of a function is 0")
        weighted = self._checked(form, degree) * self.weights(degree)
        steps = torch.stack([weighted.roll(1, axis) - weighted for axis in self._axes], -1)
        table = wedge_table(self.dimension, 1, degree - 1).to(form)
        moved = steps.movedim(-self.dimension - 2, -1)
        result = torch.einsum("...jk,jik->...i", moved, table).movedim(-1, -self.dimension - 1)
        return result / self.weights(degree - 1) * self.cells(degree - 1)

    def star(self, form: Float[Tensor, "*b c *s"], degree: int) -> Float[Tensor, "*b d *s"]:
        """The integrals of star f over the dual cells, a dual form of degree n - k.

        Component J of the result, at the cell that is dual to a cell of component I (the
        complement of J), is sign(I, J) (dual volume) / (volume) f; `unstar` undoes it.
        """
        weighted = self._checked(form, degree) * self.weights(degree)
        return self._complement(weighted, degree)

    def unstar(self, dual: Float[Tensor, "*b d *s"], degree: int) -> Float[Tensor, "*b c *s"]:
        """The k-form f with star f = dual."""
        table = wedge_table(self.dimension, degree, self.dimension - degree)[..., 0].to(dual)
        moved = dual.movedim(-self.dimension - 1, -1)
        weighted = (moved @ table.mT).movedim(-1, -self.dimension - 1)
        return weighted / self.weights(degree) * self.cells(degree)

    def laplacian(self, form: Float[Tensor, "*b c *s"], degree: int) -> Float[Tensor, "*b c *s"]:
        """(d delta + delta d) f; on a torus the second differences of each component."""
        total = torch.zeros_like(form)
        if degree > 0:
            total = total + self.derivative(self.codifferential(form, degree), degree - 1)
        if degree < self.dimension:
            total = total + self.codifferential(self.derivative(form, degree), degree + 1)
        return total

    def eigenvalues(self, degree: int) -> Float[Tensor, " cells"]:
        """The spectrum of the Laplacian on k-forms, ascending, in closed form.

        A sum over the axes of (2 - 2 cos t) / h^2, with t = 2 pi m / N on a circle (m = 0 ...
        N - 1) and t = pi m / (N - 1) on a line (m from 0 across a component, from 1 along it).
        """
        found = []
        for index in self._indices(degree):
            total = self.spacing.new_zeros(())
            for axis, (count, wrap) in enumerate(zip(self.shape, self.periodic, strict=True)):
                first = 0 if wrap or axis not in index else 1
                modes = torch.arange(first, count).to(self.spacing)
                angles = 2 * pi * modes / count if wrap else pi * modes / (count - 1)
                values = (2 - 2 * angles.cos()) / self.spacing[axis].square()
                total = total[..., None] + values
            found.append(total.flatten())
        return torch.cat(found).sort().values

    def decompose(self, form: Float[Tensor, "*b c *s"], degree: int) -> HodgeDecomposition:
        """The Hodge decomposition on a torus, by fast Fourier transforms.

        G solves L G f = f - (mean of f); the parts are d delta G f, delta d G f and the mean.

        Raises:
            ArgumentError: where an axis is a line; `HodgeComplex` of the cubical complex with
                these weights decomposes there.
        """
        if not all(self.periodic):
            raise ArgumentError(
                "periodic", list(self.periodic), "circles only", "use HodgeComplex on lines"
            )
        axes = tuple(range(-self.dimension, 0))
        form = self._checked(form, degree)
        spectrum = torch.fft.fftn(form, dim=axes) * self._inverse_symbol
        none = form.narrow(-self.dimension - 1, 0, 0)
        green = torch.fft.ifftn(spectrum, dim=axes).real
        potential = self.codifferential(green, degree) if degree else none
        copotential = none
        exact = coexact = torch.zeros_like(form)
        if degree:
            exact = self.derivative(potential, degree - 1)
        if degree < self.dimension:
            copotential = self.derivative(green, degree)
            coexact = self.codifferential(copotential, degree + 1)
        harmonic = form.mean(axes, keepdim=True).expand_as(form)
        return HodgeDecomposition(exact, coexact, harmonic, potential, copotential)

    def cubical_complex(self) -> CubicalComplex:
        """The cells of the grid as a complex."""
        return CubicalComplex.of_grid(self.shape, self.periodic)

    def cochain(self, form: Float[Tensor, "*b c *s"], degree: int) -> Float[Tensor, "*b cells"]:
        """The values of a k-form in the order of the k-cells of `cubical_complex`."""
        form = self._checked(form, degree)
        places = {index: place for place, index in enumerate(self._indices(degree))}
        strides = [prod(self.shape[axis + 1 :]) for axis in range(-1, self.dimension)]
        rows = [
            (places[tuple(a for a, entry in enumerate(cube) if entry % 2)], *(e // 2 for e in cube))
            for cube in self.cubical_complex().cubes(degree).tolist()
        ]
        numbers = (torch.tensor(rows, dtype=torch.int64) * torch.tensor(strides)).sum(1)
        return form.flatten(-self.dimension - 1)[..., numbers]

    @property
    def _axes(self) -> range:
        return range(-self.dimension, 0)

    @cached_property
    def _inverse_symbol(self) -> Tensor:
        symbol = self.spacing.new_zeros(())
        for axis, count in enumerate(self.shape):
            angles = 2 * pi * torch.arange(count).to(self.spacing) / count
            values = (2 - 2 * angles.cos()) / self.spacing[axis].square()
            symbol = symbol[..., None] + values
        constant = symbol == 0
        return torch.where(constant, 0.0, 1 / torch.where(constant, 1.0, symbol))

    def _indices(self, degree: int) -> tuple[tuple[int, ...], ...]:
        return multi_indices(self.dimension, degree)

    def _component_cells(self, index: tuple[int, ...]) -> Tensor:
        mask = torch.ones(self.shape, dtype=torch.bool)
        for axis in index:
            if not self.periodic[axis]:
                mask.select(axis, self.shape[axis] - 1).fill_(False)
        return mask

    def _component_weights(self, index: tuple[int, ...]) -> Tensor:
        total = self.spacing.new_ones(())
        for axis, count in enumerate(self.shape):
            step = self.spacing[axis]
            lengths = (1 / step if axis in index else step).expand(count)
            if axis not in index and not self.periodic[axis]:
                ends = torch.ones_like(lengths)
                ends[0] = ends[-1] = 0.5
                lengths = lengths * ends
            total = total[..., None] * lengths
        return total

    def _complement(self, form: Tensor, degree: int) -> Tensor:
        table = wedge_table(self.dimension, degree, self.dimension - degree)[..., 0].to(form)
        return (form.movedim(-self.dimension - 1, -1) @ table).movedim(-1, -self.dimension - 1)

    def _checked(self, form: Tensor, degree: int) -> Tensor:
        expected = (len(self._indices(degree)), *self.shape)
        if not 0 <= degree <= self.dimension or form.shape[-self.dimension - 1 :] != expected:
            raise ArgumentError(
                "form",
                f"shape {list(form.shape)} in degree {degree}",
                f"[..., {', '.join(map(str, expected))}], degree 0 to {self.dimension}",
                "give a value to every cell",
            )
        return torch.where(self.cells(degree), form, 0.0)
