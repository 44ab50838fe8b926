"""`aat inspect` on tiny models: the page, the JSON, the summary, and every refusal by name."""

import json

import pytest

pytest.importorskip("transformers")

import torch
from typer.testing import CliRunner

from adaptive_attention_tiling.cli import app
from adaptive_attention_tiling.evaluation.recommendation import Recommendation
from adaptive_attention_tiling.visualization.inspection_report import check_document

WORDS = ["<unk>", "to", "be", "or", "not", "<", "script", ">", "</", "alert", "<s>", "</s>"]
VERSE = "to be or not to be <script>alert</script>\n"
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
}


def save_tokenizer(folder, *, marks):
    """A tokenizer of a few words, which puts <s> and </s> around a text if `marks`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if marks:
        words.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 10), ("</s>", 11)]
        )
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture
def decoder_folder(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SIZES, num_key_value_heads=1, max_position_embeddings=200)
    folder = tmp_path / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, marks=False)
    return folder


@pytest.fixture
def encoder_folder(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path / "tiny-bert"
    BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=64)).save_pretrained(folder)
    save_tokenizer(folder, marks=True)
    return folder


@pytest.fixture
def inspect(decoder_folder, tmp_path):
    """Run the command on the tiny decoder; what is given later wins over what is set here."""
    text = tmp_path / "verse.txt"
    text.write_text(VERSE * 60)
    threads = torch.get_num_threads()

    def run(*options):
        report = ["--report", str(tmp_path / "report.html")]
        usual = ["--model", str(decoder_folder), "--text", str(text), "--workers", "1", *report]
        given = ["inspect", *usual, "--tokens", "160", *map(str, options)]
        return CliRunner().invoke(app, given, env={"COLUMNS": "120"})

    yield run
    torch.set_num_threads(threads)


def refused(result, *parts):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_summary_page_and_recommendation(inspect, tmp_path):
    to = tmp_path / "heads.json"
    result = inspect("--pattern", "last=1,2:0.5", "--budget", 0.8, "--recommendation", to)
    assert result.exit_code == 0, result.output
    for expected in (
        "tiny, decoder, reads 160 tokens of verse: 2 layers of 2 heads",
        "budget 0.8",
        "window 64",
        "predicted harm",
        "matters most",
        "Pattern last: ",
        "processor time",
        str(tmp_path / "report.html"),
    ):
        assert expected in result.stdout
    assert "looking at heads" in result.stderr
    read = Recommendation.from_json(to.read_text())
    assert (read.budget, read.tokens) == (0.8, 160)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "aat inspect --model" in page


def test_json_is_one_whole_document_and_nothing_else(inspect, tmp_path):
    result = inspect("--json", "--threads", 1, "--tolerance", 0.2, "--quick")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    check_document(found)
    assert found["report"] == str(tmp_path / "report.html")
    assert (found["tokens"], found["tolerance"]) == (160, 0.2)
    assert "".join(found["pieces"]).startswith("to be or not to be <script>")
    assert [one["budget"] for one in found["budgets"]] == [0.25, 0.5, 0.75]
    assert found["command"].endswith("--tokens 160 --tolerance 0.2 --quick")
    assert found["machine"]["threads"] == 1


def test_an_encoder_reads_its_marks_and_as_much_as_it_takes(inspect, encoder_folder, tmp_path):
    # The last --tokens wins, so that it cannot be left out through the fixture.
    report = ["--report", str(tmp_path / "page.html"), "--workers", "1", "--json"]
    text = ["--text", str(tmp_path / "verse.txt"), "--model", str(encoder_folder)]
    result = CliRunner().invoke(app, ["inspect", *text, *report])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    check_document(found)
    assert (found["kind"], found["tokens"], found["model"]) == ("encoder", 64, "tiny-bert")
    assert (found["pieces"][0], found["pieces"][-1]) == ("<s>", "</s>")
    assert "".join(found["pieces"][1:-1]) == (VERSE * 60)[: len("".join(found["pieces"][1:-1]))]


def test_a_text_of_two_tokens(inspect, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("to be")
    result = inspect("--text", short, "--tokens", 2)
    assert result.exit_code == 0, result.output
    assert "A budget below what the cheapest options cost cannot be kept" in result.stdout


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--tokens", "201"], ["tokens: got 201, expected at most 200, the context"]),
        (["--tokens", "0"], ["--tokens: got 0, expected at least 2"]),
        (["--tokens", "1"], ["tokens: got 1, expected at least 2"]),
        (["--budget", "0"], ["budget: got 0.0"]),
        (["--tolerance", "-1"], ["tolerance: got -1.0"]),
        (["--workers", "0"], ["--workers: got 0, expected at least 1"]),
        (["--threads", "0"], ["--threads: got 0"]),
        (["--pattern", "1,2"], ["--pattern: got '1,2'", "strides=0:1,7:1"]),
        (["--pattern", "a=x"], ["pattern: got 'x'"]),
        (["--pattern", "a=no/such.csv"], ["pattern: got no/such.csv"]),
        (["--pattern", "a=300"], ["pattern: got the same weight", "longer text"]),
        (["--text", "no/such.txt"], ["no/such.txt: no such file or folder"]),
        (["--model", "no/such"], ["got no/such, expected a folder with a config.json"]),
        (["--report", "no/page.html", "--text", "no.txt"], ["--report: got no/page.html"]),
        (["--recommendation", "no/r.json"], ["--recommendation: got no/r.json"]),
    ],
)
def test_what_cannot_work_is_one_message(inspect, options, parts):
    refused(inspect(*options), *parts)


def test_a_pattern_from_a_file_of_broken_rows_is_refused(inspect, tmp_path):
    (tmp_path / "rows.csv").write_text("0,1\n1\n")
    refused(inspect("--pattern", f"rows={tmp_path / 'rows.csv'}"), "rows of equal length")


def test_a_model_without_the_interface_leaves_the_old_report(inspect, tmp_path):
    from transformers import MptConfig, MptForCausalLM

    config = MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=len(WORDS))
    MptForCausalLM(config).save_pretrained(tmp_path / "mpt")
    save_tokenizer(tmp_path / "mpt", marks=False)
    (tmp_path / "report.html").write_text("old")
    refused(inspect("--model", tmp_path / "mpt"), "MptForCausalLM has no attention layer", "Fix:")
    assert (tmp_path / "report.html").read_text() == "old"
