// Gradients of attention with a memory of fixed size, read in order.
//
//     S_t = gamma_t S_(t-1) + g_t phi(k_t) [v_t, 1]^T        S [F, E + 1]
//     [n_t, m_t] = phi(q_t)^T S_t,  out = n / m,  lse = log m
//
// With N_t = [d n_t, d m_t], and G carried from the end, beginning with the gradient of the last S:
//
//     G_t = phi(q_t) N_t^T + gamma_(t+1) G_(t+1)
//     d phi(q_t) = S_t N_t,  d phi(k_t) = g_t G_t [v_t, 1],  d [v_t, 1] = g_t G_t^T phi(k_t)
//     d log g_t = phi(k_t) . d phi(k_t)
//     d log gamma_t = <G_t, gamma_t S_(t-1)>
//                   = d log gamma_(t+1) + phi(q_t) . d phi(q_t) - phi(k_t) . d phi(k_t)
//
// Blocks are taken from the last to the first. In each the sums before its chunks are found from
// those before the block; inside a chunk pairs are weighed in matrices. d log gamma starts again
// from <G, S> at the end of each chunk, so that no long sum of differences loses digits. Features
// are evaluated again, and nothing is kept that grows with T but the sums before each block.
#include "interface/memory_backward.h"
#include "memory_gradients.h"

namespace aat {
namespace {

constexpr int64_t kChunk = 64;  // tokens whose pairs are weighed
constexpr int64_t kStep = 16;   // of the staircase below which pairs are causal
// An odd number of cache lines, so that few rows of a matrix of pairs share a set of the cache.
constexpr int64_t kPairs = kChunk + 16;

template <class S>
class Head {
 public:
  Head(const aat_memory_scan_backward &call, Shelf<S> &shelf)
      : call_(call), map_(source_of(call)), gradients_(source_of(call), map_) {
    const int64_t e = call.value_width + 1, chunk_features = kChunk * row();
    map_.use(shelf.take(map_.scratch(kChunk)));
    gradients_.use(shelf.take(gradients_.scratch(kChunk)), kChunk);
    kept_ = call.every ? nullptr : shelf.take(blocks() * state());
    sums_ = shelf.take((block() / kChunk + 1) * state());
    carried_ = shelf.take(state());
    written_ = shelf.take(block() * row());
    written_t_ = shelf.take(call.features * kPairs);
    value_ = shelf.take(kChunk * e_row());
    value_t_ = shelf.take(e * kPairs);
    value_grad_t_ = shelf.take(e * kPairs);
    written_grad_ = shelf.take(chunk_features);
    points_ = shelf.take(kChunk * map_.point_row());
    read_ = shelf.take(chunk_features);
    read_grad_ = shelf.take(chunk_features);
    normaliser_ = shelf.take(kChunk * e_row());
    before_ = shelf.take(kChunk * e_row());
    pairs_ = shelf.take(kChunk * kPairs);
    weights_ = shelf.take(kChunk * kPairs);
    between_ = shelf.take(kChunk * kPairs);
    since_ = shelf.take(kChunk);
    until_ = shelf.take(kChunk);
    factor_ = shelf.take(kChunk);
    of_queries_ = shelf.take(kChunk);
    of_keys_ = shelf.take(kChunk);
  }

  void run(int64_t b, int64_t h) {
    b_ = b, h_ = h;
    map_.prepare(h);
    gradients_.prepare(h);
    if (!call_.every) find_sums();
    load_sums(at<S>(call_.after_values_grad, b, h), call_.after_values_grad.stride[2],
              at<S>(call_.after_mass_grad, b, h), call_.features, width(), carried_);
    for (int64_t n = blocks() - 1; n >= 0; --n) {
      recall_sums(n);
      read_keys(n);
      for (int64_t c = chunks(n) - 1; c >= 0; --c) go_back(n * block() + c * kChunk, c);
    }
    store_sums(carried_, call_.features, width(), at<S>(call_.values_grad, b, h),
               call_.values_grad.stride[2], at<S>(call_.mass_grad, b, h));
    if (call_.weights_grad.data)
      gradients_.give(at<S>(call_.offset_grad, b, h), at<S>(call_.weights_grad, b, h),
                      call_.weights_grad.stride[2]);
  }

 private:
  int64_t width() const { return call_.value_width; }
  int64_t row() const { return padded<S>(call_.features); }
  int64_t e_row() const { return padded<S>(width() + 1); }
  int64_t state() const { return (width() + 1) * row(); }

