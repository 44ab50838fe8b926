// The plan of tiled attention: a block's scouts price nodes, and the cheapest stay closed.
//
// A node with n keys of mean k and variance v has for the scout q with normaliser lse the mass
//
//     p = n exp(q . k - lse),      x = sum_d q_d^2 v_d,      a = sqrt(tail x),
//     cost = min(worst, p^2 (x + g^2)),    g = (exp(a) - 1 - a) / tail,
//
// or, certified, with a = |q| radius and s = |q| spread,
//
//     cost = min(worst, 2 p ((s^2 / a^2) (exp(a) - 1 - a) + s)),
//
// and counts with its mean over the scouts. Both products are matrix products of some nodes with
// all scouts; what follows happens in registers.
#include <algorithm>
#include <cmath>

#include "gemm.h"
#include "interface/plan.h"
#include "threads.h"

namespace aat {
namespace {

constexpr int64_t kNodes = 24;    // priced at once
constexpr float kLargest = 40.0f;  // exponents are cut here: the square still is a float

template <class S>
AAT_INLINE Vec<S> square_root(Vec<S> v) {
  S each[lanes<S>];
  store(each, v);
  for (int i = 0; i < lanes<S>; ++i) each[i] = std::sqrt(each[i]);
  return load(each);
}

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j = 0) {
  return static_cast<S *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

enum class Form { estimate, certificate, square };

struct Priced {
  double cost;
  int64_t node;
  bool operator<(const Priced &other) const {
    return cost < other.cost || (cost == other.cost && node < other.node);
  }
};

// The scouts of one head, and how they price nodes. `Call` has the views of both calls.
template <class S, class Call>
class Scouts {
 public:
  static int64_t scratch(const Call &call) {
    const int64_t columns = padded<S>(call.scouts);
    return (2 * call.width + 2) * columns + 2 * kNodes * (call.width + columns) + kNodes;
  }

  Scouts(const Call &call, S *scratch) : call_(call), columns_(padded<S>(call.scouts)) {
    form_ = call.variance.data ? Form::estimate
            : call.radius.data ? Form::certificate
                               : Form::square;
    auto take = [&](int64_t count) { return std::exchange(scratch, scratch + count); };
    query_ = take(call.width * columns_);
    square_ = take(call.width * columns_);
    lse_ = take(columns_);
    norm_ = take(columns_);
    key_ = take(kNodes * call.width);
    variance_ = take(kNodes * call.width);
    logit_ = take(kNodes * columns_);
    x_ = take(kNodes * columns_);
  }

  void look(int64_t head) {
    key_head_ = head / (call_.heads / call_.key_heads);
    const S *lse = at<S>(call_.lse, head);
    for (int64_t s = 0; s < columns_; ++s)
      lse_[s] = s < call_.scouts ? lse[s] : std::numeric_limits<S>::infinity();
    transpose(call_.scouts, call_.width, at<S>(call_.query, head), call_.query.stride[1], query_,
              columns_);
    for (int64_t s = 0; s < columns_; ++s) norm_[s] = 0;
    for (int64_t d = 0; d < call_.width; ++d)
      for (int64_t s = 0; s < columns_; ++s) {
        const S q = query_[d * columns_ + s];
        square_[d * columns_ + s] = q * q;
        norm_[s] += q * q;
      }
    for (int64_t s = 0; s < columns_; ++s) norm_[s] = std::sqrt(norm_[s]);
    int64_t shown = 0;
    for (int64_t s = 0; s < call_.scouts; ++s)
      shown += lse[s] < std::numeric_limits<S>::infinity();
    shown_ = static_cast<S>(shown ? shown : 1);
  }

  // Sets the cost of each entry from its node.
  void price(Priced *entries, int64_t count) {
    for (int64_t first = 0; first < count; first += kNodes)
      some(entries + first, std::min(kNodes, count - first));
  }

 private:
  void some(Priced *entries, int64_t count) {
    const int64_t width = call_.width, columns = columns_;
    for (int64_t i = 0; i < count; ++i)
      std::memcpy(key_ + i * width, at<S>(call_.key, key_head_, entries[i].node),
                  sizeof(S) * width);
    const Left<S> keys = {key_, width, 1};
    gemm<S, Into::overwrite>(count, columns, width, keys, query_, columns, logit_, columns);
    if (form_ == Form::estimate) {
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(variance_ + i * width, at<S>(call_.variance, key_head_, entries[i].node),
                    sizeof(S) * width);
      const Left<S> variances = {variance_, width, 1};
      gemm<S, Into::overwrite>(count, columns, width, variances, square_, columns, x_, columns);
    }
    for (int64_t i = 0; i < count; ++i) {
      const S log_count = std::log(at<S>(call_.count, key_head_)[entries[i].node]);
      entries[i].cost = mean(i, log_count, entries[i].node);
    }
  }

  S mean(int64_t i, S log_count, int64_t node) {
    switch (form_) {
      case Form::estimate:
        return mean_of(i, log_count, [&](Vec<S> log_mass, int64_t s) {
          return estimate(log_mass, load(x_ + i * columns_ + s));
        });
      case Form::certificate: {
        const S radius = at<S>(call_.radius, key_head_)[node];
        const S spread = at<S>(call_.spread, key_head_)[node];
        return mean_of(i, log_count, [&](Vec<S> log_mass, int64_t s) {
          const Vec<S> norm = load(norm_ + s);
          return certificate(log_mass, norm * radius, norm * spread);
        });
      }
      default:
        return mean_of(i, log_count,
                       [](Vec<S> log_mass, int64_t) { return exp(log_mass + log_mass); });
    }
  }

  template <class Cost>
  AAT_INLINE S mean_of(int64_t i, S log_count, Cost cost_of) {
    const Vec<S> worst = splat<S>(static_cast<S>(call_.worst));
    Vec<S> total{};
    for (int64_t s = 0; s < columns_; s += lanes<S>) {
      const Vec<S> log_mass = load(logit_ + i * columns_ + s) + log_count - load(lse_ + s);
      const Vec<S> cost = cost_of(log_mass, s);
      total += select<S>(cost < worst, cost, worst);
    }
    return sum<S>(total) / shown_;
  }

  AAT_INLINE Vec<S> estimate(Vec<S> log_mass, Vec<S> x) {
    const S tail = static_cast<S>(call_.tail);
    const Vec<S> a = square_root<S>(x * tail), mass = exp(log_mass);
    Vec<S> power = log_mass + a;
    power = exp(select<S>(power > S(kLargest), splat<S>(kLargest), power));
    const Vec<S> growth = (power - mass - mass * a) * (1 / tail);
    return mass * mass * x + growth * growth;
  }

  static AAT_INLINE Vec<S> certificate(Vec<S> log_mass, Vec<S> a, Vec<S> s) {
    const Vec<S> mass = exp(log_mass);
    Vec<S> small = a * S(1.0 / 720) + S(1.0 / 120);
    small = small * a + S(1.0 / 24);
    small = small * a + S(1.0 / 6);
    small = (small * a + S(0.5)) * mass;
    const Vec<S> large = (exp(log_mass + a) - mass - mass * a) / (a * a);
    return (mass * s + s * s * select<S>(a < S(0.1), small, large)) * S(2);
  }

  const Call &call_;
  const int64_t columns_;
  Form form_;
  int64_t key_head_ = 0;
  S shown_ = 1;
  S *query_, *square_, *lse_, *norm_, *key_, *variance_, *logit_, *x_;
};

// Moves the largest set of cheapest entries whose sum stays within the limit to the front, and
// returns how many they are.
int64_t cheapest(Priced *entries, int64_t count, double limit) {
  int64_t kept = 0;
  while (kept < count) {
    const int64_t middle = kept + (count - kept + 1) / 2;
    std::nth_element(entries + kept, entries + middle - 1, entries + count);
    double part = 0;
    for (int64_t i = kept; i < middle; ++i) part += entries[i].cost;
    if (part <= limit) {
      limit -= part;
      kept = middle;
    } else {
      count = middle - 1;
    }
  }
  return kept;
}

// Marks the largest nodes that hold nothing but far super-blocks.
void cover(const aat_tiled_plan &call, uint8_t *covered, uint8_t *root) {
  const auto *far = static_cast<const uint8_t *>(call.far.data);
  const auto *sizes = static_cast<const int64_t *>(call.sizes.data);
  const auto *spans = static_cast<const int64_t *>(call.spans.data);
  const auto *widths = static_cast<const int64_t *>(call.widths.data);
  for (int64_t block = 0; block < call.blocks; ++block) covered[block] = !far[block];
  int64_t stop = call.nodes;
  for (int64_t height = call.heights - 1; height >= 0; --height) {
    const int64_t span = spans[height], width = widths[height];
    stop -= sizes[height];
    for (int64_t unit = 0; unit < sizes[height] / width; ++unit) {
      uint8_t *own = covered + unit * span;
      const bool free = std::find(own, own + span, uint8_t(1)) == own + span;
      if (free) std::memset(own, 1, span);
      std::memset(root + stop + unit * width, free, width);
    }
  }
}

template <class S>
void plan_head(const aat_tiled_plan &call, int64_t head, Scouts<S, aat_tiled_plan> &scouts,
               const uint8_t *root, Priced *entries, uint8_t *active) {
  const int64_t *sizes = static_cast<const int64_t *>(call.sizes.data);
  const int64_t key_head = head / (call.heads / call.key_heads);
  uint8_t *closed = at<uint8_t>(call.closed, head);
  uint8_t *exact = at<uint8_t>(call.exact, head);
  std::memset(closed, 0, call.nodes);
  std::memset(exact, 0, sizes[0]);
  std::memcpy(active, root, call.nodes);
  scouts.look(head);
  double left = call.limit;
  int64_t looked = 0, stop = call.nodes;
  for (int64_t height = call.heights - 1; height >= 0; --height) {
    const int64_t start = stop - sizes[height];
    int64_t count = 0;
    for (int64_t node = start; node < stop; ++node)
      if (active[node]) entries[count++] = {0, node};
    scouts.price(entries, count);
    const int64_t kept = cheapest(entries, count, height ? call.upper_share * left : left);
    for (int64_t i = 0; i < kept; ++i) {
      left -= entries[i].cost;
      closed[entries[i].node] = 1;
    }
    for (int64_t i = kept; i < count; ++i) {
      const int64_t node = entries[i].node;
      if (height == 0) {
        exact[node] = 1;
        continue;
      }
      const int64_t *children = at<int64_t>(call.children, key_head, node);
      for (int64_t c = 0; c < call.group; ++c) active[children[c]] = 1;
    }
    looked += count;
    stop = start;
  }
  *at<S>(call.looked, head) = static_cast<S>(looked);
}

// What each worker needs beside the numbers of `Scouts`.
template <class S, class Call, class Work>
int with_scouts(const Call &call, int64_t items, Work work) {
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, items));
  const int64_t numbers = Scouts<S, Call>::scratch(call);
  Scratch<S> scratch(workers * numbers);
  Scratch<Priced> entries(workers * call.nodes);
  Scratch<uint8_t> marks(workers * call.nodes);
  if (!scratch.ok() || !entries.ok() || !marks.ok()) return AAT_NO_MEMORY;
  parallel_for(items, workers, [&](int64_t item, int64_t worker) {
    Scouts<S, Call> scouts(call, scratch.get() + worker * numbers);
    work(item, scouts, entries.get() + worker * call.nodes, marks.get() + worker * call.nodes);
  });
  return AAT_OK;
}

