// Flash attention on tensor cores, forward and backward (Dao, 2023), for bfloat16 operands whose rows and heads begin at
// multiples of 16 bytes: every option of tensor.AttnSpec, heads of up to 256 elements, which are padded with zeros to
// D = 32, 64, 128 or 256. Sums are float32; the softmax's weights and the scores' gradients are rounded to bfloat16 as
// operands of the products that follow.
//
// A block of four warps keeps 64·M rows of one sequence and head, a warp 16·M of them; tiles of N rows of the other side
// pass by in two stages: while one is multiplied, the next is copied. Forward and for dq the rows are queries and keys
// pass by; for dk and dv the rows are keys and the queries of all heads that share them pass by in their order. Every sum
// has one order and no two blocks write the same memory.
#include "common.cuh"
#include "mma.cuh"
#include "attention.cuh"

#define WARPS 4
#define BLOCK (32 * WARPS)
#define CHUNK 8 // elements of 16 bytes
#define DEV_METHOD __device__ inline __attribute__((always_inline))

typedef u32 Chunk __attribute__((ext_vector_type(4)));

DEV float reciprocal_approx(float x) { return __nvvm_rcp_approx_ftz_f(x); }

extern __shared__ __attribute__((aligned(128))) u8 memory[];

// Keeps the compiler from computing ahead of a loop what depends on x: there it would take registers, which are scarce, for
// all of the loop.
DEV void here(i32 &x) { asm volatile("" : "+r"(x)); }
DEV void here(float &x) { asm volatile("" : "+f"(x)); }

// A tile has rows of D elements. Chunks of a row are swapped with each other by its number, so that the same chunk of
// eight rows, which is what ldmatrix reads at once, lies in different banks.
template <i32 D> DEV i32 swap(i32 row) { return D >= 64 ? row & 7 : row >> 1 & 3; }

// The byte at which a chunk begins.
template <i32 D> DEV u32 place(i32 row, i32 chunk) { return (row * D + (chunk ^ swap<D>(row)) * CHUNK) * 2; }

// Begins to copy rows of dim elements to a tile of ROWS; the rest of it becomes zeros.
template <i32 ROWS, i32 D> DEV void fetch(u32 tile, const bf16 *x, i64 stride, i32 rows, i32 dim) {
  const i32 PER_ROW = D / CHUNK, STEP = BLOCK / PER_ROW;
  i32 thread = TID;
  here(thread);
  i32 row = thread / PER_ROW, chunk = thread % PER_ROW;
  const bf16 *from = x + row * stride + chunk * CHUNK;
  if (chunk * CHUNK >= dim) rows = 0;
#pragma unroll
  for (i32 e = 0; e < ROWS / STEP; e++, row += STEP, from += STEP * stride) {
    bool in = row < rows;
    copy16(tile + place<D>(row, chunk), in ? from : x, in ? 16 : 0);
  }
}

// The lane's address for ldmatrix of the 16 × 16 block at (row, col), multiples of 16. The block's four matrices come in
// the order of rows first (DOWN), or of columns first.
template <i32 D, bool DOWN> DEV u32 block_at(u32 tile, i32 row, i32 col) {
  i32 l = LANE & 7, low = LANE >> 3 & 1, high = LANE >> 4;
  u32 chunk = ((DOWN ? high : low) ^ swap<D>(l)) * CHUNK * 2;
  return tile + ((DOWN ? low : high) * 8 + l) * D * 2 + (chunk ^ (col * 2 & 127)) + (row * D * 2 + (col * 2 & ~127));
}

// 16·M rows of a tile as the left operand of products: held in registers, or read for each product.
template <i32 D, i32 M, bool HELD> struct Left {
  u32 tile; // from the warp's first row on
  u32 held[HELD ? D / 16 : 1][M][4];

  DEV_METHOD void hold() {
#pragma unroll
    for (i32 k = 0; k < D / 16 && HELD; k++) read_tile(held[k], k);
  }
  DEV_METHOD void read_tile(u32 (*r)[4], i32 k) const {
#pragma unroll
    for (i32 m = 0; m < M; m++) load_matrices(r[m], block_at<D, true>(tile, m * 16, k * 16));
  }
  DEV_METHOD void read(u32 (*r)[4], i32 k) const {
    if (!HELD) return read_tile(r, k);
#pragma unroll
    for (i32 m = 0; m < M; m++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) r[m][e] = held[HELD ? k : 0][m][e];
  }
};

template <i32 M, i32 N> DEV void clear(float (*x)[N / 8][4]) {
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < N / 8; n++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) x[m][n][e] = 0;
}

