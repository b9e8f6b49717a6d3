package ptxvm

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

const allLanes = ^uint32(0)

// group is a set of lanes of a warp at the same instruction.
type group struct {
	pc   int
	mask uint32
}

// warp is 32 threads that execute together.
type warp struct {
	b       *block
	id      int
	r       []lanes
	p       []uint32
	scratch lanes
	segment *segment // that the last access hit
	local   []byte
	async   [32]asyncLane
	step    uint32 // bar.warp.sync executed

	groups []group // lanes that run, the lowest pc last
	parked []group // lanes at a warp-wide instruction that wait for others which it names
	exited uint32
	wait   uint32 // lanes at a barrier
	waitPC int
	pc     int // of the instruction in execution
	jumps  int
}

// block is the state of a thread block.
type block struct {
	kernel *Kernel
	mem    *Memory
	params []byte
	grid   [3]int
	dim    [3]int
	at     [3]int
	shared *shared
	dyn    int
	warps  []*warp
}

// Dim is a number of blocks or threads in three directions; 0 counts as 1.
type Dim [3]int

func (d Dim) fill() [3]int { return [3]int{max(1, d[0]), max(1, d[1]), max(1, d[2])} }

// The limits of hardware that a launch must respect.
const (
	maxThreads = 1024
	maxShared  = 163 << 10 // sm_80; beyond 48 KiB a kernel asks for it
	maxGridYZ  = 65535
)

// maxJumps is the number of branches after which a warp counts as running forever.
const maxJumps = 1 << 31

// Launch runs a kernel on grid blocks of dim threads, with dynamic shared memory of the given size. params is the block
// of parameters as C lays them out. It returns a *Fault for a breach of the rules.
func (k *Kernel) Launch(mem *Memory, grid, dim Dim, dynamic int, params []byte) error {
	g, d := grid.fill(), dim.fill()
	threads := d[0] * d[1] * d[2]
	switch {
	case grid[0] < 0 || grid[1] < 0 || grid[2] < 0 || g[1] > maxGridYZ || g[2] > maxGridYZ || g[0] > math.MaxInt32:
		return fmt.Errorf("ptxvm: launch of %s: grid %v is not possible", k.Name, grid)
	case dim[0] < 0 || dim[1] < 0 || dim[2] < 0 || threads > maxThreads:
		return fmt.Errorf("ptxvm: launch of %s: blocks of %v threads, at most %d are possible", k.Name, dim, maxThreads)
	case k.maxBlock > 0 && threads > k.maxBlock:
		return fmt.Errorf("ptxvm: launch of %s: blocks of %d threads, it is compiled for %d", k.Name, threads, k.maxBlock)
	case dynamic < 0 || k.shared+dynamic > maxShared:
		return fmt.Errorf("ptxvm: launch of %s: %d bytes of shared memory, at most %d are possible", k.Name, k.shared+dynamic, maxShared)
	case len(params) != k.paramSize:
		return fmt.Errorf("ptxvm: launch of %s: %d bytes of parameters, want %d", k.Name, len(params), k.paramSize)
	}
	workers := runtime.GOMAXPROCS(0)
	total := int64(g[0]) * int64(g[1]) * int64(g[2])
	if k.ordered {
		workers = 1
	}
	workers = int(min(int64(workers), total))
	var next atomic.Int64
	var mu sync.Mutex
	first, failed := total, error(nil)
	work := func() {
		b := k.block(mem, g, d, dynamic, params)
		for {
			n := next.Add(1) - 1
			mu.Lock()
			stop := n >= first
			mu.Unlock()
			if stop {
				k.pool.Put(b)
				return
			}
			b.at = [3]int{int(n % int64(g[0])), int(n / int64(g[0]) % int64(g[1])), int(n / int64(g[0]) / int64(g[1]))}
			if err := b.run(); err != nil {
				mu.Lock()
				if n < first {
					first, failed = n, err
				}
				mu.Unlock()
				return
			}
		}
	}
	if workers == 1 {
		work()
		return failed
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(work)
	}
	wg.Wait()
	return failed
}

