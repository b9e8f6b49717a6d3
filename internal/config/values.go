package config

import (
	"fmt"
	"math"
	"strconv"
)

// Auto is a value that is either given or left to the program, which knows
// better once model and device are known. In YAML the latter is written auto.
type Auto[T any] struct {
	given bool
	value T
}

// Given returns an Auto that holds v.
func Given[T any](v T) Auto[T] { return Auto[T]{given: true, value: v} }

// IsAuto reports whether the choice is left to the program.
func (a Auto[T]) IsAuto() bool { return !a.given }

// Or returns the value that was given, or else v.
func (a Auto[T]) Or(v T) T {
	if a.given {
		return a.value
	}
	return v
}

// Get returns the value and whether one was given.
func (a Auto[T]) Get() (T, bool) { return a.value, a.given }

// String returns the value as YAML writes it.
func (a Auto[T]) String() string {
	if !a.given {
		return autoText
	}
	return fmt.Sprint(a.value)
}

const autoText = "auto"

// Steps is a number of optimiser steps or, below 1, a part of the run.
type Steps float64

// Of returns the number of steps in a run of total steps. A part of the run is
// rounded up, as transformers does; any Steps above 0 is at least one step.
func (s Steps) Of(total int) int {
	switch {
	case s <= 0:
		return 0
	case s < 1:
		return max(1, int(math.Ceil(float64(s)*float64(total))))
	}
	return int(s)
}

// String returns s as YAML writes it.
func (s Steps) String() string { return strconv.FormatFloat(float64(s), 'g', -1, 64) }

// AllLinear is the Pattern of [Targets] for every linear layer but the head.
const AllLinear = "all-linear"

// Targets says which modules get an adapter: either a Pattern, which is
// AllLinear or a regular expression that must match the whole dotted name, or
// Names, each of which matches modules whose dotted name ends in it.
type Targets struct {
	Pattern string
	Names   []string
}

// IsAllLinear reports whether every linear layer but the head is meant.
func (t Targets) IsAllLinear() bool { return t.Pattern == AllLinear }

// Resume says whether and from where training continues. The zero value
// starts afresh; On with an empty Path means the newest good checkpoint in the
// output directory.
type Resume struct {
	On   bool
	Path string
}

// String returns r as YAML writes it.
func (r Resume) String() string {
	if r.Path != "" {
		return r.Path
	}
	return strconv.FormatBool(r.On)
}
