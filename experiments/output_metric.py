"""How much an error of each attention head's output matters for the loss: a Fisher metric.

For an error e of the output of one head at one token, the model's distribution of the next tokens
moves by KL ~ e^T F e / 2 with F = E[g g^T], g the gradient of log p of all later labels, drawn
from the model itself. Errors of heads and tokens are taken as independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def output_metric(
    model: PreTrainedModel, ids: Int[Tensor, "1 T"], *, draws: int = 4, seed: int = 0
) -> Float[Tensor, "layers H E E"]:
    """F of every head, averaged over the tokens of `ids` and over draws of labels.

    Losses of tokens get random signs, so that products of two tokens' gradients cancel on average.
    """
    outputs: list[Tensor] = []
    hidden = _hidden(model, ids, outputs)
    logits = model.get_output_embeddings()(hidden[0]).float()
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = [torch.zeros(()) for _ in outputs]
    for _ in range(draws):
        labels = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
        signs = torch.randint(0, 2, labels.shape, generator=generator) * 2.0 - 1.0
        loss = (cross_entropy(logits, labels, reduction="none") * signs).sum()
        gradients = torch.autograd.grad(loss, outputs, retain_graph=True)
        found = [
            f + torch.einsum("thd,the->hde", g[0], g[0]) / (draws * len(labels))
            for f, g in zip(found, gradients, strict=True)
        ]
    return torch.stack(found)


def _hidden(model: Any, ids: Tensor, outputs: list[Tensor]) -> Tensor:
    """The last hidden states; every layer's attention output [1, T, H, E] goes to `outputs`."""
    from transformers import AttentionInterface

    def forward(
        module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, scaling: float, **__: Any
    ) -> tuple[Tensor, None]:
        out = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=True
        )
        outputs.append(out.transpose(1, 2).contiguous())
        return outputs[-1], None

    before = model.config._attn_implementation
    AttentionInterface.register("kept_outputs", forward)
    model.set_attn_implementation("kept_outputs")
    try:
        states = model.get_input_embeddings()(ids).detach().requires_grad_()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        hidden: Tensor = model.base_model(inputs_embeds=states, use_cache=False).last_hidden_state
        return hidden
    finally:
        model.set_attn_implementation(before)
