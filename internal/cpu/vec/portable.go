package vec

import (
	"math"

	"github.com/mltrain/mltrain/internal/tensor"
)

// Reductions run in eight independent chains, for speed and for accuracy.

func dot(x, y []float32) float32 {
	y = y[:len(x)]
	var s [8]float32
	i := 0
	for ; i+8 <= len(x); i += 8 {
		a, b := x[i:i+8:i+8], y[i:i+8:i+8]
		s[0] += a[0] * b[0]
		s[1] += a[1] * b[1]
		s[2] += a[2] * b[2]
		s[3] += a[3] * b[3]
		s[4] += a[4] * b[4]
		s[5] += a[5] * b[5]
		s[6] += a[6] * b[6]
		s[7] += a[7] * b[7]
	}
	for ; i < len(x); i++ {
		s[i&7] += x[i] * y[i]
	}
	return fold(&s)
}

func fold(s *[8]float32) float32 {
	return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}

func sum(x []float32) float32 {
	var s [8]float32
	i := 0
	for ; i+8 <= len(x); i += 8 {
		a := x[i : i+8 : i+8]
		s[0] += a[0]
		s[1] += a[1]
		s[2] += a[2]
		s[3] += a[3]
		s[4] += a[4]
		s[5] += a[5]
		s[6] += a[6]
		s[7] += a[7]
	}
	for ; i < len(x); i++ {
		s[i&7] += x[i]
	}
	return fold(&s)
}

func sumSq(x []float32) float32 { return dot(x, x) }

func sumSqDev(x []float32, mean float32) float32 {
	var s [8]float32
	i := 0
	for ; i+8 <= len(x); i += 8 {
		a := x[i : i+8 : i+8]
		for j := range s {
			d := a[j] - mean
			s[j] += d * d
		}
	}
	for ; i < len(x); i++ {
		d := x[i] - mean
		s[i&7] += d * d
	}
	return fold(&s)
}

func maxOf(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func expSum(y, x []float32, max float32) float32 {
	x = x[:len(y)]
	var s [8]float32
	for i, v := range x {
		e := Exp(v - max)
		y[i] = e
		s[i&7] += e
	}
	return fold(&s)
}

func add(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func sub(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] - b[i]
	}
}

func mul(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] * b[i]
	}
}

func mulAdd(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] += a[i] * b[i]
	}
}

func scale(y, x []float32, k float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = k * x[i]
	}
}

func axpy(y, x []float32, k float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += k * x[i]
	}
}

func addConst(y, x []float32, k float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = x[i] + k
	}
}

func norm(y, x, w []float32, mean, rstd float32) {
	x, w = x[:len(y)], w[:len(y)]
	for i := range y {
		y[i] = (x[i] - mean) * rstd * w[i]
	}
}

func normDots(dy, x, w []float32, mean, rstd float32) (s1, s2 float32) {
	x, w = x[:len(dy)], w[:len(dy)]
	var a, b [8]float32
	for i := range dy {
		g := dy[i] * w[i]
		a[i&7] += g
		b[i&7] += g * ((x[i] - mean) * rstd)
	}
	return fold(&a), fold(&b)
}

func normBwd(dx, dy, x, w []float32, mean, rstd, c1, c2 float32) {
	dy, x, w = dy[:len(dx)], x[:len(dx)], w[:len(dx)]
	for i := range dx {
		dx[i] = rstd * (dy[i]*w[i] - c1 - (x[i]-mean)*rstd*c2)
	}
}

func normBwdW(dw, dy, x []float32, mean, rstd float32) {
	dy, x = dy[:len(dw)], x[:len(dw)]
	for i := range dw {
		dw[i] += dy[i] * ((x[i] - mean) * rstd)
	}
}

func rotate(y1, y2, x1, x2, c, s []float32, sign float32) {
	n := len(y1)
	y2, x1, x2, c, s = y2[:n], x1[:n], x2[:n], c[:n], s[:n]
	for i := range y1 {
		a, b, sn := x1[i], x2[i], s[i]*sign
		y1[i] = a*c[i] - b*sn
		y2[i] = b*c[i] + a*sn
	}
}

