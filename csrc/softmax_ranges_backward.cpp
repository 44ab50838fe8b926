// Gradients of exact softmax attention in which each query sees one range of keys.
//
//     p_ij = 2^(s_ij - log2(e) lse_i)            D_i = sum_e dout_ie out_ie - dlse_i
//     t_ij = p_ij (dout_i . v_j - D_i)           dv_j = sum_i p_ij dout_i
//     dq_i = scale sum_j t_ij k_j                dk_j = scale sum_i t_ij q_i       db_j = sum_i t_ij
//
// with s_ij as in softmax_block.h. An item of work is a key head: what its keys get is summed in
// the order of the queries. Queries are taken in runs, for which each block of keys is packed once;
// products over queries are formed for several tiles at once.
#include "interface/softmax.h"
#include "softmax_rows.h"
#include "threads.h"

namespace aat {
namespace {

// Tiles whose p and t lie side by side, and tiles in a run.
constexpr int64_t kSide = AAT_VECTOR_REGISTERS == 32 ? 4 : 8;
constexpr int64_t kRunTiles = 4 * kSide;
constexpr int64_t kSideRows = kSide * kRows;

// What a block of keys is multiplied with, and what it gets.
template <class S>
struct KeySide {
  S *key;         // columns of keys, as in KeyBlock
  S *value;       // columns of values, packed as keys are
  S *key_rows;    // rows of keys, packed as values are
  S *bias;        // null when no key has one
  S *d_key;       // [kKeys][padded D], without the scale
  S *d_value;     // [kKeys][padded E]
  S *d_bias;      // [kKeys]
};

// Tiles side by side: the rows of their queries and of the gradients of their outputs.
template <class S>
struct QuerySide {
  S *query_rows;  // panels of height kSideRows
  S *d_out_rows;
};

// One tile: columns of queries as in QueryTile, and of gradients of outputs.
template <class S>
struct BackwardTile {
  S *query;    // [D][kRows], times scale log2(e)
  S *d_out;    // [E][kRows]
  S *d_query;  // [kRows][padded D], without the scale
  S *lse;      // [kRows], times log2(e); inf where nothing was seen, so that p = 0
  S *delta;    // [kRows]: D
};

template <class S>
struct Backward {
  const aat_softmax_backward &call;
  SoftmaxRows<S> rows;
  int64_t width, value_width;

  explicit Backward(const aat_softmax_backward &given)
      : call(given),
        rows{given.group, given.queries, given.keys, given.lower, given.upper},
        width(given.width),
        value_width(given.value_width) {}

  int64_t tile_size() const {
    return kRows * (padded<S>(width) * 2 + padded<S>(value_width) + 2 * lanes<S>);
  }
  int64_t side_size() const {
    return kSideRows * (padded<S>(width) + padded<S>(value_width));
  }
  int64_t key_size() const {
    return kKeys * (4 * padded<S>(width) + 2 * padded<S>(value_width) + 2);
  }
  int64_t numbers() const {
    return kRunTiles * tile_size() + kRunTiles / kSide * side_size() + key_size() +
           2 * kSideRows * kKeys;
  }

  void work(int64_t head, S *scratch) const {
    const int64_t b = head / call.heads, h = head % call.heads;
    BackwardTile<S> tile[kRunTiles];
    QuerySide<S> side[kRunTiles / kSide];
    for (BackwardTile<S> &one : tile) {
      one.query = take(scratch, kRows * padded<S>(width));
      one.d_out = take(scratch, kRows * padded<S>(value_width));
      one.d_query = take(scratch, kRows * padded<S>(width));
      one.lse = take(scratch, kRows * lanes<S>);
      one.delta = take(scratch, kRows * lanes<S>);
    }
    for (QuerySide<S> &one : side) {
      one.query_rows = take(scratch, kSideRows * padded<S>(width));
      one.d_out_rows = take(scratch, kSideRows * padded<S>(value_width));
    }
    KeySide<S> keys;
    keys.key = take(scratch, kKeys * padded<S>(width));
    keys.value = take(scratch, kKeys * padded<S>(value_width));
    keys.key_rows = take(scratch, kKeys * padded<S>(width));
    keys.d_key = take(scratch, kKeys * padded<S>(width));
    keys.d_value = take(scratch, kKeys * padded<S>(value_width));
    keys.bias = take(scratch, kKeys);
    keys.d_bias = take(scratch, kKeys);
    if (!call.bias.data) keys.bias = nullptr;
    S *p = take(scratch, kSideRows * kKeys), *t = take(scratch, kSideRows * kKeys);

    clear(call.d_key, b, h, width);
    clear(call.d_value, b, h, value_width);
    if (call.d_bias.data) clear(call.d_bias, b, h, 1);
    for (int64_t first = 0; first < rows.count(); first += kRunTiles * kRows) {
      const int64_t rest = rows.count() - first;
      const int64_t count = rest < kRunTiles * kRows ? rest : kRunTiles * kRows;
      open(b, h, first, count, tile, side);
      const int64_t until = rows.end(first + count - 1);
      for (int64_t key = rows.begin(first) / kKeys * kKeys; key < until; key += kKeys) {
        pack(b, h, key, keys);
        for (int64_t n = 0; n < count; n += kSideRows)
          meet(first + n, count - n, key, tile + n / kRows, side[n / kSideRows], keys, p, t);
        add(b, h, key, keys);
      }
      close(b, h, first, count, tile);
    }
  }