  // Longer for more features, so that the sums before each stay few beside the gradients.
  int64_t block() const {
    if (call_.every) return call_.every;
    const int64_t tokens = (4 * call_.features + kChunk - 1) / kChunk * kChunk;
    return tokens < 256 ? 256 : tokens > 2048 ? 2048 : tokens;
  }
  int64_t blocks() const { return (call_.tokens + block() - 1) / block(); }
  int64_t chunks(int64_t n) const {
    const int64_t rest = call_.tokens - n * block();
    return ((rest < block() ? rest : block()) + kChunk - 1) / kChunk;
  }
  int64_t length(int64_t start) const {
    return call_.tokens - start < kChunk ? call_.tokens - start : kChunk;
  }

  bool sums_matter() const { return call_.group > 0 || call_.decay_grad.data; }

  void load_initial() {
    load_sums(at<S>(call_.initial_values, b_, h_), call_.initial_values.stride[2],
              at<S>(call_.initial_mass, b_, h_), call_.features, width(), sums_);
  }

  // The sums before each block, in one pass over the keys.
  void find_sums() {
    if (!sums_matter()) return;
    load_initial();
    for (int64_t n = 0; n < blocks(); ++n) {
      std::memcpy(kept_ + n * state(), sums_, state() * sizeof(S));
      if (n + 1 == blocks()) return;
      read_keys(n);
      std::memcpy(sums_, sums_ + chunks(n) * state(), state() * sizeof(S));
    }
  }

  void recall_sums(int64_t n) {
    if (!sums_matter()) return;
    if (!call_.every)
      std::memcpy(sums_, kept_ + n * state(), state() * sizeof(S));
    else
      load_sums(at<S>(call_.kept_values, b_ * call_.heads + h_, n), call_.kept_values.stride[2],
                at<S>(call_.kept_mass, b_ * call_.heads + h_, n), call_.features, width(), sums_);
  }

  // g phi(k) of a block, and the sums before and after each of its chunks.
  void read_keys(int64_t n) {
    S *sums = sums_;
    for (int64_t c = 0; c < chunks(n); ++c, sums += state()) {
      const int64_t start = n * block() + c * kChunk, count = length(start);
      S *written = written_ + c * kChunk * row();
      map_.evaluate(count, at<S>(call_.key, b_, h_, start), call_.key.stride[2], Form::value,
                    written, row());
      weigh(start, count);
      if (call_.gate.data) scale_rows(count, row(), written, factor_, written);
      if (!sums_matter()) continue;
      load_values(start, count);
      S *after = sums + state();
      scaled(sums, call_.decay.data ? since_[count - 1] : S(1), after);
      gemm<S, Into::add>(width() + 1, call_.features, count, {value_, 1, e_row()}, written, row(),
                         after, row());
    }
  }

  // Factors of keys, and decays within a chunk: products, so that gamma = 0 is exact.
  void weigh(int64_t start, int64_t count) {
    if (call_.gate.data)
      for (int64_t n = 0; n < count; ++n)
        factor_[n] = exp_of<S>(*at<S>(call_.gate, b_, h_, start + n));
    if (!call_.decay.data) return;
    S since = 1;
    for (int64_t i = 0; i < count; ++i) {
      const S gamma = exp_of<S>(*at<S>(call_.decay, b_, h_, start + i));
      S *between = between_ + i * kPairs;
      for (int64_t j = 0; j < i; ++j) between[j] = between[j - kPairs] * gamma;
      between[i] = 1;
      since_[i] = since *= gamma;
    }
    std::memcpy(until_, between_ + (count - 1) * kPairs, count * sizeof(S));
  }

  // [v, 1], decayed until the end of the chunk.
  void load_values(int64_t start, int64_t count) {
    for (int64_t n = 0; n < count; ++n) {
      std::memcpy(value_ + n * e_row(), at<S>(call_.value, b_, h_, start + n), width() * sizeof(S));
      value_[n * e_row() + width()] = 1;
    }
    if (call_.decay.data) scale_rows(count, e_row(), value_, until_, value_);
  }

  static void scale_rows(int64_t rows, int64_t row, const S *from, const S *factor, S *to) {
    for (int64_t n = 0; n < rows; ++n, from += row, to += row)
      for (int64_t i = 0; i < row; i += lanes<S>) store(to + i, load(from + i) * factor[n]);
  }

