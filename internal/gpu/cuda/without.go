//go:build !(cuda && linux && (amd64 || arm64))

package cuda

import "github.com/mltrain/mltrain/internal/gpu"

// Open returns ErrNotBuilt.
func Open(int, Options) (gpu.Driver, error) { return nil, ErrNotBuilt }

// Probe says that there is nothing.
func Probe() Driver { return Driver{Devices: []Device{}, Problem: ErrNotBuilt.Error()} }

// FindLibrary says that there is none.
func FindLibrary() Library { return Library{Problem: ErrNotBuilt.Error()} }
