"""Eight pictures of the mathematics, each with what was measured beside what theory says.

    python examples/mathematics_figures.py [FOLDER] [--quick]

Writes .svg files to FOLDER (docs/figures if none is given) and prints a line of numbers for each;
less than a minute on one core. With --quick, shorter orbits, a smaller box and coarser profiles.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_attention_tiling.mathematics.crystal import (
    BrillouinZone,
    density_of_states,
    face_centred_cubic,
    graphene,
    hexagonal,
    kronig_penney_bands,
    orthogonal,
    plane_wave_hamiltonian,
    reciprocal_lattice,
)
from adaptive_attention_tiling.mathematics.dynamics import (
    PeriodicGrid,
    Schnakenberg,
    flow_singularities,
    growth_rate,
    implicit_midpoint_orbit,
    reaction_diffusion,
    rotational_ricci_flow,
    split_orbit,
    turing_threshold,
)
from adaptive_attention_tiling.mathematics.runge_kutta import integrate
from adaptive_attention_tiling.visualization.mathematics import (
    Picture,
    band_picture,
    energy_drift_picture,
    largest_errors,
    pattern_picture,
    ricci_flow_picture,
    zone_wireframe_picture,
    zones_picture,
)

FOLDER = Path(__file__).parents[1] / "docs" / "figures"


class Figure(NamedTuple):
    """A picture and what was measured for it."""

    picture: Picture
    numbers: dict[str, float]


def energy_drift(*, quick: bool) -> Figure:
    """Kepler's ellipse of eccentricity 0.6, by six integrators."""
    periods, steps = (8, 150) if quick else (100, 150)
    step, count = 2 * math.pi / steps, periods * steps
    # From the far end, so that each period holds one passage of the near one.
    position = torch.tensor([1.6, 0.0], dtype=torch.float64)
    momentum = torch.tensor([0.0, 0.5], dtype=torch.float64)

    def force(q: Tensor) -> Tensor:
        return -q / q.norm() ** 3

    def field(z: Tensor) -> Tensor:
        return torch.cat([z[2:], force(z[:2])])

    times = step * torch.arange(count + 1, dtype=torch.float64)
    start = torch.cat([position, momentum])
    orbits: dict[str, Tensor] = {}
    for method in ("euler", "rk4"):
        orbits[method] = integrate(lambda t, z: field(z), start, times, method=method, steps=1)
    for method in ("symplectic_euler", "leapfrog", "yoshida4"):
        orbit = split_orbit(
            lambda p: p, force, position, momentum, step=step, steps=count, method=method
        )
        orbits[method] = torch.cat([orbit.positions, orbit.momenta], -1)
    orbits["implicit_midpoint"] = implicit_midpoint_orbit(field, start, step=step, steps=count)
    energies = {
        name: z[:, 2:].square().sum(-1) / 2 - 1 / z[:, :2].norm(dim=-1)
        for name, z in orbits.items()
    }
    period = 2 * math.pi
    errors = {name: largest_errors(times, row, period) for name, row in energies.items()}
    slopes = {name: growth_exponent(row) for name, row in errors.items()}
    symplectic = ("symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint")
    bounded = max(abs(slopes[name]) for name in symplectic)
    names = {
        "euler": "explicit Euler", "rk4": "RK4", "symplectic_euler": "symplectic Euler",
        "leapfrog": "leapfrog", "yoshida4": "Yoshida 4", "implicit_midpoint": "implicit midpoint",
    }  # fmt: skip
    picture = energy_drift_picture(
        times,
        {names[name]: row for name, row in energies.items()},
        period=period,
        title="Energy error of integrators, Kepler orbit",
        note=(
            f"Eccentricity 0.6, {steps} steps a period. RK4's error grows as time to the power "
            f"{slopes['rk4']:.3f} (theory: 1); those of the four symplectic methods stay, with "
            f"powers within ±{bounded:.3f} (theory: 0)."
        ),
    )
    last = {f"error {name}": float(row[-1]) for name, row in errors.items()}
    return Figure(picture, {f"power {name}": slope for name, slope in slopes.items()} | last)


def growth_exponent(errors: Tensor) -> float:
    """The power of time by which errors grow, over the second half of the periods."""
    number = torch.arange(1, len(errors) + 1, dtype=errors.dtype)
    half = len(errors) // 2
    away = number[half:].log() - number[half:].log().mean()
    return float((away * errors[half:].log()).sum() / away.square().sum())


