/* One token through a memory of fixed size, its window and its sinks, all of it in place.
 *
 * Unlike other calls these keep something: `prepared` holds what memory_step_prepare made of the
 * features' parameters. Axes called padded are rounded up to whole vectors; what stands past the
 * end is 0. A slot is one of W of the window, of which `oldest` is overwritten, or W + p for sink p.
 */
#ifndef AAT_MEMORY_STEP_H
#define AAT_MEMORY_STEP_H

#include "view.h"

struct aat_memory_step {
  struct aat_view query;       /* [B, H R, D]; query head n reads memory n / R */
  struct aat_view key;         /* [B, H / copies, D] */
  struct aat_view value;       /* [B, H / copies, E] */
  struct aat_view gate;        /* [B, H] of any strides, log of a factor on the key, or null */
  struct aat_view decay;       /* [B, H] of any strides, log gamma, or null */
  struct aat_view out;         /* [B, H R, E], written */
  struct aat_view values;      /* [B, H, F, E padded], as all below changed in place */
  struct aat_view mass;        /* [B, H, F padded] */
  struct aat_view slot_key;    /* [B, H, D, slots padded] */
  struct aat_view slot_value;  /* [B, H, slots, E padded] */
  struct aat_view slot_bias;   /* [B, H, slots padded]: 0, or -inf where no token can be seen */
  struct aat_view window_gate; /* [B, H, W], log of the factor that a key will have; -inf for none */
  struct aat_view length;      /* [B] of int64, tokens read before */
  struct aat_view prepared;    /* [H, numbers of sizes[0]] */
  struct aat_view work;        /* [threads, numbers of sizes[1]] */
  struct aat_view sizes;       /* [2] of int64, written by memory_step_sizes */
  int64_t batch;               /* B */
  int64_t heads;               /* H */
  int64_t group;               /* R */
  int64_t copies;
  int64_t value_width;         /* E */
  int64_t window;              /* W */
  int64_t sinks;               /* Z */
  int64_t oldest;
  double scale;                /* of logits */
  int64_t threads;
  int64_t kind;                /* of feature_map.h, as all fields below */
  int64_t width;               /* D */
  int64_t features;            /* F */
  int64_t constant;
  double background;
  struct aat_view origin;      /* [H, D] */
  struct aat_view offset;      /* [H, F] */
  struct aat_view weights;     /* [H, F, 2 D], or [H, F, D] if scalar */
  struct aat_view square;      /* [H, F] */
  struct aat_view norm_factor; /* [H] */
};

#endif
