package main

import (
	"fmt"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/tensor"
)

// newBackend returns the device that a name means.
func newBackend(device string) (tensor.Backend, error) {
	switch device {
	case "auto", "cpu":
		return cpu.New(), nil
	}
	return nil, fmt.Errorf("device %s is not available in this version; use cpu", device)
}
