"""What holds for splat attention whatever the field is, and what it refuses."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.gaussian_splat import (
    explain_splat_attention,
    softmax_over_splat_sum_attention,
    splat_attention,
)
from adaptive_attention_tiling.ops.linear_attention import MemoryState, interface
from adaptive_attention_tiling.ops.linear_attention.sparse_memory import top_features
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

H, K, D, E = 2, 6, 4, 5
CASES = {
    "plain": {},
    "window": {"window": 4, "sinks": 2},
    "top": {"top_m": 2},
    "head_decay": {"decay": "head"},
    "splat_decay": {"decay": "splat"},
}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(interface, "CHUNK", 8)


def field(*, kind="diagonal", dtype=torch.float64, background=0.01, heads=H, splats=K, **options):
    return SplatField.random(
        heads=heads,
        splats=splats,
        width=D,
        kind=kind,
        dtype=dtype,
        background=background,
        **options,
    )


def tensors(T, *, S=None, B=2, dtype=torch.float64, heads=H):
    shapes = (B, heads, T, D), (B, heads, S or T, D), (B, heads, S or T, E)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def settings(case, T, dtype=torch.float64, features=K + 1):
    chosen = dict(CASES[case])
    if "decay" in chosen:
        columns = [features] if chosen["decay"] == "splat" else []
        chosen["decay"] = -torch.rand(2, H, T, *columns, dtype=dtype)
    return chosen


@pytest.mark.parametrize("position", [1, 8, 13, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("implementation", ["parallel", "chunked", "recurrent"])
@pytest.mark.parametrize("case", CASES)
def test_no_output_looks_ahead(case, implementation, dtype, position):
    splats, options = field(dtype=dtype), settings(case, 21, dtype)

    def attend(query, key, value):
        return splat_attention(
            query, key, value, splats, is_causal=True, implementation=implementation, **options
        )

    assert_causal(attend, tensors(21, dtype=dtype), position)


def test_a_later_gate_or_decay_is_not_seen():
    splats, (query, key, value) = field(), tensors(21)

    def attend(gate, decay):
        return splat_attention(
            query, key, value, splats, is_causal=True, gate=gate[..., 0], decay=decay[..., 0]
        )

    logs = [-torch.rand(2, H, 21, 1, dtype=torch.float64) for _ in range(2)]
    before = attend(*logs)
    later = [torch.cat([log[:, :, :9], log[:, :, 9:] * 3], 2) for log in logs]
    after = attend(*later)
    assert_bit_equal(after[:, :, :9], before[:, :, :9])
    assert not torch.equal(after[:, :, 9:], before[:, :, 9:])


def weights_of(T, case, *, is_causal, splats=None):
    """The weights themselves: values that are unit vectors bring them out."""
    splats = splats or field()
    query, key, _ = tensors(T)
    unit = torch.eye(T, dtype=torch.float64).expand(2, H, T, T)
    return splat_attention(query, key, unit, splats, is_causal=is_causal, **settings(case, T))


@pytest.mark.parametrize("case", CASES)
def test_weights_are_a_distribution_over_what_is_seen(case):
    weights = weights_of(21, case, is_causal=True)
    assert bool((weights >= 0).all())
    assert_close(weights.sum(-1), torch.ones(2, H, 21, dtype=torch.float64))
    assert bool((weights.triu(1) == 0).all())


@pytest.mark.parametrize("case", ["plain", "window", "top"])
def test_weights_without_order_are_a_distribution(case):
    weights = weights_of(21, case, is_causal=False)
    assert bool((weights >= 0).all())
    assert_close(weights.sum(-1), torch.ones(2, H, 21, dtype=torch.float64))


def test_the_weight_of_a_pair_is_the_sum_over_splats():
    splats, (query, key, _) = field(), tensors(5)
    unit = torch.eye(5, dtype=torch.float64).expand(2, H, 5, 5)
    out = splat_attention(query, key, unit, splats)
    values = splats.splats()
    expected = torch.full((2, H, 5, 5), 0.01, dtype=torch.float64)
    for s in range(K):
        q, k = (x - values.mean[:, s][:, None] for x in (query, key))
        inverse = torch.linalg.inv(values.covariance[:, s])
        gauss = [(-0.5 * torch.einsum("bhtd,hde,bhte->bht", x, inverse, x)).exp() for x in (q, k)]
        amplitude = values.log_amplitude[:, s].exp()[None, :, None, None]
        expected = expected + amplitude * gauss[0][..., None] * gauss[1][..., None, :]
    assert_close(out, expected / expected.sum(-1, keepdim=True))


@pytest.mark.parametrize("case", ["plain", "top"])
def test_order_of_keys_does_not_matter_without_causality(case):
    splats, (query, key, value) = field(), tensors(7, S=19)
    order = torch.randperm(19)
    options = settings(case, 19)
    straight = splat_attention(query, key, value, splats, **options)
    assert_close(
        splat_attention(query, key[:, :, order], value[:, :, order], splats, **options), straight
    )


def test_order_of_queries_is_that_of_outputs():
    splats, (query, key, value) = field(), tensors(7, S=19)
    order = torch.randperm(7)
    straight = splat_attention(query, key, value, splats)
    assert_close(splat_attention(query[:, :, order], key, value, splats), straight[:, :, order])


@pytest.mark.parametrize("case", CASES)
def test_order_of_splats_does_not_matter(case):
    splats, (query, key, value) = field(), tensors(19)
    order = torch.randperm(K)
    turned = SplatField.diagonal(
        splats.splats().mean[:, order],
        splats.splats().scale[:, order],
        splats.splats().log_amplitude[:, order].exp(),
        background=0.01,
    )
    options = settings(case, 19)
    straight = splat_attention(query, key, value, splats, is_causal=True, **options)
    if case == "splat_decay":
        index = torch.cat([order, torch.tensor([K])])
        options["decay"] = options["decay"][..., index]
    assert_close(splat_attention(query, key, value, turned, is_causal=True, **options), straight)


@pytest.mark.parametrize("window", [21, 30])
def test_a_window_over_all_is_softmax(window):
    query, key, value = tensors(21)
    out = splat_attention(query, key, value, field(), is_causal=True, window=window)
    expected = scaled_dot_product_attention(query, key, value, is_causal=True)
    assert_close(out, expected, row="special_case")


def test_a_window_over_all_is_softmax_without_causality():
    query, key, value = tensors(21)
    out = splat_attention(query, key, value, field(), window=21)
    assert_close(out, scaled_dot_product_attention(query, key, value), row="special_case")


def test_sinks_over_all_are_softmax():
    query, key, value = tensors(21)
    expected = scaled_dot_product_attention(query, key, value, is_causal=True)
    out = splat_attention(query, key, value, field(), is_causal=True, sinks=21)
    assert_close(out, expected, row="special_case")


def test_one_infinite_splat_is_the_running_mean():
    splats = SplatField.scalar(
        torch.zeros(H, 1, D, dtype=torch.float64),
        torch.full((H, 1), 60.0, dtype=torch.float64),
        torch.full((H, 1), 1e-8, dtype=torch.float64) * 2,
        background=1.0,
    )
    query, key, value = tensors(21)
    out = splat_attention(query, key, value, splats, is_causal=True)
    count = torch.arange(1, 22, dtype=torch.float64)[:, None]
    assert float((out - value.cumsum(2) / count).detach().abs().max()) < 1e-6


@pytest.mark.parametrize("background", [0.01, None])
@pytest.mark.parametrize("kind", ["scalar", "diagonal", "low_rank", "full"])
@pytest.mark.parametrize("case", CASES)
def test_far_keys_and_queries_give_numbers(case, kind, background):
    dtype = torch.float32
    splats = field(kind=kind, dtype=dtype, background=background)
    query, key, value = tensors(21, dtype=dtype)
    key[:, :, 3:9] += 1e3
    query[:, :, 5:15] -= 1e3
    leaves = [t.requires_grad_() for t in (query, key, value)]
    options = settings(case, 21, dtype, features=splats.features)
    for implementation in ("parallel", "chunked", "recurrent"):
        out = splat_attention(
            *leaves, splats, is_causal=True, implementation=implementation, **options
        )
        grads = torch.autograd.grad(out.sum(), [*leaves, *splats.parameters()])
        assert bool(torch.isfinite(out).all())
        assert all(bool(torch.isfinite(grad).all()) for grad in grads)
        assert bool(out.abs().max() <= value.abs().max() * (1 + 1e-5))


@pytest.mark.parametrize("kind", ["scalar", "diagonal", "low_rank", "full"])
@pytest.mark.parametrize("implementation", ["chunked", "parallel"])
def test_gradcheck(kind, implementation):
    splats = field(kind=kind)
    query, key, value = (t.requires_grad_() for t in tensors(11, B=1))
    names = [name for name, _ in splats.named_parameters()]

    def attend(query, key, value, *parameters):
        def forward(module_field):
            return splat_attention(
                query,
                key,
                value,
                module_field,
                is_causal=True,
                window=2,
                implementation=implementation,
            )

        return torch.func.functional_call(
            Wrapped(splats),
            {f"field.{n}": p for n, p in zip(names, parameters, strict=True)},
            (forward,),
        )

    class Wrapped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.field = inner

        def forward(self, function):
            return function(self.field)

    assert torch.autograd.gradcheck(
        attend, (query, key, value, *splats.parameters()), fast_mode=True
    )


@pytest.mark.parametrize("window", [0, 4])
def test_the_state_does_not_grow(window):
    splats, sizes = field(), []
    for T in (1, 9, 100):
        _, state = splat_attention(
            *tensors(T), splats, is_causal=True, window=window, sinks=2, return_state=True
        )
        sizes.append(state.bytes)
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("back", [0, 1, 3, 5])
@pytest.mark.parametrize("case", CASES)
def test_rollback_is_as_if_nothing_had_been_read(case, back):
    splats, (query, key, value) = field(), tensors(24)
    options = settings(case, 24)
    decay = options.pop("decay", None)

    def read(start, end, state):
        now = slice(start, end)
        return splat_attention(
            query[:, :, now],
            key[:, :, now],
            value[:, :, now],
            splats,
            is_causal=True,
            decay=None if decay is None else decay[:, :, now],
            initial_state=state,
            return_state=True,
            rollback_limit=5,
            **options,
        )

    expected, _ = splat_attention(
        query, key, value, splats, is_causal=True, decay=decay, return_state=True, **options
    )
    _, state = read(0, 10, None)
    for t in range(10, 15):
        _, state = read(t, t + 1, state)
    state = state.rollback(back)
    assert state.length.tolist() == [15 - back] * 2
    out, state = read(15 - back, 20, state)
    assert_close(out, expected[:, :, 15 - back : 20])
    out, state = read(20, 24, state.rollback(0))
    assert_close(out, expected[:, :, 20:])


def test_rollback_in_two_goes_and_across_the_start():
    splats, (query, key, value) = field(), tensors(9)
    options = {
        "is_causal": True,
        "window": 3,
        "sinks": 2,
        "rollback_limit": 8,
        "return_state": True,
    }
    expected, _ = splat_attention(query, key, value, splats, **options)
    _, state = splat_attention(*(t[:, :, :6] for t in (query, key, value)), splats, **options)
    state = state.rollback(2).rollback(3)
    with pytest.raises(ArgumentError, match="tokens: got 2, expected 0 to 1"):
        state.rollback(2)
    out, _ = splat_attention(
        *(t[:, :, 1:] for t in (query, key, value)), splats, initial_state=state, **options
    )
    assert_close(out, expected[:, :, 1:])


def test_rollback_of_rows_of_different_length():
    splats, (query, key, value) = field(), tensors(12)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, 7:] = False
    options = {"is_causal": True, "window": 3, "sinks": 1, "rollback_limit": 4}
    _, state = splat_attention(
        query, key, value, splats, key_padding_mask=mask, return_state=True, **options
    )
    fresh = tensors(5)
    out = splat_attention(*fresh, splats, initial_state=state.rollback(3), **options)
    for row, length in ((0, 4), (1, 9)):
        whole = [
            torch.cat([old[row : row + 1, :, :length], new[row : row + 1]], 2)
            for old, new in zip((query, key, value), fresh, strict=True)
        ]
        alone = splat_attention(*whole, splats, is_causal=True, window=3, sinks=1)
        assert_close(out[row : row + 1], alone[:, :, length:])


def test_rollback_needs_a_limit():
    _, state = splat_attention(*tensors(5), field(), is_causal=True, return_state=True)
    with pytest.raises(ArgumentError, match="rollback_limit"):
        state.rollback(1)


def test_a_snapshot_is_a_copy_that_restores():
    splats, options = field(), {"is_causal": True, "window": 3, "sinks": 2, "rollback_limit": 2}
    _, state = splat_attention(*tensors(9), splats, return_state=True, **options)
    kept = state.snapshot()
    fresh = tensors(4)
    before, _ = splat_attention(*fresh, splats, initial_state=state, return_state=True, **options)
    state.values.mul_(2)
    restored = MemoryState.restore(kept)
    kept["values"].zero_()
    again = splat_attention(*fresh, splats, initial_state=restored, **options)
    assert_bit_equal(again, before)
    with pytest.raises(ArgumentError, match="snapshot"):
        MemoryState.restore({"values": kept["values"]})


def test_a_call_leaves_its_state_alone():
    splats, options = field(), {"is_causal": True, "window": 3, "top_m": 2}
    _, state = splat_attention(*tensors(9), splats, return_state=True, **options)
    kept = state.snapshot()
    splat_attention(*tensors(20), splats, initial_state=state, return_state=True, **options)
    for name, tensor in state.snapshot().items():
        assert_bit_equal(tensor, kept[name], what=name)


def test_a_context_is_read_once():
    splats, (query, key, value) = field(), tensors(6, S=15)
    expected = splat_attention(query, key, value, splats, sinks=2)
    _, state = splat_attention(query[:, :, :0], key, value, splats, sinks=2, return_state=True)
    for t in range(6):
        out = splat_attention(
            query[:, :, t : t + 1],
            key[:, :, :0],
            value[:, :, :0],
            splats,
            sinks=2,
            initial_state=state,
        )
        assert_close(out, expected[:, :, t : t + 1])


def test_a_query_that_sees_nothing_gets_zero():
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0] = False
    for causal in (True, False):
        out = splat_attention(
            *tensors(7), field(), is_causal=causal, window=2, key_padding_mask=mask
        )
        assert_bit_equal(out[0], torch.zeros_like(out[0]))
        assert bool((out[1] != 0).all())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_causal", [True, False])
def test_no_tokens_at_all(is_causal, case):
    options = settings(case, 0)
    if not is_causal:
        options = {name: value for name, value in options.items() if name == "top_m"}
    options |= {"is_causal": is_causal, "return_state": True}
    out, state = splat_attention(*tensors(0), field(), **options)
    assert out.shape == (2, H, 0, E)
    assert state.length.tolist() == [0, 0]
    assert bool((state.mass == 0).all())


def test_dead_splats_weigh_nothing():
    alive = field(splats=3)
    spare = SplatField.random(
        heads=H, splats=3, width=D, capacity=K, dtype=torch.float64, background=0.01
    )
    values = spare.splats().detached()
    values.mean[:, :3] = alive.splats().mean.detach()
    spare.set_splats(values)
    inputs = tensors(15)
    expected = splat_attention(*inputs, alive, is_causal=True)
    assert_close(splat_attention(*inputs, spare, is_causal=True), expected)


def test_softmax_over_the_sum_is_another_function():
    splats, inputs = field(), tensors(9)
    out = softmax_over_splat_sum_attention(*inputs, splats, is_causal=True)
    sums = splats.log_features(inputs[0]).exp() @ splats.log_features(inputs[1]).exp().mT
    hidden = torch.ones(9, 9, dtype=torch.bool).triu(1)
    expected = sums.masked_fill(hidden, -torch.inf).softmax(-1) @ inputs[2]
    assert_close(out, expected)
    difference = out - splat_attention(*inputs, splats, is_causal=True)
    assert float(difference.detach().abs().max()) > 1e-2


def test_explain_names_the_memory_and_the_reason(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")  # the choice among the torch forms
    short, long = torch.zeros(1, H, 8, D), torch.zeros(1, H, 5000, D)
    assert explain_splat_attention(short, field()).implementation == "parallel"
    assert "plain sums" in str(explain_splat_attention(long, field()))
    assert explain_splat_attention(long, field()).implementation == "chunked"
    tilted = SplatField(field().splats().detached(), norm_factor=0.5)
    assert "no bound" in explain_splat_attention(long, tilted).reason
    assert "background" in explain_splat_attention(long, field(background=None)).reason
    assert "2 of 6" in explain_splat_attention(long, field(), top_m=2).reason
    decay = torch.zeros(1, H, 5000, K + 1)
    assert "own decay" in explain_splat_attention(long, field(), decay=decay).reason
    pinned = explain_splat_attention(long, field(), implementation="recurrent")
    assert pinned.implementation == "recurrent"
    assert "pinned" in pinned.reason


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("query", {"query": torch.zeros(2, H, 9, D + 1, dtype=torch.float64)}),
        ("value", {"key": torch.zeros(2, 3, 9, D, dtype=torch.float64)}),
        ("value", {"value": torch.zeros(2, H, 8, E, dtype=torch.float64)}),
        ("decay", {"decay": torch.zeros(2, H, 8, dtype=torch.float64)}),
        ("decay", {"decay": torch.ones(2, H, 9, dtype=torch.float64)}),
        ("gate", {"gate": torch.ones(2, H, 9, dtype=torch.float64)}),
        ("gate", {"gate": torch.zeros(2, H, 9, 1, dtype=torch.float64)}),
        ("window", {"window": -1}),
        ("window", {"window": 2.5}),
        ("sinks", {"sinks": True}),
        ("rollback_limit", {"rollback_limit": -1}),
        ("top_m", {"top_m": 0}),
        ("top_m", {"top_m": K + 1}),
        ("key_padding_mask", {"key_padding_mask": torch.ones(2, 9)}),
        ("cu_seqlens", {"cu_seqlens": torch.tensor([0, 9])}),
        ("implementation", {"implementation": "fastest"}),
        ("field", {"field": field(heads=3)}),
        ("field", {"field": SplatField.random(heads=H, splats=2, width=D + 1).double()}),
    ],
)
def test_bad_arguments_are_named(name, change):
    query, key, value = tensors(9)
    call = {"query": query, "key": key, "value": value, "field": field(), **change}
    expected = "key" if name == "query" else name
    with pytest.raises(ArgumentError, match=rf"^{expected}: got .+, expected .+\. Fix: "):
        splat_attention(**call, is_causal=True)


@pytest.mark.parametrize(
    "cuts", [torch.tensor([0, 5]), torch.tensor([1, 9]), torch.tensor([0, 6, 4, 9]), torch.zeros(1)]
)
def test_bad_boundaries_are_named(cuts):
    with pytest.raises(ArgumentError, match=r"^cu_seqlens"):
        splat_attention(*tensors(9, B=1), field(), is_causal=True, cu_seqlens=cuts)


@pytest.mark.parametrize(
    ("word", "change"),
    [
        ("decay", {"decay": torch.zeros(2, H, 9, dtype=torch.float64)}),
        ("rollback_limit", {"rollback_limit": 2}),
        ("return_state", {"window": 2, "return_state": True}),
    ],
)
def test_what_has_no_meaning_without_an_order_is_refused(word, change):
    with pytest.raises(UnsupportedError, match=f"^{word}: .*Fix: "):
        splat_attention(*tensors(9), field(), **change)


def test_positions_of_two_texts_are_not_compared():
    query, key, value = tensors(4, S=9)
    with pytest.raises(UnsupportedError, match=r"^is_causal"):
        splat_attention(query, key, value, field(), is_causal=True)
    with pytest.raises(UnsupportedError, match=r"^window"):
        splat_attention(query, key, value, field(), window=2)


@pytest.mark.parametrize("change", [{"window": 3}, {"sinks": 1}, {"rollback_limit": 1}])
def test_a_state_of_other_settings_is_refused(change):
    _, state = splat_attention(*tensors(9), field(), is_causal=True, window=2, return_state=True)
    options = {"window": 2, **change}
    with pytest.raises(ArgumentError, match=f"^{next(iter(change))}"):
        splat_attention(*tensors(1), field(), is_causal=True, initial_state=state, **options)


@pytest.mark.parametrize(("count", "top"), [(6, 2), (256, 3), (1000, 8), (1024, 1), (300, 300)])
@pytest.mark.parametrize("background", [True, False])
def test_the_largest_features_are_found_in_groups(count, top, background):
    logs = torch.randn(2, 3, 50, count + background)
    logs[0, 0, :, : count // 2] = -torch.inf
    values, index = top_features(logs, top, background)
    expected = logs[..., :count].topk(top, dim=-1).values
    assert_bit_equal(values[..., :top], expected)
    assert_bit_equal(logs.gather(-1, index), values)
    if background:
        assert bool((index[..., -1] == count).all())


def test_a_state_of_another_field_is_refused():
    _, state = splat_attention(*tensors(9), field(), is_causal=True, return_state=True)
    with pytest.raises(ArgumentError, match=r"^initial_state"):
        splat_attention(*tensors(1), field(splats=3), is_causal=True, initial_state=state)
