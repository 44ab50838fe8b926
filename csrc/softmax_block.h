// The inner block of exact softmax attention: a few queries against a block of keys.
//
//     s_j = log2(e) (scale q . k_j + bias_j)        m' = max(m, max_j s_j)       p_j = 2^(s_j - m')
//     mass' = 2^(m - m') mass + sum_j p_j           out' = 2^(m - m') out + sum_j p_j v_j
//
// and at the end out / mass and lse = (m + log2 mass) / log2(e). Logits are in units of log 2 all
// through, because 2^x needs no rounding to reduce.
//
// A tile holds kRows queries of any heads and places that read the same keys. What a row gets
// depends on its own query and on the keys that it sees, to the bit: not on the other rows of
// its tile, and not on keys of the block that are hidden from it. (Hidden values are multiplied by
// zero, so they must be finite.)
//
// Keys are packed once and serve all tiles that read them: in panels of two vectors, so that both
// products read their operands at constant distances.
#pragma once

#include <cmath>

#include "gemm.h"

namespace aat {

// Keys of a block, and columns of a panel.
constexpr int64_t kKeys = 64;
template <class S>
constexpr int64_t kPanel = 2 * lanes<S>;

constexpr double kLog2e = 1.4426950408889634074;

// 2^x for x <= 0 or -inf: within 1 unit in the last place, 1 for 0, and 0 below the smallest
// normal number.
AAT_INLINE Vec<float> exp2_negative(Vec<float> x) {
  typedef Vec<float> V;
  typedef Simd<float>::U U;  // its sums may overflow
  const V magic = splat<float>(12582912.0f);
  V shifted = x + magic;
  V r = x - (shifted - magic);
  V p = splat<float>(1.535333867650479e-4f);
  p = p * r + 1.3398900628089905e-3f;
  p = p * r + 9.618437848985195e-3f;
  p = p * r + 5.5503323674201965e-2f;
  p = p * r + 2.4022647738456726e-1f;
  p = p * r + 6.931471824645996e-1f;
  p = p * r + 1.0f;
  // The last bits of `shifted` count powers of two.
  V result = (V)((U)p + ((U)shifted << 23));
  return select<float>(x < -126.0f, V{}, result);
}

AAT_INLINE Vec<double> exp2_negative(Vec<double> x) {
  Vec<double> result = exp(x * (1 / kLog2e));
  return select<double>(x < -1022.0, Vec<double>{}, result);
}

// The vector whose lane i is lane i ^ step.
template <class S, int step, int... i>
AAT_INLINE Vec<S> crossed(Vec<S> v, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(v, v, (i ^ step)...);
}

// The largest number of a vector, in every lane.
template <class S, int step = lanes<S> / 2>
AAT_INLINE Vec<S> largest_in_all(Vec<S> v) {
  if constexpr (step > 0) {
    v = maximum<S>(v, crossed<S, step>(v, std::make_integer_sequence<int, lanes<S>>()));
    v = largest_in_all<S, step / 2>(v);
  }
  return v;
}

// A block of up to kKeys keys, packed. `bias` is null when no key has one.
template <class S>
struct KeyBlock {
  S *key;    // [kKeys / kPanel][D][kPanel]
  S *value;  // [panels of E][kKeys][kPanel]; a last panel may have one vector
  S *bias;   // [kKeys], times log2(e)
};

// Queries of one tile, and what they have read so far.
template <class S>
struct QueryTile {
  S *query;  // [D][kRows], times scale log2(e)
  S *out;    // [kRows][padded E]
  S *mass;   // [kRows][lanes]: sums of every lanes-th key
  S *top;    // [kRows]
};

template <class S>
AAT_INLINE constexpr int64_t key_numbers(int64_t width) {
  return kKeys * width;
}
template <class S>
AAT_INLINE constexpr int64_t value_numbers(int64_t width) {
  return kKeys * padded<S>(width);
}
template <class S>
AAT_INLINE constexpr int64_t tile_numbers(int64_t width, int64_t value_width) {
  return kRows * (padded<S>(width) + padded<S>(value_width) + 2 * lanes<S>);
}

// The parts of a tile in scratch of tile_numbers.
template <class S>
AAT_INLINE QueryTile<S> tile_in(S *scratch, int64_t width, int64_t value_width) {
  S *out = scratch + kRows * padded<S>(width);
  S *mass = out + kRows * padded<S>(value_width);
  return {scratch, out, mass, mass + kRows * lanes<S>};
}

// to[d * kRows + r] = factor row(r)[d]; rows from `count` on are zero.
template <class S, class Row>
inline void pack_columns(S *to, int64_t count, int64_t width, S factor, Row &&row) {
  for (int64_t r = 0; r < kRows; ++r) {
    const S *from = r < count ? row(r) : nullptr;
    for (int64_t d = 0; d < width; ++d) to[d * kRows + r] = from ? from[d] * factor : S(0);
  }
}

// row(r) is the address of a query of D numbers; rows from `count` on are zero.
template <class S, class Row>
AAT_INLINE void pack_queries(QueryTile<S> tile, int64_t count, int64_t width, S scale, Row &&row) {
  pack_columns(tile.query, count, width, scale * S(kLog2e), row);
}

template <class S>
inline void open_tile(QueryTile<S> tile, int64_t value_width) {
  std::memset(tile.out, 0, sizeof(S) * kRows * padded<S>(value_width));
  std::memset(tile.mass, 0, sizeof(S) * kRows * lanes<S>);
  for (int64_t r = 0; r < kRows; ++r) tile.top[r] = -std::numeric_limits<S>::infinity();
}

// row(j) is the address of key j of D numbers; keys from `count` on are zero.
template <class S, class Row>
inline void pack_keys(S *to, int64_t count, int64_t width, Row &&row) {
  constexpr int side = lanes<S>;
  for (int64_t first = 0; first < kKeys; first += side) {
    const S *from[side];
    for (int n = 0; n < side; ++n) from[n] = first + n < count ? row(first + n) : nullptr;
    S *columns = to + first / kPanel<S> * width * kPanel<S> + first % kPanel<S>;
    int64_t d = 0;
    if (first + side <= count)
      for (; d + side <= width; d += side) {
        Vec<S> square[side];
        for (int n = 0; n < side; ++n) square[n] = load(from[n] + d);
        transpose_square<S>(square);
        for (int n = 0; n < side; ++n) store(columns + (d + n) * kPanel<S>, square[n]);
      }
    for (; d < width; ++d)
      for (int n = 0; n < side; ++n) columns[d * kPanel<S> + n] = from[n] ? from[n][d] : S(0);
  }
}

// row(j) is the address of value j of E numbers; values from `count` on are zero. A block has
// `height` values.
template <class S, int64_t height = kKeys, class Row>
inline void pack_values(S *to, int64_t count, int64_t width, Row &&row) {
  const S *from[height];
  for (int64_t j = 0; j < count; ++j) from[j] = row(j);
  for (int64_t e = 0; e < width; e += lanes<S>) {
    const int64_t panel = e / kPanel<S> * kPanel<S>;
    const int64_t panel_row = panel + lanes<S> < width ? kPanel<S> : lanes<S>;
    S *into = to + panel * height + (e - panel);
    if (e + lanes<S> <= width) {
      for (int64_t j = 0; j < count; ++j) store(into + j * panel_row, load(from[j] + e));
    } else {
      for (int64_t j = 0; j < count; ++j)
        for (int64_t n = 0; n < lanes<S>; ++n)
          into[j * panel_row + n] = e + n < width ? from[j][e + n] : S(0);
    }
    for (int64_t j = count; j < height; ++j) store(into + j * panel_row, Vec<S>{});
  }
}

// bias(j) is what is added to the logits of key j.
template <class S, class Bias>
inline void pack_bias(S *to, int64_t count, Bias &&bias) {
  for (int64_t j = 0; j < kKeys; ++j) to[j] = j < count ? bias(j) * S(kLog2e) : S(0);
}

// What a product finds in C: nothing, what is added to, or what is added to times factor[row].
enum class Before { nothing, kept, shrunk };

// C[R, panel] (+)= A[R, depth] B[depth, panel], with A's rows and columns at constant distances.
template <class S, int R, int W, int Row, int Column, Before before>
AAT_INLINE void panel_product(int64_t depth, const S *a, const S *b, S *c, int64_t c_row,
                              const S *factor = nullptr) {
  Vec<S> total[R][W];
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w) {
      total[r][w] = before == Before::nothing ? Vec<S>{} : load(c + r * c_row + w * lanes<S>);
      if constexpr (before == Before::shrunk) total[r][w] *= factor[r];
    }
#pragma GCC unroll 2
  for (int64_t k = 0; k < depth; ++k) {
    Vec<S> right[W];
    for (int w = 0; w < W; ++w) right[w] = load(b + w * lanes<S>);
    for (int r = 0; r < R; ++r) {
      Vec<S> left = splat<S>(a[r * Row]);
      for (int w = 0; w < W; ++w) total[r][w] = left * right[w] + total[r][w];
    }
    a += Column;
    b += W * lanes<S>;
  }
  for (int r = 0; r < R; ++r)
    for (int w = 0; w < W; ++w) store(c + r * c_row + w * lanes<S>, total[r][w]);
}

