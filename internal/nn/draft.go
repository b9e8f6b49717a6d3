package nn

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// The rounded form of weights (autograd.Param.Draft), with which a model drafts tokens for itself: see package infer.

// int8RowsLeast is the fewest rows of a tensor.Int8Rows.
const int8RowsLeast = 4

// DraftInfo is about the matrices of linear layers and heads.
type DraftInfo struct {
	Whole, Draft int64 // their bytes as they are, and as a draft reads them, where some have no rounded form
	Added        int64 // bytes of the rounded forms that Draft would add
	InOut        bool  // some are held [in,out]
	Quantised    bool  // some are held in four bits
}

// DraftInfo looks at the matrices of linear layers and of heads.
func (s *Store) DraftInfo(heads ...*autograd.Param) (d DraftInfo) {
	for _, w := range s.Weights {
		if !w.multiplies(heads) {
			continue
		}
		d.InOut = d.InOut || w.inOut
		if w.Quant != nil {
			d.Quantised = true
			continue
		}
		d.Whole += w.Value.Bytes()
		if !w.rounds() {
			d.Draft += w.Value.Bytes()
			continue
		}
		n := int64(elements(w.Shape)) + 4*int64(w.draftRows())
		d.Draft += n
		if w.Draft == nil {
			d.Added += n
		}
	}
	return d
}

// Draft rounds the matrices of linear layers and of heads, and keeps both. The rounded ones are of now: when weights change, they do
// not.
func (s *Store) Draft(b tensor.Drafter, heads ...*autograd.Param) error {
	for _, w := range s.Weights {
		if !w.multiplies(heads) || !w.rounds() || w.Draft != nil {
			continue
		}
		rows := w.draftRows()
		cols := elements(w.Shape) / rows
		codes, err := s.alloc(int64(rows*cols), tensor.UseDraft)
		if err != nil {
			return err
		}
		scales, err := s.alloc(int64(4*rows), tensor.UseDraft)
		if err != nil {
			return err
		}
		q := tensor.Int8Rows{Codes: tensor.New(codes, 0, tensor.I8, rows, cols), Scales: tensor.New(scales, 0, tensor.F32, rows)}
		if err := b.EncodeInt8(q, w.Value, w.inOut); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		w.Draft = &q
	}
	return nil
}

// multiplies tells whether the weight is one of a linear layer or a head.
func (w *Weight) multiplies(heads []*autograd.Param) bool {
	if w.linear {
		return true
	}
	for _, h := range heads {
		if h == &w.Param {
			return true
		}
	}
	return false
}

// rounds tells whether the weight can have a rounded form.
func (w *Weight) rounds() bool {
	return w.Quant == nil && !w.whole && len(w.Shape) == 2 && w.draftRows() >= int8RowsLeast
}

func (w *Weight) draftRows() int {
	if w.inOut {
		return w.Shape[1]
	}
	return w.Shape[0]
}
