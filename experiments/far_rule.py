"""What decides how far tokens are read, and the count of multiply-adds that it takes."""

from __future__ import annotations

from dataclasses import dataclass, fields

BLOCK, SINKS = 256, 4


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How far tokens are cut, what decides which sets are opened, and what the others give.

    sizes   tokens per set, coarse to fine (greedy cuts: on average)
    order   "key_space": cells of a bisecting tree inside each super-block; "contiguous": runs;
            "greedy": runs cut where neighbouring keys differ most in direction
    decide  "error": p sqrt(exp(x) - 1), p the set's share of the query's normaliser and x the
            variance of the logits inside it, for the mean query of the block before; "tail":
            p sqrt(x + g^2), g = (exp(a) - 1 - a) / 7, a = sqrt(7 x), x that of the query itself;
            "mass": p; "bound": the largest logit that the set's box of keys allows; "oracle": the
            true error of reading the set through its mean
    rest    closed sets give their "mean", nothing ("drop"), or a mean moved along `rank` principal
            axes of the set's keys ("second"), as far as the set extends
    unit    None, or "value" / "fisher": errors are weighed with the rms norm of the set's values,
            Euclidean or in a metric of the head's output
    bar     what `decide` is compared with; for "bound" the number of sets that are opened
    shared  queries that share a choice: the largest of their figures decides
    """

    sizes: tuple[int, ...] = (8,)
    order: str = "key_space"
    decide: str = "error"
    rest: str = "mean"
    unit: str | None = None
    bar: float = 0.0
    shared: int = 1
    rank: int = 0


@dataclass
class Tally:
    """Multiply-adds in rows; a row is a key and a value read by one query of one head: 2 D."""

    near: float = 0.0
    look: float = 0.0
    summaries: float = 0.0
    tokens: float = 0.0
    build: float = 0.0
    dense: float = 0.0

    def shares(self) -> dict[str, float]:
        """Each part as a share of dense causal attention, and their sum."""
        parts = {f.name: getattr(self, f.name) / self.dense for f in fields(self)}
        parts.pop("dense")
        return {**parts, "total": sum(parts.values())}
