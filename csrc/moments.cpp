// Moments of sets of tokens, from the tokens and from those of smaller sets.
//
//     mean = 1/n sum_j k_j,      variance = 1/n sum_j (k_j - mean)^2,
//     radius = max_j |k_j - mean|,      spread^2 = |1/n sum_j (k_j - mean)(k_j - mean)^T|_F,
//
// and for a union with share_c of its tokens in part c, whose mean lies away_c from its own,
//
//     mean = sum_c share_c mean_c,      variance = sum_c share_c (variance_c + away_c^2),
//     radius = max_c (radius_c + |away_c|),
//     spread^2 = sum_c share_c spread_c^2 + |sum_c share_c away_c away_c^T|_F.
//
// The Frobenius norm is that of the Gram matrix, which has the same eigenvalues.
#include <algorithm>
#include <cmath>

#include "interface/tree.h"
#include "simd.h"
#include "threads.h"

namespace aat {
namespace {

constexpr int64_t kAtOnce = 32;  // sets that a worker takes together

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j = 0) {
  return static_cast<S *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

// |sum_j away_j away_j^T|_F of rows [count, width].
template <class S>
S scatter_norm(const S *away, int64_t count, int64_t width) {
  S total = 0;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      S product = 0;
      for (int64_t d = 0; d < width; ++d) product += away[i * width + d] * away[j * width + d];
      total += (i == j ? 1 : 2) * product * product;
    }
  return std::sqrt(total);
}

template <class S>
S norm_of(const S *row, int64_t width) {
  S total = 0;
  for (int64_t d = 0; d < width; ++d) total += row[d] * row[d];
  return std::sqrt(total);
}

// to[d] = sum_i factor_i rows_i[d]; a factor of 0 leaves its row unread.
template <class S, class Row>
void weighted_sum(int64_t count, const S *factor, Row row, int64_t width, S *to) {
  for (int64_t d = 0; d < width; ++d) to[d] = 0;
  for (int64_t i = 0; i < count; ++i) {
    const S *from = row(i), by = factor[i];
    if (by != 0)
      for (int64_t d = 0; d < width; ++d) to[d] += by * from[d];
  }
}

template <class S>
void moments_of(const aat_tiled_moments &call, int64_t head, int64_t set, S *share, S *away) {
  const int64_t size = call.tile, width = call.width, first = set * size;
  const int64_t *order = at<int64_t>(call.order, head) + first;
  const uint8_t *valid = at<uint8_t>(call.valid, head);
  uint8_t *member = at<uint8_t>(call.member, head) + first;
  S count = 0;
  for (int64_t j = 0; j < size; ++j) {
    member[j] = valid[order[j]];
    count += member[j];
    std::memcpy(at<S>(call.keys, head, first + j), at<S>(call.key, head, order[j]),
                sizeof(S) * width);
    std::memcpy(at<S>(call.values, head, first + j), at<S>(call.value, head, order[j]),
                sizeof(S) * call.value_width);
  }
  at<S>(call.count, head)[set] = count;
  for (int64_t j = 0; j < size; ++j) share[j] = member[j] ? 1 / count : 0;
  S *mean = at<S>(call.mean_key, head, set), *variance = at<S>(call.variance, head, set);
  weighted_sum(size, share, [&](int64_t j) { return at<S>(call.keys, head, first + j); }, width,
               mean);
  weighted_sum(size, share, [&](int64_t j) { return at<S>(call.values, head, first + j); },
               call.value_width, at<S>(call.mean_value, head, set));
  for (int64_t d = 0; d < width; ++d) variance[d] = 0;
  S radius = 0;
  for (int64_t j = 0; j < size; ++j) {
    const S *key = at<S>(call.keys, head, first + j);
    S *own = away + j * width;
    for (int64_t d = 0; d < width; ++d) own[d] = member[j] ? key[d] - mean[d] : 0;
    for (int64_t d = 0; d < width; ++d) variance[d] += share[j] * own[d] * own[d];
    if (call.radius.data) radius = std::max(radius, norm_of(own, width));
  }
  if (call.radius.data) {
    at<S>(call.radius, head)[set] = radius;
    at<S>(call.spread, head)[set] =
        std::sqrt(scatter_norm(away, size, width) / std::max(count, S(1)));
  }
}

template <class S>
void union_of(const aat_tiled_merge &call, int64_t head, int64_t set, S *share, S *away) {
  const int64_t group = call.group, width = call.width;
  const int64_t *index = at<int64_t>(call.index, head) + set * group;
  const S *counts = at<S>(call.count, head);
  S count = 0;
  for (int64_t c = 0; c < group; ++c) count += counts[index[c]];
  at<S>(call.all_count, head)[set] = count;
  for (int64_t c = 0; c < group; ++c) share[c] = counts[index[c]] / std::max(count, S(1));
  S *mean = at<S>(call.all_key, head, set), *variance = at<S>(call.all_variance, head, set);
  weighted_sum(group, share, [&](int64_t c) { return at<S>(call.key, head, index[c]); }, width,
               mean);
  weighted_sum(group, share, [&](int64_t c) { return at<S>(call.value, head, index[c]); },
               call.value_width, at<S>(call.all_value, head, set));
  for (int64_t d = 0; d < width; ++d) variance[d] = 0;
  S radius = 0, within = 0;
  for (int64_t c = 0; c < group; ++c) {
    const S *key = at<S>(call.key, head, index[c]);
    const S *inside = at<S>(call.variance, head, index[c]);
    S *own = away + c * width;
    const bool there = counts[index[c]] > 0;
    for (int64_t d = 0; d < width; ++d) own[d] = there ? key[d] - mean[d] : 0;
    for (int64_t d = 0; d < width; ++d) variance[d] += share[c] * (inside[d] + own[d] * own[d]);
    if (!call.radius.data) continue;
    radius = std::max(radius, at<S>(call.radius, head)[index[c]] + norm_of(own, width));
    const S spread = at<S>(call.spread, head)[index[c]], root = std::sqrt(share[c]);
    within += share[c] * spread * spread;
    for (int64_t d = 0; d < width; ++d) own[d] *= root;
  }
  if (call.radius.data) {
    at<S>(call.all_radius, head)[set] = radius;
    at<S>(call.all_spread, head)[set] = std::sqrt(within + scatter_norm(away, group, width));
  }
}

// work(head, set, share [members], away [members, width]) for every set of every head.
template <class S, class Work>
int for_sets(int64_t heads, int64_t sets, int64_t members, int64_t width, int64_t threads,
             Work work) {
  const int64_t parts = (sets + kAtOnce - 1) / kAtOnce, numbers = members * (width + 1);
  const int64_t workers = std::max<int64_t>(1, std::min(threads, heads * parts));
  Scratch<S> scratch(workers * numbers);
  if (!scratch.ok()) return AAT_NO_MEMORY;
  parallel_for(heads * parts, workers, [&](int64_t item, int64_t worker) {
    S *own = scratch.get() + worker * numbers;
    const int64_t first = item % parts * kAtOnce, stop = std::min(sets, first + kAtOnce);
    for (int64_t set = first; set < stop; ++set) work(item / parts, set, own, own + members);
  });
  return AAT_OK;
}

template <class S>
int moments(const aat_tiled_moments &call) {
  return for_sets<S>(call.heads, call.tiles, call.tile, call.width, call.threads,
                     [&](int64_t head, int64_t set, S *share, S *away) {
                       moments_of(call, head, set, share, away);
                     });
}

template <class S>
int merge(const aat_tiled_merge &call) {
  return for_sets<S>(call.heads, call.unions, call.group, call.width, call.threads,
                     [&](int64_t head, int64_t set, S *share, S *away) {
                       union_of(call, head, set, share, away);
                     });
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiled_moments_f32(const aat_tiled_moments *call) {
  return aat::moments<float>(*call);
}
AAT_EXPORT int aat_tiled_moments_f64(const aat_tiled_moments *call) {
  return aat::moments<double>(*call);
}
AAT_EXPORT int aat_tiled_merge_f32(const aat_tiled_merge *call) {
  return aat::merge<float>(*call);
}
AAT_EXPORT int aat_tiled_merge_f64(const aat_tiled_merge *call) {
  return aat::merge<double>(*call);
}
}
