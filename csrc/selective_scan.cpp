// The selective scan, and its gradients.
//
//     h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t   in the first width_t of N channels,
//     y_t = C_t . h_t                                  read from these
//
// Inner channels do not know of each other: a worker takes a block of a few vectors of them through
// all tokens, with the state [N, block] in the first-level cache. Backward, with G_t the gradient of
// h_t, and states computed again from those that the forward call kept,
//
//     G_t = C_t y'_t + exp(delta_{t+1} A) G_{t+1},   Q_t = G_t exp(delta_t A) h_{t-1},
//     B'_t = sum_i G_t delta_t x_t,   C'_t = sum_i h_t y'_t,   A' = sum_{b,t} Q_t delta_t,
//     x'_t = delta_t sum_n B_t G_t,   delta'_t = sum_n Q_t A + x_t sum_n B_t G_t.
//
// Sums over inner channels and rows are kept for each block and row, and added in their order.
// Channels that a token does not use have no part in it: its parts of B', C' stay 0.
#include "interface/selective_scan.h"

#include "simd.h"
#include "threads.h"

namespace aat {
namespace {

constexpr int64_t kChunk = AAT_SCAN_CHUNK;
constexpr int kVectors = 4;  // in a block of inner channels

template <class S>
constexpr int64_t kBlock = kVectors * lanes<S>;

template <class S>
AAT_INLINE S *at(const aat_view &view, int64_t a, int64_t b = 0, int64_t c = 0) {
  return static_cast<S *>(view.data) + a * view.stride[0] + b * view.stride[1] +
         c * view.stride[2];
}

// Numbers of one block: `count` inner channels from `first` on, of row `row`.
struct Block {
  int64_t row, first, count;
};

Block block_of(int64_t item, int64_t blocks, int64_t size, int64_t inner) {
  int64_t first = item % blocks * size;
  return {item / blocks, first, inner - first < size ? inner - first : size};
}

AAT_INLINE int64_t width_at(const aat_view &widths, int64_t row, int64_t t, int64_t channels) {
  if (!widths.data) return channels;
  const int64_t width = *at<const int64_t>(widths, row, t);
  return width < 0 ? 0 : width < channels ? width : channels;
}

// to[n, i] = from[i, n], rows of `to` a block long and 0 past `count`.
template <class S>
void turn_in(const S *from, int64_t row, int64_t count, int64_t channels, S *to) {
  for (int64_t n = 0; n < channels; ++n)
    for (int64_t i = 0; i < kBlock<S>; ++i)
      to[n * kBlock<S> + i] = i < count ? from[i * row + n] : S(0);
}

template <class S>
void turn_out(const S *from, int64_t count, int64_t channels, S *to, int64_t row) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t n = 0; n < channels; ++n) to[i * row + n] = from[n * kBlock<S> + i];
}

// Tokens [start, start + length) of [B, T, I] in rows a block long, 0 past `count`.
template <class S>
void copy_in(const aat_view &from, Block block, int64_t start, int64_t length, S *to) {
  for (int64_t t = 0; t < length; ++t) {
    const S *row = at<S>(from, block.row, start + t) + block.first;
    for (int64_t i = 0; i < block.count; ++i) to[t * kBlock<S> + i] = row[i];
    for (int64_t i = block.count; i < kBlock<S>; ++i) to[t * kBlock<S> + i] = S(0);
  }
}

template <class S>
void copy_out(const S *from, Block block, int64_t start, int64_t length, const aat_view &to) {
  for (int64_t t = 0; t < length; ++t) {
    S *row = at<S>(to, block.row, start + t) + block.first;
    for (int64_t i = 0; i < block.count; ++i) row[i] = from[t * kBlock<S> + i];
  }
}

// What one worker needs, forward: A and h [N, block]; x, delta, y [chunk, block].
template <class S>
struct Forward {
  S *A, *h, *x, *delta, *y;
  static int64_t numbers(int64_t channels) { return (2 * channels + 3 * kChunk) * kBlock<S>; }
  Forward(S *scratch, int64_t channels) {
    A = scratch;
    h = A + channels * kBlock<S>;
    x = h + channels * kBlock<S>;
    delta = x + kChunk * kBlock<S>;
    y = delta + kChunk * kBlock<S>;
  }
};

// One token of W vectors of inner channels.
template <class S, int W, bool read>
AAT_INLINE void step(const Forward<S> &f, int64_t t, int64_t width, const S *B, const S *C) {
  const S *A = f.A;
  S *h = f.h;
  for (int w = 0; w < W; ++w) {
    const int64_t column = w * lanes<S>, here = t * kBlock<S> + column;
    const Vec<S> delta = load(f.delta + here), written = delta * load(f.x + here);
    Vec<S> y{};
    for (int64_t n = 0; n < width; ++n) {
      const int64_t place = n * kBlock<S> + column;
      const Vec<S> after = exp(delta * load(A + place)) * load(h + place) + written * B[n];
      store(h + place, after);
      if (read) y = after * C[n] + y;
    }
    if (read) store(f.y + here, y);
  }
}

