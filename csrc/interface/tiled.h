/* Reading the far field of a block of queries along a plan, and its gradients. */
#ifndef AAT_TILED_H
#define AAT_TILED_H

#include "view.h"

/* Attention of t queries of H = G R heads over the s tokens around them, k sinks, the tokens of
 * some tiles and the summaries of some nodes. Queries over the limit open summaries for themselves.
 * Nodes are numbered tiles first, then height after height; `first` says where a height begins. */
struct aat_tiled_read {
  struct aat_view query;        /* [B H, t, D], scaled */
  struct aat_view key;          /* [B, G, s, D] */
  struct aat_view value;        /* [B, G, s, E] */
  struct aat_view valid;        /* [B, s] bytes; null: all */
  struct aat_view sink_key;     /* [B, G, k, D]; null: none */
  struct aat_view sink_value;   /* [B, G, k, E] */
  struct aat_view sink_visible; /* [B, k] bytes */
  struct aat_view tile_key;     /* [B G, M, L, D]; null: no far field */
  struct aat_view tile_value;   /* [B G, M, L, E] */
  struct aat_view tile_valid;   /* [B G, M, L] bytes */
  struct aat_view node_key;     /* [B G, N, D] means */
  struct aat_view node_value;   /* [B G, N, E] means */
  struct aat_view log_count;    /* [B G, N], -inf for an empty node */
  struct aat_view variance;     /* [B G, N, D]; null if certified */
  struct aat_view radius;       /* [B G, N]; null unless certified */
  struct aat_view spread;       /* [B G, N]; null unless certified */
  struct aat_view offspring;    /* [B G, N, g] int64 */
  struct aat_view first;        /* [heights] int64 */
  struct aat_view closed;       /* [B H, N] bytes: read through their summaries */
  struct aat_view exact;        /* [B H, M] bytes: read token by token */
  struct aat_view out;          /* [B H, t, E] */
  struct aat_view lse;          /* [B H, t] */
  struct aat_view planned;      /* [B H, t] lse before anything was opened */
  struct aat_view error;        /* [B H, t] */
  struct aat_view refined;      /* [B H, t] tokens read beyond the plan */
  struct aat_view visited;      /* [B H, t] nodes looked at beyond the plan */
  int64_t batch;
  int64_t groups;
  int64_t repeat;               /* R */
  int64_t queries;
  int64_t near;                 /* s */
  int64_t sinks;                /* k */
  int64_t width;                /* D */
  int64_t value_width;          /* E */
  int64_t tiles;                /* M */
  int64_t tile;                 /* L */
  int64_t nodes;                /* N */
  int64_t branching;            /* g */
  int64_t heights;
  int64_t certified;
  int64_t causal;               /* query i sees key j of the near ones if j <= s - t + i */
  int64_t threads;
  double limit;                 /* inf: nothing is opened */
};

/* Gradients for a fixed plan: what was opened counts as read. */
struct aat_tiled_read_backward {
  struct aat_view query;
  struct aat_view key;
  struct aat_view value;
  struct aat_view valid;
  struct aat_view sink_key;
  struct aat_view sink_value;
  struct aat_view sink_visible;
  struct aat_view tile_key;
  struct aat_view tile_value;
  struct aat_view tile_valid;
  struct aat_view node_key;
  struct aat_view node_value;
  struct aat_view log_count;
  struct aat_view variance;
  struct aat_view radius;
  struct aat_view spread;
  struct aat_view offspring;
  struct aat_view first;
  struct aat_view closed;
  struct aat_view exact;
  struct aat_view out;
  struct aat_view lse;
  struct aat_view planned;
  struct aat_view grad_out;     /* [B H, t, E] */
  struct aat_view grad_query;   /* of the same shapes; zero before the call, all but grad_query */
  struct aat_view grad_key;
  struct aat_view grad_value;
  struct aat_view grad_sink_key;
  struct aat_view grad_sink_value;
  struct aat_view grad_tile_key;
  struct aat_view grad_tile_value;
  struct aat_view grad_node_key;
  struct aat_view grad_node_value;
  int64_t batch;
  int64_t groups;
  int64_t repeat;
  int64_t queries;
  int64_t near;
  int64_t sinks;
  int64_t width;
  int64_t value_width;
  int64_t tiles;
  int64_t tile;
  int64_t nodes;
  int64_t branching;
  int64_t heights;
  int64_t certified;
  int64_t causal;
  int64_t threads;
  double limit;
};

#endif
