//go:build !amd64 || noasm

package gemm

var engines = []engine{portable}