// x[16·M, N] = A·Bᵀ, a sum over D, of N rows of the tile b.
template <i32 D, i32 M, i32 N, bool HELD> DEV void dot_rows(float (*x)[N / 8][4], const Left<D, M, HELD> &a, u32 b) {
  clear<M, N>(x);
#pragma unroll
  for (i32 k = 0; k < D / 16; k++) {
    u32 fa[M][4];
    a.read(fa, k);
#pragma unroll
    for (i32 n = 0; n < N / 16; n++) {
      u32 fb[4];
      load_matrices(fb, block_at<D, false>(b, n * 16, k * 16));
#pragma unroll
      for (i32 m = 0; m < M; m++) {
        multiply_add(x[m][2 * n], fa[m], fb);
        multiply_add(x[m][2 * n + 1], fa[m], fb + 2);
      }
    }
  }
}

// sum[16·M, D] += p[16·M, N]·B. Where a product leaves its results is where the next expects its left operand.
template <i32 D, i32 M, i32 N> DEV void add_rows(float (*sum)[D / 8][4], const float (*p)[N / 8][4], u32 b) {
#pragma unroll
  for (i32 k = 0; k < N / 16; k++) {
    u32 fa[M][4];
#pragma unroll
    for (i32 m = 0; m < M; m++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) fa[m][e] = pack_bf16(p[m][2 * k + e / 2][e % 2 * 2], p[m][2 * k + e / 2][e % 2 * 2 + 1]);
#pragma unroll
    for (i32 n = 0; n < D / 16; n++) {
      u32 fb[4];
      load_transposed(fb, block_at<D, true>(b, k * 16, n * 16));
#pragma unroll
      for (i32 m = 0; m < M; m++) {
        multiply_add(sum[m][2 * n], fa[m], fb);
        multiply_add(sum[m][2 * n + 1], fa[m], fb + 2);
      }
    }
  }
}

// Writes a warp's sums times a factor as rows of dim elements, by way of its rows of the tile at `at`, which no other warp
// has read, so that a lane writes 16 bytes. Of the rows that there are, those from `live` on get zeros.
template <i32 D, i32 M>
DEV void store_rows(bf16 *to, i64 stride, i32 rows, i32 live, i32 dim, u32 at, const float (*sum)[D / 8][4], float factor) {
  __nvvm_bar_warp_sync(ALL);
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < D / 8; n++)
#pragma unroll
      for (i32 half = 0; half < 2; half++)
        *(u32 *)(memory + at + place<D>(m * 16 + half * 8 + LANE / 4, n) + LANE % 4 * 4) =
            pack_bf16(sum[m][n][half * 2] * factor, sum[m][n][half * 2 + 1] * factor);
  __nvvm_bar_warp_sync(ALL);
#pragma unroll 4
  for (i32 c = LANE; c < 16 * M * D / CHUNK; c += 32) {
    i32 row = c / (D / CHUNK), chunk = c % (D / CHUNK);
    Chunk x = *(const Chunk *)(memory + at + place<D>(row, chunk));
    if (row < rows && chunk * CHUNK < dim) *(Chunk *)(to + row * stride + chunk * CHUNK) = row < live ? x : Chunk{0, 0, 0, 0};
  }
}

// The rows that a block works on.
struct Part {
  i32 seq;   // their sequence; −1 if they belong to none
  i32 start; // the sequence's first row
  i32 rows;  // of the sequence
  i32 first; // of the block, counted in the sequence
};

// Rows are divided at the bounds 0, cu[0], …, cu[seqs], total.
DEV i32 bound(const i32 *cu, i32 seqs, i32 total, i32 i) {
  i32 b = i == 0 ? 0 : i > seqs + 1 ? total : cu[i - 1];
  return b < total ? b : total;
}

// The rows of a block by its number. Range i of rows has the blocks from ⌊bound(i)/ROWS⌋ + i on, which are enough for it:
// no lengths need to be added up, and total/ROWS + seqs + 2 blocks are enough for all. Some blocks have no rows.
template <i32 ROWS> DEV bool part_of(const i32 *cu, i32 seqs, i32 total, i32 block, Part &p) {
  i32 lo = 0, hi = seqs + 2;
  while (hi - lo > 1) {
    i32 mid = (lo + hi) / 2;
    if (bound(cu, seqs, total, mid) / ROWS + mid <= block) lo = mid;
    else hi = mid;
  }
  p.seq = lo > seqs ? -1 : lo - 1;
  p.start = bound(cu, seqs, total, lo);
  p.rows = bound(cu, seqs, total, lo + 1) - p.start;
  p.first = (block - p.start / ROWS - lo) * ROWS;
  return p.first < p.rows;
}

