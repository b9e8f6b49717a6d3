// A stand-in for libcuda.so.1: see fakecuda.go.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, INVALID_PTX = 218, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700 };

typedef int result;
typedef unsigned long long address;

static __thread void *current;
static void *const context = (void *)16;

static long setting(const char *name, long otherwise) {
	const char *s = getenv(name);
	return s ? atol(s) : otherwise;
}

// Memory. Every access must lie inside one allocation.

typedef struct {
	char *at;
	size_t size;
} block;
static block *blocks;
static size_t n_blocks, used;

static int inside(address p, size_t n) {
	for (size_t i = 0; i < n_blocks; i++) {
		address from = (address)(uintptr_t)blocks[i].at;
		if (blocks[i].at && p >= from && p + n <= from + blocks[i].size) {
			return 1;
		}
	}
	return 0;
}

result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
	*total = setting("FAKE_CUDA_MEMORY", 1L << 30);
	*free_bytes = *total - used;
	return current == context ? OK : INVALID_CONTEXT;
}

result cuMemAlloc_v2(address *p, size_t n) {
	if (current != context) {
		return INVALID_CONTEXT;
	}
	if (used + n > (size_t)setting("FAKE_CUDA_MEMORY", 1L << 30)) {
		return OUT_OF_MEMORY;
	}
	blocks = realloc(blocks, (n_blocks + 1) * sizeof *blocks);
	blocks[n_blocks] = (block){aligned_alloc(256, (n + 255) / 256 * 256), n};
	memset(blocks[n_blocks].at, 0xa5, n); // as undefined as a GPU's
	*p = (address)(uintptr_t)blocks[n_blocks++].at;
	used += n;
	say("alloc %zu\n", n);
	return OK;
}

// The queue: work is done when somebody waits.

typedef struct {
	enum { COPY, SET } kind;
	void *dst;
	const void *src;
	size_t n;
	int value;
} work;
static work *queue;
static size_t n_queue;
static long begun, finished; // work items since the start

static void later(work w) {
	queue = realloc(queue, (n_queue + 1) * sizeof *queue);
	queue[n_queue++] = w;
	begun++;
}

static void drain(void) {
	for (size_t i = 0; i < n_queue; i++) {
		if (queue[i].kind == COPY) {
			memmove(queue[i].dst, queue[i].src, queue[i].n);
		} else {
			memset(queue[i].dst, queue[i].value, queue[i].n);
		}
	}
	n_queue = 0;
	finished = begun;
}

// For the stand-in for cuBLASLt.
int fake_inside(address p, size_t n) { return inside(p, n); }
void fake_drain(void) { drain(); }

result cuMemFree_v2(address p) {
	drain();
	for (size_t i = 0; i < n_blocks; i++) {
		if (blocks[i].at && (address)(uintptr_t)blocks[i].at == p) {
			free(blocks[i].at);
			used -= blocks[i].size;
			say("free %zu\n", blocks[i].size);
			blocks[i].at = NULL;
			return OK;
		}
	}
	return INVALID_VALUE;
}

result cuMemHostAlloc(void **p, size_t n, unsigned flags) {
	*p = malloc(n);
	return OK;
}

result cuMemcpyHtoDAsync_v2(address dst, const void *src, size_t n, void *stream) {
	if (!inside(dst, n)) {
		return ILLEGAL_ADDRESS;
	}
	say("upload %zu\n", n);
	later((work){COPY, (void *)(uintptr_t)dst, src, n, 0});
	return OK;
}

result cuMemcpyDtoHAsync_v2(void *dst, address src, size_t n, void *stream) {
	if (!inside(src, n)) {
		return ILLEGAL_ADDRESS;
	}
	say("download %zu\n", n);
	later((work){COPY, dst, (void *)(uintptr_t)src, n, 0});
	return OK;
}

result cuMemcpyDtoDAsync_v2(address dst, address src, size_t n, void *stream) {
	if (!inside(src, n) || !inside(dst, n)) {
		return ILLEGAL_ADDRESS;
	}
	say("copy %zu\n", n);
	later((work){COPY, (void *)(uintptr_t)dst, (void *)(uintptr_t)src, n, 0});
	return OK;
}

