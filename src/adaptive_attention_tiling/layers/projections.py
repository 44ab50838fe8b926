"""From tokens to the heads of queries, keys and values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import ArgumentError
from .rotary import rotate
from .short_convolution import ShortConvolution
from .sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig:
    """The parts around an attention that every mixer shares.

    Args:
        width: C, of the model.
        heads: H, of queries. `key_value_heads` G divides H; H if None.
        head_width: E, of values, and of queries and keys unless `query_width` says D; C / H if
            None.
        bias: on all four projections.
        qk_norm: RMS norm of each head's queries and keys.
        rotary_base: wavelengths of rotary position embedding run from 2 pi to 2 pi base tokens;
            None leaves positions out.
        convolution_width: tokens that the causal convolution after each projection of queries,
            keys and values sees; 0 leaves it out.
        output_gate: multiply the output of attention by sigmoid(W x).
    """

    width: int
    heads: int
    key_value_heads: int | None = None
    head_width: int | None = None
    query_width: int | None = None
    bias: bool = False
    qk_norm: bool = False
    rotary_base: float | None = None
    convolution_width: int = 0
    output_gate: bool = False

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "key_value_heads", "head_width", "query_width")
        check_sizes(self, "convolution_width", least=0)
        if self.head_width is None and self.width % self.heads:
            raise ArgumentError(
                "heads", self.heads, f"a divisor of width {self.width}", "or name head_width"
            )
        if self.heads % self.groups:
            raise ArgumentError(
                "key_value_heads",
                self.key_value_heads,
                f"a divisor of heads {self.heads}",
                "leave it out for as many as heads",
            )
        if self.rotary_base is not None and (self.key_width % 2 or self.rotary_base <= 1):
            raise ArgumentError(
                "rotary_base",
                f"{self.rotary_base} with query width {self.key_width}",
                "a number > 1 and an even query width",
                "rotary embedding turns pairs of channels; choose an even width",
            )

    @property
    def groups(self) -> int:
        """G: heads of keys and values."""
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def value_width(self) -> int:
        """E: width of a head's values."""
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def key_width(self) -> int:
        """D: width of a head's queries and keys."""
        return self.value_width if self.query_width is None else self.query_width


def named_projection(
    given: ProjectionConfig | None,
    sizes: Mapping[str, int | None],
    *,
    rotary_base: float | None = None,
) -> ProjectionConfig:
    """`given`, or else a bare one of the width and the heads, under the names of the caller's."""
    width, heads = sizes.values()
    if given is not None and width is None and heads is None:
        return given
    if given is not None or width is None or heads is None:
        named = ", ".join(f"{name} {size}" for name, size in sizes.items())
        first, second = sizes
        raise ArgumentError(
            "projection",
            f"projection {given}, {named}",
            f"either a projection, or {first} and {second}",
            f"pass {first}=256, {second}=8",
        )
    return ProjectionConfig(width=width, heads=heads, rotary_base=rotary_base)


class HeadProjection(nn.Module):
    """W x, then convolution, split into heads, norm and rotation, as far as configured."""

    def __init__(
        self, config: ProjectionConfig, heads: int, head_width: int, *, is_value: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(config.width, heads * head_width, bias=config.bias)
        self.convolution = (
            ShortConvolution(heads * head_width, config.convolution_width)
            if config.convolution_width
            else None
        )
        self.norm = nn.RMSNorm(head_width) if config.qk_norm and not is_value else None
        self.rotary_base = None if is_value else config.rotary_base

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        positions: Int[Tensor, "#B T"],
        padding: Bool[Tensor, "B T"] | None = None,
        carried: Float[Tensor, "B n-1 D"] | None = None,
    ) -> tuple[Float[Tensor, "B H T D"], Tensor | None]:
        """The heads, and what the convolution carries on to the next tokens."""
        x = self.linear(x)
        if self.convolution is not None:
            x, carried = self.convolution(x, carried, padding)
        heads = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if self.norm is not None:
            heads = self.norm(heads)
        if self.rotary_base is not None:
            heads = rotate(heads, positions, base=self.rotary_base)
        return heads, carried


