package ptxvm

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Module is a translated PTX text.
type Module struct {
	kernels map[string]*Kernel
	symbols map[string]uint64 // module variables, as generic addresses
	extern  map[string]bool   // names of dynamic shared memory
	consts  []byte

	operations map[string]operation // what instructions do, by name
	functions  map[string]func(float32) float32
}

// Kernel is an entry of a module.
type Kernel struct {
	Name string

	module    *Module
	params    map[string]uint64
	paramSize int
	code      []instr
	regs      int              // registers of a lane, constants and special registers included
	preds     int              // predicate registers
	constants map[uint64]int   // register that holds a number
	specials  map[string]int   // register that holds a special register
	shared    int              // bytes of static shared memory
	symbols   map[string]int64 // shared and local variables
	local     int              // bytes of local memory of a thread
	maxBlock  int              // most threads of a block, 0 if not given
	granule   int              // bytes of the smallest access to shared memory
	ordered   bool             // has atomic operations on global memory: blocks run one after another

	pool sync.Pool // *block
}

// instr is a decoded instruction.
type instr struct {
	kind   kind
	line   int
	text   string
	pred   int // predicate register that guards it, −1 if none
	negate bool
	target int   // branches
	table  []int // brx.idx: targets
	arg    int   // register of brx.idx
	sync   int   // register that names the lanes of a warp-wide instruction; allSync or noSync
	do     func(w *warp, m uint32)
}

// Values of instr.sync.
const (
	allSync = -1 // all lanes
	noSync  = -2
)

type kind uint8

const (
	kindDo kind = iota
	kindBranch
	kindTable
	kindExit
	kindBarrier
	kindWarpBarrier
)

// Load translates a PTX text.
func Load(src string) (m *Module, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*ParseError)
			if !ok {
				panic(r)
			}
			m, err = nil, e
		}
	}()
	m = &Module{kernels: map[string]*Kernel{}, symbols: map[string]uint64{}, extern: map[string]bool{}, operations: operations(), functions: specialFunctions()}
	list := statements(src)
	for i := 0; i < len(list); i++ {
		s := list[i]
		switch {
		case directive(s.text):
		case strings.Contains(s.text, ".entry"):
			end := closing(list, i+1)
			k := m.entry(s, list[i+2:end])
			if m.kernels[k.Name] != nil {
				bad(s.line, "kernel %s is defined twice", k.Name)
			}
			m.kernels[k.Name] = k
			i = end
		case strings.Contains(s.text, ".func"):
			bad(s.line, "functions are not supported: inline them")
		default:
			m.variable(s)
		}
	}
	return m, nil
}

// Kernel returns the kernel of that name, or nil.
func (m *Module) Kernel(name string) *Kernel { return m.kernels[name] }

// Kernels returns the number of kernels.
func (m *Module) Kernels() int { return len(m.kernels) }

// closing returns the index of the brace that closes the one at index i.
func closing(list []statement, i int) int {
	if i >= len(list) || list[i].text != "{" {
		bad(list[i-1].line, "a kernel without a body")
	}
	depth := 0
	for j := i; j < len(list); j++ {
		switch list[j].text {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				return j
			}
		}
	}
	bad(list[i].line, "a brace without end")
	return 0
}

var (
	reVariable = regexp.MustCompile(`^(?:\.(?:visible|extern|weak|common) )?\.(shared|const|global|local)\s+(?:\.align (\d+) )?\.(\w+) ([\w$.]+)\s*(\[(\d*)\])?\s*(?:= ?(.*))?$`)
	reEntry    = regexp.MustCompile(`^(?:\.\w+ )?\.entry ([\w$]+)\s*\((.*)\)(.*)$`)
	reParam    = regexp.MustCompile(`^\.param (?:\.align (\d+) )?\.(\w+)(?: \.ptr(?: \.\w+)?(?: \.align \d+)?)? ([\w$]+)(?:\[(\d+)\])?$`)
	reTune     = regexp.MustCompile(`\.(maxntid|reqntid) (\d+)(?:, ?(\d+))?(?:, ?(\d+))?`)
)

// variable is one declared in a state space.
type variable struct {
	space, name string
	align       int
	elem, count int
	unsized     bool
	init        string
}