template <class S, int W>
void scan_block(const aat_selective_scan &s, Block block, const Forward<S> &f) {
  turn_in(at<S>(s.A, block.first), s.A.stride[0], block.count, s.channels, f.A);
  turn_in(at<S>(s.start, block.row, block.first), s.start.stride[1], block.count, s.channels, f.h);
  for (int64_t start = 0; start < s.tokens; start += kChunk) {
    const int64_t length = s.tokens - start < kChunk ? s.tokens - start : kChunk;
    if (s.kept.data)
      for (int64_t n = 0; n < s.channels; ++n) {
        S *kept = at<S>(s.kept, block.row, start / kChunk, n) + block.first;
        for (int64_t i = 0; i < block.count; ++i) kept[i] = f.h[n * kBlock<S> + i];
      }
    copy_in(s.x, block, start, length, f.x);
    copy_in(s.delta, block, start, length, f.delta);
    for (int64_t t = 0; t < length; ++t) {
      const int64_t now = start + t, width = width_at(s.widths, block.row, now, s.channels);
      const S *B = at<S>(s.B, block.row, now);
      if (s.C.data)
        step<S, W, true>(f, t, width, B, at<S>(s.C, block.row, now));
      else
        step<S, W, false>(f, t, width, B, nullptr);
    }
    if (s.C.data) copy_out(f.y, block, start, length, s.y);
  }
  turn_out(f.h, block.count, s.channels, at<S>(s.end, block.row, block.first), s.end.stride[1]);
}

template <class S>
int64_t vectors_of(Block block) {
  return (block.count + lanes<S> - 1) / lanes<S>;
}

template <class S>
int selective_scan(const aat_selective_scan &s) {
  const int64_t blocks = (s.inner + kBlock<S> - 1) / kBlock<S>, items = s.batch * blocks;
  const int64_t workers = s.threads < items ? s.threads : items;
  const int64_t numbers = padded<S>(Forward<S>::numbers(s.channels)) + 64;
  Scratch<S> scratch(workers * numbers);
  if (!scratch.ok()) return AAT_NO_MEMORY;
  parallel_for(items, s.threads, [&](int64_t item, int64_t worker) {
    const Block block = block_of(item, blocks, kBlock<S>, s.inner);
    const Forward<S> f(scratch.get() + worker * numbers, s.channels);
    switch (vectors_of<S>(block)) {
      case 1: return scan_block<S, 1>(s, block, f);
      case 2: return scan_block<S, 2>(s, block, f);
      case 3: return scan_block<S, 3>(s, block, f);
      default: return scan_block<S, 4>(s, block, f);
    }
  });
  return AAT_OK;
}

// The sum of a vector's numbers, folded in the middle again and again.
template <class S>
AAT_INLINE S sum_halves(Vec<S> v) {
  S part[lanes<S>];
  store(part, v);
  for (int half = lanes<S> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) part[i] += part[i + half];
  return part[0];
}

// Backward: besides, of a chunk the decays and states before each token [chunk, N, block]; G and
// the block's part of A' [N, block].
template <class S>
struct Backward {
  Forward<S> f;
  S *decay, *before, *G, *A_grad, *y_grad, *x_grad, *delta_grad;
  static int64_t numbers(int64_t channels) {
    return Forward<S>::numbers(channels) +
           (2 * kChunk * channels + 2 * channels + 3 * kChunk) * kBlock<S>;
  }
  Backward(S *scratch, int64_t channels) : f(scratch, channels) {
    decay = scratch + Forward<S>::numbers(channels);
    before = decay + kChunk * channels * kBlock<S>;
    G = before + kChunk * channels * kBlock<S>;
    A_grad = G + channels * kBlock<S>;
    y_grad = A_grad + channels * kBlock<S>;
    x_grad = y_grad + kChunk * kBlock<S>;
    delta_grad = x_grad + kChunk * kBlock<S>;
  }
};