  void scaled(const S *from, S factor, S *to) const {
    for (int64_t i = 0; i < state(); i += lanes<S>) store(to + i, load(from + i) * factor);
  }

  S dot(int64_t count, const S *a, const S *b) const {
    Vec<S> total{};
    for (int64_t i = 0; i < count; i += lanes<S>) total = load(a + i) * load(b + i) + total;
    return sum<S>(total);
  }

  // Gradients of a chunk, and G carried to its beginning.
  void go_back(int64_t start, int64_t chunk) {
    const int64_t count = length(start);
    const S *sums = sums_ + chunk * state(), *written = written_ + chunk * kChunk * row();
    weigh(start, count);
    load_values(start, count);
    gemm<S, Into::overwrite>(count, call_.features, width() + 1, {value_, e_row(), 1}, carried_,
                             row(), written_grad_, row());
    if (call_.value_grad.data || call_.group) turn(start, count, written);
    if (call_.value_grad.data) values_from_carried(count);
    S after = 0;
    if (call_.decay_grad.data) after = dot(state(), carried_, sums + state());
    if (call_.decay.data) scaled(carried_, since_[count - 1], carried_);
    std::memset(of_queries_, 0, kChunk * sizeof(S));
    for (int64_t r = 0; r < call_.group; ++r)
      go_back_of_queries(start, count, h_ * call_.group + r, sums, written);
    if (call_.gate_grad.data || call_.decay_grad.data) give_factors(start, count, written, after);
    give_keys(start, count, written);
    if (call_.value_grad.data) give_values(start, count);
  }

  // Features and values with tokens along rows; zeros past the last token.
  void turn(int64_t start, int64_t count, const S *written) {
    if (count < kChunk) {
      std::memset(written_t_, 0, call_.features * kPairs * sizeof(S));
      std::memset(value_t_, 0, (width() + 1) * kPairs * sizeof(S));
    }
    transpose(count, call_.features, written, row(), written_t_, kPairs);
    transpose(count, width(), at<S>(call_.value, b_, h_, start), call_.value.stride[2], value_t_,
              kPairs);
    for (int64_t n = 0; n < count; ++n) value_t_[width() * kPairs + n] = 1;
  }

  void values_from_carried(int64_t count) {
    gemm<S, Into::overwrite>(width(), kChunk, call_.features, {carried_, row(), 1}, written_t_,
                             kPairs, value_grad_t_, kPairs);
    if (!call_.decay.data) return;
    for (int64_t e = 0; e < width(); ++e)
      for (int64_t n = 0; n < count; ++n) value_grad_t_[e * kPairs + n] *= until_[n];
  }

  // One query head: pairs with the keys of the chunk, and with the sums before it.
  void go_back_of_queries(int64_t start, int64_t count, int64_t head, const S *sums,
                          const S *written) {
    const S *x = at<S>(call_.query, b_, head, start);
    const int64_t x_row = call_.query.stride[2], features = call_.features;
    map_.evaluate(count, x, x_row, Form::value, read_, row());
    normaliser_gradients(call_, b_, head, start, count, normaliser_);
    const S *before = normaliser_;
    if (call_.decay.data) {
      scale_rows(count, e_row(), normaliser_, since_, before_);
      before = before_;
    }
    gemm<S, Into::overwrite>(count, features, width() + 1, {before, e_row(), 1}, sums, row(),
                             read_grad_, row());
    weigh_pairs(count, written);
    spread_pairs(count);
    gemm<S, Into::add>(width() + 1, features, count, {before, 1, e_row()}, read_, row(), carried_,
                       row());
    if (call_.decay_grad.data)
      for (int64_t n = 0; n < count; ++n)
        of_queries_[n] += dot(row(), read_ + n * row(), read_grad_ + n * row());
    gradients_.through_factor(count, read_, nullptr, read_grad_);
    if (call_.weights_grad.data) gradients_.to_parameters(count, read_grad_, map_.points());
    if (call_.query_grad.data)
      gradients_.to_points(count, read_grad_, x, x_row, map_.points(),
                           at<S>(call_.query_grad, b_, head, start), call_.query_grad.stride[2]);
  }

