// AdamW with states in 8 bits: one launch over all parameters. A block of 256 threads has a block of the states: it decodes them,
// updates and encodes them again.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"
#include "optim.cuh"
#include "states8.cuh"

// A parameter, and where its states are: elements at … of the codes, or of s1 and s2 if they are float32.
struct Region {
  Segment s;
  i64 at;
  i32 plain, pad;
};

DEV i32 block_of(const Region &r) { return r.s.block; }

KERNEL __launch_bounds__(256)
optim8(i32 kind, float b1, float c1, float b2, float c2, float eps, float root, const Region *regions, i32 n, void *w, i32 wtype,
       float *master, float *s1, float *s2, u8 *codes1, float *absmax1, const float *map1, u8 *codes2, float *absmax2,
       const float *map2, const void *g, i32 gtype, const float *scale) {
  __shared__ float values1[256], values2[256], red[32];
  float k = scale[0];
  if (!(k - k == 0)) return; // not finite: the step is skipped
  Region r = regions[segment_of(regions, n)];
  Update u = {kind, 0, b1, c1, b2, c2, eps, root, 0};
  i64 first = (i64)(BLOCK_X - r.s.block) * 256, j = first + TID, i = r.s.off + j, at = r.at + j;
  bool mine = j < r.s.len;
  float m = 0, v = 0;
  if (r.plain) {
    if (mine) m = s1[at], v = s2[at];
  } else {
    values1[TID] = map1[TID];
    values2[TID] = map2[TID];
    SYNC();
    if (mine) {
      m = values1[codes1[at]] * absmax1[at >> 8];
      v = values2[codes2[at]] * absmax2[at >> 8];
    }
  }
  if (mine) {
    float p = update(u, r.s, mul_rn(load_as(g, i, gtype), k), master[i], m, v);
    master[i] = p;
    if (wtype == F32) store((float *)w + i, p);
    else if (wtype == BF16) store((bf16 *)w + i, p);
  }
  if (r.plain) {
    if (mine) s1[at] = m, s2[at] = v;
    return;
  }
  float top1 = block_max(absf(m), red), top2 = block_max(absf(v), red); // all have read the old ones by now
  if (TID == 0) {
    absmax1[at >> 8] = top1;
    absmax2[at >> 8] = top2;
  }
  if (!mine) return;
  codes1[at] = nearest(values1, top1 > 0 ? __nvvm_div_rn_f(m, top1) : 0.f);
  codes2[at] = nearest(values2, top2 > 0 ? __nvvm_div_rn_f(v, top2) : 0.f);
}
