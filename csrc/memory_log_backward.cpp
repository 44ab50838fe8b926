// Gradients of attention with a memory of fixed size whose features are known by their logarithms.
//
//     w_tj = sum_s e^(l_s(q_t) + l_s(k_j) + log g_j + log gamma_(j, t]s),  m_t = sum_j w_tj
//     out_t = sum_j w_tj v_j / m_t,  lse_t = log m_t
//
// Results do not depend on the levels of sums, so levels are constants. Inside a piece
// (memory_log_pieces.h) the memory forgets nothing: S'_t = S'_(t-1) + phi'(k_t) [v_t, 1]^T. With
// phi'(q_t) = e^(l(q_t) + Gamma_t + C - lse_t), whose weights w_tj have the sum 1, with
// N_t = [d out_t, d lse_t - d out_t . out_t], and with G carried from the end of the piece,
// beginning with the gradient of the last sums:
//
//     G_t = G_(t+1) + phi'(q_t) N_t^T                d l(q_t) = phi'(q_t) * S'_t N_t
//     d [v_t, 1] = G_t^T phi'(k_t)                   d l(k_t) = phi'(k_t) * G_t [v_t, 1]
//     d log g_t = sum_s d l_s(k_t)
//     d log gamma_t = d log gamma_(t+1) + d l(q_t) - d l(k_t), for each feature
//     G_before = e^(L_(a-1) + log gamma_a - C) G_a
//
// The first pass goes through time with S and finds d l(q); the second goes back with G and finds
// the rest. d log gamma starts again from <G, S> at the end of each block, so that no long sum of
// differences loses digits. Nothing is kept that grows with T but a level for each window, and, if
// decays have gradients, the sums after each block.
#include "interface/memory_backward.h"
#include "memory_log_pieces.h"

namespace aat {
namespace {

constexpr int64_t kWindow = 64;  // tokens whose features are evaluated and divided at once
constexpr int64_t kStep = 16;    // of the staircase below which pairs are causal
// An odd number of cache lines, so that few rows of a matrix of pairs share a set of the cache.
constexpr int64_t kPairs = kWindow + 16;

template <class S>
class LogHead {
  static_assert(kWindow == LogPieces<S>::kMost, "a window is what is divided at once");

 public:
  LogHead(const aat_memory_log_backward &call, Shelf<S> &shelf)
      : call_(call),
        map_(source_of(call)),
        gradients_(source_of(call), map_),
        pieces_(call.features, shelf) {
    const int64_t e = call.value_width + 1;
    map_.use(shelf.take(map_.scratch(kWindow)));
    gradients_.use(shelf.take(gradients_.scratch(kWindow)), kWindow);
    levels_ = shelf.take(windows() * row());
    kept_ = call.decay_grad.data ? shelf.take(blocks() * state()) : nullptr;
    sums_ = shelf.take(state());
    carried_ = shelf.take(state());
    points_ = shelf.take(kWindow * map_.point_row());
    read_ = shelf.take(kWindow * row());
    slopes_ = shelf.take(kWindow * row());
    normaliser_ = shelf.take(kWindow * e_row());
    value_ = shelf.take(kWindow * e_row());
    written_t_ = shelf.take(call.features * kPairs);
    value_t_ = shelf.take(e * kPairs);
    value_grad_t_ = shelf.take(e * kPairs);
    pairs_ = shelf.take(kWindow * kPairs);
    weights_ = shelf.take(kWindow * kPairs);
    after_ = shelf.take(row());
  }

  void run(int64_t b, int64_t h) {
    b_ = b, h_ = h;
    map_.prepare(h);
    gradients_.prepare(h);
    const S *level = at<S>(call_.initial_level, b, h);
    for (int64_t s = 0; s < row(); ++s)
      pieces_.level()[s] = s < call_.features ? level[s] : kNothing;
    load_sums(at<S>(call_.initial_values, b, h), call_.initial_values.stride[2],
              at<S>(call_.initial_mass, b, h), call_.features, width(), sums_);
    for (int64_t n = 0; n < windows(); ++n) go_on(n);
    load_sums(at<S>(call_.after_values_grad, b, h), call_.after_values_grad.stride[2],
              at<S>(call_.after_mass_grad, b, h), call_.features, width(), carried_);
    for (int64_t n = windows() - 1; n >= 0; --n) go_back(n);
    store_sums(carried_, call_.features, width(), at<S>(call_.values_grad, b, h),
               call_.values_grad.stride[2], at<S>(call_.mass_grad, b, h));
    if (call_.weights_grad.data)
      gradients_.give(at<S>(call_.offset_grad, b, h), at<S>(call_.weights_grad, b, h),
                      call_.weights_grad.stride[2]);
  }

