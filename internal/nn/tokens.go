package nn

import (
	"slices"
	"strings"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/tensor"
)

// tokenTable is an embedding of which some rows are trained, as PEFT's trainable_token_indices.
type tokenTable struct {
	table, rows *Weight
	oneHot      *Table
	ids         tensor.Tensor // int32 [n]
}

// trainTokens gives an embedding its trained rows, if the adapter has some and it is the one of the tokens.
func (b *Builder) trainTokens(w *Weight, module string, vocab, dim int) {
	a := b.adapter
	peft := b.peftName(module)
	names := []string{"embed_tokens", "wte"}
	if a.TokensOf != "" {
		names = []string{a.TokensOf}
	}
	if len(a.Tokens) == 0 || !slices.ContainsFunc(names, func(n string) bool { return peft == n || strings.HasSuffix(peft, "."+n) }) {
		return
	}
	if w.LowRank != nil || w.AdapterName != "" {
		b.Fault("%s: both in trainable_token_indices and in target_modules or modules_to_save; keep one", peft)
		return
	}
	for i, id := range a.Tokens {
		if id < 0 || id >= vocab {
			b.Fault("trainable_token_indices: %d: the model has the tokens 0 to %d", id, vocab-1)
			return
		}
		if slices.Contains(a.Tokens[:i], id) {
			b.Fault("trainable_token_indices: %d stands there twice", id)
			return
		}
	}
	rows := b.adapterParam(module, "token_adapter.trainable_tokens_delta", Init{}, false, len(a.Tokens), dim)
	oneHot := b.Table(vocab, len(a.Tokens), func() []float32 {
		x := make([]float32, vocab*len(a.Tokens))
		for i, id := range a.Tokens {
			x[id*len(a.Tokens)+i] = 1
		}
		return x
	})
	if oneHot.dtype = f32; b.opts.BF16 {
		oneHot.dtype = bf16
	}
	w.residual = true // it is written to
	w.Tokens = &autograd.TokenRows{Rows: rows, IDs: a.Tokens}
	a.tokens = append(a.tokens, &tokenTable{table: w, rows: b.byName[rows.Name], oneHot: oneHot})
}

// allocTokens gives the trained rows' places their memory.
func (s *Store) allocTokens(tables []*tokenTable) error {
	for _, t := range tables {
		t.table.Tokens.OneHot = t.oneHot.Value
		n := len(t.table.Tokens.IDs)
		buf, err := s.alloc(int64(4*n), tensor.UseTables)
		if err != nil {
			return err
		}
		t.ids = tensor.New(buf, 0, tensor.I32, n)
		s.fill = append(s.fill, func(uint64) error {
			ids := make([]int32, n)
			for i, id := range t.table.Tokens.IDs {
				ids[i] = int32(id)
			}
			return UploadInts(s.b, t.ids, ids, make([]byte, 4*n))
		})
	}
	s.tokens = tables
	return nil
}

// startTokens gives new trained rows the values that the table has.
func (s *Store) startTokens() error {
	for _, t := range s.tokens {
		for i, id := range t.table.Tokens.IDs {
			row := t.table.Value.RowRange(id, id+1)
			raw := make([]byte, row.Bytes())
			if err := s.b.Download(raw, row); err != nil {
				return err
			}
			if err := s.uploadFloats(t.rows.Master.RowRange(i, i+1), widen(raw, row.DType, row.Len())); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutTokens writes trained rows into their tables. It follows every update of the parameters.
func (s *Store) PutTokens() error {
	for _, t := range s.tokens {
		if err := s.b.PutRows(t.table.Value, t.rows.Master, t.rows.Shape[1], t.ids); err != nil {
			return err
		}
	}
	return nil
}
