/* Attention with a memory of fixed size: sums over keys, for each feature of a head.
 *
 * Without queries keys are only read into the sums; without keys queries are only answered from
 * them. All axes but the last may have any stride.
 */
#ifndef AAT_MEMORY_H
#define AAT_MEMORY_H

#include "view.h"

struct aat_memory_scan {
  struct aat_view query;          /* [B, H R, T, D], or null; query head n reads memory n / R */
  struct aat_view key;            /* [B, H, T, D], or null */
  struct aat_view value;          /* [B, H, T, E] */
  struct aat_view gate;           /* [B, H, T], log of a factor on each key's weight, or null */
  struct aat_view decay;          /* [B, H, T, decays], log gamma, or null */
  struct aat_view initial_values; /* [B, H, F, E] */
  struct aat_view initial_mass;   /* [B, H, F] */
  struct aat_view initial_level;  /* [B, H, F]; only with logarithms */
  struct aat_view out;            /* [B, H R, T, E], with query */
  struct aat_view lse;            /* [B, H R, T], log of what was read, with query */
  struct aat_view values;         /* [B, H, F, E], the sums after the last key, with key */
  struct aat_view mass;           /* [B, H, F] */
  struct aat_view level;          /* [B, H, F]; only with logarithms */
  struct aat_view kept_values;    /* [B H, N, F, E], sums before tokens 0, every, ..., or null */
  struct aat_view kept_mass;      /* [B H, N, F] */
  int64_t batch;                  /* B */
  int64_t heads;                  /* H, memories of a row */
  int64_t group;                  /* R */
  int64_t tokens;                 /* T */
  int64_t value_width;            /* E */
  int64_t decays;                 /* 1, or F with logarithms */
  int64_t every;                  /* tokens between kept sums; 0 for none */
  int64_t logarithms;             /* whether features are kept as logarithms, sums with levels */
  int64_t threads;
  int64_t kind;                   /* of feature_map.h, as all fields below */
  int64_t width;                  /* D */
  int64_t features;               /* F */
  int64_t constant;
  double background;
  struct aat_view origin;         /* [H, D] */
  struct aat_view offset;         /* [H, F] */
  struct aat_view weights;        /* [H, F, 2 D], or [H, F, D] if scalar */
  struct aat_view square;         /* [H, F] */
  struct aat_view norm_factor;    /* [H] */
};

#endif
