//go:build !unix

package vec

import "testing"

func guarded(_ *testing.T, n int) []float32 { return make([]float32, n) }
