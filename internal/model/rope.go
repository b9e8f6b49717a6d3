package model

import (
	"math"

	"github.com/mltrain/mltrain/internal/nn"
)

// rope describes rotary frequencies: position p turns pair i by p·invFreq[i]; cosines and sines are multiplied by factor.
type rope struct {
	invFreq []float32
	factor  float64
}

// ropeParams reads the rotary parameters of a layer type from either spelling of config.json: rope_parameters (newer), or
// rope_theta with rope_scaling.
func ropeParams(c *config, layerType string) (p *config, theta float64) {
	def := c.floatOr("rope_theta", 10000)
	if c.has("rope_parameters") {
		p = c.sub("rope_parameters")
		if layerType != "" && p.has(layerType) {
			p = p.sub(layerType)
		}
		return p, p.floatOr("rope_theta", def)
	}
	if c.has("rope_scaling") {
		return c.sub("rope_scaling"), def
	}
	return &config{nil, c.path + "rope_scaling.", c.faults}, def
}

// newRope computes the frequencies for rotary dimension dim as transformers does (modeling_rope_utils), in float32.
// Types: default, linear (Chen et al., 2023), dynamic (NTK-aware, by the number of positions), yarn (Peng et al., 2023),
// llama3 (Llama 3.1).
func newRope(c, p *config, theta float64, dim, positions int) rope {
	typ := p.str("rope_type", p.str("type", "default"))
	maxPos := c.intOr("max_position_embeddings", positions)
	r := rope{factor: 1}
	switch typ {
	case "default", "linear", "llama3":
		r.invFreq = inverseFrequencies(theta, dim)
	case "dynamic":
		f := p.float("factor")
		n := float64(max(positions, maxPos))
		theta *= math.Pow(f*n/float64(maxPos)-(f-1), float64(dim)/float64(dim-2))
		r.invFreq = inverseFrequencies(theta, dim)
	case "yarn":
		return yarn(c, p, theta, dim)
	default:
		p.fault("rope_type", "%q is not supported; supported are default, linear, dynamic, yarn, llama3", typ)
		return r
	}
	switch typ {
	case "linear":
		f := float32(p.float("factor"))
		for i := range r.invFreq {
			r.invFreq[i] /= f
		}
	case "llama3":
		llama3(p, r.invFreq)
	}
	return r
}

// inverseFrequencies returns θ^(−2i/dim).
func inverseFrequencies(theta float64, dim int) []float32 {
	inv := make([]float32, dim/2)
	for i := range inv {
		inv[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
	}
	return inv
}

// llama3 divides low frequencies by factor, keeps high ones, and blends between.
func llama3(p *config, inv []float32) {
	factor, low, high := p.float("factor"), p.float("low_freq_factor"), p.float("high_freq_factor")
	orig := float64(p.int("original_max_position_embeddings"))
	for i, f := range inv {
		wavelen := 2 * math.Pi / float64(f)
		switch {
		case wavelen > orig/low:
			inv[i] = float32(float64(f) / factor)
		case wavelen >= orig/high:
			s := (orig/wavelen - low) / (high - low)
			inv[i] = float32((1-s)*float64(f)/factor + s*float64(f))
		}
	}
}

// yarn interpolates low frequencies, keeps high ones, ramps between, and scales by the attention factor.
func yarn(c, p *config, theta float64, dim int) rope {
	orig := float64(p.intOr("original_max_position_embeddings", c.int("max_position_embeddings")))
	factor := p.floatOr("factor", float64(c.int("max_position_embeddings"))/orig)
	mscale := func(m float64) float64 {
		if factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(factor) + 1
	}
	att := mscale(1)
	if m, all := p.floatOr("mscale", 0), p.floatOr("mscale_all_dim", 0); m != 0 && all != 0 {
		att = mscale(m) / mscale(all)
	}
	att = p.floatOr("attention_factor", att)
	bound := func(rotations float64) float64 {
		return float64(dim) * math.Log(orig/(rotations*2*math.Pi)) / (2 * math.Log(theta))
	}
	lo, hi := bound(p.floatOr("beta_fast", 32)), bound(p.floatOr("beta_slow", 1))
	if p.bool("truncate", true) {
		lo, hi = math.Floor(lo), math.Ceil(hi)
	}
	lo, hi = max(lo, 0), min(hi, float64(dim-1))
	if lo == hi {
		hi += 0.001
	}
	inv := inverseFrequencies(theta, dim)
	for i, f := range inv {
		ramp := min(1, max(0, (float64(i)-lo)/(hi-lo)))
		inv[i] = float32(float64(f)/factor*ramp + float64(f)*(1-ramp))
	}
	return rope{inv, att}
}

// table asks for the cosines and sines of positions 0 … n−1: [n, 2·len(invFreq)], cosines first. The angle is rounded to
// float32 first, as transformers computes it.
func (r rope) table(b *nn.Builder, n int) *nn.Table {
	half := len(r.invFreq)
	return b.Table(n, 2*half, func() []float32 {
		t := make([]float32, n*2*half)
		for p := range n {
			row := t[p*2*half:]
			for i, f := range r.invFreq {
				sin, cos := math.Sincos(float64(float32(p) * f))
				row[i] = float32(cos) * float32(r.factor)
				row[half+i] = float32(sin) * float32(r.factor)
			}
		}
		return t
	})
}
