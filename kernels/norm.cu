// RMSNorm and LayerNorm, forward and backward. A block per row.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

// Where the host finds all operands of a row at multiples of 16 bytes, and room for it, a block copies its row here first and
// reads it from memory once only.
extern __shared__ Words room[];

// Copies a row of whole pieces to the room, after the rows that are there already. It needs a barrier afterwards.
template <class T> DEV void stage(Words *to, const T *row, i32 cols) {
  for (i32 i = TID; i < cols / PIECE<T>; i += THREADS) to[i] = ((const Words *)row)[i];
}

enum { RMS, LAYER }; // tensor.NormKind

// A thread's share of Σ x and of Σ (x−mean)² of a row.
template <class T> DEV float part_sum(const T *row, i32 cols) {
  float s = 0;
  for (i32 i = TID; i < cols; i += THREADS) s += load(row + i);
  return s;
}
template <class T> DEV float part_squares(const T *row, i32 cols, float mean) {
  float s = 0;
  for (i32 i = TID; i < cols; i += THREADS) {
    float d = load(row + i) - mean;
    s += d * d;
  }
  return s;
}

// stats [R,2] receives mean (0 for RMSNorm) and reciprocal deviation. With rounded, the normalised row is rounded to
// bfloat16 before it is multiplied by the weight, as transformers does.
template <class T>
DEV void norm(i32 kind, float eps, i32 plus_one, i32 rounded, T *y, float *stats, const T *x, const void *w, const void *b,
              i32 wtype, i32 btype, i32 cols, i32 staged) {
  __shared__ float red[32];
  const T *row = x + (i64)BLOCK_X * cols, *kept = (const T *)room;
  T *out = y + (i64)BLOCK_X * cols;
  if (staged) {
    stage(room, row, cols);
    SYNC();
  }
  float mean = 0, s;
  if (kind == LAYER) {
    if (staged) s = part_sum(kept, cols);
    else s = part_sum(row, cols);
    mean = block_sum(s, red) / cols;
  }
  if (staged) s = part_squares(kept, cols, mean);
  else s = part_squares(row, cols, mean);
  float rstd = 1.f / sqrt_rn(block_sum(s, red) / cols + eps);
  if (TID == 0) {
    stats[2 * (i64)BLOCK_X] = mean;
    stats[2 * (i64)BLOCK_X + 1] = rstd;
  }
  auto value = [=](float v, float k, float bias) INLINE {
    float h = (v - mean) * rstd;
    if (plus_one) k += 1.f;
    if (rounded) h = rounded_bf16(h);
    h *= k;
    if (b) h = add_rn(h, bias);
    return h;
  };
  if (staged) {
    constexpr i32 N = PIECE<T>;
    for (i32 i = TID * N; i < cols; i += THREADS * N) {
      float v[N], k[N], bias[N] = {};
      load_many<N>(v, kept + i);
      load_many_as<N>(k, w, i, wtype);
      if (b) load_many_as<N>(bias, b, i, btype);
#pragma unroll
      for (i32 e = 0; e < N; e++) v[e] = value(v[e], k[e], bias[e]);
      store_many<N>(out + i, v);
    }
    return;
  }
  for (i32 i = TID; i < cols; i += THREADS) store(out + i, value(load(row + i), load_as(w, i, wtype), b ? load_as(b, i, btype) : 0.f));
}

