// Memory in pieces of 16 bytes. A kernel takes them where all its operands begin at multiples of 16 bytes, and single elements
// elsewhere and for what is left; the arithmetic of an element is the same.
#pragma once

#define INLINE __attribute__((always_inline)) // for lambdas

typedef u32 Words __attribute__((ext_vector_type(4))), Pair __attribute__((ext_vector_type(2)));

// Additions and products that the compiler must not join into one operation, so that both ways of reading round alike.
DEV float add_rn(float a, float b) { return __nvvm_add_rn_f(a, b); }
DEV float mul_rn(float a, float b) { return __nvvm_mul_rn_f(a, b); }

// The elements of a type in 16 bytes.
template <class T> constexpr i32 PIECE = 16 / sizeof(T);

DEV bool aligned(const void *p, i32 bytes = 16) { return ((u64)p & (bytes - 1)) == 0; }
// Whether rows that begin stride elements apart do so at multiples of 16 bytes, if the first does.
template <class T> DEV bool aligned_rows(i64 stride) { return (stride & (PIECE<T> - 1)) == 0; }

DEV float low_bf16(u32 w) { return bits_to_float(w << 16); }
DEV float high_bf16(u32 w) { return bits_to_float(w & 0xffff0000u); }

// N neighbouring elements, a multiple of a piece.
template <i32 N> DEV void load_many(float *r, const float *p) {
#pragma unroll
  for (i32 i = 0; i < N; i += 4) {
    Words w = *(const Words *)(p + i);
    r[i] = bits_to_float(w.x), r[i + 1] = bits_to_float(w.y), r[i + 2] = bits_to_float(w.z), r[i + 3] = bits_to_float(w.w);
  }
}
template <i32 N> DEV void load_many(float *r, const bf16 *p) {
  if constexpr (N == 4) { // half a piece
    Pair w = *(const Pair *)p;
    r[0] = low_bf16(w.x), r[1] = high_bf16(w.x), r[2] = low_bf16(w.y), r[3] = high_bf16(w.y);
  } else {
#pragma unroll
    for (i32 i = 0; i < N; i += 8) {
      Words w = *(const Words *)(p + i);
      r[i] = low_bf16(w.x), r[i + 1] = high_bf16(w.x), r[i + 2] = low_bf16(w.y), r[i + 3] = high_bf16(w.y);
      r[i + 4] = low_bf16(w.z), r[i + 5] = high_bf16(w.z), r[i + 6] = low_bf16(w.w), r[i + 7] = high_bf16(w.w);
    }
  }
}
template <i32 N> DEV void store_many(float *p, const float *r) {
#pragma unroll
  for (i32 i = 0; i < N; i += 4)
    *(Words *)(p + i) = Words{float_to_bits(r[i]), float_to_bits(r[i + 1]), float_to_bits(r[i + 2]), float_to_bits(r[i + 3])};
}
template <i32 N> DEV void store_many(bf16 *p, const float *r) {
  if constexpr (N == 4) {
    *(Pair *)p = Pair{pack_bf16(r[0], r[1]), pack_bf16(r[2], r[3])};
  } else {
#pragma unroll
    for (i32 i = 0; i < N; i += 8)
      *(Words *)(p + i) = Words{pack_bf16(r[i], r[i + 1]), pack_bf16(r[i + 2], r[i + 3]), pack_bf16(r[i + 4], r[i + 5]), pack_bf16(r[i + 6], r[i + 7])};
  }
}

