"""Topology: complexes, their homology and cohomology, forms, characteristic classes, persistence."""

from .simplicial_complex import SimplicialComplex

__all__ = ["SimplicialComplex"]
