//go:build cuda && linux && (amd64 || arm64)

package cuda

// #include "library.h"
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"

	"github.com/mltrain/mltrain/internal/gpu"
)

// The pieces of pinned memory that transfers go through, and their size.
const (
	stagingSlots = 4
	stagingBytes = 4 << 20
)

// staging is a ring of pinned memory: while one piece is on its way, the next is filled.
type staging struct {
	slots [stagingSlots]slot
	next  int
}

type slot struct {
	memory []byte
	done   C.CUevent
	busy   bool // done was recorded and not waited for
}

// open allocates the ring. The device's context is current.
func (s *staging) open(q C.mlt_queue) error {
	for i := range s.slots {
		var p unsafe.Pointer
		if err := result("pinned memory", C.mlt_pinned(q, stagingBytes, &p)); err != nil {
			return err
		}
		e, err := cu.MakeEvent(cu.DisableTiming)
		if err != nil {
			return err
		}
		s.slots[i] = slot{memory: unsafe.Slice((*byte)(p), stagingBytes), done: *(*C.CUevent)(unsafe.Pointer(&e))}
	}
	return nil
}

// take returns the next piece, when the transfer that had it is done.
func (s *staging) take(q C.mlt_queue) (*slot, error) {
	sl := &s.slots[s.next]
	s.next = (s.next + 1) % stagingSlots
	if sl.busy {
		if err := result("upload", C.mlt_wait(q, sl.done)); err != nil {
			return nil, err
		}
		sl.busy = false
	}
	return sl, nil
}

func (s *staging) upload(q C.mlt_queue, dst gpu.Ptr, src []byte) error {
	for len(src) > 0 {
		sl, err := s.take(q)
		if err != nil {
			return err
		}
		n := copy(sl.memory, src)
		if err := result("upload", C.mlt_upload(q, C.CUdeviceptr(dst), unsafe.Pointer(&sl.memory[0]), C.size_t(n), sl.done)); err != nil {
			return err
		}
		sl.busy = true
		src, dst = src[n:], dst+gpu.Ptr(n)
	}
	return nil
}

func (s *staging) download(q C.mlt_queue, dst []byte, src gpu.Ptr) error {
	for len(dst) > 0 {
		sl, err := s.take(q)
		if err != nil {
			return err
		}
		n := min(len(dst), len(sl.memory))
		if err := result("download", C.mlt_download(q, unsafe.Pointer(&sl.memory[0]), C.CUdeviceptr(src), C.size_t(n))); err != nil {
			return err
		}
		copy(dst, sl.memory[:n])
		dst, src = dst[n:], src+gpu.Ptr(n)
	}
	return nil
}
