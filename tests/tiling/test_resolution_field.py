"""The resolution field descends its energy, keeps its bounds and arrives where it must."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close
from adaptive_attention_tiling.tiling.resolution import (
    AbstractEnergy,
    PricedEnergy,
    QuadraticEnergy,
    ResolutionField,
    priced_resolution,
    segment_loss,
)

B, M, LOW = 24, 30, 1 / 16


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def tiles(*shape: int) -> Tensor:
    return torch.randint(1, 40, shape).double()


def rough(*shape: int) -> Tensor:
    """Resolutions at their bounds, at random."""
    return torch.where(uniform(*shape) < 0.5, LOW, 1.0).double()


def quadratic(*shape: int, within: bool = False) -> QuadraticEnergy:
    target = LOW + (1 - LOW) * uniform(*shape) if within else 3 * uniform(*shape) - 1
    return QuadraticEnergy(target, 10 ** (4 * uniform(*shape) - 2))


def priced(*shape: int) -> PricedEnergy:
    def wide() -> Tensor:
        return (3 * torch.randn(*shape, dtype=torch.float64)).exp()

    return PricedEnergy(wide(), wide())


def laplacian(lengths: Tensor) -> Tensor:
    """-H times the finite-volume Laplacian of one chain, written out."""
    matrix = torch.zeros(len(lengths), len(lengths), dtype=torch.float64)
    for i in range(len(lengths) - 1):
        flow = 2 / float(lengths[i] + lengths[i + 1])
        for j, k, sign in ((i, i, 1), (i + 1, i + 1, 1), (i, i + 1, -1), (i + 1, i, -1)):
            matrix[j, k] += sign * flow
    return matrix


@pytest.mark.parametrize("dt", [1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("make", [quadratic, priced])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_never_increases(make, dt, dtype):
    """Nor by less than the distance moved; beside rounding of the energy's terms."""
    for diffusion in (0.0, 0.1, 100.0):
        field, energy, lengths = ResolutionField(diffusion=diffusion), make(B, M), tiles(B, M)
        resolution, moved = rough(B, M).to(dtype), 0.0
        before = field.total_energy(resolution.double(), energy, lengths=lengths)
        for _ in range(3):
            later = field.step(resolution, energy, dt, lengths=lengths)
            assert later.dtype == dtype
            assert ((later >= LOW) & (later <= 1)).all()
            way = (lengths * (later.double() - resolution.double()).square()).sum(-1) / (2 * dt)
            now = field.total_energy(later.double(), energy, lengths=lengths)
            slack = 100 * torch.finfo(dtype).eps * before.abs()
            assert (now + way <= before + slack).all()
            moved = moved + way.sum()
            resolution, before = later, now
        assert moved > 0


def test_a_step_is_the_least_of_its_functional():
    """Against random competitors and the conditions of a minimum within bounds."""
    field, energy, lengths = ResolutionField(diffusion=3.0), priced(B, M), tiles(B, M)
    start = rough(B, M)
    found = field.step(start, energy, 0.7, lengths=lengths).requires_grad_()

    def functional(x: Tensor) -> Tensor:
        way = (lengths * (x - start).square()).sum(-1) / 1.4
        return way + field.total_energy(x, energy, lengths=lengths)

    (slope,) = torch.autograd.grad(functional(found).sum(), found)
    inner = (found > LOW) & (found < 1)
    size = lengths * (1 + energy.density + energy.price)
    assert ((slope / size)[inner].abs() < 1e-9).all()
    assert (slope[found == LOW] >= 0).all()
    assert (slope[found == 1] <= 0).all()
    assert min(inner.sum(), (found == LOW).sum(), (found == 1).sum()) > 10
    for size in (1e-3, 0.1):
        other = (found + size * torch.randn_like(found)).clamp(LOW, 1)
        assert (functional(other) > functional(found)).all()


