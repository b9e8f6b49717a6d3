// Package infer runs models without gradients: batched prefill and decoding with a key-value cache, sampling, and the
// log-likelihood of given text.
package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/mltrain/mltrain/internal/autograd"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
	"github.com/mltrain/mltrain/internal/tensor"
)

// forwardTokens bounds the tokens of one forward pass: longer prompts are read in pieces.
const forwardTokens = 1024

// Engine is a model that generates and scores.
type Engine struct {
	b     tensor.Backend
	m     model.Model
	store *nn.Store
	tape  *autograd.Tape
	host  []byte
	// numbers is what was downloaded last: the logits of a batch are megabytes for each token.
	numbers []float32
	ids     tensor.Tensor // room for the integers of a batch
	cache   cache
	draft   drafting
	// session is whose tokens the cache holds, if anybody's.
	session *Session
}

// New loads a model, all of it frozen. positions bounds the length of a sequence; 0 means the model's own maximum.
func New(b tensor.Backend, configJSON []byte, src nn.Source, positions int) (*Engine, error) {
	return NewAdapted(b, configJSON, src, nil, positions)
}

// NewAdapted is New for a model with an adapter; nil is none. The adapter's source must stay open as long as the engine.
func NewAdapted(b tensor.Backend, configJSON []byte, src nn.Source, adapter *nn.Adapter, positions int) (*Engine, error) {
	builder := nn.NewBuilder(nn.Options{Source: src, Frozen: func(string) bool { return true }, Ignore: model.Ignored, Adapter: adapter})
	m, err := model.New(configJSON, builder, model.Options{Positions: positions, Dropout: model.NoDropout()})
	if err != nil {
		return nil, err
	}
	if err := builder.CheckTied(m.Head().W, m.Info().TiedHead); err != nil {
		return nil, err
	}
	store, err := builder.Load(b, 0)
	if err != nil {
		return nil, err
	}
	return Of(b, m, store), nil
}

// Of wraps a model whose weights are loaded already, such as one in training.
func Of(b tensor.Backend, m model.Model, store *nn.Store) *Engine {
	return &Engine{b: b, m: m, store: store, tape: autograd.NewTape(b)}
}

// Model returns the model.
func (e *Engine) Model() model.Model { return e.m }

// Close frees the weights and the cache.
func (e *Engine) Close() {
	e.Release()
	e.store.Close()
}

// Release frees all but the weights: what an engine has of its own when it wraps a model of somebody else's. The engine must not
// be used afterwards.
func (e *Engine) Release() {
	e.cache.free(e.b)
	e.tape.Close()
	if !e.ids.IsZero() {
		e.b.Free(e.ids.Buf)
		e.ids = tensor.Tensor{}
	}
}

// ErrToken is matched by errors about token ids outside the vocabulary.
var ErrToken = errors.New("token id outside the vocabulary")

func (e *Engine) checkIDs(seqs [][]int32) error {
	v := e.m.Info().VocabSize
	for s, ids := range seqs {
		if len(ids) == 0 {
			return fmt.Errorf("sequence %d is empty: a model needs at least one token to start from", s)
		}
		for i, id := range ids {
			if id < 0 || int(id) >= v {
				return fmt.Errorf("%w: sequence %d, position %d: id %d, the model has %d", ErrToken, s, i, id, v)
			}
		}
	}
	return nil
}

// checkLength refuses sequences that are too long for learned positions.
func (e *Engine) checkLength(n int) error {
	if info := e.m.Info(); info.LearnedPositions && n > info.MaxPositions {
		return fmt.Errorf("a sequence of %d tokens is too long: the model has %d learned positions", n, info.MaxPositions)
	}
	return nil
}

