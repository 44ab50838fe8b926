// From gradients of features to gradients of points and of the features' parameters.
//
// Of splats: with z = [y^2, y] or [y, |y|^2], y = x - origin,
//
//     phi = exp(z W^T + offset),  d logs = d phi * phi
//     d offset += d logs,  d W += d logs^T z,  d z = d logs W,  d y = 2 y d z_square + d z_linear
//     d x = d y + norm_factor x sum_s d logs_s
//
// Of fidelity, with s = x / |x|: phi lists s_i^2 and sqrt(2) s_i s_j (complex: the real, then the
// imaginary part of sqrt(2) psi_i conj(psi_j)), and d x = (d s - s (s . d s)) / |x|.
#pragma once

#include "feature_map.h"

namespace aat {

// Beside a FeatureMap of the same source, for one head after the other.
template <class S>
class FeatureGradients {
 public:
  FeatureGradients(const FeatureSource &source, const FeatureMap<S> &map)
      : source_(source), map_(map), depth_(map.depth()), row_(map.point_row()) {}

  // Numbers of scratch that blocks of at most `rows` points need.
  int64_t scratch(int64_t rows) const {
    return rows * row_ + 2 * splats() * row_ + feature_row() + padded<S>(source_.width);
  }

  void use(S *scratch, int64_t rows) {
    dz_ = scratch;
    weights_ = dz_ + rows * row_;
    d_weights_ = weights_ + splats() * row_;
    d_offset_ = d_weights_ + splats() * row_;
    state_ = d_offset_ + feature_row();
  }

  // From now on features are those of this head; no gradients of its parameters yet.
  void prepare(int64_t head) {
    if (!depth_) return;
    norm_factor_ = source_.norm_factor.data ? *at(source_.norm_factor, head) : S(0);
    const S *rows = at(source_.weights, head);
    const S *square = source_.kind == kScalar ? at(source_.square, head) : nullptr;
    const int64_t given = square ? depth_ - 1 : depth_;
    for (int64_t s = 0; s < splats(); ++s) {
      std::memcpy(weights_ + s * row_, rows + s * source_.weights.stride[1], given * sizeof(S));
      if (square) weights_[s * row_ + given] = square[s * source_.square.stride[1]];
    }
    std::memset(d_weights_, 0, splats() * row_ * sizeof(S));
    std::memset(d_offset_, 0, feature_row() * sizeof(S));
  }

  // `slopes` [rows, F] holds d phi of features times `factor` (null for 1), `phi` those features;
  // left are d logs of splats, else the gradient of the features without the factor.
  void through_factor(int64_t rows, const S *phi, const S *factor, S *slopes) const {
    for (int64_t n = 0; n < rows; ++n, phi += feature_row(), slopes += feature_row()) {
      if (depth_) {
        for (int64_t s = 0; s < feature_row(); s += lanes<S>)
          store(slopes + s, load(slopes + s) * load(phi + s));
      } else if (factor) {
        for (int64_t s = 0; s < source_.features; ++s) slopes[s] *= factor[n];
      }
    }
  }

  // Adds the gradients of offset [F] and W [splats, depth] from `slopes` at expanded points.
  void to_parameters(int64_t rows, const S *slopes, const S *points) {
    if (!depth_) return;
    // A sum for each block first: one by one, small terms would be lost beside the total.
    for (int64_t s = 0; s < feature_row(); s += lanes<S>) {
      Vec<S> total{};
      for (int64_t n = 0; n < rows; ++n) total += load(slopes + n * feature_row() + s);
      store(d_offset_ + s, load(d_offset_ + s) + total);
    }
    gemm<S, Into::add>(splats(), depth_, rows, {slopes, 1, feature_row()}, points, row_, d_weights_,
                       row_);
  }

  // d x of the points x, which are `points` when expanded.
  void to_points(int64_t rows, const S *slopes, const S *x, int64_t x_row, const S *points, S *dx,
                 int64_t dx_row) const {
    if (depth_)
      gemm<S, Into::overwrite>(rows, depth_, splats(), {slopes, feature_row(), 1}, weights_, row_,
                               dz_, row_);
    const int64_t width = source_.width;
    for (int64_t n = 0; n < rows; ++n, slopes += feature_row(), x += x_row, dx += dx_row) {
      const S *z = points + n * row_, *dz = dz_ + n * row_;
      if (source_.kind == kGiven) {
        std::memcpy(dx, slopes, source_.features * sizeof(S));
      } else if (source_.kind == kDiagonal) {
        for (int64_t i = 0; i < width; ++i) dx[i] = 2 * z[width + i] * dz[i] + dz[width + i];
      } else if (source_.kind == kScalar) {
        for (int64_t i = 0; i < width; ++i) dx[i] = 2 * z[i] * dz[width] + dz[i];
      } else {
        through_norm(x, slopes, dx);
      }
      if (norm_factor_ != 0) {
        const S along = norm_factor_ * total(slopes);
        for (int64_t i = 0; i < width; ++i) dx[i] += along * x[i];
      }
    }
  }

