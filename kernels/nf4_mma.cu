// The product of few rows of bfloat16 with a matrix in NF4 on tensor cores.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"
#include "nf4.cuh"

#define FEATURES 16  // rows of w, and columns of y, of a block
#define CHUNK 128    // of K, that a warp multiplies at a time: 32 elements for each of four lanes
#define STEPS 8      // products of a chunk, 16 of K each

// y[m,n] = Σ x[m,k]·w[n,k] + beta·y + bias[n] for M ≤ 8·TILES rows of x and a quantised w [N,K], which is decoded to bfloat16 in
// registers and never stored. K and the addresses of x and of the codes are such that 32 elements begin at multiples of 16 bytes.
//
// The order of k inside a chunk is of no account to the sum, so each lane takes the 32 elements of its row that lie together: of a
// row of the operand, lane t of four holds elements 32t … 32t+31 of the chunk, four of them in each step. The warps of a block take
// turns at the chunks, and their sums are added in order.
template <i32 TILES>
DEV void multiply(bf16 *y, const bf16 *x, Quantised q, const void *bias, i32 bias_type, i32 M, i32 N, i32 K, float beta) {
  __shared__ Table table;
  __shared__ float part[8][TILES * 8][FEATURES + 1];
  u32 column = fill_table(table);
  i32 n0 = BLOCK_X * FEATURES, g = LANE >> 2, t = LANE & 3;
  // Rows that are not there are taken from the last, and not stored.
  i64 row[2];
#pragma unroll
  for (i32 h = 0; h < 2; h++) row[h] = (i64)(n0 + g + 8 * h < N ? n0 + g + 8 * h : N - 1) * K;
  float sum[TILES][4];
#pragma unroll
  for (i32 i = 0; i < TILES; i++)
#pragma unroll
    for (i32 e = 0; e < 4; e++) sum[i][e] = 0;
  // The codes and scales of a chunk are fetched while the chunk before is multiplied.
  Words codes[2], ahead[2];
  float scale[2], ahead_scale[2];
  auto fetch = [&](i32 k0) INLINE {
    i32 k = k0 + 32 * t;
#pragma unroll
    for (i32 h = 0; h < 2; h++) {
      ahead[h] = Words{};
      ahead_scale[h] = 0;
      if (k < K) {
        ahead[h] = *(const Words *)(q.codes + ((row[h] + k) >> 1));
        ahead_scale[h] = scale_of(q, (row[h] + k) >> 6);
      }
    }
  };
  fetch(WARP * CHUNK);
#pragma unroll 1
  for (i32 k0 = WARP * CHUNK; k0 < K; k0 += 8 * CHUNK) {
#pragma unroll
    for (i32 h = 0; h < 2; h++) codes[h] = ahead[h], scale[h] = ahead_scale[h];
    fetch(k0 + 8 * CHUNK);
    i32 k = k0 + 32 * t;
    bool have = k < K;
    u32 a[STEPS][4];
#pragma unroll
    for (i32 h = 0; h < 2; h++)
#pragma unroll
      for (i32 s = 0; s < STEPS; s++) {
        u32 word = s / 2 == 0 ? codes[h].x : s / 2 == 1 ? codes[h].y : s / 2 == 2 ? codes[h].z : codes[h].w;
        i32 e = s % 2 * 4;
        a[s][h] = pack_bf16(look_up(column, word, e) * scale[h], look_up(column, word, e + 1) * scale[h]);
        a[s][h + 2] = pack_bf16(look_up(column, word, e + 2) * scale[h], look_up(column, word, e + 3) * scale[h]);
      }
#pragma unroll
    for (i32 i = 0; i < TILES; i++) {
      Words v[4] = {};
      if (have && i * 8 + g < M) {
#pragma unroll
        for (i32 j = 0; j < 4; j++) v[j] = *(const Words *)(x + (i64)(i * 8 + g) * K + k + 8 * j);
      }
#pragma unroll
      for (i32 j = 0; j < 4; j++) {
        u32 low[2] = {v[j].x, v[j].y}, high[2] = {v[j].z, v[j].w};
        multiply_add(sum[i], a[2 * j], low);
        multiply_add(sum[i], a[2 * j + 1], high);
      }
    }
  }
#pragma unroll
  for (i32 i = 0; i < TILES; i++)
#pragma unroll
    for (i32 e = 0; e < 4; e++) part[WARP][i * 8 + 2 * t + e % 2][g + e / 2 * 8] = sum[i][e];
  SYNC();
  for (i32 e = TID; e < FEATURES * TILES * 8; e += THREADS) {
    i32 m = e / FEATURES, n = n0 + e % FEATURES;
    if (m >= M || n >= N) continue;
    float s = 0;
#pragma unroll
    for (i32 w = 0; w < 8; w++) s += part[w][m][e % FEATURES];
    if (beta != 0) s += beta * load(y + (i64)m * N + n);
    if (bias) s += load_as(bias, n, bias_type);
    store(y + (i64)m * N + n, s);
  }
}

#define FOR_TILES(rows, tiles) \
  KERNEL __launch_bounds__(256) nf4_multiply_mma_##rows(bf16 *y, const bf16 *x, QUANTISED_ARGS, const void *bias, i32 bias_type, \
                                                        i32 M, i32 N, i32 K, float beta) { \
    multiply<tiles>(y, x, QUANTISED, bias, bias_type, M, N, K, beta); \
  }
FOR_TILES(8, 1)
FOR_TILES(16, 2)
FOR_TILES(32, 4)
FOR_TILES(64, 8)