// Row r of the scores sees the columns from r + below to before r + above, of those that there are.
struct Band {
  i32 below, above, columns;
  DEV_METHOD i32 from(i32 r) const { return r + below > 0 ? r + below : 0; }
  DEV_METHOD i32 to(i32 r) const { return r + above < columns ? r + above : columns; }
};

#define FAR (1 << 30)

// Whether the 16·M rows from r on, of which `last` is the last that there is, see some of the columns from c to c + N,
// and whether they see all of these.
template <i32 M, i32 N> DEV bool sees_some(const Band &b, i32 r, i32 last, i32 c) {
  i32 end = r + 16 * M - 1 < last ? r + 16 * M - 1 : last;
  return r <= end && c < b.to(end) && c + N > b.from(r);
}
template <i32 M, i32 N> DEV bool sees_all(const Band &b, i32 r, i32 c) {
  return c >= b.from(r + 16 * M - 1) && c + N <= b.to(r);
}

// Sets the scores of hidden columns: rows and columns are counted from r and c.
template <i32 M, i32 N> DEV void hide(float (*x)[N / 8][4], const Band &b, i32 r, i32 c, float value) {
  here(r);
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 half = 0; half < 2; half++) {
      i32 row = r + m * 16 + half * 8 + LANE / 4, from = b.from(row) - c, to = b.to(row) - c;
#pragma unroll
      for (i32 n = 0; n < N / 8; n++)
#pragma unroll
        for (i32 e = 0; e < 2; e++) {
          i32 col = n * 8 + LANE % 4 * 2 + e;
          if (col < from || col >= to) x[m][n][half * 2 + e] = value;
        }
    }
}

template <i32 BITS> struct Word { typedef u64 Type; };
template <> struct Word<32> { typedef u32 Type; };
template <i32 M, i32 N> using Bits = typename Word<(M * N / 2 > 32 ? 64 : 32)>::Type;

// A bit for each of the lane's scores: whether dropout keeps it. Rows are queries from q on and columns keys from k on, or
// the other way round.
template <i32 M, i32 N, bool TURNED> DEV Bits<M, N> kept_bits(const Spec &s, i32 h, i32 q, i32 k) {
  Bits<M, N> bits = 0;
  here(h), here(q), here(k);
#pragma unroll 1
  for (i32 i = 0; i < M * N / 2; i++) {
    i32 row = i / (N / 2) * 16 + (i >> 1 & 1) * 8 + LANE / 4, col = (i >> 2) % (N / 8) * 8 + LANE % 4 * 2 + (i & 1);
    bool keep = !dropped(s, h, q + (TURNED ? col : row), k + (TURNED ? row : col));
    bits |= (Bits<M, N>)keep << i;
  }
  return bits;
}

template <i32 M, i32 N> DEV void drop(float (*x)[N / 8][4], Bits<M, N> bits, float keep) {
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < N / 8; n++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) x[m][n][e] = bits >> ((m * (N / 8) + n) * 4 + e) & 1 ? x[m][n][e] * keep : 0.f;
}

// Replaces dot products by soft-capped scores: cap·tanh(x·scale/cap), as tanh y = 1 − 2/(1 + e^2y).
template <i32 M, i32 N> DEV void soft_cap(float (*x)[N / 8][4], const Spec &s) {
  float f = 2.f * LOG2E * s.scale / s.soft_cap;
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < N / 8; n++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) {
        float r = reciprocal_approx(1.f + exp2_approx(x[m][n][e] * f));
        x[m][n][e] = fma_rn(-2.f * s.soft_cap, r, s.soft_cap);
      }
}

// The bias of a tile's scores, by rows and columns from the lane's first on; rows are queries and columns keys, or the other
// way round.
template <bool TURNED> struct Bias {
  const float *first;
  i32 n, rows, cols; // elements of a query; rows and columns that there are
  DEV_METHOD float at(i32 row, i32 col) const {
    return row < rows && col < cols ? first[TURNED ? col * n + row : row * n + col] : 0.f;
  }
};

