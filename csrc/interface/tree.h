/* Tiles of key space and the moments of sets of tokens: the pyramid that tiled attention reads. */
#ifndef AAT_TREE_H
#define AAT_TREE_H

#include "view.h"

/* Orders the points scale * key of each set so that each run of `leaf` is a cell of a balanced
 * bisecting tree; points that are not valid lie at 0. Wider points than `narrow` are bisected in
 * that many directions of large variance; 0 takes them as they are. */
struct aat_tiled_order {
  struct aat_view key;    /* [sets, size, width] */
  struct aat_view scale;  /* [sets, width] */
  struct aat_view valid;  /* bool [sets, size], or null */
  struct aat_view order;  /* out, int64 [sets, size] */
  int64_t sets;
  int64_t size;
  int64_t width;
  int64_t leaf;
  int64_t narrow;
  int64_t steps;
  int64_t threads;
};

/* Tokens in the given order, and the moments of each run of `tile` of them. */
struct aat_tiled_moments {
  struct aat_view key;         /* [heads, tokens, width] */
  struct aat_view value;       /* [heads, tokens, value_width] */
  struct aat_view valid;       /* bool [heads, tokens] */
  struct aat_view order;       /* int64 [heads, tiles * tile] */
  struct aat_view keys;        /* out [heads, tiles * tile, width] */
  struct aat_view values;      /* out [heads, tiles * tile, value_width] */
  struct aat_view member;      /* out, bool [heads, tiles * tile] */
  struct aat_view count;       /* out [heads, tiles] */
  struct aat_view mean_key;    /* out [heads, tiles, width] */
  struct aat_view mean_value;  /* out [heads, tiles, value_width] */
  struct aat_view variance;    /* out [heads, tiles, width] */
  struct aat_view radius;      /* out [heads, tiles], or null */
  struct aat_view spread;      /* out [heads, tiles], or null */
  int64_t heads;
  int64_t tiles;
  int64_t tile;
  int64_t width;
  int64_t value_width;
  int64_t threads;
};

/* Moments of the union of each run of `group` sets that `index` lists. */
struct aat_tiled_merge {
  struct aat_view count;       /* [heads, sets] */
  struct aat_view key;         /* [heads, sets, width] */
  struct aat_view value;       /* [heads, sets, value_width] */
  struct aat_view variance;    /* [heads, sets, width] */
  struct aat_view radius;      /* [heads, sets], or null */
  struct aat_view spread;      /* [heads, sets], or null */
  struct aat_view index;       /* int64 [heads, unions * group] */
  struct aat_view all_count;   /* out [heads, unions] */
  struct aat_view all_key;     /* out [heads, unions, width] */
  struct aat_view all_value;   /* out [heads, unions, value_width] */
  struct aat_view all_variance; /* out [heads, unions, width] */
  struct aat_view all_radius;  /* out [heads, unions], or null */
  struct aat_view all_spread;  /* out [heads, unions], or null */
  int64_t heads;
  int64_t unions;
  int64_t group;
  int64_t width;
  int64_t value_width;
  int64_t threads;
};

#endif
