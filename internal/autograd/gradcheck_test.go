package autograd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/tensor"
)

// A gradient check compares the backward pass of an operation with central differences of its forward pass, for every
// input and parameter, through the loss Σ r·y with random r.

// bench is the world of one check: parameters p, inputs x (parameters too, so that the tape gives their gradients: each is
// looked up row by row with Rows-free identity below).
type world struct {
	t      *testing.T
	b      tensor.Backend
	rng    *rand.Rand
	params []*Param
}

func newWorld(t *testing.T) *world {
	return &world{t: t, b: cpu.New(), rng: rand.New(rand.NewPCG(1, 2))}
}

func (w *world) upload(dt tensor.DType, raw []byte, shape ...int) tensor.Tensor {
	w.t.Helper()
	buf, err := w.b.Alloc(int64(len(raw)), tensor.UseBatch)
	if err != nil {
		w.t.Fatal(err)
	}
	x := tensor.New(buf, 0, dt, shape...)
	if err := w.b.Upload(x, raw); err != nil {
		w.t.Fatal(err)
	}
	return x
}

func bytesOf(x []float32) []byte {
	raw := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
	}
	return raw
}

func (w *world) ints(v ...int32) tensor.Tensor {
	raw := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(x))
	}
	return w.upload(tensor.I32, raw, len(v))
}

func (w *world) floats(scale float64, shape ...int) tensor.Tensor {
	n := tensor.New(nil, 0, tensor.F32, shape...).Len()
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(scale * w.rng.NormFloat64())
	}
	return w.upload(tensor.F32, bytesOf(x), shape...)
}

// param makes a trainable parameter around mean with deviation scale.
func (w *world) param(name string, mean, scale float64, shape ...int) *Param {
	p := &Param{Name: name, Shape: shape, Value: w.floats(scale, shape...), Grad: w.floats(0, shape...)}
	v := w.get(p.Value)
	for i := range v {
		v[i] += float32(mean)
	}
	if err := w.b.Upload(p.Value, bytesOf(v)); err != nil {
		w.t.Fatal(err)
	}
	w.params = append(w.params, p)
	return p
}

func (w *world) get(x tensor.Tensor) []float32 {
	w.t.Helper()
	raw := make([]byte, x.Bytes())
	if err := w.b.Download(raw, x); err != nil {
		w.t.Fatal(err)
	}
	out := make([]float32, x.Len())
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}

// input puts a parameter on the tape as a value: the look-up of all rows of a table.
func (w *world) input(t *Tape, p *Param) *Var {
	ids := make([]int32, p.Shape[0])
	for i := range ids {
		ids[i] = int32(i)
	}
	return t.Embedding(p, w.ints(ids...), -1)
}

// gradCase is the check of one operation. build makes parameters and returns the forward function, whose results are
// summed with random weights; a nil result stands for a loss that fn seeded itself, whose value it returns in loss.
type gradCase struct {
	name  string
	build func(w *world) func(t *Tape) (outs []*Var, loss float64)
}

