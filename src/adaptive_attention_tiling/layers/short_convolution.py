"""A convolution over a token and the few before it, channel by channel."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import pad


class ShortConvolution(nn.Module):
    """y_t = sum_i w_i x_{t-n+1+i}, i = 0..n-1: causal, one filter of width n a channel.

    The last n - 1 inputs are all that later outputs need to know of the past; `forward` takes and
    returns them, so that one token at a time gives what the whole sequence gives.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        # The bound of nn.Conv1d's default initialisation.
        self.weight = nn.Parameter(
            torch.empty(width, channels).uniform_(-(width**-0.5), width**-0.5)
        )

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        carried: Float[Tensor, "B n-1 C"] | None = None,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B n-1 C"]]:
        """The outputs, and the inputs to carry on: those up to each sequence's last token.

        `padding` is True for tokens; padding counts as zero, as what lies before the text does.
        """
        before = self.width - 1
        if padding is not None:
            x = x * padding[..., None]
        x = pad(x, (0, 0, before, 0)) if carried is None else torch.cat([carried, x], dim=1)
        length = x.shape[1] - before
        # Shifted products summed: faster forward and backward on CPU than depthwise nn.Conv1d.
        out = x[:, :length] * self.weight[0]
        for tap in range(1, self.width):
            out = torch.addcmul(out, x[:, tap : tap + length], self.weight[tap])
        return out, self._last_inputs(x, padding)

    def _last_inputs(self, x: Tensor, padding: Tensor | None) -> Tensor:
        before = self.width - 1
        if padding is None:
            return x[:, x.shape[1] - before :]
        steps = torch.arange(1, padding.shape[1] + 1, device=x.device)
        end = (padding * steps).amax(1, keepdim=True)  # tokens up to the last that is no padding
        index = end + torch.arange(before, device=x.device)
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
