"""Features of states that are products of real qubits: 3^n instead of 2^n (2^n + 1) / 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def qubit_features(state: Float[Tensor, "*b m"], qubits: int) -> Float[Tensor, "*b f"]:
    """phi with phi(q) . phi(k) = <q|k>^2, for products of n real qubits of norm 1, m = 2^n.

    A real qubit is a point (z, x) of a circle, and <a|b>^2 = (1 + z z' + x x') / 2. A product
    of such sums has the Kronecker product as features, over k, of

        (1, z_k, x_k) / sqrt(2),   z_k = <Z_k>, x_k = <X_k>

    with Pauli's matrices at qubit k, the first slowest. A vector of zeros has features 0. Nielsen
    and Chuang, Quantum Computation and Quantum Information (2010), section 1.2 (Bloch's sphere).
    """
    features = state.new_full((*state.shape[:-1], 1), 2 ** (-qubits / 2))
    for k in range(qubits):
        pairs = state.unflatten(-1, (2**k, 2, -1))
        zero, one = pairs[..., 0, :], pairs[..., 1, :]
        up, down = (zero * zero).sum((-2, -1)), (one * one).sum((-2, -1))
        across = 2 * (zero * one).sum((-2, -1))
        point = torch.stack([up + down, up - down, across], -1)
        features = (features[..., None] * point[..., None, :]).flatten(-2)
    return features


def qubit_density(features: Float[Tensor, "*b f"], qubits: int) -> Float[Tensor, "*b m m"]:
    """The matrices that (sums of) `qubit_features` are: sums over products of 1, Z and X."""
    basis = features.new_tensor([[[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]]) / 2**0.5
    matrix = features[..., None, None]
    for _ in range(qubits):  # takes the slowest factor that is left
        matrix = matrix.unflatten(-3, (3, -1))
        matrix = torch.einsum("...pfij,pkl->...fikjl", matrix, basis).flatten(-4, -3).flatten(-2)
    return matrix[..., 0, :, :]
