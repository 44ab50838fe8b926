import torch

from adaptive_attention_tiling.mathematics.geometry import RiemannianStructure, curvature
from adaptive_attention_tiling.mathematics.geometry.jets import first_jet, jacobian, second_jet

WEIGHT = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def wavy(x):
    """I + A(x) A(x)^T with A(x) of sines: no symmetry that could hide an exchange of indices."""
    factor = (x @ WEIGHT.T).sin().unflatten(-1, (3, 3))
    return torch.eye(3, dtype=x.dtype) + factor @ factor.mT


def points(*batch):
    return torch.randn(*batch, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_definition(metric, x):
    """R^a_bcd from derivatives of Gamma, index by index as in the textbook."""

    def connection(x):
        return curvature.christoffel(*first_jet(metric, x))

    gamma, derivative = jacobian(connection, x)
    first = torch.einsum("...adbc->...abcd", derivative)
    second = torch.einsum("...ace,...edb->...abcd", gamma, gamma)
    both = first + second
    return both - both.transpose(-1, -2)


def test_derivatives_are_those_of_nested_jacfwd():
    x = points(5)
    jet = second_jet(wavy, x)
    first = torch.func.jacfwd(wavy)
    assert torch.equal(jet.metric, wavy(x))
    assert torch.equal(jet.first, torch.func.vmap(first)(x))
    assert torch.equal(jet.second, torch.func.vmap(torch.func.jacfwd(first))(x))


def test_curvature_by_algebra_is_that_by_derivatives_of_the_connection():
    x = points(2, 3)
    jet, exact = second_jet(wavy, x), by_definition(wavy, x)
    lower = curvature.riemann(jet)
    torch.testing.assert_close(curvature.raised(jet.metric, lower), exact, rtol=0, atol=1e-13)
    ricci = torch.einsum("...abad->...bd", exact)
    torch.testing.assert_close(curvature.ricci(jet.metric, lower), ricci, rtol=0, atol=1e-13)
    scalar = (jet.metric.inverse() * ricci).sum((-1, -2))
    torch.testing.assert_close(curvature.scalar(jet), scalar, rtol=0, atol=1e-13)


def test_every_way_to_batch_gives_the_same():
    """A loop, `vmap`, and derivatives under `vmap`, where `linalg.solve` is wrong in torch 2.13."""
    manifold = RiemannianStructure(wavy, 3, checks=False)
    x = points(4)
    for ask in (manifold.christoffel_symbols, manifold.curvature_tensor, manifold.scalar_curvature):
        whole = ask(x)
        close = {"rtol": 0, "atol": 1e-13 * float(whole.abs().max())}
        torch.testing.assert_close(torch.stack([ask(one) for one in x]), whole, **close)
        torch.testing.assert_close(torch.func.vmap(ask)(x), whole, **close)
    slopes = torch.func.jacfwd(manifold.christoffel_symbols)
    loop = torch.stack([slopes(one) for one in x])
    torch.testing.assert_close(torch.func.vmap(slopes)(x), loop, rtol=0, atol=1e-12)
