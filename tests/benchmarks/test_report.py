"""The report: goals read from results, what is not known said, and the commands."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest


def told(case, contender, ms, **more):
    row = {"case": case, "inputs": {"T": 1}, "contender": contender, "rule": "", "error": 1e-7}
    row |= {"cpu_ms": {"median": ms, "least": ms}, "wall_ms": {"median": ms, "least": ms}}
    return row | {"rounds_cpu_ms": [ms, ms], "native": ""} | more


def document(rows, **more):
    made = {"command": "python -m benchmarks x", "date": "2026-01-02", "commit": "abc"}
    made |= {"machine": "x86_64, A", "cores": 2, "threads": 1, "load_average": [0.5, 0, 0]}
    made |= {"native": {"choice": "avx2: fastest"}, "python": "3.11", "versions": {"torch": "2"}}
    return made | {"quick": False, "results": {"rows": rows}} | more


@pytest.fixture
def splats():
    rows = []
    for tokens, exact, own in ((8192, 290.0, 10.0), (32768, 5000.0, 40.0)):
        case = f"{tokens} tokens, forward"
        rows.append(told(case, "sdpa", exact, baseline="sdpa", **{"baseline / it": 1.0}))
        rows.append(told(case, "splats K=64, native avx2", own, native="avx2"))
    return rows


def goal(what):
    from benchmarks.goals import TABLES

    return next(g for goals in TABLES.values() for g in goals if g.what.startswith(what))


def test_a_goal_is_met_by_ratios_of_one_run(splats):
    found = goal("splat attention forward").finding({"gaussian_splat": {"rows": splats}})
    assert found.text == "29x / 125x"
    assert found.met is True
    splats[0]["rounds_cpu_ms"] = [270.0, 270.0]
    found = goal("splat attention forward").finding({"gaussian_splat": {"rows": splats}})
    assert (found.text, found.met) == ("27x / 125x", False)


def test_what_was_not_measured_is_not_judged(splats):
    forward = goal("splat attention forward")
    assert forward.finding({}).text == "not measured"
    half = forward.finding({"gaussian_splat": {"rows": splats[:2]}})
    assert (half.text, half.met) == ("29x / -", None)
    absent = {"case": "8192 tokens, forward", "contender": "splats K=64, native", "absent": "why"}
    rows = [splats[0], absent]
    assert forward.finding({"gaussian_splat": {"rows": rows}}).text == "why"


def test_avx512_is_a_share_of_time_and_needs_the_processor():
    case, name = "splats K=64, 4096 tokens, forward", "splats K=64, native"
    rows = [told(case, f"{name} avx512", 7.0), told(case, f"{name} avx2", 10.0)]
    rows.append(told(case, f"{name} baseline", 30.0))
    sets = goal("AVX2 build")
    found = sets.finding({"instruction_sets": {"rows": rows}})
    assert (found.text, found.met) == ("70 % (splats K=64, 4096 tokens, forward)", True)
    found = sets.finding({"instruction_sets": {"rows": rows[1:]}})
    assert "needs AVX-512; AVX2 3x of baseline" in found.text
    assert found.met is None


def test_tiled_attention_needs_both_speed_and_loss():
    rows = [
        {"way": "sdpa", "sdpa / it": 1.0, "loss above exact": 0.0},
        {"way": "tolerance 0.1", "sdpa / it": 3.5, "loss above exact": 0.004},
        {"way": "tolerance 0.3", "sdpa / it": 6.0, "loss above exact": 0.03},
    ]
    found = goal("tiled attention, SmolLM2").finding({"tiled_model": {"rows": rows}})
    assert found.met is False
    rows[2]["loss above exact"] = 0.02
    assert goal("tiled attention, SmolLM2").finding({"tiled_model": {"rows": rows}}).met


def test_every_goal_has_a_row_even_if_nothing_was_measured(splats):
    from benchmarks.goals import SPECIFICATION, SPEED
    from benchmarks.report import lines

    text = "\n".join(lines({"gaussian_splat": document(splats)}, "plot.svg"))
    for one in (*SPEED, *SPECIFICATION):
        assert f"| {one.what} | {one.goal} | " in text
    assert "| 29x / 125x | yes |" in text
    assert "not measured here: needs a GPU" in text
    assert "plot.svg" in text
    quick = "\n".join(lines({"gaussian_splat": document(splats, quick=True)}, ""))
    assert "| 29x / 125x |  |" in quick


def test_the_plot_shows_time_by_length(tmp_path, splats):
    from benchmarks.report import write

    write({"gaussian_splat": document(splats)}, tmp_path / "one.md")
    drawing = ElementTree.parse(tmp_path / "one.svg")
    lines = drawing.findall(".//{http://www.w3.org/2000/svg}polyline")
    ends = [[pair.split(",") for pair in line.get("points").split()] for line in lines]
    assert [len(points) for points in ends] == [2, 2]
    exact, own = ([float(y) for _, y in points] for points in ends)
    assert exact[1] < exact[0] < own[0]  # more time is higher up
    assert own[1] < own[0]


def test_results_are_read_back_as_they_were(tmp_path, monkeypatch, splats):
    from benchmarks import __main__, registry, report

    monkeypatch.setattr(registry, "run", lambda name, options: {"rows": splats, "of": name})
    monkeypatch.setattr("adaptive_attention_tiling.backends.memory.keep_freed_memory", bool)
    made = __main__.measure("tiler", quick=True, threads=1)
    assert made["results"] == {"rows": splats, "of": "tiler"}
    assert (made["benchmark"], made["quick"], made["threads"]) == ("tiler", True, 1)
    (tmp_path / "tiler.json").write_text(json.dumps(made))
    assert report.read(tmp_path) == {"tiler": made}


def test_only_what_lacks_is_run(tmp_path, monkeypatch):
    from benchmarks import report

    monkeypatch.setattr(report, "REGISTRY", dict.fromkeys(("there", "lacks", "fails")))
    (tmp_path / "there.json").write_text("{}")
    run = []

    def process(words, **_):
        name, path = words[3], words[5]
        run.append(name)
        with open(path, "w") as out:
            out.write("{}")
        return subprocess.CompletedProcess(words, int(name == "fails"))

    monkeypatch.setattr(report.subprocess, "run", process)
    assert report.collect(tmp_path, quick=True, threads=1) == ["fails"]
    assert run == ["lacks", "fails"]
    assert set(report.read(tmp_path)) == {"there", "lacks"}


def command(root, *words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=root, capture_output=True, text=True
    )


def test_the_list_names_every_benchmark(root):
    from benchmarks.registry import REGISTRY

    listed = command(root, "list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(REGISTRY)
    assert all((root / "benchmarks" / f"{name}.py").exists() for name in REGISTRY)
    assert {"gaussian_splat", "fidelity_attention", "tiler"} <= set(REGISTRY)


def test_an_unknown_name_is_refused_with_those_there_are(root):
    refused = command(root, "gaussian_splats")
    assert refused.returncode == 1
    assert "no benchmark is called 'gaussian_splats'; there are gaussian_splat," in refused.stderr
