// Reading the far field of a block of queries along a plan, with the near field and the sinks, in
// one pass of softmax with a running maximum; then each query's error, and what it opens beyond the
// plan.
//
//     lse = log2( sum_j 2^(s_j) + sum_c n_c 2^(s_c) )     out = sum_j p_j v_j + sum_c p_c mean v_c
//
// An item of work is some panels of queries of one head, which pass over its list together. All
// logits are in units of log 2.
#include "tiled_panel.h"

namespace aat {
namespace {

// What a panel's queries have read so far.
template <class S>
struct Sums {
  S *out;         // [E, kSide]
  S *top, *mass;  // [kSide]
};

template <class S>
struct Reader : Seat<S, aat_tiled_read> {
  using Base = Seat<S, aat_tiled_read>;
  using Base::at;
  using Base::call;
  using Base::list;
  using Base::panel;

  Sums<S> sums[kPanels];
  S *weights;  // [kRun, kSide], or the logits of one query
  // Rows that one query opens.
  const S **key, **value;
  S *share;

  Reader(const aat_tiled_read &given, Longest most, Arena *arena) : Base(given, most, arena) {
    for (Sums<S> &one : sums) {
      one.out = arena->take<S>(call.value_width * kSide<S>);
      one.top = arena->take<S>(kSide<S>);
      one.mass = arena->take<S>(kSide<S>);
    }
    const int64_t run = kRun * kSide<S>, single = most.rows + lanes<S>;
    weights = arena->take<S>(run > single ? run : single);
    const int64_t opened = call.nodes + call.tiles * call.tile + most.summaries + lanes<S>;
    key = arena->take<const S *>(opened);
    value = arena->take<const S *>(opened);
    share = arena->take<S>(opened);
  }

  // A block of up to kPanels panels.
  void read(int64_t first, int64_t count) {
    const int64_t panels = (count + kSide<S> - 1) / kSide<S>;
    auto size = [&](int64_t p) { return std::min<int64_t>(kSide<S>, count - p * kSide<S>); };
    for (int64_t p = 0; p < panels; ++p) {
      this->load_panel(&panel[p], first + p * kSide<S>, size(p));
      std::memset(sums[p].out, 0, sizeof(S) * call.value_width * kSide<S>);
      for (int64_t i = 0; i < kSide<S>; ++i) {
        sums[p].top[i] = kNone<S>;
        sums[p].mass[i] = 0;
      }
    }
    for (int64_t row = 0; row < list.summaries; row += kRun)
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t some = std::min(kRun, list.summaries - row);
        this->expect(row + some, p, panels);
        this->summary_logits(panel[p], row, some);
        absorb(sums[p], row, some, panel[p].keep + row * kSide<S>);
      }
    for (int64_t row = list.summaries; row < panel[panels - 1].most; row += kRun)
      for (int64_t p = 0; p < panels; ++p) {
        if (row >= panel[p].most) continue;
        const int64_t some = std::min(kRun, panel[p].most - row);
        this->expect(row + kRun, p, panels);
        this->logits(panel[p], row, some, weights);
        absorb(sums[p], row, some, weights);
      }
    for (int64_t p = 0; p < panels; ++p) finish(p, first + p * kSide<S>, size(p));
  }

  // Adds `count` rows of the list with these logits to what a panel has read.
  void absorb(const Sums<S> &sum, int64_t row, int64_t count, const S *logits) {
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      const Vec<S> before = load(sum.top + n);
      Vec<S> top = before;
      for (int64_t i = 0; i < count; ++i) top = maximum<S>(load(logits + i * kSide<S> + n), top);
      store(sum.top + n, top);
      // Where nothing was seen yet, any finite base gives zeros.
      const Vec<S> base = select<S>(top == kNone<S>, Vec<S>{}, top);
      const Vec<S> shrink = exp2_negative(before - base);
      Vec<S> mass = load(sum.mass + n) * shrink;
      for (int64_t i = 0; i < count; ++i) {
        const Vec<S> p = exp2_negative(load(logits + i * kSide<S> + n) - base);
        store(weights + i * kSide<S> + n, p);
        mass += p;
      }
      store(sum.mass + n, mass);
      for (int64_t e = 0; e < call.value_width; ++e) {
        S *out = sum.out + e * kSide<S> + n;
        store(out, load(out) * shrink);
      }
    }
    panel_mix(count, call.value_width, list.value + row, weights, sum.out);
  }

