"""Fidelity attention of states that are prepared from amplitudes or angles, with phases."""

import math
from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import (
    FidelityAttention,
    FidelityAttentionConfig,
    GateConfig,
    ProjectionConfig,
    StatePreparation,
)
from adaptive_attention_tiling.mathematics.quantum import QuantumStateSpace
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.testing import assert_close

B, T, C = 2, 9, 8
PROJECTION = ProjectionConfig(width=C, heads=4, key_value_heads=2, bias=True)
ANGLE = StatePreparation(kind="angle")
PHASED_ANGLE = StatePreparation(kind="angle", phases=True)
KINDS = {
    "amplitude": (StatePreparation(), 5),
    "amplitude with phases": (StatePreparation(phases=True), 3),
    "angle": (ANGLE, 8),
    "angle with phases": (PHASED_ANGLE, 4),
}


@pytest.fixture(params=KINDS)
def config(request):
    preparation, width = KINDS[request.param]
    return FidelityAttentionConfig(
        projection=PROJECTION, preparation=preparation, state_width=width, background=0.01
    )


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def densities(preparation, numbers, m):
    """rho [.., m, m], by the public call that checks its data."""
    space = QuantumStateSpace((m,))
    phases = None
    if preparation.phases:
        numbers, phases = numbers.chunk(2, -1)
    return space.prepare_state(numbers, preparation.kind, phases)


def by_density_matrices(layer, x, seen):
    """sum_j (tr rho_i rho_j + b) v_j / sum_j (tr rho_i rho_j + b) over the pairs that are seen."""
    config = layer.config
    (query, key, value), _ = layer.projections(x)
    rho = [densities(config.preparation, t, config.state_width) for t in (query, key)]
    traces = torch.einsum("bgrtij,bgsji->bgrts", rho[0].unflatten(1, (2, 2)), rho[1]).real
    weights = (traces + config.background) * seen
    heads = (weights / weights.sum(-1, keepdim=True)) @ value[:, :, None]
    return layer.projections.output(heads.flatten(1, 2), x)


def with_gradients(out, outer, layer):
    parameters = dict(layer.named_parameters())
    return out, dict(
        zip(parameters, torch.autograd.grad((out * outer).sum(), parameters.values()), strict=True)
    )


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_weights_are_traces_of_density_matrices(config, x, is_causal, padded):
    layer = FidelityAttention(config).double()
    mask = torch.ones(B, T, dtype=torch.bool)
    if padded:
        mask[0, 6:] = False
    seen = mask[:, None, None, None] & (
        torch.ones(T, T).tril().bool() if is_causal else torch.ones(T, T).bool()
    )
    outer = torch.randn_like(x) * mask[..., None]
    out = layer(x, attn_mask=mask if padded else None, is_causal=is_causal)
    found, gradients = with_gradients(out, outer, layer)
    wanted, expected = with_gradients(by_density_matrices(layer, x, seen), outer, layer)
    assert_close(found[mask], wanted[mask])
    for name, gradient in gradients.items():
        assert gradient.abs().sum() > 0
        assert_close(gradient, expected[name], gradient=True, what=name)


def test_chunks_agree_with_density_matrices(config):
    """Longer than what is read by pairs, so that features are summed."""
    layer = FidelityAttention(config).double()
    x = torch.randn(1, 400, C, dtype=torch.float64)
    seen = torch.ones(400, 400).tril().bool()
    assert_close(layer(x), by_density_matrices(layer, x, seen))


def test_angles_are_weighed_by_a_product_of_cosines():
    x, y = torch.randn(2, 7, 3, dtype=torch.float64)
    overlap = (ANGLE.states(x) * ANGLE.states(y)).sum(-1)
    assert_close(overlap.square(), ((1 + (x - y).cos()) / 2).prod(-1))


def test_phases_tell_states_of_equal_size_apart():
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, math.pi]], dtype=torch.float64)
    same, other = StatePreparation(phases=True).states(x)
    assert_close((same.conj() @ other).abs(), torch.tensor(0.0).double())
    assert_close((same.conj() @ same).abs(), torch.tensor(2.0).double())


