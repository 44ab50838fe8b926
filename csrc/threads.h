// Work on several threads, and the scratch memory that each of them needs.
//
// Threads are made for a call and joined at its end (some 20 us each, next to nothing beside the
// work they are used for), so that the library holds nothing between calls and survives fork().
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace aat {

// Calls work(item, worker) for every item in [0, items), 0 <= worker < threads. Which worker takes
// an item is chance: an item may write only what belongs to it, and sums over items are formed
// afterwards in their order, so that results do not depend on it.
template <class Work>
void parallel_for(int64_t items, int64_t threads, Work &&work) {
  struct Shared {
    std::atomic<int64_t> next{0};
    int64_t items;
    Work *work;
  } shared;
  shared.items = items;
  shared.work = &work;
  struct Start {
    Shared *shared;
    int64_t worker;
  };
  auto run = [](void *argument) -> void * {
    Start *start = static_cast<Start *>(argument);
    for (int64_t item; (item = start->shared->next.fetch_add(1)) < start->shared->items;)
      (*start->shared->work)(item, start->worker);
    return nullptr;
  };
  if (threads > items) threads = items;
  constexpr int64_t most = 256;
  if (threads > most) threads = most;
  pthread_t handles[most];
  Start starts[most];
  int64_t started = 0;
  for (int64_t worker = 1; worker < threads; ++worker) {
    starts[worker] = {&shared, worker};
    // If the system gives no more threads, those that are there do the work.
    if (pthread_create(&handles[started], nullptr, run, &starts[worker]) != 0) break;
    ++started;
  }
  starts[0] = {&shared, 0};
  run(&starts[0]);
  for (int64_t n = 0; n < started; ++n) pthread_join(handles[n], nullptr);
}

// Numbers for one worker, on cache line boundaries; `ok()` is false when memory ran out.
template <class S>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count) {
    size_t bytes = (static_cast<size_t>(count) * sizeof(S) + 127) / 64 * 64;
    data_ = static_cast<S *>(std::aligned_alloc(64, bytes));
    if (data_) std::memset(data_, 0, bytes);
  }
  Scratch(Scratch &&other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch() { std::free(data_); }
  bool ok() const { return data_ != nullptr; }
  S *get() const { return data_; }

 private:
  S *data_ = nullptr;
};

// parallel_for in which each worker has `numbers` numbers of scratch: work(item, scratch). False
// when memory ran out; then nothing was done.
template <class S, class Work>
bool parallel_for_with_scratch(int64_t items, int64_t threads, int64_t numbers, Work &&work) {
  if (items <= 0) return true;
  constexpr int64_t line = 64 / sizeof(S);
  const int64_t workers = threads < 1 ? 1 : threads < items ? threads : items;
  const int64_t distance = (numbers + line - 1) / line * line + line;
  Scratch<S> scratch(workers * distance);
  if (!scratch.ok()) return false;
  parallel_for(items, workers, [&](int64_t item, int64_t worker) {
    work(item, scratch.get() + worker * distance);
  });
  return true;
}

}  // namespace aat
