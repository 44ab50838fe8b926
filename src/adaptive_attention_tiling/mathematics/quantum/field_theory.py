"""Lattice fields: free scalar propagators, plaquettes in two dimensions, entanglement of chains.

Lattice spacing is 1; masses, couplings and lengths are in its units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def lattice_propagator(mass: Float[Tensor, "*b"], shape: Sequence[int]) -> Float[Tensor, "*b *x"]:
    """G(x) = V^-1 sum_k e^(i k x) / (m^2 + sum_a 4 sin^2(k_a / 2)), on a periodic lattice.

    It solves (m^2 - Laplacian) G = delta.

    Args:
        mass: m > 0.
        shape: of the lattice, in any number of dimensions; V is its product.

    Montvay and Münster, Quantum Fields on a Lattice (1994), section 2.1.
    """
    _check_mass(mass)
    if not shape or min(shape) < 1:
        raise ArgumentError("shape", list(shape), "lengths of at least 1", "pass (16, 16)")
    symbol = mass.square()[(...,) + (None,) * len(shape)]
    for axis, length in enumerate(shape):
        k = torch.arange(length, dtype=mass.dtype, device=mass.device) * (math.pi / length)
        wave = 4 * k.sin().square()
        symbol = symbol + wave.reshape(-1, *(1,) * (len(shape) - axis - 1))
    found: Tensor = torch.fft.ifftn(1 / symbol, dim=tuple(range(-len(shape), 0)))
    return found.real


def line_propagator(
    mass: Float[Tensor, "*b"], distance: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """G(x) = e^(-w |x|) / (2 sinh w), 2 sinh(w / 2) = m: one dimension, no end.

    G(0) = 1 / (m sqrt(m^2 + 4)).

    Args:
        mass: m > 0.
        distance: x, a whole number of spacings.

    Montvay and Münster (1994), section 2.1.
    """
    _check_mass(mass)
    rate = 2 * torch.asinh(mass / 2)
    return torch.exp(-rate * distance.abs()) / (mass * (mass.square() + 4).sqrt())


def plane_propagator_at_zero(mass: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """G(0) = 2 K(k) / (pi (4 + m^2)), k = 4 / (4 + m^2): two dimensions, no end.

    K, the complete elliptic integral of modulus k, is pi / (2 agm(1, sqrt(1 - k^2))). G(0) grows as
    -log(m) / 2 pi for small masses.

    Args:
        mass: m > 0.

    Economou, Green's Functions in Quantum Physics (2006), section 5.3.2.
    """
    _check_mass(mass)
    square = mass.square()
    large, small = 4 + square, mass * (square + 8).sqrt()  # agm(1, b / a) = agm(a, b) / a
    for _ in range(12):
        large, small = (large + small) / 2, (large * small).sqrt()
    return 1 / large


def plaquette(
    coupling: Float[Tensor, "*b"], group: Literal["Z2", "U(1)", "SU(2)"]
) -> Float[Tensor, "*b"]:
    """<tr U_p / n> of Wilson's action, weight exp(b tr Re U_p / n), on an endless plane.

        tanh b (Z2),   I_1(b) / I_0(b) (U(1)),   I_2(b) / I_1(b) (SU(2))

    Plaquettes of a plane are independent, so that a loop around A of them has this to the power A
    (area law).

    Args:
        coupling: b >= 0.
        group: of the links.

    Gross and Witten, Possible third-order phase transition in the large-N lattice gauge theory
    (1980), section II; Montvay and Münster (1994), section 3.4.
    """
    found = coupling.detach()
    if not found.is_floating_point() or not bool(((found >= 0) & found.isfinite()).all()):
        raise ArgumentError(
            "coupling", f"{found.dtype} from {found.min().item()}", "numbers >= 0", "pass beta"
        )
    if group == "Z2":
        return coupling.tanh()
    if group == "U(1)":
        return bessel_ratio(coupling, 0)
    if group == "SU(2)":
        return bessel_ratio(coupling, 1)
    raise ArgumentError("group", group, "Z2, U(1) or SU(2)", "choose one of them")


def bessel_ratio(x: Float[Tensor, "*b"], order: int) -> Float[Tensor, "*b"]:
    """I_(n+1)(x) / I_n(x) = x / (2 (n + 1) + x I_(n+2)(x) / I_(n+1)(x)), for x >= 0.

    The continued fraction is begun far enough out for all digits; nothing cancels in it.

    Amos, Computation of modified Bessel functions and their ratios (1974).
    """
    far = order + 30 + int(8 * math.sqrt(float(x.detach().max()))) if x.numel() else order
    ratio = torch.zeros_like(x)
    for k in range(far, order, -1):
        ratio = x / (2 * k + x * ratio)
    return ratio


def zero_dimensional_partition_function(
    action: Callable[[Tensor], Tensor], *, half_width: float = 12.0, points: int = 400
) -> Float[Tensor, "*b"]:
    """Z = int e^(-S(x)) dx / sqrt(2 pi): a field at one point. Z = 1 for S = x^2 / 2.

    By the trapezoidal rule, whose error is exponentially small for smooth S that are large at the
    ends.

    Args:
        action: S of places [points], gives [*b, points].
        half_width: places go from minus this to this.
        points: how many.

    Zinn-Justin, Quantum Field Theory and Critical Phenomena (2002), chapter 1.
    """
    if not half_width > 0 or points < 2:
        raise ArgumentError(
            "points", f"{points} to {half_width}", "2 or more, up to a width > 0", "add points"
        )
    places = torch.linspace(-half_width, half_width, points, dtype=torch.float64)
    weights = torch.exp(-action(places))
    ends = torch.maximum(weights[..., 0], weights[..., -1])
    if not bool((ends <= 1e-12 * weights.amax(-1)).all()):
        raise ArgumentError("action", "too small at the ends, or NaN", "decay", "widen the range")
    spacing = 2 * half_width / (points - 1)
    return weights.sum(-1) * (spacing / math.sqrt(2 * math.pi))


def hopping_chain_correlations(
    length: int, *, filling: float = 0.5, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "l l"]:
    """C_ij = <c_i^+ c_j> = sin(pi f (i - j)) / (pi (i - j)), f on the diagonal.

    Free fermions that hop on an endless chain, of which a fraction f of the sites is filled: the XX
    chain of spins 1/2, after Jordan and Wigner.

    Args:
        length: of the block of sites.
        filling: f, above 0 and below 1.
        dtype: of the result.

    Peschel and Eisler, Reduced density matrices and entanglement entropy in free lattice models
    (2009), section 3.1.
    """
    if length < 1 or not 0 < filling < 1:
        raise ArgumentError(
            "length",
            f"{length} at filling {filling}",
            "at least 1, filling inside of 0 to 1",
            "half filling is 0.5",
        )
    site = torch.arange(length, dtype=dtype)
    return filling * torch.sinc(filling * (site[:, None] - site))


def free_fermion_entropy(correlations: Float[Tensor, "*b l l"]) -> Float[Tensor, "*b"]:
    """S = -sum_k n_k log n_k + (1 - n_k) log(1 - n_k) in nats, n_k the eigenvalues of C.

    The entanglement entropy of the sites with the rest, for states that are Gaussian in fermions.
    Gradients leave out eigenvalues 0 and 1 (up to rounding), where the slope is infinite.

    Args:
        correlations: C_ij = <c_i^+ c_j>, symmetric with eigenvalues from 0 to 1.

    Peschel, Calculation of reduced density matrices from correlation functions (2003).
    """
    if correlations.dim() < 2 or correlations.shape[-1] != correlations.shape[-2]:
        raise ArgumentError(
            "correlations", list(correlations.shape), "[..., l, l]", "pass matrices"
        )
    occupied: Tensor = torch.linalg.eigvalsh(correlations)
    rounding = torch.finfo(occupied.dtype).eps
    if not bool(((occupied >= -(rounding**0.5)) & (occupied <= 1 + rounding**0.5)).all()):
        raise ArgumentError(
            "correlations",
            f"eigenvalues from {float(occupied.min()):.3g} to {float(occupied.max()):.3g}",
            "from 0 to 1",
            "pass <c_i^+ c_j>",
        )
    mixed = (occupied > 4 * rounding) & (occupied < 1 - 4 * rounding)
    n = torch.where(mixed, occupied, 0.5)
    entropy = -(n * n.log() + (1 - n) * torch.log1p(-n))
    return torch.where(mixed, entropy, 0.0).sum(-1)


def _check_mass(mass: Tensor) -> None:
    found = mass.detach()
    if not found.is_floating_point() or not bool(((found > 0) & found.isfinite()).all()):
        raise ArgumentError(
            "mass", f"{found.dtype} from {found.min().item()}", "above 0", "pass a positive mass"
        )
