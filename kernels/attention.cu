// Attention over packed sequences in plain float32 arithmetic, forward and backward: every option of tensor.AttnSpec, any
// strides, heads of up to 256 elements. A warp per row and head; nothing is shared between warps, so every sum has one
// order. This is the reference among the GPU's attention kernels. Rows are read in pieces of 16 bytes, or of two elements, where
// they begin at multiples of them; the arithmetic is the same.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"
#include "attention.cuh"

#define WARPS 4
#define MAX_DIM 256
#define PAIRS (MAX_DIM / 64) // of a lane: elements 2·lane and 2·lane+1 of every 64

// The sequence that a row belongs to, or −1.
DEV i32 sequence_of(const i32 *cu, i32 seqs, i32 row) {
  if (seqs == 0 || row < cu[0] || row >= cu[seqs]) return -1;
  i32 lo = 0, hi = seqs; // cu[lo] ≤ row < cu[hi]
  while (hi - lo > 1) {
    i32 mid = (lo + hi) / 2;
    if (cu[mid] <= row) lo = mid;
    else hi = mid;
  }
  return lo;
}

// The soft-capped score of a dot product.
DEV float score(const Spec &s, float dot) {
  float x = dot * s.scale;
  return s.soft_cap > 0 ? s.soft_cap * tanhf_(x / s.soft_cap) : x;
}

// Dropout's factor for key j of query row i in head h.
DEV float kept(const Spec &s, i32 h, i32 i, i32 j) { return s.threshold && dropped(s, h, i, j) ? 0.f : s.keep; }

// The rows of an operand as a warp reads them: in pieces of 16 bytes, in pairs of elements.
template <class T> struct Rows {
  const T *x;
  i64 stride;
  bool pieces, pairs;
};
template <class T> DEV Rows<T> rows_of(const Spec &s, const T *x, i64 stride) {
  const i32 PAIR = 2 * sizeof(T);
  return Rows<T>{x, stride, aligned(x) && aligned_rows<T>(stride) && s.dim % PIECE<T> == 0, aligned(x, PAIR) && !((stride | s.dim) & 1)};
}

// Σ x[d]·y[d] of a shared row and one in memory.
template <class T> DEV float dot(const float *x, const T *y, i32 dim, bool pieces) {
  float a = 0;
  if (pieces) {
#pragma unroll 2 // more take more registers than there are
    for (i32 d = 0; d < dim; d += PIECE<T>) {
      float xs[PIECE<T>], ys[PIECE<T>];
      load_many<PIECE<T>>(xs, x + d);
      load_many<PIECE<T>>(ys, y + d);
#pragma unroll
      for (i32 i = 0; i < PIECE<T>; i++) a = fma_rn(xs[i], ys[i], a);
    }
  } else
#pragma unroll 4
    for (i32 d = 0; d < dim; d++) a = fma_rn(x[d], load(y + d), a);
  return a;
}

DEV void load_pair(float *r, const float *p) {
  Pair w = *(const Pair *)p;
  r[0] = bits_to_float(w.x), r[1] = bits_to_float(w.y);
}
DEV void load_pair(float *r, const bf16 *p) {
  u32 w = *(const u32 *)p;
  r[0] = low_bf16(w), r[1] = high_bf16(w);
}

// sum += p·y of the lane's elements of a row.
template <class T> DEV void add_row(float (*sum)[2], float p, const T *y, i32 dim, bool pairs) {
  i32 i = 2 * LANE;
  if (pairs) {
#pragma unroll
    for (i32 e = 0; e < PAIRS; e++, i += 64)
      if (i < dim) {
        float r[2];
        load_pair(r, y + i);
        sum[e][0] = fma_rn(p, r[0], sum[e][0]);
        sum[e][1] = fma_rn(p, r[1], sum[e][1]);
      }
    return;
  }
#pragma unroll
  for (i32 e = 0; e < PAIRS; e++, i += 64) {
    if (i < dim) sum[e][0] = fma_rn(p, load(y + i), sum[e][0]);
    if (i + 1 < dim) sum[e][1] = fma_rn(p, load(y + i + 1), sum[e][1]);
  }
}

