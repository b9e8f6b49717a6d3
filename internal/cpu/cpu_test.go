package cpu

import (
	"testing"

	"github.com/mltrain/mltrain/internal/backendtest"
	"github.com/mltrain/mltrain/internal/cpu/vec"
)

// levels are the instruction sets of this machine; with -short, only the best.
func levels() []vec.Level {
	if testing.Short() {
		return []vec.Level{vec.Best(vec.LevelAVX512).Level}
	}
	var l []vec.Level
	for level := vec.LevelPortable; level <= vec.Best(vec.LevelAVX512).Level; level++ {
		l = append(l, level)
	}
	return l
}

func TestConformance(t *testing.T) {
	for _, level := range levels() {
		t.Run(level.String(), func(t *testing.T) { backendtest.RunAll(t, New(WithLevel(level))) })
	}
}

func BenchmarkKernels(b *testing.B) { backendtest.Bench(b, New()) }