// C[R, n] (+)= A[R, depth] B[depth, n], B in panels of `height` rows, of which `depth` from
// `first` on are multiplied with the columns of A that begin at `a`.
template <class S, int R, int Row, int Column, Before before>
AAT_INLINE void panels_product(int64_t depth, const S *a, const S *b, int64_t height,
                               int64_t first, int64_t n, S *c, int64_t c_row,
                               const S *factor = nullptr) {
  int64_t e = 0;
  for (; e + kPanel<S> <= padded<S>(n); e += kPanel<S>)
    panel_product<S, R, 2, Row, Column, before>(depth, a, b + e * height + first * kPanel<S>,
                                                c + e, c_row, factor);
  if (e < padded<S>(n))
    panel_product<S, R, 1, Row, Column, before>(depth, a, b + e * height + first * lanes<S>,
                                                c + e, c_row, factor);
}

// Which keys of a block the rows of a tile see: row r those with begin[r] <= j < end[r]. The
// panels in first <= j < last are read; every row sees all keys in open <= j < shut, in whole
// vectors.
template <class S>
struct Visible {
  int64_t begin[kRows], end[kRows];
  int64_t first, last, open, shut;

  static AAT_INLINE Visible all() {
    Visible seen;
    for (int r = 0; r < kRows; ++r) seen.begin[r] = 0, seen.end[r] = kKeys;
    seen.first = seen.open = 0;
    seen.last = seen.shut = kKeys;
    return seen;
  }