func tile(c []float32, ldc int, a []float32, rs, cs int, b []float32, ldb, m, n, k int, acc bool) {
	for i := range m {
		row := c[i*ldc : i*ldc+n : i*ldc+n]
		if !acc {
			clear(row)
		}
		j := 0
		for ; j+4 <= k; j += 4 {
			p := i*rs + j*cs
			a0, a1, a2, a3 := a[p], a[p+cs], a[p+2*cs], a[p+3*cs]
			b0, b1, b2, b3 := b[j*ldb:][:n], b[(j+1)*ldb:][:n], b[(j+2)*ldb:][:n], b[(j+3)*ldb:][:n]
			for l := range row {
				row[l] += a0*b0[l] + a1*b1[l] + a2*b2[l] + a3*b3[l]
			}
		}
		for ; j < k; j++ {
			axpy(row, b[j*ldb:], a[i*rs+j*cs])
		}
	}
}

func transpose(y []float32, ldy int, x []float32, ldx, rows, cols int) {
	for i := range rows {
		for j, v := range x[i*ldx : i*ldx+cols] {
			y[j*ldy+i] = v
		}
	}
}

func scaleRows(y []float32, ldy int, k []float32, rows, n int) {
	for i := range rows {
		row := y[i*ldy : i*ldy+n]
		scale(row, row, k[i])
	}
}

func adamW(w, m, v, g []float32, p AdamArgs) {
	m, v, g = m[:len(w)], v[:len(w)], g[:len(w)]
	for i := range w {
		d := g[i]*p.GScale + p.L2*w[i]
		x := w[i] - p.Decay*w[i]
		mi := p.B1*m[i] + p.C1*d
		vi := p.B2*v[i] + p.C2*d*d
		m[i], v[i] = mi, vi
		w[i] = x - p.LR*mi/(float32(math.Sqrt(float64(vi)))/p.Root+p.Eps)
	}
}

func fromBF16(y []float32, x []uint16) {
	x = x[:len(y)]
	for i, h := range x {
		y[i] = FromBF16Bits(h)
	}
}

func fromBF16Rows(y []float32, ldy int, x []uint16, ldx, rows, n int) {
	for i := range rows {
		fromBF16(y[i*ldy:i*ldy+n], x[i*ldx:])
	}
}

func toBF16(y []uint16, x []float32) {
	x = x[:len(y)]
	for i, f := range x {
		y[i] = BF16(f)
	}
}

func softmaxTile(s []float32, rows, n int, m, l, alpha []float32) {
	m, l, alpha = m[:n], l[:n], alpha[:n]
	copy(alpha, m)
	for j := range rows {
		for i, v := range s[j*n : j*n+n] {
			if v > m[i] {
				m[i] = v
			}
		}
	}
	for i, old := range alpha {
		alpha[i] = Exp(old - finite(m[i]))
		l[i] *= alpha[i]
	}
	for j := range rows {
		row := s[j*n : j*n+n]
		for i, v := range row {
			e := Exp(v - finite(m[i]))
			row[i] = e
			l[i] += e
		}
	}
}

// finite replaces −∞, the maximum of nothing, by 0, so that exp(−∞ − it) is 0.
func finite(m float32) float32 {
	if m < -math.MaxFloat32 {
		return 0
	}
	return m
}

func expTile(s []float32, rows, n int, m []float32) {
	for j := range rows {
		row := s[j*n : j*n+n]
		for i, v := range row {
			row[i] = Exp(v - m[i])
		}
	}
}

func scoreGradTile(d, p []float32, rows, n int, delta []float32) {
	for j := range rows {
		row, pr := d[j*n:j*n+n], p[j*n:j*n+n]
		for i := range row {
			row[i] = pr[i] * (row[i] - delta[i])
		}
	}
}

func keep(y []float32, key tensor.RNGKey, first uint64, threshold uint32, scale float32) {
	for i := 0; i < len(y); {
		at := first + uint64(i)
		words := key.Philox(at / 4)
		for w := int(at % 4); w < 4 && i < len(y); w++ {
			y[i] = scale
			if words[w] < threshold {
				y[i] = 0
			}
			i++
		}
	}
}
