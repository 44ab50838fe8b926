// Which keys the queries of a key head see, when query i sees keys i + lower <= j < i + upper.
//
// Row n of a key head is its query head n % R at place n / R, so that the rows of a tile are
// neighbours in place and a single token of many heads still fills a tile.
#pragma once

#include "interface/view.h"
#include "softmax_block.h"

namespace aat {

AAT_INLINE int64_t clamp(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

template <class S>
struct SoftmaxRows {
  int64_t group, queries, keys, lower, upper;

  int64_t count() const { return group * queries; }
  int64_t tiles() const { return (count() + kRows - 1) / kRows; }
  int64_t begin(int64_t row) const { return clamp(row / group + lower, 0, keys); }
  int64_t end(int64_t row) const { return clamp(row / group + upper, 0, keys); }

  // The address of a row in a tensor [B, H R, T, ...], for sequence b and key head h.
  template <class Number = const S>
  Number *at(const aat_view &view, int64_t b, int64_t h, int64_t row) const {
    return static_cast<Number *>(view.data) + b * view.stride[0] +
           (h * group + row % group) * view.stride[1] + row / group * view.stride[2];
  }

  // What the tile that begins at a row sees of the block of keys that begins at `key`.
  Visible<S> visible(int64_t row, int64_t key) const {
    const int64_t rows = count(), last = row + kRows < rows ? row + kRows : rows;
    // Ranges move on with the rows.
    if (begin(last - 1) <= key && end(row) >= key + kKeys) return Visible<S>::all();
    Visible<S> seen;
    int64_t place = row / group, until = (place + 1) * group;  // the first row of the next place
    const int64_t stop = keys - key < kKeys ? keys - key : kKeys;
    for (int64_t r = 0; r < kRows; ++r) {
      if (row + r == until) ++place, until += group;
      const bool there = row + r < last;
      seen.begin[r] = there ? clamp(place + lower - key, 0, stop) : 0;
      seen.end[r] = there ? clamp(place + upper - key, seen.begin[r], stop) : 0;
    }
    seen.settle();
    return seen;
  }
};

// The address of a row in a tensor [B, H, S, ...].
template <class S>
AAT_INLINE const S *key_row(const aat_view &view, int64_t b, int64_t h, int64_t row) {
  return static_cast<const S *>(view.data) + b * view.stride[0] + h * view.stride[1] +
         row * view.stride[2];
}

}  // namespace aat
