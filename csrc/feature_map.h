// Features of points: what the sums of a memory of fixed size are made of.
//
//     given      phi_s(x) = x_s
//     diagonal   phi_s(x) = exp(w_s . [y^2, y] + c_s)                y = x - origin
//     scalar     phi_s(x) = exp(w_s . y + u_s |y|^2 + c_s)
//     fidelity   phi(x) = (psi_i^2, sqrt(2) psi_i psi_j for i < j, sqrt(background)),  psi = x / |x|
//
// A field mapped from softmax adds 1/2 norm_factor |x|^2 to all logarithms. The last `constant`
// features have no weights: they are the same for all points. The exponents of a block of points
// are one product with weights that are packed once for each head. No digit of a feature depends
// on which other points are evaluated with it.
#pragma once

#include <cmath>

#include "gemm.h"
#include "interface/view.h"

namespace aat {

enum FeatureKind : int64_t {
  kGiven = 0,  // features, or logarithms of them if the call works with these
  kDiagonal = 1,
  kScalar = 2,
  kFidelity = 3,
  kComplexFidelity = 4,  // points are [Re, Im]
};

// What a call says of its features, in fields of the same names.
struct FeatureSource {
  int64_t kind;      // a FeatureKind
  int64_t width;     // D, numbers of a point
  int64_t features;  // F
  int64_t constant;  // how many of the last features are the same for all points
  double background;
  aat_view origin;       // [H, D]
  aat_view offset;       // [H, F], c
  aat_view weights;      // [H, F, 2 D], or [H, F, D] if scalar
  aat_view square;       // [H, F], u, if scalar
  aat_view norm_factor;  // [H] or null
};

template <class Call>
inline FeatureSource source_of(const Call &call) {
  return {call.kind,   call.width,  call.features, call.constant, call.background,
          call.origin, call.offset, call.weights,  call.square,   call.norm_factor};
}

enum class Form { value, logarithm };

template <class S>
class FeatureMap {
 public:
  // Features of a panel: two vectors, [depth, kPanel], so that a panel stays in the first cache.
  static constexpr int64_t kPanel = 2 * lanes<S>;

  explicit FeatureMap(const FeatureSource &source)
      : source_(source), splats_(source.features - source.constant) {
    if (source.kind == kDiagonal) depth_ = 2 * source.width;
    if (source.kind == kScalar) depth_ = source.width + 1;
    point_row_ = padded<S>(depth_ ? depth_ : source.width);
  }

  // Numbers of scratch that blocks of at most `rows` points need.
  int64_t scratch(int64_t rows) const {
    return packed_size() + padded<S>(source_.features) + padded<S>(source_.width) +
           rows * point_row_;
  }

  void use(S *scratch) {
    packed_ = scratch;
    offset_ = packed_ + packed_size();
    origin_ = offset_ + padded<S>(source_.features);
    points_ = origin_ + padded<S>(source_.width);
  }

  int64_t depth() const { return depth_; }          // numbers of an expanded point
  int64_t point_row() const { return point_row_; }  // distance between expanded points
  int64_t splats() const { return splats_; }        // features with weights
  const S *points() const { return points_; }       // the points expanded last

  // From now on features are those of this head.
  void prepare(int64_t head) {
    if (!depth_) return;
    const S *weights = at(source_.weights, head);
    const int64_t row = source_.weights.stride[1];
    for (int64_t first = 0; first < splats_; first += kPanel)
      pack(weights + first * row, row, splats_ - first, packed_ + first * depth_,
           source_.kind == kScalar ? at(source_.square, head) + first : nullptr);
    for (int64_t s = source_.features; s < padded<S>(source_.features); ++s)
      offset_[s] = -std::numeric_limits<S>::infinity();
    std::memcpy(offset_, at(source_.offset, head), source_.features * sizeof(S));
    std::memcpy(origin_, at(source_.origin, head), source_.width * sizeof(S));
    resume(head);
  }

  // The same, where the scratch in use still holds what `prepare` wrote for this head.
  void resume(int64_t head) {
    tilt_ = source_.norm_factor.data ? S(0.5) * *at(source_.norm_factor, head) : S(0);
  }

