// What kernels need of CUDA, in clang's builtins: no CUDA SDK is used. Every kernel file includes this first.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define DEV static __device__ inline __attribute__((always_inline))
#define KERNEL extern "C" __global__ void

#define TID ((i32)__nvvm_read_ptx_sreg_tid_x())
#define THREADS ((i32)__nvvm_read_ptx_sreg_ntid_x())
#define BLOCK_X ((i32)__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCK_Y ((i32)__nvvm_read_ptx_sreg_ctaid_y())
#define BLOCK_Z ((i32)__nvvm_read_ptx_sreg_ctaid_z())
#define BLOCKS ((i32)__nvvm_read_ptx_sreg_nctaid_x())
#define LANE (TID & 31)
#define WARP (TID >> 5)
#define SYNC() __syncthreads()
#define ALL 0xffffffffu

// A grid-stride loop over [0, n).
#define EACH(i, n) for (i64 i = (i64)BLOCK_X * THREADS + TID; i < (n); i += (i64)BLOCKS * THREADS)

// Element types. Arithmetic is in float32; bf16 and f16 are only stored.
struct bf16 { u16 bits; };
struct f16 { u16 bits; };

// Codes of element types that are chosen at run time: those of package tensor.
enum { F32 = 1, BF16 = 2, F16 = 3, I32 = 4 };

DEV float bits_to_float(u32 u) { return __builtin_bit_cast(float, u); }
DEV u32 float_to_bits(float f) { return __builtin_bit_cast(u32, f); }

DEV float load(const float *p) { return *p; }
DEV float load(const bf16 *p) { return bits_to_float((u32)p->bits << 16); }
DEV float load(const f16 *p) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(p->bits));
  return r;
}
DEV float load(const i32 *p) { return (float)*p; }

