// C = alpha·op(A)·op(B) + beta·C (+ bias) for bfloat16 operands on tensor cores, with float32 sums. Rows of A and B begin at
// multiples of 16 bytes; any size. A block of 8 warps makes 128 × 128 of C, each warp 64 × 32, from tiles of 32 k that are
// copied while the tiles before them are multiplied.
#include "common.cuh"
#include "mma.cuh"

#define TILE 128
#define STEP 32
#define CHUNK 8 // elements of 16 bytes
#define PAD 8   // keeps rows of sums in different banks

// A tile holds op(X)[i, k]. If k runs along X's rows the tile has TILE rows of STEP elements, else STEP rows of TILE. Chunks
// of a row are swapped with each other by its number, so that the eight rows that ldmatrix reads at once lie in different
// banks.
template <bool ALONG_K> DEV i32 place(i32 row, i32 chunk) {
  return ALONG_K ? row * STEP + (chunk ^ (row >> 1 & 3)) * CHUNK : row * TILE + (chunk ^ (row & 7)) * CHUNK;
}

template <bool ALONG_K> DEV void fetch(u32 tile, const bf16 *x, i64 ld, i32 i0, i32 n, i32 k0, i32 K) {
  const i32 per_row = (ALONG_K ? STEP : TILE) / CHUNK;
#pragma unroll
  for (i32 e = 0; e < TILE * STEP / CHUNK / 256; e++) {
    i32 c = e * 256 + TID, row = c / per_row, chunk = c % per_row;
    i32 r = (ALONG_K ? i0 : k0) + row, rows = ALONG_K ? n : K;
    i32 col = (ALONG_K ? k0 : i0) + chunk * CHUNK, cols = ALONG_K ? K : n;
    i32 have = cols - col;
    have = r >= rows || have < 0 ? 0 : have > CHUNK ? CHUNK : have;
    copy16(tile + place<ALONG_K>(row, chunk) * 2, have ? x + r * ld + col : x, have * 2);
  }
}

// The 16 × 16 block of A at (i, k): rows i run first among the matrices, then k.
template <bool ALONG_K> DEV void block_a(u32 *r, u32 tile, i32 i, i32 k) {
  i32 ii = i + (LANE >> 3 & 1) * 8, kk = k + (LANE >> 4) * 8, l = LANE & 7;
  if (ALONG_K) load_matrices(r, tile + place<true>(ii + l, kk / CHUNK) * 2);
  else load_transposed(r, tile + place<false>(kk + l, ii / CHUNK) * 2);
}

// Two 16 × 8 blocks of B at (k, i) and (k, i+8): k runs first among the matrices.
template <bool ALONG_K> DEV void blocks_b(u32 *r, u32 tile, i32 i, i32 k) {
  i32 ii = i + (LANE >> 4) * 8, kk = k + (LANE >> 3 & 1) * 8, l = LANE & 7;
  if (ALONG_K) load_matrices(r, tile + place<true>(ii + l, kk / CHUNK) * 2);
  else load_transposed(r, tile + place<false>(kk + l, ii / CHUNK) * 2);
}