// block returns the state for running blocks, made anew or from an earlier launch.
func (k *Kernel) block(mem *Memory, grid, dim [3]int, dynamic int, params []byte) *block {
	b, _ := k.pool.Get().(*block)
	static := align(k.shared, 16)
	if b == nil || b.dim != dim || b.dyn != dynamic {
		b = &block{kernel: k, dim: dim, dyn: dynamic, shared: newShared(systemShared+static+dynamic, k.granule)}
		threads := dim[0] * dim[1] * dim[2]
		for i := range (threads + 31) / 32 {
			w := &warp{b: b, id: i, r: make([]lanes, k.regs), p: make([]uint32, k.preds), local: make([]byte, 32*k.local)}
			for v, r := range k.constants {
				for l := range w.r[r] {
					w.r[r][l] = v
				}
			}
			b.warps = append(b.warps, w)
		}
	}
	b.mem, b.params, b.grid = mem, params, grid
	return b
}

// thread returns the position of a thread in its block.
func (b *block) thread(i int) [3]int {
	return [3]int{i % b.dim[0], i / b.dim[0] % b.dim[1], i / b.dim[0] / b.dim[1]}
}

// special returns the value of a special register.
func (b *block) special(name string, thread int) uint64 {
	t := b.thread(thread)
	switch name {
	case "%tid.x", "%tid.y", "%tid.z":
		return uint64(t[name[5]-'x'])
	case "%ntid.x", "%ntid.y", "%ntid.z":
		return uint64(b.dim[name[6]-'x'])
	case "%ctaid.x", "%ctaid.y", "%ctaid.z":
		return uint64(b.at[name[7]-'x'])
	case "%nctaid.x", "%nctaid.y", "%nctaid.z":
		return uint64(b.grid[name[8]-'x'])
	case "%laneid":
		return uint64(thread % 32)
	case "WARP_SZ":
		return 32
	}
	return uint64(systemShared + align(b.kernel.shared, 16)) // "dynamic": where dynamic shared memory begins
}

func specialNames(s string) bool {
	switch s {
	case "%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z", "%ctaid.x", "%ctaid.y", "%ctaid.z",
		"%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid", "WARP_SZ":
		return true
	}
	return false
}

// reset prepares the warps for the block at b.at.
func (b *block) reset() {
	threads := b.dim[0] * b.dim[1] * b.dim[2]
	b.shared.begin()
	for _, w := range b.warps {
		live := allLanes
		if n := threads - 32*w.id; n < 32 {
			live = 1<<n - 1
		}
		w.groups, w.parked = append(w.groups[:0], group{0, live}), w.parked[:0]
		w.exited, w.wait, w.step, w.jumps, w.segment = ^live, 0, 0, 0, nil
		for l := range w.async {
			w.async[l].copies, w.async[l].group = w.async[l].copies[:0], 0
		}
		for name, r := range b.kernel.specials {
			for l := range w.r[r] {
				w.r[r][l] = b.special(name, min(32*w.id+l, threads-1))
			}
		}
	}
}

// run executes the block.
func (b *block) run() (err error) {
	b.reset()
	current := b.warps[0]
	defer func() {
		if r := recover(); r != nil {
			a, ok := r.(abort)
			if !ok {
				panic(r)
			}
			in := &b.kernel.code[current.pc]
			err = &Fault{
				Kernel: b.kernel.Name, Line: in.line, Text: in.text, Block: b.at, Thread: b.thread(current.id*32 + a.lane), Why: a.why,
			}
		}
	}()
	for {
		var waiting *warp
		for _, w := range b.warps {
			current = w
			w.run()
			if w.wait != 0 {
				waiting = w
			}
		}
		if waiting == nil {
			return nil
		}
		for _, w := range b.warps {
			current = w
			if out := ^w.wait; w.wait == 0 || out&^b.absent(w) != 0 {
				current, waiting.pc = waiting, waiting.waitPC
				gone := lowest(out &^ b.absent(w))
				fail(lowest(waiting.wait), "thread %v has ended while this one waits at the barrier", b.thread(w.id*32+gone))
			}
			if w.waitPC != waiting.waitPC {
				w.pc = w.waitPC
				fail(lowest(w.wait), "this thread waits at a barrier, another at the one of line %d", b.kernel.code[waiting.waitPC].line)
			}
		}
		for _, w := range b.warps {
			w.groups = append(w.groups[:0], group{w.waitPC + 1, w.wait})
			w.wait = 0
		}
		b.shared.epoch++
	}
}

// absent returns the lanes of a warp that are no threads of the block.
func (b *block) absent(w *warp) uint32 {
	if n := b.dim[0]*b.dim[1]*b.dim[2] - 32*w.id; n < 32 {
		return ^(1<<n - 1)
	}
	return 0
}

