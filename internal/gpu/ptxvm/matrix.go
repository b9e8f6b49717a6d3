package ptxvm

import "encoding/binary"

// loadMatrix decodes ldmatrix: 8×8 matrices of 16-bit elements, whose rows of 16 bytes begin at the addresses that lanes
// 8i to 8i+7 give for matrix i. Lane l receives elements 2(l%4) and 2(l%4)+1 of row l/4, or, transposed, of column l/4.
func (t *translator) loadMatrix(op string, f []string, ops []operand) func(*warp, uint32) {
	n := 1
	if has(f, "x2") {
		n = 2
	} else if has(f, "x4") {
		n = 4
	}
	if len(ops) != 2 || !has(f, "m8n8") || !has(f, "b16") {
		t.bad("unsupported instruction %q", op)
	}
	addr, transposed := ops[1], has(f, "trans")
	var d []int
	if n == 1 && ops[0].vec == nil {
		d = t.regs(op, ops[:1], 1)
	} else {
		d = t.vector(op, ops[0], n)
	}
	t.noteShared(sharedSpace, 16)
	return func(w *warp, m uint32) {
		if m != allLanes {
			if m != 0 {
				fail(lowest(m), "%s needs all lanes, only %#x take part", op, m)
			}
			return
		}
		a := w.r[addr.reg]
		for i, d := range d {
			var rows [8][]byte
			for r := range rows {
				lane := 8*i + r
				rows[r] = w.b.shared.read(w, lane, a[lane]+addr.offset, 16)
			}
			for l := range 32 {
				if transposed {
					r, c := 2*(l&3), 2*(l>>2)
					lo, hi := binary.LittleEndian.Uint16(rows[r][c:]), binary.LittleEndian.Uint16(rows[r+1][c:])
					w.r[d][l] = uint64(lo) | uint64(hi)<<16
				} else {
					w.r[d][l] = uint64(binary.LittleEndian.Uint32(rows[l>>2][4*(l&3):]))
				}
			}
		}
	}
}

// multiply decodes mma.sync.m16n8k16 of bfloat16 with float32 sums: D[16,8] = A[16,16]·B[16,8] + C.
func (t *translator) multiply(op string, ops []operand) func(*warp, uint32) {
	if op != "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" || len(ops) != 4 {
		t.bad("unsupported instruction %q", op)
	}
	d, a, b, c := t.vector(op, ops[0], 4), t.vector(op, ops[1], 4), t.vector(op, ops[2], 2), t.vector(op, ops[3], 4)
	return func(w *warp, m uint32) {
		if m != allLanes {
			if m != 0 {
				fail(lowest(m), "%s needs all lanes, only %#x take part", op, m)
			}
			return
		}
		var x [16][16]float32
		var y [8][16]float32 // by column
		for l := range 32 {
			g, q := l>>2, 2*(l&3)
			for i, r := range a {
				v := w.r[r][l]
				row, col := g+8*(i&1), q+8*(i>>1)
				x[row][col], x[row][col+1] = float(v<<16), float(v&0xffff0000)
			}
			for i, r := range b {
				v := w.r[r][l]
				y[g][q+8*i], y[g][q+8*i+1] = float(v<<16), float(v&0xffff0000)
			}
		}
		var out [4]lanes
		for l := range 32 {
			g, q := l>>2, 2*(l&3)
			for i, r := range c {
				p, o := &x[g+8*(i>>1)], &y[q+i&1]
				s := float(w.r[r][l])
				for k, v := range p {
					s += float32(v * o[k])
				}
				out[i][l] = raw(s)
			}
		}
		for i, r := range d {
			w.r[r] = out[i]
		}
	}
}
