// Element-wise kernels: conversions, functions of one and two arguments, gates, dropout. One pass over memory each.
#include "common.cuh"
#include "mma.cuh"
#include "wide.cuh"

template <class TO, class FROM> DEV void cast(TO *y, const FROM *x, i64 n) {
  constexpr i32 N = sizeof(TO) + sizeof(FROM) < 8 ? 8 : 4;
  i64 whole = aligned(y) && aligned(x) ? n / N : 0;
  EACH(p, whole) {
    float v[N];
    load_many<N>(v, x + p * N);
    store_many<N>(y + p * N, v);
  }
  whole *= N;
  EACH(p, n - whole) store(y + whole + p, load(x + whole + p));
}
#define CAST(to, TO, from, FROM) \
  KERNEL __launch_bounds__(256) cast_##to##_##from(TO *y, const FROM *x, i64 n) { cast(y, x, n); }
CAST(f32, float, bf16, bf16)
CAST(f32, float, f16, f16)
CAST(f32, float, i32, i32)
CAST(bf16, bf16, f32, float)
CAST(bf16, bf16, f16, f16)
CAST(bf16, bf16, i32, i32)
CAST(f16, f16, f32, float)
CAST(f16, f16, bf16, bf16)
CAST(f16, f16, i32, i32)
CAST(i32, i32, f32, float)
CAST(i32, i32, bf16, bf16)
CAST(i32, i32, f16, f16)

// tensor.UnaryOp.
enum { SCALE, SILU, GELU, GELU_TANH, RELU, TANH, SIGMOID, SOFTCAP, RSQRT };

#define SQRT_HALF 0.70710678f
#define INV_SQRT_2PI 0.39894228f
#define GELU_C 0.79788456f // √(2/π)
#define GELU_A 0.044715f

DEV float apply(i32 op, float k, float x) {
  switch (op) {
  case SCALE: return k * x;
  case SILU: return x * sigmoidf_(x);
  case GELU: return 0.5f * x * (1.f + erff_(x * SQRT_HALF));
  case GELU_TANH: return x * sigmoidf_(2.f * GELU_C * x * (1.f + GELU_A * x * x));
  case RELU: return x > 0 ? x : 0;
  case TANH: return tanhf_(x);
  case SIGMOID: return sigmoidf_(x);
  case RSQRT: return 1.f / sqrt_rn((x < 0 ? -x : x) + k);
  default: return k * tanhf_(x / k);
  }
}
DEV float derive(i32 op, float k, float x) {
  switch (op) {
  case SCALE: return k;
  case SILU: {
    float s = sigmoidf_(x);
    return s + x * s * (1.f - s);
  }
  case GELU: return 0.5f * (1.f + erff_(x * SQRT_HALF)) + x * INV_SQRT_2PI * expf_(-0.5f * x * x);
  case GELU_TANH: {
    float s = sigmoidf_(2.f * GELU_C * x * (1.f + GELU_A * x * x));
    return s + x * s * (1.f - s) * (2.f * GELU_C) * (1.f + 3.f * GELU_A * x * x);
  }
  case RELU: return x > 0 ? 1.f : 0.f;
  case TANH: {
    float t = tanhf_(x);
    return 1.f - t * t;
  }
  case SIGMOID: {
    float s = sigmoidf_(x);
    return s * (1.f - s);
  }
  case RSQRT: {
    float y = 1.f / sqrt_rn((x < 0 ? -x : x) + k);
    return (x < 0 ? .5f : -.5f) * y * y * y;
  }
  default: {
    float t = tanhf_(x / k);
    return 1.f - t * t;
  }
  }
}

template <class T> DEV void unary(i32 op, float k, T *y, const T *x, i64 n) {
  map(y, x, x, x, n, [=](float v, float, float) INLINE { return apply(op, k, v); });
}
template <class T> DEV void unary_bwd(i32 op, float k, T *dx, const T *dy, const T *x, i64 n, i32 acc) {
  map(dx, dy, x, acc ? dx : dy, n, [=](float g, float v, float old) INLINE {
    float d = g * derive(op, k, v);
    return acc ? add_rn(old, d) : d;
  });
}

// b has a's shape (mode 0), or is a row (1) or a column (2). Its type is a code.
template <class T>
DEV void binary(i32 op, T *y, const T *a, const void *b, i64 n, i32 cols, i32 mode, i32 type, i32 acc) {
  constexpr i32 N = PIECE<T>;
  bool wide = aligned(y) && aligned(a) && (mode == 2 || aligned(b)) && (mode == 0 || cols % N == 0);
  i64 whole = wide ? n / N : 0;
  EACH(p, whole) {
    i64 i = p * N, at = mode == 0 ? i : mode == 1 ? i % cols : i / cols;
    float u[N], v[N];
    load_many<N>(u, a + i);
    if (mode == 2) {
      float one = load_as(b, at, type);
#pragma unroll
      for (i32 e = 0; e < N; e++) v[e] = one;
    } else {
      load_many_as<N>(v, b, at, type);
    }
#pragma unroll
    for (i32 e = 0; e < N; e++) u[e] = op == 0 ? u[e] + v[e] : op == 1 ? u[e] - v[e] : u[e] * v[e];
    if (acc) {
      load_many<N>(v, y + i);
#pragma unroll
      for (i32 e = 0; e < N; e++) u[e] = v[e] + u[e];
    }
    store_many<N>(y + i, u);
  }
  whole *= N;
  EACH(p, n - whole) {
    i64 i = whole + p, at = mode == 0 ? i : mode == 1 ? i % cols : i / cols;
    float u = load(a + i), v = load_as(b, at, type);
    float r = op == 0 ? u + v : op == 1 ? u - v : u * v;
    store(y + i, acc ? load(y + i) + r : r);
  }
}