DEV void clear(float (*sum)[2]) {
#pragma unroll
  for (i32 e = 0; e < PAIRS; e++) sum[e][0] = sum[e][1] = 0;
}

// Writes the lane's elements of a row, times a factor.
template <class T> DEV void store_row(T *y, const float (*sum)[2], i32 dim, float factor) {
  i32 i = 2 * LANE;
#pragma unroll
  for (i32 e = 0; e < PAIRS; e++, i += 64) {
    if (i < dim) store(y + i, sum[e][0] * factor);
    if (i + 1 < dim) store(y + i + 1, sum[e][1] * factor);
  }
}

// Copies a row to the warp's shared memory.
template <class T> DEV void share(float *to, const T *from, i32 dim) {
  __nvvm_bar_warp_sync(ALL);
  for (i32 d = LANE; d < dim; d += 32) to[d] = load(from + d);
  __nvvm_bar_warp_sync(ALL);
}

// What a warp works on: a row of q and a head, and the keys that it sees.
struct Query {
  i32 row, h, kvh, key0, lo, hi, pos; // pos: where it stands among the keys
};

DEV bool query(const Spec &s, Query &q) {
  i32 w = BLOCK_X * WARPS + WARP;
  q.row = w / s.heads;
  q.h = w % s.heads;
  q.kvh = q.h / (s.heads / s.kv_heads);
  q.key0 = q.lo = q.hi = q.pos = 0;
  if (q.row >= s.total_q) return false;
  i32 seq = sequence_of(s.cu_q, s.seqs, q.row);
  if (seq < 0) return true;
  i32 nk = keys_of(s, seq), pos = q.row - s.cu_q[seq] + nk - (s.cu_q[seq + 1] - s.cu_q[seq]);
  q.pos = pos;
  q.key0 = s.cu_k[seq];
  q.hi = s.causal && pos + 1 < nk ? pos + 1 : nk;
  if (s.window > 0 && pos - s.window + 1 > 0) q.lo = pos - s.window + 1;
  return true;
}

template <class T> DEV void attention(const Spec &s, T *o, float *lse, const T *q, const T *k, const T *v) {
  __shared__ __attribute__((aligned(16))) float rows[WARPS][MAX_DIM];
  Query at;
  if (!query(s, at)) return;
  Rows<T> kr = rows_of(s, k, s.stride_k), vr = rows_of(s, v, s.stride_v);
  float *qs = rows[WARP], acc[PAIRS][2], top = NEG_INF, sum = 0;
  share(qs, q + at.row * s.stride_q + at.h * s.dim, s.dim);
  clear(acc);
  for (i32 j0 = at.lo; j0 < at.hi; j0 += 32) {
    i32 j = j0 + LANE, n = at.hi - j0 < 32 ? at.hi - j0 : 32;
    bool in = j < at.hi;
    float x = in ? score(s, dot(qs, k + (i64)(at.key0 + j) * s.stride_k + at.kvh * s.dim, s.dim, kr.pieces)) : NEG_INF;
    if (s.bias && in) x += bias_row(s, at.h, at.pos)[j];
    float best = fmax2(top, warp_max(x)), zero = best == NEG_INF ? 0.f : best; // a bias may hide all keys so far
    float fade = expf_(top - zero), p = in ? expf_(x - zero) : 0.f;
    top = best;
    sum = sum * fade + warp_sum(p);
    if (in) p *= kept(s, at.h, at.row, j);
#pragma unroll
    for (i32 e = 0; e < PAIRS; e++) acc[e][0] *= fade, acc[e][1] *= fade;
    const T *vs = v + (i64)(at.key0 + j0) * s.stride_v + at.kvh * s.dim;
    for (i32 i = 0; i < n; i++) add_row(acc, shfl(p, i), vs + i * s.stride_v, s.dim, vr.pairs);
  }
  float inv = sum > 0 ? 1.f / sum : 0.f;
  store_row(o + at.row * s.stride_o + at.h * s.dim, acc, s.dim, inv);
  if (LANE == 0) lse[(i64)at.h * s.total_q + at.row] = sum > 0 ? top + logf_(sum) : NEG_INF;
}

