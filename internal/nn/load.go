package nn

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// Types that weights are computed with.
const (
	f32  = tensor.F32
	bf16 = tensor.BF16
	f16  = tensor.F16
)

// Table is constant data that a model computes with: rotary cosines and sines.
type Table struct {
	Value      tensor.Tensor
	rows, cols int
	dtype      tensor.DType
	fill       func() []float32
}

// Table asks for a constant float32 table, which fill makes when it is loaded.
func (b *Builder) Table(rows, cols int, fill func() []float32) *Table {
	t := &Table{rows: rows, cols: cols, dtype: f32, fill: fill}
	b.tables = append(b.tables, t)
	return t
}

// Store holds a model's weights on a backend.
type Store struct {
	Weights []*Weight
	// Values and Grads are the trainable parameters and their gradients as flat float32 vectors, absent if there are
	// none; Offsets gives each trainable weight's place in both, in elements.
	Values, Grads tensor.Tensor
	// Compute is the copy of Values in bfloat16 that the model computes with, absent if that is Values itself.
	Compute   tensor.Tensor
	Offsets   map[*Weight]int
	Trainable []*Weight
	// Adapted are the weights that an adapter corrects.
	Adapted map[*Weight]Adapted
	// Starts are A and B as PiSSA made them, in float32: what it took off the model's weights.
	Starts map[*Weight][]float32
	tokens []*tokenTable
	// Extra names the tensors of the source that are not part of the model.
	Extra   []string
	buffers []tensor.Buffer
	// scaleMap is the table of double quantisation, absent if nothing uses it.
	scaleMap tensor.Tensor
	b        tensor.Backend
	fill     []func(seed uint64) error // gives what was allocated its contents
}

// TrainableLen returns the length of Values.
func (s *Store) TrainableLen() int {
	if s.Values.IsZero() {
		return 0
	}
	return s.Values.Len()
}

