package par

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// withProcs runs f at several GOMAXPROCS, changing it between loops of one pool.
func withProcs(t *testing.T, f func(t *testing.T, procs int)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 3, 8, 2, 1} {
		runtime.GOMAXPROCS(procs)
		f(t, procs)
	}
}

func TestEveryTaskRunsOnce(t *testing.T) {
	withProcs(t, func(t *testing.T, procs int) {
		for _, n := range []int{0, 1, 2, 3, 7, 64, 1000} {
			counts := make([]atomic.Int32, n)
			Do(n, func(task int) { counts[task].Add(1) })
			for task := range counts {
				if got := counts[task].Load(); got != 1 {
					t.Fatalf("GOMAXPROCS %d, %d tasks: task %d ran %d times", procs, n, task, got)
				}
			}
		}
	})
}

func TestWorkerNumbersAreExclusive(t *testing.T) {
	withProcs(t, func(t *testing.T, procs int) {
		inUse := make([]atomic.Int32, Workers())
		DoWorker(Workers(), 500, func(worker, task int) {
			if inUse[worker].Add(1) != 1 {
				t.Errorf("worker %d runs two tasks at once", worker)
			}
			if task%50 == 0 {
				time.Sleep(10 * time.Microsecond)
			}
			inUse[worker].Add(-1)
		})
	})
}

// TestWorkersAreAtMost: who has buffers for some workers never meets the number of another, however many there are now.
func TestWorkersAreAtMost(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for most := 1; most <= 5; most++ {
		var ran atomic.Int32
		DoWorker(most, 200, func(worker, _ int) {
			ran.Add(1)
			if worker >= most {
				t.Errorf("worker %d of %d", worker, most)
			}
			time.Sleep(time.Microsecond)
		})
		if ran.Load() != 200 {
			t.Fatalf("%d tasks ran on at most %d workers, want 200", ran.Load(), most)
		}
	}
}

func TestUsesSeveralGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	// Both tasks must be running at once for either to end.
	var meet sync.WaitGroup
	meet.Add(2)
	Do(2, func(int) {
		meet.Done()
		meet.Wait()
	})
}

func TestNestedLoopRunsOnItsCaller(t *testing.T) {
	withProcs(t, func(t *testing.T, procs int) {
		var total atomic.Int32
		Do(10, func(int) {
			var inner int // not atomic: the race detector would object if it were shared
			Do(10, func(int) { inner++ })
			DoWorker(Workers(), 10, func(worker, _ int) {
				if procs > 1 && worker != 0 {
					t.Errorf("nested loop on worker %d", worker)
				}
				inner++
			})
			total.Add(int32(inner))
		})
		if total.Load() != 200 {
			t.Fatalf("nested loops ran %d tasks, want 200", total.Load())
		}
	})
}

func TestConcurrentCallers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				Do(5, func(task int) { total.Add(int64(task)) })
			}
		})
	}
	wg.Wait()
	if want := int64(4 * 200 * 10); total.Load() != want {
		t.Fatalf("sum %d, want %d", total.Load(), want)
	}
}

func TestWakesParkedHelpers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for range 20 {
		var sum atomic.Int32
		Do(8, func(task int) { sum.Add(int32(task)) })
		if sum.Load() != 28 {
			t.Fatalf("sum %d, want 28", sum.Load())
		}
		time.Sleep(time.Millisecond) // long enough for the helper to park
	}
}

func TestPanicReachesCaller(t *testing.T) {
	errBoom := errors.New("boom")
	withProcs(t, func(t *testing.T, procs int) {
		for bad := range 6 {
			func() {
				defer func() {
					got := recover()
					if procs == 1 {
						if got != errBoom {
							t.Fatalf("recovered %v, want %v", got, errBoom)
						}
						return
					}
					p, ok := got.(*Panic)
					if !ok || !errors.Is(p, errBoom) || !strings.Contains(p.Error(), "par_test.go") {
						t.Fatalf("recovered %v, want a *Panic around %v with the task's stack", got, errBoom)
					}
				}()
				Do(6, func(task int) {
					if task == bad {
						panic(errBoom)
					}
				})
				t.Fatal("no panic")
			}()
			// The pool still works.
			var n atomic.Int32
			Do(6, func(int) { n.Add(1) })
			if n.Load() != 6 {
				t.Fatalf("%d tasks ran after a panic, want 6", n.Load())
			}
		}
	})
}

func TestGoexitInATaskIsReported(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	caller := make(chan any)
	go func() {
		defer func() { caller <- recover() }()
		var meet sync.WaitGroup
		meet.Add(2)
		owner := make(chan struct{}, 1)
		DoWorker(2, 2, func(worker, _ int) {
			meet.Done()
			meet.Wait()
			if worker != 0 {
				owner <- struct{}{}
				runtime.Goexit()
			}
			<-owner
		})
	}()
	if p, ok := (<-caller).(*Panic); !ok || !strings.Contains(p.Error(), "Goexit") {
		t.Fatalf("recovered %v, want a *Panic about Goexit", p)
	}
	done := make(chan struct{})
	go func() { // a helper that was lost must not stall the next loop
		var n atomic.Int32
		Do(4, func(int) { n.Add(1) })
		if n.Load() != 4 {
			t.Errorf("%d tasks ran, want 4", n.Load())
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the pool is stuck")
	}
}

func TestNoAllocations(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var sum atomic.Int64
	fn := func(task int) { sum.Add(int64(task)) }
	if n := testing.AllocsPerRun(100, func() { Do(16, fn) }); n != 0 {
		t.Fatalf("%v allocations per loop", n)
	}
}

func BenchmarkDo(b *testing.B) {
	fn := func(int) {}
	b.ReportAllocs()
	for b.Loop() {
		Do(2, fn)
	}
}
