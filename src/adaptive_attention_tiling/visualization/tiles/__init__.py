"""Pictures of tilings: density and tiles along a text, the cut of a query, before and after."""

from ..picture import Picture
from .adaptation import adaptation_picture
from .cut import cut_picture
from .text import tiling_picture

__all__ = ["Picture", "adaptation_picture", "cut_picture", "tiling_picture"]
