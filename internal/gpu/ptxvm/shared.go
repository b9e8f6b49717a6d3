package ptxvm

// systemShared is how much of a block's shared memory, at its beginning, is the system's on GPUs of compute capability 9.0. A
// kernel's own begins there: no variable can count on an alignment beyond it, whatever its declaration asks for.
const systemShared = 1024

// shared is the shared memory of a block, and what is known of its use. It is split into granules, each as large as the
// kernel's smallest access, so that a granule is touched as a whole or not at all.
//
// Time in a block is counted in epochs: a barrier begins a new one. A conflict is two threads' touching a granule in the
// same epoch, at least one of them writing. Within a warp a bar.warp.sync separates as well.
type shared struct {
	mem     []byte
	granule uint64
	use     []usage
	epoch   uint32 // grows over all blocks that use this memory, so that nothing needs to be cleared between them
	born    uint32 // the block's first epoch
}

// usage is the last write and the last read of a granule. A thread is its number plus one; more than one are several, or
// lanesOf their warp if they read between the same of its barriers.
type usage struct {
	writeEpoch, readEpoch uint32
	writeStep, readStep   uint32 // the warp's count of bar.warp.sync
	writer, reader        int32
	async                 int32 // the thread whose cp.async will write, 0 if none
}

const several = -1

func lanesOf(w *warp) int32 { return -2 - int32(w.id) }

// in tells whether who belongs to a warp as a whole.
func in(w *warp, who int32) bool { return who > 0 && (who-1)/32 == int32(w.id) || who == lanesOf(w) }

func newShared(size, granule int) *shared {
	n := (size + granule - 1) / granule
	return &shared{mem: make([]byte, size), granule: uint64(granule), use: make([]usage, n)}
}

// begin starts a new block.
func (s *shared) begin() {
	s.epoch++
	s.born = s.epoch
}

// clash tells whether an access at the given epoch and warp step by thread me conflicts with another's.
func (s *shared) clash(epoch, step uint32, who int32, w *warp, me int32) bool {
	if epoch != s.epoch || who == me || who == 0 {
		return false
	}
	return !in(w, who) || step == w.step
}

// check bounds and alignment of an access of n bytes.
func (s *shared) check(what string, lane int, addr uint64, n int) {
	if addr%uint64(n) != 0 {
		fail(lane, "%s of %d bytes of shared memory at %d is not aligned", what, n, addr)
	}
	if size := uint64(len(s.mem)); addr < systemShared || addr > size || uint64(n) > size-addr {
		fail(lane, "%s of %d bytes at %d is outside of the %d bytes of shared memory", what, n, int64(addr)-systemShared, size-systemShared)
	}
}

// read returns n bytes at addr for a lane.
func (s *shared) read(w *warp, lane int, addr uint64, n int) []byte {
	s.check("read", lane, addr, n)
	me := int32(w.id*32 + lane + 1)
	for g := addr / s.granule; g*s.granule < addr+uint64(n); g++ {
		u := &s.use[g]
		switch {
		case u.async != 0:
			fail(lane, "read of shared memory at %d, which an unfinished cp.async of thread %d will write: wait for its group", addr, u.async-1)
		case u.writeEpoch < s.born || u.writer == 0:
			fail(lane, "read of shared memory at %d, which nothing has written", g*s.granule)
		case s.clash(u.writeEpoch, u.writeStep, u.writer, w, me):
			fail(lane, "read of shared memory at %d, which thread %d wrote without a barrier between", addr, u.writer-1)
		}
		switch {
		case u.readEpoch != s.epoch || u.reader == 0:
			u.reader, u.readEpoch, u.readStep = me, s.epoch, w.step
		case u.reader == me:
			u.readStep = w.step
		case in(w, u.reader) && u.readStep != w.step:
			u.reader, u.readStep = me, w.step
		case in(w, u.reader):
			u.reader = lanesOf(w)
		default:
			u.reader = several
		}
	}
	return s.mem[addr : addr+uint64(n)]
}

// write returns n bytes at addr for a lane to fill.
func (s *shared) write(w *warp, lane int, addr uint64, n int) []byte {
	s.check("write", lane, addr, n)
	me := int32(w.id*32 + lane + 1)
	for g := addr / s.granule; g*s.granule < addr+uint64(n); g++ {
		u := &s.use[g]
		if u.async != 0 {
			fail(lane, "write to shared memory at %d, which an unfinished cp.async of thread %d will write: wait for its group", addr, u.async-1)
		}
		s.claim(w, lane, me, u, addr)
	}
	return s.mem[addr : addr+uint64(n)]
}

// claim records a write after checking for conflicts.
func (s *shared) claim(w *warp, lane int, me int32, u *usage, addr uint64) {
	if s.clash(u.writeEpoch, u.writeStep, u.writer, w, me) {
		fail(lane, "write to shared memory at %d, which thread %d wrote without a barrier between", addr, u.writer-1)
	}
	if s.clash(u.readEpoch, u.readStep, u.reader, w, me) {
		if u.reader < 0 {
			fail(lane, "write to shared memory at %d, which other threads read without a barrier between", addr)
		}
		fail(lane, "write to shared memory at %d, which thread %d read without a barrier between", addr, u.reader-1)
	}
	u.writer, u.writeEpoch, u.writeStep = me, s.epoch, w.step
}

// reserve records that a cp.async of a lane will write n bytes at addr.
func (s *shared) reserve(w *warp, lane int, addr uint64, n int) {
	s.check("cp.async", lane, addr, n)
	me := int32(w.id*32 + lane + 1)
	for g := addr / s.granule; g*s.granule < addr+uint64(n); g++ {
		u := &s.use[g]
		if u.async != 0 {
			fail(lane, "cp.async to shared memory at %d, which an unfinished cp.async of thread %d will write", addr, u.async-1)
		}
		s.claim(w, lane, me, u, addr)
		u.async = me
	}
}

// arrive writes what a cp.async copied.
func (s *shared) arrive(w *warp, lane int, addr uint64, n int) []byte {
	for g := addr / s.granule; g*s.granule < addr+uint64(n); g++ {
		u := &s.use[g]
		u.async = 0
		u.writer, u.writeEpoch, u.writeStep = int32(w.id*32+lane+1), s.epoch, w.step
	}
	return s.mem[addr : addr+uint64(n)]
}