  // The gradients gathered since `prepare`.
  void give(S *d_offset, S *d_weights, int64_t d_weights_row) const {
    if (!depth_) return;
    std::memcpy(d_offset, d_offset_, source_.features * sizeof(S));
    for (int64_t s = 0; s < source_.features; ++s) {
      S *to = d_weights + s * d_weights_row;
      if (s < splats())
        std::memcpy(to, d_weights_ + s * row_, depth_ * sizeof(S));
      else
        std::memset(to, 0, depth_ * sizeof(S));
    }
  }

 private:
  static const S *at(const aat_view &view, int64_t head) {
    return static_cast<const S *>(view.data) + head * view.stride[0];
  }
  int64_t splats() const { return depth_ ? map_.splats() : 0; }
  int64_t feature_row() const { return padded<S>(source_.features); }

  S total(const S *slopes) const {
    Vec<S> total{};
    for (int64_t s = 0; s < feature_row(); s += lanes<S>) total += load(slopes + s);
    return sum<S>(total);
  }

  static S dot(int64_t count, const S *a, const S *b) {
    Vec<S> total{};
    int64_t i = 0;
    for (; i + lanes<S> <= count; i += lanes<S>) total = load(a + i) * load(b + i) + total;
    S rest = sum<S>(total);
    for (; i < count; ++i) rest += a[i] * b[i];
    return rest;
  }

  // Returns a . b and adds factor * a to `to`.
  static S dot_and_add(int64_t count, const S *a, const S *b, S factor, S *to) {
    Vec<S> total{};
    int64_t i = 0;
    for (; i + lanes<S> <= count; i += lanes<S>) {
      total = load(a + i) * load(b + i) + total;
      store(to + i, load(a + i) * factor + load(to + i));
    }
    S rest = sum<S>(total);
    for (; i < count; ++i) {
      rest += a[i] * b[i];
      to[i] += a[i] * factor;
    }
    return rest;
  }

  // The zero vector is no state: it has gradient 0.
  void through_norm(const S *x, const S *slopes, S *dx) const {
    const int64_t width = source_.width;
    const S square = dot(width, x, x);
    const S scale = square > std::numeric_limits<S>::min() ? S(1) / std::sqrt(square) : S(0);
    for (int64_t i = 0; i < width; ++i) state_[i] = x[i] * scale;
    if (source_.kind == kFidelity)
      to_real_state(slopes, dx);
    else
      to_complex_state(slopes, dx);
    const S along = dot(width, dx, state_);
    for (int64_t i = 0; i < width; ++i) dx[i] = (dx[i] - along * state_[i]) * scale;
  }

  void to_real_state(const S *slopes, S *d_state) const {
    const int64_t m = source_.width;
    const S root2 = std::sqrt(S(2));
    for (int64_t i = 0; i < m; ++i) d_state[i] = 2 * slopes[i] * state_[i];
    const S *row = slopes + m;
    for (int64_t i = 0; i + 1 < m; row += m - 1 - i, ++i)
      d_state[i] += root2 * dot_and_add(m - 1 - i, row, state_ + i + 1, root2 * state_[i],
                                        d_state + i + 1);
  }

  // re_ij = root2 (a_i a_j + b_i b_j), im_ij = root2 (b_i a_j - a_i b_j) for psi = a + i b.
  void to_complex_state(const S *slopes, S *d_state) const {
    const int64_t m = source_.width / 2;
    const S root2 = std::sqrt(S(2));
    const S *a = state_, *b = state_ + m;
    S *da = d_state, *db = d_state + m;
    for (int64_t i = 0; i < m; ++i) {
      da[i] = 2 * slopes[i] * a[i];
      db[i] = 2 * slopes[i] * b[i];
    }
    const S *re = slopes + m, *im = re + m * (m - 1) / 2;
    for (int64_t i = 0; i + 1 < m; re += m - 1 - i, im += m - 1 - i, ++i) {
      const int64_t rest = m - 1 - i, j = i + 1;
      const S ai = root2 * a[i], bi = root2 * b[i];
      const S re_a = dot_and_add(rest, re, a + j, ai, da + j);
      const S re_b = dot_and_add(rest, re, b + j, bi, db + j);
      const S im_a = dot_and_add(rest, im, a + j, bi, da + j);
      const S im_b = dot_and_add(rest, im, b + j, -ai, db + j);
      da[i] += root2 * (re_a - im_b);
      db[i] += root2 * (re_b + im_a);
    }
  }

  FeatureSource source_;
  const FeatureMap<S> &map_;
  int64_t depth_, row_;
  S norm_factor_ = 0;
  S *dz_ = nullptr, *weights_ = nullptr, *d_weights_ = nullptr, *d_offset_ = nullptr,
    *state_ = nullptr;
};

}  // namespace aat