  // begin <= end for each row, within [0, kKeys]; rows without keys have begin = end.
  AAT_INLINE void settle() {
    int64_t from = kKeys, until = 0, most = 0, least = kKeys;
    for (int r = 0; r < kRows; ++r) {
      most = begin[r] > most ? begin[r] : most;
      least = end[r] < least ? end[r] : least;
      if (begin[r] >= end[r]) continue;
      from = begin[r] < from ? begin[r] : from;
      until = end[r] > until ? end[r] : until;
    }
    first = from / kPanel<S> * kPanel<S>;
    last = (until + kPanel<S> - 1) / kPanel<S> * kPanel<S>;
    if (last < first) last = first;
    open = padded<S>(most);
    open = open < first ? first : open > last ? last : open;
    shut = least / lanes<S> * lanes<S>;
    shut = shut < open ? open : shut > last ? last : shut;
  }
};

// Hides keys from .. until of a block from the rows that do not see them.
template <class S>
AAT_INLINE void hide(const Visible<S> &seen, int64_t from, int64_t until, S *logits) {
  const Vec<S> hidden = splat<S>(-std::numeric_limits<S>::infinity());
  Vec<S> number;
  for (int i = 0; i < lanes<S>; ++i) number[i] = S(i);
  for (int64_t j = from; j < until; j += lanes<S>) {
    const Vec<S> at = number + splat<S>(S(j));
    for (int r = 0; r < kRows; ++r) {
      S *here = logits + r * kKeys + j;
      const IntVec<S> shown = (at >= S(seen.begin[r])) & (at < S(seen.end[r]));
      store(here, select<S>(shown, load(here), hidden));
    }
  }
}

