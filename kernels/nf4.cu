// NF4: four-bit codes with a scale for 64 elements, the scales in float32 or quantised themselves. Decoding to memory, and the
// product with few rows that decodes as it goes.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"
#include "nf4.cuh"

// Writes elements first … first+n−1: w = value·scale, eight at a time where they lie in whole words.
template <class T> DEV void dequant(T *w, Quantised q, i64 first, i64 n) {
  __shared__ Table table;
  u32 column = fill_table(table);
  i64 whole = aligned(w) && (first & 7) == 0 && aligned(q.codes, 4) ? n / 8 : 0;
  EACH(i, whole) {
    i64 at = first + 8 * i;
    u32 word = *(const u32 *)(q.codes + (at >> 1));
    float scale = scale_of(q, at >> 6), v[8];
#pragma unroll
    for (i32 e = 0; e < 8; e++) v[e] = look_up(column, word, e) * scale;
    store_many<8>(w + 8 * i, v);
  }
  whole *= 8;
  EACH(i, n - whole) {
    i64 at = first + whole + i;
    store(w + whole + i, look_up(column, code_of(q, at)) * scale_of(q, at >> 6));
  }
}

// y[m,n] = Σ x[m,k]·w[n,k] + beta·y + bias[n] for M ≤ ROWS rows of x and a quantised w [N,K], whose elements are decoded to float32
// and never stored. A warp makes OUT columns of y: its lanes take 32 elements of a row of w at a time, and add up at the end.
#define OUT 2
template <class T, i32 ROWS>
DEV void multiply(void *y, i32 ytype, const T *x, Quantised q, const void *bias, i32 bias_type, i32 M, i32 N, i32 K, float beta) {
  __shared__ Table table;
  u32 column = fill_table(table);
  i32 n0 = (BLOCK_X * (THREADS >> 5) + WARP) * OUT;
  if (n0 >= N) return;
  float sum[OUT][ROWS];
#pragma unroll
  for (i32 o = 0; o < OUT; o++)
#pragma unroll
    for (i32 m = 0; m < ROWS; m++) sum[o][m] = 0;
  // Columns that are not there are taken from the last, and not stored.
  i64 row[OUT];
#pragma unroll
  for (i32 o = 0; o < OUT; o++) row[o] = (i64)(n0 + o < N ? n0 + o : N - 1) * K;
  if ((K & 31) == 0 && aligned(x) && aligned(q.codes)) {
    // 32 elements are 16 bytes of codes, and in one block of 64.
    for (i32 k = LANE * 32; k < K; k += 32 * 32) {
      Words codes[OUT];
      float scale[OUT];
#pragma unroll
      for (i32 o = 0; o < OUT; o++) {
        codes[o] = *(const Words *)(q.codes + ((row[o] + k) >> 1));
        scale[o] = scale_of(q, (row[o] + k) >> 6);
      }
#pragma unroll 1
      for (i32 g = 0; g < 32; g += 8) {
        float w[OUT][8];
#pragma unroll
        for (i32 o = 0; o < OUT; o++) {
          u32 word = next(codes[o], 0);
#pragma unroll
          for (i32 e = 0; e < 8; e++) w[o][e] = look_up(column, word, e) * scale[o];
        }
#pragma unroll
        for (i32 m = 0; m < ROWS; m++) {
          if (m >= M) continue;
          float v[8];
          load_many<8>(v, x + (i64)m * K + k + g);
#pragma unroll
          for (i32 o = 0; o < OUT; o++)
#pragma unroll
            for (i32 e = 0; e < 8; e++) sum[o][m] = fma_rn(w[o][e], v[e], sum[o][m]);
        }
      }
    }
  } else {
#pragma unroll 1
    for (i32 k = LANE; k < K; k += 32) {
      float w[OUT];
#pragma unroll
      for (i32 o = 0; o < OUT; o++) {
        w[o] = look_up(column, code_of(q, row[o] + k)) * scale_of(q, (row[o] + k) >> 6);
        if (sizeof(T) == 2) w[o] = rounded_bf16(w[o]); // as the kernel on tensor cores has it, and Dequant
      }
#pragma unroll
      for (i32 m = 0; m < ROWS; m++) {
        if (m >= M) continue;
        float v = load(x + (i64)m * K + k);
#pragma unroll
        for (i32 o = 0; o < OUT; o++) sum[o][m] = fma_rn(w[o], v, sum[o][m]);
      }
    }
  }
  float s = 0; // of the element that this lane stores
#pragma unroll
  for (i32 e = 0; e < OUT * ROWS; e++) {
    float all = warp_sum(sum[e / ROWS][e % ROWS]);
    if (LANE == e) s = all;
  }
  i32 n = n0 + LANE / ROWS, m = LANE % ROWS;
  if (LANE >= OUT * ROWS || m >= M || n >= N) return;
  i64 at = (i64)m * N + n;
  if (beta != 0) s += beta * load_as(y, at, ytype);
  if (bias) s += load_as(bias, n, bias_type);
  if (ytype == F32) store((float *)y + at, s);
  else store((bf16 *)y + at, s);
}

#define FOR_ROWS(t, T, rows) \
  KERNEL __launch_bounds__(256) nf4_multiply_##t##_##rows(void *y, i32 ytype, const T *x, QUANTISED_ARGS, const void *bias, \
                                                          i32 bias_type, i32 M, i32 N, i32 K, float beta) { \
    multiply<T, rows>(y, ytype, x, QUANTISED, bias, bias_type, M, N, K, beta); \
  }
#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) dequant_##t(T *w, QUANTISED_ARGS, i64 first, i64 n) { dequant(w, QUANTISED, first, n); } \
  FOR_ROWS(t, T, 1) \
  FOR_ROWS(t, T, 4) \
  FOR_ROWS(t, T, 16)
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