func parseVariable(s statement) variable {
	g := reVariable.FindStringSubmatch(s.text)
	if g == nil {
		bad(s.line, "unknown directive %q", s.text)
	}
	v := variable{space: g[1], name: g[4], align: 1, elem: typeSize(g[3]), count: 1, init: g[7]}
	if v.elem == 0 {
		bad(s.line, "unknown type %q", g[3])
	}
	v.align = v.elem
	if g[2] != "" {
		v.align = count(s.line, g[2])
	}
	if v.align == 0 || v.align&(v.align-1) != 0 {
		bad(s.line, "alignment %d is no power of two", v.align)
	}
	if g[5] != "" {
		if v.unsized = g[6] == ""; !v.unsized {
			v.count = count(s.line, g[6])
		}
	}
	return v
}

// count parses a size of at most 2²⁴.
func count(line int, s string) int {
	n, err := strconv.ParseUint(s, 10, 24)
	if err != nil {
		bad(line, "bad size %q", s)
	}
	return int(n)
}

func align(n, a int) int { return (n + a - 1) &^ (a - 1) }

// variable declares a module variable.
func (m *Module) variable(s statement) {
	v := parseVariable(s)
	switch {
	case v.space == "shared" && v.unsized:
		m.extern[v.name] = true
		return
	case v.space == "const" || v.space == "global" && v.init != "":
	default:
		bad(s.line, "module variable %s: only constants and dynamic shared memory are supported", v.name)
	}
	at := align(len(m.consts), v.align)
	m.symbols[v.name] = constBase + uint64(at)
	m.consts = append(m.consts, make([]byte, at-len(m.consts)+v.elem*v.count)...)
	values := splitList(strings.Trim(v.init, "{} "))
	if len(values) > v.count {
		bad(s.line, "%s has %d values for %d elements", v.name, len(values), v.count)
	}
	for i, text := range values {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], number(s.line, text))
		copy(m.consts[at+i*v.elem:], b[:v.elem])
	}
}

// number parses a literal; floating-point ones give their bits.
func number(line int, s string) uint64 {
	t := strings.TrimSuffix(s, "U")
	if len(t) > 2 && t[0] == '0' {
		switch t[1] {
		case 'f', 'F':
			if x, err := strconv.ParseUint(t[2:], 16, 32); err == nil && len(t) == 10 {
				return x
			}
			bad(line, "bad number %q", s)
		case 'd', 'D':
			if x, err := strconv.ParseUint(t[2:], 16, 64); err == nil && len(t) == 18 {
				return x
			}
			bad(line, "bad number %q", s)
		}
	}
	if x, err := strconv.ParseInt(t, 0, 64); err == nil {
		return uint64(x)
	}
	x, err := strconv.ParseUint(t, 0, 64)
	if err != nil {
		bad(line, "bad number %q", s)
	}
	return x
}

// entry translates a kernel.
func (m *Module) entry(head statement, body []statement) *Kernel {
	g := reEntry.FindStringSubmatch(head.text)
	if g == nil {
		bad(head.line, "bad kernel %q", head.text)
	}
	k := &Kernel{
		Name: g[1], module: m, params: map[string]uint64{}, constants: map[uint64]int{}, specials: map[string]int{},
		symbols: map[string]int64{}, granule: 16,
	}
	for _, p := range splitList(g[2]) {
		q := reParam.FindStringSubmatch(p)
		if q == nil || typeSize(q[2]) == 0 {
			bad(head.line, "bad parameter %q", p)
		}
		size := typeSize(q[2])
		a := size
		if q[1] != "" {
			a = count(head.line, q[1])
		}
		if q[4] != "" {
			size *= count(head.line, q[4])
		}
		if a == 0 || a&(a-1) != 0 {
			bad(head.line, "bad alignment of parameter %q", p)
		}
		at := align(k.paramSize, a)
		k.params[q[3]] = uint64(at)
		k.paramSize = at + size
	}
	if t := reTune.FindStringSubmatch(g[3]); t != nil {
		k.maxBlock = 1
		for _, n := range t[2:] {
			if n != "" {
				k.maxBlock *= count(head.line, n)
			}
		}
	}
	translate(k, body)
	return k
}

// ParamSize returns the bytes of the parameter block, as C lays the parameters out.
func (k *Kernel) ParamSize() int { return k.paramSize }

// Shared returns the bytes of static shared memory.
func (k *Kernel) Shared() int { return k.shared }

// Local returns the bytes of local memory that a thread uses: spills and arrays with computed indices.
func (k *Kernel) Local() int { return k.local }

// String names the kernel and its size.
func (k *Kernel) String() string {
	return fmt.Sprintf("%s: %d instructions, %d registers, %d bytes of shared memory", k.Name, len(k.code), k.regs, k.shared)
}
