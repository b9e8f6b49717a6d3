package cpu

import "syscall"

// adviseHuge asks for large pages, which save misses of the translation buffer in matrix products. It is only advice.
func adviseHuge(m []byte) { _ = syscall.Madvise(m, syscall.MADV_HUGEPAGE) }
