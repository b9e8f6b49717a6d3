// Vectors in 8 bits: what their kernels share.
#pragma once

// The code of the value of a map of 256 ascending ones that is nearest to r, of two equally near the lower: by bisection of the
// midpoints.
DEV u8 nearest(const float *map, float r) {
  i32 lo = 0, hi = 255; // the code is in [lo, hi]
  while (lo < hi) {
    i32 mid = (lo + hi) >> 1;
    // In float64, rounded once: as internal/quant has the midpoints.
    float between = (float)(((double)map[mid] + (double)map[mid + 1]) / 2);
    if (r > between) lo = mid + 1;
    else hi = mid;
  }
  return (u8)lo;
}