  static S *take(S *&scratch, int64_t count) {
    S *taken = scratch;
    scratch += count;
    return taken;
  }

  // A tensor [B, H, S, n].
  S *key_out(const aat_view &view, int64_t b, int64_t h, int64_t key) const {
    return const_cast<S *>(key_row<S>(view, b, h, key));
  }
  void clear(const aat_view &view, int64_t b, int64_t h, int64_t count) const {
    for (int64_t j = 0; j < call.keys; ++j)
      std::memset(key_out(view, b, h, j), 0, sizeof(S) * count);
  }

  void open(int64_t b, int64_t h, int64_t first, int64_t count, BackwardTile<S> *tile,
            QuerySide<S> *side) const {
    for (int64_t n = 0; n < count; n += kSideRows) {
      const int64_t here = count - n < kSideRows ? count - n : kSideRows;
      QuerySide<S> &rows_side = side[n / kSideRows];
      pack_values<S, kSideRows>(rows_side.query_rows, here, width, [&](int64_t r) {
        return rows.at(call.query, b, h, first + n + r);
      });
      pack_values<S, kSideRows>(rows_side.d_out_rows, here, value_width, [&](int64_t r) {
        return rows.at(call.d_out, b, h, first + n + r);
      });
    }
    for (int64_t n = 0; n < count; n += kRows) {
      BackwardTile<S> &one = tile[n / kRows];
      pack_columns(one.query, count - n, width, S(call.scale) * S(kLog2e),
                   [&](int64_t r) { return rows.at(call.query, b, h, first + n + r); });
      pack_columns(one.d_out, count - n, value_width, S(1),
                   [&](int64_t r) { return rows.at(call.d_out, b, h, first + n + r); });
      std::memset(one.d_query, 0, sizeof(S) * kRows * padded<S>(width));
      for (int64_t r = 0; r < kRows; ++r) {
        one.lse[r] = std::numeric_limits<S>::infinity();
        one.delta[r] = 0;
        if (n + r < count) normalise(b, h, first + n + r, &one.lse[r], &one.delta[r]);
      }
    }
  }

  void normalise(int64_t b, int64_t h, int64_t row, S *lse, S *delta) const {
    const S seen = *rows.at(call.lse, b, h, row);
    if (seen == -std::numeric_limits<S>::infinity()) return;
    *lse = seen * S(kLog2e);
    const S *out = rows.at(call.out, b, h, row), *d_out = rows.at(call.d_out, b, h, row);
    S total = 0;
    for (int64_t e = 0; e < value_width; ++e) total += out[e] * d_out[e];
    *delta = call.d_lse.data ? total - *rows.at(call.d_lse, b, h, row) : total;
  }

  void pack(int64_t b, int64_t h, int64_t key, const KeySide<S> &keys) const {
    const int64_t count = call.keys - key < kKeys ? call.keys - key : kKeys;
    auto key_at = [&](int64_t j) { return key_row<S>(call.key, b, h, key + j); };
    pack_keys(keys.key, count, width, key_at);
    pack_values(keys.key_rows, count, width, key_at);
    pack_keys(keys.value, count, value_width,
              [&](int64_t j) { return key_row<S>(call.value, b, h, key + j); });
    if (keys.bias)
      pack_bias(keys.bias, count,
                [&](int64_t j) { return *key_row<S>(call.bias, b, h, key + j); });
    std::memset(keys.d_key, 0, sizeof(S) * kKeys * padded<S>(width));
    std::memset(keys.d_value, 0, sizeof(S) * kKeys * padded<S>(value_width));
    std::memset(keys.d_bias, 0, sizeof(S) * kKeys);
  }

  // One block of keys and the tiles of one side.
  void meet(int64_t first, int64_t count, int64_t key, BackwardTile<S> *tile,
            const QuerySide<S> &side, const KeySide<S> &keys, S *p, S *t) const {
    Visible<S> seen[kSide];
    int64_t tiles = 0, begin = kSide, end = 0;
    for (; tiles < kSide && tiles * kRows < count; ++tiles) {
      seen[tiles] = rows.visible(first + tiles * kRows, key);
      if (seen[tiles].first >= seen[tiles].last) continue;
      if (begin == kSide) begin = tiles;
      end = tiles + 1;
      tile_gradients(tile[tiles], keys, seen[tiles], p + tiles * kRows * kKeys,
                     t + tiles * kRows * kKeys);
    }
    if (begin >= end) return;
    int64_t j = 0;
    for (; j + kRows <= kKeys; j += kRows)
      key_gradients<kRows>(j, begin, end, seen, side, keys, p, t);
    constexpr int rest = kKeys % kRows;
    if constexpr (rest > 0) key_gradients<rest>(j, begin, end, seen, side, keys, p, t);
    if (call.d_bias.data)
      for (int64_t n = begin; n < end; ++n)
        for (int64_t r = n * kRows; r < (n + 1) * kRows; ++r)
          for (int64_t i = seen[n].first; i < seen[n].last; i += lanes<S>)
            store(keys.d_bias + i, load(keys.d_bias + i) + load(t + r * kKeys + i));
  }

