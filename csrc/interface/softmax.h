/* Exact softmax attention of queries that each see one range of keys. */
#ifndef AAT_SOFTMAX_H
#define AAT_SOFTMAX_H

#include "view.h"

/* Query i sees keys j with i + lower <= j < i + upper. Query heads h R .. (h + 1) R - 1 read key
 * head h. */
struct aat_softmax_forward {
  struct aat_view query; /* [B, H R, T, D] */
  struct aat_view key;   /* [B, H, S, D] */
  struct aat_view value; /* [B, H, S, E] */
  struct aat_view bias;  /* [B, H, S], added to the logits of a key, or null */
  struct aat_view out;   /* [B, H R, T, E] */
  struct aat_view lse;   /* [B, H R, T]; -inf where nothing is seen */
  int64_t batch;
  int64_t heads;
  int64_t group; /* R */
  int64_t queries;
  int64_t keys;
  int64_t width;
  int64_t value_width;
  int64_t lower;
  int64_t upper;
  double scale;
  int64_t threads;
};

/* Gradients, from those of out and of lse (null for none). */
struct aat_softmax_backward {
  struct aat_view query;
  struct aat_view key;
  struct aat_view value;
  struct aat_view bias;
  struct aat_view out;
  struct aat_view lse;
  struct aat_view d_out;
  struct aat_view d_lse;
  struct aat_view d_query; /* [B, H R, T, D] */
  struct aat_view d_key;   /* [B, H, S, D] */
  struct aat_view d_value; /* [B, H, S, E] */
  struct aat_view d_bias;  /* [B, H, S], or null */
  int64_t batch;
  int64_t heads;
  int64_t group;
  int64_t queries;
  int64_t keys;
  int64_t width;
  int64_t value_width;
  int64_t lower;
  int64_t upper;
  double scale;
  int64_t threads;
};

#endif
