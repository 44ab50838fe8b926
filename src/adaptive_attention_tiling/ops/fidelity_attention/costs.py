"""Which form is cheapest at which length: rules fitted to the benchmark of the same name.

Measured on x86-64, one thread, float32, 8 heads, E = 64, causal, real states; process CPU time on
a busy machine, medians of 3 rounds, so that single figures are good to about a third.

    m                                12    16    24    32    48    64
    features F                       79   137   301   529  1177  2081
    break-even, forward             328  1134  1329  2362  3034  3695
    break-even, and backward        598  1245  1494  2738  3901  5667 (extrapolated from 4096)
    112 sqrt(F) - 400               595   911  1543  2176  3442  4709

With sums in compiled kernels (AVX2, forward, on another and busier machine, minima of 3):

    m                                12    16    24    32    48
    break-even, forward            <128   190   240   450  1050
    0.85 F                           67   116   256   450  1000
"""

from __future__ import annotations

import math


def crossover_tokens(features: int, *, is_causal: bool, native: bool = False) -> int:
    """The length up to which weighing all pairs costs no more CPU time than sums over features.

    Without causality sums are read once and no pair may be left out, so that it is halved: 340 to
    550 tokens were measured for m = 16 and 1130 to 1850 for m = 48. Complex states of m = 12 (145
    features) broke even at 1030 forward, and 1230 with backward. `native`: sums are compiled.
    """
    tokens = round(0.85 * features) if native else max(256, round(112 * math.sqrt(features)) - 400)
    return tokens if is_causal else tokens // 2


def chunk_tokens(features: int) -> int:
    """How many tokens are read at once by the chunked form.

    At 2048 tokens 256 takes 0.87 to 1.02 times as long as 128 for every m (m = 64: forward only);
    64 takes 1.1 to 1.4 times as long, 512 1.0 to 1.7. The best length does not grow with m; the
    longer one keeps half as many states for the backward pass.
    """
    return 128 if features < 100 else 256
