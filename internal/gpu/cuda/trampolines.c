//go:build cuda && linux && (amd64 || arm64)

// libcuda's functions for the linker: each jumps through a pointer, which leads to a function that reports "no device"
// until cuInit has found the library. So a program that has them starts on machines without a driver.

#include <dlfcn.h>

#include "abi/cuda.h"
#include "library.h"

static CUresult no_device(void) { return CUDA_ERROR_NO_DEVICE; }

#define POINTER(name, args) __attribute__((visibility("hidden"))) void *mlt_##name = (void *)no_device;
CUDA_FUNCTIONS(POINTER)

#if defined(__x86_64__)
#define JUMP(name, args) __asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n\tjmp *mlt_" #name "(%rip)\n");
#else
#define JUMP(name, args) __asm__(".text\n.globl " #name "\n.type " #name ",%function\n" #name ":\n\tadrp x16, mlt_" #name "\n\tldr x16, [x16, :lo12:mlt_" #name "]\n\tbr x16\n");
#endif
CUDA_FUNCTIONS(JUMP)

static CUresult status = CUDA_ERROR_NOT_INITIALIZED;
static const char *problem = "";

int mlt_status(void) { return status; }
const char *mlt_problem(void) { return problem; }

// cuInit loads the library. It always reports success, because gorgonia.org/cu ends the process otherwise, before main;
// mlt_status has the truth.
CUresult cuInit(unsigned int flags) {
	if (status != CUDA_ERROR_NOT_INITIALIZED) {
		return CUDA_SUCCESS;
	}
	void *h = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (h == NULL) {
		status = CUDA_ERROR_NO_DEVICE;
		problem = "the NVIDIA driver (libcuda.so.1) is not installed";
		return CUDA_SUCCESS;
	}
	CUresult (*init)(unsigned int) = (CUresult(*)(unsigned int))dlsym(h, "cuInit");
	if (init == NULL) {
		status = CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND;
		problem = "libcuda.so.1 has no cuInit";
		return CUDA_SUCCESS;
	}
	status = init(flags);
	if (status != CUDA_SUCCESS) {
		problem = status == CUDA_ERROR_NO_DEVICE ? "the NVIDIA driver finds no GPU" : "the NVIDIA driver does not start";
		return CUDA_SUCCESS;
	}
#define FIND(name, args) { void *p = dlsym(h, #name); if (p != NULL) mlt_##name = p; }
	CUDA_FUNCTIONS(FIND)
	return CUDA_SUCCESS;
}
