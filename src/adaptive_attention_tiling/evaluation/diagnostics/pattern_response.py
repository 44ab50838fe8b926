"""Whether a head's attention lets patterns along the text grow, and of which wavelength."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .head_tensors import check_head

# Of the variance of values, added to each direction when queries and keys are fitted to them.
_RIDGE = 1e-3


@dataclass(frozen=True)
class PatternResponse:
    """What a head makes of small waves along the text; all empty or nan for one token.

    Args:
        wave_numbers: k, [w], in radians a token, ascending.
        gain: the largest |S(k) d| / |d| over directions d of the values, [w], >= 0.
        rates: growth, [w]: the largest real part of an eigenvalue of S(k), - 1 - diffusion k^2.
    """

    wave_numbers: Float[Tensor, " w"]
    gain: Float[Tensor, " w"]
    rates: Float[Tensor, " w"]

    @property
    def growth(self) -> float:
        """The largest rate: above 0 tokens draw apart into clusters, below they grow alike."""
        return float(self.rates.max()) if len(self.rates) else math.nan

    @property
    def wavelength(self) -> float:
        """Of the wave with that rate, in tokens."""
        if not len(self.rates):
            return math.nan
        return 2 * math.pi / float(self.wave_numbers[self.rates.argmax()])


def pattern_response(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    maps: tuple[Float[Tensor, "E D"], Float[Tensor, "E D"]] | None = None,
    diffusion: float = 0.0,
    window: int = 256,
    waves: int = 8,
) -> PatternResponse:
    """Linear stability of du/dt = -u + A(u) u + diffusion u'' at a head's own states u = v.

    With q = query + (u - v) Q and k = key + (u - v) K a change of the states changes the output by

        d o_i = sum_j a_ij d u_j + scale sum_j a_ij (v_j - o_i) (k_j . Q^T d u_i + q_i . K^T d u_j)

    the second term being what lets like tokens attract. Of this Jacobian J the part that keeps a
    wave of n tokens what it is,

        S(k) = (1 / n) sum_ij e^{-i k (i - j)} J_ij,            k = 2 pi m / n,

    says how the wave d e^{i k j} sets off. Where J depends on i - j alone these are its very rates;
    elsewhere they are the mean over the window, and a causal head may amplify on the way what
    fades in the end. At the level of one head this is a model: no feed-forward layers, no norms.

    Args:
        query, key, value: of one head, rotated if the model rotates them.
        scale: of the logits; None is D ** -0.5.
        maps: Q and K of u to queries and keys; None takes those of least squares over the text,
            so that tokens vary as they do in it.
        diffusion: >= 0, in tokens^2 a unit of time.
        window: so many last tokens carry the wave; they attend to all that they see.
        waves: at most so many wave numbers, from 2 pi / n to pi, evenly spread in octaves.

    Geshkovski et al., The emergence of clusters in self-attention dynamics (2023), with -u added;
    Cross and Hohenberg, Rev. Mod. Phys. 65 (1993), section II (rates by wave number).
    """
    _check(query, key, value, diffusion, window, waves)
    _check_maps(maps, [value.shape[1], query.shape[1]])
    query, key, value = (x.detach().double() for x in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    of_query, of_key = _fitted(query, key, value) if maps is None else (m.double() for m in maps)
    first = max(0, len(query) - window)
    size = len(query) - first
    chosen = torch.logspace(0, math.log2(max(size // 2, 1)), waves, 2).round().unique()
    numbers = 2 * math.pi * chosen[chosen <= size // 2].to(query) / size
    if not len(numbers):
        return PatternResponse(numbers, numbers, numbers)
    symbol = _symbols(
        query[first:], key, value, scale, is_causal, scale * of_query, scale * of_key, numbers
    )
    rates = torch.linalg.eigvals(symbol).real.amax(-1) - 1 - diffusion * numbers.square()
    gain = torch.linalg.matrix_norm(symbol, 2)
    return PatternResponse(numbers, gain, rates)


def _symbols(
    query: Float[Tensor, "n D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    scale: float,
    is_causal: bool,
    of_query: Float[Tensor, "E D"],
    of_key: Float[Tensor, "E D"],
    numbers: Float[Tensor, " w"],
) -> Complex[Tensor, "w E E"]:
    """S(k) of the last n tokens, which attend to all before; it acts on columns."""
    size, first = len(query), len(key) - len(query)
    place = torch.arange(size, device=query.device)
    logits = scale * (query @ key.mT)
    if is_causal:
        hidden = torch.arange(len(key), device=key.device) > first + place[:, None]
        logits = logits.masked_fill(hidden, -torch.inf)
    attention = logits.softmax(-1)
    output = attention @ value
    # The wave in the queries: sum_ij a_ij (v_j - o_i) k_j^T.
    spread = (attention.sum(0)[:, None] * value).mT @ key - output.mT @ (attention @ key)
    # The wave in the keys and values, e^{i k j} taken along from j and off at i.
    wave = torch.polar(torch.ones_like(place * numbers[:, None]), place * numbers[:, None])
    carried = torch.cat([torch.ones_like(value[first:, :1]), value[first:]], 1)
    near = attention[:, first:].to(wave.dtype)
    moved = torch.stack([near @ (w[:, None] * carried) * w.conj()[:, None] for w in wave])
    drawn = moved[..., 1:] - moved[..., :1] * output
    symbol = drawn.mT @ (query @ of_key.mT).to(wave.dtype) + spread @ of_query.mT
    share = moved[..., 0].mean(-1)
    eye = torch.eye(value.shape[1], dtype=wave.dtype, device=value.device)
    return symbol / size + share[:, None, None] * eye


def _fitted(
    query: Float[Tensor, "T D"], key: Float[Tensor, "T D"], value: Float[Tensor, "T E"]
) -> tuple[Float[Tensor, "E D"], Float[Tensor, "E D"]]:
    """Least squares of queries and keys on values about their means."""
    value = value - value.mean(0)
    gram = value.mT @ value
    ridge = _RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny
    gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    fitted = torch.linalg.solve(gram, value.mT @ torch.cat([query, key], 1))
    of_query, of_key = fitted.chunk(2, 1)
    return of_query, of_key


def _check(
    query: Tensor, key: Tensor, value: Tensor, diffusion: float, window: int, waves: int
) -> None:
    check_head(query, key, value)
    for name, given, least in (("diffusion", diffusion, 0), ("window", window, 2)):
        if not least <= given < math.inf:
            raise ArgumentError(name, given, f"a number >= {least}", f"pass {name}={least}")
    if waves < 1:
        raise ArgumentError("waves", waves, "an integer >= 1", "pass waves=8")


def _check_maps(maps: tuple[Tensor, Tensor] | None, shape: list[int]) -> None:
    shapes = [list(m.shape) for m in maps or ()]
    if maps is not None and shapes != [shape, shape]:
        raise ArgumentError("maps", shapes, f"two of {shape}", "pass those of the head, transposed")
