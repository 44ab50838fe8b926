"""Wilson's lattice gauge fields of Z2, U(1) and SU(2), drawn by heat bath.

Group elements are unit vectors: of the real numbers (Z2), the complex numbers (U(1)) or the
quaternions (SU(2)); Re tr U / n is the first component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ArgumentError

GaugeGroup = Literal["Z2", "U(1)", "SU(2)"]
_WIDTHS = {"Z2": 1, "U(1)": 2, "SU(2)": 4}


@dataclass(frozen=True)
class GaugeField:
    """Links U_a(x), from x to x + a, with weight exp(b sum_p Re tr U_p / n) and Haar's measure.

        U_p = U_a(x) U_c(x + a) U_a(x + c)^-1 U_c(x)^-1

    In two dimensions the mean is `plaquette`, up to the power of the lattice's area.

    Args:
        shape: of the lattice, two dimensions or more, all lengths even; ends are joined.
        coupling: b >= 0.
        group: of the links.

    Montvay and Münster, Quantum Fields on a Lattice (1994), section 3.2.
    """

    shape: tuple[int, ...]
    coupling: float
    group: GaugeGroup = "U(1)"

    def __post_init__(self) -> None:
        if len(self.shape) < 2 or min(self.shape) < 2 or any(n % 2 for n in self.shape):
            raise ArgumentError("shape", self.shape, "two or more even lengths", "pass (8, 8)")
        if not 0 <= self.coupling < math.inf:
            raise ArgumentError("coupling", self.coupling, "a number >= 0", "pass coupling=1.0")
        if self.group not in _WIDTHS:
            raise ArgumentError("group", self.group, "Z2, U(1) or SU(2)", "choose one of them")

    def plaquettes(self, links: Float[Tensor, "*b d *x k"]) -> Float[Tensor, "*b p *x"]:
        """Re tr U_p / n for each pair of directions a < c, in their order."""
        return self.wilson_loops(links, 1, 1)

    def wilson_loops(
        self, links: Float[Tensor, "*b d *x k"], length: int, width: int
    ) -> Float[Tensor, "*b p *x"]:
        """Re tr / n of the product around rectangles, for each pair of directions a < c.

        In two dimensions the mean is that of a plaquette to the power length x width.

        Args:
            links: unit vectors, the direction before the place.
            length: along a.
            width: along c.

        Wilson, Confinement of quarks (1974).
        """
        parts = self._directions(links)
        if length < 1 or width < 1:
            raise ArgumentError("length", f"{length} x {width}", "at least 1 x 1", "pass 1, 1")
        found = []
        for a, c in combinations(range(len(self.shape)), 2):
            long, short = self._line(parts[a], a, length), self._line(parts[c], c, width)
            there = multiplied(long, self._shifted(short, a, length))
            back = multiplied(short, self._shifted(long, c, width))
            found.append((there * back).sum(-1))  # the first component of there back^-1
        return torch.stack(found, -1 - len(self.shape))

    def action(self, links: Float[Tensor, "*b d *x k"]) -> Float[Tensor, "*b"]:
        """S = -b sum_p Re tr U_p / n."""
        seen = self.plaquettes(links)
        return -self.coupling * seen.flatten(-1 - len(self.shape)).sum(-1)

    def sample(
        self,
        *,
        chains: int = 32,
        draws: int = 100,
        burn_in: int = 20,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "c n d *x k"]:
        """Links of independent chains, from random ones; a draw is one sweep over all links.

        Links of one direction and one parity of places do not see each other and are drawn at once.
        At strong b (20, say) chains of Z2 and U(1) stay caught in the vortices of their start, and
        no error bar tells; those of SU(2) do not.

        Args:
            chains: run at once.
            draws: kept of each chain.
            burn_in: left out before.
            dtype: float64 or float32.
            generator: of random numbers.

        Creutz, Monte Carlo study of quantized SU(2) gauge theory (1980).
        """
        for name, value, least in (
            ("chains", chains, 1),
            ("draws", draws, 1),
            ("burn_in", burn_in, 0),
        ):
            if value < least:
                raise ArgumentError(name, value, f"at least {least}", f"pass {name}=32")
        count, width = len(self.shape), _WIDTHS[self.group]
        start = torch.randn(chains, count, *self.shape, width, dtype=dtype, generator=generator)
        parts = list((start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)).unbind(1))
        place = sum(torch.meshgrid(*map(torch.arange, self.shape), indexing="ij"), torch.tensor(0))
        kept = []
        for sweep in range(burn_in + draws):
            for a, parity in product(range(count), (0, 1)):
                even = place % 2 == parity
                fresh = drawn_around(self.coupling * self._pull(parts, a)[:, even], generator)
                parts[a] = _replaced(parts[a], even, fresh)
            if sweep >= burn_in:
                kept.append(torch.stack(parts, 1))
        return torch.stack(kept, 1)

    def _pull(self, parts: list[Tensor], a: int) -> Tensor:
        """A with S = -b <U_a, A> + what does not depend on U_a: the sum of staples, turned."""
        total = torch.zeros_like(parts[a])
        for c in range(len(parts)):
            if c == a:
                continue
            ahead = self._shifted(parts[c], a, 1)
            above = multiplied(multiplied(parts[c], self._shifted(parts[a], c, 1)), inverse(ahead))
            below = multiplied(multiplied(inverse(parts[c]), parts[a]), ahead)
            total = total + above + self._shifted(below, c, -1)
        return total

    def _line(self, part: Tensor, axis: int, length: int) -> Tensor:
        """U(x) U(x + a) ... of some links in a row."""
        found = part
        for k in range(1, length):
            found = multiplied(found, self._shifted(part, axis, k))
        return found

    def _shifted(self, part: Tensor, axis: int, by: int) -> Tensor:
        return part.roll(-by, axis - len(self.shape) - 1)

    def _directions(self, links: Tensor) -> list[Tensor]:
        wanted = (len(self.shape), *self.shape, _WIDTHS[self.group])
        if links.shape[-len(wanted) :] != wanted:
            raise ArgumentError("links", list(links.shape), f"[..., {list(wanted)}]", "use sample")
        defect = float((links.detach().square().sum(-1) - 1).abs().max())
        if not defect <= 1e-3:
            raise ArgumentError(
                "links", f"lengths off by {defect:.3g}", "unit vectors", "normalise"
            )
        return list(links.unbind(-len(wanted)))


def multiplied(one: Float[Tensor, "*b k"], other: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
    """The product of real numbers, complex numbers or quaternions (1, i, j, k), k = 1, 2, 4.

    Conway and Smith, On Quaternions and Octonions (2003), section 6.2 (Cayley and Dickson).
    """
    if one.shape[-1] == 1:
        return one * other
    (a, b), (c, d) = one.tensor_split(2, -1), other.tensor_split(2, -1)
    first = multiplied(a, c) - multiplied(inverse(d), b)
    second = multiplied(d, a) + multiplied(b, inverse(c))
    return torch.cat([first, second], -1)


def inverse(unit: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
    """The conjugate, which is the inverse of a unit vector."""
    return torch.cat([unit[..., :1], -unit[..., 1:]], -1)


def drawn_around(
    pull: Float[Tensor, "*b k"], generator: torch.Generator | None = None
) -> Float[Tensor, "*b k"]:
    """Unit vectors u with density e^(<u, A>) on the sphere (von Mises and Fisher).

    <u, A> / |A| has mean I_(k/2)(|A|) / I_(k/2 - 1)(|A|); for k = 1 it is tanh |A|.

    Args:
        pull: A.
        generator: of random numbers.

    Wood, Simulation of the von Mises Fisher distribution (1994).
    """
    flat = pull.reshape(-1, pull.shape[-1])
    strength = torch.linalg.vector_norm(flat, dim=-1)
    if not bool(strength.isfinite().all()):
        raise ArgumentError("pull", "NaN or infinity", "finite vectors", "look at the coupling")
    if flat.shape[-1] == 1:
        chance = torch.rand(strength.shape, dtype=flat.dtype, generator=generator)
        signs = 1 - 2 * (chance[:, None] > torch.sigmoid(2 * flat)).to(flat)
        return signs.reshape(pull.shape)
    random, aside = torch.randn(2, *flat.shape, dtype=flat.dtype, generator=generator)
    free = strength[:, None] == 0
    axis = torch.where(free, random, flat)
    axis = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    along = _cosines(strength, flat.shape[-1], generator)
    across = aside
    for _ in range(2):  # once is not enough where it lies along the axis
        across = across - (across * axis).sum(-1, keepdim=True) * axis
        across = across / torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    found: Tensor = (
        along[:, None] * axis + (1 - along.square()).clamp(min=0).sqrt()[:, None] * across
    )
    return found.reshape(pull.shape)


def _cosines(strength: Tensor, width: int, generator: torch.Generator | None) -> Tensor:
    """t in [-1, 1] with density (1 - t^2)^((k - 3) / 2) e^(s t), by rejection."""
    rest = width - 1
    slope = rest / (2 * strength + (4 * strength.square() + rest**2).sqrt())
    middle = (1 - slope) / (1 + slope)
    peak = strength * middle + rest * torch.log1p(-middle.square())
    found, open_ = torch.zeros_like(strength), torch.ones_like(strength, dtype=torch.bool)
    while bool(open_.any()):
        normal = torch.randn(*strength.shape, width, dtype=strength.dtype, generator=generator)
        share = (1 + normal[:, 0] / torch.linalg.vector_norm(normal, dim=-1)) / 2
        tried = (1 - (1 + slope) * share) / (1 - (1 - slope) * share)
        height = strength * tried + rest * torch.log1p(-middle * tried) - peak
        chance = torch.rand(strength.shape, dtype=strength.dtype, generator=generator)
        taken = open_ & (height >= chance.log())
        found, open_ = torch.where(taken, tried, found), open_ & ~taken
    return found


def _replaced(part: Tensor, where: Bool[Tensor, "*x"], fresh: Tensor) -> Tensor:
    found = part.clone()
    found[:, where] = fresh
    return found