func (c gradCase) run(t *testing.T, recompute bool) {
	w := newWorld(t)
	forward := c.build(w)
	weights := map[int][]float32{}
	key := tensor.RNGKey{Seed: 7, Micro: 3}
	// loss computes the loss in float64; with backward it also leaves gradients.
	loss := func(backward bool) (total float64) {
		tape := NewTape(w.b)
		tape.Recompute = recompute
		err := tape.Step("check", key, func() {
			outs, own := forward(tape)
			total = own
			for i, o := range outs {
				y := w.get(o.Value)
				if weights[i] == nil {
					weights[i] = make([]float32, len(y))
					for j := range weights[i] {
						weights[i][j] = float32(w.rng.NormFloat64())
					}
				}
				for j := range y {
					total += float64(weights[i][j]) * float64(y[j])
				}
				if backward && o.NeedsGrad() {
					g, acc := tape.gradOut(o)
					if acc {
						t.Fatal("output has a gradient already")
					}
					if err := w.b.Upload(g, bytesOf(weights[i])); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !backward {
				tape.backward = tape.backward[:0]
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return total
	}
	if recompute { // what an earlier step left must be overwritten, by whatever contributes first
		for _, p := range w.params {
			p.Stale = true
			rest := make([]float32, p.Grad.Len())
			for i := range rest {
				rest[i] = float32(math.NaN())
			}
			if err := w.b.Upload(p.Grad, bytesOf(rest)); err != nil {
				t.Fatal(err)
			}
		}
	}
	loss(true)
	grads := make([][]float32, len(w.params))
	for i, p := range w.params {
		if grads[i] = make([]float32, p.Grad.Len()); !p.Stale {
			grads[i] = w.get(p.Grad)
		}
	}
	const eps = 4e-3
	for i, p := range w.params {
		v := w.get(p.Value)
		var diff, size float64
		for j := range v {
			old := v[j]
			v[j] = old + eps
			up := v[j]
			w.set(p, v)
			hi := loss(false)
			v[j] = old - eps
			down := v[j]
			w.set(p, v)
			lo := loss(false)
			v[j] = old
			num := (hi - lo) / float64(up-down)
			diff += (num - float64(grads[i][j])) * (num - float64(grads[i][j]))
			size += num * num
		}
		w.set(p, v)
		if size == 0 {
			t.Errorf("%s: the loss does not depend on it", p.Name)
		}
		if err := math.Sqrt(diff / max(size, 1e-12)); !(err < 3e-3) {
			t.Errorf("%s: gradient is off by %.2g of its norm", p.Name, err)
		}
	}
}

func (w *world) set(p *Param, v []float32) {
	if err := w.b.Upload(p.Value, bytesOf(v)); err != nil {
		w.t.Fatal(err)
	}
}

func one(v *Var) ([]*Var, float64) { return []*Var{v}, 0 }

// gradCases lists a check for every method of Tape that makes a Var or a Loss; TestEveryOperationIsChecked holds it to
// that. The key is the method's name.
func gradCases() map[string][]gradCase {
	cases := map[string][]gradCase{
		"Embedding": {{"repeated ids", func(w *world) func(*Tape) ([]*Var, float64) {
			table, ids := w.param("table", 0, 1, 5, 3), w.ints(4, 0, 4, 2, 4)
			return func(t *Tape) ([]*Var, float64) { return one(t.Embedding(table, ids, -1)) }
		}}},
		"Rows": {{"repeated ids", func(w *world) func(*Tape) ([]*Var, float64) {
			x, ids := w.param("x", 0, 1, 5, 3), w.ints(1, 3, 3)
			return func(t *Tape) ([]*Var, float64) { return one(t.Rows(w.input(t, x), ids)) }
		}}},
		"Linear": {
			{"out-in with bias", func(w *world) func(*Tape) ([]*Var, float64) {
				x, wt, b := w.param("x", 0, 1, 5, 7), w.param("w", 0, 1, 3, 7), w.param("b", 0, 1, 3)
				return func(t *Tape) ([]*Var, float64) { return one(t.Linear(w.input(t, x), wt, b, OutIn)) }
			}},
			{"in-out, input used twice", func(w *world) func(*Tape) ([]*Var, float64) {
				x, wt := w.param("x", 0, 1, 5, 4), w.param("w", 0, 1, 4, 4)
				return func(t *Tape) ([]*Var, float64) {
					v := w.input(t, x)
					return one(t.Add(t.Linear(v, wt, nil, InOut), v))
				}
			}},
		},
		"Add": {{"shared gradient", func(w *world) func(*Tape) ([]*Var, float64) {
			x, y := w.param("x", 0, 1, 3, 5), w.param("y", 0, 1, 3, 5)
			return func(t *Tape) ([]*Var, float64) {
				a, b := w.input(t, x), w.input(t, y)
				s := t.Add(a, b)
				// Both inputs share the gradient of s when a second contribution comes to each.
				return one(t.Add(t.Add(s, t.Mul(a, b)), t.Unary(tensor.OpTanh, 0, a)))
			}
		}}},
		"Mul": {{"with itself", func(w *world) func(*Tape) ([]*Var, float64) {
			x, y := w.param("x", 0, 1, 3, 5), w.param("y", 0, 1, 3, 5)
			return func(t *Tape) ([]*Var, float64) {
				a := w.input(t, x)
				return one(t.Mul(t.Mul(a, w.input(t, y)), a))
			}
		}}},
		"Scale": {{"by a constant", func(w *world) func(*Tape) ([]*Var, float64) {
			x := w.param("x", 0, 1, 3, 5)
			return func(t *Tape) ([]*Var, float64) { return one(t.Scale(1.5, w.input(t, x))) }
		}}},
		"Dropout": {{"half", func(w *world) func(*Tape) ([]*Var, float64) {
			x := w.param("x", 0, 1, 8, 9)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				return one(t.Add(t.Dropout(0.5, t.Dropout(0.3, v)), v))
			}
		}}},
		"Noise": {{"by row", func(w *world) func(*Tape) ([]*Var, float64) {
			x := w.param("x", 0, 1, 5, 7)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				return one(t.Mul(t.Noise([]float32{0.5, 0, 2, 1, 0.1}, v), v))
			}
		}}},
		"Layer": {{"two inputs, two outputs, dropout inside", func(w *world) func(*Tape) ([]*Var, float64) {
			x, y, wt := w.param("x", 0, 1, 5, 4), w.param("y", 0, 1, 5, 4), w.param("w", 0, 1, 4, 4)
			return func(t *Tape) ([]*Var, float64) {
				f := func(in []*Var) []*Var {
					h := t.Dropout(0.25, t.Unary(tensor.OpTanh, 0, t.Linear(in[0], wt, nil, OutIn)))
					return []*Var{t.Add(h, in[1]), t.Mul(h, in[0])}
				}
				mid := t.Layer(f, w.input(t, x), w.input(t, y))
				return t.Layer(f, mid...), 0
			}
		}}},
		"Scores": {{"seeded", func(w *world) func(*Tape) ([]*Var, float64) {
			x, h := w.param("x", 0, 1, 6, 5), w.param("head", 0, 1, 2, 5)
			d := w.floats(1, 6, 2)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				y := t.Scores(t.Add(v, v), h)
				t.Seed(y, d)
				t.Seed(y, d) // adds to what is there
				var sum float64
				for i, dy := range w.get(d) {
					sum += 2 * float64(dy) * float64(w.get(y.Value)[i])
				}
				return nil, sum
			}
		}}},
		"LinearCrossEntropy":     headCases(false),
		"LinearLogProbs":         headCases(true),
		"LinearLogProbsBackward": headCases(true),
	}
	for op := range tensor.NumUnaryOps {
		cases["Unary"] = append(cases["Unary"], gradCase{op.String(), func(w *world) func(*Tape) ([]*Var, float64) {
			// Away from 0, where ReLU has no derivative.
			x := w.param("x", 0.7, 0.15, 4, 5)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				return one(t.Add(t.Unary(op, 1.3, v), t.Unary(op, 0.4, t.Scale(1, v))))
			}
		}})
	}
	for _, op := range []tensor.UnaryOp{tensor.OpSiLU, tensor.OpGELUTanh, tensor.OpGELU} {
		cases["Gate"] = append(cases["Gate"], gradCase{op.String(), func(w *world) func(*Tape) ([]*Var, float64) {
			g, u := w.param("gate", 0, 1, 3, 5), w.param("up", 0, 1, 3, 5)
			return func(t *Tape) ([]*Var, float64) {
				gv := w.input(t, g)
				return one(t.Add(t.Gate(op, gv, w.input(t, u)), gv))
			}
		}})
		cases["GateSplit"] = append(cases["GateSplit"], gradCase{op.String(), func(w *world) func(*Tape) ([]*Var, float64) {
			x := w.param("x", 0, 1, 3, 10)
			return func(t *Tape) ([]*Var, float64) { return one(t.GateSplit(op, w.input(t, x))) }
		}})
	}
	for name, spec := range map[string]tensor.NormSpec{
		"rms": {Kind: tensor.RMSNorm, Eps: 1e-5}, "rms 1+w": {Kind: tensor.RMSNorm, Eps: 1e-5, PlusOne: true}, "layer": {Kind: tensor.LayerNorm, Eps: 1e-5},
	} {
		cases["Norm"] = append(cases["Norm"], gradCase{name, func(w *world) func(*Tape) ([]*Var, float64) {
			x, wt := w.param("x", 0.3, 1, 4, 6), w.param("w", 1, 0.3, 6)
			var b *Param
			if spec.Kind == tensor.LayerNorm {
				b = w.param("b", 0, 1, 6)
			}
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				return one(t.Add(t.Norm(spec, v, wt, b), v))
			}
		}})
	}
	cases["Norm"] = append(cases["Norm"], gradCase{"heads", func(w *world) func(*Tape) ([]*Var, float64) {
		x, wt := w.param("x", 0, 1, 4, 6), w.param("w", 1, 0.3, 3)
		return func(t *Tape) ([]*Var, float64) {
			return one(t.Norm(tensor.NormSpec{Eps: 1e-5}, w.input(t, x), wt, nil))
		}
	}})
	cases["Rope"] = []gradCase{{"fused, two parts", func(w *world) func(*Tape) ([]*Var, float64) {
		x := w.param("x", 0, 1, 5, 20)
		table, pos := w.floats(1, 7, 4), w.ints(0, 1, 2, 0, 6)
		return func(t *Tape) ([]*Var, float64) {
			// Scale keeps the looked-up rows apart from the memory that Rope takes over.
			v := t.Scale(1, w.input(t, x))
			s := tensor.RopeSpec{HeadDim: 5, RotaryDim: 4}
			y := t.Rope(s, v, table, pos, RopePart{0, 2}, RopePart{10, 1})
			return one(t.Add(y, y))
		}
	}}}
	cases["Attention"] = attentionCases()
	cases["LowRank"] = lowRankCases(func(t *Tape, x *Var, w, b *Param, layout Layout, l *LowRank) *Var {
		return t.LowRank(t.Linear(x, w, b, layout), x, l)
	})
	cases["Linears"], cases["DoRA"] = append(lowRankCases(func(t *Tape, x *Var, w, b *Param, layout Layout, l *LowRank) *Var {
		return t.Linears(x, LinearLayer{w, b, layout, l})[0]
	}), linearsCase()), doraCases()
	return cases
}

