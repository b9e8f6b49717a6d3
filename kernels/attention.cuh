// What the attention kernels have in common.
#pragma once

// The numbers of tensor.AttnSpec; the host fills it in this order.
struct Spec {
  const i32 *cu_q, *cu_k, *used_k; // used_k may be null
  const float *bias;               // may be null
  i32 seqs, total_q, heads, kv_heads, dim, max_k;
  i64 stride_q, stride_k, stride_v, stride_o;
  i64 bias_head; // elements between the biases of two heads; 0: all have the same
  i32 bias_n;    // rows of a head's bias, and elements of each
  i32 causal, window;
  float scale, soft_cap, keep;
  u32 threshold; // 0: no dropout
  u64 seed;
  u32 micro, op;
};

// The keys of a sequence.
DEV i32 keys_of(const Spec &s, i32 seq) { return s.used_k ? s.used_k[seq] : s.cu_k[seq + 1] - s.cu_k[seq]; }

// The bias of keys from the first on for the query of head h that stands at key position pos. There is one if s.bias is not null.
DEV const float *bias_row(const Spec &s, i32 h, i32 pos) { return s.bias + h * s.bias_head + (i64)pos * s.bias_n; }

// Whether dropout drops key j of query row i in head h. There is dropout if threshold is not 0.
DEV bool dropped(const Spec &s, i32 h, i32 i, i32 j) {
  u64 at = ((u64)h * s.total_q + i) * s.max_k + j;
  return philox(Key{s.seed, s.micro, s.op}, at) < s.threshold;
}