// The token's decays and the states before it, kept; `decay` and `before` [N, block] are its own.
template <class S, int W>
AAT_INLINE void step_again(const Forward<S> &f, int64_t t, int64_t width, const S *B, S *decay,
                           S *before) {
  const S *A = f.A;
  S *h = f.h;
  for (int w = 0; w < W; ++w) {
    const int64_t column = w * lanes<S>, here = t * kBlock<S> + column;
    const Vec<S> delta = load(f.delta + here), written = delta * load(f.x + here);
    for (int64_t n = 0; n < width; ++n) {
      const int64_t place = n * kBlock<S> + column;
      const Vec<S> factor = exp(delta * load(A + place)), state = load(h + place);
      store(decay + place, factor);
      store(before + place, state);
      store(h + place, factor * state + written * B[n]);
    }
  }
}

// Gradients of one token; B_grad and C_grad [N] get the sums over the block.
template <class S, int W, bool read>
AAT_INLINE void step_back(const Backward<S> &b, int64_t t, int64_t width, const S *decay,
                          const S *before, const S *B, const S *C, S *B_grad, S *C_grad) {
  const S *A = b.f.A;
  S *after_grad = b.G, *A_grad = b.A_grad;
  Vec<S> delta[W], written[W], outer[W], of_rate[W], of_written[W];
  for (int w = 0; w < W; ++w) {
    const int64_t here = t * kBlock<S> + w * lanes<S>;
    delta[w] = load(b.f.delta + here);
    written[w] = delta[w] * load(b.f.x + here);
    outer[w] = read ? load(b.y_grad + here) : Vec<S>{};
    of_rate[w] = of_written[w] = Vec<S>{};
  }
  for (int64_t n = 0; n < width; ++n) {
    Vec<S> of_B{}, of_C{};
    for (int w = 0; w < W; ++w) {
      const int64_t place = n * kBlock<S> + w * lanes<S>;
      const Vec<S> factor = load(decay + place), h = load(before + place);
      Vec<S> G = load(after_grad + place);
      if (read) {
        G = outer[w] * C[n] + G;
        of_C = (factor * h + written[w] * B[n]) * outer[w] + of_C;
      }
      of_B = G * written[w] + of_B;
      of_written[w] = G * B[n] + of_written[w];
      G = G * factor;
      store(after_grad + place, G);
      const Vec<S> Q = G * h;
      of_rate[w] = Q * load(A + place) + of_rate[w];
      store(A_grad + place, Q * delta[w] + load(A_grad + place));
    }
    B_grad[n] = sum_halves<S>(of_B);
    if (read) C_grad[n] = sum_halves<S>(of_C);
  }
  for (int w = 0; w < W; ++w) {
    const int64_t here = t * kBlock<S> + w * lanes<S>;
    store(b.x_grad + here, of_written[w] * delta[w]);
    store(b.delta_grad + here, of_written[w] * load(b.f.x + here) + of_rate[w]);
  }
}

// B_part, C_part [T, N] and A_part [N, block] are the block's own.
template <class S, int W>
void scan_block_back(const aat_selective_scan_backward &s, Block block, const Backward<S> &b,
                     S *A_part, S *B_part, S *C_part) {
  const int64_t N = s.channels;
  turn_in(at<S>(s.A, block.first), s.A.stride[0], block.count, N, b.f.A);
  turn_in(at<S>(s.end_grad, block.row, block.first), s.end_grad.stride[1], block.count, N, b.G);
  for (int64_t i = 0; i < N * kBlock<S>; ++i) b.A_grad[i] = S(0);
  for (int64_t start = (s.tokens + kChunk - 1) / kChunk * kChunk - kChunk; start >= 0;
       start -= kChunk) {
    const int64_t length = s.tokens - start < kChunk ? s.tokens - start : kChunk;
    copy_in(s.x, block, start, length, b.f.x);
    copy_in(s.delta, block, start, length, b.f.delta);
    if (s.C.data) copy_in(s.y_grad, block, start, length, b.y_grad);
    for (int64_t n = 0; n < N; ++n) {
      const S *kept = at<S>(s.kept, block.row, start / kChunk, n) + block.first;
      for (int64_t i = 0; i < kBlock<S>; ++i)
        b.f.h[n * kBlock<S> + i] = i < block.count ? kept[i] : S(0);
    }
    const int64_t size = N * kBlock<S>;
    for (int64_t t = 0; t < length; ++t) {
      const int64_t width = width_at(s.widths, block.row, start + t, N);
      step_again<S, W>(b.f, t, width, at<S>(s.B, block.row, start + t), b.decay + t * size,
                       b.before + t * size);
    }
    for (int64_t t = length - 1; t >= 0; --t) {
      const int64_t now = start + t, width = width_at(s.widths, block.row, now, N);
      const S *decay = b.decay + t * size, *before = b.before + t * size;
      const S *B = at<S>(s.B, block.row, now);
      if (s.C.data)
        step_back<S, W, true>(b, t, width, decay, before, B, at<S>(s.C, block.row, now),
                              B_part + now * N, C_part + now * N);
      else
        step_back<S, W, false>(b, t, width, decay, before, B, nullptr, B_part + now * N, nullptr);
    }
    copy_out(b.x_grad, block, start, length, s.x_grad);
    copy_out(b.delta_grad, block, start, length, s.delta_grad);
  }
  for (int64_t i = 0; i < N * kBlock<S>; ++i) A_part[i] = b.A_grad[i];
  turn_out(b.G, block.count, N, at<S>(s.start_grad, block.row, block.first),
           s.start_grad.stride[1]);
}

