// A memory of fixed size, token by token:
//
//     S_t = gamma_t S_(t-1) + phi(k_t) v_t^T          o_t = phi(q_t)^T S_t
//
// A few rows and two vectors of columns of S stay in registers while a block of tokens passes;
// o is summed row by row in memory. Every number is formed in the order of tokens and of features,
// whatever the blocks: no digit depends on how tokens are cut into pieces, nor on later tokens.
#pragma once

#include "simd.h"

namespace aat {

// gamma: none, one number for each token, or one for each token and feature.
enum class Forget { never, together, apart };

// A block of `tokens`; each of them has `group` queries, whose rows follow one another.
template <class S>
struct Walk {
  int64_t tokens, group, features, value_width;
  const S *written;  // phi(k) [tokens, feature_row]
  const S *read;     // phi(q) [tokens group, feature_row]
  const S *gamma;    // [tokens] or [tokens, feature_row]
  int64_t feature_row;
  const S *value;  // [tokens, value_row]
  S *out;          // [tokens group, value_row], added to
  int64_t value_row;
  S *state;  // [features, value_row]
};

constexpr int kStateRows = AAT_VECTOR_REGISTERS == 32 ? 8 : 4;

template <class S, int ROWS, int W, Forget forget, bool one>
AAT_INLINE void walk_tile(const Walk<S> &walk, int64_t row, int64_t column) {
  const int64_t group = one ? 1 : walk.group, values = walk.value_row, width = walk.feature_row;
  S *state = walk.state + row * values + column;
  const S *written = walk.written + row, *read = walk.read + row, *value = walk.value + column;
  const S *gamma = forget == Forget::apart ? walk.gamma + row : walk.gamma;
  S *out = walk.out + column;
  Vec<S> sums[ROWS][W];
  for (int i = 0; i < ROWS; ++i)
    for (int w = 0; w < W; ++w) sums[i][w] = load(state + i * values + w * lanes<S>);
  for (int64_t t = 0; t < walk.tokens; ++t) {
    Vec<S> v[W];
    for (int w = 0; w < W; ++w) v[w] = load(value + w * lanes<S>);
    for (int i = 0; i < ROWS; ++i) {
      const Vec<S> phi = splat<S>(written[i]);
      for (int w = 0; w < W; ++w) {
        if (forget != Forget::never)
          sums[i][w] = sums[i][w] * splat<S>(gamma[forget == Forget::apart ? i : 0]);
        sums[i][w] = phi * v[w] + sums[i][w];
      }
    }
    for (int64_t r = 0; r < group; ++r) {
      Vec<S> o[W];
      for (int w = 0; w < W; ++w) o[w] = load(out + w * lanes<S>);
      for (int i = 0; i < ROWS; ++i) {
        const Vec<S> phi = splat<S>(read[i]);
        for (int w = 0; w < W; ++w) o[w] = phi * sums[i][w] + o[w];
      }
      for (int w = 0; w < W; ++w) store(out + w * lanes<S>, o[w]);
      out += values;
      read += width;
    }
    written += width;
    value += values;
    if (forget != Forget::never) gamma += forget == Forget::apart ? width : 1;
  }
  for (int i = 0; i < ROWS; ++i)
    for (int w = 0; w < W; ++w) store(state + i * values + w * lanes<S>, sums[i][w]);
}

template <class S, int ROWS, Forget forget, bool one>
AAT_INLINE void walk_rows(const Walk<S> &walk, int64_t row) {
  int64_t column = 0;
  for (; column + 2 * lanes<S> <= walk.value_row; column += 2 * lanes<S>)
    walk_tile<S, ROWS, 2, forget, one>(walk, row, column);
  if (column < walk.value_row) walk_tile<S, ROWS, 1, forget, one>(walk, row, column);
}

template <class S, Forget forget, bool one>
inline void walk_all(const Walk<S> &walk) {
  int64_t row = 0;
  for (; row + kStateRows <= walk.features; row += kStateRows)
    walk_rows<S, kStateRows, forget, one>(walk, row);
  for (; row < walk.features; ++row) walk_rows<S, 1, forget, one>(walk, row);
}

template <class S>
inline void walk(const Walk<S> &block, Forget forget) {
  const bool one = block.group == 1;
  if (forget == Forget::never)
    one ? walk_all<S, Forget::never, true>(block) : walk_all<S, Forget::never, false>(block);
  else if (forget == Forget::together)
    one ? walk_all<S, Forget::together, true>(block) : walk_all<S, Forget::together, false>(block);
  else
    one ? walk_all<S, Forget::apart, true>(block) : walk_all<S, Forget::apart, false>(block);
}

}  // namespace aat
