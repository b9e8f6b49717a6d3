package sandbox

import (
	"bytes"
	"os"
	"strconv"
)

// memoryOf adds up the memory, in bytes, that a process and all that descend from it hold
// in the machine's memory. Processes that end meanwhile count nothing.
func memoryOf(pid int) int64 {
	total := int64(0)
	page := int64(os.Getpagesize())
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		dir := "/proc/" + strconv.Itoa(queue[0])
		if raw, err := os.ReadFile(dir + "/statm"); err == nil && queue[0] != pid {
			if f := bytes.Fields(raw); len(f) > 2 {
				resident, _ := strconv.ParseInt(string(f[1]), 10, 64)
				shared, _ := strconv.ParseInt(string(f[2]), 10, 64)
				total += (resident - shared) * page
			}
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
