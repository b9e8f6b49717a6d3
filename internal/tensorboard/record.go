package tensorboard

import (
	"encoding/binary"
	"hash/crc32"
)

// A record of a TFRecord file is its length (uint64, little endian), a checksum of the length, the data, and a checksum of the
// data. Checksums are CRC-32C, rotated and shifted by a constant so that checksums of checksums stay of use.

const recordHead, recordTail = 12, 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func appendRecord(dst, data []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(data)))
	dst = binary.LittleEndian.AppendUint32(dst, masked(dst[start:start+8]))
	dst = append(dst, data...)
	return binary.LittleEndian.AppendUint32(dst, masked(data))
}

// nextRecord splits the first record off. It is not ok if the record is damaged or cut off.
func nextRecord(file []byte) (data, rest []byte, ok bool) {
	if len(file) < recordHead+recordTail || binary.LittleEndian.Uint32(file[8:]) != masked(file[:8]) {
		return nil, nil, false
	}
	size := binary.LittleEndian.Uint64(file)
	if size > uint64(len(file)-recordHead-recordTail) {
		return nil, nil, false
	}
	end := recordHead + int(size)
	data = file[recordHead:end]
	if binary.LittleEndian.Uint32(file[end:]) != masked(data) {
		return nil, nil, false
	}
	return data, file[end+recordTail:], true
}

// upTo returns the leading sound records whose step is at most step.
func upTo(file []byte, step int64) []byte {
	var kept []byte
	for {
		data, rest, ok := nextRecord(file)
		if !ok {
			return kept
		}
		if s, ok := stepOf(data); ok && s <= step {
			kept = append(kept, file[:len(file)-len(rest)]...)
		}
		file = rest
	}
}
