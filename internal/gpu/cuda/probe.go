//go:build cuda && linux && (amd64 || arm64)

package cuda

// #include "library.h"
import "C"

import (
	"fmt"

	"gorgonia.org/cu"
)

// The oldest GPUs that run the kernels: compute capability 8.0 (bfloat16, asynchronous copies).
const minMajor, minMinor = 8, 0

// The number of the attribute for the shared memory that a kernel can ask for, which package cu does not name.
const maxSharedPerBlockOptin = cu.DeviceAttribute(C.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)

// Probe looks at what is installed.
func Probe() Driver {
	p := Driver{Built: true, Devices: []Device{}}
	if C.mlt_status() != C.CUDA_SUCCESS {
		p.Problem = C.GoString(C.mlt_problem())
		return p
	}
	if v := cu.Version(); v > 0 {
		p.Version = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	n, err := cu.NumDevices()
	if err != nil {
		p.Problem = fmt.Sprintf("the NVIDIA driver does not list its GPUs: %v", err)
		return p
	}
	for i := range n {
		p.Devices = append(p.Devices, describe(i))
	}
	if n == 0 {
		p.Problem = "the NVIDIA driver finds no GPU"
	}
	return p
}

func describe(i int) Device {
	d := Device{Index: i, Name: fmt.Sprintf("device %d", i)}
	dev, err := cu.GetDevice(i)
	if err == nil {
		d.Name, err = dev.Name()
	}
	for _, a := range []struct {
		id  cu.DeviceAttribute
		out *int
	}{
		{cu.ComputeCapabilityMajor, &d.Major}, {cu.ComputeCapabilityMinor, &d.Minor}, {cu.MultiprocessorCount, &d.Multiprocs},
		{maxSharedPerBlockOptin, &d.SharedPerBlock},
	} {
		if err == nil {
			*a.out, err = dev.Attribute(a.id)
		}
	}
	if err == nil {
		d.Memory, err = dev.TotalMem()
	}
	switch {
	case err != nil:
		d.Why = err.Error()
	case d.Major < minMajor || d.Major == minMajor && d.Minor < minMinor:
		d.Why = fmt.Sprintf("compute capability %d.%d: the kernels need %d.%d", d.Major, d.Minor, minMajor, minMinor)
	default:
		d.Usable = true
	}
	return d
}
