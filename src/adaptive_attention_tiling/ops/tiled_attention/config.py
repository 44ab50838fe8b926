"""Settings of tiled attention as one value, for layers and models that carry them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .control import Control, check_control
from .layout import TileLayout


@dataclass(frozen=True, kw_only=True)
class TiledAttentionConfig:
    """How a model's attention chooses what to read exactly; see `tiled_attention`.

    At most one of tolerance and budget is given; with neither, the default tolerance applies.
    """

    tolerance: float | None = None
    budget: float | None = None
    certified: bool = False
    layout: TileLayout = field(default_factory=TileLayout)

    def __post_init__(self) -> None:
        self.control()

    def control(self) -> Control:
        """The checked choice between tolerance and budget."""
        return check_control(self.tolerance, self.budget, None, self.certified, self.layout)
