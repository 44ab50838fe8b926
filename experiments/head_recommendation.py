"""Are the options that `recommend` deals to heads dealt to the right heads? SmolLM2, real text.

    python experiments/head_recommendation.py [--table sensitivity|budgets] [--quick] [--json PATH]
                                              [--work FOLDER] [--part K/N]

Every head of SmolLM2-135M-Instruct is judged on one speech: each option fitted, its error on
held-out queries in a Fisher metric of the head's output. Other speeches are then read with the
heads swapped; nothing is trained. Cost is multiply-adds a query as a share of exact attention's.

- `sensitivity`: single heads are swapped one at a time. Which number a head, worked out from the
  calibration speech alone, foretells best what that does to another speech? Spearman's correlation
  over heads and options with the loss added and with KL(exact, swapped), nats per token.
- `budgets`: all heads as recommended at three budgets, against the same options dealt to heads at
  random (three draws) and in layer order (cheapest first, cheapest last), and against one option
  for all heads. Loss added and KL, mean over speeches, beside the harm predicted.

How errors add up over heads (`COMPOUNDING` of `recommend`) and the number of judged queries were
set by what they did to Grant's message of 1873 and Carter's of 1981; the texts of these tables had
no part in it.

What has been worked out is kept in --work, if given, and not made again; N processes with that
folder and parts 0/N to (N - 1)/N share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import circumstances, rounded
from renormalization_levels import spearman
from torch import Tensor

from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model
from adaptive_attention_tiling.data.sources import named
from adaptive_attention_tiling.evaluation.recommendation import (
    FittedHead,
    HeadChoice,
    HeadOption,
    HeadSensitivity,
    OptionTrial,
    Recommendation,
    default_options,
    fit_and_judge,
    fit_option,
    harm_of,
    head_sensitivity,
    judge_head,
    recommend,
    swapped,
)
from adaptive_attention_tiling.evaluation.variant import observed

CALIBRATION = "1907-Roosevelt-1"
TEXTS = ("1862-Lincoln-1", "1941-Roosevelt-1")
BUDGETS = (0.25, 0.125, 0.5)
DRAWS = 3
SWAPS = 36
SINGLE = ("window 64", "tiled 1", "fidelity 8")
FOR_ALL = ("window 64", "window 256", "tiled 0.1")
EVERY = 4
TOLD = ("cost", "predicted_harm", "loss_added", "kl")
SENSED = 1024
Trials = list[list[list[OptionTrial]]]


class Reader:
    """A model, a calibration text and texts to swap heads on."""

    def __init__(self, tokens: int, texts: tuple[str, ...]) -> None:
        self.model, self.tokenizer = load_model()
        self.tokens = tokens
        self.ids = self.text(CALIBRATION, tokens)
        self.texts = {name: self.text(name, tokens) for name in texts}
        self.heads: list[tuple[Tensor, Tensor, Tensor, float]] = []
        self.inputs: list[Tensor] = []
        self.options = default_options(tokens)

        def see(_: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
            shared = query.shape[1] // key.shape[1]
            key, value = (x[0].repeat_interleave(shared, 0) for x in (key, value))
            self.heads.append((query[0].clone(), key, value, scale))

        with observed(self.model, see), torch.no_grad():
            self.inputs = self.model.base_model(
                self.ids, use_cache=False, output_hidden_states=True
            ).hidden_states

    def text(self, name: str, tokens: int) -> Tensor:
        """The first tokens of a speech [1, T]."""
        return torch.tensor([first_tokens(named(SotuSpeeches(), name), self.tokenizer, tokens)])

    @property
    def places(self) -> list[tuple[int, int]]:
        """Layer and head of every head."""
        return [(n, h) for n, own in enumerate(self.heads) for h in range(len(own[0]))]

    def of_head(self, layer: int, head: int) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
        query, key, value, scale = self.heads[layer]
        return (query[head], key[head], value[head]), scale

    def errors(self, layer: int, head: int, metric: Tensor | None) -> dict[str, float]:
        """Squared, of the options that are swapped singly, by their names."""
        tensors, scale = self.of_head(layer, head)
        options = [option for option in self.options if option.name in SINGLE]
        trials = judge_head(*tensors, scale=scale, options=options, metric=metric)
        return {trial.option.name: trial.error**2 for trial in trials}

    def fitted(
        self, layer: int, head: int, options: tuple[HeadOption, ...]
    ) -> dict[str, FittedHead]:
        tensors, scale = self.of_head(layer, head)
        return {option.name: fit_option(option, *tensors, scale=scale) for option in options}

    def residual_metric(self, layer: int, head: int) -> tuple[Tensor, float]:
        """W_O^T W_O of a head, and |W_O o|^2 as a share of the squared residual stream."""
        (_, _, value), _ = tensors, scale = self.of_head(layer, head)
        width = value.shape[1]
        weight = self.model.model.layers[layer].self_attn.o_proj.weight
        weight = weight[:, head * width : (head + 1) * width].detach()
        out = fit_option(self.options[0], *tensors, scale=scale).read(*tensors)
        given = (out @ weight.mT).square().sum(-1).mean()
        return weight.mT @ weight, float(given / self.inputs[layer][0].square().sum(-1).mean())


@dataclass
class Speech:
    """What exact attention makes of a text: inputs of its layers, last hidden states and loss."""

    ids: Tensor
    entering: tuple[Tensor, ...]
    exact: Tensor
    loss: float

    def read(self, model: Any, first: int = 0) -> dict[str, float]:
        """Loss and KL with whatever attention is in force from layer `first` on."""
        with torch.no_grad(), layers_from(model, first):
            hidden = model.base_model(inputs_embeds=self.entering[first], use_cache=False)
        found = measured(model, self, hidden.last_hidden_state[0])
        return {"loss_added": found["loss"] - self.loss, "kl": found["kl"]}


def speech_of(model: Any, ids: Tensor, *, resumable: bool = False) -> Speech:
    """With the inputs of all layers, or of the first only."""
    with torch.no_grad():
        states = model.base_model(ids, use_cache=False, output_hidden_states=resumable)
        first = model.get_input_embeddings()(ids)
    entering = states.hidden_states[:-1] if resumable else (first,)
    speech = Speech(ids, entering, states.last_hidden_state[0], 0.0)
    speech.loss = measured(model, speech, speech.exact)["loss"]
    return speech


def measured(model: Any, speech: Speech, hidden: Tensor) -> dict[str, float]:
    """Nats per token of the next words, and of KL(exact, this) at every fourth token."""
    words, loss, divergence = model.get_output_embeddings(), 0.0, 0.0
    targets = speech.ids[0, 1:]
    with torch.no_grad():
        for part in torch.arange(len(targets)).split(256):
            logs = words(hidden[part]).float().log_softmax(-1)
            loss += float(-logs.gather(1, targets[part, None]).double().sum())
            exact = words(speech.exact[part[::EVERY]]).float().log_softmax(-1)
            divergence += float((exact.exp() * (exact - logs[::EVERY])).double().sum())
    return {"loss": loss / len(targets), "kl": divergence / len(targets[::EVERY])}


@contextmanager
def layers_from(model: Any, first: int) -> Iterator[None]:
    """Within the context, `model` starts at this layer."""
    whole = model.base_model.layers
    model.base_model.layers = whole[first:]
    try:
        yield
    finally:
        model.base_model.layers = whole


def exact_but(reader: Reader, layer: int, head: int, option: int) -> Recommendation:
    """Everything exact except one head."""
    shape = [len(own[0]) for own in reader.heads]
    indices = [[0] * heads for heads in shape]
    indices[layer][head] = option
    return dealt(reader.options, indices)


def dealt(options: tuple[HeadOption, ...], indices: list[list[int]]) -> Recommendation:
    """Options by their places, for swapping only."""
    rows = tuple(tuple(HeadChoice(n, 0.0, 0.0, 0.0, "dealt") for n in row) for row in indices)
    return Recommendation(options, rows)


def predictors(
    reader: Reader, sensitivity: HeadSensitivity, layer: int, head: int
) -> dict[str, dict[str, float]]:
    """Harm of each option in one head, by each way to foretell it."""
    fisher, size = sensitivity.metric[layer, head], float(sensitivity.values[layer, head])
    residual, share = reader.residual_metric(layer, head)
    plain = reader.errors(layer, head, None)
    in_residual = reader.errors(layer, head, residual)
    in_fisher = reader.errors(layer, head, fisher)
    found = {
        name: {
            "error": plain[name],
            "error of what is added, share of the residual stream": share * in_residual[name],
            "error, Fisher size": size * plain[name],
            "error in Fisher metric": size * in_fisher[name],
        }
        for name in plain
    }
    return found


def sensitivity_rows(reader: Reader, swaps: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Single heads, drawn evenly, by name; worked out when called."""
    sensitivity = head_sensitivity(reader.model, reader.ids[:, :SENSED])
    speech = speech_of(reader.model, next(iter(reader.texts.values())), resumable=True)
    places = random.Random(0).sample(reader.places, min(swaps, len(reader.places)))
    options = [n for n, option in enumerate(reader.options) if option.name in SINGLE]
    for layer, head in sorted(places):

        def row(layer: int = layer, head: int = head) -> Any:
            harms = predictors(reader, sensitivity, layer, head)
            found = []
            for n in options:
                swap = exact_but(reader, layer, head, n)
                fitted = empty(reader)
                fitted[layer][head] = reader.fitted(layer, head, (reader.options[n],))
                with swapped(reader.model, swap, fitted):
                    read = speech.read(reader.model, layer)
                name = reader.options[n].name
                found.append({"option": name, **read, "predicted": harms[name]})
            return {"layer": layer, "head": head, "swaps": found}

        yield f"layer {layer} head {head}", row


