package vec

import "github.com/mltrain/mltrain/internal/quant"

// nf4Pairs are the values of both codes of a byte.
var nf4Pairs = func() (t [256][2]float32) {
	for i := range t {
		t[i] = [2]float32{quant.NF4[i>>4], quant.NF4[i&15]}
	}
	return t
}()

func nf4(y []float32, codes []byte, k float32) {
	for i, c := range codes[:len(y)/2] {
		p := &nf4Pairs[c]
		y[2*i], y[2*i+1] = p[0]*k, p[1]*k
	}
}

// NF4Rows is the most rows of x that DotsNF4 takes.
const NF4Rows = 8

// EvenOdd puts of each 32 elements of x those at even places first, in y, as Ops.DotsNF4 wants them: the codes of two neighbours share
// a byte.
func EvenOdd(y, x []float32) {
	for ; len(x) >= 32; x, y = x[32:], y[32:] {
		even, odd, pairs := y[:16:16], y[16:32:32], x[:32:32]
		for i := range even {
			even[i], odd[i] = pairs[2*i], pairs[2*i+1]
		}
	}
}
