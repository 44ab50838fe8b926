// Panels of queries of one head that pass over its list together: logits, visibility, and the costs
// of summaries. Reading and its gradients share them, so that both decide alike.
#pragma once

#include "tiled_open.h"

namespace aat {

// Rows read at once; a whole number of register tiles.
constexpr int64_t kRun = 96;
// Panels that pass over a list together.
constexpr int64_t kPanels = 8;
// Fewer queries than this are read one by one, with lanes along the rows.
constexpr int64_t kFew = 4;

template <class S>
constexpr S kNone = -std::numeric_limits<S>::infinity();

template <class S>
struct Panel {
  S *query;               // [D, kSide], times log2(e)
  S *square;              // [D, kSide]
  S *keep;                // [summaries, kSide]: their logits
  S *norm;                // [kSide]
  int64_t *sees;          // [kSide]: rows of the list
  int64_t least, most;    // of `sees`
};

template <class S, class Call>
Panel<S> take_panel(const Call &call, Longest most, Arena *arena) {
  Panel<S> panel;
  panel.query = arena->take<S>(call.width * kSide<S>);
  panel.square = arena->take<S>(call.width * kSide<S>);
  panel.keep = arena->take<S>(most.summaries * kSide<S>);
  panel.norm = arena->take<S>(kSide<S>);
  panel.sees = arena->take<int64_t>(kSide<S>);
  panel.least = panel.most = 0;
  return panel;
}

template <class S, class Call>
class Seat {  // of one head's queries
 public:
  Seat(const Call &given, Longest most, Arena *arena) : call(given) {
    list = take_list<S>(call, most, arena);
    variance_ = arena->take<const S *>(most.summaries);
    for (Panel<S> &one : panel) one = take_panel<S>(call, most, arena);
    cost = arena->take<S>((most.summaries + 1) * kSide<S>);
    column = arena->take<S>(most.summaries + lanes<S>);
    asked = arena->take<S>(padded<S>(call.width));
    squares = arena->take<S>(padded<S>(call.width));
    rows_ = arena->take<S>(kSide<S> * call.width);
    openings = take_openings<S>(call, most, arena);
  }

  void start(int64_t head) {
    at = standing(call, head);
    fill_list(call, at, &list);
    if (!call.certified)
      for (int64_t c = 0; c < list.summaries; ++c)
        variance_[c] = place<S>(call.variance, at.key_head, list.node[c]);
  }

  // Rows of the list that a query sees.
  int64_t visible(int64_t query) const {
    return call.causal ? list.visible(call.near - call.queries + query + 1) : list.count;
  }

