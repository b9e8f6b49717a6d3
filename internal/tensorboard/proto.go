package tensorboard

import (
	"encoding/binary"
	"math"
)

// message is a protobuf message in the making, in wire format (protobuf.dev/programming-guides/encoding). The numbers of the
// fields are those of TensorFlow's event.proto, summary.proto and tensor.proto.
type message []byte

// The wire types that events use.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

func (m *message) tag(field, wire int) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|uint64(wire))
}

func (m *message) varint(field int, v int64) {
	m.tag(field, wireVarint)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) double(field int, v float64) {
	m.tag(field, wire64)
	*m = binary.LittleEndian.AppendUint64(*m, math.Float64bits(v))
}

func (m *message) float(field int, v float32) {
	m.tag(field, wire32)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

func (m *message) bytes(field int, v []byte) {
	m.tag(field, wireBytes)
	*m = binary.AppendUvarint(*m, uint64(len(v)))
	*m = append(*m, v...)
}

func (m *message) text(field int, v string) { m.bytes(field, []byte(v)) }

// doubles writes a packed repeated field.
func (m *message) doubles(field int, v []float64) {
	var packed []byte
	for _, x := range v {
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(x))
	}
	m.bytes(field, packed)
}

// stepOf reads the step of an encoded event; ok is false for what is no event. An event without a step is of step 0.
func stepOf(event []byte) (step int64, ok bool) {
	for len(event) > 0 {
		key, n := binary.Uvarint(event)
		if n <= 0 {
			return 0, false
		}
		event = event[n:]
		skip := 0
		switch key & 7 {
		case wireVarint:
			v, n := binary.Uvarint(event)
			if n <= 0 {
				return 0, false
			}
			if key>>3 == 2 {
				step = int64(v)
			}
			skip = n
		case wire64:
			skip = 8
		case wire32:
			skip = 4
		case wireBytes:
			size, n := binary.Uvarint(event)
			if n <= 0 || size > uint64(len(event)-n) {
				return 0, false
			}
			skip = n + int(size)
		default:
			return 0, false
		}
		if skip > len(event) {
			return 0, false
		}
		event = event[skip:]
	}
	return step, true
}
