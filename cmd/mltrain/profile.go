package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
)

// startProfiles writes a CPU profile, an execution trace and, at the end, a heap profile into dir; "" writes none. The
// result ends them.
func startProfiles(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	cpuFile, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	traceFile, err := os.Create(filepath.Join(dir, "trace.out"))
	if err != nil {
		return nil, errors.Join(err, cpuFile.Close())
	}
	if err := errors.Join(pprof.StartCPUProfile(cpuFile), trace.Start(traceFile)); err != nil {
		return nil, errors.Join(err, cpuFile.Close(), traceFile.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		trace.Stop()
		return errors.Join(cpuFile.Close(), traceFile.Close(), writeHeap(filepath.Join(dir, "heap.pprof")))
	}, nil
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}
