"""How many digits of hyperbolic space float32 keeps, from distance 1e-6 to 30.

    python experiments/hyperbolic_accuracy.py [--samples 20] [--json PATH]

Pairs of points at a distance d, with their middle at distance r from the origin, are rounded to
float32 in either form; then everything is compared with 90-digit truth for the rounded numbers.

    moved     how far rounding the points moved their distance, relative: no formula can do better
    distance  relative error of the distance of the rounded points
    log       error of log, relative to d; `law`: | |log| - d | / d
    exp       distance of the end from the true one; `best`: of the true one rounded
    inverse   distance of exp(log) from the other point; `best`: with a true log, rounded, and a
              true exp, rounded
    due       how far an eps of the tangent, carried along, and an eps of the end move the end:
              2 arsinh(eps ((1 + d) sinh d + cosh of the end's distance from the origin) / 2)
    carry     error of a transported unit vector; `turned`: | its length - 1 |

geoopt, where installed, is measured beside. A minute and a half on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hyperbolic_truth as truth
import mpmath
import torch
from circumstances import commit
from hyperbolic_truth import BALL, LORENTZ, Form, Vector
from torch import Tensor

from adaptive_attention_tiling.mathematics.geometry import Lorentz, PoincareBall

RESULT = Path(__file__).parent / "results" / "hyperbolic_accuracy.json"
DIMENSION = 3
DISTANCES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0, 10.0, 20.0, 30.0)
RADII = {"lorentz": (0.1, 2.0, 5.0, 15.0, 30.0), "ball": (0.1, 2.0, 5.0, 10.0)}
FIELDS = ("moved", "distance", "log", "law", "exp", "best_exp", "inverse", "best_inverse")
FIELDS += ("due", "carry", "turned")


@dataclass(frozen=True)
class Maps:
    """Maps of one library in one form, on float32 numbers; tangents as that form has them."""

    distance: Callable[[Tensor, Tensor], Tensor]
    log: Callable[[Tensor, Tensor], Tensor]
    exp: Callable[[Tensor, Tensor], Tensor]
    transport: Callable[[Tensor, Tensor, Tensor], Tensor]
    inner: Callable[[Tensor, Tensor, Tensor], Tensor]

    def length(self, point: Tensor, tangent: Tensor) -> float:
        """|v|, infinite where v is not finite."""
        finite = bool(tangent.isfinite().all())
        return float(self.inner(point, tangent, tangent)) ** 0.5 if finite else math.inf


def our_maps(form: Form) -> Maps:
    """Of this package."""
    space = (Lorentz if form is LORENTZ else PoincareBall)(DIMENSION)
    return Maps(space.distance, space.log, space.exp, space.transport, space.inner)


def geoopt_maps(form: Form) -> Maps:
    """Of geoopt; in Lorentz form its tangents are [T_0, T], and are led to and from the frame."""
    import geoopt

    if form is BALL:
        ball = geoopt.PoincareBall()
        return Maps(
            ball.dist, ball.logmap, ball.expmap, ball.transp,
            lambda x, v, w: ball.inner(x, v, w, keepdim=True)[..., 0],
        )  # fmt: skip
    space = geoopt.Lorentz()
    ours = Lorentz(DIMENSION)

    def whole(u: Tensor) -> Tensor:
        return torch.cat([(1 + u.square().sum(-1, keepdim=True)).sqrt(), u], -1)

    def ambient(u: Tensor, t: Tensor) -> Tensor:
        return torch.cat([(u * t).sum(-1, keepdim=True), ours.coordinate_tangent(u, t)], -1)

    def frame(u: Tensor, v: Tensor) -> Tensor:
        return ours.frame_tangent(u, v[..., 1:])

    return Maps(
        lambda u, v: space.dist(whole(u), whole(v)),
        lambda u, v: frame(u, space.logmap(whole(u), whole(v))),
        lambda u, t: space.expmap(whole(u), ambient(u, t))[..., 1:],
        lambda u, v, t: frame(v, space.transp(whole(u), whole(v), ambient(u, t))),
        lambda x, v, w: (v * w).sum(-1),
    )


def unit(generator: torch.Generator) -> Vector:
    """A random direction."""
    x = truth.exact(torch.randn(DIMENSION, generator=generator, dtype=torch.float64))
    return [a / truth.norm(x) for a in x]


def scaled(x: Vector, length: float) -> Vector:
    """length x."""
    return [mpmath.mpf(length) * a for a in x]


def pairs(form: Form, r: float, d: float, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs in float32, of those that this form can hold."""
    generator = torch.Generator().manual_seed(0)
    origin = truth.on_hyperboloid([mpmath.mpf(0)] * DIMENSION)
    for _ in range(samples):
        middle = truth.exp(origin, scaled(unit(generator), r))
        axis = unit(generator)
        ends = [truth.exp(middle, scaled(axis, sign * d / 2)) for sign in (1, -1)]
        reach = PoincareBall(DIMENSION).reach(torch.float32)
        if form is BALL and max(truth.distance(origin, end) for end in ends) > reach:
            continue
        first, second = (truth.rounded(form.point(end)) for end in ends)
        if not torch.equal(first, second):
            yield first, second


