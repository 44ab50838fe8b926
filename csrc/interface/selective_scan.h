/* Selective scan: a diagonal state space whose tokens use the first channels of the state only.
 *
 * Widths are int64: the channels that each token uses; null where all use all N. A kept state is
 * the one before every AAT_SCAN_CHUNK-th token. B and C are the paper's: where to write, and where
 * to read; without C there is no y.
 */
#ifndef AAT_SELECTIVE_SCAN_H
#define AAT_SELECTIVE_SCAN_H

#include "view.h"

#define AAT_SCAN_CHUNK 32

struct aat_selective_scan {
  struct aat_view x;      /* [B, T, I] */
  struct aat_view delta;  /* [B, T, I] */
  struct aat_view A;      /* [I, N] */
  struct aat_view B;      /* [B, T, N] */
  struct aat_view C;      /* [B, T, N], or null */
  struct aat_view start;  /* [B, I, N] */
  struct aat_view widths; /* [B, T] of int64, or null */
  struct aat_view y;      /* [B, T, I], written; null without C */
  struct aat_view end;    /* [B, I, N], written */
  struct aat_view kept;   /* [B, ceil(T / chunk), N, I], written; or null */
  int64_t batch;
  int64_t tokens;
  int64_t inner;
  int64_t channels;
  int64_t threads;
};

struct aat_selective_scan_backward {
  struct aat_view x;
  struct aat_view delta;
  struct aat_view A;
  struct aat_view B;
  struct aat_view C;          /* or null */
  struct aat_view widths;     /* or null */
  struct aat_view kept;       /* of the forward call */
  struct aat_view y_grad;     /* [B, T, I]; null without C */
  struct aat_view end_grad;   /* [B, I, N] */
  struct aat_view x_grad;     /* as x, written; so are the others */
  struct aat_view delta_grad;
  struct aat_view A_grad;
  struct aat_view B_grad;
  struct aat_view C_grad;     /* null without C */
  struct aat_view start_grad; /* [B, I, N] */
  int64_t batch;
  int64_t tokens;
  int64_t inner;
  int64_t channels;
  int64_t threads;
};

#endif
