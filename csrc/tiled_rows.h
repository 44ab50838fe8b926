// Products of queries with rows that lie anywhere: keys, values and summaries are read where they
// are, by address.
//
// A panel holds kSide queries side by side, one in each lane, so that logits, maxima and masses of
// a query stay in its lane and no row is ever transposed:
//
//     L[i, :] = sum_d k_i[d] Q[d, :]        O[e, :] += sum_i v_i[e] W[i, :]
//
// For single queries the lanes run over a row instead.
#pragma once

#include "gemm.h"

namespace aat {

// Queries in a panel.
template <class S>
constexpr int kSide = 2 * lanes<S>;

template <class S, int R>
AAT_INLINE void row_products(int64_t width, const S *const *rows, const S *query, S *to) {
  const S *row[R];
  Vec<S> total[R][2];
  for (int r = 0; r < R; ++r) {
    row[r] = rows[r];
    total[r][0] = total[r][1] = Vec<S>{};
  }
  for (int64_t d = 0; d < width; ++d) {
    const Vec<S> low = load(query + d * kSide<S>), high = load(query + d * kSide<S> + lanes<S>);
    for (int r = 0; r < R; ++r) {
      const Vec<S> number = splat<S>(row[r][d]);
      total[r][0] = number * low + total[r][0];
      total[r][1] = number * high + total[r][1];
    }
  }
  for (int r = 0; r < R; ++r) {
    store(to + r * kSide<S>, total[r][0]);
    store(to + r * kSide<S> + lanes<S>, total[r][1]);
  }
}

// to[count, kSide] = rows[count, width] query[width, kSide].
template <class S>
inline void panel_logits(int64_t count, int64_t width, const S *const *rows, const S *query,
                         S *to) {
  int64_t i = 0;
  for (; i + kRows <= count; i += kRows)
    row_products<S, kRows>(width, rows + i, query, to + i * kSide<S>);
  for (; i + 4 <= count; i += 4) row_products<S, 4>(width, rows + i, query, to + i * kSide<S>);
  for (; i < count; ++i) row_products<S, 1>(width, rows + i, query, to + i * kSide<S>);
}

template <class S, int R>
AAT_INLINE void mixed_columns(int64_t count, const S *const *rows, int64_t first, const S *weight,
                              S *to) {
  Vec<S> total[R][2];
  for (int r = 0; r < R; ++r) {
    total[r][0] = load(to + r * kSide<S>);
    total[r][1] = load(to + r * kSide<S> + lanes<S>);
  }
  for (int64_t i = 0; i < count; ++i) {
    const S *row = rows[i] + first;
    const Vec<S> low = load(weight + i * kSide<S>), high = load(weight + i * kSide<S> + lanes<S>);
    for (int r = 0; r < R; ++r) {
      const Vec<S> number = splat<S>(row[r]);
      total[r][0] = number * low + total[r][0];
      total[r][1] = number * high + total[r][1];
    }
  }
  for (int r = 0; r < R; ++r) {
    store(to + r * kSide<S>, total[r][0]);
    store(to + r * kSide<S> + lanes<S>, total[r][1]);
  }
}

// to[width, kSide] += rows[count, width]^T weight[count, kSide].
template <class S>
inline void panel_mix(int64_t count, int64_t width, const S *const *rows, const S *weight, S *to) {
  int64_t e = 0;
  for (; e + kRows <= width; e += kRows)
    mixed_columns<S, kRows>(count, rows, e, weight, to + e * kSide<S>);
  for (; e + 4 <= width; e += 4) mixed_columns<S, 4>(count, rows, e, weight, to + e * kSide<S>);
  for (; e < width; ++e) mixed_columns<S, 1>(count, rows, e, weight, to + e * kSide<S>);
}

// to[i] = rows[i] . query.
template <class S>
inline void row_logits(int64_t count, int64_t width, const S *const *rows, const S *query, S *to) {
  const int64_t whole = width / lanes<S> * lanes<S>;
  auto some = [&](auto number, int64_t i) {
    constexpr int R = decltype(number)::value;
    Vec<S> total[R];
    for (int r = 0; r < R; ++r) total[r] = Vec<S>{};
    for (int64_t d = 0; d < whole; d += lanes<S>) {
      const Vec<S> q = load(query + d);
      for (int r = 0; r < R; ++r) total[r] = q * load(rows[i + r] + d) + total[r];
    }
    // Sums over lanes, for all rows at once.
    S part[R][lanes<S>];
    for (int r = 0; r < R; ++r) store(part[r], total[r]);
    for (int half = lanes<S> / 2; half > 0; half /= 2)
      for (int r = 0; r < R; ++r)
        for (int n = 0; n < half; ++n) part[r][n] += part[r][n + half];
    for (int r = 0; r < R; ++r) {
      S dot = part[r][0];
      for (int64_t d = whole; d < width; ++d) dot += query[d] * rows[i + r][d];
      to[i + r] = dot;
    }
  };
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) some(std::integral_constant<int, 4>(), i);
  for (; i < count; ++i) some(std::integral_constant<int, 1>(), i);
}

// to[e] += sum_i weight[i] rows[i][e].
template <class S>
inline void row_mix(int64_t count, int64_t width, const S *const *rows, const S *weight, S *to) {
  auto columns = [&](auto number, int64_t e) {
    constexpr int W = decltype(number)::value;
    Vec<S> total[W];
    for (int w = 0; w < W; ++w) total[w] = load(to + e + w * lanes<S>);
    for (int64_t i = 0; i < count; ++i) {
      const Vec<S> share = splat<S>(weight[i]);
      for (int w = 0; w < W; ++w) total[w] = share * load(rows[i] + e + w * lanes<S>) + total[w];
    }
    for (int w = 0; w < W; ++w) store(to + e + w * lanes<S>, total[w]);
  };
  int64_t e = 0;
  for (; e + 8 * lanes<S> <= width; e += 8 * lanes<S>)
    columns(std::integral_constant<int, 8>(), e);
  for (; e + lanes<S> <= width; e += lanes<S>) columns(std::integral_constant<int, 1>(), e);
  for (; e < width; ++e)
    for (int64_t i = 0; i < count; ++i) to[e] += weight[i] * rows[i][e];
}

}  // namespace aat
