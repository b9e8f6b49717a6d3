package checkpoint

import "github.com/mltrain/mltrain/internal/tensor"

// dtypeBits is the width of one element of every dtype that the safetensors format defines. A file may name others (the
// format grows): their tensors are listed, but their size cannot be checked against their shape.
var dtypeBits = map[string]int64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
	"I16": 16, "U16": 16, "F16": 16, "BF16": 16,
	"I32": 32, "U32": 32, "F32": 32,
	"C64": 64, "F64": 64, "I64": 64, "U64": 64,
}

// ParseDType gives the tensor type of a safetensors dtype name. It is false for the types that mltrain does not compute
// with (F64, I64, BOOL, the F8 family, …).
func ParseDType(name string) (tensor.DType, bool) {
	switch name {
	case "F32":
		return tensor.F32, true
	case "BF16":
		return tensor.BF16, true
	case "F16":
		return tensor.F16, true
	case "I32":
		return tensor.I32, true
	case "U8":
		return tensor.U8, true
	}
	return tensor.Invalid, false
}

// readableDTypes names, for messages, what ParseDType accepts.
const readableDTypes = "F32, BF16, F16, I32, U8"

// dtypeName is the inverse of ParseDType; it is "" for a value outside it.
func dtypeName(d tensor.DType) string {
	switch d {
	case tensor.F32:
		return "F32"
	case tensor.BF16:
		return "BF16"
	case tensor.F16:
		return "F16"
	case tensor.I32:
		return "I32"
	case tensor.U8:
		return "U8"
	}
	return ""
}