// delta = Σ do·o of a row and head.
template <class T> DEV void attention_delta(const Spec &s, float *delta, const T *dout, const T *o) {
  i32 w = BLOCK_X * WARPS + WARP, row = w / s.heads, h = w % s.heads;
  if (row >= s.total_q) return;
  i64 at = row * s.stride_o + h * s.dim;
  float a = 0;
  if (rows_of(s, dout, s.stride_o).pairs && rows_of(s, o, s.stride_o).pairs)
    for (i32 d = 2 * LANE; d < s.dim; d += 64) {
      float x[2], y[2];
      load_pair(x, dout + at + d);
      load_pair(y, o + at + d);
      a = fma_rn(x[1], y[1], fma_rn(x[0], y[0], a));
    }
  else
    for (i32 d = LANE; d < s.dim; d += 32) a = fma_rn(load(dout + at + d), load(o + at + d), a);
  a = warp_sum(a);
  if (LANE == 0) delta[(i64)h * s.total_q + row] = a;
}

// With P the softmax, D dropout's factors and S the scores: dP = (dO·V)·D and dS = P·(dP − delta). Returns dS and sets p to P·D,
// for a score without and with bias. A query that sees no key has no softmax.
DEV float score_gradient(float biased, float dov, float lse, float delta, float keep, float &p) {
  float e = lse == NEG_INF ? 0.f : expf_(biased - lse);
  p = e * keep;
  return e * (dov * keep - delta);
}

// What dS is multiplied by for the gradient of q·k, where x is the score without bias: scale, and 1−(x/cap)² under a soft cap.
DEV float slope(const Spec &s, float x) {
  float t = s.soft_cap > 0 ? x / s.soft_cap : 0.f;
  return s.scale * (1.f - t * t);
}

// dq of a row and head: Σ over keys of dS·k.
template <class T>
DEV void attention_dq(const Spec &s, T *dq, const T *dout, const float *lse, const float *delta, const T *q, const T *k,
                      const T *v) {
  __shared__ __attribute__((aligned(16))) float rows[WARPS][2][MAX_DIM];
  Query at;
  if (!query(s, at)) return;
  Rows<T> kr = rows_of(s, k, s.stride_k), vr = rows_of(s, v, s.stride_v);
  float *qs = rows[WARP][0], *dos = rows[WARP][1], acc[PAIRS][2];
  share(qs, q + at.row * s.stride_q + at.h * s.dim, s.dim);
  share(dos, dout + at.row * s.stride_o + at.h * s.dim, s.dim);
  float l = lse[(i64)at.h * s.total_q + at.row], dl = delta[(i64)at.h * s.total_q + at.row];
  clear(acc);
  for (i32 j0 = at.lo; j0 < at.hi; j0 += 32) {
    i32 j = j0 + LANE, n = at.hi - j0 < 32 ? at.hi - j0 : 32;
    float ds = 0, p;
    if (j < at.hi) {
      float qk = dot(qs, k + (i64)(at.key0 + j) * s.stride_k + at.kvh * s.dim, s.dim, kr.pieces);
      float dov = dot(dos, v + (i64)(at.key0 + j) * s.stride_v + at.kvh * s.dim, s.dim, vr.pieces);
      float x = score(s, qk), biased = s.bias ? x + bias_row(s, at.h, at.pos)[j] : x;
      ds = score_gradient(biased, dov, l, dl, kept(s, at.h, at.row, j), p) * slope(s, x);
    }
    const T *ks = k + (i64)(at.key0 + j0) * s.stride_k + at.kvh * s.dim;
    for (i32 i = 0; i < n; i++) add_row(acc, shfl(ds, i), ks + i * s.stride_k, s.dim, kr.pairs);
  }
  store_row(dq + at.row * s.stride_q + at.h * s.dim, acc, s.dim, 1.f);
}

