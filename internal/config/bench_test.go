package config

import "testing"

// BenchmarkLoad reads the full-size example, as every command does at its start.
func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(LoadOptions{Command: "sft", Path: "../../configs/sft-full.yaml"}); err != nil {
			b.Fatal(err)
		}
	}
}
