// The bisecting tree over the keys of a super-block.
//
// Every cell is halved at the median of its projection on its principal axis, which a few steps of
// power iteration from the difference of its two end points find:
//
//     axis <- C^T (C axis),      C the cell's points less their mean.
//
// Wide points are first taken to the span of Q = orth(A orth(A e)), A = sum_s p_s p_s^T, e the
// coordinates of largest variance: two steps of subspace iteration.
#include <algorithm>
#include <cmath>

#include "gemm.h"
#include "interface/tree.h"
#include "threads.h"

namespace aat {
namespace {

template <class S>
S *at(const aat_view &view, int64_t i, int64_t j = 0) {
  return static_cast<S *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

// Padding behind the numbers must be zero in all of these.
template <class S>
S dot(const S *a, const S *b, int64_t columns) {
  Vec<S> total{};
  for (int64_t d = 0; d < columns; d += lanes<S>) total = load(a + d) * load(b + d) + total;
  return sum<S>(total);
}

template <class S>
void add_scaled(S *to, S factor, const S *from, int64_t columns) {
  for (int64_t d = 0; d < columns; d += lanes<S>)
    store(to + d, load(from + d) * factor + load(to + d));
}

// A number whose order among others is that of its bits: equal for -0 and 0, NaN somewhere.
inline uint64_t ordered(float x) {
  uint32_t bits;
  x += 0.0f;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

inline uint64_t ordered(double x) {
  uint64_t bits;
  x += 0.0;
  std::memcpy(&bits, &x, sizeof bits);
  return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

// A number and its place as one integer: sorting these is a stable sort of the numbers.
template <class S>
struct Rank {
  using Both = std::conditional_t<sizeof(S) == 4, uint64_t, unsigned __int128>;
  static constexpr int bits = 8 * sizeof(S);
  static Both of(S x, int64_t place) {
    return static_cast<Both>(ordered(x)) << bits | static_cast<Both>(place);
  }
  static int64_t place(Both rank) {
    return static_cast<int64_t>(rank & ((static_cast<Both>(1) << bits) - 1));
  }
};

// Gram-Schmidt, twice for each row; a row that lies in the span of those before becomes zero.
template <class S>
void orthonormalise(S *rows, int64_t count, int64_t columns) {
  for (int64_t i = 0; i < count; ++i) {
    S *row = rows + i * columns;
    for (int pass = 0; pass < 2; ++pass) {
      const S before = std::sqrt(dot(row, row, columns));
      for (int64_t j = 0; j < i; ++j)
        add_scaled(row, -dot(row, rows + j * columns, columns), rows + j * columns, columns);
      const S norm = std::sqrt(dot(row, row, columns));
      const S factor = norm > before * std::numeric_limits<S>::epsilon() ? 1 / norm : 0;
      for (int64_t d = 0; d < columns; ++d) row[d] *= factor;
    }
  }
}

template <class S>
class Orderer {
 public:
  using Both = typename Rank<S>::Both;

  static int64_t numbers(const aat_tiled_order &call) {
    const int64_t wide = padded<S>(call.width), few = narrow(call), size = padded<S>(call.size);
    return call.size * (wide + padded<S>(few)) + size * (2 * few + 1) + wide * (wide + 1) +
           call.narrow * (2 * wide) + wide * padded<S>(few) + few;
  }

  Orderer(const aat_tiled_order &call, S *scratch, Both *ranks, int64_t *before)
      : call_(call),
        wide_(padded<S>(call.width)),
        few_(narrow(call)),
        thin_(padded<S>(few_)),
        size_(padded<S>(call.size)),
        ranks_(ranks),
        before_(before) {
    auto take = [&](int64_t count) { return std::exchange(scratch, scratch + count); };
    points_ = take(call.size * wide_);
    narrowed_ = take(call.size * thin_);
    rows_ = take(few_ * size_);
    cell_ = take(few_ * size_);
    along_ = take(size_);
    scatter_ = take(wide_ * wide_);
    mean_ = take(wide_);
    basis_ = take(call.narrow * wide_);
    second_ = take(call.narrow * wide_);
    turned_ = take(wide_ * thin_);
    axis_ = take(few_);
  }

  void operator()(int64_t set) {
    place(set);
    if (few_ < call_.width) {
      narrow_down();
      transpose(call_.size, few_, narrowed_, thin_, rows_, size_);
    } else {
      transpose(call_.size, few_, points_, wide_, rows_, size_);
    }
    to_unit_size();
    int64_t *order = at<int64_t>(call_.order, set);
    for (int64_t i = 0; i < call_.size; ++i) order[i] = i;
    for (int64_t cell = call_.size; cell > call_.leaf; cell /= 2)
      for (int64_t first = 0; first + cell <= call_.size; first += cell)
        sort_cell(first, cell, order + first);
  }

 private:
  static int64_t narrow(const aat_tiled_order &call) {
    return call.narrow && call.narrow < call.width ? call.narrow : call.width;
  }

  void place(int64_t set) {
    const S *scale = at<S>(call_.scale, set);
    const uint8_t *valid = call_.valid.data ? at<uint8_t>(call_.valid, set) : nullptr;
    for (int64_t i = 0; i < call_.size; ++i) {
      const S *key = at<S>(call_.key, set, i);
      S *point = points_ + i * wide_;
      if (valid && !valid[i])
        for (int64_t d = 0; d < call_.width; ++d) point[d] = 0;
      else
        for (int64_t d = 0; d < call_.width; ++d) point[d] = key[d] * scale[d];
    }
  }

  void narrow_down() {
    const int64_t width = call_.width, size = call_.size;
    for (int64_t d = 0; d < wide_; ++d) mean_[d] = 0;
    for (int64_t i = 0; i < size; ++i) add_scaled(mean_, S(1), points_ + i * wide_, wide_);
    for (int64_t d = 0; d < wide_; ++d) mean_[d] /= static_cast<S>(size);
    for (int64_t i = 0; i < size; ++i) add_scaled(points_ + i * wide_, S(-1), mean_, wide_);
    const Left<S> turned = {points_, 1, wide_};
    gemm<S, Into::overwrite>(width, width, size, turned, points_, wide_, scatter_, wide_);
    for (int64_t d = 0; d < width; ++d) ranks_[d] = Rank<S>::of(-scatter_[d * wide_ + d], d);
    std::sort(ranks_, ranks_ + width);
    for (int64_t j = 0; j < few_; ++j)
      std::memcpy(basis_ + j * wide_, scatter_ + Rank<S>::place(ranks_[j]) * wide_,
                  sizeof(S) * wide_);
    orthonormalise(basis_, few_, wide_);
    const Left<S> first = {basis_, wide_, 1};
    gemm<S, Into::overwrite>(few_, width, width, first, scatter_, wide_, second_, wide_);
    orthonormalise(second_, few_, wide_);
    transpose(few_, width, second_, wide_, turned_, thin_);
    const Left<S> points = {points_, wide_, 1};
    gemm<S, Into::overwrite>(size, few_, width, points, turned_, thin_, narrowed_, thin_);
  }

  // Steps of the iteration are not normalised; at unit scale they stay within range.
  void to_unit_size() {
    S most = S(1e-30);
    for (int64_t d = 0; d < few_; ++d) {
      S *row = rows_ + d * size_;
      centre(row, call_.size, row);
      for (int64_t i = 0; i < call_.size; ++i) most = std::max(most, std::abs(row[i]));
    }
    for (int64_t i = 0; i < few_ * size_; ++i) rows_[i] /= most;
  }

  // Coordinates of the points from `first` on less their mean, with zeros behind them.
  static void centre(const S *row, int64_t count, S *to) {
    Vec<S> total{};
    int64_t i = 0;
    for (; i + lanes<S> <= count; i += lanes<S>) total += load(row + i);
    S mean = sum<S>(total);
    for (; i < count; ++i) mean += row[i];
    mean /= static_cast<S>(count);
    for (i = 0; i < count; ++i) to[i] = row[i] - mean;
    for (; i < padded<S>(count); ++i) to[i] = 0;
  }

  void sort_cell(int64_t first, int64_t count, int64_t *order) {
    const int64_t columns = padded<S>(count);
    for (int64_t d = 0; d < few_; ++d) {
      S *own = cell_ + d * columns;
      centre(rows_ + d * size_ + first, count, own);
      axis_[d] = own[count - 1] - own[0];
    }
    for (int64_t step = 0; step < call_.steps; ++step) {
      project(columns);
      for (int64_t d = 0; d < few_; ++d) axis_[d] = dot(along_, cell_ + d * columns, columns);
    }
    project(columns);
    for (int64_t i = 0; i < count; ++i) ranks_[i] = Rank<S>::of(along_[i], i);
    std::sort(ranks_, ranks_ + count);
    for (int64_t d = 0; d < few_; ++d) {
      S *row = rows_ + d * size_ + first, *old = cell_ + d * columns;
      std::memcpy(old, row, sizeof(S) * count);
      for (int64_t i = 0; i < count; ++i) row[i] = old[Rank<S>::place(ranks_[i])];
    }
    std::memcpy(before_, order, sizeof(int64_t) * count);
    for (int64_t i = 0; i < count; ++i) order[i] = before_[Rank<S>::place(ranks_[i])];
  }

  // along[i] = sum_d axis_d cell[d, i].
  void project(int64_t columns) {
    for (int64_t i = 0; i < columns; ++i) along_[i] = 0;
    for (int64_t d = 0; d < few_; ++d) add_scaled(along_, axis_[d], cell_ + d * columns, columns);
  }

  const aat_tiled_order &call_;
  const int64_t wide_, few_, thin_, size_;
  Both *ranks_;
  int64_t *before_;
  S *points_, *narrowed_, *rows_, *cell_, *along_, *scatter_, *mean_, *basis_, *second_, *turned_,
      *axis_;
};

template <class S>
int order(const aat_tiled_order &call) {
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, call.sets));
  const int64_t numbers = Orderer<S>::numbers(call), most = std::max(call.size, call.width);
  Scratch<S> scratch(workers * numbers);
  Scratch<typename Rank<S>::Both> ranks(workers * most);
  Scratch<int64_t> before(workers * most);
  if (!scratch.ok() || !ranks.ok() || !before.ok()) return AAT_NO_MEMORY;
  parallel_for(call.sets, workers, [&](int64_t set, int64_t worker) {
    Orderer<S>(call, scratch.get() + worker * numbers, ranks.get() + worker * most,
               before.get() + worker * most)(set);
  });
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiled_order_f32(const aat_tiled_order *call) { return aat::order<float>(*call); }
AAT_EXPORT int aat_tiled_order_f64(const aat_tiled_order *call) {
  return aat::order<double>(*call);
}
}
