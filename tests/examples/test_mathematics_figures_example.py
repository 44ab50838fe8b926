"""The worked example draws every figure, and what it measured for them is what theory says."""

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        import mathematics_figures

        folder = tmp_path_factory.mktemp("figures")
        return folder, mathematics_figures.main([str(folder), "--quick"])


def test_every_figure_is_written(drawn):
    folder, numbers = drawn
    assert sorted(numbers) == sorted(path.stem for path in folder.iterdir())
    for path in folder.iterdir():
        assert ElementTree.parse(path).getroot().get("role") == "img"
        assert path.stat().st_size < 150_000


def test_energies_of_symplectic_integrators_stay_and_those_of_rk4_drift(drawn):
    found = drawn[1]["energy_drift"]
    assert found["power rk4"] == pytest.approx(1, abs=0.05)
    for method in ("symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint"):
        assert abs(found[f"power {method}"]) < 0.02
    assert found["error euler"] > 0.5 > found["error symplectic_euler"]
    assert found["error symplectic_euler"] > found["error leapfrog"] > found["error yoshida4"]


def test_the_wavelength_of_the_pattern_is_that_of_theory(drawn):
    found = drawn[1]["turing_pattern"]
    resolution = found["resolution of wave numbers"]
    assert resolution == pytest.approx(2 * math.pi / 55)
    assert abs(found["wave number"] - found["wave number k_c"]) < resolution / 2
    assert found["wavelength 2 pi / k_c"] == pytest.approx(2 * math.pi / 0.3416407865**0.5)
    assert found["wavelength"] == pytest.approx(2 * math.pi / found["wave number"])
    assert found["share of power that is unstable"] > 0.8


def test_zones_and_bands_have_their_golden_values(drawn):
    numbers = drawn[1]
    plane, cubic = numbers["brillouin_zones"], numbers["brillouin_zone_fcc"]
    assert plane["area"] == pytest.approx(45.5857500621, rel=1e-11)
    assert cubic["volume"] == pytest.approx(992.20085377, rel=1e-11)
    assert cubic["faces"] == 14
    sheet = numbers["bands_graphene"]
    assert sheet["energy at K"] < 1e-12
    assert sheet["velocity at K"] == pytest.approx(math.sqrt(3) / 2, rel=1e-9)
    assert sheet["peak of the density"] == pytest.approx(1, abs=0.1)
    assert sheet["states in all"] == pytest.approx(1, abs=0.01)
    walls = numbers["bands_kronig_penney"]
    assert walls["first gap"] == pytest.approx(12.3370055014, rel=1e-9)
    assert walls["bottom"] == pytest.approx(2.25050361356, rel=1e-9)
    # Second order in V takes a little from 2 |V_1|.
    assert 0 < 8 - numbers["bands_square"]["gap at X"] < 0.05


def test_the_dumbbell_pinches_at_its_neck(drawn):
    found = drawn[1]["ricci_flow"]
    assert found["neck"] == 1
    assert found["curvature at last"] >= 2000
    assert found["pinch time"] == pytest.approx(0.0252, abs=2e-4)
    # 1/2 in the limit, approached from above as 1 / log (T - t).
    assert 0.5 < found["C"] < 0.6
