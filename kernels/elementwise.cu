// Element-wise kernels: conversions, functions of one and two arguments, gates, dropout. One pass over memory each.
#include "common.cuh"

template <class TO, class FROM> DEV void cast(TO *y, const FROM *x, i64 n) {
  EACH(i, n) store(y + i, load(x + i));
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
  EACH(i, n) store(y + i, apply(op, k, load(x + i)));
}
template <class T> DEV void unary_bwd(i32 op, float k, T *dx, const T *dy, const T *x, i64 n, i32 acc) {
  EACH(i, n) {
    float d = load(dy + i) * derive(op, k, load(x + i));
    store(dx + i, acc ? load(dx + i) + d : d);
  }
}

// b has a's shape (mode 0), or is a row (1) or a column (2). Its type is a code.
template <class T>
DEV void binary(i32 op, T *y, const T *a, const void *b, i64 n, i32 cols, i32 mode, i32 type, i32 acc) {
  EACH(i, n) {
    i64 at = mode == 0 ? i : mode == 1 ? i % cols : i / cols;
    float u = load(a + i), v = load_as(b, at, type);
    float r = op == 0 ? u + v : op == 1 ? u - v : u * v;
    store(y + i, acc ? load(y + i) + r : r);
  }
}

template <class T>
DEV void gate(i32 op, T *y, const T *g, const T *u, i64 rows, i32 cols, i64 sy, i64 sg, i64 su) {
  EACH(i, rows * cols) {
    i64 r = i / cols, c = i % cols;
    store(y + r * sy + c, apply(op, 1.f, load(g + r * sg + c)) * load(u + r * su + c));
  }
}
template <class T>
DEV void gate_bwd(i32 op, T *dg, T *du, const T *dy, const T *g, const T *u, i64 rows, i32 cols, i64 sy, i64 sg, i64 su) {
  EACH(i, rows * cols) {
    i64 r = i / cols, c = i % cols;
    float d = load(dy + r * sy + c), x = load(g + r * sg + c), v = load(u + r * su + c);
    store(dg + r * sg + c, d * v * derive(op, 1.f, x));
    store(du + r * su + c, d * apply(op, 1.f, x));
  }
}

template <class T> DEV void dropout(T *y, const T *x, i64 n, u32 threshold, float scale, Key key, i32 acc) {
  EACH(i, n) {
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