  // out[n, s]: features of the points x[n], or their logarithms; from the last feature up to
  // padded(features) 0, or -inf.
  void evaluate(int64_t rows, const S *x, int64_t x_row, Form form, S *out, int64_t out_row) {
    if (source_.kind == kGiven) return copy(rows, x, x_row, form, out, out_row);
    if (source_.kind == kFidelity) return fidelity(rows, x, x_row, out, out_row);
    if (source_.kind == kComplexFidelity) return complex_fidelity(rows, x, x_row, out, out_row);
    expand(rows, x, x_row, points_);
    if (rows < 4)
      few(rows, out, out_row);
    else
      many(rows, out, out_row);
    for (int64_t n = 0; n < rows; ++n)
      finish(tilt_ == 0 ? S(0) : tilt_ * square_of(x + n * x_row), form, out + n * out_row);
  }

  // points[n] = [y^2, y] or [y, |y|^2], whose products with the weights are the exponents.
  void expand(int64_t rows, const S *x, int64_t x_row, S *points) const {
    const int64_t width = source_.width;
    for (int64_t n = 0; n < rows; ++n) {
      const S *from = x + n * x_row;
      S *point = points + n * point_row_;
      if (source_.kind == kDiagonal) {
        for (int64_t i = 0; i < width; ++i) {
          const S y = from[i] - origin_[i];
          point[i] = y * y;
          point[width + i] = y;
        }
      } else {
        for (int64_t i = 0; i < width; ++i) point[i] = from[i] - origin_[i];
        point[width] = square_of(point);
      }
    }
  }

 private:
  static const S *at(const aat_view &view, int64_t head) {
    return static_cast<const S *>(view.data) + head * view.stride[0];
  }

  // Products of the expanded points with all weights, a panel after the other.
  void many(int64_t rows, S *out, int64_t out_row) const {
    const Left<S> points{points_, point_row_, 1};
    for (int64_t first = 0; first < splats_; first += kPanel) {
      const S *panel = packed_ + first * depth_;
      if (splats_ - first > lanes<S>)
        gemm_rows<S, 2, Into::overwrite>(rows, depth_, points, panel, kPanel, out + first, out_row);
      else
        gemm_rows<S, 1, Into::overwrite>(rows, depth_, points, panel, kPanel, out + first, out_row);
    }
  }

  // The same, two points and two panels at once, so that sums do not wait for one another.
  void few(int64_t rows, S *out, int64_t out_row) const {
    for (int64_t first = 0; first < splats_; first += 2 * kPanel)
      for (int64_t n = 0; n < rows; n += 2) {
        const bool one = rows - n == 1, last = first + kPanel >= splats_;
        if (one)
          last ? few_panels<1, 1>(first, n, out, out_row) : few_panels<1, 2>(first, n, out, out_row);
        else
          last ? few_panels<2, 1>(first, n, out, out_row) : few_panels<2, 2>(first, n, out, out_row);
      }
  }

  template <int R, int P>
  void few_panels(int64_t first, int64_t n, S *out, int64_t out_row) const {
    const S *points = points_ + n * point_row_, *panel = packed_ + first * depth_;
    Vec<S> total[R][2 * P];
    for (int r = 0; r < R; ++r)
      for (int w = 0; w < 2 * P; ++w) total[r][w] = Vec<S>{};
    for (int64_t k = 0; k < depth_; ++k, panel += kPanel)
      for (int w = 0; w < 2 * P; ++w) {
        const Vec<S> weights = load(panel + w / 2 * depth_ * kPanel + w % 2 * lanes<S>);
        for (int r = 0; r < R; ++r)
          total[r][w] = weights * points[r * point_row_ + k] + total[r][w];
      }
    for (int r = 0; r < R; ++r)
      for (int w = 0; w < 2 * P && first + w * lanes<S> < padded<S>(splats_); ++w)
        store(out + (n + r) * out_row + first + w * lanes<S>, total[r][w]);
  }

  int64_t packed_size() const { return (splats_ + kPanel - 1) / kPanel * kPanel * depth_; }

