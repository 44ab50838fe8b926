"""The first Brillouin zone: the wavevectors nearer to 0 than to other reciprocal lattice points."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .lattice import minkowski_reduced, reciprocal_lattice, whole_vectors


class BrillouinZone:
    """First Brillouin zone of a lattice in one, two or three dimensions.

    {k: k . G <= |G|^2 / 2 for every reciprocal lattice vector G}. The G that have a face are
    those that, with -G, are the only shortest vectors of their class modulo twice the lattice.
    Everything but the choice of faces is differentiable in the lattice.

    Args:
        lattice: primitive vectors of the crystal as rows, in any unit of length. Wavevectors are
            in radians a unit of length.

    Conway and Sloane, Sphere Packings, Lattices and Groups, 3rd edition (1999), chapter 21,
    theorem 10; Ashcroft and Mermin, Solid State Physics (1976), chapter 5.
    """

    def __init__(self, lattice: Float[Tensor, "n n"]) -> None:
        self.reciprocal: Tensor = minkowski_reduced(reciprocal_lattice(lattice)).basis
        self.normals: Float[Tensor, "f n"] = _relevant_vectors(self.reciprocal)

    @property
    def faces(self) -> int:
        """Number of faces (edges in the plane, ends of a chain's zone)."""
        return len(self.normals)

    def contains(
        self, wavevector: Float[Tensor, "*b n"], tolerance: float = 1e-9
    ) -> Bool[Tensor, "*b"]:
        """Whether k . G <= |G|^2 / 2 (1 + tolerance) for each face.

        Args:
            wavevector: k.
            tolerance: how far outside counts as inside, as a fraction of the way to a face.
        """
        self._check(wavevector)
        reach = self.normals.square().sum(-1) / 2
        inside: Tensor = (wavevector @ self.normals.mT <= reach * (1 + tolerance)).all(-1)
        return inside

    def fold(self, wavevector: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The shortest k - G: the same wave, told inside the zone.

        Args:
            wavevector: k.
        """
        self._check(wavevector)
        steps = torch.linalg.solve(self.reciprocal.mT, wavevector.detach()[..., None])[..., 0]
        near = wavevector - steps.round() @ self.reciprocal
        shifts = whole_vectors(len(self.reciprocal), 2).to(near) @ self.reciprocal
        images = near[..., None, :] - shifts
        best = images.detach().square().sum(-1).argmin(-1)
        index = best[..., None, None].expand(*best.shape, 1, images.shape[-1])
        folded: Tensor = images.gather(-2, index)[..., 0, :]
        return folded

    def number(self, wavevector: Float[Tensor, "*b n"]) -> Int[Tensor, "*b"]:
        """Number of the zone a wavevector lies in: 1 + how many G are nearer to it than 0 is.

        Args:
            wavevector: k. Zones beyond the first few need all G nearer than 2 |k|, which are
                counted one by one.
        """
        self._check(wavevector)
        reach = 2 * float(wavevector.detach().norm(dim=-1).max())
        inverse = torch.linalg.inv(self.reciprocal.detach())
        most = int(reach * float(inverse.norm(dim=0).max())) + 1
        points = whole_vectors(len(self.reciprocal), most).to(wavevector) @ self.reciprocal
        nearer = 2 * wavevector @ points.mT > points.square().sum(-1) * (1 + 1e-9)
        number: Tensor = 1 + nearer.sum(-1)
        return number

    def vertices(self) -> Float[Tensor, "v n"]:
        """Corners of the zone, each once: in the plane counterclockwise, on a line ascending."""
        size = len(self.reciprocal)
        sets = torch.tensor(list(combinations(range(self.faces), size)))
        # In primitive reciprocal vectors, where long and short ones are alike.
        inverse = torch.linalg.inv(self.reciprocal.detach())
        whole = (self.normals.detach() @ inverse).round()
        planes = self.normals[sets[torch.linalg.det(whole[sets]).abs() > 0.5]]
        corners = torch.linalg.solve(planes, planes.square().sum(-1, keepdim=True) / 2)[..., 0]
        corners = corners[(_beyond(corners, self.normals) <= 1).all(-1)]
        shares = corners.detach() @ inverse
        gaps = torch.cdist(shares, shares, compute_mode="donot_use_mm_for_euclid_dist")
        first = (gaps <= 1e-5).int().argmax(1)
        distinct: Tensor = corners[first.unique()]
        if size == 3:
            return distinct  # their order in the faces is told by `polygons`
        flat = distinct.detach()
        order = flat[:, 0] if size == 1 else torch.atan2(flat[:, 1], flat[:, 0])
        ordered: Tensor = distinct[order.argsort()]
        return ordered

    def polygons(self) -> list[Float[Tensor, "v n"]]:
        """The faces by their corners, in the order of `normals`, for drawing.

        In space each is [v, 3] with v >= 4, counterclockwise as seen from outside, its plane
        normal to `normals[i]`; v differs from face to face (of FCC 4 and 6). In the plane each is
        an edge [2, 2] that runs counterclockwise, on a line an end [1, 1].
        """
        corners = self.vertices()
        on_face = _beyond(corners, self.normals).abs() <= 1
        return [_polygon(corners[on_face[:, i]], self.normals[i]) for i in range(self.faces)]

    def volume(self) -> Float[Tensor, ""]:
        """Volume (area, length), summed over the pyramids from 0 to each face.

        It is (2 pi)^n / |det A|, which this does not use.
        """
        size = len(self.reciprocal)
        heights = self.normals.norm(dim=-1) / 2
        if size == 1:
            length: Tensor = heights.sum()
            return length
        pieces = [_measure(face) for face in self.polygons()]
        volume: Tensor = (torch.stack(pieces) * heights).sum() / size
        return volume

    def _check(self, wavevector: Tensor) -> None:
        size = len(self.reciprocal)
        if wavevector.dim() < 1 or wavevector.shape[-1] != size:
            raise ArgumentError(
                "wavevector", f"shape {list(wavevector.shape)}", f"[..., {size}]", "pass k"
            )
        if not bool(wavevector.detach().isfinite().all()):
            raise ArgumentError("wavevector", "NaN or infinity", "finite numbers", "pass k")


def _relevant_vectors(basis: Float[Tensor, "n n"]) -> Float[Tensor, "f n"]:
    """The G with a face; the basis is reduced, so that entries up to 2 reach the shortest."""
    whole = whole_vectors(len(basis), 2)
    lengths = (whole.to(basis) @ basis.detach()).square().sum(1)
    classes = whole.remainder(2) @ (2 ** torch.arange(len(basis)))
    eps = torch.finfo(basis.dtype).eps
    least = math.sqrt(eps) * lengths[lengths > 0].min()
    chosen = []
    for parity in range(1, 2 ** len(basis)):
        members = (classes == parity).nonzero().flatten()
        shortest = lengths[members].min()
        # Lengths that meet within rounding have no face between them.
        shortest_members = members[lengths[members] <= shortest * (1 + 64 * eps) + least]
        if len(shortest_members) == 2:
            chosen.append(shortest_members)
    relevant: Tensor = whole[torch.cat(chosen)].to(basis) @ basis
    return relevant


def _beyond(points: Float[Tensor, "v n"], normals: Float[Tensor, "f n"]) -> Tensor:
    """How far beyond each face [v, f], over what rounding and 1e-5 of the nearest face allow.

    Faces of long thin zones that are nearly parallel part by the square of the nearest one alone.
    """
    reach = normals.detach().square().sum(-1) / 2
    slack = 1e-5 * reach.min() + 64 * torch.finfo(reach.dtype).eps * reach
    return (points.detach() @ normals.detach().mT - reach) / slack


def _polygon(points: Float[Tensor, "v n"], normal: Float[Tensor, " n"]) -> Tensor:
    """Corners of the face across `normal`, counterclockwise as seen from outside."""
    if len(normal) == 1:
        return points
    flat, outward = points.detach(), normal.detach()
    arms = flat - flat.mean(0)
    if len(normal) == 2:
        along = arms @ torch.stack([-outward[1], outward[0]])
        return points[along.argsort()]
    second = torch.linalg.cross(outward / outward.norm(), arms[0])
    turn = torch.atan2(arms @ second, arms @ arms[0])
    return points[turn.argsort()]


def _measure(face: Float[Tensor, "v n"]) -> Float[Tensor, ""]:
    """Length of an edge, or area of a convex polygon by the fan around its centre."""
    if face.shape[1] == 2:
        length: Tensor = (face[0] - face[1]).norm()
        return length
    arms = face - face.mean(0)
    # The cross products point one way and add up.
    area: Tensor = (torch.linalg.cross(arms, arms.roll(-1, 0)).sum(0) / 2).norm()
    return area