// With x̂ = (x−mean)·rstd and g = dy·w: dx = rstd·(g − mean g − x̂·mean(g·x̂)), without mean g for RMSNorm.
template <class T>
DEV void norm_bwd(i32 kind, i32 plus_one, T *dx, const T *dy, const float *stats, const T *x, const void *w, i32 wtype,
                  i32 cols, i32 acc, i32 staged) {
  constexpr i32 N = PIECE<T>;
  __shared__ float red[32];
  i64 at = (i64)BLOCK_X * cols;
  float mean = stats[2 * (i64)BLOCK_X], rstd = stats[2 * (i64)BLOCK_X + 1], s1 = 0, s2 = 0;
  auto sums = [&](const T *d, const T *v) INLINE { // this thread's share of Σ g and Σ g·x̂
    for (i32 i = TID; i < cols; i += THREADS) {
      float g = load(d + i) * (load_as(w, i, wtype) + (plus_one ? 1.f : 0.f));
      s1 += g;
      s2 += g * ((load(v + i) - mean) * rstd);
    }
  };
  const T *kept_x = (const T *)room, *kept_dy = (const T *)(room + cols / N);
  if (staged) {
    stage(room, x + at, cols);
    stage(room + cols / N, dy + at, cols);
    SYNC();
    sums(kept_dy, kept_x);
  } else {
    sums(dy + at, x + at);
  }
  s1 = kind == RMS ? 0.f : block_sum(s1, red) / cols;
  s2 = block_sum(s2, red) / cols;
  auto value = [=](float d, float v, float k, float old) INLINE {
    k += plus_one ? 1.f : 0.f;
    float g = d * k, h = (v - mean) * rstd;
    float r = rstd * (g - s1 - h * s2);
    return acc ? add_rn(old, r) : r;
  };
  if (staged) {
    for (i32 i = TID * N; i < cols; i += THREADS * N) {
      float d[N], v[N], k[N], old[N] = {};
      load_many<N>(d, kept_dy + i);
      load_many<N>(v, kept_x + i);
      load_many_as<N>(k, w, i, wtype);
      if (acc) load_many<N>(old, dx + at + i);
#pragma unroll
      for (i32 e = 0; e < N; e++) d[e] = value(d[e], v[e], k[e], old[e]);
      store_many<N>(dx + at + i, d);
    }
    return;
  }
  for (i32 i = TID; i < cols; i += THREADS)
    store(dx + at + i, value(load(dy + at + i), load(x + at + i), load_as(w, i, wtype), acc ? load(dx + at + i) : 0.f));
}

// part[p][c] = Σ over block p's rows of dy·x̂, or of dy for the bias. A thread has N columns, a grid row is a part.
template <class T, i32 N>
DEV void norm_bwd_params(float *part_w, float *part_b, const T *dy, const float *stats, const T *x, i32 rows, i32 cols,
                         i32 per_part) {
  i32 c = (BLOCK_X * THREADS + TID) * N, r0 = BLOCK_Y * per_part;
  if (c >= cols) return;
  float sw[N] = {}, sb[N] = {};
  for (i32 r = r0; r < rows && r < r0 + per_part; r++) {
    float d[N], v[N], mean = stats[2 * (i64)r], rstd = stats[2 * (i64)r + 1];
    if constexpr (N == 1) {
      d[0] = load(dy + (i64)r * cols + c);
      v[0] = load(x + (i64)r * cols + c);
    } else {
      load_many<N>(d, dy + (i64)r * cols + c);
      load_many<N>(v, x + (i64)r * cols + c);
    }
#pragma unroll
    for (i32 e = 0; e < N; e++) {
      sw[e] += d[e] * ((v[e] - mean) * rstd);
      sb[e] += d[e];
    }
  }
#pragma unroll
  for (i32 e = 0; e < N; e++) {
    if (part_w) part_w[(i64)BLOCK_Y * cols + c + e] = sw[e];
    if (part_b) part_b[(i64)BLOCK_Y * cols + c + e] = sb[e];
  }
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) norm_##t(i32 kind, float eps, i32 plus_one, i32 rounded, T *y, float *stats, const T *x, \
                                         const void *w, const void *b, i32 wtype, i32 btype, i32 cols, i32 staged) { \
    norm(kind, eps, plus_one, rounded, y, stats, x, w, b, wtype, btype, cols, staged); \
  } \
  KERNEL __launch_bounds__(256) norm_bwd_##t(i32 kind, i32 plus_one, T *dx, const T *dy, const float *stats, const T *x, \
                                             const void *w, i32 wtype, i32 cols, i32 acc, i32 staged) { \
    norm_bwd(kind, plus_one, dx, dy, stats, x, w, wtype, cols, acc, staged); \
  } \
  KERNEL __launch_bounds__(256) norm_bwd_params_##t(float *part_w, float *part_b, const T *dy, const float *stats, \
                                                    const T *x, i32 rows, i32 cols, i32 per_part, i32 wide) { \
    if (wide) norm_bwd_params<T, PIECE<T>>(part_w, part_b, dy, stats, x, rows, cols, per_part); \
    else norm_bwd_params<T, 1>(part_w, part_b, dy, stats, x, rows, cols, per_part); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
