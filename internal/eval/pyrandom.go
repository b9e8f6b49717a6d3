package eval

import (
	"fmt"
	"math"
	"math/bits"
)

// pyRandom is Python's random.Random: MT19937 (Matsumoto and Nishimura 1998) seeded as CPython seeds it with an integer, so
// that the examples and the bootstrap samples that are drawn are those that lm-evaluation-harness draws.
type pyRandom struct {
	state [624]uint32
	at    int
}

func newPyRandom(seed uint64) *pyRandom {
	key := []uint32{uint32(seed)}
	if seed>>32 != 0 {
		key = append(key, uint32(seed>>32))
	}
	r := &pyRandom{at: 624}
	r.state[0] = 19650218
	for i := 1; i < 624; i++ {
		r.state[i] = 1812433253*(r.state[i-1]^r.state[i-1]>>30) + uint32(i)
	}
	i, j := 1, 0
	for range max(624, len(key)) {
		r.state[i] = (r.state[i] ^ (r.state[i-1]^r.state[i-1]>>30)*1664525) + key[j] + uint32(j)
		if i++; i == 624 {
			r.state[0], i = r.state[623], 1
		}
		if j++; j == len(key) {
			j = 0
		}
	}
	for range 623 {
		r.state[i] = (r.state[i] ^ (r.state[i-1]^r.state[i-1]>>30)*1566083941) - uint32(i)
		if i++; i == 624 {
			r.state[0], i = r.state[623], 1
		}
	}
	r.state[0] = 1 << 31
	return r
}

func (r *pyRandom) uint32() uint32 {
	if r.at == 624 {
		for k := range 624 {
			y := r.state[k]&(1<<31) | r.state[(k+1)%624]&(1<<31-1)
			v := r.state[(k+397)%624] ^ y>>1
			if y&1 != 0 {
				v ^= 0x9908b0df
			}
			r.state[k] = v
		}
		r.at = 0
	}
	y := r.state[r.at]
	r.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// float64 is random.random().
func (r *pyRandom) float64() float64 {
	a, b := r.uint32()>>5, r.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// below draws an integer from 0 to n-1, as random.randrange(n) does; n must fit 32 bits.
func (r *pyRandom) below(n int) int {
	k := bits.Len(uint(n))
	for {
		if v := int(r.uint32() >> (32 - k)); v < n {
			return v
		}
	}
}

// sample is random.sample(range(n), k): k different numbers below n.
func (r *pyRandom) sample(n, k int) ([]int, error) {
	if k < 0 || k > n {
		return nil, fmt.Errorf("cannot draw %d different ones of %d", k, n)
	}
	out := make([]int, k)
	setSize := 21
	if k > 5 {
		setSize += int(math.Pow(4, math.Ceil(math.Log(float64(3*k))/math.Log(4))))
	}
	if n <= setSize {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range out {
			j := r.below(n - i)
			out[i] = pool[j]
			pool[j] = pool[n-i-1]
		}
		return out, nil
	}
	taken := make(map[int]bool, k)
	for i := range out {
		j := r.below(n)
		for taken[j] {
			j = r.below(n)
		}
		taken[j] = true
		out[i] = j
	}
	return out, nil
}

// choices fills out with random.choices(range(n), k=len(out)).
func (r *pyRandom) choices(out []int, n int) {
	for i := range out {
		out[i] = int(r.float64() * float64(n))
	}
}
