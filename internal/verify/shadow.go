package verify

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Kernel is what was seen of one kernel.
type Kernel struct {
	Name  string `json:"name"`
	Calls int    `json:"calls"`
	// Error is the largest distance of an output from the reference's, relative to its norm; Worst says of which operand.
	Error     float64       `json:"error"`
	Worst     string        `json:"worst,omitempty"`
	Time      time.Duration `json:"ns"`
	Reference time.Duration `json:"reference_ns"`
}

// shadow is a device that repeats every kernel on a reference, with the same bytes in all buffers that the kernel is given,
// and compares what both wrote. Errors do not add up: each call starts from the device's own values.
type shadow struct {
	tensor.Backend
	ref     tensor.Backend
	twins   map[tensor.Buffer]tensor.Buffer
	kernels map[string]*Kernel
	bytes   []byte
}

var _ tensor.Backend = (*shadow)(nil)

func newShadow(b, ref tensor.Backend) *shadow {
	return &shadow{Backend: b, ref: ref, twins: map[tensor.Buffer]tensor.Buffer{}, kernels: map[string]*Kernel{}}
}

// Alloc allocates on both.
func (s *shadow) Alloc(n int64, use tensor.Use) (tensor.Buffer, error) {
	b, err := s.Backend.Alloc(n, use)
	if err != nil {
		return nil, err
	}
	if s.twins[b], err = s.ref.Alloc(n, use); err != nil {
		return nil, err
	}
	return b, nil
}

// Free frees on both.
func (s *shadow) Free(b tensor.Buffer) {
	s.ref.Free(s.twins[b])
	delete(s.twins, b)
	s.Backend.Free(b)
}

// twin is the same place in the reference's memory.
func (s *shadow) twin(t tensor.Tensor) tensor.Tensor {
	if !t.IsZero() {
		t.Buf = s.twins[t.Buf]
	}
	return t
}

func all(b tensor.Buffer) tensor.Tensor { return tensor.New(b, 0, tensor.U8, int(b.Bytes())) }

// arg is an operand.
type arg struct {
	name string
	t    tensor.Tensor
	out  bool
}

func in(name string, t tensor.Tensor) arg  { return arg{name, t, false} }
func out(name string, t tensor.Tensor) arg { return arg{name, t, true} }

// run runs a kernel on both; at is how it is called with operands of either.
func (s *shadow) run(name string, args []arg, at func(b tensor.Backend, f func(tensor.Tensor) tensor.Tensor) error) error {
	for _, a := range args {
		if a.t.IsZero() {
			continue
		}
		s.bytes = append(s.bytes[:0], make([]byte, a.t.Buf.Bytes())...)
		if err := s.Backend.Download(s.bytes, all(a.t.Buf)); err != nil {
			return err
		}
		if err := s.ref.Upload(all(s.twins[a.t.Buf]), s.bytes); err != nil {
			return err
		}
	}
	k := s.kernels[name]
	if k == nil {
		k = &Kernel{Name: name}
		s.kernels[name] = k
	}
	k.Calls++
	start := time.Now()
	if err := at(s.Backend, func(t tensor.Tensor) tensor.Tensor { return t }); err != nil {
		return err
	}
	if err := s.Backend.Sync(); err != nil {
		return err
	}
	k.Time += time.Since(start)
	start = time.Now()
	if err := at(s.ref, s.twin); err != nil {
		return fmt.Errorf("reference: %w", err)
	}
	k.Reference += time.Since(start)
	for _, a := range args {
		if !a.out || a.t.IsZero() {
			continue
		}
		got, err := values(s.Backend, a.t)
		if err != nil {
			return err
		}
		want, err := values(s.ref, s.twin(a.t))
		if err != nil {
			return err
		}
		if e := distance(got, want); !(e <= k.Error) {
			k.Error, k.Worst = e, fmt.Sprintf("%s %v", a.name, a.t)
		}
	}
	return nil
}

// values reads a tensor as numbers.
func values(b tensor.Device, t tensor.Tensor) ([]float64, error) {
	raw := make([]byte, t.Bytes())
	if len(raw) == 0 {
		return nil, nil
	}
	if err := b.Download(raw, t); err != nil {
		return nil, err
	}
	x := make([]float64, t.Len())
	for i := range x {
		switch t.DType {
		case tensor.F32:
			x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		case tensor.BF16:
			x[i] = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16))
		case tensor.I32:
			x[i] = float64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
		default:
			x[i] = float64(raw[i])
		}
	}
	return x, nil
}

// distance is ‖got−want‖/‖want‖, NaN where one is not finite and the other is not the same.
func distance(got, want []float64) float64 {
	var d, n float64
	for i, w := range want {
		if got[i] == w || math.IsNaN(got[i]) && math.IsNaN(w) {
			if !math.IsInf(w, 0) && !math.IsNaN(w) {
				n += w * w
			}
			continue
		}
		d += (got[i] - w) * (got[i] - w)
		n += w * w
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}
