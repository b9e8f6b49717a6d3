// Kernels that move rows by index: rotary embedding, gather, scatter-add, put.
#include "common.cuh"

// Rotates the pairs of each head by the angles of the row's position, and copies the rest. y may be x: a thread owns both
// elements of its pair.
template <class T>
DEV void rope(T *y, const T *x, const float *table, const i32 *pos, i64 rows, i32 heads, i32 dim, i32 rotary,
              i32 interleaved, float sign, i64 sx, i64 sy) {
  i32 half = rotary / 2, units = half + dim - rotary; // pairs, then single elements
  EACH(i, rows * heads * units) {
    i32 u = i % units;
    i64 rh = i / units, r = rh / heads, h = rh % heads;
    const T *from = x + r * sx + h * dim;
    T *to = y + r * sy + h * dim;
    if (u >= half) {
      store(to + half + u, load(from + half + u));
      continue;
    }
    const float *angles = table + (i64)pos[r] * rotary;
    float c = angles[u], s = angles[half + u] * sign;
    i32 p = interleaved ? 2 * u : u, q = interleaved ? 2 * u + 1 : u + half;
    float a = load(from + p), b = load(from + q);
    store(to + p, a * c - b * s);
    store(to + q, b * c + a * s);
  }
}

// y[i] = table[ids[i]].
template <class T> DEV void gather(T *y, const void *table, const i32 *ids, i64 rows, i32 cols, i32 type) {
  EACH(i, rows * cols) store(y + i, load_as(table, (i64)ids[i / cols] * cols + i % cols, type));
}

// Whether ids[from, to) holds id. All threads of the block must call it; all warps do the same work.
DEV bool holds(const i32 *ids, i32 from, i32 to, i32 id) {
  for (i32 j = from; j < to; j += 32) {
    bool hit = j + LANE < to && ids[j + LANE] == id;
    if (ballot(hit)) return true;
  }
  return false;
}

// table[ids[i]] += dy[i], in order of i, rounded after each addition. A block per row of dy: the block of the first row
// with an id adds all rows with that id; the others have nothing to do. So the order is fixed without sorting.
template <class TT, class T> DEV void scatter_add(TT *table, const T *dy, const i32 *ids, i32 rows, i32 cols) {
  i32 first = BLOCK_X, id = ids[first];
  if (holds(ids, 0, first, id)) return;
  TT *out = table + (i64)id * cols;
  // All threads read the same ids: the compares are uniform and the loads broadcast.
  for (i32 c = TID; c < cols; c += THREADS)
    for (i32 r = first; r < rows; r++)
      if (ids[r] == id) store(out + c, load(out + c) + load(dy + (i64)r * cols + c));
}

// dst[rows[i]] = src[i]. A block per row; of equal rows the last wins.
template <class TD, class T> DEV void put_rows(TD *dst, const T *src, const i32 *rows, i32 n, i32 cols, i64 stride) {
  i32 i = BLOCK_X, r = rows[i];
  if (holds(rows, i + 1, n, r)) return;
  for (i32 c = TID; c < cols; c += THREADS) store(dst + (i64)r * cols + c, load(src + i * stride + c));
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) rope_##t(T *y, const T *x, const float *table, const i32 *pos, i64 rows, i32 heads, i32 dim, \
                                         i32 rotary, i32 interleaved, float sign, i64 sx, i64 sy) { \
    rope(y, x, table, pos, rows, heads, dim, rotary, interleaved, sign, sx, sy); \
  } \
  KERNEL __launch_bounds__(256) gather_##t(T *y, const void *table, const i32 *ids, i64 rows, i32 cols, i32 type) { \
    gather(y, table, ids, rows, cols, type); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)

#define FOR_TYPES(to, TO, t, T) \
  KERNEL __launch_bounds__(256) scatter_add_##to##_##t(TO *table, const T *dy, const i32 *ids, i32 rows, i32 cols) { \
    scatter_add(table, dy, ids, rows, cols); \
  } \
  KERNEL __launch_bounds__(256) put_rows_##to##_##t(TO *dst, const T *src, const i32 *rows, i32 n, i32 cols, i64 stride) { \
    put_rows(dst, src, rows, n, cols, stride); \
  }
FOR_TYPES(f32, float, f32, float)
FOR_TYPES(f32, float, bf16, bf16)
FOR_TYPES(bf16, bf16, f32, float)
FOR_TYPES(bf16, bf16, bf16, bf16)
