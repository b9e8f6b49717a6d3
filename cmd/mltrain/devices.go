package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mltrain/mltrain/internal/cpu"
	"github.com/mltrain/mltrain/internal/gpu/cuda"
	"github.com/mltrain/mltrain/internal/plan"
)

// DevicesResult says what this machine can compute with.
type DevicesResult struct {
	// Auto is the device that a run takes if none is named, and why.
	Auto string      `json:"auto"`
	Why  string      `json:"why"`
	CPU  CPUDevice   `json:"cpu"`
	CUDA cuda.Driver `json:"cuda"`
	// Products says what multiplies bfloat16 matrices on a GPU: NVIDIA's library, or mltrain's own kernels and why.
	Products cuda.Library `json:"products"`
}

// CPUDevice describes the CPU.
type CPUDevice struct {
	Name    string `json:"name"` // with the instruction set that the kernels use
	Threads int    `json:"threads"`
	Memory  int64  `json:"available_memory_bytes,omitempty"` // 0: unknown
}

func newDevicesCommand(app *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List what this machine can compute with, and what a run would take",
		Long: `List what this machine can compute with: the CPU with its instruction set, the NVIDIA
driver and its GPUs, which of them can be used, and which device a run takes when
none is named. The emulator runs the GPU's kernels on an interpreter, anywhere.`,
		Example: `  mltrain devices
  mltrain devices --json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := findDevices()
			if err != nil {
				return err
			}
			if asJSON {
				return app.PrintJSON(r)
			}
			return r.write(app.Out)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func findDevices() (DevicesResult, error) {
	o, err := cudaOptions()
	if err != nil {
		return DevicesResult{}, err
	}
	r := DevicesResult{
		Auto: deviceCPU, CPU: CPUDevice{Name: cpu.New().Name(), Threads: runtime.GOMAXPROCS(0), Memory: availableMemory()}, CUDA: cuda.Probe(),
	}
	switch {
	case len(r.CUDA.Devices) == 0:
		r.Products.Problem = r.CUDA.Problem
	case o.OwnProducts:
		r.Products.Problem = cuda.EnvLibrary + " is off"
	default:
		r.Products = cuda.FindLibrary()
	}
	switch {
	case r.CUDA.Problem != "":
		r.Why = r.CUDA.Problem
	case !r.CUDA.Devices[0].Usable:
		r.Why = r.CUDA.Devices[0].Name + ": " + r.CUDA.Devices[0].Why
	default:
		r.Auto, r.Why = deviceCUDA, r.CUDA.Devices[0].Name+" is usable; computes in bfloat16 unless bf16 is false"
	}
	return r, nil
}

func (r DevicesResult) write(w io.Writer) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	memory := ""
	if r.CPU.Memory > 0 {
		memory = ", " + plan.FormatBytes(r.CPU.Memory) + " free"
	}
	fmt.Fprintf(tw, "cpu\t%s, %d threads%s\n", r.CPU.Name, r.CPU.Threads, memory)
	if r.CUDA.Version != "" {
		fmt.Fprintf(tw, "driver\tCUDA %s\n", r.CUDA.Version)
	}
	if r.CUDA.Problem != "" {
		fmt.Fprintf(tw, "cuda\tnone: %s\n", r.CUDA.Problem)
	}
	for _, d := range r.CUDA.Devices {
		usable := "usable"
		if !d.Usable {
			usable = "not usable: " + d.Why
		}
		fmt.Fprintf(tw, "cuda:%d\t%s, compute capability %d.%d, %s, %d multiprocessors, %s shared memory a block; %s\n", d.Index, d.Name, d.Major, d.Minor,
			plan.FormatBytes(d.Memory), d.Multiprocs, plan.FormatBytes(int64(d.SharedPerBlock)), usable)
	}
	if len(r.CUDA.Devices) > 0 {
		products := "cuBLASLt " + r.Products.Version + " (" + r.Products.File + ")"
		if r.Products.Problem != "" {
			products = "mltrain's own kernels (" + r.Products.Problem + ")"
		}
		fmt.Fprintf(tw, "products\tof bfloat16 matrices: %s\n", products)
	}
	fmt.Fprintf(tw, "emulator\tthe GPU's kernels on an interpreter: exact, and thousands of times slower than a GPU\n")
	fmt.Fprintf(tw, "auto\t%s (%s)\n", r.Auto, r.Why)
	// Writes to b cannot fail.
	_ = tw.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}
