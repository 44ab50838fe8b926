// What the gradients of reading in order and of reading from fixed sums share.
//
// Sums are held as S^T [E + 1, F], whose last row is the mass: that of values with a 1 at their end.
#pragma once

#include <cmath>

#include "features_backward.h"
#include "threads.h"

namespace aat {

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j, int64_t k = 0) {
  S *data = static_cast<S *>(view.data);
  return data ? data + i * view.stride[0] + j * view.stride[1] + k * view.stride[2] : nullptr;
}

// values [F, E] with rows `row` apart and mass [F]; zeros where they are left out.
template <class S>
void load_sums(const S *values, int64_t row, const S *mass, int64_t features, int64_t width,
               S *sums) {
  const int64_t sums_row = padded<S>(features);
  std::memset(sums, 0, (width + 1) * sums_row * sizeof(S));
  if (values) transpose(features, width, values, row, sums, sums_row);
  if (mass) std::memcpy(sums + width * sums_row, mass, features * sizeof(S));
}

template <class S>
void store_sums(const S *sums, int64_t features, int64_t width, S *values, int64_t row, S *mass) {
  const int64_t sums_row = padded<S>(features);
  if (values) transpose(width, features, sums, sums_row, values, row);
  if (mass) std::memcpy(mass, sums + width * sums_row, features * sizeof(S));
}

// Gradients of what queries summed up, numerator and mass:
//
//     [d n, d m] = [d out, d lse - d out . out] / m,  m = e^lse
//
// in rows [E + 1], or times m where weights are relative to it; zeros where nothing was read.
template <class S, bool relative = false, class Call>
void normaliser_gradients(const Call &call, int64_t b, int64_t head, int64_t start, int64_t count,
                          S *sums_grad) {
  const int64_t width = call.value_width, row = padded<S>(width + 1);
  const S *lse = at<S>(call.lse, b, head) + start;
  const S *lse_grad = at<S>(call.lse_grad, b, head);
  for (int64_t n = 0; n < count; ++n, sums_grad += row) {
    const S *out = at<S>(call.out, b, head, start + n);
    const S *grad = at<S>(call.out_grad, b, head, start + n);
    const S share = std::isinf(lse[n]) ? S(0) : relative ? S(1) : exp_of<S>(-lse[n]);
    if (share == 0 || !grad) std::memset(sums_grad, 0, row * sizeof(S));
    if (share == 0) continue;
    S mass = lse_grad ? lse_grad[start + n] : S(0);
    if (grad) {
      Vec<S> total{};
      int64_t e = 0;
      for (; e + lanes<S> <= width; e += lanes<S>) {
        total = load(grad + e) * load(out + e) + total;
        store(sums_grad + e, load(grad + e) * share);
      }
      mass -= sum<S>(total);
      for (; e < width; ++e) {
        mass -= grad[e] * out[e];
        sums_grad[e] = grad[e] * share;
      }
    }
    sums_grad[width] = mass * share;
  }
}

// Numbers handed out one part after another, whole cache lines each; first only counted.
template <class S>
struct Shelf {
  S *data;
  int64_t used = 0;
  S *take(int64_t count) {
    S *part = data ? data + used : nullptr;
    used += (count * sizeof(S) + 63) / 64 * (64 / sizeof(S));
    return part;
  }
};

// Head(call, shelf).run(b, h) for every head of every row, with scratch for each thread.
template <class S, class Head, class Call>
int each_head(const Call &call) {
  const int64_t items = call.batch * call.heads;
  if (!items) return AAT_OK;
  const int64_t threads = call.threads < 1 ? 1 : call.threads < items ? call.threads : items;
  Shelf<S> counted{nullptr};
  Head(call, counted);
  Scratch<S> memory(threads * counted.used);
  if (!memory.ok()) return AAT_NO_MEMORY;
  parallel_for(items, threads, [&](int64_t item, int64_t worker) {
    Shelf<S> shelf{memory.get() + worker * counted.used};
    Head(call, shelf).run(item / call.heads, item % call.heads);
  });
  return AAT_OK;
}

}  // namespace aat