template <class TC, bool TRANS_A, bool TRANS_B>
DEV void gemm(TC *c, const bf16 *a, const bf16 *b, const void *bias, i32 bias_type, i32 M, i32 N, i32 K, i64 lda, i64 ldb,
              i64 ldc, float alpha, float beta, i64 stride_a, i64 stride_b, i64 stride_c) {
  __shared__ __attribute__((aligned(128))) union {
    bf16 tiles[2][2][TILE * STEP];
    float sums[TILE / 2][TILE + PAD];
  } shared;
  a += BLOCK_Z * stride_a;
  b += BLOCK_Z * stride_b;
  c += BLOCK_Z * stride_c;
  i32 m0 = BLOCK_Y * TILE, n0 = BLOCK_X * TILE, wm = WARP / 4 * 64, wn = WARP % 4 * 32;
  u32 base = shared_address(shared.tiles);
  const u32 tile_bytes = TILE * STEP * 2;
  float sum[4][4][4];
#pragma unroll
  for (i32 i = 0; i < 4; i++)
#pragma unroll
    for (i32 j = 0; j < 4; j++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) sum[i][j][e] = 0;
  if (K > 0) {
    fetch<!TRANS_A>(base, a, lda, m0, M, 0, K);
    fetch<TRANS_B>(base + tile_bytes, b, ldb, n0, N, 0, K);
    copies_commit();
  }
  i32 now = 0;
  for (i32 k0 = 0; k0 < K; k0 += STEP) {
    if (k0 + STEP < K) {
      u32 next = base + (now ^ 1) * 2 * tile_bytes;
      fetch<!TRANS_A>(next, a, lda, m0, M, k0 + STEP, K);
      fetch<TRANS_B>(next + tile_bytes, b, ldb, n0, N, k0 + STEP, K);
      copies_commit();
      copies_wait<1>();
    } else {
      copies_wait<0>();
    }
    SYNC();
    u32 ta = base + now * 2 * tile_bytes, tb = ta + tile_bytes;
#pragma unroll
    for (i32 k = 0; k < STEP; k += 16) {
      u32 fa[4][4], fb[2][4];
#pragma unroll
      for (i32 i = 0; i < 4; i++) block_a<!TRANS_A>(fa[i], ta, wm + i * 16, k);
#pragma unroll
      for (i32 j = 0; j < 2; j++) blocks_b<TRANS_B>(fb[j], tb, wn + j * 16, k);
#pragma unroll
      for (i32 i = 0; i < 4; i++)
#pragma unroll
        for (i32 j = 0; j < 4; j++) multiply_add(sum[i][j], fa[i], fb[j / 2] + j % 2 * 2);
    }
    SYNC(); // the tiles are free for the copies after the next
    now ^= 1;
  }
  // C is written by rows, half a tile at a time.
#pragma unroll 1
  for (i32 half = 0; half < TILE; half += TILE / 2) {
    if (wm == half) {
#pragma unroll
      for (i32 i = 0; i < 4; i++)
#pragma unroll
        for (i32 j = 0; j < 4; j++)
#pragma unroll
          for (i32 e = 0; e < 4; e++) shared.sums[i * 16 + LANE / 4 + e / 2 * 8][wn + j * 8 + LANE % 4 * 2 + e % 2] = sum[i][j][e];
    }
    SYNC();
#pragma unroll 1
    for (i32 e = TID; e < TILE / 2 * TILE; e += 256) {
      i32 row = m0 + half + e / TILE, col = n0 + e % TILE;
      if (row >= M || col >= N) continue;
      float s = alpha * shared.sums[e / TILE][e % TILE];
      if (beta != 0) s += beta * load(c + row * ldc + col);
      if (bias) s += load_as(bias, col, bias_type);
      store(c + row * ldc + col, s);
    }
    SYNC();
  }
}

#define FOR_TYPE(tc, TC, ta, TA, tb, TB) \
  KERNEL __launch_bounds__(256) gemm_mma_##tc##_##ta##tb(TC *c, const bf16 *a, const bf16 *b, const void *bias, i32 bias_type, i32 M, \
                                                         i32 N, i32 K, i64 lda, i64 ldb, i64 ldc, float alpha, float beta, \
                                                         i64 stride_a, i64 stride_b, i64 stride_c) { \
    gemm<TC, TA, TB>(c, a, b, bias, bias_type, M, N, K, lda, ldb, ldc, alpha, beta, stride_a, stride_b, stride_c); \
  }
#define FOR_LAYOUTS(tc, TC) \
  FOR_TYPE(tc, TC, n, false, n, false) \
  FOR_TYPE(tc, TC, n, false, t, true) \
  FOR_TYPE(tc, TC, t, true, n, false) \
  FOR_TYPE(tc, TC, t, true, t, true)
FOR_LAYOUTS(f32, float)
FOR_LAYOUTS(bf16, bf16)
