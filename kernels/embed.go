// Package kernels holds mltrain's GPU kernels: CUDA C++ in *.cu and *.cuh, and the PTX that clang makes of it, which
// is embedded in the program. build.sh (make ptx) compiles them; a test holds that the two belong together.
package kernels

import (
	"embed"
	"strings"
)

//go:embed ptx/*.ptx
var files embed.FS

// PTX returns the texts of the compiled kernels by the name of their source: "gemm", "norm", ….
func PTX() (map[string]string, error) {
	entries, err := files.ReadDir("ptx")
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, e := range entries {
		b, err := files.ReadFile("ptx/" + e.Name())
		if err != nil {
			return nil, err
		}
		texts[strings.TrimSuffix(e.Name(), ".ptx")] = string(b)
	}
	return texts, nil
}
