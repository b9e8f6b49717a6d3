package vec

func siLU(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		y[i] = v / (1 + Exp(-v))
	}
}

func siLUBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		dx[i] = dy[i] * siLUD1(v)
	}
}

func gelu(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		y[i] = 0.5 * v * (1 + erf1(v*sqrtHalf))
	}
}

func geluBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		dx[i] = dy[i] * geluD1(v)
	}
}

func geluTanh(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		y[i] = geluTanh1(v)
	}
}

func geluTanhBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		dx[i] = dy[i] * geluTanhD1(v)
	}
}

func relu(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
}

func reluBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		if v > 0 {
			dx[i] = dy[i]
		} else {
			dx[i] = 0
		}
	}
}

func tanh(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		y[i] = tanh1(v)
	}
}

func tanhBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		t := tanh1(v)
		dx[i] = dy[i] * (1 - t*t)
	}
}

func sigmoid(y, x []float32, _ float32) {
	for i, v := range x[:len(y)] {
		y[i] = sigmoid1(v)
	}
}

func sigmoidBwd(dx, dy, x []float32, _ float32) {
	for i, v := range x[:len(dx)] {
		s := sigmoid1(v)
		dx[i] = dy[i] * s * (1 - s)
	}
}

func softcap(y, x []float32, k float32) {
	inv := 1 / k
	for i, v := range x[:len(y)] {
		y[i] = k * tanh1(v*inv)
	}
}

func softcapBwd(dx, dy, x []float32, k float32) {
	inv := 1 / k
	for i, v := range x[:len(dx)] {
		t := tanh1(v * inv)
		dx[i] = dy[i] * (1 - t*t)
	}
}

func swiGLU(y, gate, up []float32) {
	up = up[:len(y)]
	for i, v := range gate[:len(y)] {
		y[i] = v / (1 + Exp(-v)) * up[i]
	}
}

func swiGLUBwd(dgate, dup, dy, gate, up []float32) {
	n := len(dgate)
	dup, dy, up = dup[:n], dy[:n], up[:n]
	for i, v := range gate[:n] {
		s := sigmoid1(v)
		d, u := dy[i], up[i]
		dup[i] = d * v * s
		dgate[i] = d * u * (s + v*s*(1-s))
	}
}