// ints uploads several lists of integers next to each other and returns a tensor for each.
func (e *Engine) ints(lists ...[]int32) ([]tensor.Tensor, error) {
	n := 0
	for _, l := range lists {
		n += (len(l) + 63) / 64 * 64
	}
	if e.ids.IsZero() || e.ids.Len() < n {
		if !e.ids.IsZero() {
			e.b.Free(e.ids.Buf)
		}
		n = max(n, 1024)
		buf, err := e.b.Alloc(int64(4*n), tensor.UseBatch)
		if err != nil {
			return nil, err
		}
		e.ids = tensor.New(buf, 0, tensor.I32, n)
		e.host = make([]byte, 4*n)
	}
	out := make([]tensor.Tensor, len(lists))
	off := 0
	for i, l := range lists {
		out[i] = e.ids.Slice(off, off+len(l))
		if err := nn.UploadInts(e.b, out[i], l, e.host); err != nil {
			return nil, err
		}
		off += (len(l) + 63) / 64 * 64
	}
	return out, nil
}

// download returns the numbers of x, which are valid until the next call.
func (e *Engine) download(x tensor.Tensor) ([]float32, error) {
	e.numbers = slices.Grow(e.numbers[:0], x.Len())[:x.Len()]
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(e.numbers))), 4*x.Len())
	return e.numbers, e.b.Download(raw, x)
}

// head computes the logits [R,V] of rows of hidden states.
func (e *Engine) head(h *autograd.Var) tensor.Tensor {
	head := e.m.Head()
	y := e.tape.Linear(h, head.W, nil, autograd.OutIn)
	if head.SoftCap > 0 {
		y = e.tape.Unary(tensor.OpSoftcap, head.SoftCap, y)
	}
	return y.Value
}

// TokenScore is what the model thought of a given token.
type TokenScore struct {
	LogProb float64 // natural log of its probability
	Greedy  bool    // it is the most likely one
}

// Score returns, for each sequence, the scores of its tokens from the second on, each given those before it.
func (e *Engine) Score(ctx context.Context, seqs [][]int32) ([][]TokenScore, error) {
	if err := e.checkIDs(seqs); err != nil {
		return nil, err
	}
	out := make([][]TokenScore, len(seqs))
	for lo := 0; lo < len(seqs); {
		hi, tokens := lo, 0
		for hi < len(seqs) && (hi == lo || tokens+len(seqs[hi]) <= forwardTokens) {
			tokens += len(seqs[hi])
			hi++
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := e.scoreBatch(seqs[lo:hi], out[lo:hi]); err != nil {
			return nil, err
		}
		lo = hi
	}
	return out, nil
}

func (e *Engine) scoreBatch(seqs [][]int32, out [][]TokenScore) error {
	var tokens, pos, rows, targets []int32
	cu := []int32{0}
	longest := 0
	for _, ids := range seqs {
		if err := e.checkLength(len(ids)); err != nil {
			return err
		}
		for i, id := range ids {
			if i+1 < len(ids) {
				rows, targets = append(rows, int32(len(tokens))), append(targets, ids[i+1])
			}
			tokens, pos = append(tokens, id), append(pos, int32(i))
		}
		cu = append(cu, int32(len(tokens)))
		longest = max(longest, len(ids))
	}
	x, err := e.ints(tokens, pos, cu, rows, targets)
	if err != nil {
		return err
	}
	var scores []float32
	err = e.tape.Run("score", func() {
		b := &nn.Batch{Tokens: x[0], Positions: x[1], CuSeqs: x[2], Seqs: len(seqs), MaxLen: longest}
		h := e.tape.Rows(e.m.Forward(e.tape, b), x[3])
		head := e.m.Head()
		l := e.tape.LinearLogProbs(tensor.CESpec{IgnoreIndex: -1, SoftCap: head.SoftCap}, h, head.W, x[4])
		if scores, err = e.download(l.Rows); err != nil {
			e.tape.Fail("score", err)
		}
	})
	if err != nil {
		return err
	}
	for s, ids := range seqs {
		out[s] = make([]TokenScore, len(ids)-1)
		for i := range out[s] {
			row := scores[:tensor.CECols]
			out[s][i] = TokenScore{float64(row[tensor.CELogp]), row[tensor.CECorrect] > 0}
			scores = scores[tensor.CECols:]
		}
	}
	return nil
}
