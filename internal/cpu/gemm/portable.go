package gemm

import "unsafe"

var portable = engine{name: "portable", mr: 4, nr: 4, blocking: standard, pack: packPortable, mul: mulPortable,
	peakF32: peakPortable, peakBF16: peakPortable}

// mulPortable computes 4×4 tiles in two halves of 4×2, whose sums fit the sixteen registers of an amd64.
func mulPortable(t *tile, rows, cols int) {
	for n := range t.n {
		a0, b0 := unsafe.Add(t.a, n*t.nextA), unsafe.Add(t.b, n*t.nextB)
		for half := 0; half < cols; half += 2 {
			var c00, c01, c10, c11, c20, c21, c30, c31 float32
			for k := range t.k {
				a := (*[4]float32)(unsafe.Add(a0, k*t.stepA))
				b := (*[2]float32)(unsafe.Add(b0, k*t.stepB+4*half))
				x, y := b[0], b[1]
				c00 += a[0] * x
				c01 += a[0] * y
				c10 += a[1] * x
				c11 += a[1] * y
				c20 += a[2] * x
				c21 += a[2] * y
				c30 += a[3] * x
				c31 += a[3] * y
			}
			sums := [4][2]float32{{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}}
			for r := range rows {
				for q := range min(2, cols-half) {
					t.store(sums[r][q], n, r, half+q)
				}
			}
		}
	}
}

func packPortable(o *operand, dst []uint32, width, lane, lanes, k, elems int) {
	steps := elems
	if o.kind.isPair() {
		steps = (elems + 1) / 2
	}
	for done := 0; done < lanes; done += width {
		panel := dst[:width*steps]
		dst = dst[width*steps:]
		n := min(width, lanes-done)
		if n < width {
			clear(panel)
		}
		switch {
		case o.kind.isPair():
			packPairs(o, panel, width, lane+done, n, k, elems)
		case o.contig:
			for l := range n {
				packLane(o, panel[l:], width, o.at(lane+done+l, k), elems)
			}
		default:
			for step := range steps {
				packLane(o, panel[step*width:], 1, o.at(lane+done, k+step), n)
			}
		}
	}
}

// packLane converts n adjacent elements at src to every stride-th word of dst.
func packLane(o *operand, dst []uint32, stride int, src unsafe.Pointer, n int) {
	switch o.kind {
	case copyF32:
		row := unsafe.Slice((*uint32)(src), n)
		if stride == 1 {
			copy(dst, row)
			return
		}
		for i, v := range row {
			dst[i*stride] = v
		}
	case widenBF16:
		for i, v := range unsafe.Slice((*uint16)(src), n) {
			dst[i*stride] = uint32(v) << 16
		}
	case roundF32:
		for i, v := range unsafe.Slice((*float32)(src), n) {
			dst[i*stride] = uint32(round(v)) << 16
		}
	}
}

// packPairs is packing to pairs element by element, for what the vector code leaves over.
func packPairs(o *operand, panel []uint32, width, lane, lanes, k, elems int) {
	half := func(lane, k int) uint32 {
		if o.kind == pairBF16 {
			return uint32(*(*uint16)(o.at(lane, k)))
		}
		return uint32(round(*(*float32)(o.at(lane, k))))
	}
	for l := range lanes {
		for e := 0; e < elems; e += 2 {
			word := half(lane+l, k+e)
			if e+1 < elems {
				word |= half(lane+l, k+e+1) << 16
			}
			panel[e/2*width+l] = word
		}
	}
}
