import logging

import pytest

from adaptive_attention_tiling.data import encode
from adaptive_attention_tiling.data.pieces import surrounding_tokens, token_pieces

pytest.importorskip("tokenizers")


@pytest.fixture
def words():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.WordLevel({"<unk>": 0, "to": 1, "be": 2}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=found, unk_token="<unk>")


@pytest.fixture
def bytes_only():
    """A byte-level tokenizer without merges: "ä" takes two tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(models.BPE({letter: n for n, letter in enumerate(alphabet)}, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=found)


def test_pieces_reach_to_the_next_token_and_no_further(words):
    text = "  to be,\nor to be"
    ids = encode(words, text)
    pieces = token_pieces(words, text, ids)
    assert pieces == ["  to ", "be", ",\n", "or ", "to ", "be"]
    assert token_pieces(words, text, ids[:4]) == ["  to ", "be", ",\n", "or"]
    assert token_pieces(words, text, []) == []


def test_a_character_of_several_tokens_stays_whole(bytes_only):
    text = "aäb"
    ids = encode(bytes_only, text)
    pieces = token_pieces(bytes_only, text, ids)
    assert len(pieces) == len(ids) == 4
    assert "".join(pieces) == text
    assert pieces.count("") == 1


def test_a_slow_tokenizer_decodes_token_by_token():
    class Slow:
        def decode(self, ids):
            return f"<{ids[0]}>"

    assert token_pieces(Slow(), "whatever", [3, 1]) == ["<3>", "<1>"]


def test_a_text_longer_than_the_model_takes_is_no_matter(words, caplog, monkeypatch):
    words.model_max_length = 2
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    ids = encode(words, "to be or to be")
    assert len(token_pieces(words, "to be or to be", ids)) == 5
    assert caplog.records == []


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (None, [], []),
        ("$A", [], []),
        ("<s> $A", [3], []),
        ("<s> $A </s>", [3], [4]),
        ("<s> <s> $A </s>", [3, 3], [4]),
    ],
)
def test_what_a_tokenizer_puts_around_a_text(template, before, after):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {"<unk>": 0, "to": 1, "be": 2, "<s>": 3, "</s>": 4}
    found = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    if template is not None:
        found.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<s>", 3), ("</s>", 4)]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=found, unk_token="<unk>")
    assert surrounding_tokens(tokenizer) == (before, after)
