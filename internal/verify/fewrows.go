package verify

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/mltrain/mltrain/internal/quant"
	"github.com/mltrain/mltrain/internal/tensor"
)

// fewRows multiplies few rows by a matrix in four bits, as generation does, where the device has a kernel for that.
func fewRows(s *shadow, bf16 bool) error {
	const rows, cols = 37, 160
	dt := tensor.F32
	if bf16 {
		dt = tensor.BF16
	}
	most := s.MulQuant4Rows(dt)
	if most == 0 {
		return nil
	}
	var buffers []tensor.Buffer
	defer func() {
		for _, b := range buffers {
			s.Free(b)
		}
	}()
	var errs []error
	upload := func(dt tensor.DType, raw []byte, shape ...int) tensor.Tensor {
		buf, err := s.Alloc(int64(len(raw)), tensor.UseActivations)
		if err != nil {
			errs = append(errs, err)
			return tensor.Tensor{}
		}
		buffers = append(buffers, buf)
		x := tensor.New(buf, 0, dt, shape...)
		errs = append(errs, s.Upload(x, raw))
		return x
	}
	floats := func(x []float32) []byte {
		raw := make([]byte, 0, 4*len(x))
		for _, v := range x {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		return raw
	}
	w := numbers(rows * cols)
	p, _ := quant.Pack(len(w), true, func(lo, hi int) []float32 { return w[lo:hi] })
	values := quant.DynamicMap(true)
	q := tensor.Quant4{
		Rows: rows, Cols: cols, Codes: upload(tensor.U8, p.Codes, len(p.Codes)), AbsCodes: upload(tensor.U8, p.Nested.Codes, len(p.Nested.Codes)),
		AbsScales: upload(tensor.F32, floats(p.Nested.Scales), len(p.Nested.Scales)), Map: upload(tensor.F32, floats(values[:]), len(values)), Offset: p.Nested.Offset,
	}
	exact := upload(tensor.F32, floats(numbers(most*cols)), most, cols)
	x, y := upload(dt, make([]byte, most*cols*dt.Size()), most, cols), upload(dt, make([]byte, most*rows*dt.Size()), most, rows)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.Copy(x, exact); err != nil {
		return err
	}
	for _, m := range []int{1, 3, most} {
		if err := s.MulQuant4(y.RowRange(0, m), x.RowRange(0, m), q, tensor.Tensor{}, 0); err != nil {
			return err
		}
	}
	return nil
}

// numbers makes up n numbers between −1 and 1.
func numbers(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(int32(uint32(i)*2654435761)) / (1 << 31)
	}
	return x
}
