/* Tiles of super-blocks that lose least for what they cost. The programme is in float64 whatever
 * the states are: its values are whole numbers. */
#ifndef AAT_TILER_H
#define AAT_TILER_H

#include "view.h"

/* Energy that each super-block loses before each position at each resolution; segments never cross
 * a position. */
struct aat_tiler_losses {
  struct aat_view states;  /* [blocks, tokens, width] */
  struct aat_view spans;   /* int64 [resolutions], ascending */
  struct aat_view losses;  /* out, double [resolutions, positions + 1, blocks] */
  int64_t blocks;
  int64_t width;
  int64_t granule;
  int64_t positions;
  int64_t resolutions;
  int64_t threads;
};

/* Tiles are differences of sums over positions (prefix, rows), or of a table of pairs of positions
 * listed by where they stop, of which stop p has those from pair[p - 1] to pair[p]. */
struct aat_tiler_price {
  struct aat_view prefix;  /* double [positions + 1, resolutions, blocks], or null */
  struct aat_view rows;    /* double [positions + 1, resolutions], or null */
  struct aat_view table;   /* double [resolutions, pairs, blocks], or null */
  struct aat_view costs;   /* double [resolutions, pairs], or null */
  struct aat_view start;   /* int64 [pairs], or null */
  struct aat_view pair;    /* int64 [positions + 1], or null */
  struct aat_view tried;   /* double [trials]: the first prices to try, ascending */
  struct aat_view price;   /* out, double [blocks]: of the best tiling within the budget */
  int64_t blocks;
  int64_t positions;
  int64_t resolutions;
  int64_t pairs;
  int64_t trials;
  int64_t bits;
  double overhead;
  double most;
  int64_t threads;
};

/* The best tiles at a price. */
struct aat_tiler_solve {
  struct aat_view prefix;   /* as above */
  struct aat_view rows;
  struct aat_view table;
  struct aat_view costs;
  struct aat_view start;
  struct aat_view pair;
  struct aat_view losses;   /* double [resolutions, positions + 1 or pairs, blocks] */
  struct aat_view borders;  /* int64 [positions + 1] */
  struct aat_view spans;    /* int64 [resolutions] */
  struct aat_view price;    /* double [blocks] */
  struct aat_view length;   /* out, int64 [blocks, positions]: 0 where no tile starts */
  struct aat_view span;     /* out, int64 [blocks, positions] */
  struct aat_view loss;     /* out, double [blocks] */
  struct aat_view cost;     /* out, double [blocks], in units */
  int64_t blocks;
  int64_t positions;
  int64_t resolutions;
  int64_t pairs;
  int64_t bits;
  double overhead;
  int64_t threads;
};

#endif
