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
