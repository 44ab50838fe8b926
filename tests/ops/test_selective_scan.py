"""The selective scan: worked by hand, against its loop, and in every way to cut a text."""

import math
from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.selective_scan import (
    ScanState,
    chunked,
    selective_scan,
    selective_step,
    tile_contributions,
)
from adaptive_attention_tiling.ops.selective_scan.reference import reference_selective_scan
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, J, N = 2, 5, 4


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    monkeypatch.setattr(chunked, "_SHORTEST", 9)
    monkeypatch.setattr(chunked, "_LONGEST", 9)


def inputs(T, *, rows=B, states=None, dtype=torch.float64):
    shapes = {
        "x": (rows, T, J),
        "delta": (rows, T, J),
        "A": (J, N),
        "B": (rows, T, N),
        "C": (rows, T, N),
        "D": (J,),
        "z": (rows, T, J),
        "delta_bias": (J,),
        "initial_state": (states or rows, J, N),
    }
    found = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    found["A"] = -found["A"].exp()
    return {name: tensor.requires_grad_() for name, tensor in found.items()}


def resolutions(kind, T):
    """Runs longer and shorter than a chunk, or another width for every token."""
    if kind is None or kind == "half":
        return {None: None, "half": 0.5}[kind]
    if kind == "tokens":
        return torch.rand(B, T).clamp(min=0.01)
    steps = torch.tensor([1.0, 0.25, 0.5, 0.75])
    runs = torch.stack([steps, steps.flip(0)]) if kind == "rows differ" else steps.expand(B, 4)
    return runs.repeat_interleave(-(-T // 4), 1)[:, :T]


KINDS = [None, "half", "runs", "rows differ", "tokens"]


def masks(kind, T):
    padding = torch.ones(B, T, dtype=torch.bool)
    if kind is None:
        return None
    if kind == "left":
        padding[0, :3] = False
    elif kind == "right":
        padding[1, -2:] = False
    else:
        padding = torch.rand(B, T) < 0.7
        padding[:, 0] = True
    return padding


def gradients(outputs, leaves):
    # Another weight for every number, so that no gradient can hide behind another.
    loss = sum((t * torch.linspace(-1, 2, t.numel()).to(t).view_as(t)).sum() for t in outputs)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def test_a_case_worked_by_hand():
    # Halved at each token, plus delta B x = 2, 0, 6; read with C = 1, 1, 2; plus D x; times silu.
    column = {
        "x": [1.0, 0.0, 3.0],
        "delta": [1.0, 1.0, 1.0],
        "B": [2.0, 5.0, 2.0],
        "C": [1.0, 1.0, 2.0],
        "z": [0.0, 1.0, 2.0],
    }
    given = {name: torch.tensor(values).view(1, 3, 1) for name, values in column.items()}
    z, D = given.pop("z"), torch.tensor([10.0])
    A = torch.tensor([[-math.log(2.0)]])
    y, state = selective_scan(**given, A=A, D=D, return_state=True)
    assert_close(y.flatten(), torch.tensor([2.0 + 10.0, 1.0, 2 * 6.5 + 30.0]))
    assert_close(state.channels.flatten(), torch.tensor([6.5]))
    gated = selective_scan(**given, A=A, D=D, z=z)
    silu = [0.0, 1 / (1 + math.exp(-1)), 2 / (1 + math.exp(-2))]
    assert_close(gated.flatten(), torch.tensor([12.0, 1.0, 43.0]) * torch.tensor(silu))


def test_unused_channels_stay_worked_by_hand():
    # Two channels, both halved and written 1 at each token. The second sleeps at the second token.
    ones = torch.ones(1, 3, 1)
    A = torch.full((1, 2), -math.log(2.0))
    y, state = selective_scan(
        ones,
        ones,
        A,
        torch.ones(1, 3, 2),
        torch.tensor([[[1.0, 10.0]] * 3]),
        resolution=torch.tensor([[1.0, 0.5, 1.0]]),
        return_state=True,
    )
    assert_close(y.flatten(), torch.tensor([11.0, 1.5, 1.75 + 10 * 1.5]))
    assert_close(state.channels.flatten(), torch.tensor([1.75, 1.5]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("hidden", [None, "left", "right", "holes"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("T", [1, 9, 31])
def test_chunks_give_the_values_and_gradients_of_the_loop(T, kind, hidden, dtype):
    leaves = inputs(T, dtype=dtype)
    settings = {"resolution": resolutions(kind, T), "padding": masks(hidden, T)}
    settings["delta_softplus"] = True
    y, state = selective_scan(**leaves, **settings, return_state=True)
    wanted, end = reference_selective_scan(**leaves, **settings)
    assert_close(y, wanted)
    assert_close(state.channels, end, what="state")
    expected = gradients((wanted, end), leaves)
    for name, grad in gradients((y, state.channels), leaves).items():
        assert_close(grad, expected[name], gradient=True, what=name)


def test_what_is_left_out_is_left_out():
    leaves = inputs(20)
    few = {name: leaves[name] for name in ("x", "delta", "A", "B", "C")}
    few["delta"] = few["delta"].detach().abs()
    wanted, _ = reference_selective_scan(**few)
    assert_close(selective_scan(**few), wanted)
    pinned, state = selective_scan(**few, return_state=True, implementation="reference")
    assert_bit_equal(pinned, wanted)
    assert state.length.tolist() == [20, 20]


def test_autograd_agrees_with_differences():
    leaves = inputs(11)
    order = list(leaves)

    def scan(*tensors):
        settings = {"delta_softplus": True, "resolution": resolutions("rows differ", 11)}
        y, state = selective_scan(
            **dict(zip(order, tensors, strict=True)), **settings, return_state=True
        )
        return y, state.channels

    assert torch.autograd.gradcheck(scan, tuple(leaves.values()), fast_mode=True)


@pytest.mark.parametrize("kind", [None, "runs", "tokens"])
def test_packed_sequences_do_not_see_each_other(kind):
    ends = [0, 7, 7, 8, 31]
    leaves = inputs(31, rows=1, states=4)
    resolution = resolutions(kind, 31)
    resolution = resolution if resolution is None else resolution[:1]
    boundaries = torch.tensor(ends, dtype=torch.int32)
    y, state = selective_scan(
        **leaves,
        delta_softplus=True,
        resolution=resolution,
        cu_seqlens=boundaries,
        return_state=True,
    )
    alone, finals = [], []
    for row, (start, end) in enumerate(pairwise(ends)):
        if start == end:
            finals.append(leaves["initial_state"][row : row + 1])
            continue
        mine = {n: t[:, start:end] if t.dim() == 3 else t for n, t in leaves.items()}
        mine["initial_state"] = leaves["initial_state"][row : row + 1]
        part = None if resolution is None else resolution[:, start:end]
        out, final = reference_selective_scan(**mine, delta_softplus=True, resolution=part)
        alone.append(out)
        finals.append(final)
    wanted, end = torch.cat(alone, 1), torch.cat(finals)
    assert_close(y, wanted)
    assert_close(state.channels, end)
    assert state.length.tolist() == [7, 0, 1, 23]
    expected = gradients((wanted, end), leaves)
    for name, grad in gradients((y, state.channels), leaves).items():
        assert_close(grad, expected[name], gradient=True, what=name)


def test_padding_may_hold_anything():
    leaves = {name: t.detach() for name, t in inputs(12).items()}
    padding = masks("left", 12)
    clean, state = selective_scan(**leaves, padding=padding, return_state=True)
    for name in ("x", "delta", "z"):
        leaves[name][0, :3] = torch.nan
    dirty, after = selective_scan(**leaves, padding=padding, return_state=True)
    assert_bit_equal(dirty, clean)
    assert_bit_equal(after.channels, state.channels)


def no_grad_inputs(T):
    return {name: tensor.detach() for name, tensor in inputs(T).items()}


def piece(given, start, end, state):
    cut = {n: t[:, start:end] if t.dim() == 3 else t for n, t in given.items()}
    return {**cut, "initial_state": state}


@pytest.mark.parametrize("limit", [0, 4])
@pytest.mark.parametrize("cuts", [(5,), (1, 2, 3), (30,)])
def test_pieces_give_what_the_whole_gives(cuts, limit):
    given, R = no_grad_inputs(31), resolutions("rows differ", 31)
    settings = {"delta_softplus": True, "return_state": True, "rollback_limit": limit}
    whole, last = selective_scan(**given, resolution=R, **settings)
    state, found, start = given["initial_state"], [], 0
    for end in (*cuts, 31):
        y, state = selective_scan(
            **piece(given, start, end, state), resolution=R[:, start:end], **settings
        )
        found.append(y)
        start = end
    assert_close(torch.cat(found, 1), whole)
    assert_close(state.channels, last.channels)
    assert state.length.tolist() == [31, 31]


@pytest.mark.parametrize("R", [None, 0.5])
def test_steps_give_what_the_whole_gives(R):
    given = no_grad_inputs(6)
    whole, last = selective_scan(**given, delta_softplus=True, resolution=R, return_state=True)
    state = given["initial_state"]
    for t in range(6):
        one = {name: given[name][:, t] for name in ("x", "delta", "B", "C", "z")}
        y, state = selective_step(
            **one,
            A=given["A"],
            D=given["D"],
            delta_bias=given["delta_bias"],
            delta_softplus=True,
            state=state,
            resolution=R,
        )
        assert_close(y, whole[:, t])
    assert_close(state, last.channels)


@pytest.mark.parametrize("R", [None, 0.5])
def test_a_step_leaves_the_state_that_came(R):
    given = no_grad_inputs(1)
    state = given["initial_state"].clone()
    one = {name: given[name][:, 0] for name in ("x", "delta", "B", "C")}
    _, after = selective_step(**one, A=given["A"], state=state, resolution=R)
    assert_bit_equal(state, given["initial_state"])
    assert not torch.equal(after, state)


@pytest.mark.parametrize("back", [0, 1, 3, 4])
@pytest.mark.parametrize("hidden", [None, "left", "right", "holes"])
def test_tokens_can_be_taken_back(back, hidden):
    given, R, padding = no_grad_inputs(24), resolutions("rows differ", 24), masks(hidden, 24)
    settings = {"delta_softplus": True, "rollback_limit": 4}
    state = given["initial_state"]
    for start, end in ((0, 15), (15, 17), (17, 18)):
        part = None if padding is None else padding[:, start:end]
        _, state = selective_scan(
            **piece(given, start, end, state),
            **settings,
            resolution=R[:, start:end],
            padding=part,
            return_state=True,
        )
    state = state.rollback(back)
    # The reference reads only what is left: the tokens of each row but its last `back`.
    seen = torch.ones(B, 18, dtype=torch.bool) if padding is None else padding[:, :18].clone()
    for row in seen:
        row[row.nonzero()[len(row.nonzero()) - back :, 0]] = False
    _, before = reference_selective_scan(
        **piece(given, 0, 18, given["initial_state"]),
        delta_softplus=True,
        resolution=R[:, :18],
        padding=seen,
    )
    wanted, _ = reference_selective_scan(**piece(given, 18, 24, before), delta_softplus=True)
    rest = piece(given, 18, 24, state)
    assert_close(selective_scan(**rest, **settings), wanted)
    assert state.length.tolist() == seen.sum(1).tolist()


def test_taking_back_twice_and_too_far():
    given = no_grad_inputs(12)
    settings = {"delta_softplus": True, "rollback_limit": 3, "return_state": True}
    _, state = selective_scan(**given, **settings)
    _, shorter = selective_scan(**piece(given, 0, 9, given["initial_state"]), **settings)
    twice = state.rollback(1).rollback(2)
    again = piece(given, 9, 12, twice)
    assert_close(
        selective_scan(**again, **settings)[0], selective_scan(**given, **settings)[0][:, 9:]
    )
    assert twice.length.tolist() == shorter.length.tolist()
    with pytest.raises(ArgumentError, match=r"^tokens: got 1, expected 0 to 0"):
        twice.rollback(1)
    # Two of three are read again, so one can be taken back once more.
    _, after = selective_scan(**piece(given, 9, 10, twice), **settings)
    assert after.spent == 2
    after.rollback(1)


def test_a_snapshot_is_the_state():
    given = no_grad_inputs(12)
    for limit in (0, 3):
        settings = {"rollback_limit": limit}
        _, state = selective_scan(**given, **settings, return_state=True)
        saved = state.snapshot()
        wanted = selective_scan(**piece(given, 0, 5, state), **settings)
        state.channels.zero_()
        restored = ScanState.restore(saved)
        assert_bit_equal(selective_scan(**piece(given, 0, 5, restored), **settings), wanted)
        restored.rollback(limit)
    with pytest.raises(ArgumentError, match=r"^snapshot"):
        ScanState.restore({"channels": state.channels})


def test_a_state_is_not_changed_by_going_on():
    given = no_grad_inputs(12)
    _, state = selective_scan(**given, return_state=True, rollback_limit=2, resolution=0.5)
    before = state.snapshot()
    selective_scan(**piece(given, 0, 5, state), return_state=True, rollback_limit=2)
    for name, tensor in state.snapshot().items():
        assert_bit_equal(tensor, before[name], what=name)


def test_a_state_of_one_channel_and_its_gradient_are_not_written_to():
    # Turned round, such a tensor lies in memory as before.
    given = {name: t[..., :1] if name in "ABC" else t for name, t in no_grad_inputs(12).items()}
    start = given["initial_state"][..., :1].clone().requires_grad_()
    before = start.detach().clone()
    given["initial_state"] = start
    _, state = selective_scan(**given, return_state=True)
    with torch.no_grad():
        selective_scan(**given)
    assert_bit_equal(start.detach(), before)
    outer = torch.ones_like(before)
    torch.autograd.grad(state.channels, start, outer)
    assert_bit_equal(outer, torch.ones_like(before))


def test_memory_of_training_is_that_of_tokens_and_a_state_for_each_chunk():
    leaves = inputs(90, rows=1)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()), lambda t: t):
        selective_scan(*(leaves[name] for name in ("x", "delta", "A", "B", "C")))
    assert sum(saved) == 90 * (2 * J + 2 * N) + J * N + 90 // 9 * J * N


def test_half_precision_is_computed_in_float32():
    given = {name: tensor.bfloat16() for name, tensor in no_grad_inputs(40).items()}
    given["initial_state"] = given["initial_state"].float()
    y, state = selective_scan(**given, delta_softplus=True, return_state=True)
    exact, _ = selective_scan(
        **{n: t.float() for n, t in given.items()}, delta_softplus=True, return_state=True
    )
    assert (y.dtype, state.channels.dtype) == (torch.bfloat16, torch.float32)
    assert_bit_equal(y, exact.bfloat16())
    one = {name: given[name][:, 0] for name in ("x", "delta", "B", "C")}
    step, after = selective_step(**one, A=given["A"], state=given["initial_state"])
    assert (step.dtype, after.dtype) == (torch.bfloat16, torch.float32)


def test_chunks_are_not_twice_differentiable_and_the_loop_is():
    leaves = inputs(12)
    with pytest.raises(UnsupportedError, match=r"^create_graph: .*reference"):
        torch.autograd.grad(selective_scan(**leaves).sum(), leaves["A"], create_graph=True)
    y = selective_scan(**leaves, implementation="reference")
    (grad,) = torch.autograd.grad(y.sum(), leaves["A"], create_graph=True)
    assert torch.autograd.grad(grad.sum(), leaves["x"])[0].isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [1, 9, 20])
def test_no_output_looks_ahead(kind, position):
    given = no_grad_inputs(31)

    def scan(x, delta, write, read):
        changed = {**given, "x": x, "delta": delta, "B": write, "C": read}
        return selective_scan(**changed, resolution=resolutions(kind, 31), delta_softplus=True)

    torch.manual_seed(1)
    tensors = [given[name] for name in ("x", "delta", "B", "C")]
    if kind == "tokens":  # drawn anew at every call
        fixed = resolutions(kind, 31)

        def scan(x, delta, write, read):
            changed = {**given, "x": x, "delta": delta, "B": write, "C": read}
            return selective_scan(**changed, resolution=fixed, delta_softplus=True)

    assert_causal(scan, tensors, position)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("position", range(1, 30, 4))
def test_no_output_looks_ahead_at_resolutions(position, dtype):
    given = {name: tensor.to(dtype) for name, tensor in no_grad_inputs(31).items()}
    before = resolutions("rows differ", 31).clone()
    for later in (0.25, 0.5, 1.0):
        after = before.clone()
        after[:, position:] = later
        first, second = (selective_scan(**given, resolution=R) for R in (before, after))
        assert_bit_equal(second[:, :position], first[:, :position])
        assert not torch.equal(second, first)


def test_resolution_one_is_the_plain_scan():
    given = no_grad_inputs(31)
    plain = selective_scan(**given)
    assert_bit_equal(selective_scan(**given, resolution=1.0), plain)
    assert_bit_equal(selective_scan(**given, resolution=torch.ones(B, 31)), plain)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_constant_resolution_is_the_scan_of_the_first_channels(n):
    leaves = inputs(31)
    cut = {name: leaves[name][..., :n] for name in ("A", "B", "C", "initial_state")}
    wanted, small = selective_scan(**{**leaves, **cut}, delta_softplus=True, return_state=True)
    y, state = selective_scan(
        **leaves, delta_softplus=True, resolution=torch.full((B, 31), n / N), return_state=True
    )
    assert_bit_equal(y, wanted)
    assert_bit_equal(state.channels[..., :n], small.channels)
    assert_bit_equal(state.channels[..., n:], leaves["initial_state"][..., n:])
    expected = gradients((wanted,), leaves)
    for name, grad in gradients((y,), leaves).items():
        assert_close(grad, expected[name], gradient=True, what=name)
        if name in cut:
            assert bool((grad[..., n:] == 0).all()), name


def test_what_sleeps_comes_back_unharmed():
    given = no_grad_inputs(20)
    R = torch.ones(B, 20)
    R[:, 5:15] = 0.25
    _, state = selective_scan(**given, resolution=R, delta_softplus=True, return_state=True)
    rest = torch.cat([torch.arange(5), torch.arange(15, 20)])
    short = {
        n: t[:, rest] if t.dim() == 3 and n != "initial_state" else t for n, t in given.items()
    }
    _, skipped = selective_scan(**short, delta_softplus=True, return_state=True)
    assert_close(state.channels[..., 1:], skipped.channels[..., 1:])


@pytest.mark.parametrize("R", [1.0, 0.5])
def test_carrying_a_state_over_tiles_is_the_scan(R):
    leaves = inputs(28)
    n, steps = math.ceil(R * N), leaves["delta"].abs()
    shape = (B, 4, 7)
    tiles = [t.view(*shape, t.shape[-1]) for t in (leaves["x"], steps, leaves["B"])]
    log_decay, new = tile_contributions(tiles[0], tiles[1], leaves["A"], tiles[2], resolution=R)
    assert log_decay.shape == new.shape == (B, 4, J, n)
    h = leaves["initial_state"][..., :n]
    for tile in range(4):
        h = log_decay[:, tile].exp() * h + new[:, tile]
    basic = [leaves["x"], steps, leaves["A"], leaves["B"], leaves["C"]]
    _, end = reference_selective_scan(*basic, resolution=R, initial_state=leaves["initial_state"])
    assert_close(h, end[..., :n])
    wanted = [leaves[name] for name in ("x", "delta", "A", "B", "initial_state")]
    outer = torch.randn_like(h)
    for got, expected in zip(
        torch.autograd.grad((h * outer).sum(), wanted, retain_graph=True),
        torch.autograd.grad((end[..., :n] * outer).sum(), wanted),
        strict=True,
    ):
        assert_close(got, expected, gradient=True)


WRONG = [
    ({"x": torch.zeros(B, 6)}, "x"),
    ({"x": torch.zeros(B, 6, J, dtype=torch.long)}, "x"),
    ({"x": torch.zeros(B, 0, J)}, "x"),
    ({"delta": torch.zeros(B, 6, 1)}, "delta"),
    ({"delta": torch.zeros(B, 6, J, dtype=torch.float64)}, "delta"),
    ({"A": torch.zeros(N, J)}, "A"),
    ({"A": torch.zeros(J, 0)}, "A"),
    ({"B": torch.zeros(B, 6, J)}, "B"),
    ({"C": torch.zeros(B, 5, N)}, "C"),
    ({"D": torch.zeros(N)}, "D"),
    ({"z": torch.zeros(B, 6, 1)}, "z"),
    ({"delta_bias": torch.zeros(1)}, "delta_bias"),
    ({"initial_state": torch.zeros(B, N, J)}, "initial_state"),
    ({"resolution": 0.0}, "resolution"),
    ({"resolution": 1.1}, "resolution"),
    ({"resolution": math.nan}, "resolution"),
    ({"resolution": torch.full((B, 6), -0.5)}, "resolution"),
    ({"resolution": torch.full((B, 6), torch.nan)}, "resolution"),
    ({"resolution": torch.ones(B, 5)}, "resolution"),
    ({"resolution": torch.ones(B, 6, dtype=torch.long)}, "resolution"),
    ({"padding": torch.ones(B, 5, dtype=torch.bool)}, "padding"),
    ({"padding": torch.ones(B, 6)}, "padding"),
    ({"cu_seqlens": torch.tensor([0, 6])}, "cu_seqlens"),
    ({"rollback_limit": -1}, "rollback_limit"),
    ({"implementation": "triton"}, "implementation"),
]


def plain(T=6):
    return {name: tensor.float() for name, tensor in no_grad_inputs(T).items()}


@pytest.mark.parametrize(("change", "name"), WRONG)
def test_what_cannot_be_is_refused_by_name(change, name):
    with pytest.raises(ArgumentError) as refusal:
        selective_scan(**{**plain(), **change})
    assert refusal.value.name == name


def test_a_state_for_another_rollback_limit_is_refused():
    _, state = selective_scan(**plain(), rollback_limit=2, return_state=True)
    with pytest.raises(ArgumentError, match=r"^rollback_limit: got 0 .*made for 2"):
        selective_scan(**{**plain(), "initial_state": state})


def test_the_loop_reads_whole_rows():
    with pytest.raises(UnsupportedError, match=r"^implementation: "):
        selective_scan(**plain(), rollback_limit=2, implementation="reference")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": torch.zeros(J)}, "x"),
        ({"B": torch.zeros(B, J)}, "B"),
        ({"state": torch.zeros(B, N, J)}, "state"),
        ({"resolution": 0.0}, "resolution"),
        ({"resolution": torch.ones(B)}, "resolution"),
    ],
)
def test_a_step_that_cannot_be_is_refused_by_name(change, name):
    channel, token = torch.zeros(B, N), torch.zeros(B, J)
    good = {"x": token, "delta": token, "A": torch.zeros(J, N), "B": channel, "C": channel}
    with pytest.raises(ArgumentError) as refusal:
        selective_step(**{**good, "state": torch.zeros(B, J, N), **change})
    assert refusal.value.name == name


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"x": torch.zeros(J)}, "x"),
        ({"B": torch.zeros(B, 3, J)}, "B"),
        ({"resolution": 2}, "resolution"),
    ],
)
def test_tiles_that_cannot_be_are_refused_by_name(change, name):
    tokens = torch.zeros(B, 3, J)
    good = {"x": tokens, "delta": tokens, "A": torch.zeros(J, N), "B": torch.zeros(B, 3, N)}
    with pytest.raises(ArgumentError) as refusal:
        tile_contributions(**{**good, **change})
    assert refusal.value.name == name


def test_a_state_of_another_size_goes_on():
    given = plain()
    _, state = selective_scan(**given, rollback_limit=2, return_state=True)
    narrow, wide = state.resized(N - 1), state.resized(N + 2)
    assert_bit_equal(narrow.channels, state.channels[..., :-1])
    assert_bit_equal(wide.channels[..., :N], state.channels)
    assert bool((wide.channels[..., N:] == 0).all())
    few = {name: given[name][..., :-1] for name in ("A", "B", "C")}
    part = {**given, "resolution": (N - 1) / N, "initial_state": state.rollback(1)}
    cut = {**given, **few, "initial_state": narrow.rollback(1)}
    wanted = selective_scan(**part, rollback_limit=2)
    assert_close(selective_scan(**cut, rollback_limit=2), wanted)
    with pytest.raises(ArgumentError, match=r"^channels: got 0"):
        state.resized(0)