class OutputProjection(nn.Module):
    """W (sigmoid(W_gate x) * heads), the gate as configured."""

    def __init__(self, config: ProjectionConfig) -> None:
        super().__init__()
        inner = config.heads * config.value_width
        self.linear = nn.Linear(inner, config.width, bias=config.bias)
        self.gate = nn.Linear(config.width, inner) if config.output_gate else None

    def forward(
        self, heads: Float[Tensor, "B H T E"], x: Float[Tensor, "B T C"]
    ) -> Float[Tensor, "B T C"]:
        joined = heads.transpose(1, 2).flatten(2)
        if self.gate is not None:
            joined = joined * torch.sigmoid(self.gate(x))
        out: Tensor = self.linear(joined)
        return out


@dataclass(frozen=True)
class ProjectionState:
    """What projections remember of a text: the next position [B, 1] and the carried inputs."""

    position: Tensor
    carried: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)


class AttentionProjections(nn.Module):
    """The queries, keys and values of a mixer, and its output."""

    def __init__(self, config: ProjectionConfig) -> None:
        super().__init__()
        self.query = HeadProjection(config, config.heads, config.key_width)
        self.key = HeadProjection(config, config.groups, config.key_width)
        self.value = HeadProjection(config, config.groups, config.value_width, is_value=True)
        self.output = OutputProjection(config)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        padding: Bool[Tensor, "B T"] | None = None,
        state: ProjectionState | None = None,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], ProjectionState]:
        """(query [B, H, T, D], key [B, G, T, D], value [B, G, T, E]), and the state after them."""
        if state is None:
            state = ProjectionState(torch.zeros(x.shape[0], 1, dtype=torch.long, device=x.device))
        positions, following = token_positions(x, padding, state.position)
        query, carried_query = self.query(x, positions, padding, state.carried[0])
        key, carried_key = self.key(x, positions, padding, state.carried[1])
        value, carried_value = self.value(x, positions, padding, state.carried[2])
        carried = carried_query, carried_key, carried_value
        return (query, key, value), ProjectionState(following, carried)


class CrossProjections(nn.Module):
    """The queries of one text, the keys and values of another, and the output.

    Positions in the two texts have nothing to do with each other, so nothing is rotated; queries
    do not see their neighbours, so any number may come at a time.
    """

    def __init__(self, config: ProjectionConfig) -> None:
        super().__init__()
        config = replace(config, rotary_base=None)
        alone = replace(config, convolution_width=0)
        self.query = HeadProjection(alone, config.heads, config.key_width)
        self.key = HeadProjection(config, config.groups, config.key_width)
        self.value = HeadProjection(config, config.groups, config.value_width, is_value=True)
        self.output = OutputProjection(config)

    def queries(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B H T D"]:
        """What x asks."""
        heads: Tensor = self.query(x, token_positions(x, None)[0])[0]
        return heads

    def keys_and_values(
        self, context: Float[Tensor, "B S C"], padding: Bool[Tensor, "B S"] | None
    ) -> tuple[Float[Tensor, "B G S D"], Float[Tensor, "B G S E"]]:
        """What the context answers."""
        positions, _ = token_positions(context, padding)
        return self.key(context, positions, padding)[0], self.value(context, positions, padding)[0]


def token_positions(
    x: Tensor, padding: Bool[Tensor, "B T"] | None, first: Int[Tensor, "B 1"] | None = None
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B 1"]]:
    """Positions that count tokens and not padding, from `first` on, and the position after them."""
    if padding is None:
        count = torch.arange(1, x.shape[1] + 1, device=x.device).expand(x.shape[0], -1)
    else:
        count = padding.long().cumsum(1)
    if first is not None:
        count = count + first
    following = count[:, -1:] if count.shape[1] else torch.zeros_like(count[:, :1])
    return (count - 1).clamp(min=0), following
