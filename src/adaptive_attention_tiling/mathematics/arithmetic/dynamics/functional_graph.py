"""Maps of finite sets: rings of periodic points with trees that lead into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....errors import ArgumentError
from ..primes import check_prime
from ..rational_map import RationalMap


@dataclass(frozen=True)
class OrbitStatistics:
    """What the orbits of a map of a finite set look like.

    For a random map of n points about sqrt(pi n / 8) steps lie before the cycle and as many on
    it (Flajolet and Odlyzko, Random mapping statistics, EUROCRYPT 1989).
    """

    points: int
    periodic_points: int
    cycle_lengths: tuple[int, ...]
    mean_tail: float
    longest_tail: int
    points_without_preimage: int


@dataclass(frozen=True)
class FunctionalGraph:
    """x -> f(x) on {0, ..., n - 1}.

    Args:
        successors: f(0), ..., f(n - 1).

    Raises:
        ArgumentError: for an image outside of the set.
    """

    successors: tuple[int, ...]

    def __init__(self, successors: Sequence[int]) -> None:
        size = len(successors)
        outside = [image for image in successors if not 0 <= image < size]
        if outside:
            raise ArgumentError(
                "successors", outside[0], f"0 to {size - 1}", "number the points from 0"
            )
        object.__setattr__(self, "successors", tuple(successors))

    def tails(self) -> list[int]:
        """Steps from each point to the first periodic one: 0 just for the periodic points."""
        leaving = self._in_order_of_leaving()
        tails = [0] * len(self.successors)
        for point in reversed(leaving):
            tails[point] = tails[self.successors[point]] + 1
        return tails

    def cycles(self) -> list[list[int]]:
        """The cycles in order of their least points, each from that point on."""
        unseen = [tail == 0 for tail in self.tails()]
        found = []
        for point, fresh in enumerate(unseen):
            if not fresh or not unseen[point]:
                continue
            cycle = []
            while unseen[point]:
                unseen[point] = False
                cycle.append(point)
                point = self.successors[point]
            found.append(cycle)
        return found

    def statistics(self) -> OrbitStatistics:
        """Counts of cycles and tails."""
        tails = self.tails()
        lengths = sorted(len(cycle) for cycle in self.cycles())
        return OrbitStatistics(
            points=len(tails),
            periodic_points=sum(lengths),
            cycle_lengths=tuple(lengths),
            mean_tail=sum(tails) / max(1, len(tails)),
            longest_tail=max(tails, default=0),
            points_without_preimage=len(tails) - len(set(self.successors)),
        )

    def _in_order_of_leaving(self) -> list[int]:
        """The points off the cycles, each after all that lead to it: leaves are taken away."""
        leading_here = [0] * len(self.successors)
        for image in self.successors:
            leading_here[image] += 1
        leaving = [point for point, count in enumerate(leading_here) if count == 0]
        for point in leaving:
            image = self.successors[point]
            leading_here[image] -= 1
            if leading_here[image] == 0:
                leaving.append(image)
        return leaving


def functional_graph(system: RationalMap, prime: int) -> FunctionalGraph:
    """The map that f induces on P^1(F_p): points 0, ..., p - 1, and p for infinity.

    Raises:
        ArgumentError: for p that is no prime, or at which f has bad reduction.
    """
    check_prime("prime", prime)
    if system.resultant % prime == 0:
        raise ArgumentError(
            "prime", prime, "a prime of good reduction", f"{prime} divides the resultant of the map"
        )
    images = [system.form(x, 1) for x in range(prime)] + [system.form(1, 0)]
    return FunctionalGraph([_index(x % prime, z % prime, prime) for x, z in images])


def _index(x: int, z: int, prime: int) -> int:
    return x * pow(z, -1, prime) % prime if z else prime
