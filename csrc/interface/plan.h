/* Which nodes of a pyramid one block of queries reads through their summaries. */
#ifndef AAT_PLAN_H
#define AAT_PLAN_H

#include "view.h"

/* The largest nodes that hold nothing but far super-blocks are looked at first. From the top of the
 * pyramid down, the cheapest nodes of each height stay closed as long as their
 * mean costs over the scouts sum to no more than `upper_share` of what is left of the limit (tiles:
 * all of it); the others hand over to their children. Nodes are numbered height after height from
 * the tiles on. With neither variance nor radius and spread, the cost is the squared mass. */
struct aat_tiled_plan {
  struct aat_view query;     /* [heads, scouts, width], scaled */
  struct aat_view lse;       /* [heads, scouts]; infinity hides a scout */
  struct aat_view count;     /* [key_heads, nodes] */
  struct aat_view key;       /* [key_heads, nodes, width] */
  struct aat_view variance;  /* [key_heads, nodes, width], or null */
  struct aat_view radius;    /* [key_heads, nodes], or null */
  struct aat_view spread;    /* [key_heads, nodes], or null */
  struct aat_view children;  /* int64 [key_heads, nodes, group]; those of tiles are not read */
  struct aat_view far;       /* bool [blocks]: super-blocks to cover */
  struct aat_view sizes;     /* int64 [heights]: nodes of each height */
  struct aat_view spans;     /* int64 [heights]: super-blocks that a unit of nodes stands for */
  struct aat_view widths;    /* int64 [heights]: nodes of a unit */
  struct aat_view closed;    /* out, bool [heads, nodes] */
  struct aat_view exact;     /* out, bool [heads, sizes[0]] */
  struct aat_view looked;    /* out [heads]: nodes that were priced */
  int64_t heads;
  int64_t key_heads;
  int64_t scouts;
  int64_t width;
  int64_t nodes;
  int64_t blocks;
  int64_t heights;
  int64_t group;
  double limit;
  double worst;
  double upper_share;
  double tail;
  int64_t threads;
};

/* Mean cost over the scouts of m nodes for each head. */
struct aat_tiled_scout_costs {
  struct aat_view query;     /* [heads, scouts, width], scaled */
  struct aat_view lse;       /* [heads, scouts]; infinity hides a scout */
  struct aat_view count;     /* [key_heads, nodes] */
  struct aat_view key;       /* [key_heads, nodes, width] */
  struct aat_view variance;  /* [key_heads, nodes, width], or null */
  struct aat_view radius;    /* [key_heads, nodes], or null */
  struct aat_view spread;    /* [key_heads, nodes], or null */
  struct aat_view cost;      /* out [heads, nodes] */
  int64_t heads;
  int64_t key_heads;
  int64_t scouts;
  int64_t width;
  int64_t nodes;
  double worst;
  double tail;
  int64_t threads;
};

#endif