@pytest.mark.parametrize("dt", [1e-2, 1.0, 1e6])
@pytest.mark.parametrize("causal", [False, True])
def test_values_stay_between_those_of_start_and_targets(dt, causal):
    field = ResolutionField(diffusion=50.0, causal=causal)
    start, energy = 0.3 + 0.2 * uniform(B, M), quadratic(B, M)
    energy = QuadraticEnergy(0.35 + 0.2 * uniform(B, M), energy.weight)
    found = field.step(start, energy, dt, lengths=tiles(B, M))
    both = torch.cat([start, energy.target], -1)
    assert (found <= both.amax(-1, keepdim=True) + 1e-12).all()
    assert (found >= both.amin(-1, keepdim=True) - 1e-12).all()
    free = QuadraticEnergy(energy.target, torch.zeros(B, M))
    found = field.step(start, free, dt, lengths=tiles(B, M))
    assert (found <= start.amax(-1, keepdim=True) + 1e-12).all()
    assert (found >= start.amin(-1, keepdim=True) - 1e-12).all()
    assert not torch.equal(found, start)


def test_without_force_the_tokens_keep_their_mean_resolution():
    field, start, lengths = ResolutionField(diffusion=50.0), uniform(B, M) * 0.9 + 0.1, tiles(B, M)
    free = QuadraticEnergy(start, torch.zeros(B, M))
    found = field.step(start, free, 30.0, lengths=lengths)
    assert_close((lengths * found).sum(-1), (lengths * start).sum(-1))
    assert (found.std(-1) < start.std(-1)).all()


def test_it_converges_to_the_dense_stationary_solution():
    lengths, diffusion = tiles(M), 20.0
    energy = quadratic(M, within=True)
    mass = torch.diag(lengths * energy.weight)
    expected = torch.linalg.solve(mass + diffusion * laplacian(lengths), mass @ energy.target)
    field, found = ResolutionField(diffusion=diffusion), rough(M)
    errors = []
    for _ in range(6):
        found = field.step(found, energy, 200.0, lengths=lengths)
        errors.append((found - expected).abs().max().item())
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert_close(field.step(rough(M), energy, 1e13, lengths=lengths), expected)


@pytest.mark.parametrize("mode", [1, 2, 7])
@pytest.mark.parametrize("dt", [0.1, 5.0])
def test_golden_a_cosine_decays_by_its_known_factor(mode, dt):
    """cos(pi k (i + 1/2) / M) has the eigenvalue 2 cos(pi k / M) - 2 of the Laplacian."""
    wave = torch.cos(math.pi * mode * (torch.arange(M, dtype=torch.float64) + 0.5) / M)
    still, target = 0.5, torch.full((M,), 0.5, dtype=torch.float64)
    energy = QuadraticEnergy(target, torch.full_like(target, 0.3))
    found = ResolutionField(diffusion=2.0).step(still + 0.2 * wave, energy, dt)
    rate = 0.3 + 2.0 * (2 - 2 * math.cos(math.pi * mode / M))
    assert_close(found, still + 0.2 * wave / (1 + dt * rate))


def test_the_step_is_of_first_order_in_time():
    lengths, diffusion = tiles(M) / 10, 0.8
    energy = QuadraticEnergy(0.3 + 0.4 * uniform(M), 0.5 + uniform(M))
    system = torch.diag(energy.weight) + diffusion * laplacian(lengths) / lengths[:, None]
    rest = torch.linalg.solve(system, energy.weight * energy.target)
    start = 0.3 + 0.4 * uniform(M)
    exact = rest + torch.linalg.matrix_exp(-system) @ (start - rest)
    errors = []
    for steps in (16, 32, 64):
        field, found = ResolutionField(diffusion=diffusion), start
        for _ in range(steps):
            found = field.step(found, energy, 1 / steps, lengths=lengths)
        errors.append((found - exact).abs().max().log2().item())
    slopes = [a - b for a, b in pairwise(errors)]
    assert all(0.9 < slope < 1.1 for slope in slopes), slopes


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [QuadraticEnergy, PricedEnergy])
def test_gradients_flow_through_the_implicit_step(kind, causal):
    """Where no value is about to meet a bound; some rest at one."""
    start, lengths = uniform(2, 4) * 0.8 + 0.1, tiles(2, 4)
    first, second = 0.2 + uniform(2, 4), 0.2 + 0.6 * uniform(2, 4)
    first[0, 0], first[1, 3] = 60.0, 1e-3
    if kind is PricedEnergy:
        second[1, 3] = 90.0
    else:
        second[1, 3] = 500.0
        first[1, 3] = -3.0
    diffusion = torch.tensor(0.7, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (start, first, second, diffusion, lengths)]

    def step(start, first, second, diffusion, lengths):
        field = ResolutionField(diffusion=diffusion, causal=causal)
        return field.step(start, kind(first, second), 2.0, lengths=lengths)

    found = step(*inputs)
    assert ((found == LOW) | (found == 1)).any()
    assert ((found > LOW) & (found < 1)).sum() > 4
    assert torch.autograd.gradcheck(step, inputs)


