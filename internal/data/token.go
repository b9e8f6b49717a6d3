package data

import (
	"fmt"
	"math"
)

// IgnoreIndex is the target of a position that carries no loss.
const IgnoreIndex = -100

// A stored token is its id in the low 24 bits and its loss weight, in hundredths, in the high 8: four bytes a token, weights
// included.
const (
	maxTokenID = 1<<24 - 1
	weightOne  = 100
	weightUnit = 100
)

// weightCode turns a loss weight into hundredths; it must be 0…2.55 and a multiple of 0.01.
func weightCode(w float64) (uint8, error) {
	c := math.Round(w * weightUnit)
	if !(c >= 0 && c <= math.MaxUint8) || math.Abs(c-w*weightUnit) > 1e-4 {
		return 0, fmt.Errorf("loss weight %v must be between 0 and 2.55, in steps of 0.01", w)
	}
	return uint8(c), nil
}

func packToken(id int32, code uint8) uint32 { return uint32(id) | uint32(code)<<24 }
func tokenID(t uint32) int32                { return int32(t & maxTokenID) }
func tokenCode(t uint32) uint8              { return uint8(t >> 24) }
