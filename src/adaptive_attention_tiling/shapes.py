"""The letters that name an axis everywhere in this package.

    B  batch                H  query heads         G  key/value heads
    T  queries (time)       S  keys                D  head width
    E  value width          C  model width         K  splats
    N  state                W  window              L  tile

Public attention tensors are laid out as torch's scaled_dot_product_attention has them:
query [B, H, T, D], key [B, G, S, D], value [B, G, S, E], with H a multiple of G.
"""