// run executes a warp until all its lanes have exited or wait.
func (w *warp) run() {
	code := w.b.kernel.code
	for {
		last := len(w.groups) - 1
		if last < 0 {
			if len(w.parked) == 0 {
				return
			}
			// The others never come: let the instruction say so.
			w.pc = w.parked[0].pc
			in := &code[w.pc]
			members(w, in.text, w.named(in, w.parked[0].mask), w.parked[0].mask)
			return
		}
		g := w.groups[last]
		w.groups = w.groups[:last]
		limit := math.MaxInt
		if last > 0 {
			limit = w.groups[last-1].pc
		}
		w.advance(code, g, limit)
	}
}

// advance executes one group until it meets the next, parts, ends or waits.
func (w *warp) advance(code []instr, g group, limit int) {
	pc, mask := g.pc, g.mask
	for pc < limit {
		in := &code[pc]
		m := mask
		if in.pred >= 0 {
			p := w.p[in.pred]
			if in.negate {
				p = ^p
			}
			m &= p
		}
		w.pc = pc
		pc++
		if in.sync != noSync && m != 0 && w.named(in, m)&^m&^w.exited != 0 {
			w.park(in, group{pc - 1, m})
			if mask &^= m; mask != 0 {
				w.add(group{pc, mask})
			}
			return
		}
		switch in.kind {
		case kindDo:
			in.do(w, m)
		case kindBranch:
			if w.jumps++; w.jumps > maxJumps {
				fail(lowest(mask), "the kernel does not end: %d branches", w.jumps)
			}
			switch m {
			case 0:
			case mask:
				if pc = in.target; pc >= limit {
					w.add(group{pc, mask})
					return
				}
			default:
				w.add(group{pc, mask &^ m})
				w.add(group{in.target, m})
				return
			}
		case kindTable:
			for ; m != 0; m &= m - 1 {
				l := lowest(m)
				i := w.r[in.arg][l]
				if i >= uint64(len(in.table)) {
					fail(l, "branch %d of %d", i, len(in.table))
				}
				w.add(group{in.table[i], 1 << l})
				mask &^= 1 << l
			}
			if mask != 0 {
				w.add(group{pc, mask})
			}
			return
		case kindExit:
			for n := m; n != 0; n &= n - 1 {
				if l := lowest(n); len(w.async[l].copies) > 0 {
					fail(l, "the thread ends with an unfinished cp.async")
				}
			}
			w.exited |= m
			if mask &^= m; mask == 0 {
				return
			}
		case kindBarrier:
			if m != 0 {
				if w.wait != 0 && w.waitPC != pc-1 {
					fail(lowest(m), "this thread reaches a barrier, another of its warp waits at the one of line %d", code[w.waitPC].line)
				}
				w.wait |= m
				w.waitPC = pc - 1
			}
			if mask &^= m; mask == 0 {
				return
			}
		case kindWarpBarrier:
			if m != 0 {
				members(w, "bar.warp.sync", w.named(in, m)&^w.b.absent(w), m)
				w.step++
			}
		}
	}
	w.add(group{pc, mask})
}

// named returns the lanes that a warp-wide instruction names when lanes m execute it.
func (w *warp) named(in *instr, m uint32) uint32 {
	if in.sync < 0 {
		return allLanes
	}
	return uint32(w.r[in.sync][lowest(m)])
}

// park keeps lanes at a warp-wide instruction until all others that it names are there as well.
func (w *warp) park(in *instr, g group) {
	for i, p := range w.parked {
		if p.pc == g.pc {
			p.mask |= g.mask
			if w.named(in, p.mask)&^p.mask&^w.exited != 0 {
				w.parked[i] = p
				return
			}
			w.parked = append(w.parked[:i], w.parked[i+1:]...)
			w.add(p)
			return
		}
	}
	w.parked = append(w.parked, g)
}

// add puts lanes back in order of pc, and joins those at the same one.
func (w *warp) add(g group) {
	i := len(w.groups)
	for i > 0 && w.groups[i-1].pc < g.pc {
		i--
	}
	if i > 0 && w.groups[i-1].pc == g.pc {
		w.groups[i-1].mask |= g.mask
		return
	}
	w.groups = append(w.groups, group{})
	copy(w.groups[i+1:], w.groups[i:])
	w.groups[i] = g
}
