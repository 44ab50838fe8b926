// What a block of queries of one head reads: summaries of closed nodes, tokens of exact tiles,
// sinks and near tokens, by address and in this order. A query sees a first part of the list: what
// lies ahead of it comes last.
#pragma once

#include "interface/tiled.h"
#include "threads.h"

namespace aat {

template <class S>
AAT_INLINE S *place(const aat_view &view, int64_t a, int64_t b = 0, int64_t c = 0) {
  return static_cast<S *>(view.data) + a * view.stride[0] + b * view.stride[1] +
         c * view.stride[2];
}

// Where a head stands: query head, key head, sequence, and group in its sequence.
struct Standing {
  int64_t head, key_head, sequence, group;
};

template <class Call>
Standing standing(const Call &call, int64_t head) {
  const int64_t key_head = head / call.repeat;
  return {head, key_head, key_head / call.groups, key_head % call.groups};
}

// Calls summary(node), token(tile, place), sink(number) and near(number) for each row that a head
// reads, in their order.
template <class Call, class Summary, class Token, class Sink, class Near>
void each_row(const Call &call, Standing at, Summary summary, Token token, Sink sink, Near near) {
  if (call.tile_key.data) {
    const uint8_t *closed = place<uint8_t>(call.closed, at.head);
    for (int64_t node = 0; node < call.nodes; ++node)
      if (closed[node]) summary(node);
    const uint8_t *exact = place<uint8_t>(call.exact, at.head);
    for (int64_t tile = 0; tile < call.tiles; ++tile) {
      if (!exact[tile]) continue;
      const uint8_t *valid = place<uint8_t>(call.tile_valid, at.key_head, tile);
      for (int64_t l = 0; l < call.tile; ++l)
        if (valid[l]) token(tile, l);
    }
  }
  for (int64_t n = 0; n < call.sinks; ++n)
    if (place<uint8_t>(call.sink_visible, at.sequence)[n]) sink(n);
  const uint8_t *valid =
      call.valid.data ? place<uint8_t>(call.valid, at.sequence) : nullptr;
  for (int64_t n = 0; n < call.near; ++n)
    if (!valid || valid[n]) near(n);
}

// The longest list of any head, and the most summaries.
struct Longest {
  int64_t rows, summaries;
};

template <class Call>
Longest longest_list(const Call &call) {
  Longest most{0, 0};
  if (call.tile_key.data)
    for (int64_t head = 0; head < call.batch * call.groups * call.repeat; ++head) {
      const uint8_t *closed = place<uint8_t>(call.closed, head);
      const uint8_t *exact = place<uint8_t>(call.exact, head);
      int64_t summaries = 0, tiles = 0;
      for (int64_t node = 0; node < call.nodes; ++node) summaries += closed[node];
      for (int64_t tile = 0; tile < call.tiles; ++tile) tiles += exact[tile];
      const int64_t rows = summaries + tiles * call.tile;
      if (rows > most.rows) most.rows = rows;
      if (summaries > most.summaries) most.summaries = summaries;
    }
  most.rows += call.sinks + call.near;
  return most;
}

template <class S>
struct ReadList {
  const S **key, **value;
  S *bias;        // of each summary: log2 of its count
  int64_t *node;  // of each summary
  int64_t *seen;  // [s + 1]: visible ones among the first near tokens
  int64_t summaries, always, count;

  // How many rows the query sees that stands behind `near` near tokens.
  int64_t visible(int64_t near) const { return always + seen[near]; }
};

template <class S, class Call>
void fill_list(const Call &call, Standing at, ReadList<S> *list) {
  int64_t n = 0, shown = 0, next = 0;
  list->summaries = 0;
  auto add = [&](const S *key, const S *value) {
    list->key[n] = key;
    list->value[n] = value;
    ++n;
  };
  list->always = -1;
  each_row(
      call, at,
      [&](int64_t node) {
        const S log_count = place<S>(call.log_count, at.key_head)[node];
        if (!(log_count >= 0)) return;  // an empty node
        list->node[n] = node;
        list->bias[n] = log_count * S(1.4426950408889634074);
        add(place<S>(call.node_key, at.key_head, node),
            place<S>(call.node_value, at.key_head, node));
        list->summaries = n;
      },
      [&](int64_t tile, int64_t l) {
        add(place<S>(call.tile_key, at.key_head, tile, l),
            place<S>(call.tile_value, at.key_head, tile, l));
      },
      [&](int64_t sink) {
        add(place<S>(call.sink_key, at.sequence, at.group, sink),
            place<S>(call.sink_value, at.sequence, at.group, sink));
      },
      [&](int64_t near) {
        if (list->always < 0) list->always = n;
        while (next <= near) list->seen[next++] = shown;
        ++shown;
        add(place<S>(call.key, at.sequence, at.group, near),
            place<S>(call.value, at.sequence, at.group, near));
      });
  while (next <= call.near) list->seen[next++] = shown;
  if (list->always < 0) list->always = n;
  list->count = n;
}

// Memory of all workers, not cleared: long lists of which little is used would be.
class Memory {
 public:
  explicit Memory(int64_t bytes)
      : data_(static_cast<char *>(
            std::aligned_alloc(64, (static_cast<size_t>(bytes) + 127) / 64 * 64))) {}
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  ~Memory() { std::free(data_); }
  bool ok() const { return data_ != nullptr; }
  char *get() const { return data_; }

 private:
  char *data_;
};

// Memory of one worker, given out piece by piece; a first pass without memory counts the bytes.
class Arena {
 public:
  explicit Arena(char *base) : base_(reinterpret_cast<uintptr_t>(base)) {}
  template <class T>
  T *take(int64_t count) {
    T *here = reinterpret_cast<T *>(base_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return here;
  }
  int64_t used() const { return static_cast<int64_t>(used_); }

 private:
  uintptr_t base_;
  uintptr_t used_ = 0;
};

template <class S, class Call>
ReadList<S> take_list(const Call &call, Longest most, Arena *arena) {
  ReadList<S> list;
  list.key = arena->take<const S *>(most.rows);
  list.value = arena->take<const S *>(most.rows);
  list.bias = arena->take<S>(most.summaries);
  list.node = arena->take<int64_t>(most.summaries);
  list.seen = arena->take<int64_t>(call.near + 1);
  list.summaries = list.always = list.count = 0;
  return list;
}

}  // namespace aat
