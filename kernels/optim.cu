// Optimiser updates of a flat parameter vector: one launch over all segments.
#include "common.cuh"

enum { SGD, ADAM, ADAMW, LION }; // tensor.OptKind

// A run of the vector with its own numbers, computed on the host in float64: blocks [block, next segment's block) of 1024
// elements belong to it. lr is lr/(1−β₁ᵗ) for the Adams, decay lr·wd where weight decay is decoupled, l2 wd where it joins
// the gradient.
struct Segment {
  i64 off, len;
  i32 block, pad;
  float lr, decay, l2, pad2;
};


// tensor.Kernels.Optim, in the order of operations of PyTorch's single-tensor code.
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
  i64 from = (i64)(BLOCK_X - s.block) * 1024;
  for (i64 j = from + TID; j < s.len && j < from + 1024; j += THREADS) {
    i64 i = s.off + j;
    float d = load_as(g, i, gtype) * k, p = master[i];
    switch (kind) {
    case ADAM:
    case ADAMW: {
      d += s.l2 * p;
      p -= s.decay * p;
      float m = b1 * s1[i] + c1 * d, v = b2 * s2[i] + c2 * d * d;
      s1[i] = m;
      s2[i] = v;
      p -= s.lr * (m / (sqrt_rn(v) / root + eps));
      break;
    }
    case LION: {
      float m = s1[i], u = b1 * m + c1 * d;
      p -= s.decay * p;
      p -= u > 0 ? s.lr : u < 0 ? -s.lr : 0.f;
      s1[i] = b2 * m + c2 * d;
      break;
    }
    default:
      d += s.l2 * p;
      if (momentum != 0) {
        float m = momentum * s1[i] + d;
        s1[i] = m;
        d = nesterov ? d + momentum * m : m;
      }
      p -= s.lr * d;
    }
    master[i] = p;
    if (wtype == F32) store((float *)w + i, p);
    else if (wtype == BF16) store((bf16 *)w + i, p);
  }
}
