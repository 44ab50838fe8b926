// The energy that segments lose to their means, segment length by segment length from the sums of
// shorter ones:
//
//     sum_j |x_j - mean|^2 = sum over parts of (their own + their size |their mean - mean|^2).
//
// One granule (the tokens between two positions) is in the cache at a time.
#include <algorithm>
#include <utility>

#include "interface/tiler.h"
#include "simd.h"
#include "threads.h"

namespace aat {
namespace {

template <class S>
AAT_INLINE S square_of(const S *x, int64_t width) {  // |x|^2 of a padded row
  Vec<S> total{};
  for (int64_t d = 0; d < width; d += lanes<S>) total = load(x + d) * load(x + d) + total;
  return sum<S>(total);
}

// Sums of each `parts` neighbouring rows, in place; returns how far the parts lie from their means.
template <class S>
S merge(S *rows, int64_t count, int64_t parts, int64_t width, S *apart) {
  S total = 0;
  for (int64_t i = 0; i < count / parts; ++i) {
    const S *from = rows + i * parts * width;
    S *to = rows + i * width;
    if (parts == 2) {
      Vec<S> squares{};
      for (int64_t d = 0; d < width; d += lanes<S>) {
        const Vec<S> a = load(from + d), b = load(from + width + d);
        squares = (a - b) * (a - b) + squares;
        store(to + d, a + b);
      }
      total += sum<S>(squares) * S(0.5);
      continue;
    }
    for (int64_t d = 0; d < width; ++d) {
      apart[d] = 0;
      for (int64_t j = 0; j < parts; ++j) apart[d] += from[j * width + d];
    }
    S *difference = apart + width;
    for (int64_t j = 0; j < parts; ++j) {
      for (int64_t d = 0; d < width; ++d)
        difference[d] = from[j * width + d] - apart[d] / static_cast<S>(parts);
      total += square_of(difference, width);
    }
    std::memcpy(to, apart, sizeof(S) * width);
  }
  return total;
}

template <class S>
void losses_of(const aat_tiler_losses &call, int64_t block, S *rows, S *apart, double *lost) {
  const int64_t width = padded<S>(call.width);
  const int64_t *spans = static_cast<const int64_t *>(call.spans.data);
  const S *states = static_cast<const S *>(call.states.data) + block * call.states.stride[0];
  double *losses = static_cast<double *>(call.losses.data) + block;
  for (int64_t r = 0; r < call.resolutions; ++r) {
    lost[r] = 0;
    losses[r * call.losses.stride[0]] = 0;
  }
  auto fill = [&](int64_t granule) {
    for (int64_t t = 0; t < call.granule; ++t)
      std::memcpy(rows + t * width,
                  states + (granule * call.granule + t) * call.states.stride[1],
                  sizeof(S) * call.width);
  };
  for (int64_t granule = 0; granule < call.positions; ++granule) {
    fill(granule);
    int64_t size = 1;
    S energy = 0;
    for (int64_t r = 0; r < call.resolutions; ++r) {
      if (spans[r] % size) {
        fill(granule);
        size = 1;
        energy = 0;
      }
      if (spans[r] > size)
        energy += merge(rows, call.granule / size, spans[r] / size, width, apart) /
                  static_cast<S>(size);
      size = spans[r];
      lost[r] += static_cast<double>(energy);
      losses[r * call.losses.stride[0] + (granule + 1) * call.losses.stride[1]] = lost[r];
    }
  }
}

template <class S>
int losses(const aat_tiler_losses &call) {
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, call.blocks));
  const int64_t width = padded<S>(call.width), numbers = (call.granule + 2) * width;
  Scratch<S> scratch(workers * numbers);
  Scratch<double> lost(workers * call.resolutions);
  if (!scratch.ok() || !lost.ok()) return AAT_NO_MEMORY;
  parallel_for(call.blocks, workers, [&](int64_t block, int64_t worker) {
    S *rows = scratch.get() + worker * numbers;
    losses_of(call, block, rows, rows + call.granule * width,
              lost.get() + worker * call.resolutions);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiler_losses_f32(const aat_tiler_losses *call) {
  return aat::losses<float>(*call);
}
AAT_EXPORT int aat_tiler_losses_f64(const aat_tiler_losses *call) {
  return aat::losses<double>(*call);
}
}