def turing_pattern(*, quick: bool) -> Figure:
    """Schnakenberg's reaction a little beyond its threshold, from noise of 1 %."""
    points, side, time = (48, 55.0, 400.0) if quick else (120, 110.0, 1000.0)
    reaction, ratio = Schnakenberg(0.1, 0.9), 9.2
    rest = reaction.steady_state()
    diffusion = torch.tensor([1.0, ratio], dtype=torch.float64)
    critical = float(turing_threshold(reaction, rest).wavenumber_squared) ** 0.5
    k = torch.linspace(0.01, 1.5, 2981, dtype=torch.float64)
    rates = growth_rate(reaction, rest, diffusion, k)
    growing = k[rates > 0]
    unstable = float(growing[0]), float(growing[-1])

    grid = PeriodicGrid((points, points), (side, side))
    noise = torch.randn(points, points, 2, dtype=torch.float64, generator=seeded())
    flow = reaction_diffusion(grid, diffusion, reaction)
    field = flow.evolve(rest + 0.01 * noise, step=1.0, steps=int(time), method="etdrk2")
    wavenumbers, power, mean = radial_spectrum(grid, field[..., 0], 1.5 * critical)
    found, expected = 2 * math.pi / mean, 2 * math.pi / critical
    picture = pattern_picture(
        field[..., 0],
        wavenumbers,
        power,
        lengths=(side, side),
        unstable=unstable,
        theory=critical,
        most=1.5,
        name="u",
        title="A Turing pattern from noise",
        note=(
            f"Schnakenberg, a = 0.1, b = 0.9, d = {ratio}, t = {time:g}. Wavelength {found:.2f} "
            f"measured, {expected:.2f} at the threshold (dashed); the box resolves k to "
            f"{2 * math.pi / side:.3f}. Shaded: wave numbers that grow, {unstable[0]:.3f} to "
            f"{unstable[1]:.3f}."
        ),
    )
    return Figure(
        picture,
        {
            "wavelength": found,
            "wavelength 2 pi / k_c": expected,
            "wavelength that grows fastest": 2 * math.pi / float(k[rates.argmax()]),
            "wave number": mean,
            "wave number k_c": critical,
            "resolution of wave numbers": 2 * math.pi / side,
            "share of power that is unstable": float(
                power[(wavenumbers >= unstable[0]) & (wavenumbers <= unstable[1])].sum()
                / power.sum()
            ),
        },
    )


def radial_spectrum(grid: PeriodicGrid, field: Tensor, most: float) -> tuple[Tensor, Tensor, float]:
    """Wave numbers, the power of rings around each, and the mean of |k| by power up to `most`."""
    spectrum = grid.transform((field - field.mean())[..., None])[..., 0]
    twice = torch.full(spectrum.shape, 2.0, dtype=torch.float64)
    twice[:, 0] = 1.0
    if grid.points[-1] % 2 == 0:
        twice[:, -1] = 1.0
    power, size = twice * spectrum.abs().square(), grid.wavenumbers().norm(dim=-1)
    width = 2 * math.pi / max(grid.lengths)
    ring = (size / width).round().long().flatten()
    rings = torch.zeros(int(ring.max()) + 1, dtype=torch.float64)
    rings = rings.scatter_add(0, ring, power.flatten())
    low = size <= most
    mean = float((power * size)[low].sum() / power[low].sum())
    return width * torch.arange(len(rings), dtype=torch.float64), rings, mean


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def plane_zones(*, quick: bool) -> Figure:
    """The first six zones of the hexagonal lattice."""
    zone = BrillouinZone(hexagonal(1.0))
    area, expected = float(zone.volume()), 8 * math.pi**2 / math.sqrt(3)
    picture = zones_picture(
        zone,
        count=6,
        points=hexagonal_points(),
        title="Brillouin zones of the hexagonal lattice",
        note=(
            f"Each zone has the area of the first, {area:.4f} / a² (theory: 8π²/√3 = "
            f"{expected:.4f})."
        ),
    )
    return Figure(picture, {"area": area, "area 8 pi^2 / sqrt(3)": expected})


def cubic_zone(*, quick: bool) -> Figure:
    """The first zone of the face-centred cubic lattice with the usual path."""
    zone = BrillouinZone(face_centred_cubic(1.0))
    volume, expected = float(zone.volume()), 4 * (2 * math.pi) ** 3
    unit = 2 * math.pi
    points = {
        name: unit * torch.tensor(place, dtype=torch.float64)
        for name, place in {
            "Γ": (0.0, 0.0, 0.0), "X": (0.0, 1.0, 0.0), "W": (0.5, 1.0, 0.0),
            "K": (0.75, 0.75, 0.0), "L": (0.5, 0.5, 0.5), "U": (0.25, 1.0, 0.25),
        }.items()
    }  # fmt: skip
    picture = zone_wireframe_picture(
        zone,
        points=points,
        path=("Γ", "X", "W", "K", "Γ", "L", "U", "W"),
        view=(24.0, 15.0),
        title="First Brillouin zone, face-centred cubic",
        note=(
            f"{zone.faces} faces, {len(zone.vertices())} corners, volume {volume:.3f} / a³ "
            f"(theory: 4 (2π)³ = {expected:.3f}). Hidden edges are dashed."
        ),
    )
    return Figure(picture, {"faces": zone.faces, "volume": volume, "volume 4 (2 pi)^3": expected})