  void finish(int64_t p, int64_t first, int64_t count) {
    const Sums<S> &sum = sums[p];
    S base[kSide<S>], error[kSide<S>];
    for (int64_t i = 0; i < kSide<S>; ++i)
      base[i] = sum.mass[i] == 0 ? S(0) : sum.top[i] + std::log2(sum.mass[i]);
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      const Vec<S> mass = load(sum.mass + n), part = select<S>(mass == S(0), mass, S(1) / mass);
      for (int64_t e = 0; e < call.value_width; ++e) {
        S *out = sum.out + e * kSide<S> + n;
        store(out, load(out) * part);
      }
    }
    transpose(call.value_width, count, sum.out, kSide<S>, place<S>(call.out, at.head, first),
              call.out.stride[1]);
    this->panel_errors(panel[p], base, error);
    for (int64_t i = 0; i < count; ++i) {
      const S lse = sum.mass[i] == 0 ? kNone<S> : base[i];
      if (error[i] > S(call.limit)) {
        this->take_column(i);
        this->ask(first + i);
        open(first + i, base[i], panel[p].norm[i], panel[p].keep + i, kSide<S>);
      } else {
        answer(first + i, lse, lse, error[i], 0, 0);
      }
    }
  }

  void answer(int64_t query, S lse, S planned, S error, int64_t refined, int64_t visited) {
    place<S>(call.lse, at.head)[query] = lse * S(1 / kLog2e);
    place<S>(call.planned, at.head)[query] = planned;
    place<S>(call.error, at.head)[query] = call.certified ? error : std::sqrt(error);
    place<S>(call.refined, at.head)[query] = static_cast<S>(refined);
    place<S>(call.visited, at.head)[query] = static_cast<S>(visited);
  }

  // One query, with lanes along the rows.
  void read_one(int64_t query) {
    const S norm = this->ask(query);
    const int64_t count = this->visible(query), ends = padded<S>(count);
    S *keep = panel[0].keep;
    row_logits(count, call.width, list.key, this->asked, weights);
    for (int64_t c = 0; c < list.summaries; ++c) keep[c] = weights[c] += list.bias[c];
    for (int64_t i = count; i < ends; ++i) weights[i] = kNone<S>;
    Vec<S> tops = splat<S>(kNone<S>), masses{};
    for (int64_t i = 0; i < ends; i += lanes<S>) tops = maximum<S>(load(weights + i), tops);
    const S top = largest<S>(tops), from = top == kNone<S> ? S(0) : top;
    for (int64_t i = 0; i < ends; i += lanes<S>) {
      const Vec<S> p = exp2_negative(load(weights + i) - from);
      store(weights + i, p);
      masses += p;
    }
    const S mass = sum<S>(masses), base = mass == 0 ? S(0) : from + std::log2(mass);
    S *out = place<S>(call.out, at.head, query);
    std::memset(out, 0, sizeof(S) * call.value_width);
    row_mix(count, call.value_width, list.value, weights, out);
    const S part = mass == 0 ? S(0) : 1 / mass;
    for (int64_t e = 0; e < call.value_width; ++e) out[e] *= part;
    const S error = this->row_errors(keep, base, norm), lse = mass == 0 ? kNone<S> : base;
    if (error > S(call.limit))
      open(query, base, norm, keep, 1);
    else
      answer(query, lse, lse, error, 0, 0);
  }

  // Opens the dearest summaries of the query that asks, whose costs are `column`; its output lies
  // in place. The masses of the opened summaries leave; those of what they hold, never less, come.
  void open(int64_t query, S base, S norm, const S *keep, int64_t distance) {
    this->decide(base, norm);
    const Openings<S> &all = this->openings;
    int64_t count = 0;
    this->each_opened(
        [&](int64_t i, int64_t node) {
          share[count] = all.logit[i];
          value[count++] = place<S>(call.node_value, at.key_head, node);
        },
        [&](int64_t tile, int64_t l) {
          key[count] = place<S>(call.tile_key, at.key_head, tile, l);
          value[count++] = place<S>(call.tile_value, at.key_head, tile, l);
        });
    const int64_t tokens = count - all.nodes, come = count;
    row_logits(tokens, call.width, key + all.nodes, this->asked, share + all.nodes);
    S shift = 0;
    for (int64_t i = 0; i < come; ++i) {
      if (i >= all.nodes) share[i] -= base;
      if (share[i] > shift) shift = share[i];
    }
    for (int64_t i = 0; i < all.columns; ++i) {
      value[count] = list.value[all.column[i]];
      share[count++] = keep[all.column[i] * distance] - base;
    }
    for (int64_t i = 0; i < count; i += lanes<S>)
      store(share + i, exp2_negative(load(share + i) - shift));
    const S scale = exp2_negative(splat<S>(-shift))[0];
    S mass = scale;
    for (int64_t i = 0; i < count; ++i) {
      if (i >= come) share[i] = -share[i];
      mass += share[i];
    }
    S *out = place<S>(call.out, at.head, query);
    for (int64_t e = 0; e < call.value_width; ++e) out[e] *= scale;
    row_mix(count, call.value_width, value, share, out);
    for (int64_t e = 0; e < call.value_width; ++e) out[e] /= mass;
    const S growth = std::log2(mass) + shift;
    const S error = all.spent * std::exp2(-growth * (call.certified ? 1 : 2));
    answer(query, base + growth, base, error, tokens, all.visited);
  }
};

template <class S>
int read(const aat_tiled_read &call) {
  const Longest most = longest_list(call);
  Arena counted(nullptr);
  Reader<S>(call, most, &counted);
  const int64_t each = kPanels * kSide<S>, pieces = (call.queries + each - 1) / each;
  const int64_t items = call.batch * call.groups * call.repeat * pieces;
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, items));
  const Memory memory(workers * counted.used());
  if (!memory.ok()) return AAT_NO_MEMORY;
  parallel_for(items, workers, [&](int64_t item, int64_t worker) {
    Arena arena(memory.get() + worker * counted.used());
    Reader<S> reader(call, most, &arena);
    reader.start(item / pieces);
    const int64_t first = item % pieces * each, count = std::min(each, call.queries - first);
    if (count >= kFew) return reader.read(first, count);
    for (int64_t i = 0; i < count; ++i) reader.read_one(first + i);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiled_read_f32(const aat_tiled_read *call) { return aat::read<float>(*call); }
AAT_EXPORT int aat_tiled_read_f64(const aat_tiled_read *call) { return aat::read<double>(*call); }
}
