import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import (
    AdaptiveAttentionConfig,
    GateConfig,
    GaussianSplatAttentionConfig,
    LinearAttentionConfig,
    ProjectionConfig,
    SoftmaxAttentionConfig,
    SplatFieldConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

V, C, T = 11, 12, 9
PROJECTION = ProjectionConfig(width=C, heads=3, rotary_base=100.0, convolution_width=2)
PLAIN = SoftmaxAttentionConfig(projection=ProjectionConfig(width=C, heads=2))
FURNISHED = SoftmaxAttentionConfig(projection=PROJECTION)
SPLAT = GaussianSplatAttentionConfig(
    projection=PROJECTION,
    field=SplatFieldConfig(splats=4),
    gates=GateConfig(decay="head", write=True),
    window=3,
)
LINEAR = LinearAttentionConfig(projection=PROJECTION)


def config(**changes):
    settings = {"vocabulary": V, "width": C, "depth": 2, "mixers": FURNISHED} | changes
    return GPTConfig(**settings)


MODELS = {
    "plain": config(),
    "one mixer for each block": config(mixers=(FURNISHED, SPLAT, LINEAR), depth=3),
    "learned positions": config(mixers=PLAIN, positions=20),
    "gelu, untied": config(network="gelu", tied=False),
    "reversible": config(mixers=(FURNISHED, SPLAT, LINEAR), depth=3, reversible=True),
}


@pytest.fixture(params=MODELS)
def model(request):
    return GPT(MODELS[request.param]).double()


@pytest.fixture
def tokens():
    return torch.randint(V, (2, T))


def test_logits_are_over_the_vocabulary(model, tokens):
    assert model(tokens).shape == (2, T, V)


def test_a_token_changes_no_logits_before_it(model, tokens):
    before = model(tokens)
    tokens[:, 5] = (tokens[:, 5] + 1) % V
    after = model(tokens)
    assert_bit_equal(after[:, :5], before[:, :5])
    assert not torch.equal(after[:, 5:], before[:, 5:])


def test_step_by_step_gives_the_logits_of_the_whole(model, tokens):
    state, steps = None, []
    for t in range(T):
        logits, state = model(tokens[:, t : t + 1], state=state, return_state=True)
        steps.append(logits)
    assert_close(torch.cat(steps, 1), model(tokens))


@pytest.mark.parametrize("form", ["bool [B, T]", "float [B, 1, 1, T]"])
def test_padding_on_the_left_changes_nothing_even_in_generation(model, tokens, form):
    padding = torch.ones(2, T, dtype=torch.bool)
    padding[0, :3] = False
    mask = padding[:, :7]
    if form.startswith("float"):
        mask = torch.zeros(2, 1, 1, 7).masked_fill(~mask[:, None, None], -torch.inf)
    start, state = model(tokens[:, :7], attn_mask=mask, return_state=True)
    rest = model(tokens[:, 7:], state=state)
    alone = model(tokens[:1, 3:])
    assert_close(torch.cat([start[:1, 3:], rest[:1]], 1), alone)
    assert_close(torch.cat([start, rest], 1)[1:], model(tokens[1:]))


def test_a_mask_that_softmax_alone_understands_reaches_it(tokens):
    model = GPT(config()).double()
    blind = torch.ones(2, 1, T, T, dtype=torch.bool)
    blind[:, :, -1, 2] = False  # the last token does not see the third
    out, seeing = model(tokens, attn_mask=blind), model(tokens)
    assert_close(out[:, :-1], seeing[:, :-1])
    assert (out[:, -1] - seeing[:, -1]).abs().max() > 1e-6


def test_a_tied_model_has_one_embedding_less():
    def size(model):
        return sum(parameter.numel() for parameter in model.parameters())

    assert size(GPT(config(tied=False))) - size(GPT(config(tied=True))) == V * C


def test_positions_are_learnt_where_they_are_asked_for(tokens):
    # Without them, a block of attention cannot tell in which order two tokens came.
    swapped = tokens[:, [1, 0, *range(2, T)]]
    blind, sighted = GPT(config(mixers=PLAIN, depth=1)), GPT(MODELS["learned positions"])
    assert_close(blind(swapped)[:, -1], blind(tokens)[:, -1])
    assert (sighted(swapped)[:, -1] - sighted(tokens)[:, -1]).abs().max() > 1e-4


def test_a_text_longer_than_the_learned_positions_is_refused():
    model = GPT(config(positions=4))
    _, state = model(torch.zeros(1, 4, dtype=torch.long), return_state=True)
    with pytest.raises(ArgumentError, match="positions=4"):
        model(torch.zeros(1, 1, dtype=torch.long), state=state)


def test_the_residual_stream_does_not_grow_with_depth(tokens):
    shallow, deep = (
        torch.stack([block_output(GPT(config(depth=depth)), tokens) for _ in range(5)]).mean()
        for depth in (2, 32)
    )
    assert deep < 2 * shallow


def block_output(model, tokens):
    """Root mean square of what enters the last norm."""
    seen = []
    model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(tokens)
    return seen[0].square().mean().sqrt()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"depth": 0}, "depth"),
        ({"positions": 0}, "positions"),
        ({"network": "relu"}, "network"),
        ({"network_ratio": 0.0}, "network_ratio"),
        ({"mixers": (PLAIN,) * 3}, "mixers"),
        ({"width": 24}, "mixers"),
        (
            {
                "mixers": AdaptiveAttentionConfig(
                    sequence_length=64, projection=PROJECTION, lambda_info=1.0
                ),
                "reversible": True,
            },
            "mixers",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        config(**changes)
    assert refusal.value.name == name


def test_a_reversible_model_has_the_gradients_of_plain_autograd(tokens):
    model = GPT(MODELS["reversible"]).double()
    weights = torch.randn(2, T, V, dtype=torch.float64)
    (model(tokens) * weights).sum().backward()
    found = {name: x.grad.clone() for name, x in model.named_parameters()}
    model.zero_grad()
    (model(tokens, return_state=True)[0] * weights).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(found[name], parameter.grad, gradient=True, what=name)


def saved_bytes(depth, **changes):
    model = GPT(config(depth=depth, **changes))
    own = {x.data_ptr() for x in model.parameters()}
    saved = {}

    def pack(x):
        if x.data_ptr() not in own:
            saved[x.data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(torch.zeros(2, 64, dtype=torch.long)).sum()
    return sum(saved.values())


def test_what_a_reversible_model_keeps_for_training_does_not_grow_with_depth():
    kept = [saved_bytes(depth, reversible=True) for depth in (2, 4, 8)]
    assert kept == [kept[0]] * 3
    assert saved_bytes(8) > 3.5 * saved_bytes(2) > 3.5 * kept[0]


@pytest.mark.parametrize("bad", [torch.zeros(3, dtype=torch.long), torch.zeros(1, 3)])
def test_tokens_are_whole_numbers_of_a_batch(bad):
    with pytest.raises(ArgumentError) as refusal:
        GPT(config())(bad)
    assert refusal.value.name == "tokens"
