// Reductions in a fixed order: along rows, along columns, and the gradient norm.
#include "common.cuh"

enum { SUM, SUMSQ, MAX }; // tensor.ReduceOp

DEV float fold(i32 op, float s, float x) { return op == SUM ? s + x : op == SUMSQ ? s + x * x : fmax2(s, x); }
DEV float join(i32 op, float s, float x) { return op == MAX ? fmax2(s, x) : s + x; }

template <class T> DEV void put(T *y, float s, i32 acc) { store(y, acc ? load(y) + s : s); }

DEV void put_as(void *y, i64 i, float s, i32 type, i32 acc) {
  if (type == F32) put((float *)y + i, s, acc);
  else put((bf16 *)y + i, s, acc);
}

// y[r] = fold of row r; a block per row.
template <class T> DEV void reduce_rows(i32 op, void *y, const T *x, i32 cols, i32 type, i32 acc) {
  __shared__ float red[32];
  const T *row = x + (i64)BLOCK_X * cols;
  float s = op == MAX ? NEG_INF : 0.f;
  for (i32 i = TID; i < cols; i += THREADS) s = fold(op, s, load(row + i));
  s = op == MAX ? block_max(s, red) : block_sum(s, red);
  if (TID == 0) put_as(y, BLOCK_X, s, type, acc);
}

// y[c] = fold of column c; a block of 8 warps per 32 columns. Warp w folds rows w, w+8, …, in pieces that are summed
// apart, so that long columns stay accurate.
template <class T> DEV void reduce_cols(i32 op, void *y, const T *x, i64 rows, i32 cols, i32 type, i32 acc) {
  __shared__ float part[8][32];
  i32 c = BLOCK_X * 32 + LANE;
  float total = op == MAX ? NEG_INF : 0.f;
  if (c < cols)
    for (i64 r0 = WARP; r0 < rows; r0 += 8 * 64) {
      float s = op == MAX ? NEG_INF : 0.f;
      for (i64 r = r0; r < rows && r < r0 + 8 * 64; r += 8) s = fold(op, s, load(x + r * cols + c));
      total = join(op, total, s);
    }
  part[WARP][LANE] = total;
  SYNC();
  if (WARP == 0 && c < cols) {
    for (i32 w = 1; w < 8; w++) total = join(op, total, part[w][LANE]);
    put_as(y, c, total, type, acc);
  }
}

// part[b] = Σ x² of block b's elements.
template <class T> DEV void sumsq(float *part, const T *x, i64 n) {
  __shared__ float red[32];
  float s = 0;
  EACH(i, n) {
    float v = load(x + i);
    s += v * v;
  }
  s = block_sum(s, red);
  if (TID == 0) part[BLOCK_X] = s;
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) reduce_rows_##t(i32 op, void *y, const T *x, i32 cols, i32 type, i32 acc) { \
    reduce_rows(op, y, x, cols, type, acc); \
  } \
  KERNEL __launch_bounds__(256) reduce_cols_##t(i32 op, void *y, const T *x, i64 rows, i32 cols, i32 type, i32 acc) { \
    reduce_cols(op, y, x, rows, cols, type, acc); \
  } \
  KERNEL __launch_bounds__(256) sumsq_##t(float *part, const T *x, i64 n) { sumsq(part, x, n); }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)

// out[0] = Σ part (+= if acc); one block.
KERNEL __launch_bounds__(256) sum_parts(float *out, const float *part, i32 n, i32 acc) {
  __shared__ float red[32];
  float s = 0;
  for (i32 i = TID; i < n; i += THREADS) s += part[i];
  s = block_sum(s, red);
  if (TID == 0) out[0] = acc ? out[0] + s : s;
}

// out[c] += Σ over n parts of part[i][c], in order.
KERNEL __launch_bounds__(256) add_parts(float *out, const float *part, i32 n, i32 cols) {
  EACH(c, cols) {
    float s = 0;
    for (i32 i = 0; i < n; i++) s += part[(i64)i * cols + c];
    out[c] += s;
  }
}

// tensor.Kernels.ClipScale; one thread.
KERNEL clip_scale(float *out, const float *sumsq, float inv, float max_norm) {
  float norm = sqrt_rn(sumsq[0]) * inv, scale = inv;
  if (max_norm > 0) {
    float r = max_norm / (norm + 1e-6f);
    scale *= r < 1.f ? r : 1.f;
  }
  if (!(norm < bits_to_float(0x7f800000u))) scale = bits_to_float(0x7fc00000u);
  out[0] = scale;
  out[1] = norm;
}