def correlations(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Spearman's, over all single swaps, of each predictor with each kind of harm."""
    swaps = [swap for row in rows for swap in row["swaps"]]
    return {
        name: {
            harm: spearman([s["predicted"][name] for s in swaps], [s[harm] for s in swaps])
            for harm in ("loss_added", "kl")
        }
        for name in swaps[0]["predicted"]
    }


def empty(reader: Reader) -> list[list[dict[str, FittedHead]]]:
    return [[{} for _ in own[0]] for own in reader.heads]


class Work:
    """A folder in which several processes keep what they have worked out, by name."""

    def __init__(self, folder: str | None, part: str) -> None:
        self.folder = None if folder is None else Path(folder)
        self.part, self.parts = (int(word) for word in part.split("/"))
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def mine(self, number: int) -> bool:
        return number % self.parts == self.part

    def kept(self, name: str, make: Callable[[], Any], *, mine: bool = True) -> Any:
        """What is kept as `name`, or else is made here if `mine`, or waited for."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name.replace(' ', '_').replace('/', '_')}.pt"
        while not path.exists():
            if mine:
                unfinished = path.with_suffix(".part")
                torch.save(make(), unfinished)
                unfinished.rename(path)
            else:
                time.sleep(1)
        return torch.load(path, weights_only=False)


class Dealer:
    """Recommendations for a reader, and what else the same options could be dealt to."""

    def __init__(self, reader: Reader, work: Work) -> None:
        self.reader = reader
        self.sensitivity = work.kept(
            "sensitivity",
            lambda: head_sensitivity(reader.model, reader.ids[:, :SENSED]),
            mine=work.mine(0),
        )
        self.trials: Trials = []
        self.fitted = []
        self.cpu_s = 0.0
        numbers = sorted(range(len(reader.heads)), key=lambda n: not work.mine(n))
        layers = {
            n: work.kept(f"layer {n}", lambda n=n: self.layer(n), mine=work.mine(n))
            for n in numbers
        }
        for _, (found, seconds) in sorted(layers.items()):
            self.trials.append([[trial for trial, _ in own] for own in found])
            self.fitted.append([{t.option.name: fitted for t, fitted in own} for own in found])
            self.cpu_s += seconds

    def layer(self, layer: int) -> tuple[list[list[tuple[OptionTrial, FittedHead]]], float]:
        """All options fitted to the heads of a layer and judged, and the processor time of it."""
        started, found = time.process_time(), []
        for head in range(len(self.reader.heads[layer][0])):
            tensors, scale = self.reader.of_head(layer, head)
            metric = self.sensitivity.metric[layer, head]
            found.append(
                fit_and_judge(*tensors, scale=scale, options=self.reader.options, metric=metric)
            )
        return found, time.process_time() - started

    def recommended(self, budget: float) -> Recommendation:
        return recommend(self.trials, self.sensitivity.values.tolist(), budget)

    def rivals(self, best: Recommendation) -> dict[str, Recommendation]:
        """The same options in other heads."""
        flat = [n for row in best.indices for n in row]
        prices = [self.mean_cost(n) for n in range(len(self.reader.options))]
        by_cost = sorted(flat, key=lambda n: prices[n])
        orders = {"cheapest first": by_cost, "cheapest last": by_cost[::-1]}
        for draw in range(DRAWS):
            orders[f"random {draw}"] = random.Random(draw).sample(flat, len(flat))
        return {name: self.dealt(order) for name, order in orders.items()}

    def for_all(self, name: str) -> Recommendation:
        """One option in all heads."""
        number = [option.name for option in self.reader.options].index(name)
        return self.dealt([number] * len(self.reader.places))

    def mean_cost(self, option: int) -> float:
        costs = [own[option].cost for row in self.trials for own in row]
        return sum(costs) / len(costs)

    def dealt(self, flat: list[int]) -> Recommendation:
        place = iter(flat)
        rows = []
        for own, sizes in zip(self.trials, self.sensitivity.values.tolist(), strict=True):
            picked = [
                (trials[n := next(place)], n, s) for trials, s in zip(own, sizes, strict=True)
            ]
            rows.append(
                tuple(HeadChoice(n, t.cost, t.error, harm_of(t, s), "dealt") for t, n, s in picked)
            )
        return Recommendation(self.reader.options, tuple(rows))


def budget_rows(
    reader: Reader, work: Work, budgets: Sequence[float]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Recommended options and their rivals, by plan and text; worked out when called."""
    dealer = Dealer(reader, work)
    plans: dict[str, Recommendation] = {}
    for budget in budgets:
        best = dealer.recommended(budget)
        plans[f"{budget}: recommended"] = best
        plans |= {f"{budget}: {name}": plan for name, plan in dealer.rivals(best).items()}
    plans |= {f"all: {name}": dealer.for_all(name) for name in FOR_ALL}
    yield "judging and fitting", lambda: {"cpu_s": dealer.cpu_s, "heads": len(reader.places)}
    for text, ids in reader.texts.items():
        speech = work.kept(f"speech {text}", lambda ids=ids: speech_of(reader.model, ids))
        for name, plan in plans.items():
            yield f"{name}: {text}", lambda p=plan, s=speech: swapped_all(reader, dealer, s, p)


def swapped_all(
    reader: Reader, dealer: Dealer, speech: Speech, plan: Recommendation
) -> dict[str, Any]:
    """What a plan does to a speech, beside what is predicted."""
    started = time.process_time()
    with swapped(reader.model, plan, dealer.fitted):
        read = speech.read(reader.model)
    counts = {
        option.name: sum(row.count(n) for row in plan.indices)
        for n, option in enumerate(reader.options)
    }
    return {
        "cost": plan.cost,
        "predicted_harm": plan.harm,
        **read,
        "options": {name: count for name, count in counts.items() if count},
        "choices": [" ".join(str(n) for n in row) for row in plan.indices],
        "cpu_s": time.process_time() - started,
    }


def summary(rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By plan: cost, harm predicted and the means over texts of loss added and KL.

    `over_recommended` is loss added over that of the recommendation of the same budget, both over
    the texts that this plan was measured on.
    """
    by_plan: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        plan, _, text = name.rpartition(": ")
        if plan:
            by_plan.setdefault(plan, {})[text] = row
    found: dict[str, dict[str, Any]] = {}
    for plan, own in by_plan.items():
        budget, _, way = plan.partition(": ")
        told = {name: mean([row[name] for row in own.values()]) for name in TOLD}
        best = by_plan.get(f"{budget}: recommended", {})
        if way != "recommended" and set(own) <= set(best):
            least = mean([best[text]["loss_added"] for text in own])
            told["over_recommended"] = told["loss_added"] / least
        found[plan] = {**told, "texts": len(own)}
    return found


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=("sensitivity", "budgets"), default="budgets")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--quick", action="store_true", help="320 tokens, 2 swaps: does it run?")
    parser.add_argument("--json", metavar="PATH", help="write the results there")
    parser.add_argument("--budgets", nargs="+", type=float, default=list(BUDGETS))
    parser.add_argument("--work", metavar="FOLDER", help="keep what is worked out there")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="of the work, of N processes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokens, swaps = (320, 2) if options.quick else (options.tokens, SWAPS)
    single, work = options.table == "sensitivity", Work(options.work, options.part)
    reader = Reader(tokens, TEXTS[:1] if single else TEXTS)
    head = {
        **told_of(options),
        "calibration": CALIBRATION,
        "texts": list(reader.texts),
        "tokens": tokens,
    }
    done: dict[str, Any] = {}
    table = (
        sensitivity_rows(reader, swaps) if single else budget_rows(reader, work, options.budgets)
    )
    for number, (name, make) in enumerate(table):
        if not work.mine(number):
            continue
        done[name] = rounded(work.kept(f"row {name}", make))
        sys.stdout.write(json.dumps({name: done[name]}) + "\n")
        sys.stdout.flush()
        if options.json is not None:
            found = correlations(list(done.values())) if single else summary(done)
            document = {**head, "summary": rounded(found), "rows": done}
            Path(options.json).write_text(json.dumps(document, indent=1) + "\n")


def told_of(options: argparse.Namespace) -> dict[str, str]:
    """Circumstances, without where the work is kept and by how many it is shared."""
    found = circumstances("head_recommendation.py", options.json)
    words = shlex.split(found["command"])
    for name in ("--work", "--part"):
        if name in words:
            del words[words.index(name) : words.index(name) + 2]
    return {**found, "command": shlex.join(words)}


if __name__ == "__main__":
    main()
