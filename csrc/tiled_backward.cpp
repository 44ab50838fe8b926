// Gradients of reading along a fixed plan: what a query opened counts as read.
//
//     p_j = 2^(s_j - lse)                       delta = do . o
//     ds_j = p_j (do . v_j - delta)             dv_j = sum p_j do
//     dq = sum_j ds_j k_j                       dk_j = sum ds_j q
//
// over the queries that read row j, where a row is a token or the mean of a node. What each query
// opened is decided again, from the same numbers as before. An item of work is a key head: its
// query heads add to the same rows, in their order.
#include "tiled_panel.h"

namespace aat {
namespace {

// Gradients of one panel.
template <class S>
struct Slopes {
  S *grad_out;  // [E, kSide]
  S *query;     // [D, kSide]
  S *lse, *delta;  // [kSide]; lse in units of log 2, inf for a query that saw nothing
  S *opened;    // [summaries, kSide]: 0 where the query opened the summary, else 1
};

template <class S>
struct Differentiator : Seat<S, aat_tiled_read_backward> {
  using Base = Seat<S, aat_tiled_read_backward>;
  using Base::at;
  using Base::call;
  using Base::list;
  using Base::panel;

  static constexpr int64_t kQueries = kPanels * kSide<S>;

  Slopes<S> slopes[kPanels];
  S **grad_key, **grad_value;  // of each row of the list
  S *weights, *slope;          // [kRun, kSide]
  S *all_weights, *all_slopes; // [kRun, kQueries]
  S *queries, *grad_outs;      // [kQueries, width]
  S *key_sums, *value_sums;    // [kRun, width]
  int64_t key_row, value_row;  // padded widths
  // Rows that one query opened.
  const S **key, **value;
  S **to_key, **to_value;
  S *share, *part;

  Differentiator(const aat_tiled_read_backward &given, Longest most, Arena *arena)
      : Base(given, most, arena),
        key_row(padded<S>(given.width)),
        value_row(padded<S>(given.value_width)) {
    for (Slopes<S> &one : slopes) {
      one.grad_out = arena->take<S>(call.value_width * kSide<S>);
      one.query = arena->take<S>(call.width * kSide<S>);
      one.lse = arena->take<S>(kSide<S>);
      one.delta = arena->take<S>(kSide<S>);
      one.opened = arena->take<S>(most.summaries * kSide<S>);
    }
    grad_key = arena->take<S *>(most.rows);
    grad_value = arena->take<S *>(most.rows);
    weights = arena->take<S>(kRun * kSide<S>);
    slope = arena->take<S>(kRun * kSide<S>);
    all_weights = arena->take<S>(kRun * kQueries);
    all_slopes = arena->take<S>(kRun * kQueries);
    queries = arena->take<S>(kQueries * key_row);
    grad_outs = arena->take<S>(kQueries * value_row);
    key_sums = arena->take<S>(kRun * key_row);
    value_sums = arena->take<S>(kRun * value_row);
    const int64_t opened = call.nodes + call.tiles * call.tile + lanes<S>;
    key = arena->take<const S *>(opened);
    value = arena->take<const S *>(opened);
    to_key = arena->take<S *>(opened);
    to_value = arena->take<S *>(opened);
    share = arena->take<S>(opened);
    part = arena->take<S>(opened);
  }

  void head(int64_t number) {
    this->start(number);
    find_places();
    for (int64_t first = 0; first < call.queries; first += kQueries)
      block(first, std::min(kQueries, call.queries - first));
  }

 private:
  // Where the gradients of the list's rows are.
  void find_places() {
    int64_t n = 0;
    auto add = [&](S *key_place, S *value_place) {
      grad_key[n] = key_place;
      grad_value[n++] = value_place;
    };
    const S *log_count = place<S>(call.log_count, at.key_head);
    each_row(
        call, at,
        [&](int64_t node) {
          if (log_count[node] >= 0)
            add(place<S>(call.grad_node_key, at.key_head, node),
                place<S>(call.grad_node_value, at.key_head, node));
        },
        [&](int64_t tile, int64_t l) {
          add(place<S>(call.grad_tile_key, at.key_head, tile, l),
              place<S>(call.grad_tile_value, at.key_head, tile, l));
        },
        [&](int64_t sink) {
          add(place<S>(call.grad_sink_key, at.sequence, at.group, sink),
              place<S>(call.grad_sink_value, at.sequence, at.group, sink));
        },
        [&](int64_t near) {
          add(place<S>(call.grad_key, at.sequence, at.group, near),
              place<S>(call.grad_value, at.sequence, at.group, near));
        });
  }

