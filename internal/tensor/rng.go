package tensor

// RNGKey names a stream of random numbers. Random kernels are counter-based: element i of a stream is a pure function of
// the key and i, so that recomputation, resumption and any number of threads give the same numbers.
type RNGKey struct {
	Seed  uint64 // the run's seed, mixed with the rank
	Micro uint32 // global index of the micro-batch
	Op    uint32 // position of the operation in the tape
}

// Philox returns the i-th block of four 32-bit words of the stream: Philox 4×32-10 (Salmon et al., 2011) with counter
// (lo i, hi i, Op, Micro) and key (lo Seed, hi Seed).
func (k RNGKey) Philox(i uint64) [4]uint32 {
	c0, c1, c2, c3 := uint32(i), uint32(i>>32), k.Op, k.Micro
	k0, k1 := uint32(k.Seed), uint32(k.Seed>>32)
	for range 10 {
		p0 := uint64(c0) * 0xD2511F53
		p1 := uint64(c2) * 0xCD9E8D57
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return [4]uint32{c0, c1, c2, c3}
}

// DropThreshold returns the bound below which a word of the stream drops its element: element i uses word i%4 of block
// i/4 and is dropped if that word is less than the threshold, round(p·2³²).
func DropThreshold(p float32) uint32 {
	t := float64(p)*(1<<32) + 0.5
	if t >= 1<<32 {
		return 1<<32 - 1
	}
	return uint32(t)
}