// Rounds to bfloat16, to nearest even.
DEV u16 round_bf16(float x) {
  u16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
DEV float rounded_bf16(float x) { return bits_to_float((u32)round_bf16(x) << 16); }

DEV void store(float *p, float x) { *p = x; }
DEV void store(bf16 *p, float x) { p->bits = round_bf16(x); }
DEV void store(f16 *p, float x) {
  u16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  p->bits = r;
}
// To nearest even; integers saturate and NaN becomes 0.
DEV void store(i32 *p, float x) {
  i32 r;
  asm("cvt.rni.s32.f32 %0, %1;" : "=r"(r) : "f"(x));
  *p = x == x ? r : 0;
}

// An element of a secondary operand, whose type is a code.
DEV float load_as(const void *p, i64 i, i32 type) {
  if (type == F32) return load((const float *)p + i);
  if (type == BF16) return load((const bf16 *)p + i);
  return load((const f16 *)p + i);
}

DEV float fmax2(float a, float b) { return __nvvm_fmax_f(a, b); }
DEV float absf(float x) { return __builtin_fabsf(x); }
DEV float sqrt_rn(float x) {
  float r;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float exp2_approx(float x) { return __nvvm_ex2_approx_ftz_f(x); }
DEV float log2_approx(float x) { return __nvvm_lg2_approx_ftz_f(x); }
DEV float fma_rn(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }

#define NEG_INF bits_to_float(0xff800000u)
#define LOG2E 1.44269504f
#define LOG2E_LOW 1.92596299e-8f
#define LN2 0.69314718f

// e^x within a few units in the last place: the argument of ex2 is reduced in two parts, so that large arguments keep
// their digits. Underflow is flushed to zero.
DEV float expf_(float x) {
  x = x < -150.f ? -150.f : x;
  x = x > 128.f ? 128.f : x;
  float n = __nvvm_round_f(x * LOG2E);
  float f = fma_rn(x, LOG2E, -n);
  f = fma_rn(x, LOG2E_LOW, f);
  return exp2_approx(f) * exp2_approx(n);
}
DEV float logf_(float x) { return log2_approx(x) * LN2; }

DEV float sigmoidf_(float x) { return 1.f / (1.f + expf_(-x)); }

// tanh x = x + x³·Q(x²) on |x| ≤ 0.65, with the minimax polynomial of the CPU backend.
DEV float tanhf_(float x) {
  float z = x * x;
  if (z < 0.65f * 0.65f) {
    float q = -0.005528620444238186f;
    q = q * z + 0.02048330195248127f;
    q = q * z - 0.05369296297430992f;
    q = q * z + 0.1333089917898178f;
    q = q * z - 0.3333326280117035f;
    return x + x * z * q;
  }
  float e = 2.f / (1.f + expf_(2.f * (x < 0 ? -x : x)));
  return x < 0 ? e - 1.f : 1.f - e;
}

// erf x = x + x·R(x²) on |x| ≤ 1 and 1 − exp(x·S(x)) above, with the minimax polynomials of the CPU backend.
DEV float erff_(float x) {
  float t = x < 0 ? -x : x;
  if (t <= 1.f) {
    float z = x * x;
    float r = 7.889120024628937e-05f;
    r = r * z - 0.0008020841632969677f;
    r = r * z + 0.005189535208046436f;
    r = r * z - 0.026854424295167923f;
    r = r * z + 0.11283600330352783f;
    r = r * z - 0.3761262595653534f;
    r = r * z + 0.12837916612625122f;
    return x + x * r;
  }
  t = t > 4.f ? 4.f : t;
  float s = -3.9467427086492535e-06f;
  s = s * t + 3.332531559863128e-05f;
  s = s * t + 0.00011303170322207734f;
  s = s * t - 0.003108497941866517f;
  s = s * t + 0.02296822890639305f;
  s = s * t - 0.10554734617471695f;
  s = s * t - 0.6354754567146301f;
  s = s * t - 1.128584861755371f;
  float e = 1.f - expf_(t * s);
  return x < 0 ? -e : (x == x ? e : x);
}

DEV float shfl_xor(float x, i32 mask) { return __nvvm_shfl_sync_bfly_f32(ALL, x, mask, 31); }
DEV i32 shfl_xor(i32 x, i32 mask) { return __nvvm_shfl_sync_bfly_i32(ALL, x, mask, 31); }
DEV float shfl(float x, i32 lane) { return __nvvm_shfl_sync_idx_f32(ALL, x, lane, 31); }
DEV u32 ballot(bool p) { return __nvvm_vote_ballot_sync(ALL, p); }

DEV float warp_sum(float x) {
  for (i32 o = 16; o; o >>= 1) x += shfl_xor(x, o);
  return x;
}
DEV float warp_max(float x) {
  for (i32 o = 16; o; o >>= 1) x = fmax2(x, shfl_xor(x, o));
  return x;
}

// Block-wide folds in a fixed order; every thread gets the result. red has room for 32 numbers.
DEV float block_sum(float x, float *red) {
  x = warp_sum(x);
  if (LANE == 0) red[WARP] = x;
  SYNC();
  float s = 0;
  for (i32 i = 0; i < THREADS >> 5; i++) s += red[i];
  SYNC();
  return s;
}
DEV float block_max(float x, float *red) {
  x = warp_max(x);
  if (LANE == 0) red[WARP] = x;
  SYNC();
  float s = red[0];
  for (i32 i = 1; i < THREADS >> 5; i++) s = fmax2(s, red[i]);
  SYNC();
  return s;
}

// Philox 4×32-10 as tensor.RNGKey has it: word i%4 of block i/4.
struct Key { u64 seed; u32 micro, op; };
DEV void philox_block(Key key, u64 block, u32 &c0, u32 &c1, u32 &c2, u32 &c3) {
  c0 = (u32)block, c1 = (u32)(block >> 32), c2 = key.op, c3 = key.micro;
  u32 k0 = (u32)key.seed, k1 = (u32)(key.seed >> 32);
#pragma unroll
  for (i32 r = 0; r < 10; r++) {
    u64 p0 = (u64)c0 * 0xD2511F53u, p1 = (u64)c2 * 0xCD9E8D57u;
    u32 n0 = (u32)(p1 >> 32) ^ c1 ^ k0, n2 = (u32)(p0 >> 32) ^ c3 ^ k1;
    c1 = (u32)p1;
    c3 = (u32)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}
DEV u32 philox(Key key, u64 i) {
  u32 c0, c1, c2, c3;
  philox_block(key, i >> 2, c0, c1, c2, c3);
  u32 w = (u32)i & 3;
  return w == 0 ? c0 : w == 1 ? c1 : w == 2 ? c2 : c3;
}
