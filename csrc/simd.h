// Vectors of the widest registers that this compilation may use, for float and double alike.
//
// GCC's and Clang's vector extensions: one source serves AVX-512 (64 bytes), AVX2 (32), SSE2 and
// NEON (16). `a * b + c` becomes a fused multiply-add where the instruction set has one
// (-ffp-contract=fast), so last digits differ between instruction sets, never between runs.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__)
#define AAT_VECTOR_BYTES 64
#define AAT_VECTOR_REGISTERS 32
#elif defined(__AVX__)
#define AAT_VECTOR_BYTES 32
#define AAT_VECTOR_REGISTERS 16
#elif defined(__aarch64__)
#define AAT_VECTOR_BYTES 16
#define AAT_VECTOR_REGISTERS 32
#else
#define AAT_VECTOR_BYTES 16
#define AAT_VECTOR_REGISTERS 16
#endif

#define AAT_INLINE inline __attribute__((always_inline))

namespace aat {

template <class S>
struct Simd;
template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(AAT_VECTOR_BYTES)));
  typedef int32_t I __attribute__((vector_size(AAT_VECTOR_BYTES)));
  typedef uint32_t U __attribute__((vector_size(AAT_VECTOR_BYTES)));
};
template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(AAT_VECTOR_BYTES)));
  typedef int64_t I __attribute__((vector_size(AAT_VECTOR_BYTES)));
  typedef uint64_t U __attribute__((vector_size(AAT_VECTOR_BYTES)));
};

template <class S>
using Vec = typename Simd<S>::V;
template <class S>
using IntVec = typename Simd<S>::I;

// Numbers in a vector.
template <class S>
constexpr int lanes = AAT_VECTOR_BYTES / sizeof(S);

// `count` rounded up to whole vectors.
template <class S>
AAT_INLINE constexpr int64_t padded(int64_t count) {
  return (count + lanes<S> - 1) / lanes<S> * lanes<S>;
}

template <class S>
AAT_INLINE Vec<S> load(const S *from) {  // from anywhere, aligned or not
  Vec<S> v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

template <class S>
AAT_INLINE void store(S *to, Vec<S> v) {
  std::memcpy(to, &v, sizeof(v));
}

template <class S>
AAT_INLINE Vec<S> splat(S x) {  // x in every lane (x - 0 is x for all x; 0 + x is not for -0)
  return x - Vec<S>{};
}

// `mask` comes from a comparison of vectors: all bits of a lane, or none.
template <class S>
AAT_INLINE Vec<S> select(IntVec<S> mask, Vec<S> yes, Vec<S> no) {
  return mask ? yes : no;
}

template <class S>
AAT_INLINE Vec<S> maximum(Vec<S> a, Vec<S> b) {
  return select<S>(a > b, a, b);
}

template <class S>
AAT_INLINE S sum(Vec<S> v) {
  S total = 0;
  for (int i = 0; i < lanes<S>; ++i) total += v[i];
  return total;
}

template <class S>
AAT_INLINE S largest(Vec<S> v) {
  S most = v[0];
  for (int i = 1; i < lanes<S>; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

// rows[i][j] becomes rows[j][i]. Two vectors at a distance of `step` swap the halves in which their
// lane numbers differ from their own in that bit.
template <class S, int step, int... lane>
AAT_INLINE void swap_halves(Vec<S> *rows, std::integer_sequence<int, lane...>) {
  for (int i = 0; i < lanes<S>; ++i) {
    if (i & step) continue;
    const Vec<S> a = rows[i], b = rows[i + step];
    rows[i] = __builtin_shufflevector(a, b, (lane & step ? lanes<S> + lane - step : lane)...);
    rows[i + step] = __builtin_shufflevector(a, b, (lane & step ? lanes<S> + lane : lane + step)...);
  }
}

template <class S, int step = lanes<S> / 2>
AAT_INLINE void transpose_square(Vec<S> *rows) {
  if constexpr (step > 0) {
    swap_halves<S, step>(rows, std::make_integer_sequence<int, lanes<S>>());
    transpose_square<S, step / 2>(rows);
  }
}

// exp(x) within 2 units in the last place; 0 below the smallest normal number, inf above the
// largest, NaN for NaN. x = n log 2 + r with |r| <= log(2) / 2; n is found by adding a number so
// large that its last bit is worth 1 (hence no -ffast-math). What is computed beyond the limits
// is not a number of any meaning, and is not taken.
AAT_INLINE Vec<float> exp(Vec<float> x) {
  typedef Vec<float> V;
  typedef Simd<float>::U U;  // its sums may overflow
  const V magic = splat<float>(12582912.0f);  // its bits, shifted, are 0
  V shifted = x * 1.44269504088896341f + magic;
  V n = shifted - magic;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = splat<float>(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  V result = (V)((U)p + ((U)shifted << 23));  // times 2^n: n is added to the exponent
  result = x < -87.3365447f ? V{} : result;
  return x > 88.7228394f ? splat<float>(std::numeric_limits<float>::infinity()) : result;
}

AAT_INLINE Vec<double> exp(Vec<double> x) {
  typedef Vec<double> V;
  typedef Simd<double>::U U;  // its sums may overflow
  const V magic = splat<double>(6755399441055744.0);  // its bits, shifted, are 0
  V shifted = x * 1.4426950408889634074 + magic;
  V n = shifted - magic;
  V r = x - n * 6.93145751953125e-1;
  r = r - n * 1.42860682030941723212e-6;
  V p = splat<double>(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * (r * r) + r + 1.0;
  V result = (V)((U)p + ((U)shifted << 52));
  result = x < -708.3964185322641 ? V{} : result;
  return x > 709.782712893384 ? splat<double>(std::numeric_limits<double>::infinity()) : result;
}

// Functions of single numbers, to the same last digits as in vectors.
template <class S>
AAT_INLINE S exp_of(S x) {
  return exp(splat<S>(x))[0];
}

}  // namespace aat