template <i32 N> DEV void load_many(float *r, const f16 *p) {
#pragma unroll
  for (i32 i = 0; i < N; i += 8) {
    Words w = *(const Words *)(p + i);
    u32 words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (i32 j = 0; j < 8; j++) {
      f16 h{(u16)(words[j / 2] >> j % 2 * 16)};
      r[i + j] = load(&h);
    }
  }
}
template <i32 N> DEV void load_many(float *r, const i32 *p) {
#pragma unroll
  for (i32 i = 0; i < N; i += 4) {
    Words w = *(const Words *)(p + i);
    r[i] = (float)(i32)w.x, r[i + 1] = (float)(i32)w.y, r[i + 2] = (float)(i32)w.z, r[i + 3] = (float)(i32)w.w;
  }
}
template <i32 N> DEV void store_many(f16 *p, const float *r) {
#pragma unroll
  for (i32 i = 0; i < N; i += 8) {
    u32 words[4];
#pragma unroll
    for (i32 j = 0; j < 4; j++) {
      f16 low, high;
      store(&low, r[i + 2 * j]);
      store(&high, r[i + 2 * j + 1]);
      words[j] = (u32)low.bits | (u32)high.bits << 16;
    }
    *(Words *)(p + i) = Words{words[0], words[1], words[2], words[3]};
  }
}
template <i32 N> DEV void store_many(i32 *p, const float *r) {
#pragma unroll
  for (i32 i = 0; i < N; i += 4) {
    i32 v[4];
#pragma unroll
    for (i32 j = 0; j < 4; j++) store(&v[j], r[i + j]);
    *(Words *)(p + i) = Words{(u32)v[0], (u32)v[1], (u32)v[2], (u32)v[3]};
  }
}
// The elements of a piece, that are read together only if it is aligned.
template <class T> DEV void load_piece(float *r, const T *p, bool wide) {
  if (wide) {
    load_many<PIECE<T>>(r, p);
  } else {
#pragma unroll
    for (i32 e = 0; e < PIECE<T>; e++) r[e] = load(p + e);
  }
}
// Elements of a secondary operand, of float32 or bfloat16.
template <i32 N> DEV void load_many_as(float *r, const void *p, i64 i, i32 type) {
  if (type == F32) load_many<N>(r, (const float *)p + i);
  else load_many<N>(r, (const bf16 *)p + i);
}

// The elements of a piece one after the other: next takes the lowest word off and puts another on top, so that a loop that is not
// unrolled can go through it in registers. A word is an element of float32 or two of bfloat16.
DEV u32 next(Words &w, u32 top) {
  u32 low = w.x;
  w = Words{w.y, w.z, w.w, top};
  return low;
}
template <class F> DEV u32 each_in_word(const float *, u32 a, u32 b, u32 c, F f) {
  return float_to_bits(f(bits_to_float(a), bits_to_float(b), bits_to_float(c)));
}
template <class F> DEV u32 each_in_word(const bf16 *, u32 a, u32 b, u32 c, F f) {
  return pack_bf16(f(low_bf16(a), low_bf16(b), low_bf16(c)), f(high_bf16(a), high_bf16(b), high_bf16(c)));
}

// y[i] = f(a[i], b[i], c[i]) for the elements of a piece. The piece is read before it is written: operands may be y.
template <class T, class F> DEV void map_piece(T *y, const T *a, const T *b, const T *c, F f) {
  Words u = *(const Words *)a, v = *(const Words *)b, w = *(const Words *)c, r = {};
#pragma clang loop unroll(disable)
  for (i32 j = 0; j < 4; j++) next(r, each_in_word(y, next(u, 0), next(v, 0), next(w, 0), f));
  *(Words *)y = r;
}
// The same for n elements.
template <class T, class F> DEV void map(T *y, const T *a, const T *b, const T *c, i64 n, F f) {
  i64 whole = aligned(y) && aligned(a) && aligned(b) && aligned(c) ? n / PIECE<T> : 0;
  EACH(p, whole) {
    i64 i = p * PIECE<T>;
    map_piece(y + i, a + i, b + i, c + i, f);
  }
  whole *= PIECE<T>;
  EACH(p, n - whole) {
    i64 i = whole + p;
    store(y + i, f(load(a + i), load(b + i), load(c + i)));
  }
}

// A row of n elements as a block goes through it: thread by thread N neighbouring elements, which each(i, v) gets one after the
// other, and single ones of what is left. Which thread gets which element, and in which order, does not depend on how the row is
// aligned, so that sums do not either.
template <class T, class F> DEV void each_of_row(const T *row, i32 n, F each) {
  constexpr i32 N = PIECE<T>;
  bool wide = aligned(row);
  i32 whole = n / N;
  for (i32 p = TID; p < whole; p += THREADS) {
    float v[N];
    load_piece(v, row + p * N, wide);
#pragma unroll
    for (i32 e = 0; e < N; e++) each(p * N + e, v[e]);
  }
  for (i32 i = whole * N + TID; i < n; i += THREADS) each(i, load(row + i));
}
