// Vectors in 8 bits: an index into a map of 256 ascending values, and a scale for 256 elements.
#include "common.cuh"
#include "states8.cuh"

KERNEL __launch_bounds__(256)
decode8(float *x, const unsigned char *codes, const float *absmax, const float *map, i64 n) {
  EACH(i, n) x[i] = map[codes[i]] * absmax[i >> 8];
}

// A thread block quantises a block.
KERNEL __launch_bounds__(256)
encode8(unsigned char *codes, float *absmax, const float *map, const float *x, i64 n) {
  __shared__ float red[32];
  i64 i = (i64)BLOCK_X * 256 + TID;
  float v = i < n ? x[i] : 0.f;
  float top = block_max(absf(v), red);
  if (TID == 0) absmax[BLOCK_X] = top;
  if (i >= n) return;
  float r = top > 0 ? __nvvm_div_rn_f(v, top) : 0.f;
  codes[i] = nearest(map, r);
}
