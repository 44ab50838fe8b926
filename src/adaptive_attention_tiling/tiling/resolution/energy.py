"""What a resolution costs: convex energies, one term a tile, and the law of the segment means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


def segment_loss(resolution: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
    """phi(R) = (1/R - R) / 6: the part of its density that a tile of resolution R loses a token.

    Let states take steps that are uncorrelated and of mean square rho, and replace each run of
    s = 1/R tokens by its mean. Two tokens d steps apart differ by d rho in mean square, so that
    the mean squared error of a token is

        s^-2 sum_{d=1}^{s-1} (s - d) d rho = rho (s^2 - 1) / (6 s) = rho (1/R - R) / 6,

    which is 0 at R = 1, decreasing and convex. (States that move on a straight line lose
    rho (s^2 - 1) / 12 instead.)
    """
    return (1 / resolution - resolution) / 6


def priced_resolution(
    density: Float[Tensor, "*n M"], price: Tensor, lowest: Tensor, highest: Tensor
) -> Float[Tensor, "*n M"]:
    """The R between `lowest` > 0 and `highest` <= 1 with the least density phi(R) + price R.

    Where the slope vanishes, density (1/R^2 + 1) / 6 = price, so R = (6 price / density - 1)^-1/2;
    where price <= density / 3 that is 1 or more.
    """
    # 6 price / density - 1 is 1 at R = 1; smaller values are beyond every bound.
    excess = (6 * price / density - 1).clamp(min=0.25)
    return excess.rsqrt().clamp(min=lowest, max=highest)


class AbstractEnergy(ABC):
    """e_i(R_i), convex in the resolution R_i of tile i, for each token of the tile."""

    @abstractmethod
    def value(self, resolution: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
        """e_i(R_i)."""

    @abstractmethod
    def slope(self, resolution: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
        """e_i'(R_i)."""

    @abstractmethod
    def curvature(self, resolution: Float[Tensor, "*n M"]) -> Float[Tensor, "*n M"]:
        """e_i''(R_i) >= 0."""

    @abstractmethod
    def map(self, function: Callable[[Tensor], Tensor]) -> AbstractEnergy:
        """The energy with `function` applied to its tensors [*n, M]."""


@dataclass(frozen=True)
class QuadraticEnergy(AbstractEnergy):
    """e_i(R) = weight_i (R - target_i)^2 / 2: each tile is drawn to a resolution of its own.

    target, weight: [*n, M], weight >= 0.
    """

    target: Tensor
    weight: Tensor

    def value(self, resolution: Tensor) -> Tensor:
        return 0.5 * self.weight * (resolution - self.target).square()

    def slope(self, resolution: Tensor) -> Tensor:
        return self.weight * (resolution - self.target)

    def curvature(self, resolution: Tensor) -> Tensor:
        return self.weight.expand_as(resolution)

    def map(self, function: Callable[[Tensor], Tensor]) -> QuadraticEnergy:
        return QuadraticEnergy(function(self.target), function(self.weight))


@dataclass(frozen=True)
class PricedEnergy(AbstractEnergy):
    """e_i(R) = density_i phi(R) + price_i R: information lost, and a price for every row read.

    density > 0 and price > 0: [*n, M]; phi is `segment_loss`. Without diffusion its least is at
    `priced_resolution`.
    """

    density: Tensor
    price: Tensor

    def value(self, resolution: Tensor) -> Tensor:
        return self.density * segment_loss(resolution) + self.price * resolution

    def slope(self, resolution: Tensor) -> Tensor:
        return self.price - self.density * (resolution.square().reciprocal() + 1) / 6

    def curvature(self, resolution: Tensor) -> Tensor:
        return self.density / (3 * resolution * resolution.square())

    def map(self, function: Callable[[Tensor], Tensor]) -> PricedEnergy:
        return PricedEnergy(function(self.density), function(self.price))
