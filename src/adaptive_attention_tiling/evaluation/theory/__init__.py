"""The theorems of adaptive tiling as experiments: what of each is true, in figures."""
