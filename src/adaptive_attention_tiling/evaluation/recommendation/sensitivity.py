"""How much an error of a head's output matters for what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...errors import ArgumentError
from ...models.hf import attention_layers
from ...optional import require
from ..variant import implementation_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KEPT = "aat_kept_outputs"


@dataclass(frozen=True)
class HeadSensitivity:
    """What turns an error of a head's output into predicted harm.

    Args:
        values: [L, H] s of harm = s e^2, e the relative error in the metric.
        metric: [L, H, E, E], M of `judge_head`.
        unit: "nats per token", or what it is for a model without a head of words.
    """

    values: Float[Tensor, "L H"]
    metric: Float[Tensor, "L H E E"]
    unit: str


def head_sensitivity(
    model: PreTrainedModel,
    ids: Int[Tensor, "1 T"],
    *,
    draws: int = 2,
    generator: torch.Generator | None = None,
) -> HeadSensitivity:
    """The Fisher metric of every head's output, and the harm of an error as large as the output.

    Where errors d_t of a head's outputs o_t move the model's distribution p of next tokens,

        KL ~ 1/2 sum_t d_t^T M d_t = e^2 T s,   M = E[g_t g_t^T],   s = 1/2 mean_t o_t^T M o_t,

    g_t the gradient by o_t of the sum of log p of labels that are drawn from p, each with a random
    sign, so that products of two labels' gradients cancel on average. Errors of different tokens
    count as independent. A model without a head of words has no p: there the squared change of
    its last hidden states, as a share of their squared norm, takes the place of KL, and g_t comes
    from a normal random projection of them. One forward pass and `draws` backward ones;
    parameters get no gradients.

    Args:
        model: in eval mode; a Hugging Face model that `observed` takes too.
        ids: one text of 2 tokens or more; 512 to 1,024 do.
        generator: of labels and signs; by default a new one with seed 0.

    Source: the Fisher information as a metric is Amari's; its use for errors of activations goes
    back to optimal brain damage (LeCun, Denker and Solla 1989).
    """
    if ids.dim() != 2 or len(ids) != 1 or ids.shape[1] < 2:
        raise ArgumentError("ids", f"shape {list(ids.shape)}", "[1, T], T >= 2", "pass one text")
    if isinstance(draws, bool) or draws < 1:
        raise ArgumentError("draws", draws, "an integer >= 1", "pass draws=2")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    with _frozen(model), torch.enable_grad():
        with kept_outputs(model) as outputs:
            hidden = model.base_model(input_ids=ids).last_hidden_state
        words = model.get_output_embeddings()
        predicted = None if words is None else words(hidden[0]).float()
        metric = torch.zeros((), dtype=torch.float64)
        for _ in range(draws):
            signed = _signed(hidden[0].float(), predicted, generator)
            gradients = torch.autograd.grad(signed, outputs, retain_graph=True)
            found = torch.stack(
                [torch.einsum("thd,the->hde", g, g) for (g,) in map(torch.Tensor.float, gradients)]
            )
            metric = metric + found.double() / (draws * ids.shape[1])
    rows = [output[0].detach().double() for output in outputs]
    size = torch.stack(
        [
            torch.einsum("the,hef,thf->h", o, m, o) / len(o)
            for o, m in zip(rows, metric, strict=True)
        ]
    )
    unit = "share of the last hidden states" if words is None else "nats per token"
    return HeadSensitivity(0.5 * size.clamp_min(0), metric, unit)


def _signed(hidden: Tensor, logits: Tensor | None, generator: torch.Generator) -> Tensor:
    """A number whose gradient, squared and averaged over draws, is that of the harm."""
    if logits is None:
        random = torch.randn(hidden.shape, generator=generator).to(hidden)
        return (random * hidden).sum() / hidden.detach().square().sum(-1).mean().sqrt()
    labels = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)[:, 0]
    signs = torch.randint(0, 2, labels.shape, generator=generator).to(logits) * 2 - 1
    losses = cross_entropy(logits, labels.to(logits.device), reduction="none")
    return (losses * signs).sum()


@contextmanager
def kept_outputs(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Within the context, the heads of each call of attention add [B, T, H, E] with their graph.

    Calls, not layers: ALBERT has one layer that it calls again and again.
    """
    transformers = require("transformers", "hf", "evaluation")
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    transformers.AttentionInterface.register(_KEPT, _keeping)
    transformers.AttentionMaskInterface.register(_KEPT, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    kept: list[Tensor] = []
    with ExitStack() as stack:
        for layer in attention_layers(model):
            setattr(layer, _KEPT, kept)
            stack.callback(delattr, layer, _KEPT)
        stack.enter_context(implementation_of(model, _KEPT))
        yield kept


def _keeping(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    out, _ = sdpa_attention_forward(module, query, key, value, *args, **kwargs)
    if not out.requires_grad:
        out = out.detach().requires_grad_()
    getattr(module, _KEPT).append(out)
    return out, None


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Within the context, no parameter asks for gradients."""
    asking = [p for p in model.parameters() if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
