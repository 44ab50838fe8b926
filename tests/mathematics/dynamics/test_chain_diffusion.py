import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    chain_laplacian,
    relaxation_diffusion_step,
)
from adaptive_attention_tiling.testing import assert_close
from adaptive_attention_tiling.tiling.resolution import QuadraticEnergy, ResolutionField

CELLS = 23


def chain(seed=0, batch=(3,)):
    g = torch.Generator().manual_seed(seed)
    draw = [torch.rand(*batch, CELLS, generator=g, dtype=torch.float64) for _ in range(3)]
    return draw[0], draw[1], 0.3 + 2 * draw[2]


def dense_laplacian(lengths):
    matrix = torch.zeros(CELLS, CELLS, dtype=torch.float64)
    for i in range(CELLS - 1):
        weight = 2 / float(lengths[i] + lengths[i + 1])
        for a, b in ((i, i + 1), (i + 1, i)):
            matrix[a, b] += weight / float(lengths[a])
            matrix[a, a] -= weight / float(lengths[a])
    return matrix


def test_the_laplacian_is_the_matrix_and_keeps_the_mass():
    values, _, lengths = chain(batch=())
    matrix = dense_laplacian(lengths)
    found = chain_laplacian(values, lengths)
    assert_close(found, matrix @ values)
    assert abs(float((lengths * found).sum())) < 1e-13
    symmetric = lengths[:, None] * matrix
    assert_close(symmetric, symmetric.mT)
    assert float(torch.linalg.eigvalsh(symmetric).max()) < 1e-12


def test_a_step_is_the_dense_solve_with_its_gradients():
    values, source, lengths = chain(batch=())
    rate = torch.linspace(0, 2, CELLS, dtype=torch.float64)
    step, diffusion = 0.7, 5.0
    left = torch.diag(1 + step * rate) - step * diffusion * dense_laplacian(lengths)
    truth = torch.linalg.solve(left, values + step * rate * source)
    settings = {"diffusion": diffusion, "rate": rate, "lengths": lengths}
    assert_close(relaxation_diffusion_step(values, source, step, **settings), truth)

    def stepped(u, e, d, h):
        return relaxation_diffusion_step(u, e, step, diffusion=d, rate=rate, lengths=h)

    leaves = [values, source, torch.tensor(diffusion, dtype=torch.float64), lengths]
    assert torch.autograd.gradcheck(stepped, [x.requires_grad_() for x in leaves], fast_mode=True)


@pytest.mark.parametrize("diffusion", [0.0, 1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("step", [1e-3, 1.0, 1e6])
def test_maximum_principle_for_every_diffusion_and_step(diffusion, step):
    values, source, lengths = chain()
    found = relaxation_diffusion_step(values, source, step, diffusion=diffusion, lengths=lengths)
    both = torch.cat([values, source], -1)
    assert (found >= both.amin(-1, keepdim=True) - 1e-12).all()
    assert (found <= both.amax(-1, keepdim=True) + 1e-12).all()
    assert found.std() > 0


def test_each_wave_decays_at_its_own_rate():
    """On equal cells cos(k (i + 1/2)) is an eigenvector: -4 sin(k / 2)^2."""
    place = torch.arange(CELLS, dtype=torch.float64) + 0.5
    nothing = torch.zeros(CELLS, dtype=torch.float64)
    for mode in (0, 1, 5, CELLS - 1):
        k = math.pi * mode / CELLS
        wave = (k * place).cos()
        rate = 0.4 + 2.0 * 4 * math.sin(k / 2) ** 2
        found = relaxation_diffusion_step(wave, nothing, 0.3, diffusion=2.0, rate=0.4)
        assert_close(found, wave / (1 + 0.3 * rate))


def test_it_is_the_resolution_field_inside_its_bounds():
    """The field of tiles is this equation, with bounds and other energies besides."""
    start, target, lengths = chain()
    start, target = 0.4 + 0.3 * start, 0.4 + 0.3 * target
    weight = torch.full_like(target, 1.7)
    field = ResolutionField(diffusion=2.5, minimum=0.01)
    found = field.step(start, QuadraticEnergy(target, weight), 0.6, lengths=lengths)
    truth = relaxation_diffusion_step(
        start, target, 0.6, diffusion=2.5, rate=weight, lengths=lengths
    )
    assert_close(found, truth)


def test_it_takes_noise_out_of_a_smooth_density():
    """Mean squared error after smoothing a noisy profile, far below that of the noise."""
    g = torch.Generator().manual_seed(1)
    place = torch.linspace(0, 2 * math.pi, 512, dtype=torch.float64)
    truth = 1 + 0.5 * place.sin()
    for noise, diffusion, most in ((0.3, 10.0, 0.02), (1.0, 100.0, 0.06)):
        noisy = truth + noise * torch.randn(512, generator=g, dtype=torch.float64)
        field = relaxation_diffusion_step(noisy, noisy, 1e6, diffusion=diffusion)
        assert float((field - truth).square().mean()) < most
        assert float((noisy - truth).square().mean()) > 0.8 * noise**2


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("step", {"step": 0.0}),
        ("step", {"step": math.inf}),
        ("diffusion", {"diffusion": -1.0}),
        ("diffusion", {"diffusion": math.nan}),
        ("diffusion", {"diffusion": math.inf}),
        ("rate", {"rate": -0.1}),
        ("rate", {"rate": math.inf}),
        ("rate", {"rate": torch.ones(CELLS - 1)}),
        ("lengths", {"lengths": torch.full((CELLS,), math.inf)}),
        ("lengths", {"lengths": torch.tensor(1.0)}),
        ("values", {"values": torch.ones(0), "source": torch.ones(0)}),
        ("lengths", {"lengths": torch.zeros(CELLS)}),
        ("lengths", {"lengths": torch.ones(CELLS + 1)}),
        ("source", {"source": torch.ones(CELLS - 1)}),
    ],
)
def test_what_does_not_fit_is_named(name, changed):
    settings = {"values": torch.ones(CELLS), "source": torch.ones(CELLS), "step": 1.0}
    with pytest.raises(ArgumentError, match=rf"^{name}: "):
        relaxation_diffusion_step(**{**settings, "diffusion": 1.0, **changed})
