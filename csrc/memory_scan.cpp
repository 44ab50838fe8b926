// Attention with a memory of fixed size, in order, or reading and answering one after the other.
//
//     S_t = gamma_t S_(t-1) + g_t phi(k_t) v_t^T      z_t = gamma_t z_(t-1) + g_t phi(k_t)
//     out_t = phi(q_t)^T S_t / m_t                    m_t = phi(q_t) . z_t,  lse_t = log m_t
//
// Features known by their logarithms l are kept relative to a level for each feature, the largest
// logarithm so far, which decays as the sums do:
//
//     L_t = max(L_(t-1) + log gamma_t, l(k_t) + log g_t)
//     S_t = e^(L_(t-1) + log gamma_t - L_t) S_(t-1) + e^(l(k_t) + log g_t - L_t) v_t^T
//
// so all factors are <= 1, and nothing overflows. One thread takes one head of one row.
#include <cmath>

#include "feature_map.h"
#include "interface/memory.h"
#include "memory_walk.h"
#include "threads.h"

namespace aat {
namespace {

constexpr int64_t kBlock = 24;  // tokens; queries and keys of a block stay in the first cache

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j) {
  return static_cast<S *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

template <class S>
class Head {
 public:
  static int64_t scratch(const aat_memory_scan &call) {
    const int64_t features = padded<S>(call.features), values = padded<S>(call.value_width);
    const int64_t rows = kBlock * call.group;
    return FeatureMap<S>(source_of(call)).scratch(kBlock) + (2 * kBlock + rows + 3) * features +
           (kBlock + rows + call.features) * values + (2 + lanes<S>) * padded<S>(rows);
  }

  Head(const aat_memory_scan &call, S *memory)
      : call_(call),
        map_(source_of(call)),
        features_(padded<S>(call.features)),
        values_(padded<S>(call.value_width)),
        forget_(call.logarithms   ? Forget::apart
                : call.decay.data ? Forget::together
                                  : Forget::never) {
    auto take = [&](int64_t count) {
      S *taken = memory;
      memory += count;
      return taken;
    };
    map_.use(take(map_.scratch(kBlock)));
    written_ = take(kBlock * features_);
    gamma_ = take(kBlock * features_);
    read_ = take(kBlock * call.group * features_);
    mass_ = take(features_);
    mass_low_ = take(features_);
    level_ = take(features_);
    value_ = take(kBlock * values_);
    out_ = take(kBlock * call.group * values_);
    state_ = take(call.features * values_);
    total_ = take(padded<S>(kBlock * call.group));
    top_ = take(padded<S>(kBlock * call.group));
    partial_ = take(lanes<S> * padded<S>(kBlock * call.group));
  }

  void run(int64_t b, int64_t h) {
    b_ = b, h_ = h;
    map_.prepare(h);
    start();
    int64_t block;
    for (int64_t t = 0; t < call_.tokens; t += block) {
      block = call_.tokens - t < kBlock ? call_.tokens - t : kBlock;
      if (call_.every) {
        if (t % call_.every == 0) keep(t / call_.every);
        const int64_t until = call_.every - t % call_.every;
        if (until < block) block = until;
      }
      if (call_.key.data) take_keys(t, block);
      if (call_.query.data) take_queries(t, block);
      if (call_.key.data)
        in_order(t, block);
      else
        from_fixed(block);
      if (call_.query.data) give(t, block);
    }
    // Without tokens there is no address of a key, but there are sums.
    if (call_.values.data) finish();
  }

 private:
  static constexpr S kNothing = -std::numeric_limits<S>::infinity();

  Form form() const { return call_.logarithms ? Form::logarithm : Form::value; }

  void start() {
    const S *values = at<S>(call_.initial_values, b_, h_);
    for (int64_t s = 0; s < call_.features; ++s)
      copy_row(values + s * call_.initial_values.stride[2], call_.value_width,
               state_ + s * values_, values_, 0);
    copy_row(at<S>(call_.initial_mass, b_, h_), call_.features, mass_, features_, 0);
    std::memset(mass_low_, 0, features_ * sizeof(S));
    if (call_.logarithms)
      copy_row(at<S>(call_.initial_level, b_, h_), call_.features, level_, features_, kNothing);
  }

  void finish() const {
    S *values = at<S>(call_.values, b_, h_);
    for (int64_t s = 0; s < call_.features; ++s)
      std::memcpy(values + s * call_.values.stride[2], state_ + s * values_,
                  call_.value_width * sizeof(S));
    std::memcpy(at<S>(call_.mass, b_, h_), mass_, call_.features * sizeof(S));
    if (call_.logarithms)
      std::memcpy(at<S>(call_.level, b_, h_), level_, call_.features * sizeof(S));
  }

  void keep(int64_t n) const {
    S *values = at<S>(call_.kept_values, b_ * call_.heads + h_, n);
    for (int64_t s = 0; s < call_.features; ++s)
      std::memcpy(values + s * call_.value_width, state_ + s * values_,
                  call_.value_width * sizeof(S));
    std::memcpy(at<S>(call_.kept_mass, b_ * call_.heads + h_, n), mass_,
                call_.features * sizeof(S));
  }

  static void copy_row(const S *from, int64_t count, S *to, int64_t row, S rest) {
    std::memcpy(to, from, count * sizeof(S));
    for (int64_t i = count; i < row; ++i) to[i] = rest;
  }

  void take_keys(int64_t t, int64_t block) {
    const S *key = at<S>(call_.key, b_, h_) + t * call_.key.stride[2];
    map_.evaluate(block, key, call_.key.stride[2], form(), written_, features_);
    const S *value = at<S>(call_.value, b_, h_) + t * call_.value.stride[2];
    for (int64_t n = 0; n < block; ++n)
      copy_row(value + n * call_.value.stride[2], call_.value_width, value_ + n * values_, values_,
               0);
    if (!call_.gate.data) return;
    const S *gate = at<S>(call_.gate, b_, h_) + t * call_.gate.stride[2];
    for (int64_t n = 0; n < block; ++n) {
      const S log = gate[n * call_.gate.stride[2]], factor = exp_of(log);
      S *row = written_ + n * features_;
      for (int64_t s = 0; s < features_; s += lanes<S>)
        store(row + s, call_.logarithms ? load(row + s) + log : load(row + s) * factor);
    }
  }

  void take_queries(int64_t t, int64_t block) {
    for (int64_t r = 0; r < call_.group; ++r) {
      const S *query =
          at<S>(call_.query, b_, h_ * call_.group + r) + t * call_.query.stride[2];
      map_.evaluate(block, query, call_.query.stride[2], form(), read_ + r * features_,
                    call_.group * features_);
    }
    std::memset(out_, 0, block * call_.group * values_ * sizeof(S));
  }

  // Both recurrences over the block: first of masses (and levels), then of values.
  void in_order(int64_t t, int64_t block) {
    const S *decay = nullptr;
    if (call_.decay.data) decay = at<S>(call_.decay, b_, h_) + t * call_.decay.stride[2];
    if (call_.logarithms) {
      for (int64_t n = 0; n < block; ++n) {
        raise_levels(decay, written_ + n * features_, gamma_ + n * features_);
        if (decay) decay += call_.decay.stride[2];
        for (int64_t q = n * call_.group; q < (n + 1) * call_.group; ++q) weigh_logarithms(q);
      }
    } else if (decay) {
      for (int64_t n = 0; n < block; ++n) gamma_[n] = exp_of(decay[n * call_.decay.stride[2]]);
      weigh<true, true>(block);
    } else {
      weigh<true, false>(block);
    }
    walk<S>({block, call_.group, call_.features, call_.value_width, written_, read_, gamma_,
             features_, value_, out_, values_, state_},
            forget_);
  }

  void from_fixed(int64_t block) {
    if (call_.logarithms)
      for (int64_t q = 0; q < block * call_.group; ++q) weigh_logarithms(q);
    else
      weigh<false, false>(block);
    gemm<S, Into::add>(block * call_.group, call_.value_width, call_.features,
                       Left<S>{read_, features_, 1}, state_, values_, out_, values_);
  }

  // The masses that queries find, while keys (if there are any) add to them. What rounding takes
  // from a sum is given back with the next term (Kahan): the background adds the same number at
  // each token, whose error would else grow with their count.
  template <bool keys, bool forget>
  void weigh(int64_t block) {
    const int64_t group = call_.group, rows = block * group;
    std::memset(partial_, 0, rows * lanes<S> * sizeof(S));
    for (int64_t s = 0; s < features_; s += lanes<S>) {
      Vec<S> mass = load(mass_ + s), low = load(mass_low_ + s);
      const S *read = read_ + s;
      S *partial = partial_;
      for (int64_t n = 0; n < block; ++n) {
        if (forget) mass = mass * gamma_[n], low = low * gamma_[n];
        if (keys) {
          const Vec<S> fresh = load(written_ + n * features_ + s) - low, added = mass + fresh;
          low = (added - mass) - fresh;
          mass = added;
        }
        for (int64_t r = 0; r < group; ++r, read += features_, partial += lanes<S>)
          store(partial, load(read) * mass + load(partial));
      }
      if (keys) store(mass_ + s, mass), store(mass_low_ + s, low);
    }
    for (int64_t q = 0; q < rows; q += lanes<S>) {
      Vec<S> lane[lanes<S>], total{};
      for (int i = 0; i < lanes<S>; ++i) lane[i] = load(partial_ + (q + i) * lanes<S>);
      transpose_square<S>(lane);
      for (int i = 0; i < lanes<S>; ++i) total += lane[i];
      store(total_ + q, total);
    }
  }

  // Logarithms become factors: those of the new key, and those of what was read before; the masses
  // follow.
  void raise_levels(const S *decay, S *written, S *gamma) {
    for (int64_t s = 0; s < features_; s += lanes<S>) {
      Vec<S> kept = load(level_ + s);
      if (decay) kept += call_.decays == 1 ? splat<S>(*decay) : load_decay(decay, s);
      const Vec<S> fresh = load(written + s), level = maximum<S>(kept, fresh);
      const IntVec<S> higher = fresh > kept;
      const Vec<S> below = exp(select<S>(higher, kept - fresh, fresh - kept));
      const Vec<S> one = splat<S>(1);
      // Where nothing has been read the level is -inf, and a difference of two is no number.
      store(written + s, select<S>(level == kNothing, Vec<S>{}, select<S>(higher, one, below)));
      store(gamma + s, select<S>(higher, below, one));
      store(level_ + s, level);
      store(mass_ + s, load(mass_ + s) * load(gamma + s) + load(written + s));
    }
  }

  Vec<S> load_decay(const S *decay, int64_t s) const {
    if (s + lanes<S> <= call_.features) return load(decay + s);
    Vec<S> rest{};
    for (int64_t i = s; i < call_.features; ++i) rest[i - s] = decay[i];
    return rest;
  }

  // Logarithms become weights relative to the largest; the mass that they find.
  void weigh_logarithms(int64_t q) {
    S *read = read_ + q * features_;
    Vec<S> most = splat<S>(kNothing);
    for (int64_t s = 0; s < features_; s += lanes<S>) {
      const Vec<S> logs = load(read + s) + load(level_ + s);
      store(read + s, logs);
      most = maximum<S>(logs, most);
    }
    S top = largest<S>(most);
    if (top == kNothing) top = 0;
    Vec<S> total{};
    for (int64_t s = 0; s < features_; s += lanes<S>) {
      const Vec<S> weight = exp(load(read + s) - top);
      store(read + s, weight);
      total = weight * load(mass_ + s) + total;
    }
    top_[q] = top;
    total_[q] = sum<S>(total);
  }

  void give(int64_t t, int64_t block) const {
    for (int64_t r = 0; r < call_.group; ++r) {
      const int64_t head = h_ * call_.group + r;
      S *out = at<S>(call_.out, b_, head) + t * call_.out.stride[2];
      S *lse = at<S>(call_.lse, b_, head) + t;
      for (int64_t n = 0; n < block; ++n, out += call_.out.stride[2]) {
        const int64_t q = n * call_.group + r;
        const bool nothing = total_[q] <= std::numeric_limits<S>::min();
        lse[n] = nothing ? kNothing : std::log(total_[q]) + (call_.logarithms ? top_[q] : S(0));
        S *row = out_ + q * values_;
        const S share = nothing ? S(1) : S(1) / total_[q];
        int64_t e = 0;
        for (; e + lanes<S> <= call_.value_width; e += lanes<S>)
          store(out + e, load(row + e) * share);
        for (; e < call_.value_width; ++e) out[e] = row[e] * share;
      }
    }
  }

  const aat_memory_scan &call_;
  FeatureMap<S> map_;
  int64_t features_, values_, b_ = 0, h_ = 0;
  Forget forget_;
  S *written_, *gamma_, *read_, *mass_, *mass_low_, *level_, *value_, *out_, *state_, *total_, *top_, *partial_;
};

template <class S>
int scan(const aat_memory_scan &call) {
  const int64_t items = call.batch * call.heads;
  if (!items) return AAT_OK;
  const int64_t threads = call.threads < 1 ? 1 : call.threads < items ? call.threads : items;
  // Whole cache lines for each thread.
  const int64_t size = (Head<S>::scratch(call) + 63) / 64 * 64;
  Scratch<S> memory(threads * size);
  if (!memory.ok()) return AAT_NO_MEMORY;
  parallel_for(items, threads, [&](int64_t item, int64_t worker) {
    Head<S>(call, memory.get() + worker * size).run(item / call.heads, item % call.heads);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_memory_scan_f32(const aat_memory_scan *call) { return aat::scan<float>(*call); }
AAT_EXPORT int aat_memory_scan_f64(const aat_memory_scan *call) { return aat::scan<double>(*call); }
}
