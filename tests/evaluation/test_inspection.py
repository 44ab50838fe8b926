"""All heads of a small decoder and a small encoder, and the document that tells of them."""

import json

import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import FIGURES
from adaptive_attention_tiling.evaluation.inspection import (
    InspectionPlan,
    inspect_head,
    inspect_model,
    show_layers,
)
from adaptive_attention_tiling.evaluation.recommendation import judge_head
from adaptive_attention_tiling.visualization.inspection_report import check_document

PATTERNS = (("previous", "1"), ("stride", "0:1,8:1,16:1"))


@pytest.fixture
def encoder():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=300,
        initializer_range=0.5,
        attn_implementation="sdpa",
    )
    return BertModel(config).eval()


def told(inspection):
    return inspection.document(
        command="aat inspect",
        model="tiny",
        text="noise",
        pieces=["word "] * inspection.tokens,
        machine={"cores": 2},
        versions={"torch": "2"},
    )


def without_times(inspection):
    document = told(inspection)
    for name in ("seconds", "processor_seconds"):
        del document[name]
    return json.dumps(document, allow_nan=False)


def test_a_decoder(model, ids):
    ids, began = ids[:, :300], []

    def stage(name, steps):
        began.append([name, steps])

        def done():
            began[began.index(place)][1] -= 1

        place = began[-1]
        return done

    plan = InspectionPlan(patterns=PATTERNS, tolerance=0.3)
    inspection = inspect_model(model, ids, plan, stage)
    assert {left for _, left in began} == {0}
    assert inspection.violations == ()
    document = told(inspection)
    json.dumps(document, allow_nan=False)
    check_document(document)
    shape = ("kind", "tokens", "layers", "heads", "key_value_heads")
    assert [document[part] for part in shape] == ["decoder", 300, 2, 2, 1]
    assert [figure["name"] for figure in document["figures"]] == [f.name for f in FIGURES]
    assert [pattern["name"] for pattern in document["patterns"]] == ["previous", "stride"]
    check_attention(document, model, ids)
    check_choices(document)
    # Where shared keys are those of another group, or positions are lost, these are others.
    assert document["by_head"][0][0]["weights"] != document["by_head"][0][1]["weights"]
    parts = {"figures", "options", "patterns", "pictures", "reading the text"}
    assert parts <= set(document["processor_seconds"])
    assert all(seconds >= 0 for seconds in document["processor_seconds"].values())


def check_attention(document, model, ids):
    """Weights on every head's page are those of eager attention."""
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        layers = model(ids, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    for row, layer in zip(document["by_head"], layers, strict=True):
        for head, attention in zip(row, layer[0], strict=True):
            assert len(head["queries"]) == 24
            for query, keys, weights in zip(
                head["queries"], head["keys"], head["weights"], strict=True
            ):
                assert weights == pytest.approx(attention[query, keys].tolist(), rel=0.01, abs=1e-4)
                assert weights[0] == pytest.approx(attention[query].max().item(), rel=0.01)


def check_choices(document):
    """Budgets are kept where they can be, and heads' pages keep the tolerance at least cost."""
    errors = [[[t["error"] for t in head["trials"]] for head in row] for row in document["by_head"]]
    costs = [[[t["cost"] for t in head["trials"]] for head in row] for row in document["by_head"]]
    least = sum(min(head) for row in costs for head in row) / 4
    for one in document["budgets"]:
        chosen = [costs[n][m][one["choice"][n][m]] for n in range(2) for m in range(2)]
        assert one["cost"] == pytest.approx(sum(chosen) / 4, rel=1e-3)
        assert one["cost"] <= max(one["budget"], least) * 1.0001
    harms = [one["harm"] for one in sorted(document["budgets"], key=lambda one: one["budget"])]
    assert harms == sorted(harms, reverse=True)
    for n in range(2):
        for m in range(2):
            chosen = document["by_head"][n][m]["recommendation"]
            allowed = [c for c, e in zip(costs[n][m], errors[n][m], strict=True) if e <= 0.3]
            assert chosen["error"] <= 0.3
            assert chosen["cost"] == pytest.approx(min(allowed), rel=1e-3)
            assert chosen["reason"]


def test_an_encoder(encoder):
    ids = torch.randint(50, (1, 140))
    inspection = inspect_model(encoder, ids, InspectionPlan(patterns=PATTERNS, rows=16))
    document = told(inspection)
    check_document(document)
    assert (document["kind"], document["key_value_heads"]) == ("encoder", 2)
    assert inspection.violations == ()
    assert document["sensitivity_unit"] == "share of the last hidden states"
    calls = []
    show_layers(encoder, ids, calls.append)
    head = document["by_head"][1][1]
    call = calls[1]
    rows = (call.scale * call.query[1] @ call.key[1].mT).softmax(-1)
    # Keys after the query count.
    assert any(max(keys) > query for query, keys in zip(head["queries"], head["keys"], strict=True))
    for query, keys, weights in zip(head["queries"], head["keys"], head["weights"], strict=True):
        assert weights == pytest.approx(rows[query, keys].tolist(), rel=0.01, abs=1e-6)
    assert min(head["profile"]["offsets"]) < 0


def test_a_layer_that_is_used_again_counts_again():
    from transformers import AlbertConfig, AlbertModel

    config = AlbertConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
    )
    inspection = inspect_model(AlbertModel(config).eval(), torch.randint(2, 50, (1, 9)))
    check_document(told(inspection))
    assert (inspection.layers, inspection.heads) == (3, 2)
    assert len(set(inspection.sensitivity)) == 3