@pytest.mark.parametrize("make", [quadratic, priced])
def test_without_diffusion_every_tile_goes_its_own_way(make):
    energy, start = make(B, M), rough(B, M)
    both = [ResolutionField(diffusion=0.0, causal=c).step(start, energy, 1.3) for c in (0, 1)]
    assert_close(both[0], both[1])
    order = torch.randperm(M)
    mixed = energy.map(lambda x: x[:, order])
    assert_close(
        ResolutionField(diffusion=0.0).step(start[:, order], mixed, 1.3), both[0][:, order]
    )


def test_a_priced_field_rests_at_the_resolution_of_its_price():
    energy = priced(B, M)
    found = ResolutionField(diffusion=0.0).step(rough(B, M), energy, 1e12)
    bounds = torch.tensor(LOW).double(), torch.tensor(1.0).double()
    assert_close(found, priced_resolution(energy.density, energy.price, *bounds))
    assert ((found > LOW) & (found < 1)).any()


@dataclass(frozen=True)
class Distance(AbstractEnergy):
    """Almost |R - target|, on which Newton's method jumps from side to side without a search."""

    target: Tensor

    def value(self, resolution: Tensor) -> Tensor:
        return (1e-6 + (resolution - self.target).square()).sqrt()

    def slope(self, resolution: Tensor) -> Tensor:
        return (resolution - self.target) / self.value(resolution)

    def curvature(self, resolution: Tensor) -> Tensor:
        return 1e-6 / self.value(resolution) ** 3

    def map(self, function: Callable[[Tensor], Tensor]) -> AbstractEnergy:
        return Distance(function(self.target))


@pytest.mark.parametrize("causal", [False, True])
def test_an_energy_that_newton_overshoots_is_solved_too(causal):
    energy = Distance(0.3 + 0.4 * uniform(B, M))
    field = ResolutionField(diffusion=0.0, causal=causal)
    assert_close(field.step(rough(B, M), energy, 1e9), energy.target)
    if not causal:
        field, start = ResolutionField(diffusion=2.0), rough(B, M)
        before = field.total_energy(start, energy)
        assert (field.total_energy(field.step(start, energy, 10.0), energy) < before).all()


def causal_step(start: Tensor, first: Tensor, second: Tensor, lengths: Tensor) -> Tensor:
    field = ResolutionField(diffusion=4.0, causal=True)
    energy = PricedEnergy(first.abs() + 0.1, second.abs() + 0.1)
    return field.step(start, energy, 1.0, lengths=lengths.abs() + 1)


def test_a_causal_field_ignores_later_tiles():
    inputs = [x[..., None] for x in (uniform(2, M), *(torch.randn(2, M) for _ in range(3)))]

    def run(*tensors: Tensor) -> Tensor:
        return causal_step(*(x[..., 0] for x in tensors))[..., None]

    for position in (1, 9, M - 1):
        assert_causal(run, inputs, position)