// The bias of the queries from q on, of those that there are, and the keys from k on. The last query stands at the last key.
template <bool TURNED> DEV Bias<TURNED> bias_of(const Spec &s, i32 h, i32 q, i32 queries, i32 k, i32 keys) {
  i32 down = LANE / 4, right = LANE % 4 * 2, n = s.bias_n;
  here(n), here(h), here(q), here(queries), here(k), here(keys);
  q += TURNED ? right : down;
  k += TURNED ? down : right;
  const float *first = s.bias + h * s.bias_head + (i64)(q + keys - queries) * n + k;
  return TURNED ? Bias<TURNED>{first, n, keys - k, queries - q} : Bias<TURNED>{first, n, queries - q, keys - k};
}

// Turns scores into exponents of 2 and adds the bias.
template <i32 M, i32 N> DEV void add_bias(float (*x)[N / 8][4], const Bias<false> &bias, float scale) {
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < N / 8; n++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) x[m][n][e] = fma_rn(bias.at(m * 16 + e / 2 * 8, n * 8 + e % 2), LOG2E, x[m][n][e] * scale);
}

// What turns dot products, or soft-capped scores, into exponents of 2.
DEV float exponent_scale(const Spec &s) {
  float cap = s.soft_cap;
  here(cap);
  return cap > 0 ? LOG2E : LOG2E * s.scale;
}

DEV Band keys_seen(const Spec &s, i32 queries, i32 keys) {
  i32 shift = keys - queries; // query i stands at i + shift
  return Band{s.window > 0 ? shift - s.window + 1 : -FAR, s.causal ? shift + 1 : FAR, keys};
}

// One step of the softmax, row by row: x becomes 2^(x·scale − top), sums and what was added up with the old top fade.
template <i32 D, i32 M, i32 N>
DEV void softmax_step(float (*x)[N / 8][4], float (*top)[2], float (*sum)[2], float (*acc)[D / 8][4], float scale) {
  float fade[M][2];
  bool changed = false;
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 half = 0; half < 2; half++) {
      float best = top[m][half], add = 0;
#pragma unroll
      for (i32 n = 0; n < N / 8; n++) best = fmax2(best, fmax2(x[m][n][half * 2], x[m][n][half * 2 + 1]));
      best = fmax2(best, shfl_xor(best, 1));
      best = fmax2(best, shfl_xor(best, 2));
      float zero = best == NEG_INF ? 0.f : best * scale; // rows that have seen nothing yet
      fade[m][half] = exp2_approx(fma_rn(top[m][half], scale, -zero));
      changed |= best != top[m][half];
      top[m][half] = best;
#pragma unroll
      for (i32 n = 0; n < N / 8; n++)
#pragma unroll
        for (i32 e = half * 2; e < half * 2 + 2; e++) {
          x[m][n][e] = exp2_approx(fma_rn(x[m][n][e], scale, -zero));
          add += x[m][n][e];
        }
      sum[m][half] = fma_rn(sum[m][half], fade[m][half], add);
    }
  if (!__nvvm_vote_any_sync(ALL, changed)) return; // after some tiles tops seldom change
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 n = 0; n < D / 8; n++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) acc[m][n][e] *= fade[m][e / 2];
}

