// C = alpha·A·Bᵀ + beta·C (+ bias) for few rows of A, as generation has them: bound by reading B, which is read once.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

#define OUT 2 // columns of C that a warp makes

// A warp's lanes take 16 bytes of a row of B at a time, where rows of A and B begin at multiples of 16 bytes, and add up at the end.
template <class TA, class TB, i32 ROWS>
DEV void gemm(void *c, i32 ctype, const TA *a, const TB *b, const void *bias, i32 bias_type, i32 M, i32 N, i32 K, i64 lda, i64 ldb,
              i64 ldc, float alpha, float beta, i64 stride_a, i64 stride_b, i64 stride_c) {
  constexpr i32 V = PIECE<TB>;
  a += BLOCK_Z * stride_a;
  b += BLOCK_Z * stride_b;
  i32 n0 = (BLOCK_X * (THREADS >> 5) + WARP) * OUT;
  if (n0 >= N) return;
  float sum[OUT][ROWS];
  const TB *row[OUT]; // columns that are not there are taken from the last, and not stored
#pragma unroll
  for (i32 o = 0; o < OUT; o++) {
    row[o] = b + (i64)(n0 + o < N ? n0 + o : N - 1) * ldb;
#pragma unroll
    for (i32 m = 0; m < ROWS; m++) sum[o][m] = 0;
  }
  i32 whole = aligned(a) && aligned(b) && aligned_rows<TA>(lda) && aligned_rows<TB>(ldb) ? K / V * V : 0;
#pragma clang loop unroll_count(ROWS == 1 ? 4 : 1)
  for (i32 k = LANE * V; k < whole; k += 32 * V) {
    float w[OUT][V];
#pragma unroll
    for (i32 o = 0; o < OUT; o++) load_many<V>(w[o], row[o] + k);
    const TA *from = a + k;
#pragma unroll
    for (i32 m = 0; m < ROWS; m++, from += lda) {
      if (m >= M) continue;
      float v[V];
      load_many<V>(v, from);
#pragma unroll
      for (i32 o = 0; o < OUT; o++)
#pragma unroll
        for (i32 e = 0; e < V; e++) sum[o][m] = fma_rn(w[o][e], v[e], sum[o][m]);
    }
  }
#pragma unroll 1
  for (i32 k = whole + LANE; k < K; k += 32) {
#pragma unroll
    for (i32 m = 0; m < ROWS; m++) {
      if (m >= M) continue;
      float v = load(a + m * lda + k);
#pragma unroll
      for (i32 o = 0; o < OUT; o++) sum[o][m] = fma_rn(load(row[o] + k), v, sum[o][m]);
    }
  }
  float s = 0; // of the element that this lane stores
#pragma unroll
  for (i32 e = 0; e < OUT * ROWS; e++) {
    float all = warp_sum(sum[e / ROWS][e % ROWS]);
    if (LANE == e) s = all * alpha;
  }
  i32 n = n0 + LANE / ROWS, m = LANE % ROWS;
  if (LANE >= OUT * ROWS || m >= M || n >= N) return;
  i64 at = BLOCK_Z * stride_c + m * ldc + n;
  if (beta != 0) s += beta * load_as(c, at, ctype);
  if (bias) s += load_as(bias, n, bias_type);
  if (ctype == F32) store((float *)c + at, s);
  else store((bf16 *)c + at, s);
}

#define FOR_ROWS(ta, TA, tb, TB, rows) \
  KERNEL __launch_bounds__(256, 1) gemm_few_##ta##_##tb##_##rows(void *c, i32 ctype, const TA *a, const TB *b, const void *bias, \
                                                              i32 bias_type, i32 M, i32 N, i32 K, i64 lda, i64 ldb, i64 ldc, \
                                                              float alpha, float beta, i64 stride_a, i64 stride_b, i64 stride_c) { \
    gemm<TA, TB, rows>(c, ctype, a, b, bias, bias_type, M, N, K, lda, ldb, ldc, alpha, beta, stride_a, stride_b, stride_c); \
  }
#define FOR_TYPES(ta, TA, tb, TB) \
  FOR_ROWS(ta, TA, tb, TB, 1) \
  FOR_ROWS(ta, TA, tb, TB, 4) \
  FOR_ROWS(ta, TA, tb, TB, 16)
FOR_TYPES(f32, float, f32, float)
FOR_TYPES(f32, float, bf16, bf16)
FOR_TYPES(bf16, bf16, f32, float)
FOR_TYPES(bf16, bf16, bf16, bf16)
