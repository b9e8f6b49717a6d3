// Package par runs the loops of the CPU backend on several cores.
//
// A loop is cut into tasks by its caller, and the cut must depend on the shapes alone, never on the number of
// threads, wherever it could change a rounding: then results are the same bits with any GOMAXPROCS. Every worker
// begins with a run of adjacent tasks of its own, always the same for as many tasks, so that what one loop leaves in
// a core's cache is there for the next; when its run is done it helps with the others', so uneven tasks and busy
// cores balance themselves.
//
// One pool serves the whole process, because there is one set of cores to share: two pools would each keep a worker
// spinning per core. Its goroutines start on first use, spin for about a millisecond after a loop (a training
// step is a dense sequence of loops, and waking a parked thread costs more than a loop), then park and cost nothing.
// They never end; a test that counts goroutines must ignore them.
package par

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Workers is the most workers a call of Do or DoWorker may use now, the caller included: GOMAXPROCS.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Do runs fn(0) … fn(tasks-1), in no fixed order, on up to Workers goroutines, and returns when all have returned.
// A call from within a task, or while another goroutine's loop is running, runs all its tasks on the caller.
// A panic in a task stops the hand-out of further tasks and reaches the caller as a *Panic.
func Do(tasks int, fn func(task int)) {
	if tasks <= 1 || !shared.acquire() {
		for task := range tasks {
			fn(task)
		}
		return
	}
	shared.fn = fn
	shared.run(tasks, tasks)
}

// DoWorker is Do on at most so many workers, with the number of the one that runs the task, less than workers, to choose a scratch buffer
// by. No two tasks of one call run at the same time with the same number; different calls share nothing. Workers may change at any time
// (the Go runtime follows the limits of a container), and who prepared buffers for some must not meet more.
func DoWorker(workers, tasks int, fn func(worker, task int)) {
	if tasks <= 1 || workers <= 1 || !shared.acquire() {
		for task := range tasks {
			fn(0, task)
		}
		return
	}
	shared.fnWorker = fn
	shared.run(workers, tasks)
}

// Panic carries a panic from a task to the goroutine that called Do.
type Panic struct {
	Value any    // what the task panicked with
	Stack []byte // the stack of the task
}

func (p *Panic) Error() string {
	return fmt.Sprintf("panic in a parallel task: %v\n%s", p.Value, p.Stack)
}

// Unwrap returns the value the task panicked with if that was an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// pool is a set of helpers and the one loop they may be running.
type pool struct {
	busy    sync.Mutex // held for the length of a loop
	helpers []*helper

	fn       func(task int) // one of the two is set
	fnWorker func(worker, task int)
	runs     []run // of each worker
	failure  atomic.Pointer[Panic]
}

// run is a run of tasks that are handed out one by one.
type run struct {
	next atomic.Int64
	end  int64
	_    [48]byte // each has a cache line of its own
}

var shared pool

// The states of a helper. The caller offers a loop; the helper takes it, or the caller takes the offer back when
// nothing is left to do, so that nobody waits for a parked helper to wake.
const (
	idle int32 = iota
	offered
	running
)

type helper struct {
	state  atomic.Int32
	parked atomic.Bool
	wake   chan struct{} // holds at most one token
	_      [64]byte      // each helper spins on a cache line of its own
}

// Waiting leaves the Go scheduler alone for long: whoever yields to it may come back on another core, far from what is in the caches of its own.
const (
	spins      = 1 << 18 // checks before parking: about a millisecond
	yieldEvery = 1 << 17
)

// acquire reports whether the caller may use the pool: more than one worker, and no loop running.
func (p *pool) acquire() bool { return Workers() > 1 && p.busy.TryLock() }

// run works the loop down with the helpers, with at most so many workers in all. The caller holds p.busy and has set the function.
func (p *pool) run(workers, tasks int) {
	workers = min(workers, tasks, Workers())
	if cap(p.runs) < workers {
		p.runs = make([]run, workers)
	}
	p.runs = p.runs[:workers]
	for i := range p.runs {
		p.runs[i].next.Store(int64(i * tasks / workers))
		p.runs[i].end = int64((i + 1) * tasks / workers)
	}
	helpers := workers - 1
	for len(p.helpers) < helpers {
		h := &helper{wake: make(chan struct{}, 1)}
		p.helpers = append(p.helpers, h)
		go p.help(h, len(p.helpers))
	}
	for _, h := range p.helpers[:helpers] {
		h.state.Store(offered)
		if h.parked.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
	defer p.finish(helpers) // deferred, so that runtime.Goexit in the caller's own task leaves the pool usable
	p.work(0)
}

// finish waits for the helpers of a loop, gives the pool back and passes a task's panic on.
func (p *pool) finish(helpers int) {
	for _, h := range p.helpers[:helpers] {
		if h.state.CompareAndSwap(offered, idle) {
			continue
		}
		for spin := 1; h.state.Load() != idle; spin++ {
			if spin%yieldEvery == 0 {
				runtime.Gosched()
			}
		}
	}
	failure := p.failure.Swap(nil)
	p.fn, p.fnWorker = nil, nil
	p.busy.Unlock()
	if failure != nil {
		panic(failure)
	}
}

// work runs tasks until none is left, the worker's own first.
func (p *pool) work(worker int) {
	done := false
	defer func() {
		if done {
			return
		}
		value := recover()
		if value == nil {
			value = "the task called runtime.Goexit"
		}
		p.failure.CompareAndSwap(nil, &Panic{Value: value, Stack: debug.Stack()})
		for i := range p.runs {
			p.runs[i].next.Store(p.runs[i].end)
		}
	}()
	for i := range p.runs {
		r := &p.runs[(worker+i)%len(p.runs)]
		for {
			task := r.next.Add(1) - 1
			if task >= r.end {
				break
			}
			if p.fn != nil {
				p.fn(int(task))
			} else {
				p.fnWorker(worker, int(task))
			}
		}
	}
	done = true
}

// help is the life of a helper: run what is offered, spin, park.
func (p *pool) help(h *helper, worker int) {
	defer func() { // only a task's runtime.Goexit ends this goroutine: replace it
		h.state.Store(idle)
		go p.help(h, worker)
	}()
	for spin := 0; ; spin++ {
		switch {
		case h.state.CompareAndSwap(offered, running):
			p.work(worker)
			h.state.Store(idle)
			spin = 0
		case spin > spins:
			h.parked.Store(true)
			// An offer made before parked was set carries no token.
			if h.state.Load() != offered || !h.parked.CompareAndSwap(true, false) {
				<-h.wake
			}
			spin = 0
		}
	}
}