// o = softmax(q·kᵀ)·v and the scores' log-sum-exp.
template <i32 D, i32 M, i32 N, bool HELD>
DEV void forward(const Spec &s, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v) {
  const i32 ROWS = 16 * M * WARPS;
  const u32 TILE = N * D * 2;
  Part p;
  if (!part_of<ROWS>(s.cu_q, s.seqs, s.total_q, BLOCKS - 1 - BLOCK_X, p)) return; // late rows see most keys: begin there
  i32 h = BLOCK_Y, kvh = h / (s.heads / s.kv_heads), last = (p.first + ROWS < p.rows ? p.first + ROWS : p.rows) - 1;
  Band band = keys_seen(s, p.rows, p.seq < 0 ? 0 : keys_of(s, p.seq));
  i32 from = band.from(p.first) / N * N, to = band.to(last), mine = p.first + WARP * 16 * M;
  i64 row0 = p.start + p.first;
  u32 rows_tile = shared_address(memory), tiles = rows_tile + ROWS * D * 2;
  float acc[M][D / 8][4], top[M][2], sum[M][2], scale = s.bias ? 1.f : exponent_scale(s);
  clear<M, D>(acc);
#pragma unroll
  for (i32 m = 0; m < M; m++) top[m][0] = top[m][1] = NEG_INF, sum[m][0] = sum[m][1] = 0;
  if (from < to) {
    k += (i64)s.cu_k[p.seq] * s.stride_k + kvh * s.dim;
    v += (i64)s.cu_k[p.seq] * s.stride_v + kvh * s.dim;
    fetch<ROWS, D>(rows_tile, q + row0 * s.stride_q + h * s.dim, s.stride_q, p.rows - p.first, s.dim);
    fetch<N, D>(tiles, k + from * s.stride_k, s.stride_k, band.columns - from, s.dim);
    fetch<N, D>(tiles + TILE, v + from * s.stride_v, s.stride_v, band.columns - from, s.dim);
    copies_commit();
  }
  Left<D, M, HELD> left;
  left.tile = rows_tile + WARP * 16 * M * D * 2;
  u32 now = tiles;
  for (i32 j = from; j < to; j += N) {
    copies_wait<0>();
    SYNC(); // the tile is there, and all are done with the one before
    u32 next = now == tiles ? tiles + 2 * TILE : tiles;
    if (j + N < to) {
      fetch<N, D>(next, k + (j + N) * s.stride_k, s.stride_k, band.columns - j - N, s.dim);
      fetch<N, D>(next + TILE, v + (j + N) * s.stride_v, s.stride_v, band.columns - j - N, s.dim);
      copies_commit();
    }
    if (j == from) left.hold();
    if (sees_some<M, N>(band, mine, last, j)) {
      float x[M][N / 8][4];
      dot_rows<D, M, N>(x, left, now);
      if (s.soft_cap > 0) soft_cap<M, N>(x, s);
      if (s.bias) add_bias<M, N>(x, bias_of<false>(s, h, mine, p.rows, j, band.columns), exponent_scale(s));
      if (!sees_all<M, N>(band, mine, j)) hide<M, N>(x, band, mine, j, NEG_INF);
      softmax_step<D, M, N>(x, top, sum, acc, scale);
      if (s.threshold) drop<M, N>(x, kept_bits<M, N, false>(s, h, p.start + mine, j), s.keep);
      add_rows<D, M, N>(acc, x, now + TILE);
    }
    now = next;
  }
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 half = 0; half < 2; half++) {
      float all = sum[m][half] + shfl_xor(sum[m][half], 1);
      all += shfl_xor(all, 2);
      float inv = all > 0 ? reciprocal_approx(all) : 0.f;
#pragma unroll
      for (i32 n = 0; n < D / 8; n++) {
        acc[m][n][half * 2] *= inv;
        acc[m][n][half * 2 + 1] *= inv;
      }
      i32 row = mine + m * 16 + half * 8 + LANE / 4;
      if (LANE % 4 == 0 && row < p.rows)
        lse[(i64)h * s.total_q + p.start + row] = all > 0 ? top[m][half] * scale * LN2 + logf_(all) : NEG_INF;
    }
  i32 mine_in = mine - p.first, have = p.rows - mine;
  store_rows<D, M>(o + (row0 + mine_in) * s.stride_o + h * s.dim, s.stride_o, have, have, s.dim, mine_in * D * 2, acc, 1.f);
}

#define FORWARD(D, M, N, HELD) \
  KERNEL __launch_bounds__(BLOCK) attention_mma_##D(Spec s, bf16 *o, float *lse, const bf16 *q, const bf16 *k, const bf16 *v) { \
    forward<D, M, N, HELD>(s, o, lse, q, k, v); \
  }
FORWARD(32, 2, 64, true)
FORWARD(64, 2, 64, true)
FORWARD(128, 2, 32, false)
FORWARD(256, 1, 32, false)

// The gradients of scores, from dot products x = q·k and y = dO·v: x becomes the softmax's weights P = 2^(x·scale + bias − base),
// y becomes P·(y − delta), times 1 − (x/cap)² under a soft cap. base and delta belong to queries, which are the rows, or
// the columns (TURNED).
template <i32 M, i32 N, bool TURNED, bool CAPPED, bool BIASED>
DEV void gradients(float (*x)[N / 8][4], float (*y)[N / 8][4], const float (*base)[2], const float (*delta)[2], float scale, float inv_cap,
                   const Bias<TURNED> &bias) {
#pragma unroll
  for (i32 n = 0; n < N / 8; n++)
#pragma unroll
    for (i32 m = 0; m < M; m++)
#pragma unroll
      for (i32 e = 0; e < 4; e++) {
        i32 i = TURNED ? n : m, j = TURNED ? e & 1 : e >> 1;
        float t = x[m][n][e] * inv_cap, zero = -base[i][j];
        if (BIASED) zero = fma_rn(bias.at(m * 16 + e / 2 * 8, n * 8 + e % 2), LOG2E, zero);
        x[m][n][e] = exp2_approx(fma_rn(x[m][n][e], scale, zero));
        y[m][n][e] = x[m][n][e] * (y[m][n][e] - delta[i][j]);
        if (CAPPED) y[m][n][e] *= fma_rn(-t, t, 1.f);
      }
}
template <i32 M, i32 N, bool TURNED>
DEV void gradients(float (*x)[N / 8][4], float (*y)[N / 8][4], const float (*base)[2], const float (*delta)[2], const Spec &s,
                   const Bias<TURNED> &bias) {
  float scale = exponent_scale(s), cap = s.soft_cap;
  here(cap);
  float inv_cap = cap > 0 ? reciprocal_approx(cap) : 0.f;
  if (s.bias) gradients<M, N, TURNED, true, true>(x, y, base, delta, scale, inv_cap, bias);
  else if (s.soft_cap > 0) gradients<M, N, TURNED, true, false>(x, y, base, delta, scale, inv_cap, bias);
  else gradients<M, N, TURNED, false, false>(x, y, base, delta, scale, 0.f, bias);
}