  // p and t of a tile, and what its queries get from them.
  void tile_gradients(const BackwardTile<S> &one, const KeySide<S> &keys, const Visible<S> &seen,
                      S *p, S *t) const {
    block_logits(QueryTile<S>{one.query, nullptr, nullptr, nullptr},
                 KeyBlock<S>{keys.key, nullptr, keys.bias}, width, seen, p);
    for (int64_t j = seen.first; j < seen.last; j += kPanel<S>)
      panel_product<S, kRows, 2, 1, kRows, Before::nothing>(
          value_width, one.d_out, keys.value + j * value_width, t + j, kKeys);
    for (int64_t r = 0; r < kRows; ++r) {
      const Vec<S> lse = splat<S>(one.lse[r]), delta = splat<S>(one.delta[r]);
      S *p_row = p + r * kKeys, *t_row = t + r * kKeys;
      for (int64_t j = 0; j < seen.first; j += lanes<S>) store(p_row + j, Vec<S>{});
      for (int64_t j = 0; j < seen.first; j += lanes<S>) store(t_row + j, Vec<S>{});
      for (int64_t j = seen.first; j < seen.last; j += lanes<S>) {
        const Vec<S> weight = exp2_negative(load(p_row + j) - lse);
        store(p_row + j, weight);
        store(t_row + j, weight * (load(t_row + j) - delta));
      }
      for (int64_t j = seen.last; j < kKeys; j += lanes<S>) store(p_row + j, Vec<S>{});
      for (int64_t j = seen.last; j < kKeys; j += lanes<S>) store(t_row + j, Vec<S>{});
    }
    panels_product<S, kRows, kKeys, 1, Before::kept>(seen.last - seen.first, t + seen.first,
                                                     keys.key_rows, kKeys, seen.first, width,
                                                     one.d_query, padded<S>(width));
  }

  // What keys j .. j + R get from the tiles begin .. end that see them.
  template <int R>
  void key_gradients(int64_t j, int64_t begin, int64_t end, const Visible<S> *seen,
                     const QuerySide<S> &side, const KeySide<S> &keys, const S *p,
                     const S *t) const {
    while (begin < end && (seen[begin].last <= j || seen[begin].first >= j + R)) ++begin;
    while (begin < end && (seen[end - 1].last <= j || seen[end - 1].first >= j + R)) --end;
    if (begin >= end) return;
    const int64_t row = begin * kRows, depth = (end - begin) * kRows;
    panels_product<S, R, 1, kKeys, Before::kept>(
        depth, p + row * kKeys + j, side.d_out_rows, kSideRows, row, value_width,
        keys.d_value + j * padded<S>(value_width), padded<S>(value_width));
    panels_product<S, R, 1, kKeys, Before::kept>(
        depth, t + row * kKeys + j, side.query_rows, kSideRows, row, width,
        keys.d_key + j * padded<S>(width), padded<S>(width));
  }

  void add(int64_t b, int64_t h, int64_t key, const KeySide<S> &keys) const {
    const int64_t count = call.keys - key < kKeys ? call.keys - key : kKeys;
    for (int64_t j = 0; j < count; ++j) {
      S *d_key = key_out(call.d_key, b, h, key + j), *d_value = key_out(call.d_value, b, h, key + j);
      for (int64_t d = 0; d < width; ++d)
        d_key[d] += keys.d_key[j * padded<S>(width) + d] * S(call.scale);
      for (int64_t e = 0; e < value_width; ++e)
        d_value[e] += keys.d_value[j * padded<S>(value_width) + e];
      if (call.d_bias.data) *key_out(call.d_bias, b, h, key + j) += keys.d_bias[j];
    }
  }

  void close(int64_t b, int64_t h, int64_t first, int64_t count,
             const BackwardTile<S> *tile) const {
    for (int64_t n = 0; n < count; ++n) {
      S *to = rows.template at<S>(call.d_query, b, h, first + n);
      const S *from = tile[n / kRows].d_query + n % kRows * padded<S>(width);
      for (int64_t d = 0; d < width; ++d) to[d] = from[d] * S(call.scale);
    }
  }
};

template <class S>
int softmax_backward(const aat_softmax_backward &call) {
  const Backward<S> backward(call);
  const bool done = parallel_for_with_scratch<S>(
      call.batch * call.heads, call.threads, backward.numbers(),
      [&](int64_t head, S *scratch) { backward.work(head, scratch); });
  return done ? AAT_OK : AAT_NO_MEMORY;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_softmax_backward_f32(const struct aat_softmax_backward *call) {
  return aat::softmax_backward<float>(*call);
}
AAT_EXPORT int aat_softmax_backward_f64(const struct aat_softmax_backward *call) {
  return aat::softmax_backward<double>(*call);
}
}
