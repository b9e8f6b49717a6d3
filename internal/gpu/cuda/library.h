// What this package calls of the driver itself: what gorgonia.org/cu lacks, and what a training step calls often, one call
// each. Each makes the context current on its thread first.
#ifndef MLTRAIN_LIBRARY_H
#define MLTRAIN_LIBRARY_H

#include "abi/cuda.h"

// The real result of cuInit, and in words why it failed.
int mlt_status(void);
const char *mlt_problem(void);

// A stream of one device.
typedef struct {
	CUcontext ctx;
	CUstream stream;
} mlt_queue;

// mlt_load makes a module of a PTX text; log receives what the driver's compiler says of an error.
int mlt_load(mlt_queue q, const char *ptx, CUmodule *m, char *log, unsigned int log_size);
// mlt_shared lets a kernel have more dynamic shared memory than 48 KiB.
int mlt_shared(mlt_queue q, CUfunction f, int bytes);
// mlt_launch takes the parameters as one packed block.
int mlt_launch(mlt_queue q, CUfunction f, const unsigned int *shape, unsigned int shared, void *params, size_t size);
// mlt_pinned allocates host memory that copies reach directly.
int mlt_pinned(mlt_queue q, size_t n, void **p);
// mlt_upload begins a copy from pinned memory and records that it is done.
int mlt_upload(mlt_queue q, CUdeviceptr dst, const void *src, size_t n, CUevent done);
// mlt_download copies to pinned memory and waits.
int mlt_download(mlt_queue q, void *dst, CUdeviceptr src, size_t n);
int mlt_copy(mlt_queue q, CUdeviceptr dst, CUdeviceptr src, size_t n);
int mlt_set(mlt_queue q, CUdeviceptr dst, unsigned char value, size_t n);
int mlt_event(mlt_queue q, CUevent *e);
int mlt_wait(mlt_queue q, CUevent e);
// mlt_ready is CUDA_ERROR_NOT_READY for an event that has not come.
int mlt_ready(mlt_queue q, CUevent e);
int mlt_sync(mlt_queue q);
// mlt_error names a result: "CUDA_ERROR_INVALID_VALUE: invalid argument".
void mlt_error(int code, char *text, size_t n);

#endif
