// Products of small matrices that lie in the caches.
//
//     C[m, n] (+)= sum_k A[m, k] B[k, n]
//
// A is read one number at a time with any two strides, so that a transposed A costs nothing. Rows
// of B and C are contiguous and may be read and written up to `padded(n)`: the caller gives
// scratch with padded rows.
#pragma once

#include "simd.h"

namespace aat {

enum class Into { overwrite, add };

template <class S>
struct Left {  // A, with the distances between rows and between columns
  const S *data;
  int64_t row, column;
};

// Rows of C held in registers at once; each has two vectors.
constexpr int kRows = AAT_VECTOR_REGISTERS == 32 ? 12 : 6;

template <class S, int R, int W, Into into>
AAT_INLINE void gemm_tile(int64_t depth, Left<S> a, const S *b, int64_t b_row, S *c,
                          int64_t c_row) {
  Vec<S> total[R][W];
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w)
      total[r][w] = into == Into::add ? load(c + r * c_row + w * lanes<S>) : Vec<S>{};
  for (int64_t k = 0; k < depth; ++k) {
    Vec<S> right[W];
    for (int w = 0; w < W; ++w) right[w] = load(b + k * b_row + w * lanes<S>);
    for (int r = 0; r < R; ++r) {
      Vec<S> left = splat<S>(a.data[r * a.row + k * a.column]);
      for (int w = 0; w < W; ++w) total[r][w] = left * right[w] + total[r][w];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w) store(c + r * c_row + w * lanes<S>, total[r][w]);
}

template <class S, int W, Into into>
AAT_INLINE void gemm_rows(int64_t m, int64_t depth, Left<S> a, const S *b, int64_t b_row, S *c,
                          int64_t c_row) {
  int64_t i = 0;
  auto at = [&](int64_t row) { return Left<S>{a.data + row * a.row, a.row, a.column}; };
  for (; i + kRows <= m; i += kRows)
    gemm_tile<S, kRows, W, into>(depth, at(i), b, b_row, c + i * c_row, c_row);
  for (; i + 4 <= m; i += 4)
    gemm_tile<S, 4, W, into>(depth, at(i), b, b_row, c + i * c_row, c_row);
  for (; i < m; ++i) gemm_tile<S, 1, W, into>(depth, at(i), b, b_row, c + i * c_row, c_row);
}

// C[m, n] (+)= A[m, depth] B[depth, n]. With depth 0 an overwritten C is zero.
template <class S, Into into>
inline void gemm(int64_t m, int64_t n, int64_t depth, Left<S> a, const S *b, int64_t b_row, S *c,
                 int64_t c_row) {
  constexpr int two = 2 * lanes<S>;
  int64_t j = 0;
  for (; j + two <= padded<S>(n); j += two)
    gemm_rows<S, 2, into>(m, depth, a, b + j, b_row, c + j, c_row);
  if (j < padded<S>(n)) gemm_rows<S, 1, into>(m, depth, a, b + j, b_row, c + j, c_row);
}

// to[c, r] = from[r, c]; rows of `to` are `to_row` apart.
template <class S>
inline void transpose(int64_t rows, int64_t columns, const S *from, int64_t from_row, S *to,
                      int64_t to_row) {
  constexpr int64_t side = lanes<S>;
  for (int64_t r0 = 0; r0 < rows; r0 += side)
    for (int64_t c0 = 0; c0 < columns; c0 += side) {
      const S *corner = from + r0 * from_row + c0;
      S *turned = to + c0 * to_row + r0;
      if (r0 + side <= rows && c0 + side <= columns) {
        Vec<S> square[side];
        for (int64_t r = 0; r < side; ++r) square[r] = load(corner + r * from_row);
        transpose_square<S>(square);
        for (int64_t c = 0; c < side; ++c) store(turned + c * to_row, square[c]);
        continue;
      }
      for (int64_t c = 0; c < side && c0 + c < columns; ++c)
        for (int64_t r = 0; r < side && r0 + r < rows; ++r)
          turned[c * to_row + r] = corner[r * from_row + c];
    }
}

}  // namespace aat