template <class T>
DEV void gate(i32 op, T *y, const T *g, const T *u, i64 rows, i32 cols, i64 sy, i64 sg, i64 su) {
  auto f = [=](float x, float v, float) INLINE { return apply(op, 1.f, x) * v; };
  bool wide = aligned(y) && aligned(g) && aligned(u) && aligned_rows<T>(sy | sg | su | cols);
  i64 unit = wide ? PIECE<T> : 1, per_row = cols / unit;
  EACH(i, rows * per_row) {
    i64 r = i / per_row, c = i % per_row * unit;
    T *to = y + r * sy + c;
    const T *a = g + r * sg + c, *b = u + r * su + c;
    if (wide) map_piece(to, a, b, b, f);
    else store(to, f(load(a), load(b), 0));
  }
}
template <class T>
DEV void gate_bwd(i32 op, T *dg, T *du, const T *dy, const T *g, const T *u, i64 rows, i32 cols, i64 sy, i64 sg, i64 su) {
  auto to_gate = [=](float d, float x, float v) INLINE { return d * v * derive(op, 1.f, x); };
  auto to_up = [=](float d, float x, float) INLINE { return d * apply(op, 1.f, x); };
  bool wide = aligned(dg) && aligned(du) && aligned(dy) && aligned(g) && aligned(u) && aligned_rows<T>(sy | sg | su | cols);
  i64 unit = wide ? PIECE<T> : 1, per_row = cols / unit;
  EACH(i, rows * per_row) {
    i64 r = i / per_row, c = i % per_row * unit;
    const T *a = dy + r * sy + c, *b = g + r * sg + c, *w = u + r * su + c;
    T *to_g = dg + r * sg + c, *to_u = du + r * su + c;
    if (wide) {
      Words d = *(const Words *)a, x = *(const Words *)b, v = *(const Words *)w, rg = {}, ru = {};
#pragma clang loop unroll(disable)
      for (i32 j = 0; j < 4; j++) {
        u32 dj = next(d, 0), xj = next(x, 0), vj = next(v, 0);
        next(rg, each_in_word(dg, dj, xj, vj, to_gate));
        next(ru, each_in_word(du, dj, xj, vj, to_up));
      }
      *(Words *)to_g = rg;
      *(Words *)to_u = ru;
    } else {
      float d = load(a), x = load(b), v = load(w);
      store(to_g, to_gate(d, x, v));
      store(to_u, to_up(d, x, v));
    }
  }
}

template <class T> DEV void dropout(T *y, const T *x, i64 n, u32 threshold, float scale, Key key, i32 acc) {
  constexpr i32 N = PIECE<T>;
  i64 whole = aligned(y) && aligned(x) ? n / N : 0;
  EACH(p, whole) {
    i64 i = p * N;
    float v[N];
    load_many<N>(v, x + i);
#pragma unroll
    for (i32 e = 0; e < N; e += 4) { // four elements share a block of random numbers
      u32 w[4];
      philox_block(key, (i + e) >> 2, w[0], w[1], w[2], w[3]);
#pragma unroll
      for (i32 j = 0; j < 4; j++) v[e + j] = w[j] < threshold ? 0.f : v[e + j] * scale;
    }
    if (acc) {
      float old[N];
      load_many<N>(old, y + i);
#pragma unroll
      for (i32 e = 0; e < N; e++) v[e] = old[e] + v[e];
    }
    store_many<N>(y + i, v);
  }
  whole *= N;
  EACH(p, n - whole) {
    i64 i = whole + p;
    float v = philox(key, i) < threshold ? 0.f : load(x + i) * scale;
    store(y + i, acc ? load(y + i) + v : v);
  }
}

#define FOR_TYPE(t, T) \
  KERNEL __launch_bounds__(256) unary_##t(i32 op, float k, T *y, const T *x, i64 n) { unary(op, k, y, x, n); } \
  KERNEL __launch_bounds__(256) unary_bwd_##t(i32 op, float k, T *dx, const T *dy, const T *x, i64 n, i32 acc) { \
    unary_bwd(op, k, dx, dy, x, n, acc); \
  } \
  KERNEL __launch_bounds__(256) binary_##t(i32 op, T *y, const T *a, const void *b, i64 n, i32 cols, i32 mode, i32 type, \
                                           i32 acc) { \
    binary(op, y, a, b, n, cols, mode, type, acc); \
  } \
  KERNEL __launch_bounds__(256) gate_##t(i32 op, T *y, const T *g, const T *u, i64 rows, i32 cols, i64 sy, i64 sg, i64 su) { \
    gate(op, y, g, u, rows, cols, sy, sg, su); \
  } \
  KERNEL __launch_bounds__(256) gate_bwd_##t(i32 op, T *dg, T *du, const T *dy, const T *g, const T *u, i64 rows, i32 cols, \
                                             i64 sy, i64 sg, i64 su) { \
    gate_bwd(op, dg, du, dy, g, u, rows, cols, sy, sg, su); \
  } \
  KERNEL __launch_bounds__(256) dropout_##t(T *y, const T *x, i64 n, u32 threshold, float scale, u64 seed, u32 micro, \
                                            u32 op, i32 acc) { \
    dropout(y, x, n, threshold, scale, Key{seed, micro, op}, acc); \
  }
FOR_TYPE(f32, float)
FOR_TYPE(bf16, bf16)
