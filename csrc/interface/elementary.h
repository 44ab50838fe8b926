/* Elementary functions of arrays, as the kernels compute them. */
#ifndef AAT_ELEMENTARY_H
#define AAT_ELEMENTARY_H

#include "view.h"

struct aat_exponential {
  struct aat_view from; /* [count] */
  struct aat_view to;   /* [count] */
  int64_t count;
  int64_t threads;
};

#endif
