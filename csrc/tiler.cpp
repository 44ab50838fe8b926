// The dynamic programme of the tiler, super-block by super-block.
//
//     V_0 = 0,   V_b = min over a < b and R of V_a + loss(a, b, R) + price * rows(a, b, R).
//
// Values are whole numbers below 2^53, losses times 2^bits plus costs, so that sums are exact in
// any order, a value tells its cost, and of two tilings that are worth the same the cheaper wins.
// What is free to choose is chosen as tiling/tiles/sweep.py does.
#include <algorithm>
#include <cmath>
#include <utility>

#include "interface/tiler.h"
#include "simd.h"
#include "threads.h"

namespace aat {
namespace {

// Programmes of super-blocks that are copied together, so that their columns are read once.
constexpr int64_t kTogether = 8;

template <class T>
T *at(const aat_view &view, int64_t i = 0, int64_t j = 0) {
  return static_cast<T *>(view.data) + i * view.stride[0] + j * view.stride[1];
}

struct Point {
  double price, cost, loss;
};

// Segments that cross no position: of all starts a of a tile the best at each R is that of least
// V_a - prefix_a(R), which is kept as b goes on.
template <class Call>
class PrefixForm {
 public:
  static int64_t scratch(const Call &call) {
    return (call.positions + 1) * (2 * call.resolutions + 1) + 2 * call.resolutions;
  }

  PrefixForm(const Call &call, double *scratch) : call_(call), r_(call.resolutions) {
    auto take = [&](int64_t count) { return std::exchange(scratch, scratch + count); };
    prefix_ = take((call.positions + 1) * r_);
    ahead_ = take((call.positions + 1) * r_);
    value_ = take(call.positions + 1);
    least_ = take(r_);
    since_ = take(r_);
  }

  void look(int64_t block) {
    for (int64_t p = 0; p <= call_.positions; ++p)
      for (int64_t r = 0; r < r_; ++r) prefix_[p * r_ + r] = at<double>(call_.prefix, p, r)[block];
  }

  double best(double price) {
    const double each = std::ldexp(price, call_.bits) + 1, overhead = call_.overhead * each;
    const double *rows = at<double>(call_.rows);
    for (int64_t i = 0; i < (call_.positions + 1) * r_; ++i)
      ahead_[i] = prefix_[i] + rows[i] * each;
    for (int64_t r = 0; r < r_; ++r) least_[r] = -ahead_[r];
    value_[0] = 0;
    for (int64_t p = 1; p <= call_.positions; ++p) {
      const double *ahead = ahead_ + p * r_;
      double value = least_[0] + ahead[0];
      for (int64_t r = 1; r < r_; ++r) value = std::min(value, least_[r] + ahead[r]);
      value += overhead;
      for (int64_t r = 0; r < r_; ++r) least_[r] = std::min(least_[r], value - ahead[r]);
      value_[p] = value;
    }
    return value_[call_.positions];
  }

  // After `best` at the same price: start and level of the last tile of every position.
  void last_tiles(double, int64_t *start, int64_t *level) {
    for (int64_t r = 0; r < r_; ++r) {
      least_[r] = -ahead_[r];
      since_[r] = 0;
    }
    for (int64_t p = 1; p <= call_.positions; ++p) {
      const double *ahead = ahead_ + p * r_;
      int64_t found = 0;
      for (int64_t r = 1; r < r_; ++r)
        if (least_[r] + ahead[r] < least_[found] + ahead[found]) found = r;
      level[p] = found;
      start[p] = static_cast<int64_t>(since_[found]);
      for (int64_t r = 0; r < r_; ++r)
        if (value_[p] - ahead[r] <= least_[r]) {
          least_[r] = value_[p] - ahead[r];
          since_[r] = static_cast<double>(p);
        }
    }
  }

  double lost(const aat_view &losses, int64_t block, int64_t level, int64_t start, int64_t stop) {
    return at<double>(losses, level, stop)[block] - at<double>(losses, level, start)[block];
  }

 private:
  const Call &call_;
  const int64_t r_;
  double *prefix_, *ahead_, *value_, *least_, *since_;
};

// Any sizes and segments: a table of what each pair of positions loses.
template <class Call>
class TableForm {
 public:
  static int64_t scratch(const Call &call) {
    return call.pairs * (call.resolutions + 1) + call.positions + 1;
  }

  TableForm(const Call &call, double *scratch) : call_(call), k_(call.pairs) {
    auto take = [&](int64_t count) { return std::exchange(scratch, scratch + count); };
    table_ = take(k_ * call.resolutions);
    least_ = take(k_);
    value_ = take(call.positions + 1);
  }

  void look(int64_t block) {
    for (int64_t r = 0; r < call_.resolutions; ++r)
      for (int64_t k = 0; k < k_; ++k) table_[r * k_ + k] = at<double>(call_.table, r, k)[block];
  }

  double best(double price) {
    const double each = std::ldexp(price, call_.bits) + 1;
    for (int64_t r = 0; r < call_.resolutions; ++r) {
      const double *table = table_ + r * k_, *costs = at<double>(call_.costs, r);
      for (int64_t k = 0; k < k_; ++k) {
        const double own = table[k] + costs[k] * each;
        least_[k] = r && least_[k] <= own ? least_[k] : own;
      }
    }
    const int64_t *pair = at<int64_t>(call_.pair), *start = at<int64_t>(call_.start);
    value_[0] = 0;
    for (int64_t p = 1; p <= call_.positions; ++p) {
      double value = std::numeric_limits<double>::infinity();
      for (int64_t k = pair[p - 1]; k < pair[p]; ++k)
        value = std::min(value, value_[start[k]] + least_[k]);
      value_[p] = value;
    }
    return value_[call_.positions];
  }

