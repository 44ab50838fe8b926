import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.evaluation import exactness
from adaptive_attention_tiling.evaluation.continuation import agreeing, fill, write
from adaptive_attention_tiling.evaluation.reading import (
    ReadingPlan,
    check_tokens,
    compare,
    context_of,
    spread,
)


class Stages:
    """Remembers what began, and how many of its steps were done."""

    def __init__(self):
        self.seen = {}

    def __call__(self, name, steps):
        assert name not in self.seen
        self.seen[name] = [0, steps]

        def done():
            self.seen[name][0] += 1

        return done


PLAN = ReadingPlan(tolerances=(0.0, 0.3), new_tokens=6, curve_layers=1, curve_tokens=600)


def test_the_whole_comparison(model):
    ids, stages = torch.randint(50, (1, 640)), Stages()
    reading = compare(model, ids, PLAN, stages)
    assert reading.tokens == 640
    assert [tiled.tolerance for tiled in reading.tiled] == [0.0, 0.3]
    everything, some = reading.tiled
    assert everything.prefill.loss == pytest.approx(reading.exact.loss, abs=1e-5)
    assert (everything.read.fraction_read, some.read.fraction_read < 1) == (1.0, True)
    both = reading.continuations
    # 640 tokens fill the context, so the text is left off where the continuation must fit.
    assert (both.prompt_tokens, both.tolerance) == (634, 0.3)
    assert len(both.exact.ids) == len(both.tiled.ids) == 6
    assert both.exact.ids == tuple(
        model.generate(ids[:, :634], max_new_tokens=6, do_sample=False, eos_token_id=None)[0, 634:]
    )
    assert {curve.layer for curve in reading.curves} == {1}
    assert all(done == steps for done, steps in stages.seen.values()), stages.seen
    assert model.config._attn_implementation == "sdpa"


def test_nothing_is_measured_when_the_op_is_broken(model, ids, monkeypatch):
    monkeypatch.setattr(exactness, "tiled_attention", lambda query, *_, **__: query * 0)
    stages = Stages()
    with pytest.raises(CorrectnessError, match="Nothing was measured"):
        compare(model, ids, PLAN, stages)
    assert list(stages.seen) == ["checking against SDPA"]


@pytest.mark.parametrize(
    ("tokens", "new", "message"),
    [
        (641, 6, "tokens: got 641, expected at most 640"),
        (15, 6, "tokens: got 15, expected at least 16"),
        (600, 630, "model: got a context of 640 tokens"),
    ],
)
def test_tokens_that_do_not_fit_the_model_are_refused(model, tokens, new, message):
    with pytest.raises(ArgumentError, match=message):
        check_tokens(model, tokens, new)


@pytest.mark.parametrize("tolerances", [(), (-1.0,), (0.1, float("nan"))])
def test_a_plan_checks_its_tolerances(tolerances):
    with pytest.raises(ArgumentError, match="tolerance"):
        ReadingPlan(tolerances=tolerances)


@pytest.mark.parametrize(
    ("layers", "count", "expected"),
    [(30, 4, [3, 11, 18, 26]), (2, 4, [0, 1]), (1, 1, [0]), (9, 3, [1, 4, 7])],
)
def test_layers_are_spread_evenly(layers, count, expected):
    assert spread(layers, count) == expected


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [([1, 2, 3], [1, 2, 4], 2), ([1], [1], 1), ([1], [2], 0), ([], [], 0), ([1, 2], [1], 1)],
)
def test_leading_tokens_that_agree(one, other, count):
    assert agreeing(one, other) == count


def test_writing_tells_of_each_step(model):
    from transformers import DynamicCache

    cache, steps = DynamicCache(config=model.config), []
    first = fill(model, torch.arange(8)[None], cache)
    written = write(model, first, 4, cache, token_done=lambda: steps.append(1))
    assert (len(written.ids), len(steps)) == (4, 3)
    assert written.tokens_per_second > 0


@pytest.mark.parametrize(("kind", "context"), [("Bert", 16), ("Roberta", 14)])
def test_a_context_leaves_out_the_positions_of_padding(kind, context):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=50,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    encoder = getattr(transformers, f"{kind}Model")(config).eval()
    assert context_of(encoder) == context
    ids = torch.full((1, context + 1), 5)
    encoder(ids[:, 1:])
    with pytest.raises((IndexError, RuntimeError)):
        encoder(ids)