 private:
  static constexpr S kNothing = -std::numeric_limits<S>::infinity();

  int64_t width() const { return call_.value_width; }
  int64_t row() const { return padded<S>(call_.features); }
  int64_t e_row() const { return padded<S>(width() + 1); }
  int64_t state() const { return (width() + 1) * row(); }
  int64_t windows() const { return (call_.tokens + kWindow - 1) / kWindow; }

  // Windows of a block: more for more features, so that sums kept stay few beside the gradients.
  int64_t block() const {
    const int64_t count = (4 * call_.features + kWindow - 1) / kWindow;
    return count < 4 ? 4 : count > 32 ? 32 : count;
  }
  int64_t blocks() const { return (windows() + block() - 1) / block(); }
  bool ends_block(int64_t n) const { return n + 1 == windows() || (n + 1) % block() == 0; }
  int64_t length(int64_t start) const {
    return call_.tokens - start < kWindow ? call_.tokens - start : kWindow;
  }

  // Features of the keys of a window, from the level before it.
  void take_keys(int64_t n) {
    const int64_t start = n * kWindow, count = length(start);
    if (!call_.key.data) return pieces_.hold(count);
    S *logs = pieces_.logs();
    map_.evaluate(count, at<S>(call_.key, b_, h_, start), call_.key.stride[2], Form::logarithm,
                  logs, row());
    if (call_.gate.data)
      for (int64_t t = 0; t < count; ++t) {
        const S gate = *at<S>(call_.gate, b_, h_, start + t);
        for (int64_t s = 0; s < row(); s += lanes<S>)
          store(logs + t * row() + s, load(logs + t * row() + s) + gate);
      }
    pieces_.divide(count, at<S>(call_.decay, b_, h_, start), call_.decay.stride[2], call_.decays);
  }

  // The first pass: d l(q) of a window, and S carried to its end.
  void go_on(int64_t n) {
    std::memcpy(levels_ + n * row(), pieces_.level(), row() * sizeof(S));
    take_keys(n);
    const int64_t start = n * kWindow;
    for (int64_t p = 0; p < pieces_.count(); ++p) {
      const int64_t first = pieces_.first(p), count = pieces_.end(p) - first;
      scale_features(pieces_.carry(p), sums_);
      if (call_.key.data) load_values(start + first, count);
      if (call_.decay_grad.data) clear_decay_grad(start + first, count);
      for (int64_t r = 0; r < call_.group; ++r)
        give_queries(start, first, count, h_ * call_.group + r);
      if (call_.key.data)
        gemm<S, Into::add>(width() + 1, call_.features, count, {value_, 1, e_row()},
                           pieces_.written(first), row(), sums_, row());
    }
    if (kept_ && ends_block(n))
      std::memcpy(kept_ + n / block() * state(), sums_, state() * sizeof(S));
  }

  void scale_features(const S *factor, S *sums) const {
    for (int64_t e = 0; e <= width(); ++e, sums += row())
      for (int64_t s = 0; s < row(); s += lanes<S>)
        store(sums + s, load(sums + s) * load(factor + s));
  }

  // [v, 1], and the same with tokens along rows; zeros past the last token.
  void load_values(int64_t start, int64_t count) {
    const S *value = at<S>(call_.value, b_, h_, start);
    for (int64_t n = 0; n < count; ++n) {
      std::memcpy(value_ + n * e_row(), value + n * call_.value.stride[2], width() * sizeof(S));
      value_[n * e_row() + width()] = 1;
    }
    if (count < kWindow) std::memset(value_t_, 0, (width() + 1) * kPairs * sizeof(S));
    transpose(count, width() + 1, value_, e_row(), value_t_, kPairs);
  }

  // phi'(q) and N of a piece.
  void ask(int64_t start, int64_t first, int64_t count, int64_t head) {
    const S *lse = at<S>(call_.lse, b_, head) + start + first;
    map_.evaluate(count, at<S>(call_.query, b_, head, start + first), call_.query.stride[2],
                  Form::logarithm, read_, row());
    normaliser_gradients<S, true>(call_, b_, head, start + first, count, normaliser_);
    for (int64_t n = 0; n < count; ++n) {
      S *read = read_ + n * row();
      const S *shift = pieces_.shift(first + n);
      if (lse[n] == kNothing) {
        std::memset(read, 0, row() * sizeof(S));
        continue;
      }
      for (int64_t s = 0; s < row(); s += lanes<S>)
        store(read + s, exp(load(read + s) + (load(shift + s) - lse[n])));
    }
  }

