// NF4: four-bit codes with a scale for 64 elements, the scales in float32 or quantised themselves.
#include "common.cuh"

// The values of the codes; see internal/quant.
DEV float nf4_value(u32 code) {
  const float values[16] = {-1.f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
                            -0.18477343022823334f, -0.09105003625154495f, 0.f, 0.07958029955625534f, 0.16093020141124725f,
                            0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                            0.7229568362236023f, 1.f};
  // Selections instead of a table: a table indexed by a variable would live in local memory.
  float v = values[0];
  for (u32 i = 1; i < 16; i++) v = code == i ? values[i] : v;
  return v;
}

// Writes elements first … first+n−1: w = value·scale. With abs_codes the scale of a block is map[code]·abs_scales + offset.
template <class T>
DEV void dequant(T *w, const unsigned char *codes, const float *absmax, const unsigned char *abs_codes, const float *abs_scales,
                 const float *map, float offset, i64 first, i64 n) {
  EACH(i, n) {
    i64 at = first + i, block = at >> 6;
    u32 c = codes[at >> 1];
    c = at & 1 ? c & 15 : c >> 4;
    float scale = abs_codes ? __nvvm_add_rn_f(__nvvm_mul_rn_f(map[abs_codes[block]], abs_scales[block >> 8]), offset) : absmax[block];
    store(w + i, nf4_value(c) * scale);
  }
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) dequant_##t(T *w, const unsigned char *codes, const float *absmax, const unsigned char *abs_codes, \
                                            const float *abs_scales, const float *map, float offset, i64 first, i64 n) { \
    dequant(w, codes, absmax, abs_codes, abs_scales, map, offset, first, n); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
