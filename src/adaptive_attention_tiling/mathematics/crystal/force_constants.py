"""Vibrations of a crystal with any atoms in its cell, from its force constants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .band_derivatives import band_velocities
from .lattice import check_lattice
from .phonons import PhononSpectrum, phonon_modes, signed_root
from .springs import check_positions, neighbour_bonds, spring_matrices


class ForceConstants:
    """Phi_(i a)(j b)(R), second derivatives of the energy by displacements of (0, i) and (R, j).

    The force on atom i along a is -sum Phi_(i a)(j b)(R) u_(j b)(R). Both (i, j, R) and (j, i, -R)
    are listed, the second transposed, and (i, i, 0) as well: `springs` does all of it.

    Args:
        lattice: primitive vectors [n, n] as rows.
        positions: of the m atoms, as fractions of the primitive vectors.
        masses: M [m].
        first: i [p].
        second: j [p].
        cells: R [p, n] in primitive vectors.
        matrices: Phi [p, n, n], in units of force a length.

    Raises:
        ArgumentError: a pair listed twice, or whose opposite is missing or not the transposed.

    Born and Huang, Dynamical Theory of Crystal Lattices (1954), section 23; Maradudin, Montroll
    and Weiss, Theory of Lattice Dynamics in the Harmonic Approximation (1963), chapter 2.
    """

    def __init__(
        self,
        lattice: Float[Tensor, "n n"],
        positions: Float[Tensor, "m n"],
        masses: Float[Tensor, " m"],
        first: Int[Tensor, " p"],
        second: Int[Tensor, " p"],
        cells: Int[Tensor, "p n"],
        matrices: Float[Tensor, "p n n"],
    ) -> None:
        check_lattice(lattice)
        check_positions(lattice, positions)
        _check_masses(masses, len(positions))
        _check_pairs(len(positions), len(lattice), first, second, cells, matrices)
        self.lattice, self.positions, self.masses = lattice, positions, masses
        self.first, self.second, self.cells, self.matrices = first, second, cells, matrices

    @classmethod
    def springs(
        cls,
        lattice: Float[Tensor, "n n"],
        positions: Float[Tensor, "m n"],
        masses: Float[Tensor, " m"] | Sequence[float],
        central: Float[Tensor, " s"] | Sequence[float],
        transverse: Float[Tensor, " s"] | Sequence[float] = (),
    ) -> ForceConstants:
        """Springs between all atoms at the s shortest distances; a shift of all costs nothing.

        Args:
            lattice: primitive vectors as rows.
            positions: of the atoms, as fractions of the primitive vectors.
            masses: M.
            central: C along bonds, one for each distance, shortest first.
            transverse: T across them, if any, as many.
        """
        stiff = torch.as_tensor(central, dtype=lattice.dtype, device=lattice.device)
        soft = torch.as_tensor(transverse, dtype=lattice.dtype, device=lattice.device)
        soft = soft if len(soft) else torch.zeros_like(stiff)
        if stiff.dim() != 1 or stiff.shape != soft.shape:
            raise ArgumentError(
                "transverse",
                f"shape {list(soft.shape)} for central of {list(stiff.shape)}",
                "one number for each distance in both",
                "pass equal lengths",
            )
        bonds = neighbour_bonds(lattice, positions, len(stiff))
        matrices = spring_matrices(bonds.vectors, stiff[bonds.shell], soft[bonds.shell])
        each = torch.arange(len(positions), device=lattice.device)
        zero = bonds.cells.new_zeros(len(positions), len(lattice))
        made = cls(
            lattice,
            positions,
            torch.as_tensor(masses, dtype=lattice.dtype, device=lattice.device),
            torch.cat([bonds.first, each]),
            torch.cat([bonds.second, each]),
            torch.cat([bonds.cells, zero]),
            torch.cat([matrices, matrices.new_zeros(len(positions), *matrices.shape[1:])]),
        )
        return made.with_sum_rule()

    def sum_rule(self) -> Float[Tensor, "m n n"]:
        """sum over j, R of Phi_(i a)(j b)(R): the force on atom i when the crystal is shifted.

        It is 0 of true force constants: a shift of the whole crystal costs no energy.
        """
        none = self.matrices.new_zeros(len(self.positions), *self.matrices.shape[1:])
        total: Tensor = none.index_add(0, self.first, self.matrices)
        return total

    def with_sum_rule(self) -> ForceConstants:
        """The same with Phi_(i a)(i b)(0) such that `sum_rule` is 0.

        Raises:
            ArgumentError: no (i, i, 0) to change; or the rest of the sum is not symmetric, so that
                no symmetric one brings it to 0.
        """
        own = (self.first == self.second) & ~self.cells.any(1)
        missing = set(range(len(self.positions))) - set(self.first[own].tolist())
        if missing:
            raise ArgumentError(
                "matrices", f"none of atoms {sorted(missing)} on themselves", "(i, i, 0)", "list 0"
            )
        change = self.sum_rule()[self.first[own]]
        matrices = self.matrices.index_add(0, own.nonzero()[:, 0], -change)
        return ForceConstants(
            self.lattice,
            self.positions,
            self.masses,
            self.first,
            self.second,
            self.cells,
            matrices,
        )

    def dynamical_matrix(self, wavevector: Float[Tensor, "*b n"]) -> Tensor:
        """D_(i a)(j b)(q) = sum_R Phi_(i a)(j b)(R) exp(i q . (R + x_j - x_i)) / sqrt(M_i M_j).

        Complex Hermitian [*b, m n, m n], atoms outside, axes inside; D(-q) is its conjugate. Its
        eigenvalues are squared angular frequencies, periodic in the reciprocal lattice, though D
        itself takes phases exp(i G . x).

        Args:
            wavevector: q, in radians a unit of length.
        """
        size, count = len(self.lattice), len(self.positions)
        if wavevector.dim() < 1 or wavevector.shape[-1] != size:
            raise ArgumentError(
                "wavevector", f"shape {list(wavevector.shape)}", f"[..., {size}]", "pass q"
            )
        if not bool(wavevector.detach().isfinite().all()):
            raise ArgumentError("wavevector", "NaN or infinity", "finite numbers", "pass q")
        steps = self.positions[self.second] - self.positions[self.first]
        angle = wavevector @ ((steps + self.cells.to(steps)) @ self.lattice).mT
        scale = (self.masses[self.first] * self.masses[self.second]).rsqrt()
        waves = torch.complex(angle.cos(), angle.sin())[..., None, None] * (
            self.matrices * scale[:, None, None]
        )
        pairs = waves.new_zeros(*angle.shape[:-1], count * count, size, size)
        pairs = pairs.index_add(-3, self.first * count + self.second, waves)
        matrix: Tensor = pairs.unflatten(-3, (count, count)).transpose(-3, -2).flatten(-2)
        return matrix.flatten(-3, -2)

    def modes(self, wavevector: Float[Tensor, "*b n"]) -> PhononSpectrum:
        """Frequencies and polarisations, as `phonon_modes` tells: negative where unstable."""
        return phonon_modes(self.dynamical_matrix(wavevector))

    def velocities(
        self, wavevector: Float[Tensor, " n"], direction: Float[Tensor, " n"]
    ) -> Float[Tensor, " branches"]:
        """d omega / ds along q + s u for each branch, ascending within those that meet at q.

        Args:
            wavevector: q, one point.
            direction: u; pass a unit vector.

        Raises:
            ArgumentError: a frequency is 0 there, as at q = 0, where |q| has no slope; ask
                `sound_speeds`.
        """
        squares = torch.linalg.eigvalsh(self.dynamical_matrix(wavevector))
        span = float(squares.detach().abs().max())
        if bool((squares.detach().abs() <= 1e-10 * span).any()):
            raise ArgumentError(
                "wavevector", "a frequency of 0", "none", "ask sound_speeds(direction) at q = 0"
            )
        slopes = band_velocities(self.dynamical_matrix, wavevector, direction, 1e-9 * span)
        velocities: Tensor = slopes / (2 * squares.abs().sqrt())
        return velocities

    def sound_speeds(self, direction: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """omega / |q| of the acoustic branches as q -> 0 along u, ascending, negative if unstable.

        With D(s u) = D_0 + s D_1 + s^2 D_2 / 2 and P the shifts of the whole crystal, their
        squares are the eigenvalues of P^T (D_2 / 2 - D_1 D_0^+ D_1) P: exact, no small step.

        Args:
            direction: u; its length scales the result, so pass a unit vector.

        Raises:
            ArgumentError: the sum rule does not hold, so nothing is acoustic.

        Born and Huang (1954), section 26.
        """
        largest = float(self.matrices.detach().abs().max())
        if float(self.sum_rule().detach().abs().max()) > 1e-6 * largest:
            raise ArgumentError(
                "matrices", "a shift that costs energy", "the sum rule", "call with_sum_rule()"
            )

        def along(step: Tensor) -> Tensor:
            return self.dynamical_matrix(step * direction)

        def slope(step: Tensor) -> Tensor:
            moved: Tensor = torch.func.jvp(along, (step,), (torch.ones_like(step),))[1]
            return moved

        zero = torch.zeros((), dtype=self.lattice.dtype, device=self.lattice.device)
        still, first = along(zero), slope(zero)
        second: Tensor = torch.func.jvp(slope, (zero,), (torch.ones_like(zero),))[1]
        weights = (self.masses / self.masses.sum()).sqrt()
        unit = torch.eye(len(self.lattice), dtype=weights.dtype, device=weights.device)
        shifts = torch.kron(weights[:, None], unit).to(still)
        # D_0 with the shifts made stiff has the inverse of D_0 on all else.
        stiff = still + largest / self.masses.mean() * shifts @ shifts.mH
        moved = first @ shifts
        squares = shifts.mH @ second @ shifts / 2 - moved.mH @ torch.linalg.solve(stiff, moved)
        speeds: Tensor = signed_root(torch.linalg.eigvalsh((squares + squares.mH) / 2))
        return speeds


def _check_masses(masses: Tensor, count: int) -> None:
    if masses.shape != (count,):
        raise ArgumentError("masses", f"shape {list(masses.shape)}", f"[{count}]", "one an atom")
    if not bool(((masses.detach() > 0) & masses.detach().isfinite()).all()):
        raise ArgumentError("masses", masses.tolist(), "numbers > 0", "pass masses of atoms")


def _check_pairs(
    count: int, size: int, first: Tensor, second: Tensor, cells: Tensor, matrices: Tensor
) -> None:
    pairs = len(matrices)
    shapes = [list(part.shape) for part in (first, second, cells, matrices)]
    if shapes != [[pairs], [pairs], [pairs, size], [pairs, size, size]] or not pairs:
        raise ArgumentError(
            "matrices", f"shapes {shapes}", f"[p], [p], [p, {size}], [p, {size}, {size}]", "match"
        )
    ends = torch.stack([first, second])
    if int(ends.min()) < 0 or int(ends.max()) >= count:
        raise ArgumentError("first", ends.unique().tolist(), f"atoms 0 to {count - 1}", "count so")
    if not bool(matrices.detach().isfinite().all()):
        raise ArgumentError("matrices", "NaN or infinity", "finite numbers", "pass Phi")
    rows = torch.cat([ends.T, cells], 1).tolist()
    place = {tuple(row): index for index, row in enumerate(rows)}
    back = [place.get((j, i, *(-c for c in cell)), -1) for i, j, *cell in rows]
    if len(place) < pairs or -1 in back:
        raise ArgumentError(
            "cells", "a pair listed twice or from one end only", "(i, j, R) and (j, i, -R)", "list"
        )
    error = (matrices - matrices[back].mT).detach().abs()
    if bool((error > 1e-6 * matrices.detach().abs().max()).any()):
        raise ArgumentError(
            "matrices",
            "force constants that differ from their transposed of the opposite pair",
            "Phi_(i a)(j b)(R) = Phi_(j b)(i a)(-R), by which action is reaction",
            "average both",
        )
