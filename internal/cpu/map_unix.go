//go:build unix

package cpu

import "syscall"

// mapMemory returns n zeroed bytes from the system, aligned to a page.
func mapMemory(n int) ([]byte, error) {
	m, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		adviseHuge(m)
	}
	return m, err
}

// unmapMemory cannot fail for a mapping of mapMemory's that is unmapped once.
func unmapMemory(m []byte) { _ = syscall.Munmap(m) }
