// Attention over packed sequences in plain float32 arithmetic, forward and backward: every option of tensor.AttnSpec, any
// strides, heads of up to 256 elements. A warp per row and head; nothing is shared between warps, so every sum has one
// order. This is the reference among the GPU's attention kernels.
#include "common.cuh"
#include "attention.cuh"

#define WARPS 4
#define MAX_DIM 256
#define PER_LANE (MAX_DIM / 32)

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

// Σ x[d]·y[d] of a shared row and one in memory.
template <class T> DEV float dot(const float *x, const T *y, i32 dim) {
  float a = 0;
  for (i32 d = 0; d < dim; d++) a = fma_rn(x[d], load(y + d), a);
  return a;
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
  __shared__ float rows[WARPS][MAX_DIM];
  Query at;
  if (!query(s, at)) return;
  float *qs = rows[WARP], acc[PER_LANE], top = NEG_INF, sum = 0;
  share(qs, q + at.row * s.stride_q + at.h * s.dim, s.dim);
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++) acc[e] = 0;
  for (i32 j0 = at.lo; j0 < at.hi; j0 += 32) {
    i32 j = j0 + LANE, n = at.hi - j0 < 32 ? at.hi - j0 : 32;
    bool in = j < at.hi;
    float x = in ? score(s, dot(qs, k + (i64)(at.key0 + j) * s.stride_k + at.kvh * s.dim, s.dim)) : NEG_INF;
    if (s.bias && in) x += bias_row(s, at.h, at.pos)[j];
    float best = fmax2(top, warp_max(x)), zero = best == NEG_INF ? 0.f : best; // a bias may hide all keys so far
    float fade = expf_(top - zero), p = in ? expf_(x - zero) : 0.f;
    top = best;
    sum = sum * fade + warp_sum(p);
    if (in) p *= kept(s, at.h, at.row, j);
#pragma unroll
    for (i32 e = 0; e < PER_LANE; e++) acc[e] *= fade;
    const T *vs = v + (i64)(at.key0 + j0) * s.stride_v + at.kvh * s.dim;
    for (i32 i = 0; i < n; i++) {
      float pi = shfl(p, i);
#pragma unroll
      for (i32 e = 0; e < PER_LANE; e++)
        if (e * 32 + LANE < s.dim) acc[e] = fma_rn(pi, load(vs + i * s.stride_v + e * 32 + LANE), acc[e]);
    }
  }
  float inv = sum > 0 ? 1.f / sum : 0.f;
  T *out = o + at.row * s.stride_o + at.h * s.dim;
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++)
    if (e * 32 + LANE < s.dim) store(out + e * 32 + LANE, acc[e] * inv);
  if (LANE == 0) lse[(i64)at.h * s.total_q + at.row] = sum > 0 ? top + logf_(sum) : NEG_INF;
}

// delta = Σ do·o of a row and head.
template <class T> DEV void attention_delta(const Spec &s, float *delta, const T *dout, const T *o) {
  i32 w = BLOCK_X * WARPS + WARP, row = w / s.heads, h = w % s.heads;
  if (row >= s.total_q) return;
  i64 at = row * s.stride_o + h * s.dim;
  float a = 0;
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
  __shared__ float rows[WARPS][2][MAX_DIM];
  Query at;
  if (!query(s, at)) return;
  float *qs = rows[WARP][0], *dos = rows[WARP][1], acc[PER_LANE];
  share(qs, q + at.row * s.stride_q + at.h * s.dim, s.dim);
  share(dos, dout + at.row * s.stride_o + at.h * s.dim, s.dim);
  float l = lse[(i64)at.h * s.total_q + at.row], dl = delta[(i64)at.h * s.total_q + at.row];
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++) acc[e] = 0;
  for (i32 j0 = at.lo; j0 < at.hi; j0 += 32) {
    i32 j = j0 + LANE, n = at.hi - j0 < 32 ? at.hi - j0 : 32;
    float ds = 0, p;
    if (j < at.hi) {
      float qk = dot(qs, k + (i64)(at.key0 + j) * s.stride_k + at.kvh * s.dim, s.dim);
      float dov = dot(dos, v + (i64)(at.key0 + j) * s.stride_v + at.kvh * s.dim, s.dim);
      float x = score(s, qk), biased = s.bias ? x + bias_row(s, at.h, at.pos)[j] : x;
      ds = score_gradient(biased, dov, l, dl, kept(s, at.h, at.row, j), p) * slope(s, x);
    }
    const T *ks = k + (i64)(at.key0 + j0) * s.stride_k + at.kvh * s.dim;
    for (i32 i = 0; i < n; i++) {
      float di = shfl(ds, i);
#pragma unroll
      for (i32 e = 0; e < PER_LANE; e++)
        if (e * 32 + LANE < s.dim) acc[e] = fma_rn(di, load(ks + i * s.stride_k + e * 32 + LANE), acc[e]);
    }
  }
  T *out = dq + at.row * s.stride_q + at.h * s.dim;
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++)
    if (e * 32 + LANE < s.dim) store(out + e * 32 + LANE, acc[e]);
}

