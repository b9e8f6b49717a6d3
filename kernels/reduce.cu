// Reductions in a fixed order: along rows, along columns, and the gradient norm.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

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
  each_of_row(row, cols, [&](i32, float v) INLINE { s = fold(op, s, v); });
  s = op == MAX ? block_max(s, red) : block_sum(s, red);
  if (TID == 0) put_as(y, BLOCK_X, s, type, acc);
}

// y[c] = fold of column c. Eight neighbouring threads have a piece of a row each; the block's 32 groups of them take every 32nd row,
// in parts of 64 that are summed apart, so that long columns stay accurate. The order does not depend on the alignment.
template <class T> DEV void reduce_cols(i32 op, void *y, const T *x, i64 rows, i32 cols, i32 type, i32 acc) {
  constexpr i32 N = PIECE<T>, WIDTH = 8 * N, GROUPS = 32;
  __shared__ float part[GROUPS][WIDTH];
  i32 group = TID / 8, at = TID % 8 * N, c = BLOCK_X * WIDTH + at;
  i32 mine = cols - c < N ? cols - c : N; // columns
  bool wide = aligned(x) && aligned_rows<T>(cols);
  float total[N];
#pragma unroll
  for (i32 e = 0; e < N; e++) total[e] = op == MAX ? NEG_INF : 0.f;
  if (mine > 0)
    for (i64 r0 = group; r0 < rows; r0 += GROUPS * 64) {
      float s[N];
#pragma unroll
      for (i32 e = 0; e < N; e++) s[e] = op == MAX ? NEG_INF : 0.f;
      for (i64 r = r0; r < rows && r < r0 + GROUPS * 64; r += GROUPS) {
        const T *from = x + r * cols + c;
        float v[N];
        if (mine == N) load_piece(v, from, wide);
        else
#pragma unroll
          for (i32 e = 0; e < N; e++) v[e] = e < mine ? load(from + e) : 0.f;
#pragma unroll
        for (i32 e = 0; e < N; e++) s[e] = fold(op, s[e], v[e]);
      }
#pragma unroll
      for (i32 e = 0; e < N; e++) total[e] = join(op, total[e], s[e]);
    }
#pragma unroll
  for (i32 e = 0; e < N; e++) part[group][at + e] = total[e];
  SYNC();
  i32 own = BLOCK_X * WIDTH + TID;
  if (TID < WIDTH && own < cols) {
    float s = part[0][TID];
    for (i32 g = 1; g < GROUPS; g++) s = join(op, s, part[g][TID]);
    put_as(y, own, s, type, acc);
  }
}

// part[b] = Σ x² of block b's elements.
template <class T> DEV void sumsq(float *part, const T *x, i64 n) {
  __shared__ float red[32];
  constexpr i32 N = PIECE<T>;
  bool wide = aligned(x);
  float s = 0;
  EACH(p, n / N) {
    float v[N];
    load_piece(v, x + p * N, wide);
#pragma unroll
    for (i32 e = 0; e < N; e++) s += v[e] * v[e];
  }
  i64 whole = n / N * N;
  EACH(i, n - whole) {
    float v = load(x + whole + i);
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
