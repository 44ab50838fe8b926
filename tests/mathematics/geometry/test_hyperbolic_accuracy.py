"""float32 against 90-digit truth, on a coarse grid of experiments/hyperbolic_accuracy.py."""

import math
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
EPS = 2.0**-23
CASES = [("lorentz", r, d, False) for r in (0.1, 5.0, 15.0, 30.0) for d in (1e-6, 1e-2, 1.0, 30.0)]
CASES += [("lorentz", r, d, True) for r in (5.0, 30.0) for d in (1e-3, 1.0, 8.0)]
CASES += [("ball", r, d, False) for r in (0.1, 5.0) for d in (1e-6, 1e-2, 1.0, 10.0, 20.0)]
CASES += [("ball", 0.1, 30.0, False), ("ball", 10.0, 1.0, False), ("ball", 10.0, 10.0, False)]


@pytest.fixture
def accuracy(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import hyperbolic_accuracy

    return hyperbolic_accuracy


@pytest.mark.parametrize(("form", "r", "d", "radial"), CASES)
def test_float32_keeps_its_digits_from_distance_1e_6_to_30(accuracy, form, r, d, radial):
    form = {"lorentz": accuracy.LORENTZ, "ball": accuracy.BALL}[form]
    worst = accuracy.measure(form, "ours", r, d, 3, radial=radial).worst
    for name in ("distance", "log", "law", "carry", "turned"):
        assert worst[name] < 8 * EPS, name
    for name in ("exp", "inverse"):
        assert math.sinh(worst[name] / 2) < 4 * math.sinh(worst["due"] / 2), name
    if d < 0.5 and worst["moved"] < 1:  # a short step, and float32 holds such points
        assert worst["exp"] < 1.01 * worst["best_exp"] + EPS * d


def test_truth_agrees_with_float64_where_that_is_accurate(accuracy):
    truth = accuracy.truth
    for form, seed in ((accuracy.LORENTZ, 0), (accuracy.BALL, 1)):
        generator = torch.Generator().manual_seed(seed)
        x, y, v = (torch.rand(3, generator=generator, dtype=torch.float64) / 2 for _ in range(3))
        maps = accuracy.our_maps(form)
        at, to = (form.meant_point(truth.exact(p)) for p in (x, y))

        def told(tangent, point, form=form):
            values = [float(a) for a in form.tangent(point, tangent)]
            return torch.tensor(values, dtype=torch.float64)

        t = form.meant_tangent(at, truth.exact(v))
        end = [float(a) for a in form.point(truth.exp(at, t))]
        assert maps.distance(x, y).item() == pytest.approx(float(truth.distance(at, to)), rel=1e-13)
        torch.testing.assert_close(maps.log(x, y), told(truth.log(at, to), at))
        torch.testing.assert_close(maps.exp(x, v), torch.tensor(end, dtype=torch.float64))
        torch.testing.assert_close(maps.transport(x, y, v), told(truth.transport(at, to, t), to))
