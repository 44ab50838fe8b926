"""Quantum states from classical data."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor

from ...errors import ArgumentError


def amplitude_state(
    values: Float[Tensor, "*b d"], phases: Float[Tensor, "*b d"] | None = None
) -> Complex[Tensor, "*b d"]:
    """psi_k = x_k e^(i phi_k) / |x|.

    Args:
        values: x, real or complex, not all 0.
        phases: phi in radians; none at all by default.

    Schuld and Petruccione, Supervised Learning with Quantum Computers (2018), section 5.2.
    """
    _check_data("values", values)
    norm: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    if bool((norm.detach() == 0).any()):
        raise ArgumentError("values", "a vector of zeros", "norms above 0", "leave it out")
    unit: Tensor = values / norm
    if phases is None:
        return unit.to(values.dtype.to_complex())
    _check_data("phases", phases)
    return phased_amplitudes(unit, phases)


def angle_state(
    angles: Float[Tensor, "*b n"], phases: Float[Tensor, "*b n"] | None = None
) -> Complex[Tensor, "*b d"]:
    """The product over k of cos(x_k / 2) |0> + e^(i phi_k) sin(x_k / 2) |1>, of d = 2^n amplitudes.

    x and phi are polar angle and azimuth of qubit k on Bloch's sphere; the first qubit is the
    slowest in the index. <psi(x)|psi(y)> = prod cos((x_k - y_k) / 2) without phases.

    Args:
        angles: x in radians, at most 16 of them.
        phases: phi in radians; none at all by default.

    Schuld and Petruccione (2018), section 5.4.
    """
    _check_data("angles", angles)
    count = angles.shape[-1]
    if not 1 <= count <= 16:
        raise ArgumentError("angles", f"{count} of them", "1 to 16", "a state has 2^n amplitudes")
    if phases is not None:
        _check_data("phases", phases)
    return angle_amplitudes(angles, phases).to(angles.dtype.to_complex())


def phased_amplitudes(
    values: Float[Tensor, "*b d"], phases: Float[Tensor, "*b d"]
) -> Complex[Tensor, "*b d"]:
    """x_k e^(i phi_k), of any norm: `amplitude_state` before it is normalised, without checks.

    It looks at no value, so that a training step does not wait for its device.
    """
    return values * torch.complex(torch.cos(phases), torch.sin(phases))


def angle_amplitudes(
    angles: Float[Tensor, "*b n"], phases: Float[Tensor, "*b n"] | None = None
) -> Inexact[Tensor, "*b d"]:
    """The amplitudes of `angle_state`, real where there are no phases, without checks.

    It looks at no value, so that a training step does not wait for its device.
    """
    second = torch.sin(angles / 2)
    if phases is not None:
        second = phased_amplitudes(second, phases)
    qubits = torch.stack([torch.cos(angles / 2).to(second).expand_as(second), second], -1)
    state = qubits[..., 0, :]
    for k in range(1, angles.shape[-1]):
        state = (state[..., :, None] * qubits[..., k, None, :]).flatten(-2)
    return state


def ensemble_state(
    samples: Float[Tensor, "*b n d"], weights: Float[Tensor, "*b n"] | None = None
) -> Complex[Tensor, "*b d d"]:
    """rho = sum_i w_i |x_i><x_i| / sum_i w_i <x_i|x_i>, the normalised second moment of the data.

    Args:
        samples: x_i, real or complex; larger ones weigh more.
        weights: w_i >= 0; equal by default.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 2.4.1.
    """
    _check_data("samples", samples)
    if samples.dim() < 2:
        raise ArgumentError("samples", f"shape {list(samples.shape)}", "[..., n, d]", "add an axis")
    columns = samples.mT.to(samples.dtype.to_complex())
    scaled = columns
    if weights is not None:
        _check_data("weights", weights)
        if bool((weights.detach() < 0).any()):
            raise ArgumentError("weights", float(weights.min()), "none below 0", "use squares")
        scaled = columns * weights[..., None, :]
    moment = scaled @ columns.mH
    trace = moment.diagonal(dim1=-2, dim2=-1).sum(-1).real
    if bool((trace.detach() == 0).any()):
        raise ArgumentError("samples", "nothing but zeros", "a vector above 0", "leave it out")
    return moment / trace[..., None, None]


def _check_data(name: str, values: Tensor) -> None:
    numbers = values.is_floating_point() or values.is_complex()
    if values.dim() < 1 or not numbers or not bool(values.detach().isfinite().all()):
        raise ArgumentError(
            name,
            f"{values.dtype} {list(values.shape)}, or NaN",
            "finite floating numbers [..., n]",
            "look where they come from",
        )