func attentionCases() (cases []gradCase) {
	base := tensor.AttnSpec{Seqs: 2, MaxQ: 4, MaxK: 4, Heads: 4, KVHeads: 2, HeadDim: 3, Causal: true, Scale: 0.6}
	for name, change := range map[string]func(*tensor.AttnSpec){
		"causal":  func(*tensor.AttnSpec) {},
		"full":    func(s *tensor.AttnSpec) { s.Causal = false },
		"window":  func(s *tensor.AttnSpec) { s.Window = 2 },
		"softcap": func(s *tensor.AttnSpec) { s.SoftCap = 1.5 },
		"dropout": func(s *tensor.AttnSpec) { s.Dropout = 0.3 },
	} {
		cases = append(cases, gradCase{name, func(w *world) func(*Tape) ([]*Var, float64) {
			s := base
			change(&s)
			q, k, v := w.param("q", 0, 1, 7, 12), w.param("k", 0, 1, 7, 6), w.param("v", 0, 1, 7, 6)
			s.CuQ = w.ints(0, 3, 7)
			s.CuK = s.CuQ
			return func(t *Tape) ([]*Var, float64) {
				return one(t.Attention(s, Part{Var: w.input(t, q)}, Part{Var: w.input(t, k)}, Part{Var: w.input(t, v)}, nil))
			}
		}})
	}
	for _, heads := range []int{1, 4} { // one bias for two layers, as T5 has it
		cases = append(cases, gradCase{fmt.Sprintf("bias of %d", heads), func(w *world) func(*Tape) ([]*Var, float64) {
			s := base
			s.SoftCap, s.Dropout = 2.5, 0.2
			x, b := w.param("x", 0, 1, 7, 24), w.param("bias", 0, 1, heads, 16)
			s.CuQ = w.ints(0, 3, 7)
			s.CuK = s.CuQ
			return func(t *Tape) ([]*Var, float64) {
				f, bias := w.input(t, x), w.input(t, b)
				bias.Value = bias.Value.View(heads, 4, 4)
				one := t.Attention(s, Part{f, 0}, Part{f, 12}, Part{f, 18}, bias)
				return []*Var{one, t.Attention(s, Part{Var: one}, Part{f, 12}, Part{f, 18}, bias)}, 0
			}
		}})
	}
	return append(cases, gradCase{"fused, used twice", func(w *world) func(*Tape) ([]*Var, float64) {
		s := base
		x := w.param("qkv", 0, 1, 7, 24)
		s.CuQ = w.ints(0, 3, 7)
		s.CuK = s.CuQ
		return func(t *Tape) ([]*Var, float64) {
			f := w.input(t, x)
			return []*Var{t.Attention(s, Part{f, 0}, Part{f, 12}, Part{f, 18}, nil), t.Scale(0.5, f)}, 0
		}
	}})
}

