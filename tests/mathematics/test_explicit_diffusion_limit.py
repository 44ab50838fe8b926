"""Explicit Euler steps of diffusion are stable up to dt = dx^2 / (2 d D), and not beyond."""

import pytest
import torch

from adaptive_attention_tiling.mathematics.runge_kutta import integrate


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("share", "grows"), [(1.0, False), (1.05, True)])
def test_the_limit_in_one_and_two_dimensions(axes, share, grows):
    spacing, diffusivity = 0.5, 2.0
    limit = spacing**2 / (2 * axes * diffusivity)

    def laplacian(t, u):
        shifts = sum(u.roll(s, axis) - u for axis in range(axes) for s in (1, -1))
        return diffusivity * shifts / spacing**2

    # The alternating grid is the mode that decays fastest, and the first one to grow.
    grid = torch.arange(8)
    sign = (-1.0) ** (grid if axes == 1 else grid[:, None] + grid)
    start = sign.double()
    times = torch.tensor([0, 60 * share * limit], dtype=torch.float64)
    end = integrate(laplacian, start, times, method="euler", steps=60)[-1]
    assert bool(end.abs().max() > 10 * start.abs().max()) == grows
    if not grows:
        torch.testing.assert_close(end.abs(), start.abs())
