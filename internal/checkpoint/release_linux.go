package checkpoint

import (
	"os"
	"syscall"
)

// release tells the system that the pages that lie in from … to of a mapped file are not needed for now, so that they do not count
// as the process's memory. They are read again from the file when they are.
func release(m []byte, from, to int64) {
	page := int64(os.Getpagesize())
	from, to = (from+page-1)/page*page, to/page*page
	if from < to {
		_ = syscall.Madvise(m[from:to], syscall.MADV_DONTNEED) // advice: nothing depends on it
	}
}
