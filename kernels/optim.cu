// Optimiser updates of a flat parameter vector: one launch over all segments.
#include "common.cuh"
#include "wide.cuh"

enum { SGD, ADAM, ADAMW, LION }; // tensor.OptKind

// A run of the vector with its own numbers, computed on the host in float64: blocks [block, next segment's block) of 1024
// elements belong to it. lr is lr/(1−β₁ᵗ) for the Adams, decay lr·wd where weight decay is decoupled, l2 wd where it joins
// the gradient.
struct Segment {
  i64 off, len;
  i32 block, pad;
  float lr, decay, l2, pad2;
};


// What an update has beside the vectors.
struct Update {
  i32 kind, nesterov;
  float b1, c1, b2, c2, eps, root, momentum;
};

// The new value of a parameter p from its gradient d; m and v are its states.
DEV float update(const Update &u, const Segment &s, float d, float p, float &m, float &v) {
  switch (u.kind) {
  case ADAM:
  case ADAMW: {
    d += s.l2 * p;
    p -= s.decay * p;
    m = fma_rn(d, u.c1, mul_rn(m, u.b1));
    v = fma_rn(d, mul_rn(d, u.c2), mul_rn(v, u.b2));
    return p - s.lr * (m / (sqrt_rn(v) / u.root + u.eps));
  }
  case LION: {
    float dir = fma_rn(d, u.c1, mul_rn(m, u.b1));
    p -= s.decay * p;
    p -= dir > 0 ? s.lr : dir < 0 ? -s.lr : 0.f;
    m = fma_rn(d, u.c2, mul_rn(m, u.b2));
    return p;
  }
  default:
    d += s.l2 * p;
    if (u.momentum != 0) {
      m = u.momentum * m + d;
      d = u.nesterov ? d + u.momentum * m : m;
    }
    return p - s.lr * d;
  }
}

// tensor.Kernels.Optim, in the order of operations of PyTorch's single-tensor code. A thread has four neighbouring parameters.
KERNEL __launch_bounds__(256)
optim(i32 kind, float b1, float c1, float b2, float c2, float eps, float root, float momentum, i32 nesterov,
      const Segment *segs, i32 n, void *w, i32 wtype, float *master, float *s1, float *s2, const void *g, i32 gtype,
      const float *scale) {
  float k = scale[0];
  if (!(k - k == 0)) return; // not finite: the step is skipped
  i32 lo = 0, hi = n;
  while (hi - lo > 1) {
    i32 mid = (lo + hi) / 2;
    if (segs[mid].block <= BLOCK_X) lo = mid;
    else hi = mid;
  }
  Segment s = segs[lo];
  Update u = {kind, nesterov, b1, c1, b2, c2, eps, root, momentum};
  bool first = kind != SGD || momentum != 0, second = kind == ADAM || kind == ADAMW;
  i64 j = (i64)(BLOCK_X - s.block) * 1024 + 4 * TID, i = s.off + j;
  if (j >= s.len) return;
  const i32 at = (i32)(i & 3); // 16 bytes of float32, 8 of bfloat16
  if (j + 4 <= s.len && at == 0 && aligned(master) && aligned(s1) && aligned(s2) && aligned(g, gtype == F32 ? 16 : 8) &&
      aligned(w, wtype == F32 ? 16 : 8)) {
    float p[4], d[4], m[4] = {}, v[4] = {};
    load_many<4>(p, master + i);
    load_many_as<4>(d, g, i, gtype);
    if (first) load_many<4>(m, s1 + i);
    if (second) load_many<4>(v, s2 + i);
#pragma unroll
    for (i32 e = 0; e < 4; e++) p[e] = update(u, s, mul_rn(d[e], k), p[e], m[e], v[e]);
    store_many<4>(master + i, p);
    if (first) store_many<4>(s1 + i, m);
    if (second) store_many<4>(s2 + i, v);
    if (wtype == F32) store_many<4>((float *)w + i, p);
    else if (wtype == BF16) store_many<4>((bf16 *)w + i, p);
    return;
  }
#pragma clang loop unroll(disable)
  for (i64 end = j + 4 < s.len ? i + 4 : s.off + s.len; i < end; i++) {
    float m = first ? s1[i] : 0.f, v = second ? s2[i] : 0.f;
    float p = update(u, s, mul_rn(load_as(g, i, gtype), k), master[i], m, v);
    master[i] = p;
    if (first) s1[i] = m;
    if (second) s2[i] = v;
    if (wtype == F32) store((float *)w + i, p);
    else if (wtype == BF16) store((bf16 *)w + i, p);
  }
}