  void give_queries(int64_t start, int64_t first, int64_t count, int64_t head) {
    ask(start, first, count, head);
    gemm<S, Into::overwrite>(count, call_.features, width() + 1, {normaliser_, e_row(), 1}, sums_,
                             row(), slopes_, row());
    if (call_.key.data) {
      weigh_pairs(count, nullptr);
      for (int64_t i = 0; i < count; i += kStep) {
        const int64_t rows = count - i < kStep ? count - i : kStep;
        gemm<S, Into::add>(rows, call_.features, i + rows, {pairs_ + i * kPairs, kPairs, 1},
                           pieces_.written(first), row(), slopes_ + i * row(), row());
      }
    }
    to_logarithms(count, read_);
    if (call_.decay_grad.data) add_decay_grad(start + first, count);
    if (call_.weights_grad.data) gradients_.to_parameters(count, slopes_, map_.points());
    if (call_.query_grad.data)
      gradients_.to_points(count, slopes_, at<S>(call_.query, b_, head, start + first),
                           call_.query.stride[2], map_.points(),
                           at<S>(call_.query_grad, b_, head, start + first),
                           call_.query_grad.stride[2]);
  }

  void to_logarithms(int64_t count, const S *phi) const {
    for (int64_t i = 0; i < count * row(); i += lanes<S>)
      store(slopes_ + i, load(slopes_ + i) * load(phi + i));
  }

  // d w_ij = N_i . [v_j, 1] for j <= i; with the keys' features also w_ij.
  void weigh_pairs(int64_t count, const S *written_t) {
    for (int64_t i = 0; i < count; i += kStep) {
      const int64_t rows = count - i < kStep ? count - i : kStep, columns = i + kStep;
      gemm<S, Into::overwrite>(rows, columns, width() + 1, {normaliser_ + i * e_row(), e_row(), 1},
                               value_t_, kPairs, pairs_ + i * kPairs, kPairs);
      make_causal(i, rows, columns, pairs_ + i * kPairs);
      if (!written_t) continue;
      gemm<S, Into::overwrite>(rows, columns, call_.features, {read_ + i * row(), row(), 1},
                               written_t, kPairs, weights_ + i * kPairs, kPairs);
      make_causal(i, rows, columns, weights_ + i * kPairs);
    }
  }

  static void make_causal(int64_t first, int64_t rows, int64_t columns, S *pairs) {
    for (int64_t i = first; i < first + rows; ++i, pairs += kPairs)
      for (int64_t j = i + 1; j < columns; ++j) pairs[j] = 0;
  }

  // The second pass: gradients of the keys of a window, and G carried to its beginning.
  void go_back(int64_t n) {
    std::memcpy(pieces_.level(), levels_ + n * row(), row() * sizeof(S));
    take_keys(n);
    if (kept_ && ends_block(n)) begin_decay_grad(kept_ + n / block() * state());
    const int64_t start = n * kWindow;
    for (int64_t p = pieces_.count() - 1; p >= 0; --p) {
      const int64_t first = pieces_.first(p), count = pieces_.end(p) - first;
      if (call_.key.data) read_back(start + first, first, count);
      for (int64_t r = 0; r < call_.group; ++r) {
        ask(start, first, count, h_ * call_.group + r);
        if (call_.key.data) spread_pairs(count);
        gemm<S, Into::add>(width() + 1, call_.features, count, {normaliser_, 1, e_row()}, read_,
                           row(), carried_, row());
      }
      if (call_.key.data) give_keys(start + first, first, count);
      scale_features(pieces_.carry(p), carried_);
    }
  }

  // What keys and values get of later pieces.
  void read_back(int64_t start, int64_t first, int64_t count) {
    load_values(start, count);
    gemm<S, Into::overwrite>(count, call_.features, width() + 1, {value_, e_row(), 1}, carried_,
                             row(), slopes_, row());
    if (!call_.value_grad.data) return;
    if (count < kWindow) std::memset(written_t_, 0, call_.features * kPairs * sizeof(S));
    transpose(count, call_.features, pieces_.written(first), row(), written_t_, kPairs);
    gemm<S, Into::overwrite>(width(), kWindow, call_.features, {carried_, row(), 1}, written_t_,
                             kPairs, value_grad_t_, kPairs);
  }