  void last_tiles(double price, int64_t *start, int64_t *level) {
    const double each = std::ldexp(price, call_.bits) + 1;
    const int64_t *pair = at<int64_t>(call_.pair), *from = at<int64_t>(call_.start);
    for (int64_t p = 1; p <= call_.positions; ++p) {
      start[p] = level[p] = 0;
      if (pair[p - 1] == pair[p]) continue;
      int64_t found = pair[p - 1];
      for (int64_t k = found; k < pair[p]; ++k)
        if (value_[from[k]] + least_[k] < value_[from[found]] + least_[found]) found = k;
      start[p] = from[found];
      while (level[p] + 1 < call_.resolutions &&
             table_[level[p] * k_ + found] + at<double>(call_.costs, level[p])[found] * each !=
                 least_[found])
        ++level[p];
    }
  }

  double lost(const aat_view &losses, int64_t block, int64_t level, int64_t start, int64_t stop) {
    const int64_t first = at<int64_t>(call_.pair)[stop - 1];
    const int64_t pair = first + start - at<int64_t>(call_.start)[first];
    return at<double>(losses, level, pair)[block];
  }

 private:
  const Call &call_;
  const int64_t k_;
  double *table_, *least_, *value_;
};

double cost_in(double best, int64_t bits) {
  return best - std::ldexp(std::floor(std::ldexp(best, -bits)), bits);
}

template <class Form>
Point point_at(Form &form, double price, int64_t bits) {
  const double best = form.best(price), value = std::floor(std::ldexp(best, -bits));
  const double cost = cost_in(best, bits);
  return {price, cost, value - price * cost};
}

// Between a tiling that costs too much and one that does not, the price of the line through both
// is tried, until nothing lies below the line.
template <class Form>
double price_within(const aat_tiler_price &call, Form &form) {
  const double *tried = at<double>(call.tried);
  Point dear = point_at(form, tried[0], call.bits), cheap = dear;
  const Point free = dear;
  for (int64_t trial = 1; trial < call.trials && cheap.cost > call.most; ++trial) {
    dear = cheap;
    cheap = point_at(form, tried[trial], call.bits);
  }
  if (cheap.cost > call.most) dear = cheap = free;
  while (true) {
    double price = std::floor((cheap.loss - dear.loss) / std::max(dear.cost - cheap.cost, 1.0));
    price = std::max(std::min(price, cheap.price), dear.price);
    const Point point = point_at(form, price, call.bits);
    if (!(point.cost < dear.cost && point.cost > cheap.cost)) return cheap.price;
    (point.cost <= call.most ? cheap : dear) = point;
  }
}

template <class Form>
void solve_block(const aat_tiler_solve &call, Form &form, int64_t block, int64_t *start,
                 int64_t *level) {
  const double price = at<double>(call.price)[block], best = form.best(price);
  const int64_t *borders = at<int64_t>(call.borders), *spans = at<int64_t>(call.spans);
  int64_t *length = at<int64_t>(call.length, block), *span = at<int64_t>(call.span, block);
  form.last_tiles(price, start, level);
  std::fill(length, length + call.positions, 0);
  std::fill(span, span + call.positions, 0);
  double loss = 0;
  for (int64_t stop = call.positions; stop > 0; stop = start[stop]) {
    length[start[stop]] = borders[stop] - borders[start[stop]];
    span[start[stop]] = spans[level[stop]];
    loss += form.lost(call.losses, block, level[stop], start[stop], stop);
  }
  at<double>(call.loss)[block] = loss;
  at<double>(call.cost)[block] = cost_in(best, call.bits);
}

// work(form, block, indices) for every super-block; `indices` holds 2 (positions + 1) numbers.
template <class Form, class Call, class Work>
int for_blocks(const Call &call, Work work) {
  const int64_t items = (call.blocks + kTogether - 1) / kTogether;
  const int64_t workers = std::max<int64_t>(1, std::min(call.threads, items));
  const int64_t numbers = Form::scratch(call), places = 2 * (call.positions + 1);
  Scratch<double> scratch(workers * numbers);
  Scratch<int64_t> indices(workers * places);
  if (!scratch.ok() || !indices.ok()) return AAT_NO_MEMORY;
  parallel_for(items, workers, [&](int64_t item, int64_t worker) {
    Form form(call, scratch.get() + worker * numbers);
    const int64_t stop = std::min(call.blocks, (item + 1) * kTogether);
    for (int64_t block = item * kTogether; block < stop; ++block) {
      form.look(block);
      work(form, block, indices.get() + worker * places);
    }
  });
  return AAT_OK;
}

template <template <class> class Form>
int price(const aat_tiler_price &call) {
  return for_blocks<Form<aat_tiler_price>>(call, [&](auto &form, int64_t block, int64_t *) {
    at<double>(call.price)[block] = price_within(call, form);
  });
}

template <template <class> class Form>
int solve(const aat_tiler_solve &call) {
  return for_blocks<Form<aat_tiler_solve>>(call, [&](auto &form, int64_t block, int64_t *indices) {
    solve_block(call, form, block, indices, indices + call.positions + 1);
  });
}

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_tiler_price_f64(const aat_tiler_price *call) {
  return call->prefix.data ? aat::price<aat::PrefixForm>(*call)
                           : aat::price<aat::TableForm>(*call);
}
AAT_EXPORT int aat_tiler_solve_f64(const aat_tiler_solve *call) {
  return call->prefix.data ? aat::solve<aat::PrefixForm>(*call)
                           : aat::solve<aat::TableForm>(*call);
}
}