  // d w_ij = gamma_(j, i] N_i . [v_j, 1] and w_ij for j <= i; what queries get of them.
  void weigh_pairs(int64_t count, const S *written) {
    for (int64_t i = 0; i < count; i += kStep) {
      const int64_t rows = count - i < kStep ? count - i : kStep, columns = i + kStep;
      S *pairs = pairs_ + i * kPairs, *weights = weights_ + i * kPairs;
      gemm<S, Into::overwrite>(rows, columns, width() + 1, {normaliser_ + i * e_row(), e_row(), 1},
                               value_t_, kPairs, pairs, kPairs);
      make_causal(i, rows, columns, pairs);
      gemm<S, Into::add>(rows, call_.features, i + rows, {pairs, kPairs, 1}, written, row(),
                         read_grad_ + i * row(), row());
      if (!call_.value_grad.data) continue;
      gemm<S, Into::overwrite>(rows, columns, call_.features, {read_ + i * row(), row(), 1},
                               written_t_, kPairs, weights, kPairs);
      make_causal(i, rows, columns, weights);
    }
  }

  // What keys and values get of them.
  void spread_pairs(int64_t count) {
    for (int64_t j = 0; j < count; j += kStep) {
      const int64_t rows = count - j < kStep ? count - j : kStep, corner = j * kPairs + j;
      gemm<S, Into::add>(rows, call_.features, count - j, {pairs_ + corner, 1, kPairs},
                         read_ + j * row(), row(), written_grad_ + j * row(), row());
      if (call_.value_grad.data)
        gemm<S, Into::add>(width(), kStep, count - j, {normaliser_ + j * e_row(), 1, e_row()},
                           weights_ + corner, kPairs, value_grad_t_ + j, kPairs);
    }
  }

  void make_causal(int64_t first, int64_t rows, int64_t columns, S *pairs) const {
    for (int64_t i = first; i < first + rows; ++i, pairs += kPairs) {
      const S *between = between_ + i * kPairs;
      if (call_.decay.data)
        for (int64_t j = 0; j < i; ++j) pairs[j] *= between[j];
      for (int64_t j = i + 1; j < columns; ++j) pairs[j] = 0;
    }
  }

  void give_factors(int64_t start, int64_t count, const S *written, S after) {
    for (int64_t n = 0; n < count; ++n)
      of_keys_[n] = dot(row(), written + n * row(), written_grad_ + n * row());
    if (call_.gate_grad.data)
      std::memcpy(at<S>(call_.gate_grad, b_, h_) + start, of_keys_, count * sizeof(S));
    if (!call_.decay_grad.data) return;
    S *decay_grad = at<S>(call_.decay_grad, b_, h_) + start;
    for (int64_t n = count - 1; n >= 0; --n)
      decay_grad[n] = after += of_queries_[n] - of_keys_[n];
  }

  void give_keys(int64_t start, int64_t count, const S *written) {
    const S *x = at<S>(call_.key, b_, h_, start);
    const int64_t x_row = call_.key.stride[2];
    gradients_.through_factor(count, written, call_.gate.data ? factor_ : nullptr, written_grad_);
    if (map_.depth()) map_.expand(count, x, x_row, points_);
    if (call_.weights_grad.data) gradients_.to_parameters(count, written_grad_, points_);
    if (call_.key_grad.data)
      gradients_.to_points(count, written_grad_, x, x_row, points_,
                           at<S>(call_.key_grad, b_, h_, start), call_.key_grad.stride[2]);
  }

  // Turned in scratch, because writing far apart waits for memory.
  void give_values(int64_t start, int64_t count) {
    transpose(width(), count, value_grad_t_, kPairs, value_, e_row());
    for (int64_t n = 0; n < count; ++n)
      std::memcpy(at<S>(call_.value_grad, b_, h_, start + n), value_ + n * e_row(),
                  width() * sizeof(S));
  }

  const aat_memory_scan_backward &call_;
  FeatureMap<S> map_;
  FeatureGradients<S> gradients_;
  int64_t b_ = 0, h_ = 0;
  S *kept_, *sums_, *carried_, *written_, *written_t_, *value_, *value_t_, *value_grad_t_,
      *written_grad_, *points_, *read_, *read_grad_, *normaliser_, *before_, *pairs_, *weights_,
      *between_, *since_, *until_, *factor_, *of_queries_, *of_keys_;
};

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_memory_scan_backward_f32(const aat_memory_scan_backward *call) {
  return aat::each_head<float, aat::Head<float>>(*call);
}
AAT_EXPORT int aat_memory_scan_backward_f64(const aat_memory_scan_backward *call) {
  return aat::each_head<double, aat::Head<double>>(*call);
}
}
