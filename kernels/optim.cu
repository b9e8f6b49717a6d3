// Optimiser updates of a flat parameter vector: one launch over all segments.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"
#include "optim.cuh"

// tensor.Kernels.Optim, in the order of operations of PyTorch's single-tensor code. A thread has four neighbouring parameters,
// a block 1024.
KERNEL __launch_bounds__(256)
optim(i32 kind, float b1, float c1, float b2, float c2, float eps, float root, float momentum, i32 nesterov,
      const Segment *segs, i32 n, void *w, i32 wtype, float *master, float *s1, float *s2, const void *g, i32 gtype,
      const float *scale) {
  float k = scale[0];
  if (!(k - k == 0)) return; // not finite: the step is skipped
  Segment s = segs[segment_of(segs, n)];
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