def test_vectors_of_zeros_do_no_harm(config, x):
    layer = FidelityAttention(config).double()
    for projection in (layer.projections.query, layer.projections.key):
        torch.nn.init.zeros_(projection.linear.bias)
    x[:, 2:5] = 0.0
    x.requires_grad_()
    out = layer(x)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert bool(out.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_nothing_looks_at_values(config):
    """A tensor without data has none to look at."""
    numbers = config.preparation.numbers(config.state_width)
    states = config.preparation.states(torch.empty(B, T, numbers, device="meta"))
    assert states.shape == (B, T, config.state_width)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_other_dtypes(config, x, dtype):
    layer = FidelityAttention(replace(config, window=2)).to(dtype)
    low = x.to(dtype)
    out, state = layer(low[:, :5], return_state=True)
    out = torch.cat([out, layer(low[:, 5:], state=state)], 1)
    assert out.dtype == dtype
    exact = layer.double()(low.double())
    assert (out - exact).abs().max() < (0.1 if dtype == torch.bfloat16 else 1e-5)


def test_logits_of_angles_are_of_size_1():
    config = FidelityAttentionConfig(projection=PROJECTION, preparation=ANGLE, state_width=8)
    assert config.logit_scale == pytest.approx(8**0.5)
    assert replace(config, scale=2.0).logit_scale == 2.0
    assert replace(config, preparation=StatePreparation()).logit_scale == pytest.approx(8**-0.5)


@pytest.mark.parametrize("preparation", ["angle", "angle with phases"])
def test_the_window_is_softmax_of_overlaps(x, preparation):
    preparation, width = KINDS[preparation]
    config = FidelityAttentionConfig(
        projection=PROJECTION, preparation=preparation, state_width=width, window=T
    )
    layer = FidelityAttention(config).double()
    (query, key, value), _ = layer.projections(x)
    query, key = preparation.states(query).unflatten(1, (2, 2)), preparation.states(key)
    logits = width**0.5 * torch.einsum("bgrtm,bgsm->bgrts", query, key.conj()).real
    logits = logits.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
    heads = logits.softmax(-1) @ value[:, :, None]
    assert_close(layer(x), layer.projections.output(heads.flatten(1, 2), x))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at it
def test_a_compiled_layer_is_the_layer(x, monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")  # compilers do not trace the choice of kernels
    config = FidelityAttentionConfig(projection=PROJECTION, preparation=PHASED_ANGLE, state_width=4)
    layer = FidelityAttention(config).double()
    outer = torch.randn_like(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, gradients = with_gradients(compiled(x), outer, layer)
    wanted, expected = with_gradients(layer(x), outer, layer)
    assert_close(found, wanted)
    for name, gradient in gradients.items():
        assert_close(gradient, expected[name], gradient=True, what=name)


def test_a_model_reads_on_from_its_state(config):
    mixer = replace(config, gates=GateConfig(decay="head", write=True), window=2)
    model = GPT(GPTConfig(vocabulary=11, width=C, depth=2, mixers=mixer)).double()
    tokens = torch.randint(11, (B, T))
    logits, state = model(tokens[:, :4], return_state=True)
    rows = [logits]
    for t in range(4, T):
        logits, state = model(tokens[:, t : t + 1], state=state, return_state=True)
        rows.append(logits)
    assert_close(torch.cat(rows, 1), model(tokens))


def test_qubits_are_held_in_fewer_features(x):
    config = FidelityAttentionConfig(
        projection=PROJECTION, preparation=ANGLE, state_width=8, window=2
    )
    dense = FidelityAttention(config).double()
    qubits = FidelityAttention(replace(config, qubit_features=True)).double()
    qubits.load_state_dict(dense.state_dict())
    expected, large = dense(x, return_state=True)
    out, small = qubits(x, return_state=True)
    assert_close(out, expected)
    features = [state.attention.values.shape[2] for state in (small, large)]
    assert features == [27 + 1, 36 + 1]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"preparation": ANGLE, "state_width": 12}, "state_width"),
        ({"preparation": ANGLE, "state_width": 1}, "state_width"),
        ({"preparation": PHASED_ANGLE, "state_width": 2**17}, "state_width"),
        ({"preparation": StatePreparation(phases=True), "state_width": 0}, "state_width"),
        ({"qubit_features": True, "state_width": 8}, "qubit_features"),
        ({"qubit_features": True, "preparation": ANGLE, "state_width": 2}, "qubit_features"),
        ({"qubit_features": True, "preparation": PHASED_ANGLE, "state_width": 8}, "qubit_features"),
        (
            {
                "preparation": StatePreparation(phases=True),
                "projection": replace(PROJECTION, rotary_base=1e4),
            },
            "rotary_base",
        ),
        (
            {
                "preparation": ANGLE,
                "state_width": 16,
                "projection": replace(PROJECTION, rotary_base=1e4),
            },
            "rotary_base",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        FidelityAttentionConfig(**{"projection": PROJECTION, **changes})
    assert refusal.value.name == name


def test_a_preparation_is_known_by_name():
    with pytest.raises(ArgumentError, match="kind: got 'basis'"):
        StatePreparation(kind="basis")
