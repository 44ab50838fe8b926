def reference_tiled_attention(*a,**k): raise NotImplementedError