def graphene_bands(*, quick: bool) -> Figure:
    """The two pi bands along Γ, M, K, Γ with their density of states."""
    sheet, points = graphene(), hexagonal_points()
    path, distance, corners = along([points[name] for name in "ΓMKΓ"], list("ΓMKΓ"))
    energies = sheet.bands(path)
    grid = zone_grid(sheet.lattice, 40 if quick else 120)
    levels = torch.linspace(-3.3, 3.3, 265, dtype=torch.float64)
    width = 0.09 if quick else 0.045
    density = density_of_states(sheet.bands(grid), levels, width)
    corner = points["K"]
    direction = torch.tensor([1.0, 0.0], dtype=torch.float64)
    velocity, expected = float(sheet.velocities(corner, direction).max()), math.sqrt(3) / 2
    touching = float(sheet.bands(corner).abs().max())
    peak = float(levels[(density * (levels > 0)).argmax()])
    picture = band_picture(
        distance,
        energies,
        corners,
        density=(levels, density),
        energy_label="energy / t",
        title="π bands of graphene, tight binding",
        note=(
            f"Bands meet at K, |E| = {touching:.0e} t, with velocity {velocity:.6f} t a "
            f"(theory: √3 / 2 = {expected:.6f}). The density, broadened by {width} t, peaks at "
            f"{peak:.3f} t (theory: 1, the energy at M)."
        ),
    )
    return Figure(
        picture,
        {
            "energy at K": touching, "velocity at K": velocity, "velocity sqrt(3) / 2": expected,
            "peak of the density": peak, "states in all": float(density.sum() * 6.6 / 264),
        },
    )  # fmt: skip


def square_bands(*, quick: bool) -> Figure:
    """A weak cosine potential on the square lattice, by plane waves."""
    lattice = orthogonal(1.0, 1.0)
    reciprocal, strength, most = reciprocal_lattice(lattice), 4.0, 2 if quick else 3
    harmonics = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    amplitudes = torch.full((4,), strength, dtype=torch.float64)
    half = math.pi
    places = [torch.tensor(k, dtype=torch.float64) for k in ((0, 0), (half, 0), (half, half))]
    path, distance, corners = along([*places, places[0]], list("ΓXMΓ"), 40 if quick else 80)

    def bands(k: Tensor, scale: float) -> Tensor:
        matrix = plane_wave_hamiltonian(k, reciprocal, harmonics, scale * amplitudes, most)
        return torch.linalg.eigvalsh(matrix)[:, :9]

    energies = bands(path, 1.0)
    grid = zone_grid(lattice, 16 if quick else 40)
    everywhere = bands(grid, 1.0)
    levels = torch.linspace(float(energies.min()) - 3, 60, 200, dtype=torch.float64)
    width = 2.4 if quick else 1.2
    density = density_of_states(everywhere, levels, width)
    at_edge = bands(places[1][None], 1.0)[0]
    gap, expected = float(at_edge[1] - at_edge[0]), 2 * strength
    picture = band_picture(
        distance,
        energies,
        corners,
        density=(levels, density),
        free=bands(path, 0.0),
        most=60.0,
        energy_label="energy / (ħ² / 2 M a²)",
        title="Bands of a square lattice, plane waves",
        note=(
            f"V = {2 * strength:g} (cos 2πx + cos 2πy); free particles dashed. The lowest "
            f"bands at X are {gap:.4f} apart (nearly free theory, first order: 2 |V₁| = "
            f"{expected:g}). The density is broadened by {width}."
        ),
    )
    return Figure(picture, {"gap at X": gap, "gap 2 |V_1|": expected})


