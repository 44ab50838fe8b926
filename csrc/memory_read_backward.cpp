// Gradients of answering queries from fixed sums:
//
//     d phi(q) = S [d n, d m],  d S = sum_q phi(q) [d n, d m]^T
#include "interface/memory_backward.h"
#include "memory_gradients.h"

namespace aat {
namespace {

constexpr int64_t kBlock = 64;  // queries

template <class S>
class Reader {
 public:
  Reader(const aat_memory_read_backward &call, Shelf<S> &shelf)
      : call_(call), map_(source_of(call)), gradients_(source_of(call), map_) {
    map_.use(shelf.take(map_.scratch(kBlock)));
    gradients_.use(shelf.take(gradients_.scratch(kBlock)), kBlock);
    const int64_t state = (call.value_width + 1) * row();
    sums_ = shelf.take(state);
    sums_grad_ = shelf.take(state);
    phi_ = shelf.take(kBlock * row());
    slopes_ = shelf.take(kBlock * row());
    read_grad_ = shelf.take(kBlock * e_row());
  }

  void run(int64_t b, int64_t h) {
    map_.prepare(h);
    gradients_.prepare(h);
    load_sums(at<S>(call_.values, b, h), call_.values.stride[2], at<S>(call_.mass, b, h),
              call_.features, call_.value_width, sums_);
    std::memset(sums_grad_, 0, (call_.value_width + 1) * row() * sizeof(S));
    for (int64_t head = h * call_.group; head < (h + 1) * call_.group; ++head)
      for (int64_t start = 0; start < call_.tokens; start += kBlock) block(b, head, start);
    store_sums(sums_grad_, call_.features, call_.value_width, at<S>(call_.values_grad, b, h),
               call_.values_grad.stride[2], at<S>(call_.mass_grad, b, h));
    if (call_.weights_grad.data)
      gradients_.give(at<S>(call_.offset_grad, b, h), at<S>(call_.weights_grad, b, h),
                      call_.weights_grad.stride[2]);
  }

 private:
  int64_t row() const { return padded<S>(call_.features); }
  int64_t e_row() const { return padded<S>(call_.value_width + 1); }

  void block(int64_t b, int64_t head, int64_t start) {
    const int64_t count = call_.tokens - start < kBlock ? call_.tokens - start : kBlock;
    const int64_t width = call_.value_width, x_row = call_.query.stride[2];
    const S *x = at<S>(call_.query, b, head, start);
    map_.evaluate(count, x, x_row, Form::value, phi_, row());
    normaliser_gradients(call_, b, head, start, count, read_grad_);
    gemm<S, Into::overwrite>(count, call_.features, width + 1, {read_grad_, e_row(), 1}, sums_,
                             row(), slopes_, row());
    gemm<S, Into::add>(width + 1, call_.features, count, {read_grad_, 1, e_row()}, phi_, row(),
                       sums_grad_, row());
    gradients_.through_factor(count, phi_, nullptr, slopes_);
    if (call_.weights_grad.data) gradients_.to_parameters(count, slopes_, map_.points());
    if (call_.query_grad.data)
      gradients_.to_points(count, slopes_, x, x_row, map_.points(),
                           at<S>(call_.query_grad, b, head, start), call_.query_grad.stride[2]);
  }

  const aat_memory_read_backward &call_;
  FeatureMap<S> map_;
  FeatureGradients<S> gradients_;
  S *sums_, *sums_grad_, *phi_, *slopes_, *read_grad_;
};

}  // namespace
}  // namespace aat

extern "C" {
AAT_EXPORT int aat_memory_read_backward_f32(const aat_memory_read_backward *call) {
  return aat::each_head<float, aat::Reader<float>>(*call);
}
AAT_EXPORT int aat_memory_read_backward_f64(const aat_memory_read_backward *call) {
  return aat::each_head<double, aat::Reader<double>>(*call);
}
}