// dk and dv of a key row and key head: Σ over the heads that share it and the queries that see it, in that order. Rows
// that belong to no sequence, or are not in use, get zeros. There are rows_k rows of dk and rows_v of dv.
template <class T>
DEV void attention_dkv(const Spec &s, T *dk, T *dv, i32 rows_k, i32 rows_v, const T *dout, const float *lse,
                       const float *delta, const T *q, const T *k, const T *v) {
  __shared__ __attribute__((aligned(16))) float rows[WARPS][2][MAX_DIM];
  i32 w = BLOCK_X * WARPS + WARP, row = w / s.kv_heads, kvh = w % s.kv_heads;
  if (row >= rows_k && row >= rows_v) return;
  float ak[PAIRS][2], av[PAIRS][2];
  clear(ak);
  clear(av);
  Rows<T> qr = rows_of(s, q, s.stride_q), dor = rows_of(s, dout, s.stride_o);
  i32 seq = sequence_of(s.cu_k, s.seqs, row), group = s.heads / s.kv_heads;
  if (seq >= 0 && row - s.cu_k[seq] < keys_of(s, seq)) {
    float *ks = rows[WARP][0], *vs = rows[WARP][1];
    share(ks, k + row * s.stride_k + kvh * s.dim, s.dim);
    share(vs, v + row * s.stride_v + kvh * s.dim, s.dim);
    i32 j = row - s.cu_k[seq], q0 = s.cu_q[seq], nq = s.cu_q[seq + 1] - q0, shift = keys_of(s, seq) - nq;
    // Query i stands at i + shift: with a causal mask it sees j if i ≥ j − shift; a window ends at j − shift + window.
    i32 lo = s.causal && j > shift ? j - shift : 0, hi = nq;
    if (s.window > 0 && j - shift + s.window < hi) hi = j - shift + s.window;
    for (i32 g = 0; g < group; g++) {
      i32 h = kvh * group + g;
      for (i32 i0 = lo; i0 < hi; i0 += 32) {
        i32 i = i0 + LANE, n = hi - i0 < 32 ? hi - i0 : 32;
        float ds = 0, p = 0;
        if (i < hi) {
          i64 at = (i64)h * s.total_q + q0 + i;
          float qk = dot(ks, q + (i64)(q0 + i) * s.stride_q + h * s.dim, s.dim, qr.pieces);
          float dov = dot(vs, dout + (i64)(q0 + i) * s.stride_o + h * s.dim, s.dim, dor.pieces);
          float x = score(s, qk), biased = s.bias ? x + bias_row(s, h, i + shift)[j] : x;
          ds = score_gradient(biased, dov, lse[at], delta[at], kept(s, h, q0 + i, j), p) * slope(s, x);
        }
        const T *qs = q + (i64)(q0 + i0) * s.stride_q + h * s.dim, *dos = dout + (i64)(q0 + i0) * s.stride_o + h * s.dim;
        for (i32 m = 0; m < n; m++) {
          add_row(ak, shfl(ds, m), qs + m * s.stride_q, s.dim, qr.pairs);
          add_row(av, shfl(p, m), dos + m * s.stride_o, s.dim, dor.pairs);
        }
      }
    }
  }
  if (row < rows_k) store_row(dk + row * s.stride_k + kvh * s.dim, ak, s.dim, 1.f);
  if (row < rows_v) store_row(dv + row * s.stride_v + kvh * s.dim, av, s.dim, 1.f);
}