// dk and dv of a key row and key head: Σ over the heads that share it and the queries that see it, in that order. Rows
// that belong to no sequence, or are not in use, get zeros. There are rows_k rows of dk and rows_v of dv.
template <class T>
DEV void attention_dkv(const Spec &s, T *dk, T *dv, i32 rows_k, i32 rows_v, const T *dout, const float *lse,
                       const float *delta, const T *q, const T *k, const T *v) {
  __shared__ float rows[WARPS][2][MAX_DIM];
  i32 w = BLOCK_X * WARPS + WARP, row = w / s.kv_heads, kvh = w % s.kv_heads;
  if (row >= rows_k && row >= rows_v) return;
  float ak[PER_LANE], av[PER_LANE];
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++) ak[e] = av[e] = 0;
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
          float qk = dot(ks, q + (i64)(q0 + i) * s.stride_q + h * s.dim, s.dim);
          float dov = dot(vs, dout + (i64)(q0 + i) * s.stride_o + h * s.dim, s.dim);
          float x = score(s, qk), biased = s.bias ? x + bias_row(s, h, i + shift)[j] : x;
          ds = score_gradient(biased, dov, lse[at], delta[at], kept(s, h, q0 + i, j), p) * slope(s, x);
        }
        const T *qs = q + (i64)(q0 + i0) * s.stride_q + h * s.dim, *dos = dout + (i64)(q0 + i0) * s.stride_o + h * s.dim;
        for (i32 m = 0; m < n; m++) {
          float dm = shfl(ds, m), pm = shfl(p, m);
#pragma unroll
          for (i32 e = 0; e < PER_LANE; e++)
            if (e * 32 + LANE < s.dim) {
              ak[e] = fma_rn(dm, load(qs + m * s.stride_q + e * 32 + LANE), ak[e]);
              av[e] = fma_rn(pm, load(dos + m * s.stride_o + e * 32 + LANE), av[e]);
            }
        }
      }
    }
  }
#pragma unroll
  for (i32 e = 0; e < PER_LANE; e++)
    if (e * 32 + LANE < s.dim) {
      if (row < rows_k) store(dk + row * s.stride_k + kvh * s.dim + e * 32 + LANE, ak[e]);
      if (row < rows_v) store(dv + row * s.stride_v + kvh * s.dim + e * 32 + LANE, av[e]);
    }
}

// dbias += Σ of dS over the sequences that have a query at a position, and over the heads that share a bias, in that order: a
// warp per position and 32 keys of a head's bias.
template <class T>
DEV void attention_dbias(const Spec &s, float *dbias, const T *dout, const float *lse, const float *delta, const T *q, const T *k,
                         const T *v) {
  __shared__ float rows[WARPS][2][MAX_DIM];
  i32 tiles = (s.bias_n + 31) / 32, w = BLOCK_X * WARPS + WARP, pos = w / tiles, j0 = w % tiles * 32, j = j0 + LANE;
  if (pos >= s.bias_n || (s.causal && j0 > pos)) return;
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
      float x = score(s, dot(qs, k + key * s.stride_k + kvh * s.dim, s.dim)), p;
      float dov = dot(dos, v + key * s.stride_v + kvh * s.dim, s.dim);
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