  void pack(const S *weights, int64_t row, int64_t count, S *panel, const S *square) const {
    const int64_t width = square ? depth_ - 1 : depth_;
    if (count > kPanel) count = kPanel;
    if (count < kPanel) std::memset(panel, 0, depth_ * kPanel * sizeof(S));
    transpose(count, width, weights, row, panel, kPanel);
    if (square) std::memcpy(panel + width * kPanel, square, count * sizeof(S));
  }

  S square_of(const S *x) const {
    Vec<S> total{};
    int64_t i = 0;
    for (; i + lanes<S> <= source_.width; i += lanes<S>) total += load(x + i) * load(x + i);
    S rest = sum<S>(total);
    for (; i < source_.width; ++i) rest += x[i] * x[i];
    return rest;
  }

  void finish(S tilt, Form form, S *out) const {
    // What the product left past the last splat is no exponent.
    fill(out, splats_, 0);
    for (int64_t s = 0; s < padded<S>(source_.features); s += lanes<S>) {
      const Vec<S> logs = load(out + s) + load(offset_ + s) + tilt;
      store(out + s, form == Form::value ? exp(logs) : logs);
    }
  }

  void fill(S *row, int64_t from, S with) const {
    for (int64_t s = from; s < padded<S>(source_.features); ++s) row[s] = with;
  }

  void copy(int64_t rows, const S *x, int64_t x_row, Form form, S *out, int64_t out_row) const {
    const S nothing = form == Form::value ? S(0) : -std::numeric_limits<S>::infinity();
    for (int64_t n = 0; n < rows; ++n) {
      std::memcpy(out + n * out_row, x + n * x_row, source_.features * sizeof(S));
      fill(out + n * out_row, source_.features, nothing);
    }
  }

  // x / |x|, or 0 where there is no direction.
  void normalise(const S *x, S *state) const {
    const S square = square_of(x);
    const S scale = square > std::numeric_limits<S>::min() ? S(1) / std::sqrt(square) : S(0);
    for (int64_t i = 0; i < source_.width; ++i) state[i] = x[i] * scale;
  }

  void fidelity(int64_t rows, const S *x, int64_t x_row, S *out, int64_t out_row) const {
    const int64_t m = source_.width;
    const S root2 = std::sqrt(S(2));
    const S *state = points_;
    for (int64_t n = 0; n < rows; ++n) {
      S *row = out + n * out_row;
      normalise(x + n * x_row, points_);
      for (int64_t i = 0; i < m; ++i) row[i] = state[i] * state[i];
      S *to = row + m;
      for (int64_t i = 0; i + 1 < m; to += m - 1 - i, ++i) {
        const S a = root2 * state[i];
        for (int64_t j = i + 1; j < m; ++j) to[j - i - 1] = a * state[j];
      }
      background(row, m * (m + 1) / 2);
    }
  }

  // The squares, then the real parts of pairs, then their imaginary parts.
  void complex_fidelity(int64_t rows, const S *x, int64_t x_row, S *out, int64_t out_row) const {
    const int64_t m = source_.width / 2;
    const S root2 = std::sqrt(S(2));
    const S *re = points_, *im = points_ + m;
    for (int64_t n = 0; n < rows; ++n) {
      S *row = out + n * out_row;
      normalise(x + n * x_row, points_);
      for (int64_t i = 0; i < m; ++i) row[i] = re[i] * re[i] + im[i] * im[i];
      S *real = row + m, *imaginary = real + m * (m - 1) / 2;
      for (int64_t i = 0; i + 1 < m; real += m - 1 - i, imaginary += m - 1 - i, ++i) {
        const S a = root2 * re[i], b = root2 * im[i];
        for (int64_t j = i + 1; j < m; ++j) {
          real[j - i - 1] = a * re[j] + b * im[j];
          imaginary[j - i - 1] = b * re[j] - a * im[j];
        }
      }
      background(row, m * m);
    }
  }

  void background(S *row, int64_t pairs) const {
    if (source_.features > pairs) row[pairs] = S(std::sqrt(source_.background));
    fill(row, source_.features, 0);
  }

  FeatureSource source_;
  int64_t splats_, depth_ = 0, point_row_;
  S tilt_ = 0;
  S *packed_ = nullptr, *offset_ = nullptr, *origin_ = nullptr, *points_ = nullptr;
};

}  // namespace aat
