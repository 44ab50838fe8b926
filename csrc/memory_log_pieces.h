// Pieces of tokens in which features known by their logarithms are plain numbers.
//
// Let piece a .. e begin with level L_a, and Gamma_t = log gamma_(a+1) + ... + log gamma_t. With
// C = L_e - Gamma_e all sums of the piece are those of a memory that forgets nothing,
//
//     S'_t = S'_(t-1) + phi'(k_t) [v_t, 1]^T         phi'(k_t) = e^(l(k_t) + log g_t - Gamma_t - C)
//     S_t = e^(Gamma_t + C - L_t) S'_t               the sums at their level L_t
//     S'_before = e^(L_(a-1) + log gamma_a - C) S_(a-1)
//
// and S'_e = S_e. Levels are those of the forward pass, to the bit. A piece ends before its level
// would rise, or its decays fall, by more than a third of what exponents can hold, so that no
// feature overflows and none that matters underflows.
#pragma once

#include <cmath>

#include "memory_gradients.h"

namespace aat {

// Of one window of tokens after the other, forward or back.
template <class S>
class LogPieces {
 public:
  static constexpr int64_t kMost = 64;  // tokens that are divided at once

  LogPieces(int64_t features, Shelf<S> &shelf) : features_(features), row_(padded<S>(features)) {
    written_ = shelf.take(kMost * row_);
    shift_ = shelf.take(kMost * row_);
    carry_ = shelf.take(kMost * row_);
    start_ = shelf.take(row_);
    level_ = shelf.take(row_);
    next_ = shelf.take(row_);
    begun_ = shelf.take(row_);
  }

  int64_t count() const { return count_; }
  int64_t first(int64_t piece) const { return first_[piece]; }
  int64_t end(int64_t piece) const { return first_[piece + 1]; }
  const S *carry(int64_t piece) const { return carry_ + piece * row_; }  // from S_(a-1) to S'
  const S *written(int64_t t) const { return written_ + t * row_; }      // phi'(k_t)
  const S *shift(int64_t t) const { return shift_ + t * row_; }          // Gamma_t + C
  S *logs() { return written_; }  // where l(k_t) + log g_t are put, -inf past the last feature
  S *level() { return level_; }   // before the window, and after `divide` behind it

  // Logarithms become features; `decay` [tokens, decays] with rows decay_row apart, or null.
  void divide(int64_t tokens, const S *decay, int64_t decay_row, int64_t decays) {
    count_ = 0;
    for (int64_t t = 0; t < tokens; ++t, decay += decay ? decay_row : 0) {
      if (t == 0 || !goes_on(t, decay, decays)) {
        if (t) close(t);
        begin(t, decay, decays);
      }
      std::swap(level_, next_);
    }
    close(tokens);
  }

  // Queries of a memory that no key is read into: one piece, at the level of the sums.
  void hold(int64_t tokens) {
    count_ = 1, first_[0] = 0, first_[1] = tokens;
    for (int64_t t = 0; t < tokens; ++t) std::memcpy(shift_ + t * row_, level_, row_ * sizeof(S));
    for (int64_t s = 0; s < row_; ++s) carry_[s] = 1;
  }

 private:
  static constexpr S kNothing = -std::numeric_limits<S>::infinity();
  static constexpr S kMostRise = sizeof(S) == 4 ? S(29) : S(236);

  Vec<S> forgotten(const S *decay, int64_t decays, int64_t s) const {
    if (!decay) return Vec<S>{};
    if (decays == 1) return splat<S>(*decay);
    if (s + lanes<S> <= features_) return load(decay + s);
    Vec<S> rest{};
    for (int64_t i = s; i < features_; ++i) rest[i - s] = decay[i];
    return rest;
  }

  void begin(int64_t t, const S *decay, int64_t decays) {
    first_[count_++] = t;
    for (int64_t s = 0; s < row_; s += lanes<S>) {
      const Vec<S> kept = load(level_ + s) + forgotten(decay, decays, s);
      const Vec<S> level = maximum<S>(kept, load(written_ + t * row_ + s));
      store(start_ + s, kept);
      store(begun_ + s, level);
      store(next_ + s, level);
      store(shift_ + t * row_ + s, Vec<S>{});
    }
  }

  // Whether token t belongs to the piece begun; then next_ is the level after it.
  bool goes_on(int64_t t, const S *decay, int64_t decays) {
    IntVec<S> parted{};
    for (int64_t s = 0; s < row_; s += lanes<S>) {
      const Vec<S> gamma = forgotten(decay, decays, s);
      const Vec<S> total = load(shift_ + (t - 1) * row_ + s) + gamma;
      const Vec<S> level = maximum<S>(load(level_ + s) + gamma, load(written_ + t * row_ + s));
      const Vec<S> rise = level - total - load(begun_ + s);
      parted |= (total < -kMostRise) | ((rise > kMostRise) & (level > kNothing));
      store(shift_ + t * row_ + s, total);
      store(next_ + s, level);
    }
    IntVec<S> none{};
    return std::memcmp(&parted, &none, sizeof(none)) == 0;
  }

  // The piece ends before token `end`.
  void close(int64_t end) {
    const int64_t begin = first_[count_ - 1];
    S *carry = carry_ + (count_ - 1) * row_;
    first_[count_] = end;
    for (int64_t s = 0; s < row_; s += lanes<S>) {
      const Vec<S> level = load(level_ + s) - load(shift_ + (end - 1) * row_ + s);
      const IntVec<S> silent = level == kNothing;
      store(carry + s, select<S>(silent, Vec<S>{}, exp(load(start_ + s) - level)));
      for (int64_t n = begin * row_ + s; n < end * row_; n += row_) {
        const Vec<S> shift = load(shift_ + n) + level;
        store(written_ + n, select<S>(silent, Vec<S>{}, exp(load(written_ + n) - shift)));
        store(shift_ + n, shift);
      }
    }
  }

  int64_t features_, row_, count_ = 0, first_[kMost + 1];
  S *written_, *shift_, *carry_, *start_, *level_, *next_, *begun_;
};

}  // namespace aat