def wall_bands(*, quick: bool) -> Figure:
    """Kronig and Penney's comb of walls, P = 3 pi / 2."""
    phase = torch.linspace(0, math.pi, 81 if quick else 161, dtype=torch.float64)
    roots = kronig_penney_bands(phase, 1.5 * math.pi, 4)
    scaled = (roots / math.pi).square()
    gaps = [(float(scaled[:, n].max()), float(scaled[:, n + 1].min())) for n in range(3)]
    images = [2 * math.pi * n for n in (0, -1, 1, -2, 2)]
    free = torch.stack([((phase + shift) / math.pi).square() for shift in images], -1)
    gap = math.pi**2 * (gaps[0][1] - gaps[0][0])
    # cos x + (3 pi / 2) sin x / x is -1 at x = 3 pi / 2, where band 2 begins; band 1 ends at pi.
    expected = (2.25 - 1) * math.pi**2
    bottom = float(roots[0, 0])
    picture = band_picture(
        phase,
        scaled,
        [(0.0, "0"), (math.pi / 2, "π / 2"), (math.pi, "π")],
        free=free,
        gaps=gaps,
        energy_label="energy / (ħ² π² / 2 M a²)",
        title="Kronig and Penney's bands against k a",
        note=(
            f"Walls of strength P = 3π / 2; gaps shaded, a free particle dashed. First gap "
            f"{gap:.6f} ħ² / 2 M a² (theory: 5π² / 4 = {expected:.6f})."
        ),
    )
    return Figure(picture, {"first gap": gap, "first gap 5 pi^2 / 4": expected, "bottom": bottom})


def hexagonal_points() -> dict[str, Tensor]:
    """Γ, M and K of the hexagonal lattice with edge 1."""
    far = 4 * math.pi / 3
    high = math.sqrt(3) / 2 * far
    places = {"Γ": (0.0, 0.0), "M": (0.0, high), "K": (far / 2, high)}
    return {name: torch.tensor(place, dtype=torch.float64) for name, place in places.items()}


def along(
    places: Sequence[Tensor], names: Sequence[str], steps: int = 80
) -> tuple[Tensor, Tensor, list[tuple[float, str]]]:
    """Wavevectors on the way from place to place, their distances, and those of the corners."""
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:, None]
    legs = [a + share * (b - a) for a, b in pairwise(places)]
    path = torch.cat([places[0][None], *legs])
    distance = torch.cat([torch.zeros(1).double(), path.diff(dim=0).norm(dim=-1).cumsum(0)])
    return path, distance, [(float(distance[n * steps]), name) for n, name in enumerate(names)]


def zone_grid(lattice: Tensor, points: int) -> Tensor:
    """An even grid of wavevectors over a cell of the reciprocal lattice, off its corners."""
    share = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.cartesian_prod(share, share) @ reciprocal_lattice(lattice)


def pinching_neck(*, quick: bool) -> Figure:
    """A three-sphere with a neck, until its curvature is 2,000."""
    points = 121 if quick else 241
    angle = torch.linspace(0, math.pi, points, dtype=torch.float64)
    radii = angle.sin() * (1 - 0.8 * angle.sin().square())
    radii[[0, -1]] = 0.0
    flow = rotational_ricci_flow(radii, math.pi, dimension=3, largest_curvature=2e3, every=2)
    (found,) = flow_singularities(flow, 100.0)
    first = float(flow.curvatures[0]) * found.time
    picture = ricci_flow_picture(
        flow,
        times=found.time * torch.tensor([0.0, 0.5, 0.85, 1.0]),
        singularity=found,
        title="Ricci flow of a dumbbell to its pinch",
        note=(
            f"A sphere of dimension 3, whose {found.kind} pinches at T = {found.time:.5f} by the "
            f"law |K| = C / (T − t), dashed; C = {found.rate:.3f} (theory: 1/2 in the limit, "
            f"approached as 1 / log (T − t); at t = 0 it is {first:.3f})."
        ),
    )
    return Figure(
        picture,
        {
            "pinch time": found.time, "neck": float(found.kind == "neck"), "C": found.rate,
            "curvature at last": float(flow.curvatures[-1]),
        },
    )  # fmt: skip


FIGURES: dict[str, Callable[..., Figure]] = {
    "energy_drift": energy_drift,
    "turing_pattern": turing_pattern,
    "brillouin_zones": plane_zones,
    "brillouin_zone_fcc": cubic_zone,
    "bands_graphene": graphene_bands,
    "bands_square": square_bands,
    "bands_kronig_penney": wall_bands,
    "ricci_flow": pinching_neck,
}


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--quick", action="store_true", help="smaller sizes: does it run?")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, draw in FIGURES.items():
        figure = draw(quick=options.quick)
        path = figure.picture.save(options.folder / f"{name}.svg")
        told = ", ".join(f"{what} {number:.6g}" for what, number in figure.numbers.items())
        print(f"{path.name}: {told}", flush=True)
        found[name] = figure.numbers
    return found


if __name__ == "__main__":
    main()
