// What a single query opens beyond its block's plan.
//
// With p the share of a summary in what the query sees, x = sum_d q_d^2 Var_d(k) the variance of
// its logits inside the node and tail = 7, a summary costs by estimate
//
//     p^2 (x + g^2),    g = (exp(a) - 1 - a) / tail,    a = sqrt(tail x)
//
// and certified, with a = |q| radius and s = |q| spread,
//
//     2 p [ (s^2 / a^2) (exp(a) - 1 - a) + s ].
//
// The cheapest summaries are kept as long as their costs sum to no more than the limit. The others
// hand over to their children: a child is kept if it costs no more than an equal part of half of
// what is left; opened tiles are read token by token.
#pragma once

#include <algorithm>
#include <cmath>

#include "softmax_block.h"
#include "tiled_list.h"
#include "tiled_rows.h"

namespace aat {

template <class S>
AAT_INLINE Vec<S> root(Vec<S> x) {
  Vec<S> y;
  for (int i = 0; i < lanes<S>; ++i) y[i] = std::sqrt(x[i]);
  return y;
}

constexpr double kTail = 7.0;
constexpr double kLargestExponent = 40.0;

template <class S>
AAT_INLINE Vec<S> estimated_cost(Vec<S> log_mass, Vec<S> x) {
  const Vec<S> a = root<S>(x * S(kTail)), mass = exp(log_mass);
  Vec<S> power = log_mass + a;
  power = select<S>(power > S(kLargestExponent), splat<S>(S(kLargestExponent)), power);
  const Vec<S> growth = (exp(power) - mass - mass * a) * S(1 / kTail);
  return mass * mass * x + growth * growth;
}

template <class S>
AAT_INLINE Vec<S> certified_cost(Vec<S> log_mass, Vec<S> a, Vec<S> s) {
  const Vec<S> mass = exp(log_mass);
  // (exp(a) - 1 - a) / a^2 = 1/2! + a/3! + ..., which would lose its digits for small a.
  Vec<S> series{};
  double factorial = 1307674368000.0;  // 15!
  for (int n = 15; n >= 2; --n) {
    series = series * a + S(1 / factorial);
    factorial /= n;
  }
  const Vec<S> direct = (exp(log_mass + a) - mass - mass * a) / (a * a);
  return (mass * s + s * s * select<S>(a < S(0.5), mass * series, direct)) * S(2);
}

// What a query brings for its costs: squares of its numbers, or its norm.
template <class S>
struct Asking {
  const S *query;   // [D], times log2(e)
  const S *square;  // [D], not scaled
  S norm;
};

// Scratch and result of one query's openings.
template <class S>
struct Openings {
  int64_t *column;  // summaries of the list that are opened
  int64_t *node;    // nodes that are read through their summaries instead
  int64_t *tile;    // tiles that are read token by token
  int64_t *open, *child;
  S *logit;  // of nodes, in units of log 2
  S *child_logit, *x, *cost;
  const S **row;
  int64_t columns, nodes, tiles, visited;
  S spent;
};

template <class S, class Call>
Openings<S> take_openings(const Call &call, Longest most, Arena *arena) {
  Openings<S> all;
  const int64_t some = call.nodes + lanes<S>;
  all.column = arena->take<int64_t>(most.summaries);
  all.node = arena->take<int64_t>(call.nodes);
  all.tile = arena->take<int64_t>(call.tiles);
  all.open = arena->take<int64_t>(call.nodes);
  all.child = arena->take<int64_t>(call.nodes);
  all.logit = arena->take<S>(some);
  all.child_logit = arena->take<S>(some);
  all.x = arena->take<S>(some);
  all.cost = arena->take<S>(some);
  all.row = arena->take<const S *>(some);
  return all;
}

// The place of the largest of `count` numbers; the last among equals.
template <class S>
AAT_INLINE int64_t last_largest(int64_t count, const S *x) {
  Vec<S> tops = splat<S>(-std::numeric_limits<S>::infinity());
  int64_t i = 0;
  for (; i + lanes<S> <= count; i += lanes<S>) tops = maximum<S>(load(x + i), tops);
  S top = largest<S>(tops);
  for (; i < count; ++i) top = x[i] > top ? x[i] : top;
  for (i = count - 1; i > 0 && x[i] != top; --i) {
  }
  return i;
}

// Keeps the cheapest summaries within the limit; the others are `column`. Few are opened, and
// found one by one.
template <class S>
void open_dearest(int64_t count, const S *cost, S limit, Openings<S> *all) {
  constexpr int64_t kOneByOne = 32;
  all->columns = 0;
  int64_t kept = 0;
  double total = 0;
  for (int64_t c = 0; c < count; ++c) {
    if (!(cost[c] <= limit)) {
      all->column[all->columns++] = c;
      continue;
    }
    all->child[kept] = c;
    all->cost[kept++] = cost[c];
    total += cost[c];
  }
  auto leaves = [&](int64_t place) {
    total -= all->cost[place];
    all->column[all->columns++] = all->child[place];
    all->cost[place] = -1;
  };
  for (int64_t n = 0; total > limit && n < kOneByOne; ++n) leaves(last_largest(kept, all->cost));
  if (total > limit) {
    for (int64_t i = 0; i < kept; ++i) all->open[i] = i;
    const S *price = all->cost;
    auto dearer = [price](int64_t a, int64_t b) {
      return price[a] > price[b] || (price[a] == price[b] && a > b);
    };
    std::sort(all->open, all->open + kept, dearer);
    for (int64_t n = 0; total > limit && n < kept; ++n) leaves(all->open[n]);
  }
  all->spent = static_cast<S>(total > 0 ? total : 0);
}

// Logits less `base` (in units of log 2) and costs of the children of a height.
template <class S, class Call>
void price_children(const Call &call, Standing at, Asking<S> asking, S base, int64_t count,
                    Openings<S> *all) {
  const S *log_count = place<S>(call.log_count, at.key_head);
  for (int64_t i = 0; i < count; ++i)
    all->row[i] = place<S>(call.node_key, at.key_head, all->child[i]);
  row_logits(count, call.width, all->row, asking.query, all->child_logit);
  for (int64_t i = 0; i < count; ++i)
    all->child_logit[i] += log_count[all->child[i]] * S(kLog2e) - base;
  if (call.certified) {
    const S *radius = place<S>(call.radius, at.key_head);
    const S *spread = place<S>(call.spread, at.key_head);
    for (int64_t i = 0; i < count; i += lanes<S>) {
      Vec<S> a{}, s{};
      for (int n = 0; n < lanes<S> && i + n < count; ++n) {
        a[n] = asking.norm * radius[all->child[i + n]];
        s[n] = asking.norm * spread[all->child[i + n]];
      }
      store(all->cost + i, certified_cost<S>(load(all->child_logit + i) * S(1 / kLog2e), a, s));
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    all->row[i] = place<S>(call.variance, at.key_head, all->child[i]);
  row_logits(count, call.width, all->row, asking.square, all->x);
  for (int64_t i = 0; i < count; i += lanes<S>)
    store(all->cost + i,
          estimated_cost<S>(load(all->child_logit + i) * S(1 / kLog2e), load(all->x + i)));
}

// Decides what a query over the limit opens; base is its lse in units of log 2.
template <class S, class Call>
void open_summaries(const Call &call, Standing at, const ReadList<S> &list, Asking<S> asking,
                    const S *cost, S base, Openings<S> *all) {
  const int64_t *first = static_cast<const int64_t *>(call.first.data);
  open_dearest(list.summaries, cost, S(call.limit), all);
  int64_t open = 0;
  for (int64_t c = 0; c < all->columns; ++c) all->open[open++] = list.node[all->column[c]];
  S left = S(call.limit) - all->spent;
  all->nodes = all->visited = 0;
  for (int64_t height = call.heights - 1; height > 0; --height) {
    int64_t children = 0, still = 0;
    for (int64_t i = 0; i < open; ++i) {
      const int64_t node = all->open[i];
      if (node < first[height]) {
        all->open[still++] = node;
        continue;
      }
      const int64_t *below = place<int64_t>(call.offspring, at.key_head, node);
      for (int64_t g = 0; g < call.branching; ++g) all->child[children++] = below[g];
    }
    open = still;
    if (!children) continue;
    price_children(call, at, asking, base, children, all);
    const S share = left / S(2 * children);
    for (int64_t i = 0; i < children; ++i) {
      if (!(all->cost[i] <= share)) {
        all->open[open++] = all->child[i];
        continue;
      }
      left -= all->cost[i];
      all->spent += all->cost[i];
      all->logit[all->nodes] = all->child_logit[i];
      all->node[all->nodes++] = all->child[i];
    }
    all->visited += children;
  }
  all->tiles = open;
  for (int64_t i = 0; i < open; ++i) all->tile[i] = all->open[i];
}

}  // namespace aat