// headCases check the chunked head: 70 rows make several chunks of the smallest size only with a large vocabulary, so
// chunkLogits is what it is and the rows are few; TestHeadChunksAgree covers chunking.
func headCases(twoPass bool) []gradCase {
	var cases []gradCase
	for name, spec := range map[string]tensor.CESpec{
		"plain": {IgnoreIndex: -100}, "softcap": {IgnoreIndex: -100, SoftCap: 2}, "smoothing": {IgnoreIndex: -100, Smoothing: 0.2},
	} {
		cases = append(cases, gradCase{name, func(w *world) func(*Tape) ([]*Var, float64) {
			x, wt := w.param("x", 0, 1, 6, 4), w.param("w", 0, 1, 9, 4)
			targets, drow := w.ints(3, -100, 0, 8, 5, 5), w.floats(1, 6)
			weights := w.floats(1, 6)
			return func(t *Tape) ([]*Var, float64) {
				v := w.input(t, x)
				var sum float64
				if twoPass {
					l := t.LinearLogProbs(spec, v, wt, targets)
					t.LinearLogProbsBackward(spec, l, v, wt, targets, drow)
					rows, d := w.get(l.Rows), w.get(drow)
					for i := range d {
						sum += float64(d[i]) * float64(rows[i*tensor.CECols+tensor.CELogp])
					}
					return nil, sum
				}
				l := t.LinearCrossEntropy(spec, v, wt, targets, weights)
				return nil, -float64(w.get(l.Sums)[tensor.CELogp])
			}
		}})
	}
	return cases
}