  void block(int64_t first, int64_t count) {
    const int64_t panels = (count + kSide<S> - 1) / kSide<S>;
    load_rows(first, count);
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t from = p * kSide<S>, some = std::min<int64_t>(kSide<S>, count - from);
      this->load_panel(&panel[p], first + from, some);
      load_slopes(p, first + from, some);
      for (int64_t row = 0; row < list.summaries; row += kRun)
        this->summary_logits(panel[p], row, std::min(kRun, list.summaries - row));
      reopen(p, first + from, some, count);
    }
    for (int64_t row = 0; row < list.summaries; row += kRun)
      run(row, std::min(kRun, list.summaries - row), panels, true);
    const int64_t most = panel[panels - 1].most;
    for (int64_t row = list.summaries; row < most; row += kRun)
      run(row, std::min(kRun, most - row), panels, false);
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t from = p * kSide<S>, some = std::min<int64_t>(kSide<S>, count - from);
      S *to = place<S>(call.grad_query, at.head, first + from);
      add_transposed(slopes[p].query, some, to);
    }
  }

  // Queries and gradients of outputs as rows; those beyond the last are zero.
  void load_rows(int64_t first, int64_t count) {
    std::memset(queries, 0, sizeof(S) * kQueries * key_row);
    std::memset(grad_outs, 0, sizeof(S) * kQueries * value_row);
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(queries + i * key_row, place<S>(call.query, at.head, first + i),
                  sizeof(S) * call.width);
      std::memcpy(grad_outs + i * value_row, place<S>(call.grad_out, at.head, first + i),
                  sizeof(S) * call.value_width);
      std::memset(place<S>(call.grad_query, at.head, first + i), 0, sizeof(S) * call.width);
    }
  }

  void load_slopes(int64_t p, int64_t first, int64_t count) {
    Slopes<S> &one = slopes[p];
    transpose(kSide<S>, call.value_width, grad_outs + p * kSide<S> * value_row, value_row,
              one.grad_out, kSide<S>);
    std::memset(one.query, 0, sizeof(S) * call.width * kSide<S>);
    for (int64_t i = 0; i < kSide<S>; ++i) {
      const S lse = i < count ? place<S>(call.lse, at.head)[first + i] : kNone<S>;
      one.lse[i] = lse == kNone<S> ? -kNone<S> : lse * S(kLog2e);
      one.delta[i] = 0;
      if (i >= count) continue;
      const S *out = place<S>(call.out, at.head, first + i);
      const S *grad = grad_outs + (p * kSide<S> + i) * value_row;
      for (int64_t e = 0; e < call.value_width; ++e) one.delta[i] += out[e] * grad[e];
    }
    for (int64_t i = 0; i < list.summaries * kSide<S>; ++i) one.opened[i] = 1;
  }

  // Decides again what the queries of a panel opened, and takes the gradients of that.
  void reopen(int64_t p, int64_t first, int64_t count, int64_t block_count) {
    S base[kSide<S>], error[kSide<S>];
    for (int64_t i = 0; i < kSide<S>; ++i) {
      const S planned = i < count ? place<S>(call.planned, at.head)[first + i] : S(0);
      base[i] = planned == kNone<S> ? S(0) : planned;
    }
    const bool single = block_count < kFew;
    if (!single) this->panel_errors(panel[p], base, error);
    for (int64_t i = 0; i < count; ++i) {
      const S norm = this->ask(first + i);
      if (single) {
        // What was decided one by one is decided so again.
        S *keep = this->cost;
        row_logits(list.summaries, call.width, list.key, this->asked, keep);
        for (int64_t c = 0; c < list.summaries; ++c) keep[c] += list.bias[c];
        error[i] = this->row_errors(keep, base[i], norm);
      }
      if (!(error[i] > S(call.limit))) continue;
      if (!single) this->take_column(i);
      this->decide(base[i], single ? norm : panel[p].norm[i]);
      for (int64_t n = 0; n < this->openings.columns; ++n)
        slopes[p].opened[this->openings.column[n] * kSide<S> + i] = 0;
      opened_rows(p, i, first + i, base[i]);
    }
  }

  // Gradients of the rows that one query opened.
  void opened_rows(int64_t p, int64_t lane, int64_t query, S base) {
    const Openings<S> &all = this->openings;
    int64_t count = 0;
    auto add = [&](const S *k, const S *v, S *grad_k, S *grad_v) {
      key[count] = k;
      value[count] = v;
      to_key[count] = grad_k;
      to_value[count++] = grad_v;
    };
    this->each_opened(
        [&](int64_t i, int64_t node) {
          share[count] = all.logit[i] + base;
          add(place<S>(call.node_key, at.key_head, node),
              place<S>(call.node_value, at.key_head, node),
              place<S>(call.grad_node_key, at.key_head, node),
              place<S>(call.grad_node_value, at.key_head, node));
        },
        [&](int64_t tile, int64_t l) {
          add(place<S>(call.tile_key, at.key_head, tile, l),
              place<S>(call.tile_value, at.key_head, tile, l),
              place<S>(call.grad_tile_key, at.key_head, tile, l),
              place<S>(call.grad_tile_value, at.key_head, tile, l));
        });
    row_logits(count - all.nodes, call.width, key + all.nodes, this->asked, share + all.nodes);
    const S *grad_out = grad_outs + (p * kSide<S> + lane) * value_row;
    const S *asks = queries + (p * kSide<S> + lane) * key_row;
    row_logits(count, call.value_width, value, grad_out, part);
    const S lse = slopes[p].lse[lane], delta = slopes[p].delta[lane];
    for (int64_t i = 0; i < count; i += lanes<S>) {
      const Vec<S> weight = exp2_negative(load(share + i) - lse);
      store(share + i, weight);
      store(part + i, weight * (load(part + i) - delta));
    }
    row_mix(count, call.width, key, part, place<S>(call.grad_query, at.head, query));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t d = 0; d < call.width; ++d) to_key[i][d] += part[i] * asks[d];
      for (int64_t e = 0; e < call.value_width; ++e) to_value[i][e] += share[i] * grad_out[e];
    }
  }

  // Gradients of `count` rows of the list, for all panels.
  void run(int64_t row, int64_t count, int64_t panels, bool summaries) {
    for (int64_t p = 0; p < panels; ++p) {
      if (!summaries && row >= panel[p].most) {
        for (int64_t i = 0; i < count; ++i) {
          std::memset(all_weights + i * kQueries + p * kSide<S>, 0, sizeof(S) * kSide<S>);
          std::memset(all_slopes + i * kQueries + p * kSide<S>, 0, sizeof(S) * kSide<S>);
        }
        continue;
      }
      const S *logits = panel[p].keep + row * kSide<S>;
      if (!summaries) {
        this->logits(panel[p], row, count, weights);
        logits = weights;
      }
      panel_logits(count, call.value_width, list.value + row, slopes[p].grad_out, slope);
      weigh(p, row, count, logits, summaries);
      panel_mix(count, call.width, list.key + row, slope, slopes[p].query);
    }
    const int64_t depth = panels * kSide<S>;
    gemm<S, Into::overwrite>(count, call.width, depth, {all_slopes, kQueries, 1}, queries, key_row,
                             key_sums, key_row);
    gemm<S, Into::overwrite>(count, call.value_width, depth, {all_weights, kQueries, 1}, grad_outs,
                             value_row, value_sums, value_row);
    for (int64_t i = 0; i < count; ++i) {
      S *to = grad_key[row + i];
      for (int64_t d = 0; d < call.width; ++d) to[d] += key_sums[i * key_row + d];
      to = grad_value[row + i];
      for (int64_t e = 0; e < call.value_width; ++e) to[e] += value_sums[i * value_row + e];
    }
  }

  void weigh(int64_t p, int64_t row, int64_t count, const S *logits, bool summaries) {
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      const Vec<S> lse = load(slopes[p].lse + n), delta = load(slopes[p].delta + n);
      for (int64_t i = 0; i < count; ++i) {
        Vec<S> weight = exp2_negative(load(logits + i * kSide<S> + n) - lse);
        if (summaries) weight *= load(slopes[p].opened + (row + i) * kSide<S> + n);
        const Vec<S> each = weight * (load(slope + i * kSide<S> + n) - delta);
        store(slope + i * kSide<S> + n, each);
        store(all_weights + i * kQueries + p * kSide<S> + n, weight);
        store(all_slopes + i * kQueries + p * kSide<S> + n, each);
      }
    }
  }

  void add_transposed(const S *from, int64_t count, S *to) {
    for (int64_t i = 0; i < count; ++i, to += call.grad_query.stride[1])
      for (int64_t d = 0; d < call.width; ++d) to[d] += from[d * kSide<S> + i];
  }
};

template <class S>
int differentiate(const aat_tiled_read_backward &call) {
  const Longest most = longest_list(call);
  Arena counted(nullptr);
  Differentiator<S>(call, most, &counted);
  const int64_t items = call.batch * call.groups;
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, items));
  const Memory memory(workers * counted.used());
  if (!memory.ok()) return AAT_NO_MEMORY;
  parallel_for(items, workers, [&](int64_t item, int64_t worker) {
    Arena arena(memory.get() + worker * counted.used());
    Differentiator<S> one(call, most, &arena);
    for (int64_t r = 0; r < call.repeat; ++r) one.head(item * call.repeat + r);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiled_read_backward_f32(const aat_tiled_read_backward *call) {
  return aat::differentiate<float>(*call);
}
AAT_EXPORT int aat_tiled_read_backward_f64(const aat_tiled_read_backward *call) {
  return aat::differentiate<double>(*call);
}
}