def radial_pairs(r: float, d: float, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs in Lorentz form exactly on one radius: directions of 12 bits times lengths of 12 bits.

    Both ends are r - d / 2 and r + d / 2 from the origin as nearly as such lengths allow.
    """
    generator = torch.Generator().manual_seed(1)
    for _ in range(samples):
        axis = torch.randint(-2047, 2048, (DIMENSION,), generator=generator).double()
        size = axis.norm().item()
        lengths = [_bits(math.sinh(r + s * d / 2) / size, 12) for s in (1, -1)]
        if lengths[0] != lengths[1]:
            first, second = (axis * length for length in lengths)
            yield first.float(), second.float()


def _bits(value: float, bits: int) -> float:
    scale = 2.0 ** (bits - 1 - math.floor(math.log2(value)))
    return round(value * scale) / scale


def errors(form: Form, maps: Maps, x: Tensor, y: Tensor, d: float) -> dict[str, float]:
    """Of one pair; see the top of this file."""
    at, to = (form.meant_point(truth.exact(p)) for p in (x, y))
    length = truth.distance(at, to)
    true_log = truth.log(at, to)

    def meant(tangent: Tensor, point: Vector) -> Vector:
        return form.meant_tangent(point, truth.exact(tangent))

    def off(tangent: Vector, expected: Vector) -> float:
        return float(truth.norm([a - b for a, b in zip(tangent, expected, strict=True)]))

    def rounding(point: Vector) -> tuple[Tensor, float]:
        near = truth.rounded(form.point(point))
        return near, float(truth.distance(form.meant_point(truth.exact(near)), point))

    def missed(point: Tensor, goal: Vector) -> float:
        inside = bool(point.isfinite().all()) and (form is LORENTZ or bool(point.norm() < 1))
        if not inside:
            return math.inf
        return float(truth.distance(form.meant_point(truth.exact(point)), goal))

    log = maps.log(x, y)
    near_log = truth.rounded(form.tangent(at, true_log))
    end = truth.exp(at, meant(near_log, at))
    near_end, best_exp = rounding(end)
    unit_log = truth.rounded(form.tangent(at, _unlike(true_log)))
    carried = maps.transport(x, y, unit_log)
    true_carried = truth.transport(at, to, meant(unit_log, at))
    size = truth.norm(true_carried)
    found = {
        "moved": abs(float(length) / d - 1),
        "distance": abs(float(maps.distance(x, y)) / float(length) - 1),
        "law": abs(maps.length(x, log) / float(length) - 1),
        "exp": missed(maps.exp(x, near_log), end),
        "best_exp": best_exp,
        "inverse": missed(maps.exp(x, log), to),
        "best_inverse": missed(near_end, to),
        "due": _due(float(length), float(max(to[0], end[0]))),
        "turned": abs(maps.length(y, carried) / float(size) - 1),
        "log": math.inf,
        "carry": math.inf,
    }
    if bool(log.isfinite().all()):
        found["log"] = off(meant(log, at), true_log) / float(length)
    if bool(carried.isfinite().all()):
        found["carry"] = off(meant(carried, to), true_carried) / float(size)
    return found


def _due(d: float, cosh_end: float) -> float:
    return 2 * math.asinh(2.0**-23 * ((1 + d) * math.sinh(d) + cosh_end) / 2)


def _unlike(vector: Vector) -> Vector:
    """A unit vector at an angle to this one."""
    turned = [a + b for a, b in zip(vector, reversed(vector), strict=True)]
    turned[0] += truth.norm(vector) / 2
    return scaled(turned, 1 / truth.norm(turned))


@dataclass(frozen=True)
class Row:
    """The worst of some pairs, whose middle is at distance r from the origin."""

    library: str
    form: str
    pairs: str
    r: float
    d: float
    samples: int
    worst: dict[str, float]


def measure(
    form: Form, library: str, r: float, d: float, samples: int, *, radial: bool = False
) -> Row | None:
    """None where float32 holds no such pair."""
    maps = our_maps(form) if library == "ours" else geoopt_maps(form)
    chosen = list(radial_pairs(r, d, samples) if radial else pairs(form, r, d, samples))
    if not chosen:
        return None
    found = [errors(form, maps, x, y, d) for x, y in chosen]
    # max() keeps a NaN only where it comes first
    worst = {
        name: max(math.inf if math.isnan(f[name]) else f[name] for f in found) for name in FIELDS
    }
    kind = "on a radius" if radial else "any"
    return Row(library, form.name, kind, r, d, len(chosen), worst)


def table(samples: int) -> Iterator[Row]:
    """All rows."""
    libraries = ["ours"] + ["geoopt"] * (importlib.util.find_spec("geoopt") is not None)
    for library in libraries:
        for form in (LORENTZ, BALL):
            for r in RADII[form.name]:
                yield from (measure(form, library, r, d, samples) for d in DISTANCES)
        for r in RADII["lorentz"][1:]:
            far = (d for d in DISTANCES if 1e-3 <= d < 2 * r)
            yield from (measure(LORENTZ, library, r, d, samples, radial=True) for d in far)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--json", metavar="PATH", default=str(RESULT))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("library form    pairs            r       d  " + " ".join(f"{f:>12}" for f in FIELDS))
    rows: list[dict[str, Any]] = []
    for row in table(options.samples):
        if row is None:
            continue
        shown = " ".join(f"{row.worst[name]:12.1e}" for name in FIELDS)
        print(f"{row.library:7} {row.form:7} {row.pairs:11} {row.r:6g} {row.d:7g}  {shown}")
        plain = asdict(row)
        plain["worst"] = {
            k: float(f"{v:.3g}") if math.isfinite(v) else None for k, v in row.worst.items()
        }
        rows.append(plain)
    facts = {
        "command": f"python experiments/hyperbolic_accuracy.py --samples {options.samples}",
        "commit": commit(),
        "torch": torch.__version__,
        "dtype": "float32",
        "units": "relative to d: moved, distance, log, law; to 1: carry, turned; distances: others",
        "none": "NaN, infinity, or a point outside of the ball",
        "rows": rows,
    }
    lines = json.dumps({**facts, "rows": []}, indent=1).rsplit("[]", 1)
    body = ",\n".join("  " + json.dumps(row) for row in rows)
    Path(options.json).write_text(f"{lines[0]}[\n{body}\n ]{lines[1]}\n")


if __name__ == "__main__":
    main()
