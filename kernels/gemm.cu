// C = alpha·op(A)·op(B) + beta·C (+ bias), in plain float32 arithmetic: the reference among the GPU's products, for
// operands of any type, size and leading dimension.
#include "common.cuh"

#define TILE 64 // rows and columns of C per block
#define STEP 16 // of K
#define PAD 4   // keeps a thread's four elements aligned, and rows in different banks

// A tile of op(X) is kept with k down: tile[k][i]. Elements outside are zero.
template <class T>
DEV void fill(float (*tile)[TILE + PAD], const T *x, i64 ld, i32 contiguous_k, i32 i0, i32 n, i32 k0, i32 K) {
  for (i32 e = TID; e < TILE * STEP; e += 256) {
    // Neighbouring threads read neighbouring memory.
    i32 i = contiguous_k ? e / STEP : e % TILE, k = contiguous_k ? e % STEP : e / TILE;
    float v = 0;
    if (i0 + i < n && k0 + k < K) v = load(x + (contiguous_k ? (i0 + i) * ld + k0 + k : (k0 + k) * ld + i0 + i));
    tile[k][i] = v;
  }
}

struct __attribute__((aligned(16))) float4_ { float x, y, z, w; };

template <class TC, class TA, class TB>
DEV void gemm(TC *c, const TA *a, const TB *b, const void *bias, i32 bias_type, i32 trans_a, i32 trans_b, i32 M, i32 N, i32 K,
              i64 lda, i64 ldb, i64 ldc, float alpha, float beta, i64 stride_a, i64 stride_b, i64 stride_c) {
  __shared__ __attribute__((aligned(16))) float ta[STEP][TILE + PAD], tb[STEP][TILE + PAD];
  a += BLOCK_Z * stride_a;
  b += BLOCK_Z * stride_b;
  c += BLOCK_Z * stride_c;
  i32 m0 = BLOCK_Y * TILE, n0 = BLOCK_X * TILE, ty = TID / 16 * 4, tx = TID % 16 * 4;
  float sum[4][4];
#pragma unroll
  for (i32 i = 0; i < 4; i++)
#pragma unroll
    for (i32 j = 0; j < 4; j++) sum[i][j] = 0;
  for (i32 k0 = 0; k0 < K; k0 += STEP) {
    fill(ta, a, lda, !trans_a, m0, M, k0, K);
    fill(tb, b, ldb, trans_b, n0, N, k0, K);
    SYNC();
#pragma unroll
    for (i32 k = 0; k < STEP; k++) {
      float4_ p = *(const float4_ *)&ta[k][ty], q = *(const float4_ *)&tb[k][tx];
      float u[4] = {p.x, p.y, p.z, p.w}, v[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
      for (i32 i = 0; i < 4; i++)
#pragma unroll
        for (i32 j = 0; j < 4; j++) sum[i][j] = fma_rn(u[i], v[j], sum[i][j]);
    }
    SYNC();
  }
#pragma unroll
  for (i32 i = 0; i < 4; i++)
#pragma unroll
    for (i32 j = 0; j < 4; j++) {
      i32 row = m0 + ty + i, col = n0 + tx + j;
      if (row >= M || col >= N) continue;
      float s = alpha * sum[i][j];
      if (beta != 0) s += beta * load(c + row * ldc + col);
      if (bias) s += load_as(bias, col, bias_type);
      store(c + row * ldc + col, s);
    }
}

#define FOR_TYPES(tc, TC, ta, TA, tb, TB) \
  KERNEL __launch_bounds__(256) gemm_##tc##_##ta##_##tb(TC *c, const TA *a, const TB *b, const void *bias, i32 bias_type, \
                                                        i32 trans_a, i32 trans_b, i32 M, i32 N, i32 K, i64 lda, i64 ldb, \
                                                        i64 ldc, float alpha, float beta, i64 stride_a, i64 stride_b, \
                                                        i64 stride_c) { \
    gemm(c, a, b, bias, bias_type, trans_a, trans_b, M, N, K, lda, ldb, ldc, alpha, beta, stride_a, stride_b, stride_c); \
  }
FOR_TYPES(f32, float, f32, float, f32, float)
FOR_TYPES(f32, float, f32, float, bf16, bf16)
FOR_TYPES(f32, float, bf16, bf16, f32, float)
FOR_TYPES(f32, float, bf16, bf16, bf16, bf16)
FOR_TYPES(bf16, bf16, f32, float, f32, float)
FOR_TYPES(bf16, bf16, f32, float, bf16, bf16)
FOR_TYPES(bf16, bf16, bf16, bf16, f32, float)
FOR_TYPES(bf16, bf16, bf16, bf16, bf16, bf16)
