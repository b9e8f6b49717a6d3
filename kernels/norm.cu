// RMSNorm and LayerNorm, forward and backward. A block per row.
#include "common.cuh"

enum { RMS, LAYER }; // tensor.NormKind

// stats [R,2] receives mean (0 for RMSNorm) and reciprocal deviation. With rounded, the normalised row is rounded to
// bfloat16 before it is multiplied by the weight, as transformers does.
template <class T>
DEV void norm(i32 kind, float eps, i32 plus_one, i32 rounded, T *y, float *stats, const T *x, const void *w, const void *b,
              i32 wtype, i32 btype, i32 cols) {
  __shared__ float red[32];
  const T *row = x + (i64)BLOCK_X * cols;
  T *out = y + (i64)BLOCK_X * cols;
  float mean = 0, s = 0;
  if (kind == LAYER) {
    for (i32 i = TID; i < cols; i += THREADS) s += load(row + i);
    mean = block_sum(s, red) / cols;
  }
  s = 0;
  for (i32 i = TID; i < cols; i += THREADS) {
    float d = load(row + i) - mean;
    s += d * d;
  }
  float rstd = 1.f / sqrt_rn(block_sum(s, red) / cols + eps);
  if (TID == 0) {
    stats[2 * (i64)BLOCK_X] = mean;
    stats[2 * (i64)BLOCK_X + 1] = rstd;
  }
  for (i32 i = TID; i < cols; i += THREADS) {
    float h = (load(row + i) - mean) * rstd, k = load_as(w, i, wtype);
    if (plus_one) k += 1.f;
    if (rounded) h = rounded_bf16(h);
    h *= k;
    if (b) h += load_as(b, i, btype);
    store(out + i, h);
  }
}

// With x̂ = (x−mean)·rstd and g = dy·w: dx = rstd·(g − mean g − x̂·mean(g·x̂)), without mean g for RMSNorm.
template <class T>
DEV void norm_bwd(i32 kind, i32 plus_one, T *dx, const T *dy, const float *stats, const T *x, const void *w, i32 wtype,
                  i32 cols, i32 acc) {
  __shared__ float red[32];
  i64 at = (i64)BLOCK_X * cols;
  float mean = stats[2 * (i64)BLOCK_X], rstd = stats[2 * (i64)BLOCK_X + 1], s1 = 0, s2 = 0;
  for (i32 i = TID; i < cols; i += THREADS) {
    float k = load_as(w, i, wtype) + (plus_one ? 1.f : 0.f);
    float g = load(dy + at + i) * k;
    s1 += g;
    s2 += g * ((load(x + at + i) - mean) * rstd);
  }
  s1 = kind == RMS ? 0.f : block_sum(s1, red) / cols;
  s2 = block_sum(s2, red) / cols;
  for (i32 i = TID; i < cols; i += THREADS) {
    float k = load_as(w, i, wtype) + (plus_one ? 1.f : 0.f);
    float g = load(dy + at + i) * k, h = (load(x + at + i) - mean) * rstd;
    float d = rstd * (g - s1 - h * s2);
    store(dx + at + i, acc ? load(dx + at + i) + d : d);
  }
}

// part[p][c] = Σ over block p's rows of dy·x̂, or of dy for the bias; a thread per column, a grid row per part.
template <class T>
DEV void norm_bwd_params(float *part_w, float *part_b, const T *dy, const float *stats, const T *x, i32 rows, i32 cols,
                         i32 per_part) {
  i32 c = BLOCK_X * THREADS + TID, r0 = BLOCK_Y * per_part;
  if (c >= cols) return;
  float sw = 0, sb = 0;
  for (i32 r = r0; r < rows && r < r0 + per_part; r++) {
    float d = load(dy + (i64)r * cols + c);
    sw += d * ((load(x + (i64)r * cols + c) - stats[2 * (i64)r]) * stats[2 * (i64)r + 1]);
    sb += d;
  }
  if (part_w) part_w[(i64)BLOCK_Y * cols + c] = sw;
  if (part_b) part_b[(i64)BLOCK_Y * cols + c] = sb;
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) norm_##t(i32 kind, float eps, i32 plus_one, i32 rounded, T *y, float *stats, const T *x, \
                                         const void *w, const void *b, i32 wtype, i32 btype, i32 cols) { \
    norm(kind, eps, plus_one, rounded, y, stats, x, w, b, wtype, btype, cols); \
  } \
  KERNEL __launch_bounds__(256) norm_bwd_##t(i32 kind, i32 plus_one, T *dx, const T *dy, const float *stats, const T *x, \
                                             const void *w, i32 wtype, i32 cols, i32 acc) { \
    norm_bwd(kind, plus_one, dx, dy, stats, x, w, wtype, cols, acc); \
  } \
  KERNEL __launch_bounds__(256) norm_bwd_params_##t(float *part_w, float *part_b, const T *dy, const float *stats, \
                                                    const T *x, i32 rows, i32 cols, i32 per_part) { \
    norm_bwd_params(part_w, part_b, dy, stats, x, rows, cols, per_part); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
