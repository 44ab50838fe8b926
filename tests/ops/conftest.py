"""Small seeded inputs, and attention written with masks to compare with."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.ops.tiled_attention import TileLayout


class Inputs(NamedTuple):
    query: Tensor
    key: Tensor
    value: Tensor


@pytest.fixture(params=(*native.runnable_sets(), "off"))
def instruction_set(request, monkeypatch) -> str:
    """Each set of kernels that can run here, and none."""
    monkeypatch.setenv("AAT_NATIVE", request.param)
    return request.param


@pytest.fixture(scope="session")
def tiny() -> TileLayout:
    return TileLayout(super_block=16, tile=4, group=2, cells=1, window=16, scouts=6, sinks=2)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Inputs]:
    """Queries [B, H, T, D], keys [B, G, S, D] and values [B, G, S, E], standard normal."""

    def make(T, *, S=None, B=2, H=4, G=2, D=8, E=None, dtype=torch.float64, seed=0) -> Inputs:
        source = torch.Generator().manual_seed(seed)
        shapes = (B, H, T, D), (B, G, S or T, D), (B, G, S or T, E or D)
        return Inputs(
            *(torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes)
        )

    return make


@pytest.fixture(scope="session")
def clustered() -> Callable[..., Inputs]:
    """As `draw`, with keys close around a few centres that the queries also lie around.

    Tokens of one centre stand anywhere in the sequence, and have similar values: far tokens of
    such a text can be read through means, if its tiles are the clusters.
    """

    def make(
        T, *, B=2, H=4, G=2, D=8, centres=5, noise=0.1, sharp=1.5, dtype=torch.float64, seed=0
    ) -> Inputs:
        source = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=source, dtype=torch.float64)

        middle, meaning = normal(G, centres, D), normal(G, centres, D)
        topic = torch.randint(centres, (B, G, T), generator=source)
        group = torch.arange(G)[:, None]
        key = middle[group, topic] + noise * normal(B, G, T, D)
        value = meaning[group, topic] + noise * normal(B, G, T, D)
        asked = torch.randint(centres, (B, H, T), generator=source)
        owner = (torch.arange(H) * G // H)[:, None]
        query = sharp * middle[owner, asked] + normal(B, H, T, D)
        return Inputs(*(x.to(dtype) for x in (query, key, value)))

    return make


@pytest.fixture(scope="session")
def padding() -> Callable[..., Tensor]:
    """[B, T] masks: sequence b has (b + 1) * left padded tokens before, (b + 1) * right after."""

    def make(T, *, B=2, left=0, right=0) -> Tensor:
        token = torch.arange(T).expand(B, T)
        times = torch.arange(1, B + 1)[:, None]
        return (token >= times * left) & (token < T - times * right)

    return make


@pytest.fixture(scope="session")
def dense_truth() -> Callable[..., Tensor]:
    """torch's attention with every rule as one mask; zeros for a query that sees nothing."""

    def attend(
        query, key, value, *, is_causal=False, scale=None, key_padding_mask=None, allowed=None
    ) -> Tensor:
        B, H, T, _ = query.shape
        S = key.shape[2]
        seen = torch.ones(B, H, T, S, dtype=torch.bool)
        if is_causal:
            seen &= torch.ones(T, S, dtype=torch.bool).tril()
        if key_padding_mask is not None:
            seen &= key_padding_mask[:, None, None]
        if allowed is not None:
            seen &= allowed
        shared = (x.repeat_interleave(H // x.shape[1], 1) for x in (key, value))
        out = scaled_dot_product_attention(query, *shared, attn_mask=seen, scale=scale)
        return torch.where(seen.any(-1)[..., None], out, 0.0)

    return attend