// logits[r * kKeys + j] for the panels that are seen; -inf where a key is hidden from a row.
template <class S>
inline void block_logits(QueryTile<S> tile, const KeyBlock<S> &keys, int64_t width,
                         const Visible<S> &seen, S *logits) {
  for (int64_t j = seen.first; j < seen.last; j += kPanel<S>)
    panel_product<S, kRows, 2, 1, kRows, Before::nothing>(
        width, tile.query, keys.key + j * width, logits + j, kKeys);
  if (keys.bias)
    for (int r = 0; r < kRows; ++r)
      for (int64_t j = seen.first; j < seen.last; j += lanes<S>)
        store(logits + r * kKeys + j, load(logits + r * kKeys + j) + load(keys.bias + j));
  hide(seen, seen.first, seen.open, logits);
  hide(seen, seen.shut, seen.last, logits);
}

// Adds the keys whose logits are given, logits[r * kKeys + j] for first <= j < last (multiples of
// kPanel), to what a tile has read. The logits are replaced by p.
template <class S>
inline void absorb_block(QueryTile<S> tile, const KeyBlock<S> &keys, int64_t value_width,
                         int64_t first, int64_t last, S *logits) {
  if (first >= last) return;
  const S none = -std::numeric_limits<S>::infinity();
  Vec<S> top[kRows];
  for (int r = 0; r < kRows; ++r) top[r] = load(logits + r * kKeys + first);
  for (int64_t j = first + lanes<S>; j < last; j += lanes<S>)
    for (int r = 0; r < kRows; ++r) top[r] = maximum<S>(top[r], load(logits + r * kKeys + j));
  Vec<S> base[kRows];
  S factor[kRows];
  for (int r = 0; r < kRows; ++r) {
    const Vec<S> before = splat<S>(tile.top[r]);
    top[r] = maximum<S>(largest_in_all<S>(top[r]), before);
    // Where nothing was seen yet any finite base gives zeros.
    base[r] = select<S>(top[r] == none, Vec<S>{}, top[r]);
    const Vec<S> shrink = exp2_negative(before - base[r]);
    tile.top[r] = top[r][0];
    factor[r] = shrink[0];
    store(tile.mass + r * lanes<S>, load(tile.mass + r * lanes<S>) * shrink);
  }
  for (int r = 0; r < kRows; ++r) {
    S *row = logits + r * kKeys;
    Vec<S> mass = load(tile.mass + r * lanes<S>);
    for (int64_t j = first; j < last; j += lanes<S>) {
      const Vec<S> p = exp2_negative(load(row + j) - base[r]);
      store(row + j, p);
      mass = mass + p;
    }
    store(tile.mass + r * lanes<S>, mass);
  }
  panels_product<S, kRows, kKeys, 1, Before::shrunk>(last - first, logits + first, keys.value,
                                                     kKeys, first, value_width, tile.out,
                                                     padded<S>(value_width), factor);
}

// One block for one tile; `logits` is scratch of kRows * kKeys.
template <class S>
AAT_INLINE void attend_block(QueryTile<S> tile, const KeyBlock<S> &keys, int64_t width,
                             int64_t value_width, const Visible<S> &seen, S *logits) {
  block_logits(tile, keys, width, seen, logits);
  absorb_block(tile, keys, value_width, seen.first, seen.last, logits);
}

// Writes E numbers of attention of a row, and returns its lse: zeros and -inf if it saw nothing.
template <class S>
inline S close_row(QueryTile<S> tile, int64_t r, int64_t value_width, S *out) {
  const S mass = sum<S>(load(tile.mass + r * lanes<S>));
  const S *from = tile.out + r * padded<S>(value_width);
  const S share = mass == 0 ? S(0) : 1 / mass;
  for (int64_t e = 0; e < value_width; ++e) out[e] = from[e] * share;
  return mass == 0 ? -std::numeric_limits<S>::infinity()
                   : (tile.top[r] + std::log2(mass)) / S(kLog2e);
}

}  // namespace aat
