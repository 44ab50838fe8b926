/* What every call shares. Calls take one structure and return a status.
 *
 * The Python side reads these headers to lay out the same structures (backends/native/layout.py),
 * so a structure may hold only `aat_view`, `int64_t` and `double`.
 */
#ifndef AAT_VIEW_H
#define AAT_VIEW_H

#include <stdint.h>

/* A tensor of up to four axes, or a null pointer for one that is left out. Strides count elements,
 * first axis first; the last axis is contiguous unless a call says otherwise. */
struct aat_view {
  void *data;
  int64_t stride[4];
};

#define AAT_OK 0
#define AAT_NO_MEMORY 1

#define AAT_EXPORT __attribute__((visibility("default")))

#endif
