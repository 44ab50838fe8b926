// Exact softmax attention in which each query sees one range of keys.
//
// An item of work is a run of tiles of one key head. Each block of keys is packed once for the
// whole run.
#include "interface/softmax.h"
#include "softmax_rows.h"
#include "threads.h"

namespace aat {
namespace {

// Tiles in a run: enough to repay the packing of keys, few enough to stay in the L2 cache.
constexpr int64_t kRunTiles = AAT_VECTOR_REGISTERS == 32 ? 32 : 64;

template <class S>
struct Forward {
  const aat_softmax_forward &call;
  SoftmaxRows<S> rows;
  int64_t run, runs;

  explicit Forward(const aat_softmax_forward &given)
      : call(given), rows{given.group, given.queries, given.keys, given.lower, given.upper} {
    const int64_t tiles = rows.tiles();
    run = tiles < kRunTiles ? tiles : kRunTiles;
    runs = tiles ? (tiles + run - 1) / run : 0;
  }

  int64_t numbers() const {
    return run * tile_numbers<S>(call.width, call.value_width) + key_numbers<S>(call.width) +
           value_numbers<S>(call.value_width) + kKeys + kRows * kKeys;
  }

  void work(int64_t item, S *scratch) const {
    const int64_t head = item / runs, b = head / call.heads, h = head % call.heads;
    const int64_t first = item % runs * run * kRows, rest = rows.count() - first;
    const int64_t count = rest < run * kRows ? rest : run * kRows;
    QueryTile<S> tile[kRunTiles];
    for (int64_t n = 0; n < count; n += kRows) {
      QueryTile<S> &opened = tile[n / kRows];
      opened = tile_in(scratch, call.width, call.value_width);
      scratch += tile_numbers<S>(call.width, call.value_width);
      pack_queries(opened, count - n, call.width, S(call.scale),
                   [&](int64_t r) { return rows.at(call.query, b, h, first + n + r); });
      open_tile(opened, call.value_width);
    }
    KeyBlock<S> block;
    block.key = scratch;
    block.value = block.key + key_numbers<S>(call.width);
    S *bias = block.value + value_numbers<S>(call.value_width), *logits = bias + kKeys;
    block.bias = call.bias.data ? bias : nullptr;
    // Blocks begin at multiples of kKeys, so that what a query reads does not depend on its run.
    const int64_t until = rows.end(first + count - 1);
    for (int64_t key = rows.begin(first) / kKeys * kKeys; key < until; key += kKeys) {
      pack(b, h, key, block);
      for (int64_t n = 0; n < count; n += kRows) {
        const Visible<S> seen = rows.visible(first + n, key);
        if (seen.first < seen.last)
          attend_block(tile[n / kRows], block, call.width, call.value_width, seen, logits);
      }
    }
    for (int64_t n = 0; n < count; ++n)
      *rows.template at<S>(call.lse, b, h, first + n) =
          close_row(tile[n / kRows], n % kRows, call.value_width,
                    rows.template at<S>(call.out, b, h, first + n));
  }

  void pack(int64_t b, int64_t h, int64_t key, const KeyBlock<S> &block) const {
    const int64_t count = call.keys - key < kKeys ? call.keys - key : kKeys;
    pack_keys(block.key, count, call.width,
              [&](int64_t j) { return key_row<S>(call.key, b, h, key + j); });
    pack_values(block.value, count, call.value_width,
                [&](int64_t j) { return key_row<S>(call.value, b, h, key + j); });
    if (block.bias)
      pack_bias(block.bias, count,
                [&](int64_t j) { return *key_row<S>(call.bias, b, h, key + j); });
  }
};

template <class S>
int softmax_forward(const aat_softmax_forward &call) {
  const Forward<S> forward(call);
  const bool done = parallel_for_with_scratch<S>(
      call.batch * call.heads * forward.runs, call.threads, forward.numbers(),
      [&](int64_t item, S *scratch) { forward.work(item, scratch); });
  return done ? AAT_OK : AAT_NO_MEMORY;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_softmax_forward_f32(const struct aat_softmax_forward *call) {
  return aat::softmax_forward<float>(*call);
}
AAT_EXPORT int aat_softmax_forward_f64(const struct aat_softmax_forward *call) {
  return aat::softmax_forward<double>(*call);
}
}
