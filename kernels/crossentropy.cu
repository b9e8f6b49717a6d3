// Softmax cross-entropy over rows of logits, forward and backward. A block per row.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

DEV float capped(float x, float cap) { return cap > 0 ? cap * tanhf_(x / cap) : x; }

// Writes tensor.CECols columns: log-likelihood of the target, log-sum-exp, whether the target is the first largest logit,
// and the entropy.
template <class T>
DEV void cross_entropy(float *rows, const T *logits, const i32 *targets, i32 vocab, i32 ignore, float cap, float eps) {
  __shared__ float red[32];
  __shared__ i32 first[32];
  const T *x = logits + (i64)BLOCK_X * vocab;
  float top = NEG_INF;
  i32 at = 0x7fffffff; // where this thread met its largest logit first
  each_of_row(x, vocab, [&](i32 i, float v) INLINE {
    float z = capped(v, cap);
    if (z > top) {
      top = z;
      at = i;
    }
  });
  float all = block_max(top, red);
  if (top != all) at = 0x7fffffff;
  for (i32 o = 16; o; o >>= 1) {
    i32 other = shfl_xor(at, o);
    at = other < at ? other : at;
  }
  if (LANE == 0) first[WARP] = at;
  SYNC();
  at = first[0];
  for (i32 i = 1; i < THREADS >> 5; i++) at = first[i] < at ? first[i] : at;
  float sum = 0, dev = 0, total = 0;
  each_of_row(x, vocab, [&](i32, float v) INLINE {
    float d = capped(v, cap) - all, e = expf_(d);
    sum += e;
    dev += e * d;
    total += d;
  });
  sum = block_sum(sum, red);
  dev = block_sum(dev, red);
  total = block_sum(total, red);
  if (TID == 0) {
    float log_sum = logf_(sum), *out = rows + 4 * (i64)BLOCK_X;
    i32 target = targets[BLOCK_X];
    bool counts = target != ignore;
    float logp = 0;
    if (counts) {
      logp = capped(load(x + target), cap) - all - log_sum;
      if (eps != 0) logp = (1.f - eps) * logp + eps * (total / vocab - log_sum);
    }
    out[0] = logp;
    out[1] = all + log_sum;
    out[2] = counts && at == target ? 1.f : 0.f;
    out[3] = counts ? log_sum - dev / sum : 0.f;
  }
}

// With p the softmax of the capped logits z: ∂logp/∂z = (1−ε)·1[target] + ε/V − p, and ∂z/∂logit = 1 − (z/cap)².
template <class G, class T>
DEV void cross_entropy_bwd(G *dlogits, const T *logits, const float *rows, const i32 *targets, const float *drow, i32 vocab,
                           i32 ignore, float cap, float eps) {
  const T *x = logits + (i64)BLOCK_X * vocab;
  G *d = dlogits + (i64)BLOCK_X * vocab;
  i32 target = targets[BLOCK_X];
  float w = drow ? drow[BLOCK_X] : -1.f, lse = rows[4 * (i64)BLOCK_X + 1];
  auto gradient = [=](i32 i, float v) INLINE {
    if (target == ignore) return 0.f;
    float z = capped(v, cap);
    float g = (i == target ? 1.f - eps : 0.f) + eps / vocab - expf_(z - lse);
    if (cap > 0) {
      float t = z / cap;
      g *= 1.f - t * t;
    }
    return w * g;
  };
  // Rows of odd length begin anywhere: what stands before the first multiple of 16 bytes is done singly, too.
  constexpr i32 N = PIECE<G>;
  i32 head = -(i32)((u64)d / sizeof(G)) & (N - 1);
  if (head > vocab || !aligned(x + head)) head = vocab;
  i32 whole = (vocab - head) / N, tail = head + whole * N;
  for (i32 p = TID; p < whole; p += THREADS) {
    i32 i = head + p * N;
    float v[N];
    load_many<N>(v, x + i);
#pragma unroll
    for (i32 e = 0; e < N; e++) v[e] = gradient(i + e, v[e]);
    store_many<N>(d + i, v);
  }
  for (i32 i = TID; i < head; i += THREADS) store(d + i, gradient(i, load(x + i)));
  for (i32 i = tail + TID; i < vocab; i += THREADS) store(d + i, gradient(i, load(x + i)));
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) cross_entropy_##t(float *rows, const T *logits, const i32 *targets, i32 vocab, i32 ignore, \
                                                  float cap, float eps) { \
    cross_entropy(rows, logits, targets, vocab, ignore, cap, eps); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)

#define FOR_TYPES(g, G, t, T) \
  KERNEL __launch_bounds__(256) cross_entropy_bwd_##g##_##t(G *dlogits, const T *logits, const float *rows, const i32 *targets, \
                                                            const float *drow, i32 vocab, i32 ignore, float cap, float eps) { \
    cross_entropy_bwd(dlogits, logits, rows, targets, drow, vocab, ignore, cap, eps); \
  }
FOR_TYPES(f32, float, f32, float)
FOR_TYPES(bf16, bf16, f32, float)
FOR_TYPES(bf16, bf16, bf16, bf16)
