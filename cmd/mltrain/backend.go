package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/gpu"
	"github.com/mltrain/mltrain/internal/gpu/cuda"
	"github.com/mltrain/mltrain/internal/tensor"
)

// The devices that a run can name; auto chooses.
const (
	deviceAuto     = "auto"
	deviceCPU      = "cpu"
	deviceCUDA     = "cuda"
	deviceEmulator = "emulator"
)

// deviceNames are the values of --device.
func deviceNames() []string { return []string{deviceAuto, deviceCPU, deviceCUDA, deviceEmulator} }

// newBackend returns the device that a name means. Where the program has a CUDA driver built in and auto finds no GPU to
// use, one line of the log says why the CPU computes.
func newBackend(log *slog.Logger, device string) (tensor.Backend, error) {
	o, err := cudaOptions()
	if err != nil {
		return nil, err
	}
	switch device {
	case deviceCPU:
		return cpu.New(), nil
	case deviceEmulator:
		return gpu.NewEmulator()
	case deviceCUDA:
		d, err := cuda.Open(0, o)
		if err != nil {
			return nil, fmt.Errorf("device cuda: %w; use cpu, or see 'mltrain devices'", err)
		}
		return onGPU(log, d)
	case deviceAuto:
		d, err := cuda.Open(0, o)
		if err == nil {
			return onGPU(log, d)
		}
		if !errors.Is(err, cuda.ErrNotBuilt) {
			log.Info("computing on the CPU", "why", err)
		}
		return cpu.New(), nil
	}
	return nil, usageErrorf("no device %q: want auto, cpu, cuda or emulator", device)
}

// onGPU returns the backend on a GPU. Where cuBLASLt was looked for in vain, the log says so.
func onGPU(log *slog.Logger, d gpu.Driver) (tensor.Backend, error) {
	if l := cuda.LibraryOf(d); l.Problem != "" {
		log.Info("products of matrices are mltrain's own kernels'", "why", l.Problem)
	}
	return gpu.New(d)
}

// cudaOptions reads from the environment how products are made on a GPU.
func cudaOptions() (cuda.Options, error) {
	switch v := os.Getenv(cuda.EnvLibrary); v {
	case "", "on":
		return cuda.Options{}, nil
	case "off":
		return cuda.Options{OwnProducts: true}, nil
	default:
		return cuda.Options{}, usageErrorf("%s: expected on or off, found %q", cuda.EnvLibrary, v)
	}
}

// chooseFormats sets what the config leaves to the device: bfloat16 on the GPU's kernels, recomputation on a GPU.
func chooseFormats(cfg *config.Config, b tensor.Backend) {
	if _, ok := b.(*gpu.Backend); !ok {
		return
	}
	cfg.BF16 = config.Given(cfg.BF16.Or(true))
	cfg.GradientCheckpointing = config.Given(cfg.GradientCheckpointing.Or(b.Name() != deviceEmulator))
}
