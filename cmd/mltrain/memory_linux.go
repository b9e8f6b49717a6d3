package main

import (
	"os"
	"strconv"
	"strings"
)

// availableMemory returns the bytes that this process can still take: what the system has available, or what its control group
// leaves if that is less. 0 means unknown.
func availableMemory() int64 {
	free := int64(0)
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
				free = n * 1024
			}
		}
	}
	limit, used := readCount("/sys/fs/cgroup/memory.max"), readCount("/sys/fs/cgroup/memory.current")
	used -= fileCache("/sys/fs/cgroup/memory.stat")
	if left := limit - used; limit > 0 && left > 0 && (free == 0 || left < free) {
		return left
	}
	return free
}

// fileCache returns the bytes of files that a control group holds in memory: they count as used, and are given up when they are needed.
func fileCache(path string) (n int64) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 2 && (f[0] == "inactive_file" || f[0] == "active_file") {
			k, _ := strconv.ParseInt(f[1], 10, 64)
			n += k
		}
	}
	return n
}

// readCount reads a file with one number; 0 where there is none.
func readCount(path string) int64 {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	return n
}
