// Exact softmax attention in which query i sees keys i + lower <= j < i + upper.
//
// An item of work is a run of queries of one key head: tiles of neighbouring places, with the R
// query heads that share the key head side by side. Each block of keys is packed once for the
// whole run.
#include "interface/softmax.h"
#include "softmax_block.h"
#include "threads.h"

namespace aat {
namespace {

// Tiles in one item: enough to repay the packing of keys, few enough to stay in the L2 cache.
constexpr int64_t kTiles = AAT_VECTOR_REGISTERS == 32 ? 32 : 64;

template <class S>
S *data(const aat_view &view) {
  return static_cast<S *>(view.data);
}

AAT_INLINE int64_t clamp(int64_t x, int64_t low, int64_t high) {
  return x < low ? low : x > high ? high : x;
}

// Row n of a key head is query head n % R at place n / R.
template <class S>
struct Forward {
  const aat_softmax_forward &call;
  int64_t rows, run_tiles, runs;

  explicit Forward(const aat_softmax_forward &given) : call(given) {
    rows = call.group * call.queries;
    const int64_t tiles = (rows + kRows - 1) / kRows;
    run_tiles = tiles < kTiles ? tiles : kTiles;
    runs = tiles ? (tiles + run_tiles - 1) / run_tiles : 0;
  }

  int64_t numbers() const {
    return run_tiles * tile_numbers<S>(call.width, call.value_width) + key_numbers<S>(call.width) +
           value_numbers<S>(call.value_width) + kKeys + kRows * kKeys;
  }

  int64_t begin(int64_t row) const { return clamp(row / call.group + call.lower, 0, call.keys); }
  int64_t end(int64_t row) const { return clamp(row / call.group + call.upper, 0, call.keys); }

  void run(int64_t item, S *scratch) const {
    const int64_t head = item / runs, b = head / call.heads, h = head % call.heads;
    const int64_t first = item % runs * run_tiles * kRows;
    const int64_t last = first + run_tiles * kRows < rows ? first + run_tiles * kRows : rows;
    const int64_t tiles = (last - first + kRows - 1) / kRows;
    QueryTile<S> tile[kTiles];
    const S *query = data<const S>(call.query) + b * call.query.stride[0] +
                     h * call.group * call.query.stride[1];
    for (int64_t t = 0; t < tiles; ++t) {
      tile[t] = tile_in(scratch, call.width, call.value_width);
      scratch += tile_numbers<S>(call.width, call.value_width);
      const int64_t at = first + t * kRows;
      pack_queries(tile[t], last - at, call.width, S(call.scale), [&](int64_t r) {
        const int64_t row = at + r;
        return query + row % call.group * call.query.stride[1] +
               row / call.group * call.query.stride[2];
      });
      open_tile(tile[t], call.value_width);
    }
    KeyBlock<S> block;
    block.key = scratch;
    block.value = block.key + key_numbers<S>(call.width);
    S *bias = block.value + value_numbers<S>(call.value_width);
    S *logits = bias + kKeys;
    block.bias = call.bias.data ? bias : nullptr;
    // Blocks begin at multiples of kKeys, so that what a query reads does not depend on its run.
    const int64_t until = end(last - 1);
    for (int64_t at = begin(first) / kKeys * kKeys; at < until; at += kKeys) {
      pack(b, h, at, &block);
      for (int64_t t = 0; t < tiles; ++t) {
        const Visible<S> seen = visible(first + t * kRows, last, at, block.count);
        if (seen.first < seen.last)
          attend_block(tile[t], block, call.width, call.value_width, seen, logits);
      }
    }
    for (int64_t t = 0; t < tiles; ++t)
      for (int64_t r = 0; r < kRows && first + t * kRows + r < last; ++r)
        write(tile[t], head, first + t * kRows + r, r);
  }

  void pack(int64_t b, int64_t h, int64_t at, KeyBlock<S> *block) const {
    block->count = call.keys - at < kKeys ? call.keys - at : kKeys;
    auto from = [&](const aat_view &view) {
      return data<const S>(view) + b * view.stride[0] + h * view.stride[1];
    };
    const S *key = from(call.key) + at * call.key.stride[2];
    pack_keys(block->key, block->count, call.width,
              [&](int64_t j) { return key + j * call.key.stride[2]; });
    const S *value = from(call.value) + at * call.value.stride[2];
    pack_values(block->value, block->count, call.value_width,
                [&](int64_t j) { return value + j * call.value.stride[2]; });
    if (!block->bias) return;
    const S *bias = from(call.bias) + at * call.bias.stride[2];
    pack_bias(block->bias, block->count, [&](int64_t j) { return bias[j * call.bias.stride[2]]; });
  }

  Visible<S> visible(int64_t row, int64_t last, int64_t at, int64_t count) const {
    // Ranges move on with the rows.
    const int64_t most = last - 1 < row + kRows ? last - 1 : row + kRows - 1;
    if (begin(most) <= at && end(row) >= at + kKeys) return Visible<S>::all();
    Visible<S> seen;
    for (int64_t r = 0; r < kRows; ++r) {
      const bool there = row + r < last;
      seen.begin[r] = there ? clamp(begin(row + r) - at, 0, count) : 0;
      seen.end[r] = there ? clamp(end(row + r) - at, 0, count) : 0;
    }
    seen.settle();
    return seen;
  }

  void write(QueryTile<S> tile, int64_t head, int64_t row, int64_t r) const {
    const int64_t at =
        (head * call.group + row % call.group) * call.queries + row / call.group;
    data<S>(call.lse)[at] =
        close_row(tile, r, call.value_width, data<S>(call.out) + at * call.value_width);
  }
};

template <class S>
int softmax_forward(const aat_softmax_forward &call) {
  const Forward<S> forward(call);
  const int64_t items = call.batch * call.heads * forward.runs;
  const bool done = parallel_for_with_scratch<S>(
      items, call.threads, forward.numbers(),
      [&](int64_t item, S *scratch) { forward.run(item, scratch); });
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