// What is subtracted from exponents of 2 for a row with this log-sum-exp. A row that sees no key has −∞, and weights of 0.
DEV float base_of(float lse) { return lse == NEG_INF ? -NEG_INF : lse * LOG2E; }

// dq = scale·dS·k, where dS are the scores' gradients.
template <i32 D, i32 M, i32 N, bool HELD>
DEV void backward_q(const Spec &s, bf16 *dq, const bf16 *dout, const float *lse, const float *delta, const bf16 *q, const bf16 *k,
                    const bf16 *v) {
  const i32 ROWS = 16 * M * WARPS;
  const u32 TILE = N * D * 2;
  Part p;
  if (!part_of<ROWS>(s.cu_q, s.seqs, s.total_q, BLOCKS - 1 - BLOCK_X, p)) return;
  i32 h = BLOCK_Y, kvh = h / (s.heads / s.kv_heads), last = (p.first + ROWS < p.rows ? p.first + ROWS : p.rows) - 1;
  Band band = keys_seen(s, p.rows, p.seq < 0 ? 0 : keys_of(s, p.seq));
  i32 from = band.from(p.first) / N * N, to = band.to(last), mine = p.first + WARP * 16 * M;
  i64 row0 = p.start + p.first;
  u32 rows_tile = shared_address(memory), tiles = rows_tile + 2 * ROWS * D * 2;
  float acc[M][D / 8][4], base[M][2], del[M][2];
  clear<M, D>(acc);
  if (from < to) {
    k += (i64)s.cu_k[p.seq] * s.stride_k + kvh * s.dim;
    v += (i64)s.cu_k[p.seq] * s.stride_v + kvh * s.dim;
    fetch<ROWS, D>(rows_tile, q + row0 * s.stride_q + h * s.dim, s.stride_q, p.rows - p.first, s.dim);
    fetch<ROWS, D>(rows_tile + ROWS * D * 2, dout + row0 * s.stride_o + h * s.dim, s.stride_o, p.rows - p.first, s.dim);
    fetch<N, D>(tiles, k + from * s.stride_k, s.stride_k, band.columns - from, s.dim);
    fetch<N, D>(tiles + TILE, v + from * s.stride_v, s.stride_v, band.columns - from, s.dim);
    copies_commit();
  }
#pragma unroll
  for (i32 m = 0; m < M; m++)
#pragma unroll
    for (i32 half = 0; half < 2; half++) {
      i32 row = mine + m * 16 + half * 8 + LANE / 4;
      i64 at = (i64)h * s.total_q + p.start + row;
      base[m][half] = row < p.rows ? base_of(lse[at]) : 0.f;
      del[m][half] = row < p.rows ? delta[at] : 0.f;
    }
  Left<D, M, HELD> left, dleft;
  left.tile = rows_tile + WARP * 16 * M * D * 2;
  dleft.tile = left.tile + ROWS * D * 2;
  u32 now = tiles;
  for (i32 j = from; j < to; j += N) {
    copies_wait<0>();
    SYNC();
    u32 next = now == tiles ? tiles + 2 * TILE : tiles;
    if (j + N < to) {
      fetch<N, D>(next, k + (j + N) * s.stride_k, s.stride_k, band.columns - j - N, s.dim);
      fetch<N, D>(next + TILE, v + (j + N) * s.stride_v, s.stride_v, band.columns - j - N, s.dim);
      copies_commit();
    }
    if (j == from) {
      left.hold();
      dleft.hold();
    }
    if (sees_some<M, N>(band, mine, last, j)) {
      float x[M][N / 8][4], y[M][N / 8][4];
      dot_rows<D, M, N>(x, left, now);
      dot_rows<D, M, N>(y, dleft, now + TILE);
      if (s.soft_cap > 0) soft_cap<M, N>(x, s);
      if (s.threshold) drop<M, N>(y, kept_bits<M, N, false>(s, h, p.start + mine, j), s.keep);
      gradients<M, N, false>(x, y, base, del, s, bias_of<false>(s, h, mine, p.rows, j, band.columns));
      if (!sees_all<M, N>(band, mine, j)) hide<M, N>(y, band, mine, j, 0.f);
      add_rows<D, M, N>(acc, y, now);
    }
    now = next;
  }
  i32 mine_in = mine - p.first, have = p.rows - mine;
  store_rows<D, M>(dq + (row0 + mine_in) * s.stride_q + h * s.dim, s.stride_q, have, have, s.dim, mine_in * D * 2, acc, s.scale);
}

