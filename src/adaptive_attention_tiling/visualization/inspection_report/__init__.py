"""One page to look into every attention head of a model; its parts in JavaScript lie beside."""

from .document import check_document
from .page import render_inspection

__all__ = ["check_document", "render_inspection"]
