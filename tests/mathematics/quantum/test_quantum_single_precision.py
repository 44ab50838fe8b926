"""Single precision comes out as single precision, near to what double precision gives."""

import math

import pytest
import torch

from adaptive_attention_tiling.mathematics import quantum

torch.manual_seed(0)
FACTOR = torch.randn(2, 4, 4, dtype=torch.complex128)
STATES = FACTOR @ FACTOR.mH / (FACTOR @ FACTOR.mH).diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
A, B = STATES
H = (FACTOR[0] + FACTOR[0].mH) / 2
JUMPS = FACTOR / 4
DATA = torch.randn(3, 4, dtype=torch.float64)
POINT = torch.tensor([1.0, 0.7], dtype=torch.float64)
LOOP = torch.rand(9, 2, dtype=torch.float64)
HALF = torch.tensor(0.5, dtype=torch.float64)


def bloch(x):
    return quantum.angle_state(x[..., :1], x[..., 1:])


def oscillator(x):
    return quantum.PathIntegralFramework(
        lambda y: x * y.square(), half_width=6.0, points=32, dtype=x.dtype
    )


def first(y):
    return y[..., 0]


def plane(x):
    return quantum.GridPathIntegral(
        lambda y: x * y.square().sum(-1), dimensions=2, half_width=4.0, points=12, dtype=x.dtype
    )


CASES = {
    "amplitude": (quantum.amplitude_state, DATA),
    "angle": (quantum.angle_state, DATA, DATA),
    "ensemble": (quantum.ensemble_state, DATA),
    "pure": (quantum.pure_state, FACTOR),
    "entropy": (quantum.von_neumann_entropy, STATES),
    "renyi": (lambda x: quantum.quantum_renyi_entropy(x, 0.5), STATES),
    "purity": (quantum.purity, STATES),
    "relative": (quantum.relative_entropy, A, B),
    "mutual": (quantum.quantum_mutual_information, STATES),
    "fidelity": (quantum.fidelity, A, B),
    "trace": (quantum.trace_distance, A, B),
    "bures": (quantum.bures_distance, A, B),
    "angle of bures": (quantum.bures_angle, A, B),
    "negativity": (quantum.negativity, STATES),
    "concurrence": (quantum.concurrence, quantum.bell_state() * 0.9 + 0.1 * A),
    "chsh": (quantum.chsh_maximum, STATES),
    "witness": (lambda x: quantum.expectation(x, quantum.decomposable_witness(x)), STATES),
    "damped": (lambda g, x: quantum.amplitude_damping(g).on_factor(x, (2, 2), 1), HALF, A),
    "depolarised": (lambda p, x: quantum.depolarising(p).on_factor(x, (2, 2), 0), HALF, A),
    "propagator": (lambda h: quantum.propagator(h, 0.7), H),
    "vector": (lambda x, h: quantum.evolve_vector(x, h, 0.7), FACTOR[0], H),
    "lindblad": (lambda x, h, j: quantum.evolve_density(x, h, 0.5, j), A, H, JUMPS),
    "driven": (
        lambda x, h, j, t: quantum.evolve_driven(
            x, lambda s: s * h, torch.stack([0 * t, t]), j, relative_tolerance=1e-5
        ),
        A, H, JUMPS, HALF,
    ),
    "stationary": (quantum.stationary_density, H, JUMPS),
    "thermal": (lambda h, t: quantum.thermal_state(h, t), H, HALF),
    "free energy": (lambda h, t: quantum.helmholtz_free_energy(h, t), H, HALF),
    "variance": (quantum.variance, STATES, H),
    "probabilities": (lambda x, h: quantum.measure(x, h).probabilities, A, H),
    "after": (lambda x, h: quantum.measure(x, h).after(1), A, H),
    "uncertainty": (lambda x, h, k: quantum.robertson_schroedinger(x, h, k)[1], A, H, B),
    "entropic": (lambda x, h, k: quantum.maassen_uffink(x, h, k)[0], A, H, B),
    "geometric": (lambda x: quantum.quantum_geometric_tensor(bloch, x), POINT),
    "curvature": (lambda x: quantum.berry_curvature(bloch, x), POINT),
    "phase": (lambda x: quantum.pancharatnam_phase(bloch(x)), LOOP),
    "holonomy": (lambda x: quantum.berry_holonomy(bloch(x)[..., None]), LOOP),
    "lattice": (lambda m: quantum.lattice_propagator(m, (4, 4)), HALF),
    "plaquette": (lambda b: quantum.plaquette(b, "SU(2)"), HALF),
    "field": (lambda x: quantum.ScalarField((3, 4), 1.0, 2.0).two_point_function(x), DATA),
    "line": (lambda x: oscillator(x).partition_function(1.0), HALF),
    "correlation": (lambda x: plane(x).correlation_function([first] * 2, [0, 1], 0.5, 4), HALF),
    "kernel": (lambda x, y: plane(x).propagator(y, y, 1.0, 4), HALF, POINT),
    "wave": (lambda x: plane(x).evolve(plane(x).places[..., 0], 0.5j, 4), HALF),
    "mean path": (lambda x, y: plane(x).effective_action(y / 4, 0.5, 2)[0], HALF, POINT),
    "levels": (lambda x: plane(x).spectrum(6)[0][:4], HALF),
}  # fmt: skip


def single(x):
    return x.to(torch.complex64 if x.is_complex() else torch.float32)


@pytest.mark.parametrize(("compute", "given"), [(c, g) for c, *g in CASES.values()], ids=CASES)
def test_single_precision(compute, given):
    exact, found = compute(*given), compute(*map(single, given))
    assert found.dtype == single(exact).dtype
    torch.testing.assert_close(found, single(exact), rtol=2e-4, atol=3e-5)


def test_bell_pair_keeps_its_digits():
    pair = quantum.bell_state(torch.complex64)
    assert abs(float(quantum.concurrence(pair)) - 1) < 1e-6
    assert abs(float(quantum.chsh_maximum(pair)) - 2 * math.sqrt(2)) < 1e-5