// Queries that see a key: row j of k is seen by those from j − shift on that are at most a window away.
DEV Band seen_by(const Spec &s, i32 queries, i32 keys) {
  i32 shift = keys - queries;
  return Band{s.causal ? -shift : -FAR, s.window > 0 ? s.window - shift : FAR, queries};
}

// dk = scale·dSᵀ·q and dv = Pᵀ·dO, summed over the heads that share a key head and the queries that see the key, in that
// order. Scores are computed turned, keys by queries. There are rows_k rows of dk and rows_v of dv; those that belong to
// no sequence, or are not in use, get zeros.
template <i32 D, i32 M, i32 N, bool HELD, bool DK, bool DV>
DEV void backward_kv(const Spec &s, bf16 *dk, bf16 *dv, i32 rows_k, i32 rows_v, const bf16 *dout, const float *lse,
                     const float *delta, const bf16 *q, const bf16 *k, const bf16 *v) {
  const i32 ROWS = 16 * M * WARPS;
  const u32 TILE = N * D * 2, STAGE = 2 * TILE + 2 * N * 4;
  Part p;
  if (!part_of<ROWS>(s.cu_k, s.seqs, rows_k > rows_v ? rows_k : rows_v, BLOCK_X, p)) return;
  i32 kvh = BLOCK_Y, group = s.heads / s.kv_heads, keys = 0, queries = 0;
  i64 row0 = p.start + p.first, q0 = 0;
  if (p.seq >= 0) {
    keys = keys_of(s, p.seq);
    q0 = s.cu_q[p.seq];
    queries = s.cu_q[p.seq + 1] - (i32)q0;
  }
  Band band = seen_by(s, queries, keys);
  i32 last = (p.first + ROWS < keys ? p.first + ROWS : keys) - 1;
  i32 from = band.from(p.first) / N * N, to = p.first < keys ? band.to(last) : 0, mine = p.first + WARP * 16 * M;
  u32 rows_tile = shared_address(memory), tiles = rows_tile + 2 * ROWS * D * 2;
  float ak[DK ? M : 1][D / 8][4], av[DV ? M : 1][D / 8][4];
  clear<DK ? M : 1, D>(ak);
  clear<DV ? M : 1, D>(av);
  q += q0 * s.stride_q;
  dout += q0 * s.stride_o;
  // Copies a stage: rows of q and dO of a head, and their log-sum-exps and deltas.
  auto fetch_queries = [&](u32 stage, i32 h, i32 i) __attribute__((always_inline)) {
    fetch<N, D>(stage, q + i * s.stride_q + h * s.dim, s.stride_q, queries - i, s.dim);
    fetch<N, D>(stage + TILE, dout + i * s.stride_o + h * s.dim, s.stride_o, queries - i, s.dim);
    i32 row = i + TID % N;
    const float *x = (TID < N ? lse : delta) + (i64)h * s.total_q + q0;
    bool in = row < queries;
    if (TID < 2 * N) copy4(stage + 2 * TILE + TID * 4, in ? x + row : x, in ? 4 : 0);
    copies_commit();
  };
  i32 h = kvh * group, end = from < to ? h + group : h;
  if (h < end) {
    fetch<ROWS, D>(rows_tile, k + row0 * s.stride_k + kvh * s.dim, s.stride_k, keys - p.first, s.dim);
    if (DK) fetch<ROWS, D>(rows_tile + ROWS * D * 2, v + row0 * s.stride_v + kvh * s.dim, s.stride_v, keys - p.first, s.dim);
    fetch_queries(tiles, h, from);
  }
  Left<D, M, HELD> left, dleft;
  left.tile = rows_tile + WARP * 16 * M * D * 2;
  dleft.tile = left.tile + ROWS * D * 2;
  u32 now = tiles;
  for (i32 i = from; h < end;) {
    copies_wait<0>();
    SYNC();
    u32 next = now == tiles ? tiles + STAGE : tiles;
    i32 next_i = i + N < to ? i + N : from, next_h = i + N < to ? h : h + 1;
    if (next_h < end) fetch_queries(next, next_h, next_i);
    if (i == from && h == kvh * group) {
      left.hold();
      if (DK) dleft.hold();
    }
    if (sees_some<M, N>(band, mine, last, i)) {
      float x[M][N / 8][4], y[M][N / 8][4], base[N / 8][2], del[N / 8][2];
      dot_rows<D, M, N>(x, left, now);
      if (DK) dot_rows<D, M, N>(y, dleft, now + TILE);
      else clear<M, N>(y);
      const float *of = (const float *)(memory + (now - rows_tile + 2 * TILE)) + LANE % 4 * 2;
#pragma unroll
      for (i32 n = 0; n < N / 8; n++)
#pragma unroll
        for (i32 e = 0; e < 2; e++) {
          base[n][e] = base_of(of[n * 8 + e]);
          del[n][e] = DK ? of[N + n * 8 + e] : 0.f;
        }
      if (s.soft_cap > 0) soft_cap<M, N>(x, s);
      Bits<M, N> bits = 0;
      if (s.threshold) {
        bits = kept_bits<M, N, true>(s, h, (i32)q0 + i, mine);
        if (DK) drop<M, N>(y, bits, s.keep);
      }
      gradients<M, N, true>(x, y, base, del, s, bias_of<true>(s, h, i, queries, mine, keys));
      if (!sees_all<M, N>(band, mine, i)) {
        if (DV) hide<M, N>(x, band, mine, i, 0.f);
        if (DK) hide<M, N>(y, band, mine, i, 0.f);
      }
      if (DV) {
        if (s.threshold) drop<M, N>(x, bits, s.keep);
        add_rows<D, M, N>(av, x, now + TILE);
      }
      if (DK) add_rows<D, M, N>(ak, y, now);
    }
    now = next;
    i = next_i;
    h = next_h;
  }
  i32 mine_in = mine - p.first, live = keys - mine;
  row0 += mine_in;
  i32 have = p.rows - mine, have_k = have < rows_k - row0 ? have : (i32)(rows_k - row0), have_v = have < rows_v - row0 ? have : (i32)(rows_v - row0);
  if (DK) store_rows<D, M>(dk + row0 * s.stride_k + kvh * s.dim, s.stride_k, have_k, live, s.dim, mine_in * D * 2, ak, s.scale);
  if (DV) store_rows<D, M>(dv + row0 * s.stride_v + kvh * s.dim, s.stride_v, have_v, live, s.dim, mine_in * D * 2, av, 1.f);
}