// Len returns the number of elements of all parameters.
func (s *Store) Len() (n int) {
	for _, w := range s.Weights {
		n += elements(w.Shape)
	}
	return n
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// pad is the alignment of a parameter in the flat vectors, in elements.
const pad = 64

// Load allocates the Builder's weights and tables on b and fills them from the source, or at random by seed without one.
func (bd *Builder) Load(b tensor.Backend, seed uint64) (*Store, error) {
	s, err := bd.Allocate(b)
	if err != nil {
		return nil, err
	}
	for _, fill := range s.fill {
		if err := fill(seed); err != nil {
			return nil, err
		}
	}
	s.fill = nil
	if bd.adapter != nil && bd.adapter.Source == nil {
		if err := s.startTokens(); err != nil {
			return nil, err
		}
	}
	if bd.adapter != nil && bd.adapter.IsPiSSA() {
		if err := bd.startPiSSA(s, seed); err != nil {
			return nil, err
		}
	}
	if err := s.Round(); err != nil {
		return nil, err
	}
	return s, bd.startDoRA(b)
}

// Rehearse is Load on a device that only counts: it allocates what Load does, in the same order, and reads no weight.
func (bd *Builder) Rehearse(b tensor.Backend) (*Store, error) {
	s, err := bd.Allocate(b)
	if err != nil {
		return nil, err
	}
	return s, bd.startDoRA(b)
}

// Round brings what the model computes with up to date with Values: the rounded copy, and tables with trained rows.
func (s *Store) Round() error {
	if !s.Compute.IsZero() {
		if err := s.b.Copy(s.Compute, s.Values); err != nil {
			return err
		}
	}
	return s.PutTokens()
}

// Allocate is Load without the contents: no weight is read, drawn or converted, so that a run can be planned.
//
// Trainable parameters become float32, one flat vector. Frozen matrices keep the type of the checkpoint when they are
// float32 or bfloat16, and are used where they lie, in the mapped file, if the backend can; the rest is converted. With
// Options.BF16 frozen matrices of float32 are rounded, and trained ones have their rounded copy in Compute.
func (bd *Builder) Allocate(b tensor.Backend) (*Store, error) {
	if err := bd.Err(); err != nil {
		return nil, err
	}
	s := &Store{Weights: bd.weights, Offsets: map[*Weight]int{}, b: b}
	if bd.adapter != nil {
		s.Adapted = map[*Weight]Adapted{}
		for _, w := range bd.weights {
			if a, ok := bd.adapter.merges[&w.Param]; ok {
				s.Adapted[w] = a
			}
		}
	}
	n := 0
	for _, w := range bd.weights {
		if w.Frozen {
			continue
		}
		s.Trainable = append(s.Trainable, w)
		s.Offsets[w] = n
		n += (elements(w.Shape) + pad - 1) / pad * pad
	}
	use := tensor.UseWeights
	if bd.adapter != nil {
		use = tensor.UseAdapter
	}
	if err := s.allocFlat(n, use, bd.opts.BF16); err != nil {
		return nil, err
	}
	for _, w := range bd.weights {
		if err := s.place(w, bd.sourceOf(w), bd.opts); err != nil {
			return nil, fmt.Errorf("%s: %w", w.Stored, err)
		}
	}
	if bd.opts.Source != nil {
		for _, name := range bd.opts.Source.Names() {
			if !bd.used[name] {
				s.Extra = append(s.Extra, name)
			}
		}
	}
	for _, t := range bd.tables {
		buf, err := s.alloc(int64(t.rows*t.cols*t.dtype.Size()), tensor.UseTables)
		if err != nil {
			return nil, err
		}
		t.Value = tensor.New(buf, 0, t.dtype, t.rows, t.cols)
		s.fill = append(s.fill, func(uint64) error { return s.uploadFloats(t.Value, t.fill()) })
	}
	if bd.adapter != nil {
		return s, s.allocTokens(bd.adapter.tokens)
	}
	return s, nil
}

func (s *Store) alloc(bytes int64, use tensor.Use) (tensor.Buffer, error) {
	buf, err := s.b.Alloc(bytes, use)
	if err == nil {
		s.buffers = append(s.buffers, buf)
	}
	return buf, err
}

func (s *Store) allocFlat(n int, use tensor.Use, bf16Copy bool) error {
	if n == 0 {
		return nil
	}
	values, err := s.alloc(int64(n)*4, use)
	if err != nil {
		return err
	}
	grads, err := s.alloc(int64(n)*4, tensor.UseGradients)
	if err != nil {
		return err
	}
	s.Values, s.Grads = tensor.New(values, 0, tensor.F32, n), tensor.New(grads, 0, tensor.F32, n)
	if bf16Copy {
		rounded, err := s.alloc(int64(n)*2, use)
		if err != nil {
			return err
		}
		s.Compute = tensor.New(rounded, 0, bf16, n)
	}
	return nil
}

// place gives w its memory, and notes how it gets its value.
func (s *Store) place(w *Weight, src Source, o Options) error {
	toBF16 := o.BF16
	n, matrix := elements(w.Shape), len(w.Shape) > 1
	if off, ok := s.Offsets[w]; ok {
		w.Master = s.Values.Slice(off, off+n).View(w.Shape...)
		w.Grad = s.Grads.Slice(off, off+n).View(w.Shape...)
		if w.Value = w.Master; matrix && !s.Compute.IsZero() {
			w.Value = s.Compute.Slice(off, off+n).View(w.Shape...)
		}
	}
	if w.quantised {
		return s.placeQuantised(w, src, w.packed != nil && w.packed.Nested != nil || w.packed == nil && o.Quantise.Nested)
	}
	name, dt := locate(w, src)
	keep := !o.Private && (dt == tensor.F32 && !(toBF16 && matrix) || dt == tensor.BF16 && matrix) && !w.Transposed && !w.flipped && (w.own || dt == w.DType)
	if w.Frozen && keep && src != nil && !w.residual {
		if im, ok := s.b.(tensor.Importer); ok {
			raw, err := src.Bytes(name)
			if err != nil {
				return err
			}
			buf, err := im.Import(raw)
			if err != nil {
				return err
			}
			s.buffers = append(s.buffers, buf)
			w.Value = tensor.New(buf, 0, dt, w.Shape...)
			w.Master = w.Value
			return nil
		}
	}
	if w.Frozen {
		to := tensor.F32
		switch {
		case keep:
			to = dt
		case toBF16 && matrix:
			to = bf16
		}
		buf, err := s.alloc(int64(n*to.Size()), tensor.UseWeights)
		if err != nil {
			return err
		}
		w.Value = tensor.New(buf, 0, to, w.Shape...)
		w.Master = w.Value
	}
	s.fill = append(s.fill, func(seed uint64) error {
		if src == nil {
			const chunk = 1 << 20 // elements: a whole embedding on the host would double its memory for a moment
			for lo := 0; lo < n; lo += chunk {
				hi := min(lo+chunk, n)
				if err := s.uploadFloats(w.Master.Slice(lo, hi), w.Init.draw(lo, hi, w.Name, seed)); err != nil {
					return err
				}
			}
			return nil
		}
		if err := s.upload(w, src, name, dt); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return nil
}

// uploadFloats gives dst its value, rounded to its type.
func (s *Store) uploadFloats(dst tensor.Tensor, x []float32) error {
	if dst.DType == bf16 {
		return s.b.Upload(dst, bf16Bytes(x))
	}
	return s.b.Upload(dst, f32Bytes(x))
}

// upload reads a weight's value from src and converts it to the type and the layout that it has here.
func (s *Store) upload(w *Weight, src Source, name string, dt tensor.DType) error {
	raw, err := src.Bytes(name)
	if err != nil {
		return err
	}
	defer release(src, name)
	if !w.Transposed && !w.flipped && dt == w.Master.DType {
		return s.b.Upload(w.Master, raw)
	}
	x := widen(raw, dt, elements(w.Shape))
	if w.Transposed || w.flipped {
		x = transpose(x, w.Shape[1], w.Shape[0])
	}
	return s.uploadFloats(w.Master, x)
}

// release tells src that a tensor has been read, if it wants to know.
func release(src Source, name string) {
	if r, ok := src.(Releaser); ok {
		r.Release(name)
	}
}

// locate returns the name and the type that a weight has in src; float32 if src is nil.
func locate(w *Weight, src Source) (string, tensor.DType) {
	if src == nil {
		return "", tensor.F32
	}
	name, dt := w.Stored, w.DType
	for _, n := range []string{w.AdapterName, w.baseLayer} {
		if at, _, _, ok := src.Lookup(n); n != "" && ok {
			name, dt = n, at
		}
	}
	return name, dt
}

// sourceOf returns where a weight's value comes from: the adapter's files, the checkpoint, or nil for its Init.
func (bd *Builder) sourceOf(w *Weight) Source {
	if (w.AdapterName != "" || w.baseLayer != "") && bd.adapter.Source != nil {
		return bd.adapter.Source
	}
	if w.own || w.fresh {
		return nil
	}
	return bd.opts.Source
}

// startDoRA sets the magnitudes of a new adapter to the lengths of the rows of W + s·B·A.
func (bd *Builder) startDoRA(b tensor.Backend) error {
	if bd.adapter == nil || bd.adapter.Source != nil {
		return nil
	}
	for _, l := range bd.adapter.doras {
		t := autograd.NewTape(b)
		raw := make([]byte, l.M.Value.Bytes())
		err := t.RowNorms(l.Base.W, l.Base.Layout, l.LowRank, raw)
		t.Close()
		if err == nil {
			err = b.Upload(l.M.Value, raw) // a vector: computed with as it is stored
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.M.Name, err)
		}
	}
	return nil
}

func transpose(x []float32, rows, cols int) []float32 {
	y := make([]float32, len(x))
	for r := range rows {
		for c := range cols {
			y[c*rows+r] = x[r*cols+c]
		}
	}
	return y
}

// Reload replaces the value of a trainable weight by the source's: a model's, or an adapter's if the weight belongs to one.
// Call Round when all are replaced.
func (s *Store) Reload(w *Weight, src Source) error {
	stored, want := w.Stored, w.Shape
	if w.AdapterName != "" {
		stored = w.AdapterName
	}
	if w.Transposed {
		want = []int{w.Shape[1], w.Shape[0]}
	}
	dt, name, shape, ok := src.Lookup(stored)
	if !ok || !slices.Equal(shape, want) {
		return fmt.Errorf("found %s %v, needed is %v", name, shape, want)
	}
	return s.upload(w, src, stored, dt)
}

// TrainableCount returns the number of trainable parameters, without the gaps that alignment leaves in Values.
func (s *Store) TrainableCount() (n int) {
	for _, w := range s.Trainable {
		n += elements(w.Shape)
	}
	return n
}

// Close frees the store's memory. The weights must not be used afterwards.
func (s *Store) Close() {
	for _, b := range s.buffers {
		s.b.Free(b)
	}
	s.buffers = nil
}

// draw returns elements lo … hi−1 of the named weight, lo a multiple of 4. Each element's number depends on its place alone, so that
// all cores can draw.
func (i Init) draw(lo, hi int, name string, seed uint64) []float32 {
	const part = 1 << 16
	x := make([]float32, hi-lo)
	h := fnv.New64a()
	h.Write([]byte(name))
	key := tensor.RNGKey{Seed: seed ^ h.Sum64(), Op: 0x1417}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(x)/part+1) {
		workers.Go(func() {
			for at := int(next.Add(part)) - part; at < len(x); at = int(next.Add(part)) - part {
				i.fill(x[at:min(at+part, len(x))], lo+at, key)
			}
		})
	}
	workers.Wait()
	return x
}

// fill draws elements from … of a weight, from a multiple of 4. The normal deviates are those of Box and Muller (1958).
func (i Init) fill(x []float32, from int, key tensor.RNGKey) {
	n := len(x)
	if i.Std == 0 && i.Uniform == 0 {
		for j := range x {
			x[j] = i.Const
		}
		return
	}
	for j := 0; j < n; j += 4 {
		u := key.Philox(uint64((from + j) / 4))
		if i.Std == 0 {
			for p := 0; p < 4 && j+p < n; p++ {
				x[j+p] = float32(float64(i.Uniform) * (2*(float64(u[p])+0.5)/(1<<32) - 1))
			}
			continue
		}
		for p := 0; p < 4; p += 2 {
			r := float64(i.Std) * math.Sqrt(-2*math.Log((float64(u[p])+0.5)/(1<<32)))
			sin, cos := math.Sincos(2 * math.Pi * float64(u[p+1]) / (1 << 32))
			for q, v := range [2]float64{r * cos, r * sin} {
				if j+p+q < n {
					x[j+p+q] = float32(v)
				}
			}
		}
	}
}

// f32Bytes returns the little-endian bytes of x; every platform that mltrain runs on is little endian.
func f32Bytes(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}

// bf16Bytes rounds to bfloat16, to nearest even.
func bf16Bytes(x []float32) []byte {
	out := make([]byte, 2*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint16(out[2*i:], tensor.ToBF16(v))
	}
	return out
}

// widen converts bfloat16 or float16 to float32, exactly; float32 is copied.
func widen(raw []byte, dt tensor.DType, n int) []float32 {
	x := make([]float32, n)
	if dt == tensor.F32 {
		copy(f32Bytes(x), raw)
		return x
	}
	for i := range x {
		h := binary.LittleEndian.Uint16(raw[2*i:])
		if dt == tensor.BF16 {
			x[i] = tensor.FromBF16(h)
			continue
		}
		x[i] = tensor.FromF16(h)
	}
	return x
}

// Matcher returns a function that tells whether a name contains one of the patterns, in which each "*" stands for any run of
// characters.
func Matcher(patterns ...string) func(string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return contains(name, p) })
	}
}

func contains(name, pattern string) bool {
	for _, part := range strings.Split(pattern, "*") {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}
