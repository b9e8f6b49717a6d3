// Package ptxvm executes PTX, the assembly language of NVIDIA GPUs, in pure Go, so that the very kernels that run on a
// GPU are tested without one.
//
// It covers the part of PTX ISA 7.8 that clang 19 makes of our kernels. Threads run in warps of 32 that execute one
// instruction for all lanes at the lowest program counter, so that lanes which took different ways meet again; blocks are
// independent and run in parallel, unless the kernel has atomic operations on global memory, whose order would otherwise
// not be fixed.
//
// The interpreter is stricter than hardware. Each of these ends a launch with a Fault, which names the kernel, the line of
// the PTX text, the instruction, the block and the thread:
//   - an access outside of an allocation (each is a segment of its own, with gaps between), or not aligned to its size;
//   - a read of global or shared memory that nothing has written;
//   - two threads that touch the same shared memory, at least one of them writing, without a barrier between;
//   - a read of shared memory that an unfinished cp.async will write: its data arrives at wait_group and not before;
//   - a barrier that some threads of the block do not reach, and a warp-wide instruction that some lanes do not.
//
// Numbers are those of the ISA: results of add, mul, fma, div.rn, sqrt.rn and conversions are rounded correctly; the
// approximations (ex2, lg2, rsqrt, tanh, …) are the correctly rounded results, where a GPU may err by a few units in the
// last place. mma sums products in order of k in float32, where a GPU's order and intermediate precision are its own.
package ptxvm
