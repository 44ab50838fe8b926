/* Gradients of attention with a memory of fixed size; equations in memory_scan_backward.cpp.
 *
 * Fields as in memory.h; gradients that are null are not computed.
 */
#ifndef AAT_MEMORY_BACKWARD_H
#define AAT_MEMORY_BACKWARD_H

#include "view.h"

/* Without queries (group 0): gradients of the sums after the last key alone. */
struct aat_memory_scan_backward {
  struct aat_view query;          /* [B, H R, T, D] */
  struct aat_view key;            /* [B, H, T, D] */
  struct aat_view value;          /* [B, H, T, E] */
  struct aat_view gate;           /* [B, H, T, 1] or null */
  struct aat_view decay;          /* [B, H, T, 1] or null */
  struct aat_view initial_values; /* [B, H, F, E] */
  struct aat_view initial_mass;   /* [B, H, F] */
  struct aat_view out;            /* [B, H R, T, E] */
  struct aat_view lse;            /* [B, H R, T] */
  struct aat_view kept_values;    /* [B H, N, F, E], sums before tokens 0, every, ..., or null */
  struct aat_view kept_mass;      /* [B H, N, F] */
  struct aat_view out_grad;       /* gradients of results; null for zeros */
  struct aat_view lse_grad;
  struct aat_view after_values_grad;
  struct aat_view after_mass_grad;
  struct aat_view query_grad; /* gradients of arguments, written; null where not wanted */
  struct aat_view key_grad;
  struct aat_view value_grad;
  struct aat_view gate_grad;    /* [B, H, T] */
  struct aat_view decay_grad;   /* [B, H, T] */
  struct aat_view values_grad;  /* [B, H, F, E] */
  struct aat_view mass_grad;    /* [B, H, F] */
  struct aat_view offset_grad;  /* [B, H, F]: of each row apart */
  struct aat_view weights_grad; /* [B, H, F, 2 D]; [B, H, F, D + 1] if scalar, the square last */
  int64_t batch;                /* B */
  int64_t heads;                /* H */
  int64_t group;                /* R */
  int64_t tokens;               /* T */
  int64_t value_width;          /* E */
  int64_t every;                /* tokens between kept sums, whole chunks; 0 to find sums anew */
  int64_t threads;
  int64_t kind; /* of feature_map.h, as all fields below */
  int64_t width;
  int64_t features;
  int64_t constant;
  double background;
  struct aat_view origin;
  struct aat_view offset;
  struct aat_view weights;
  struct aat_view square;
  struct aat_view norm_factor;
};

/* Of sums with levels; without queries as above, without keys all queries have the first sums. */
struct aat_memory_log_backward {
  struct aat_view query;          /* [B, H R, T, D], or null */
  struct aat_view key;            /* [B, H, T, D], or null */
  struct aat_view value;          /* [B, H, T, E] */
  struct aat_view gate;           /* [B, H, T, 1] or null */
  struct aat_view decay;          /* [B, H, T, decays] or null */
  struct aat_view initial_values; /* [B, H, F, E] */
  struct aat_view initial_mass;   /* [B, H, F] */
  struct aat_view initial_level;  /* [B, H, F] */
  struct aat_view out;            /* [B, H R, T, E] */
  struct aat_view lse;            /* [B, H R, T] */
  struct aat_view out_grad;       /* gradients of results, levels held fixed; null for zeros */
  struct aat_view lse_grad;
  struct aat_view after_values_grad;
  struct aat_view after_mass_grad;
  struct aat_view query_grad; /* gradients of arguments, written; null where not wanted */
  struct aat_view key_grad;
  struct aat_view value_grad;
  struct aat_view gate_grad;  /* [B, H, T] */
  struct aat_view decay_grad; /* [B, H, T, decays] */
  struct aat_view values_grad;
  struct aat_view mass_grad;
  struct aat_view offset_grad;
  struct aat_view weights_grad;
  int64_t batch;
  int64_t heads;
  int64_t group;
  int64_t tokens;
  int64_t value_width;
  int64_t decays; /* 1 or F */
  int64_t threads;
  int64_t kind; /* of feature_map.h, as all fields below */
  int64_t width;
  int64_t features;
  int64_t constant;
  double background;
  struct aat_view origin;
  struct aat_view offset;
  struct aat_view weights;
  struct aat_view square;
  struct aat_view norm_factor;
};

/* All queries answered from the same sums. */
struct aat_memory_read_backward {
  struct aat_view query;  /* [B, H R, T, D] */
  struct aat_view values; /* [B, H, F, E] */
  struct aat_view mass;   /* [B, H, F] */
  struct aat_view out;    /* [B, H R, T, E] */
  struct aat_view lse;    /* [B, H R, T] */
  struct aat_view out_grad;
  struct aat_view lse_grad;
  struct aat_view query_grad;
  struct aat_view values_grad;
  struct aat_view mass_grad;
  struct aat_view offset_grad;
  struct aat_view weights_grad;
  int64_t batch;
  int64_t heads;
  int64_t group;
  int64_t tokens;
  int64_t value_width;
  int64_t threads;
  int64_t kind; /* of feature_map.h, as all fields below */
  int64_t width;
  int64_t features;
  int64_t constant;
  double background;
  struct aat_view origin;
  struct aat_view offset;
  struct aat_view weights;
  struct aat_view square;
  struct aat_view norm_factor;
};

#endif
