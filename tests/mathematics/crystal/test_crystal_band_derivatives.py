import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    TightBinding,
    band_velocities,
    graphene,
    hexagonal,
    inverse_effective_mass,
    orthogonal,
    plane_wave_hamiltonian,
    reciprocal_lattice,
    ssh_chain,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def square_net(hop):
    hops = [(0, 0, (1, 0)), (0, 0, (0, 1))]
    return TightBinding(orthogonal(0.5, 0.5), 1, hops, -hop.expand(2))


def test_masses_of_a_square_net():
    """E = -2 t (cos a k_x + cos a k_y): hbar^2 / m* = 2 t a^2 at the bottom, its opposite at M."""
    net = square_net(real(1.3))
    for k in (real([0.0, 0.0]), real([2 * math.pi, 2 * math.pi]), real([0.7, -1.9])):
        expected = torch.diag(2 * 1.3 * 0.25 * (k / 2).cos())
        torch.testing.assert_close(net.inverse_effective_mass(k, 0), expected, rtol=0, atol=1e-15)


def test_masses_at_the_gap_of_the_ssh_chain():
    """E'' = +-t_1 t_2 / |t_1 - t_2| at k = pi."""
    chain = ssh_chain(1.0, 0.6)
    for band, sign in ((0, -1), (1, 1)):
        found = chain.inverse_effective_mass(real([math.pi]), band)
        assert float(found) == pytest.approx(sign * 0.6 / 0.4, rel=1e-13)


def test_free_particles_and_nearly_free_ones():
    """H = -Laplace has mass 1/2; a gap 2 V at k = G / 2 bends bands by 2 (1 +- G^2 / (2 V))."""
    reciprocal = reciprocal_lattice(hexagonal())
    none = (torch.zeros(0, 2, dtype=torch.int64), real([]))
    found = inverse_effective_mass(
        lambda k: plane_wave_hamiltonian(k, reciprocal, *none, 1), real([0.3, -0.2]), 0
    )
    torch.testing.assert_close(found, 2 * torch.eye(2, dtype=torch.float64))
    small = 1e-3

    def comb(k):
        return plane_wave_hamiltonian(
            k, real([[2.0]]), torch.tensor([[1], [-1]]), real([small, small]), 4
        )

    for band, sign in ((0, -1), (1, 1)):
        bend = float(inverse_effective_mass(comb, real([1.0]), band))
        assert bend == pytest.approx(2 * (1 + sign * 2 / small), rel=1e-3)


def test_curvatures_are_second_derivatives_of_bands():
    sheet = graphene(2.7, 2.46)
    k = real([0.3, 0.5])
    exact = torch.autograd.functional.hessian(lambda x: sheet.bands(x)[1], k)
    torch.testing.assert_close(sheet.inverse_effective_mass(k, 1), exact)
    torch.testing.assert_close(sheet.inverse_effective_mass(k, 0), -exact)
    # Two orbitals that hop to a third.
    hops = [(0, 0, (0,)), (0, 1, (1,)), (0, 2, (0,)), (0, 1, (0,))]
    star = TightBinding(orthogonal(1.0), 3, hops, real([4.0, 0.5, 0.3, 0.2]))
    k, step = real([0.6]), 1e-4
    around = torch.stack([star.bands(k + s * step)[2] for s in (-1, 0, 1)])
    differences = float(around[0] - 2 * around[1] + around[2]) / step**2
    assert float(star.inverse_effective_mass(k, 2)) == pytest.approx(differences, rel=1e-5)
    # The mixture of the two that hops nowhere has energy 0 at each k.
    assert abs(float(star.inverse_effective_mass(k, 1))) < 1e-12


def test_gradients():
    def masses(k, t):
        hops = [(0, 1, (0, 0)), (0, 1, (1, 0)), (0, 1, (0, 1)), (0, 0, (0, 0))]
        sheet = TightBinding(hexagonal(), 2, hops, t)
        return sheet.inverse_effective_mass(k, 1), sheet.velocities(k, k)

    inputs = real([0.3, 0.2]).requires_grad_(), real([1.0, 0.8, 1.3, 0.4]).requires_grad_()
    assert torch.autograd.gradcheck(masses, inputs)


def test_velocities_of_bands_that_meet_within_the_given_distance():
    def crossing(k):
        return torch.diag_embed(torch.stack([k[0], 1e-3 - k[0]])) + 0j

    k, along = real([0.0]), real([1.0])
    assert band_velocities(crossing, k, along, 1e-2).tolist() == pytest.approx([-1.0, 1.0])
    assert band_velocities(crossing, k, along, 1e-4).tolist() == pytest.approx([1.0, -1.0])


def test_masses_of_bands_that_meet_within_the_given_distance():
    def apart(k):
        return torch.diag_embed(torch.stack([k[0] ** 2, 1e-3 - k[0] ** 2])) + 0j

    assert float(inverse_effective_mass(apart, real([0.0]), 0, 1e-4)) == pytest.approx(2.0)
    with pytest.raises(ArgumentError, match="where the band meets another"):
        inverse_effective_mass(apart, real([0.0]), 0, 1e-2)


K = real([4 * math.pi / 3, 0])
MISUSED = {
    "band": (lambda: graphene().inverse_effective_mass(0 * K, 2), "band: got 2, expected 0 to 1"),
    "below": (lambda: graphene().inverse_effective_mass(0 * K, -1), "band: got -1"),
    "cone": (lambda: graphene().inverse_effective_mass(K, 0), "where the band meets another"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
