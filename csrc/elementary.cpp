// to_i = exp(from_i), so that the exponential which every kernel uses can be measured by itself.
#include "interface/elementary.h"

#include "simd.h"
#include "threads.h"

namespace aat {
namespace {

// Numbers in one item of work: the L1 cache holds what is read and written.
constexpr int64_t kBlock = 2048;

template <class S>
void exponential_of_block(const S *from, S *to, int64_t count) {
  int64_t i = 0;
  for (; i + lanes<S> <= count; i += lanes<S>) store(to + i, exp(load(from + i)));
  for (; i < count; ++i) to[i] = exp_of(from[i]);
}

template <class S>
int exponential(const aat_exponential &call) {
  const S *from = static_cast<const S *>(call.from.data);
  S *to = static_cast<S *>(call.to.data);
  const int64_t blocks = (call.count + kBlock - 1) / kBlock;
  parallel_for(blocks, call.threads, [&](int64_t block, int64_t) {
    const int64_t start = block * kBlock, left = call.count - start;
    exponential_of_block(from + start, to + start, left < kBlock ? left : kBlock);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_exponential_f32(const struct aat_exponential *call) {
  return aat::exponential<float>(*call);
}
AAT_EXPORT int aat_exponential_f64(const struct aat_exponential *call) {
  return aat::exponential<double>(*call);
}
}