#define BACKWARD_Q(D, M, N, HELD) \
  KERNEL __launch_bounds__(BLOCK) attention_mma_dq_##D(Spec s, bf16 *dq, const bf16 *dout, const float *lse, const float *delta, \
                                                       const bf16 *q, const bf16 *k, const bf16 *v) { \
    backward_q<D, M, N, HELD>(s, dq, dout, lse, delta, q, k, v); \
  }
BACKWARD_Q(32, 2, 32, true)
BACKWARD_Q(64, 2, 32, false)
BACKWARD_Q(128, 1, 32, false)
BACKWARD_Q(256, 1, 16, false)

#define BACKWARD_KV(name, D, M, N, HELD, DK, DV) \
  KERNEL __launch_bounds__(BLOCK) attention_mma_##name##_##D(Spec s, bf16 *dk, bf16 *dv, i32 rows_k, i32 rows_v, const bf16 *dout, \
                                                             const float *lse, const float *delta, const bf16 *q, const bf16 *k, \
                                                             const bf16 *v) { \
    backward_kv<D, M, N, HELD, DK, DV>(s, dk, dv, rows_k, rows_v, dout, lse, delta, q, k, v); \
  }
BACKWARD_KV(dkv, 32, 2, 32, true, true, true)
BACKWARD_KV(dkv, 64, 1, 64, true, true, true)
BACKWARD_KV(dkv, 128, 1, 32, false, true, true)
BACKWARD_KV(dk, 256, 1, 16, false, true, false) // registers have room for one of them
BACKWARD_KV(dv, 256, 1, 16, false, false, true)
