package ptxvm

import "fmt"

// Fault is a kernel's breach of the rules that the package comment lists.
type Fault struct {
	Kernel string
	Line   int    // of the PTX text, from 1
	Text   string // the instruction
	Block  [3]int
	Thread [3]int
	Why    string
}

// Error names the place and the reason.
func (f *Fault) Error() string {
	return fmt.Sprintf("ptxvm: kernel %s, line %d (%s), block %v, thread %v: %s", f.Kernel, f.Line, f.Text, f.Block, f.Thread, f.Why)
}

// abort is what a breach panics with inside of the interpreter; runBlock turns it into a Fault.
type abort struct {
	lane int
	why  string
}

// fail ends the launch on behalf of a lane.
func fail(lane int, format string, args ...any) {
	panic(abort{lane, fmt.Sprintf(format, args...)})
}
