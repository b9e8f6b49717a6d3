//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// peakRSS returns the largest resident memory of this process so far in bytes, or 0 if the system does not say.
func peakRSS() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" { // bytes there, KiB elsewhere
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) * 1024
}
