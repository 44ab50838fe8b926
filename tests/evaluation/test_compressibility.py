import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_rows, head_compressibility
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.ops.tiled_attention.tiles import order_block
from adaptive_attention_tiling.tiling.tree import LogitSpread, guarded

SUPER, SINKS = 256, 4


def head(tokens=90, width=6, peaked=2.0):
    query, key = torch.randn(2, tokens, width)
    # Neighbours are alike, as in a text; else no summary is of use.
    key = torch.nn.functional.avg_pool1d(key.mT[None], 9, 1, 4)[0].mT * 3
    return peaked * query, key, torch.randn(tokens, 5) + 1


def least(errors, allowed):
    """The first number from which on all errors are within."""
    number = len(errors)
    while number > 0 and errors[number - 1] <= allowed:
        number -= 1
    return number


def tiles_of(i, query, key, tile, is_causal):
    """Tokens of every tile that the query may close, in loops."""
    tokens, found = len(key), []
    finished = (tokens - SINKS) // SUPER
    metric = query.double().square().mean(0).sqrt()[None] * query.shape[1] ** -0.5
    home = (i - SINKS) // SUPER
    for block in range(-(-tokens // SUPER)):
        first = SINKS + block * SUPER
        away = block < finished and (block < home if is_causal else block != home)
        place = list(range(first, min(first + SUPER, tokens)))
        if away:
            points, every = key[place].double()[None], torch.ones(1, SUPER, dtype=torch.bool)
            order = order_block(points, metric, every, TileLayout(tile=tile))[0]
            place = [place[j] for j in order]
        runs = [place[n : n + tile] for n in range(0, len(place), tile)]
        for run in runs:
            whole = len(run) == tile and (away or i not in run)
            if whole and (not is_causal or run[-1] < i or away):
                found.append(run)
    return found


def tiled_shares(i, query, key, value, tile, is_causal, allowed):
    """What orders 0, 1 and 2 need of one row."""
    n = i + 1 if is_causal else len(key)
    q = query[i].double() * query.shape[1] ** -0.5
    logits, value = key[:n].double() @ q, value[:n].double()
    top = logits.logsumexp(0)
    full = (logits - top).exp() @ value
    tiles = tiles_of(i, query, key, tile, is_causal)
    shares = []
    for order in (0, 1, 2):
        weights, prices = [], []
        for members in tiles:
            keys = key[members].double()
            variance = (q.square() * keys.var(0, correction=0)).sum()
            radius = (keys - keys.mean(0)).norm(dim=1).max()
            largest = torch.minimum(q.norm() * radius, ((tile - 1) * variance).sqrt())
            spread = LogitSpread(torch.tensor(float(tile)).double(), variance, variance, largest)
            growth = guarded(spread).growth if order != 1 else 0.0
            weights.append((q @ keys.mean(0) - top + growth + math.log(tile)).exp())
            prices.append(variance)
        exact = set(range(n)) - {j for members in tiles for j in members}
        exact = (logits[sorted(exact)] - top).exp().sum()
        total = exact + sum(weights)
        costs = []
        for weight, variance in zip(weights, prices, strict=True):
            p, a = weight / total, (7 * variance).sqrt()
            growth = p * (a.exp() - 1 - a) / 7
            costs.append(float(p**2 * variance + growth**2 if order else p**2))
        ranks = sorted(range(len(tiles)), key=lambda t: -costs[t])
        errors = []
        for opened in range(len(tiles) + 1):
            closed = ranks[opened:]
            left = set(range(n)) - {j for t in closed for j in tiles[t]}
            w = (logits[sorted(left)] - top).exp()
            parts, mass = w @ value[sorted(left)], w.sum()
            for t in closed if order else []:
                parts = parts + weights[t] * value[tiles[t]].mean(0)
                mass = mass + weights[t]
            errors.append(float((parts / mass - full).norm()) if closed else 0.0)
        opened = least(errors, allowed * float(full.norm()))
        count = n - tile * (len(tiles) - opened) + 1.5 * len(tiles)
        shares.append(min(1.0, count / n))
    return shares


@pytest.mark.parametrize(
    ("tokens", "tile", "is_causal", "error"),
    [
        (90, 8, True, 0.1),
        (90, 8, False, 0.1),
        (600, 32, True, 0.05),
        (600, 32, False, 0.05),
        (536, 16, True, 0.2),
    ],
)
def test_shares_are_those_of_brute_force(tokens, tile, is_causal, error):
    query, key, value = head(tokens)
    found = head_compressibility(
        query, key, value, rows=4, tile=tile, is_causal=is_causal, error=error
    )
    rows = attention_rows(query, key, rows=4, first=tokens // 2, is_causal=is_causal)
    dropped, tiled = [], []
    for i, weights, seen in zip(rows.queries.tolist(), rows.weights, rows.seen, strict=True):
        order = weights.argsort(descending=True)
        full = weights @ value.double()
        errors = []
        for count in range(1, int(seen) + 1):
            kept = order[:count]
            share = weights[kept] / weights[kept].sum()
            errors.append(float((share @ value[kept].double() - full).norm()))
        errors[-1] = 0.0
        dropped.append((least(errors, error * float(full.norm())) + 1) / int(seen))
        tiled.append(tiled_shares(i, query, key, value, tile, is_causal, error))
    orders = torch.tensor(tiled).mean(0).tolist()
    assert found.dropped == pytest.approx(torch.tensor(dropped).mean().item(), rel=1e-6)
    assert found.opened == pytest.approx(orders[0], rel=1e-6)
    assert found.summarised == pytest.approx(min(orders[1:]), rel=1e-6)
    assert found.tile == tile
    # None of the figures stands where all keys, or none but what must be, are read.
    assert found.dropped < 0.9
    assert found.summarised < found.opened < 1


def test_equal_keys_need_all_of_them_or_means():
    tokens = 260
    value = torch.randn(tokens, 64)
    query = torch.randn(tokens, 4)
    found = head_compressibility(query, torch.ones(tokens, 4), value, error=1e-3, is_causal=False)
    assert found.dropped > 0.99
    assert found.opened == 1
    # 256 keys in 8 tiles, of which one is read; the other figures are those of 4 sinks.
    assert found.summarised == pytest.approx((4 + 32 + 1.5 * 7) / 260)


def test_one_key_that_has_all_attention_is_enough():
    key = torch.zeros(300, 4)
    key[17] = 40
    found = head_compressibility(torch.ones(300, 4), key, torch.randn(300, 5))
    seen = attention_rows(key, key, rows=32, first=150).seen
    assert found.dropped == pytest.approx((1 / seen).mean().item())
    # Its tile is opened, unless it is the query's own.
    assert found.opened < 0.5


def test_a_better_output_takes_more_keys():
    query, key, value = head(700)
    found = [head_compressibility(query, key, value, error=e) for e in (0.3, 0.1, 0.03, 0.01)]
    for name in ("dropped", "opened", "summarised"):
        shares = [getattr(one, name) for one in found]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1]


@pytest.mark.parametrize("tokens", [1, 2, 5, 37])
@pytest.mark.parametrize("is_causal", [True, False])
def test_short_texts_have_shares(tokens, is_causal):
    found = head_compressibility(*head(tokens), is_causal=is_causal)
    for share in (found.dropped, found.opened, found.summarised):
        assert 0 < share <= 1


def test_scale_and_generator_are_those_of_the_rows():
    query, key, value = head(400)
    plain = head_compressibility(query, key, value)
    assert head_compressibility(query * 6**-0.5, key, value, scale=1.0) == plain
    other = head_compressibility(query, key, value, generator=torch.Generator().manual_seed(1))
    assert other != plain


def test_huge_logits_give_finite_shares():
    query, key, value = head(600, peaked=1e3)
    found = head_compressibility(query, key, value)
    for share in (found.dropped, found.opened, found.summarised):
        assert 0 < share <= 1


@pytest.mark.parametrize(
    ("given", "name"), [({"error": 0.0}, "error"), ({"tile": 24}, "tile"), ({"rows": 0}, "rows")]
)
def test_bad_arguments_are_named(given, name):
    with pytest.raises(ArgumentError, match=rf"^{name}"):
        head_compressibility(*head(), **given)


@pytest.mark.parametrize(
    "value", [torch.zeros(89, 5), torch.zeros(90), torch.full((90, 5), torch.nan)]
)
def test_bad_values_are_named(value):
    query, key, _ = head()
    with pytest.raises(ArgumentError, match=r"^value"):
        head_compressibility(query, key, value)
