//go:build cuda && linux && (amd64 || arm64)

package cuda

// #include "library.h"
import "C"

import (
	"slices"
	"unsafe"

	"github.com/mltrain/mltrain/internal/gpu"
)

// The pinned memory that transfers go through, and the most of it that one piece takes.
const (
	stagingBytes = 16 << 20
	pieceBytes   = stagingBytes / 4
)

// staging is a ring of pinned memory: a piece is free again when the transfer that had it is done. There is room for the many small
// uploads of a step, so that none waits for the work before an older one.
type staging struct {
	memory []byte
	head   int        // where the next piece begins
	flight []transfer // under way, oldest first
	spare  []C.CUevent
}

// transfer has the bytes from … to−1 of the ring until its event.
type transfer struct {
	from, to int
	done     C.CUevent
}

// open allocates the ring.
func (s *staging) open(q C.mlt_queue) error {
	var p unsafe.Pointer
	if err := result("pinned memory", C.mlt_pinned(q, stagingBytes, &p)); err != nil {
		return err
	}
	s.memory = unsafe.Slice((*byte)(p), stagingBytes)
	return nil
}

// overlaps tells whether a transfer under way has bytes of a range.
func (s *staging) overlaps(from, to int) bool {
	return slices.ContainsFunc(s.flight, func(t transfer) bool { return t.from < to && from < t.to })
}

// retire forgets the oldest transfer, which is done.
func (s *staging) retire() {
	s.spare = append(s.spare, s.flight[0].done)
	s.flight = slices.Delete(s.flight, 0, 1)
}

// take returns where the next n bytes of the ring are, once they are free.
func (s *staging) take(q C.mlt_queue, n int) (int, error) {
	if s.head+n > len(s.memory) {
		s.head = 0
	}
	for len(s.flight) > 0 {
		code := C.mlt_ready(q, s.flight[0].done)
		if code == C.CUDA_ERROR_NOT_READY {
			if !s.overlaps(s.head, s.head+n) {
				break
			}
			code = C.mlt_wait(q, s.flight[0].done)
		}
		if err := result("upload", code); err != nil {
			return 0, err
		}
		s.retire()
	}
	return s.head, nil
}

// event returns one that nobody waits for.
func (s *staging) event(q C.mlt_queue) (e C.CUevent, err error) {
	if n := len(s.spare); n > 0 {
		e, s.spare = s.spare[n-1], s.spare[:n-1]
		return e, nil
	}
	return e, result("event", C.mlt_event(q, &e))
}

func (s *staging) upload(q C.mlt_queue, dst gpu.Ptr, src []byte) error {
	const align = 64
	for len(src) > 0 {
		n := min(len(src), pieceBytes)
		at, err := s.take(q, n)
		if err != nil {
			return err
		}
		done, err := s.event(q)
		if err != nil {
			return err
		}
		copy(s.memory[at:], src[:n])
		if err := result("upload", C.mlt_upload(q, C.CUdeviceptr(dst), unsafe.Pointer(&s.memory[at]), C.size_t(n), done)); err != nil {
			s.spare = append(s.spare, done)
			return err
		}
		s.flight = append(s.flight, transfer{at, at + n, done})
		s.head = min(len(s.memory), (at+n+align-1)/align*align)
		src, dst = src[n:], dst+gpu.Ptr(n)
	}
	return nil
}

func (s *staging) download(q C.mlt_queue, dst []byte, src gpu.Ptr) error {
	for len(dst) > 0 {
		n := min(len(dst), pieceBytes)
		at, err := s.take(q, n)
		if err != nil {
			return err
		}
		// It waits: nothing is under way afterwards.
		if err := result("download", C.mlt_download(q, unsafe.Pointer(&s.memory[at]), C.CUdeviceptr(src), C.size_t(n))); err != nil {
			return err
		}
		copy(dst, s.memory[at:at+n])
		dst, src = dst[n:], src+gpu.Ptr(n)
	}
	return nil
}