result cuMemsetD8Async(address dst, unsigned char value, size_t n, void *stream) {
	if (!inside(dst, n)) {
		return ILLEGAL_ADDRESS;
	}
	say("set %zu %d\n", n, value);
	later((work){SET, (void *)(uintptr_t)dst, NULL, n, value});
	return OK;
}

result cuStreamCreate(void **s, unsigned flags) { *s = (void *)32; return current == context ? OK : INVALID_CONTEXT; }
result cuStreamSynchronize(void *s) { say("sync\n"); drain(); return OK; }

// An event holds the number of work items before it.
result cuEventCreate(long **e, unsigned flags) { *e = calloc(1, sizeof **e); return current == context ? OK : INVALID_CONTEXT; }
result cuEventRecord(long *e, void *s) { *e = begun; return OK; }
result cuEventQuery(long *e) { return *e <= finished ? OK : NOT_READY; }
result cuEventSynchronize(long *e) { say("wait\n"); drain(); return OK; }

// Devices.

result cuInit(unsigned flags) { return setting("FAKE_CUDA_DEVICES", 1) > 0 ? OK : NO_DEVICE; }
result cuDriverGetVersion(int *v) { *v = 12040; return OK; }
result cuDeviceGetCount(int *n) { *n = setting("FAKE_CUDA_DEVICES", 1); return OK; }
result cuDeviceGet(int *d, int i) { *d = i; return OK; }
result cuDeviceGetName(char *name, int n, int d) { snprintf(name, n, "Fake GPU %d", d); return OK; }
result cuDeviceTotalMem_v2(size_t *n, int d) { *n = setting("FAKE_CUDA_MEMORY", 1L << 30); return OK; }
result cuDeviceGetAttribute(int *v, int attribute, int d) {
	long compute = setting("FAKE_CUDA_COMPUTE", 80);
	switch (attribute) {
	case 16: *v = 108; return OK;
	case 75: *v = compute / 10; return OK;
	case 76: *v = compute % 10; return OK;
	case 97: *v = 163 << 10; return OK;
	}
	return INVALID_VALUE;
}
result cuDevicePrimaryCtxRetain(void **c, int d) { *c = context; return OK; }
result cuCtxSetCurrent(void *c) { current = c; return OK; }
result cuCtxGetCurrent(void **c) { *c = current; return OK; }

// Kernels.

typedef struct {
	const char *name;
	long shared;
} function;

result cuModuleLoadDataEx(void **m, const char *text, unsigned n, int *options, void **values) {
	if (current != context) {
		return INVALID_CONTEXT;
	}
	if (!strstr(text, ".entry")) {
		for (unsigned i = 0; i < n; i++) {
			if (options[i] == 5) { // the buffer for the log of errors
				strcpy(values[i], "ptxas fake, line 1; fatal: no kernel in the text");
			}
		}
		return INVALID_PTX;
	}
	*m = strdup(text);
	say("module %zu\n", strlen(text));
	return OK;
}

result cuModuleGetFunction(void **f, void *m, const char *name) {
	char entry[256];
	snprintf(entry, sizeof entry, ".entry %s(", name);
	if (current != context || !strstr(m, entry)) {
		return NOT_FOUND;
	}
	function *fn = malloc(sizeof *fn);
	*fn = (function){strdup(name), 48 << 10};
	*f = fn;
	return OK;
}

result cuFuncSetAttribute(function *f, int attribute, int value) {
	if (attribute != 8 || value > 163 << 10) {
		return INVALID_VALUE;
	}
	f->shared = value;
	return OK;
}

result cuLaunchKernel(function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **params, void **extra) {
	if (current != context || params || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] || shared > f->shared || bx * by * bz > 1024 || !gx || !gy || !gz || gy > 65535 || gz > 65535) {
		return INVALID_VALUE;
	}
	say("launch %s %u,%u,%u %u,%u,%u %u %zu\n", f->name, gx, gy, gz, bx, by, bz, shared, *(size_t *)extra[3]);
	return OK;
}

result cuGetErrorName(int code, const char **s) { *s = code == INVALID_PTX ? "CUDA_ERROR_INVALID_PTX" : code == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER"; return OK; }
result cuGetErrorString(int code, const char **s) { *s = "said by the fake"; return OK; }
