// What kernels on four-bit codes share.
#pragma once

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

// The values of the codes in shared memory, once for each lane, so that lanes that look up different codes do not collide. The place
// of a code is its number above the bits of the lane: they are joined by an "or", so the table begins at a multiple of its 2048
// bytes. There is room to find one: shared memory begins 1024 bytes after such a place on GPUs of compute capability 9.0, and an
// alignment that is asked for counts from there.
struct Table { float room[2 * 16 * 32]; };

// Fills the table and returns the address of this lane's column. It ends with a barrier.
DEV u32 fill_table(Table &t) {
  u32 room = shared_address(&t), start = (room + 2047) & ~2047u;
  float *values = t.room + (start - room) / 4;
  for (i32 i = TID; i < 16 * 32; i += THREADS) values[i] = nf4_value(i >> 5);
  SYNC();
  return start | LANE << 2;
}
DEV float value_at(u32 column, u32 code_shifted) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(column | (code_shifted & 15 << 7)));
  return v;
}
// The value of a code, and that of element e (0 to 7) of four bytes of codes: the even element is in the high half of its byte.
DEV float look_up(u32 column, u32 code) { return value_at(column, code << 7); }
DEV float look_up(u32 column, u32 word, i32 e) {
  i32 shift = e / 2 * 8 + (e & 1 ? 0 : 4);
  return value_at(column, shift < 7 ? word << (7 - shift) : word >> (shift - 7));
}

// A quantised matrix. With abs_codes the scale of a block is map[code]·abs_scales + offset.
struct Quantised {
  const u8 *codes;
  const float *absmax;
  const u8 *abs_codes;
  const float *abs_scales, *map;
  float offset;
};
DEV float scale_of(const Quantised &q, i64 block) {
  return q.abs_codes ? add_rn(mul_rn(q.map[q.abs_codes[block]], q.abs_scales[block >> 8]), q.offset) : q.absmax[block];
}
DEV u32 code_of(const Quantised &q, i64 at) {
  u32 c = q.codes[at >> 1];
  return at & 1 ? c & 15 : c >> 4;
}

// A quantised matrix among the parameters of a kernel.
#define QUANTISED_ARGS const u8 *codes, const float *absmax, const u8 *abs_codes, const float *abs_scales, const float *map, float offset
#define QUANTISED Quantised{codes, absmax, abs_codes, abs_scales, map, offset}