  void load_panel(Panel<S> *one, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kSide<S>; ++i) {
      // A lane without a query is zero and sees what the last query does.
      one->sees[i] = visible(first + std::min(i, count - 1));
      S *row = rows_ + i * call.width;
      if (i < count)
        std::memcpy(row, place<S>(call.query, at.head, first + i), sizeof(S) * call.width);
      else
        std::memset(row, 0, sizeof(S) * call.width);
    }
    one->least = one->sees[0];
    one->most = one->sees[count - 1];
    transpose(kSide<S>, call.width, rows_, call.width, one->query, kSide<S>);
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      Vec<S> norm{};
      for (int64_t d = 0; d < call.width; ++d) {
        const Vec<S> q = load(one->query + d * kSide<S> + n);
        store(one->square + d * kSide<S> + n, q * q);
        store(one->query + d * kSide<S> + n, q * S(kLog2e));
        norm += q * q;
      }
      store(one->norm + n, root<S>(norm));
    }
  }

  // Asks for one panel's part of the rows that are read next, while the panel is at work.
  void expect(int64_t row, int64_t p, int64_t panels) const {
    const int64_t count = std::min(kRun, list.count - row);
    for (int64_t i = p * count / panels; i < (p + 1) * count / panels; ++i) {
      for (int64_t d = 0; d < call.width; d += kLine) __builtin_prefetch(list.key[row + i] + d);
      for (int64_t e = 0; e < call.value_width; e += kLine)
        __builtin_prefetch(list.value[row + i] + e);
    }
  }

  // Logits of `count` rows of the list for a panel; -inf where a row lies ahead of a query.
  void logits(const Panel<S> &one, int64_t row, int64_t count, S *to) const {
    panel_logits(count, call.width, list.key + row, one.query, to);
    if (row + count > one.least) hide(one, row, count, to);
  }

  void summary_logits(const Panel<S> &one, int64_t row, int64_t count) const {
    S *to = one.keep + row * kSide<S>;
    panel_logits(count, call.width, list.key + row, one.query, to);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t n = 0; n < kSide<S>; n += lanes<S>)
        store(to + i * kSide<S> + n, load(to + i * kSide<S> + n) + list.bias[row + i]);
  }

  // Costs of the summaries for each query of a panel, and their sums. `base` [kSide] is what the
  // queries' lse is in units of log 2.
  void panel_errors(const Panel<S> &one, const S *base, S *error) const {
    const int64_t count = list.summaries;
    if (!call.certified) panel_logits(count, call.width, variance_, one.square, cost);
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      const Vec<S> lse = load(base + n), norm = load(one.norm + n);
      Vec<S> total{};
      for (int64_t c = 0; c < count; ++c) {
        S *here = cost + c * kSide<S> + n;
        const Vec<S> log_mass = (load(one.keep + c * kSide<S> + n) - lse) * S(1 / kLog2e);
        const Vec<S> each = cost_of(c, log_mass, load(here), norm);
        store(here, each);
        total += each;
      }
      store(error + n, total);
    }
  }

  // Sets `column` to a query's costs.
  void take_column(int64_t lane) {
    for (int64_t c = 0; c < list.summaries; ++c) column[c] = cost[c * kSide<S> + lane];
  }

  // Sets `asked` and `squares` to those of a query, and returns its norm.
  S ask(int64_t query) {
    const S *given = place<S>(call.query, at.head, query);
    S norm = 0;
    for (int64_t d = 0; d < call.width; ++d) {
      asked[d] = given[d] * S(kLog2e);
      squares[d] = given[d] * given[d];
      norm += squares[d];
    }
    return std::sqrt(norm);
  }

  // Sets `column` to the costs of the query that asks, whose logits of summaries are `keep`.
  S row_errors(const S *keep, S base, S norm) {
    const int64_t count = list.summaries;
    if (!call.certified) row_logits(count, call.width, variance_, squares, column);
    S total = 0;
    for (int64_t c = 0; c < count; c += lanes<S>) {
      const int some = static_cast<int>(std::min<int64_t>(lanes<S>, count - c));
      Vec<S> log_mass = splat<S>(kNone<S>), x{};
      for (int i = 0; i < some; ++i) log_mass[i] = (keep[c + i] - base) * S(1 / kLog2e);
      if (call.certified) {
        for (int i = 0; i < some; ++i)
          column[c + i] = cost_of(c + i, splat<S>(log_mass[i]), x, splat<S>(norm))[0];
      } else {
        for (int i = 0; i < some; ++i) x[i] = column[c + i];
        const Vec<S> each = estimated_cost<S>(log_mass, x);
        for (int i = 0; i < some; ++i) column[c + i] = each[i];
      }
      for (int i = 0; i < some; ++i) total += column[c + i];
    }
    return total;
  }

  // Decides what the query that asks opens; its costs are `column`.
  void decide(S base, S norm) {
    open_summaries(call, at, list, Asking<S>{asked, squares, norm}, column, base, &openings);
  }

  // Calls node(number), then token(tile, place), for what was decided to be read instead.
  template <class Node, class Token>
  void each_opened(Node node, Token token) const {
    for (int64_t i = 0; i < openings.nodes; ++i) node(i, openings.node[i]);
    for (int64_t i = 0; i < openings.tiles; ++i) {
      const uint8_t *valid = place<uint8_t>(call.tile_valid, at.key_head, openings.tile[i]);
      for (int64_t l = 0; l < call.tile; ++l)
        if (valid[l]) token(openings.tile[i], l);
    }
  }

  const Call &call;
  Standing at{};
  ReadList<S> list;
  Panel<S> panel[kPanels];
  S *cost;    // [summaries, kSide]
  S *column;  // [summaries]: of one query
  S *asked, *squares;
  Openings<S> openings;

 private:
  static constexpr int64_t kLine = 64 / sizeof(S);

  void hide(const Panel<S> &one, int64_t row, int64_t count, S *to) const {
    for (int64_t n = 0; n < kSide<S>; n += lanes<S>) {
      Vec<S> end;
      for (int i = 0; i < lanes<S>; ++i) end[i] = static_cast<S>(one.sees[n + i] - row);
      for (int64_t i = std::max<int64_t>(0, one.least - row); i < count; ++i) {
        S *here = to + i * kSide<S> + n;
        store(here, select<S>(splat<S>(static_cast<S>(i)) < end, load(here), splat<S>(kNone<S>)));
      }
    }
  }

  AAT_INLINE Vec<S> cost_of(int64_t c, Vec<S> log_mass, Vec<S> x, Vec<S> norm) const {
    if (!call.certified) return estimated_cost<S>(log_mass, x);
    const int64_t node = list.node[c];
    return certified_cost<S>(log_mass, norm * place<S>(call.radius, at.key_head)[node],
                             norm * place<S>(call.spread, at.key_head)[node]);
  }

  const S **variance_;
  S *rows_;
};

}  // namespace aat
