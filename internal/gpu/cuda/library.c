//go:build cuda && linux && (amd64 || arm64)

#include "library.h"

#include <stdio.h>

#define CALL(x)                          \
	do {                                 \
		CUresult result = x;             \
		if (result != CUDA_SUCCESS) {    \
			return result;               \
		}                                \
	} while (0)

int mlt_load(mlt_queue q, const char *ptx, CUmodule *m, char *log, unsigned int log_size) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)(uintptr_t)log_size};
	CALL(cuCtxSetCurrent(q.ctx));
	return cuModuleLoadDataEx(m, ptx, 2, options, values);
}

int mlt_shared(mlt_queue q, CUfunction f, int bytes) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

int mlt_launch(mlt_queue q, CUfunction f, const unsigned int *s, unsigned int shared, void *params, size_t size) {
	void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, params, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
	CALL(cuCtxSetCurrent(q.ctx));
	return cuLaunchKernel(f, s[0], s[1], s[2], s[3], s[4], s[5], shared, q.stream, NULL, extra);
}

int mlt_pinned(mlt_queue q, size_t n, void **p) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuMemHostAlloc(p, n, 0);
}

int mlt_upload(mlt_queue q, CUdeviceptr dst, const void *src, size_t n, CUevent done) {
	CALL(cuCtxSetCurrent(q.ctx));
	CALL(cuMemcpyHtoDAsync(dst, src, n, q.stream));
	return cuEventRecord(done, q.stream);
}

int mlt_download(mlt_queue q, void *dst, CUdeviceptr src, size_t n) {
	CALL(cuCtxSetCurrent(q.ctx));
	CALL(cuMemcpyDtoHAsync(dst, src, n, q.stream));
	return cuStreamSynchronize(q.stream);
}

int mlt_copy(mlt_queue q, CUdeviceptr dst, CUdeviceptr src, size_t n) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuMemcpyDtoDAsync(dst, src, n, q.stream);
}

int mlt_set(mlt_queue q, CUdeviceptr dst, unsigned char value, size_t n) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuMemsetD8Async(dst, value, n, q.stream);
}

int mlt_event(mlt_queue q, CUevent *e) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuEventCreate(e, CU_EVENT_DISABLE_TIMING);
}

int mlt_ready(mlt_queue q, CUevent e) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuEventQuery(e);
}

int mlt_wait(mlt_queue q, CUevent e) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuEventSynchronize(e);
}

int mlt_sync(mlt_queue q) {
	CALL(cuCtxSetCurrent(q.ctx));
	return cuStreamSynchronize(q.stream);
}

void mlt_error(int code, char *text, size_t n) {
	const char *name = NULL, *why = NULL;
	if (cuGetErrorName(code, &name) != CUDA_SUCCESS || name == NULL || cuGetErrorString(code, &why) != CUDA_SUCCESS || why == NULL) {
		snprintf(text, n, "CUDA error %d", code);
		return;
	}
	snprintf(text, n, "%s: %s", name, why);
}
