// What updates of a flat parameter vector share.
#pragma once

enum { SGD, ADAM, ADAMW, LION }; // tensor.OptKind

// A run of the vector with its own numbers, computed on the host in float64: thread blocks [block, next segment's block) belong to
// it. lr is lr/(1−β₁ᵗ) for the Adams, decay lr·wd where weight decay is decoupled, l2 wd where it joins
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

// The segment of a thread block.
DEV i32 block_of(const Segment &s) { return s.block; }
template <class S> DEV i32 segment_of(const S *segs, i32 n) {
  i32 lo = 0, hi = n;
  while (hi - lo > 1) {
    i32 mid = (lo + hi) / 2;
    if (block_of(segs[mid]) <= BLOCK_X) lo = mid;
    else hi = mid;
  }
  return lo;
}
