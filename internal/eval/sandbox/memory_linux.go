package sandbox

import (
	"bytes"
	"os"
	"strconv"
)

// memoryOf adds up the memory, in bytes, that what descends from a process holds: pages of
// its own and shared ones without a file. Processes that end meanwhile count nothing.
func memoryOf(pid int) int64 {
	total := int64(0)
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		dir := "/proc/" + strconv.Itoa(queue[0])
		if queue[0] != pid {
			total += resident(dir)
		}
		tasks, err := os.ReadDir(dir + "/task")
		if err != nil {
			continue
		}
		for _, t := range tasks {
			raw, err := os.ReadFile(dir + "/task/" + t.Name() + "/children")
			if err != nil {
				continue
			}
			for _, f := range bytes.Fields(raw) {
				if child, err := strconv.Atoi(string(f)); err == nil {
					queue = append(queue, child)
				}
			}
		}
	}
	return total
}

func resident(dir string) int64 {
	raw, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0
	}
	total := int64(0)
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("RssAnon:")) || bytes.HasPrefix(line, []byte("RssShmem:")) {
			if f := bytes.Fields(line); len(f) > 1 {
				kib, _ := strconv.ParseInt(string(f[1]), 10, 64)
				total += kib << 10
			}
		}
	}
	return total
}
