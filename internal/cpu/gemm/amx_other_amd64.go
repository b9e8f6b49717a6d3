//go:build !noasm && !linux

package gemm

// enableAMX reports whether a program may use the registers of AMX, which other systems than Linux were not asked for.
func enableAMX() bool { return false }