  // What they get of queries of their own piece.
  void spread_pairs(int64_t count) {
    weigh_pairs(count, call_.value_grad.data ? written_t_ : nullptr);
    for (int64_t j = 0; j < count; j += kStep) {
      const int64_t rows = count - j < kStep ? count - j : kStep, corner = j * kPairs + j;
      gemm<S, Into::add>(rows, call_.features, count - j, {pairs_ + corner, 1, kPairs},
                         read_ + j * row(), row(), slopes_ + j * row(), row());
      if (call_.value_grad.data)
        gemm<S, Into::add>(width(), kStep, count - j, {normaliser_ + j * e_row(), 1, e_row()},
                           weights_ + corner, kPairs, value_grad_t_ + j, kPairs);
    }
  }

  void give_keys(int64_t start, int64_t first, int64_t count) {
    const S *x = at<S>(call_.key, b_, h_, start);
    const int64_t x_row = call_.key.stride[2];
    to_logarithms(count, pieces_.written(first));
    if (call_.gate_grad.data)
      for (int64_t n = 0; n < count; ++n)
        at<S>(call_.gate_grad, b_, h_)[start + n] = total(slopes_ + n * row());
    if (call_.decay_grad.data) give_decay_grad(start, count);
    if (map_.depth()) map_.expand(count, x, x_row, points_);
    if (call_.weights_grad.data) gradients_.to_parameters(count, slopes_, points_);
    if (call_.key_grad.data)
      gradients_.to_points(count, slopes_, x, x_row, points_,
                           at<S>(call_.key_grad, b_, h_, start), call_.key_grad.stride[2]);
    if (!call_.value_grad.data) return;
    // Turned in scratch, because writing far apart waits for memory.
    transpose(width(), count, value_grad_t_, kPairs, value_, e_row());
    for (int64_t n = 0; n < count; ++n)
      std::memcpy(at<S>(call_.value_grad, b_, h_, start + n), value_ + n * e_row(),
                  width() * sizeof(S));
  }

  S total(const S *slopes) const {
    Vec<S> total{};
    for (int64_t s = 0; s < row(); s += lanes<S>) total += load(slopes + s);
    return sum<S>(total);
  }

  // Until the second pass d log gamma_t holds d l(q_t) of all queries of that time.
  void clear_decay_grad(int64_t start, int64_t count) {
    for (int64_t n = 0; n < count; ++n)
      std::memset(at<S>(call_.decay_grad, b_, h_, start + n), 0, call_.decays * sizeof(S));
  }

  void add_decay_grad(int64_t start, int64_t count) {
    for (int64_t n = 0; n < count; ++n) {
      S *to = at<S>(call_.decay_grad, b_, h_, start + n);
      const S *slopes = slopes_ + n * row();
      if (call_.decays == 1)
        *to += total(slopes);
      else
        for (int64_t s = 0; s < call_.features; ++s) to[s] += slopes[s];
    }
  }

  // <G, S> at the end of a block, for each feature.
  void begin_decay_grad(const S *sums) {
    for (int64_t s = 0; s < row(); s += lanes<S>) {
      Vec<S> both{};
      for (int64_t e = 0; e <= width(); ++e)
        both = load(carried_ + e * row() + s) * load(sums + e * row() + s) + both;
      store(after_ + s, both);
    }
    if (call_.decays == 1) after_[0] = total(after_);
  }

  void give_decay_grad(int64_t start, int64_t count) {
    for (int64_t n = count - 1; n >= 0; --n) {
      S *to = at<S>(call_.decay_grad, b_, h_, start + n);
      const S *slopes = slopes_ + n * row();
      if (call_.decays == 1)
        *to = after_[0] += *to - total(slopes);
      else
        for (int64_t s = 0; s < call_.features; ++s) to[s] = after_[s] += to[s] - slopes[s];
    }
  }

  const aat_memory_log_backward &call_;
  FeatureMap<S> map_;
  FeatureGradients<S> gradients_;
  LogPieces<S> pieces_;
  int64_t b_ = 0, h_ = 0;
  S *levels_, *kept_, *sums_, *carried_, *points_, *read_, *slopes_, *normaliser_, *value_,
      *written_t_, *value_t_, *value_grad_t_, *pairs_, *weights_, *after_;
};

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_memory_log_backward_f32(const aat_memory_log_backward *call) {
  return aat::each_head<float, aat::LogHead<float>>(*call);
}
AAT_EXPORT int aat_memory_log_backward_f64(const aat_memory_log_backward *call) {
  return aat::each_head<double, aat::LogHead<double>>(*call);
}
}