func TestGradients(t *testing.T) {
	for method, cases := range gradCases() {
		for _, c := range cases {
			for _, recompute := range []bool{false, true} {
				name := method + "/" + c.name
				if recompute {
					name += "/recompute"
				}
				t.Run(name, func(t *testing.T) { c.run(t, recompute) })
			}
		}
	}
}

// notDifferentiated are methods whose result no gradient flows through.
var notDifferentiated = map[string]bool{"Const": true, "LinearLogProbsScaled": true}

func TestEveryOperationIsChecked(t *testing.T) {
	cases := gradCases()
	typ := reflect.TypeOf(&Tape{})
	makes := map[reflect.Type]bool{reflect.TypeOf(&Var{}): true, reflect.TypeOf([]*Var{}): true, reflect.TypeOf(Loss{}): true}
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		for o := range m.Type.NumOut() {
			if makes[m.Type.Out(o)] && !notDifferentiated[m.Name] && len(cases[m.Name]) == 0 {
				t.Errorf("Tape.%s has no gradient check", m.Name)
			}
		}
	}
}

// The padding row takes part in the forward pass, so differences see it, but its gradient stays what it was.
func TestEmbeddingPadding(t *testing.T) {
	w := newWorld(t)
	table, ids := w.param("table", 0, 1, 3, 2), w.ints(1, 0, 1, 2)
	if err := w.b.Upload(table.Grad, bytesOf([]float32{0, 0, 5, 6, 0, 0})); err != nil {
		t.Fatal(err)
	}
	tape := NewTape(w.b)
	err := tape.Step("padding", tensor.RNGKey{}, func() {
		y := tape.Embedding(table, ids, 1)
		g, _ := tape.gradOut(y)
		if err := w.b.Upload(g, bytesOf([]float32{1, 1, 2, 2, 3, 3, 4, 4})); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.get(table.Grad), []float32{2, 2, 5, 6, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("gradient %v, want %v", got, want)
	}
}