template <class S>
int plan(const aat_tiled_plan &call) {
  Scratch<uint8_t> covered(call.blocks), root(call.nodes);
  if (!covered.ok() || !root.ok()) return AAT_NO_MEMORY;
  cover(call, covered.get(), root.get());
  return with_scouts<S>(call, call.heads,
                        [&](int64_t head, auto &scouts, Priced *entries, uint8_t *marks) {
                          plan_head<S>(call, head, scouts, root.get(), entries, marks);
                        });
}

template <class S>
int scout_costs(const aat_tiled_scout_costs &call) {
  return with_scouts<S>(call, call.heads,
                        [&](int64_t head, auto &scouts, Priced *entries, uint8_t *) {
                          for (int64_t node = 0; node < call.nodes; ++node)
                            entries[node] = {0, node};
                          scouts.look(head);
                          scouts.price(entries, call.nodes);
                          S *cost = at<S>(call.cost, head);
                          for (int64_t node = 0; node < call.nodes; ++node)
                            cost[node] = static_cast<S>(entries[node].cost);
                        });
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiled_plan_f32(const aat_tiled_plan *call) { return aat::plan<float>(*call); }
AAT_EXPORT int aat_tiled_plan_f64(const aat_tiled_plan *call) { return aat::plan<double>(*call); }
AAT_EXPORT int aat_tiled_scout_costs_f32(const aat_tiled_scout_costs *call) {
  return aat::scout_costs<float>(*call);
}
AAT_EXPORT int aat_tiled_scout_costs_f64(const aat_tiled_scout_costs *call) {
  return aat::scout_costs<double>(*call);
}
}
