//go:build unix

package gemm

import (
	"sync"
	"syscall"
	"testing"
)

// guarded returns n zero bytes that end at a page no access is allowed to: reading past them is a fault.
func guarded(t testing.TB, n int) []byte {
	page := syscall.Getpagesize()
	guards.mu.Lock()
	defer guards.mu.Unlock()
	size := page
	for size < n {
		size *= 2
	}
	var all []byte
	if free := guards.free[size]; len(free) > 0 {
		all = free[len(free)-1]
		guards.free[size] = free[:len(free)-1]
	} else {
		m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err == nil {
			err = syscall.Mprotect(m[size:], syscall.PROT_NONE)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = m[:size]
	}
	guards.used = append(guards.used, all)
	s := all[size-n:]
	clear(s)
	return s
}

// unguard gives all guarded memory back for further cases.
func unguard() {
	guards.mu.Lock()
	defer guards.mu.Unlock()
	for _, all := range guards.used {
		guards.free[len(all)] = append(guards.free[len(all)], all)
	}
	guards.used = nil
}

var guards = struct {
	mu   sync.Mutex
	free map[int][][]byte
	used [][]byte
}{free: map[int][][]byte{}}
