package cpu

import (
	"sync/atomic"

	"github.com/mltrain/mltrain/internal/cpu/par"
)

// line is how many int32 there are in a cache line: counters that different cores change lie so far apart.
const line = 16

// share runs f for so many blocks of each pair of a sequence and a key head, those of a pair in order. A core keeps to a pair
// while that has blocks left, so that its keys, values and their gradients stay in the core's caches; then it takes the
// next pair that nobody has, then helps where most is left. What f computes must not depend on who calls it when.
func (a *attn) share(blocks int, f func(pair, block int)) {
	pairs, workers := a.Seqs*a.KVHeads, par.Workers()
	sc := a.b.borrow()
	defer a.b.giveBack(sc)
	counters := sc.counters(line * (pairs + workers + 1))
	for i := range counters {
		counters[i].Store(0)
	}
	at := func(i int) *atomic.Int32 { return &counters[line*i] }
	// The number of blocks taken of each pair, of pairs taken, and each core's pair plus one.
	untaken, own := at(pairs), func(worker int) *atomic.Int32 { return at(pairs + 1 + worker) }
	par.DoWorker(workers, pairs*blocks, func(worker, _ int) {
		// Some block is left, since each of as many tasks takes one.
		for pair := int(own(worker).Load()) - 1; ; {
			if pair >= 0 {
				if block := int(at(pair).Add(1)) - 1; block < blocks {
					f(pair, block)
					return
				}
			}
			if pair = int(untaken.Add(1)) - 1; pair >= pairs {
				untaken.Store(int32(pairs)) // never to overflow
				pair = 0
				for i := range pairs {
					if at(i).Load() < at(pair).Load() {
						pair = i
					}
				}
			}
			own(worker).Store(int32(pair) + 1)
		}
	})
}
