//go:build unix

package hub

import (
	"os"
	"syscall"
)

// tryLock takes the lock that huggingface_hub takes (flock); ok is false while another process has it.
func tryLock(f *os.File) (ok bool, err error) {
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
	case nil:
		return true, nil
	case syscall.EWOULDBLOCK, syscall.EINTR:
		return false, nil
	default:
		return false, err
	}
}
