"""Adaptive tiling: where a text is dense, how it is cut, and how well the cut works."""
