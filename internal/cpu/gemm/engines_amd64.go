//go:build !noasm

package gemm

var engines = []engine{portable}
