// Kernels that move rows by index: rotary embedding, gather, scatter-add, put.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

DEV float rounded_as(const float *, float x) { return x; }
DEV float rounded_as(const bf16 *, float x) { return rounded_bf16(x); }

// One of the numbers that a pair (a, b) becomes.
DEV float turned(float a, float b, float c, float s) { return fma_rn(a, c, -mul_rn(b, s)); }

// Rotates the pairs of each head by the angles of the row's position, and copies the rest. y may be x: a thread owns both
// elements of its pairs. Where everything is aligned a thread has the pairs of two pieces, or a piece of the rest.
template <class T>
DEV void rope(T *y, const T *x, const float *table, const i32 *pos, i64 rows, i32 heads, i32 dim, i32 rotary,
              i32 interleaved, float sign, i64 sx, i64 sy) {
  constexpr i32 N = PIECE<T>;
  i32 half = rotary / 2;
  bool wide = !interleaved && aligned(y) && aligned(x) && aligned(table) && aligned_rows<T>(half | dim | sx | sy);
  i32 size = wide ? N : 1, pairs = half / size, units = pairs + (dim - rotary) / size;
  EACH(i, rows * heads * units) {
    i32 u = i % units;
    i64 rh = i / units, r = rh / heads, h = rh % heads;
    const T *from = x + r * sx + h * dim;
    T *to = y + r * sy + h * dim;
    const float *angles = table + (i64)pos[r] * rotary;
    if (u >= pairs) {
      i32 at = rotary + (u - pairs) * size;
      if (wide) *(Words *)(to + at) = *(const Words *)(from + at);
      else to[at] = from[at];
    } else if (wide) {
      float a[N], b[N], c[N], s[N], ra[N], rb[N];
      i32 p = u * N, q = p + half;
      load_many<N>(a, from + p);
      load_many<N>(b, from + q);
      load_many<N>(c, angles + p);
      load_many<N>(s, angles + q);
#pragma unroll
      for (i32 e = 0; e < N; e++) {
        ra[e] = turned(a[e], b[e], c[e], s[e] * sign);
        rb[e] = turned(b[e], a[e], c[e], -s[e] * sign);
      }
      store_many<N>(to + p, ra);
      store_many<N>(to + q, rb);
    } else {
      float c = angles[u], s = angles[half + u] * sign;
      i32 p = interleaved ? 2 * u : u, q = interleaved ? 2 * u + 1 : u + half;
      float a = load(from + p), b = load(from + q);
      store(to + p, turned(a, b, c, s));
      store(to + q, turned(b, a, c, -s));
    }
  }
}

// The elements that two types move together: a piece of the smaller.
template <class A, class B> constexpr i32 BOTH = sizeof(A) < sizeof(B) ? PIECE<A> : PIECE<B>;

// y[i] = table[ids[i]].
template <class T, class TT> DEV void gather_from(T *y, const TT *table, const i32 *ids, i64 rows, i32 cols) {
  constexpr i32 N = BOTH<T, TT>;
  bool wide = aligned(y) && aligned(table) && cols % N == 0;
  i32 size = wide ? N : 1, units = cols / size;
  EACH(i, rows * units) {
    i64 r = i / units, c = i % units * size;
    T *to = y + r * cols + c;
    const TT *from = table + (i64)ids[r] * cols + c;
    if (wide) {
      float v[N];
      load_many<N>(v, from);
      store_many<N>(to, v);
    } else {
      store(to, load(from));
    }
  }
}
template <class T> DEV void gather(T *y, const void *table, const i32 *ids, i64 rows, i32 cols, i32 type) {
  if (type == F32) gather_from(y, (const float *)table, ids, rows, cols);
  else if (type == BF16) gather_from(y, (const bf16 *)table, ids, rows, cols);
  else gather_from(y, (const f16 *)table, ids, rows, cols);
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
  constexpr i32 N = BOTH<TT, T>;
  i32 first = BLOCK_X, id = ids[first];
  if (holds(ids, 0, first, id)) return;
  bool wide = aligned(table) && aligned(dy) && cols % N == 0;
  TT *out = table + (i64)id * cols;
  // All threads read the same ids: the compares are uniform and the loads broadcast.
  if (wide) {
    for (i32 c = TID * N; c < cols; c += THREADS * N) {
      float sum[N], v[N];
      load_many<N>(sum, out + c);
      for (i32 r = first; r < rows; r++) {
        if (ids[r] != id) continue;
        load_many<N>(v, dy + (i64)r * cols + c);
#pragma unroll
        for (i32 e = 0; e < N; e++) sum[e] = rounded_as((TT *)0, sum[e] + v[e]);
      }
      store_many<N>(out + c, sum);
    }
    return;
  }
  for (i32 c = TID; c < cols; c += THREADS)
    for (i32 r = first; r < rows; r++)
      if (ids[r] == id) store(out + c, load(out + c) + load(dy + (i64)r * cols + c));
}

// dst[rows[i]] = src[i]. A block per row; of equal rows the last wins.
template <class TD, class T> DEV void put_rows(TD *dst, const T *src, const i32 *rows, i32 n, i32 cols, i64 stride) {
  constexpr i32 N = BOTH<TD, T>;
  i32 i = BLOCK_X, r = rows[i];
  if (holds(rows, i + 1, n, r)) return;
  TD *to = dst + (i64)r * cols;
  const T *from = src + i * stride;
  if (aligned(dst) && aligned(src) && cols % N == 0 && stride % N == 0) {
    for (i32 c = TID * N; c < cols; c += THREADS * N) {
      float v[N];
      load_many<N>(v, from + c);
      store_many<N>(to + c, v);
    }
    return;
  }
  for (i32 c = TID; c < cols; c += THREADS) store(to + c, load(from + c));
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