@pytest.mark.parametrize("tokens", [2, 3, 9])
@pytest.mark.parametrize("kind", ["model", "encoder"])
def test_a_text_of_a_few_tokens(request, kind, tokens):
    network = request.getfixturevalue(kind)
    plan = InspectionPlan(patterns=(("previous", "1"),))
    inspection = inspect_model(network, torch.randint(50, (1, tokens)), plan)
    check_document(told(inspection))
    assert inspection.violations == ()
    assert inspection.chosen.cost == 1


def test_any_number_of_workers_gives_the_same(model, ids):
    found = [
        without_times(inspect_model(model, ids[:, :140], InspectionPlan(workers=n, rows=8)))
        for n in (1, 2)
    ]
    assert found[0] == found[1]


def test_draws_are_those_of_the_seed(model, ids):
    found = [
        without_times(inspect_model(model, ids[:, :40], InspectionPlan(seed=seed, rows=8)))
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_every_head_of_the_model_has_a_number_of_its_own(model, ids, monkeypatch):
    from adaptive_attention_tiling.evaluation.inspection import head, inspection

    given, judged = [], []

    def kept(task):
        given.append((task.number, task.layer, task.head))
        return inspect_head(task)

    def judge(*tensors, rows, **others):
        judged.append(rows)
        return judge_head(*tensors, rows=rows, **others)

    monkeypatch.setattr(inspection, "inspect_head", kept)
    monkeypatch.setattr(head, "judge_head", judge)
    inspect_model(model, ids[:, :40], InspectionPlan(rows=8, judged_rows=5))
    assert given == [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1)]
    assert judged == [5] * 4


def test_the_middle_budget_is_what_pages_recommend(model, ids):
    plan = InspectionPlan(budgets=(0.9, 0.6, 1.0), rows=8)
    inspection = inspect_model(model, ids[:, :140], plan)
    assert plan.middle == 0.9
    assert [asked for asked, _ in inspection.by_budget] == [0.6, 0.9, 1.0]
    assert inspection.chosen == inspection.by_budget[1][1]
    assert inspection.by_budget[2][1].harm == 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"budgets": ()}, "budgets"),
        ({"budgets": (0.0,)}, "budget"),
        ({"budgets": (1.5,)}, "budget"),
        ({"budgets": (float("nan"),)}, "budget"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"rows": 1}, "rows"),
        ({"workers": 0}, "workers"),
        ({"patterns": (("", "1"),)}, "pattern"),
        ({"patterns": (("a", "1"), ("a", "2"))}, "pattern"),
        ({"patterns": (("a", "1:x"),)}, "pattern"),
        ({"patterns": (("a", "no/such.csv"),)}, "pattern"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(settings, name):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        InspectionPlan(**settings)


@pytest.mark.parametrize(
    ("shape", "name"), [((1, 1), "tokens"), ((1, 641), "tokens"), ((2, 9), "ids")]
)
def test_a_text_that_cannot_be_read_is_refused(model, shape, name):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        inspect_model(model, torch.zeros(shape, dtype=torch.long))


def test_as_many_pieces_as_tokens(model, ids):
    inspection = inspect_model(model, ids[:, :3])
    with pytest.raises(ArgumentError, match="pieces: got 2, expected 3"):
        inspection.document(
            command="", model="", text="", pieces=["a", "b"], machine={}, versions={}
        )
