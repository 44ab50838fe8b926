"""The theorems of adaptive tiling as experiments: what of each is true, in figures.

    3.1  information_flow          geodesics, on manifolds of `solvable` by way of `paths`
    3.2  resolution_convergence    the resolution field
    3.3  quality_bounds            the quality figure IFQ
    3.4  cost_growth, summary_cut  cost of tiled attention, and of an ideal one
    3.5  information_preservation  error against tolerance, and against density

`planted` makes the inputs of the last two. docs/theory.md tells what was found.
"""