// dbias += Σ of dS over the sequences that have a query at a position, and over the heads that share a bias, in that order: a
// warp per position and 32 keys of a head's bias.
template <class T>
DEV void attention_dbias(const Spec &s, float *dbias, const T *dout, const float *lse, const float *delta, const T *q, const T *k,
                         const T *v) {
  __shared__ __attribute__((aligned(16))) float rows[WARPS][2][MAX_DIM];
  i32 tiles = (s.bias_n + 31) / 32, w = BLOCK_X * WARPS + WARP, pos = w / tiles, j0 = w % tiles * 32, j = j0 + LANE;
  if (pos >= s.bias_n || (s.causal && j0 > pos)) return;
  Rows<T> kr = rows_of(s, k, s.stride_k), vr = rows_of(s, v, s.stride_v);
  float *qs = rows[WARP][0], *dos = rows[WARP][1], sum = 0;
  bool visible = !(s.causal && j > pos) && !(s.window > 0 && j < pos - s.window + 1);
  for (i32 seq = 0; seq < s.seqs; seq++) {
    i32 nk = keys_of(s, seq), row = s.cu_q[seq + 1] - nk + pos; // the sequence's last query stands at its last key
    if (row < s.cu_q[seq] || pos >= nk || j0 >= nk) continue;
    i32 h = s.bias_head ? BLOCK_Y : 0, end = s.bias_head ? h + 1 : s.heads;
    for (; h < end; h++) {
      share(qs, q + row * s.stride_q + h * s.dim, s.dim);
      share(dos, dout + row * s.stride_o + h * s.dim, s.dim);
      if (j >= nk || !visible) continue;
      i32 kvh = h / (s.heads / s.kv_heads);
      i64 at = (i64)h * s.total_q + row, key = s.cu_k[seq] + j;
      float x = score(s, dot(qs, k + key * s.stride_k + kvh * s.dim, s.dim, kr.pieces)), p;
      float dov = dot(dos, v + key * s.stride_v + kvh * s.dim, s.dim, vr.pieces);
      sum += score_gradient(x + bias_row(s, h, pos)[j], dov, lse[at], delta[at], kept(s, h, row, j), p);
    }
  }
  if (j < s.bias_n) dbias[BLOCK_Y * s.bias_head + (i64)pos * s.bias_n + j] += sum;
}

// So many blocks at least fit a multiprocessor: with more, or unless told, ptxas spills registers.
#define BOUNDS(blocks) __launch_bounds__(32 * WARPS, blocks)

#define FOR_TYPE(t, T) \
  KERNEL BOUNDS(5) attention_##t(Spec s, T *o, float *lse, const T *q, const T *k, const T *v) { \
    attention(s, o, lse, q, k, v); \
  } \
  KERNEL BOUNDS(5) attention_delta_##t(Spec s, float *delta, const T *dout, const T *o) { \
    attention_delta(s, delta, dout, o); \
  } \
  KERNEL BOUNDS(5) attention_dq_##t(Spec s, T *dq, const T *dout, const float *lse, const float *delta, const T *q, const T *k, \
                                    const T *v) { \
    attention_dq(s, dq, dout, lse, delta, q, k, v); \
  } \
  KERNEL BOUNDS(3) attention_dkv_##t(Spec s, T *dk, T *dv, i32 rows_k, i32 rows_v, const T *dout, const float *lse, \
                                     const float *delta, const T *q, const T *k, const T *v) { \
    attention_dkv(s, dk, dv, rows_k, rows_v, dout, lse, delta, q, k, v); \
  } \
  KERNEL BOUNDS(4) attention_dbias_##t(Spec s, float *dbias, const T *dout, const float *lse, const float *delta, const T *q, \
                                       const T *k, const T *v) { \
    attention_dbias(s, dbias, dout, lse, delta, q, k, v); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
