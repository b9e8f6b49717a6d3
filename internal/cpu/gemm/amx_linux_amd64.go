//go:build !noasm

package gemm

import "syscall"

// enableAMX asks the operating system for the registers of AMX, which it gives a process only then, for all its threads, and reports whether it
// agrees. Linux saves them around signal handlers if the handlers' stack has room, which it checks now and Go's has.
func enableAMX() bool {
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // the number of the registers' component in the saved state
	)
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