// whole[b, t] = sum over blocks of part[b, block, t], rows of N.
template <class S>
void add_blocks(const aat_selective_scan_backward &s, int64_t blocks, const S *part,
                const aat_view &whole) {
  const int64_t N = s.channels, size = s.tokens * N;
  parallel_for(s.batch * ((s.tokens + kChunk - 1) / kChunk), s.threads, [&](int64_t item, int64_t) {
    const int64_t chunks = (s.tokens + kChunk - 1) / kChunk, b = item / chunks;
    const int64_t start = item % chunks * kChunk;
    for (int64_t t = start; t < start + kChunk && t < s.tokens; ++t) {
      S *total = at<S>(whole, b, t);
      for (int64_t n = 0; n < N; ++n) total[n] = part[b * blocks * size + t * N + n];
      for (int64_t k = 1; k < blocks; ++k)
        for (int64_t n = 0; n < N; ++n) total[n] += part[(b * blocks + k) * size + t * N + n];
    }
  });
}

// A_grad[i, n] = sum over rows b of part[b, block, n, i].
template <class S>
void add_rows(const aat_selective_scan_backward &s, int64_t blocks, const S *part) {
  const int64_t N = s.channels, size = N * kBlock<S>;
  for (int64_t i = 0; i < s.inner; ++i)
    for (int64_t n = 0; n < N; ++n) {
      S total = S(0);
      for (int64_t b = 0; b < s.batch; ++b)
        total += part[(b * blocks + i / kBlock<S>) * size + n * kBlock<S> + i % kBlock<S>];
      at<S>(s.A_grad, i)[n] = total;
    }
}

template <class S>
int selective_scan_backward(const aat_selective_scan_backward &s) {
  const int64_t blocks = (s.inner + kBlock<S> - 1) / kBlock<S>, items = s.batch * blocks;
  const int64_t workers = s.threads < items ? s.threads : items;
  const int64_t numbers = padded<S>(Backward<S>::numbers(s.channels)) + 64;
  const int64_t of_A = s.channels * kBlock<S>, of_B = s.tokens * s.channels;
  Scratch<S> scratch(workers * numbers);
  Scratch<S> A_parts(items * of_A), B_parts(items * of_B), C_parts(s.C.data ? items * of_B : 0);
  if (!scratch.ok() || !A_parts.ok() || !B_parts.ok() || !C_parts.ok()) return AAT_NO_MEMORY;
  parallel_for(items, s.threads, [&](int64_t item, int64_t worker) {
    const Block block = block_of(item, blocks, kBlock<S>, s.inner);
    const Backward<S> b(scratch.get() + worker * numbers, s.channels);
    S *A = A_parts.get() + item * of_A, *B = B_parts.get() + item * of_B;
    S *C = s.C.data ? C_parts.get() + item * of_B : nullptr;
    switch (vectors_of<S>(block)) {
      case 1: return scan_block_back<S, 1>(s, block, b, A, B, C);
      case 2: return scan_block_back<S, 2>(s, block, b, A, B, C);
      case 3: return scan_block_back<S, 3>(s, block, b, A, B, C);
      default: return scan_block_back<S, 4>(s, block, b, A, B, C);
    }
  });
  add_blocks<S>(s, blocks, B_parts.get(), s.B_grad);
  if (s.C.data) add_blocks<S>(s, blocks, C_parts.get(), s.C_grad);
  add_rows<S>(s, blocks, A_parts.get());
  return AAT_OK;
}

}  // namespace
}  // namespace aat

extern "C" {

AAT_EXPORT int aat_selective_scan_f32(const aat_selective_scan *s) {
  return aat::selective_scan<float>(*s);
}
AAT_EXPORT int aat_selective_scan_f64(const aat_selective_scan *s) {
  return aat::selective_scan<double>(*s);
}
AAT_EXPORT int aat_selective_scan_backward_f32(const aat_selective_scan_backward *s) {
  return aat::selective_scan_backward<float>(*s);
}
AAT_EXPORT int aat_selective_scan_backward_f64(const aat_selective_scan_backward *s) {
  return aat::selective_scan_backward<double>(*s);
}

}  // extern "C"