@pytest.mark.parametrize("pieces", [[1] * M, [7, 1, 12, 10]])
@pytest.mark.parametrize("make", [quadratic, priced])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_causal_field_in_pieces_is_the_whole_bit_for_bit(make, pieces, dtype):
    field = ResolutionField(diffusion=4.0, causal=True)
    start, energy, lengths = rough(B, M).to(dtype), make(B, M), tiles(B, M)
    whole = field.step(start, energy, 1.0, lengths=lengths)
    before, found, end = None, [], 0
    for size in pieces:
        part = slice(end, end + size)
        end += size
        piece = energy.map(lambda x, part=part: x[:, part])
        out = field.step(start[:, part], piece, 1.0, lengths=lengths[:, part], before=before)
        before = out[:, -1], lengths[:, part][:, -1]
        found.append(out)
    assert_bit_equal(torch.cat(found, -1), whole)


def test_each_tile_of_a_causal_field_descends_its_own_energy():
    field, energy, lengths = ResolutionField(diffusion=9.0, causal=True), priced(B, M), tiles(B, M)
    start = rough(B, M)
    found = field.step(start, energy, 50.0, lengths=lengths)
    earlier = torch.cat([found[:, :1], found[:, :-1]], -1)
    distance = torch.cat([lengths[:, :1], 0.5 * (lengths[:, 1:] + lengths[:, :-1])], -1)

    def own(x: Tensor) -> Tensor:
        tied = 4.5 * (x - earlier).square() / distance
        return lengths * energy.value(x) + torch.cat([0 * tied[:, :1], tied[:, 1:]], -1)

    assert (own(found) <= own(start) * (1 + 1e-14) + 1e-14).all()
    assert (own(found) < own(start)).float().mean() > 0.5


def test_the_loss_of_segments_is_that_of_random_walks():
    """Golden: 1/8 of the density at R = 1/2 for phi = (1/R - R)/6 is 1/4; and a simulation."""
    assert segment_loss(torch.tensor(0.5)).item() == pytest.approx(0.25)
    assert segment_loss(torch.tensor(1.0)).item() == 0
    walk = torch.randn(20_000, 64, dtype=torch.float64).cumsum(-1)
    for length in (2, 4, 16, 64):
        parts = walk.unflatten(-1, (-1, length))
        lost = (parts - parts.mean(-1, keepdim=True)).square().mean()
        expected = segment_loss(torch.tensor(1 / length, dtype=torch.float64))
        assert lost.item() == pytest.approx(expected.item(), rel=0.03)


@pytest.mark.parametrize("make", [quadratic, priced])
def test_slopes_and_curvatures_are_derivatives(make):
    energy, x = make(3, 4), (0.1 + 0.8 * uniform(3, 4)).requires_grad_()
    (slope,) = torch.autograd.grad(energy.value(x).sum(), x)
    assert_close(energy.slope(x), slope)
    (curvature,) = torch.autograd.grad(energy.slope(x).sum(), x)
    assert_close(energy.curvature(x), curvature)
    assert (curvature >= 0).all()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("diffusion", lambda e: ResolutionField(diffusion=-1.0)),
        ("minimum", lambda e: ResolutionField(diffusion=1.0, minimum=0.0)),
        ("dt", lambda e: ResolutionField(diffusion=1.0).step(torch.ones(3), e, 0.0)),
        ("dt", lambda e: ResolutionField(diffusion=1.0).step(torch.ones(3), e, math.inf)),
        (
            "lengths",
            lambda e: ResolutionField(diffusion=1.0).step(
                torch.ones(3), e, 1.0, lengths=torch.zeros(3)
            ),
        ),
        (
            "lengths",
            lambda e: ResolutionField(diffusion=1.0).step(
                torch.ones(3), e, 1.0, lengths=torch.ones(2)
            ),
        ),
        (
            "before",
            lambda e: ResolutionField(diffusion=1.0).step(
                torch.ones(3), e, 1.0, before=(torch.ones(()), torch.ones(()))
            ),
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call(QuadraticEnergy(torch.ones(3), torch.ones(3)))
    assert caught.value.name == name
