// One token of a generation: the memory forgets, reads the key that leaves the window, and answers
// together with the window and the sinks.
//
//     S <- gamma S + g phi(k) v^T          z <- gamma z + g phi(k)
//     out = (sum_j e^(l_j) v_j + phi(q)^T S) / (sum_j e^(l_j) + phi(q) . z)     l_j = scale q . k_j
//
// k, v, g are of the oldest token in the window, or without a window of the new one. Each number of
// S is read and written once, each weight of the features read once for the key and all queries.
// Keys of slots lie next to one another in each of their D numbers, so that logits need no sums
// across a vector. One thread takes one head of all rows.
#include <cmath>

#include "feature_map.h"
#include "interface/memory_step.h"
#include "threads.h"

namespace aat {
namespace {

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j = 0) {
  return static_cast<S *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

// c (+)= a B, for a row a: as many columns at once as sums must not wait for one another.
template <class S, int W, Into into>
AAT_INLINE void row_tile(int64_t depth, const S *a, const S *b, int64_t b_row, S *c) {
  Vec<S> total[W];
  for (int w = 0; w < W; ++w) total[w] = into == Into::add ? load(c + w * lanes<S>) : Vec<S>{};
  for (int64_t k = 0; k < depth; ++k, b += b_row)
    for (int w = 0; w < W; ++w) total[w] = load(b + w * lanes<S>) * a[k] + total[w];
  for (int w = 0; w < W; ++w) store(c + w * lanes<S>, total[w]);
}

template <class S, Into into>
void row_product(int64_t n, int64_t depth, const S *a, const S *b, int64_t b_row, S *c) {
  int64_t j = 0;
  for (; j + 8 * lanes<S> <= padded<S>(n); j += 8 * lanes<S>)
    row_tile<S, 8, into>(depth, a, b + j, b_row, c + j);
  for (; j + 4 * lanes<S> <= padded<S>(n); j += 4 * lanes<S>)
    row_tile<S, 4, into>(depth, a, b + j, b_row, c + j);
  for (; j < padded<S>(n); j += lanes<S>) row_tile<S, 1, into>(depth, a, b + j, b_row, c + j);
}

template <class S>
class Step {
 public:
  static constexpr S kNothing = -std::numeric_limits<S>::infinity();

  explicit Step(const aat_memory_step &call)
      : call_(call),
        map_(source_of(call)),
        features_(padded<S>(call.features)),
        values_(padded<S>(call.value_width)),
        slots_(padded<S>(call.window + call.sinks)),
        points_row_(padded<S>(call.width)) {}

  int64_t prepared_size() const { return map_.scratch(1 + call_.group); }

  int64_t work_size() const {
    return (1 + call_.group) * (features_ + points_row_) + values_ * (1 + call_.group) + slots_;
  }

  void prepare(int64_t head) {
    map_.use(at<S>(call_.prepared, head));
    map_.prepare(head);
  }

  void use(S *work) {
    points_ = work;
    phi_ = points_ + (1 + call_.group) * points_row_;
    value_ = phi_ + (1 + call_.group) * features_;
    out_ = value_ + values_;
    logits_ = out_ + call_.group * values_;
  }

  void run(int64_t head) {
    map_.use(at<S>(call_.prepared, head));
    map_.resume(head);
    for (int64_t row = 0; row < call_.batch; ++row) step(row, head);
  }

 private:
  void step(int64_t row, int64_t head) {
    const S *key = at<S>(call_.key, row, head / call_.copies);
    const S *value = at<S>(call_.value, row, head / call_.copies);
    const int64_t position = *at<int64_t>(call_.length, row);
    S gate = call_.gate.data ? *at<S>(call_.gate, row, head) : S(0);
    if (position < call_.sinks) {
      gate = kNothing;
      put(row, head, call_.window + position, key, value, S(0));
    }
    if (call_.window) {
      gate = through_window(row, head, key, value, gate);
    } else {
      std::memcpy(points_, key, call_.width * sizeof(S));
      std::memcpy(value_, value, call_.value_width * sizeof(S));
    }
    for (int64_t r = 0; r < call_.group; ++r)
      std::memcpy(points_ + (1 + r) * points_row_, query(row, head, r), call_.width * sizeof(S));
    map_.evaluate(1 + call_.group, points_, points_row_, Form::value, phi_, features_);
    const S factor = exp_of(gate);
    for (int64_t s = 0; s < features_; s += lanes<S>) store(phi_ + s, load(phi_ + s) * factor);
    remember(row, head);
    for (int64_t r = 0; r < call_.group; ++r) answer(row, head, r);
  }

  const S *query(int64_t row, int64_t head, int64_t r) const {
    return at<S>(call_.query, row, head * call_.group + r);
  }

  void put(int64_t row, int64_t head, int64_t slot, const S *key, const S *value, S bias) {
    S *keys = at<S>(call_.slot_key, row, head) + slot;
    for (int64_t i = 0; i < call_.width; ++i) keys[i * slots_] = key[i];
    std::memcpy(at<S>(call_.slot_value, row, head) + slot * values_, value,
                call_.value_width * sizeof(S));
    at<S>(call_.slot_bias, row, head)[slot] = bias;
  }

  // The new token takes the oldest one's slot; that one is the first of the points, and `value_`.
  S through_window(int64_t row, int64_t head, const S *key, const S *value, S gate) {
    const S *keys = at<S>(call_.slot_key, row, head) + call_.oldest;
    for (int64_t i = 0; i < call_.width; ++i) points_[i] = keys[i * slots_];
    std::memcpy(value_, at<S>(call_.slot_value, row, head) + call_.oldest * values_,
                values_ * sizeof(S));
    put(row, head, call_.oldest, key, value, gate > kNothing ? S(0) : kNothing);
    S *slot = at<S>(call_.window_gate, row, head) + call_.oldest;
    const S leaving = *slot;
    *slot = gate;
    return leaving;
  }

  void remember(int64_t row, int64_t head) {
    S *mass = at<S>(call_.mass, row, head);
    const bool fades = call_.decay.data != nullptr;
    const S gamma = fades ? exp_of(*at<S>(call_.decay, row, head)) : S(1);
    for (int64_t s = 0; s < features_; s += lanes<S>)
      store(mass + s, load(mass + s) * gamma + load(phi_ + s));
    S *state = at<S>(call_.values, row, head);
    const S *phi = phi_ + features_;
    if (fades)
      each_column<true>(state, gamma, phi, out_);
    else
      each_column<false>(state, gamma, phi, out_);
    for (int64_t r = 1; r < call_.group; ++r)
      row_product<S, Into::overwrite>(call_.value_width, call_.features, phi + r * features_, state,
                                      values_, out_ + r * values_);
  }

  template <bool fades>
  void each_column(S *state, S gamma, const S *phi, S *out) const {
    int64_t column = 0;
    for (; column + 4 * lanes<S> <= values_; column += 4 * lanes<S>)
      columns<4, fades>(state + column, gamma, phi, value_ + column, out + column);
    for (; column < values_; column += lanes<S>)
      columns<1, fades>(state + column, gamma, phi, value_ + column, out + column);
  }

  // S <- gamma S + phi(k) v^T and out = phi(q)^T S for W vectors of columns.
  template <int W, bool fades>
  AAT_INLINE void columns(S *state, S gamma, const S *phi, const S *value, S *out) const {
    Vec<S> v[W], total[W];
    for (int w = 0; w < W; ++w) {
      v[w] = load(value + w * lanes<S>);
      total[w] = Vec<S>{};
    }
    for (int64_t s = 0; s < call_.features; ++s, state += values_)
      for (int w = 0; w < W; ++w) {
        Vec<S> sums = load(state + w * lanes<S>);
        if (fades) sums = sums * gamma;
        sums = v[w] * phi_[s] + sums;
        store(state + w * lanes<S>, sums);
        total[w] = sums * phi[s] + total[w];
      }
    for (int w = 0; w < W; ++w) store(out + w * lanes<S>, total[w]);
  }

  // One normaliser for the memory and the slots.
  void answer(int64_t row, int64_t head, int64_t r) {
    S *out = out_ + r * values_;
    const S mass = product(phi_ + (1 + r) * features_, at<S>(call_.mass, row, head));
    const bool nothing = mass <= std::numeric_limits<S>::min();
    S share = nothing ? S(1) : S(1) / mass;
    if (slots_) {
      const S far = nothing ? kNothing : std::log(mass);
      const S top = weigh_slots(row, head, query(row, head, r), far);
      Vec<S> near{};
      for (int64_t j = 0; j < slots_; j += lanes<S>) near = near + load(logits_ + j);
      const S memory = nothing ? S(0) : exp_of(far - top), total = sum<S>(near) + memory;
      share = total > S(0) ? S(1) / total : S(0);
      add_slots(row, head, out, nothing ? S(0) : memory / mass);
    }
    S *to = at<S>(call_.out, row, head * call_.group + r);
    for (int64_t e = 0; e < values_; e += lanes<S>) store(out + e, load(out + e) * share);
    std::memcpy(to, out, call_.value_width * sizeof(S));
  }

  S product(const S *a, const S *b) const {
    Vec<S> total{};
    for (int64_t s = 0; s < features_; s += lanes<S>) total = load(a + s) * load(b + s) + total;
    return sum<S>(total);
  }

  // logits_ becomes e^(l_j - top); top is the largest of the logits and of `far`.
  S weigh_slots(int64_t row, int64_t head, const S *query, S far) const {
    const S *keys = at<S>(call_.slot_key, row, head), *bias = at<S>(call_.slot_bias, row, head);
    row_product<S, Into::overwrite>(slots_, call_.width, query, keys, slots_, logits_);
    Vec<S> most = splat<S>(far);
    for (int64_t j = 0; j < slots_; j += lanes<S>) {
      const Vec<S> logits = load(logits_ + j) * S(call_.scale) + load(bias + j);
      store(logits_ + j, logits);
      most = maximum<S>(logits, most);
    }
    S top = largest<S>(most);
    if (top == kNothing) top = 0;
    for (int64_t j = 0; j < slots_; j += lanes<S>) store(logits_ + j, exp(load(logits_ + j) - top));
    return top;
  }

  // out <- memory out + sum_j e^(l_j - top) v_j
  void add_slots(int64_t row, int64_t head, S *out, S memory) const {
    for (int64_t e = 0; e < values_; e += lanes<S>) store(out + e, load(out + e) * memory);
    row_product<S, Into::add>(call_.value_width, call_.window + call_.sinks, logits_,
                              at<S>(call_.slot_value, row, head), values_, out);
  }

  const aat_memory_step &call_;
  FeatureMap<S> map_;
  int64_t features_, values_, slots_, points_row_;
  S *points_ = nullptr, *phi_ = nullptr, *value_ = nullptr, *out_ = nullptr, *logits_ = nullptr;
};

template <class S>
int sizes(const aat_memory_step &call) {
  const Step<S> step(call);
  at<int64_t>(call.sizes, 0)[0] = step.prepared_size();
  at<int64_t>(call.sizes, 0)[1] = step.work_size();
  return AAT_OK;
}

template <class S>
int prepare(const aat_memory_step &call) {
  Step<S> step(call);
  for (int64_t head = 0; head < call.heads; ++head) step.prepare(head);
  return AAT_OK;
}

template <class S>
int run(const aat_memory_step &call) {
  parallel_for(call.heads, call.threads, [&](int64_t head, int64_t worker) {
    Step<S> step(call);
    step.use(at<S>(call.work, worker));
    step.run(head);
  });
  for (int64_t row = 0; row < call.batch; ++row) *at<int64_t>(call.length, row) += 1;
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_memory_step_sizes_f32(const aat_memory_step *call) {
  return aat::sizes<float>(*call);
}
AAT_EXPORT int aat_memory_step_sizes_f64(const aat_memory_step *call) {
  return aat::sizes<double>(*call);
}
AAT_EXPORT int aat_memory_step_prepare_f32(const aat_memory_step *call) {
  return aat::prepare<float>(*call);
}
AAT_EXPORT int aat_memory_step_prepare_f64(const aat_memory_step *call) {
  return aat::prepare<double>(*call);
}
AAT_EXPORT int aat_memory_step_f32(const aat_memory_step *call) { return aat::run<float>(*call); }
AAT_EXPORT int aat_memory_step_f64(const aat_memory_step *call) { return aat::run<double>(*call); }
}
