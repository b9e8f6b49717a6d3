// Products of bfloat16 matrices by cuBLASLt, where that is installed. Results of these functions are of cuBLAS, not of the driver.
#ifndef MLTRAIN_BLAS_H
#define MLTRAIN_BLAS_H

#include "library.h"

// The library, with a handle for one device.
typedef struct mlt_blas mlt_blas;

// mlt_blas_open looks for the library. Without a context it makes no handle. NULL: name says why there is none, else it is the
// library's file.
mlt_blas *mlt_blas_open(CUcontext ctx, char *name, size_t n);
void mlt_blas_close(mlt_blas *b);
size_t mlt_blas_version(const mlt_blas *b);

// A shape of products C = alpha·op(A)·op(B) + beta·C (+ bias), row-major, with strides between the matrices of a batch.
// Alignments are of the operands' addresses in bytes.
typedef struct {
	int trans_a, trans_b, c_is_f32, has_bias, batch;
	int64_t m, n, k, lda, ldb, ldc, stride_a, stride_b, stride_c;
	uint32_t align_a, align_b, align_c, align_bias;
} mlt_product;

// What was prepared for a shape.
typedef struct mlt_plan mlt_plan;

// mlt_blas_plan prepares a shape, with so much room to work in and a bias as well aligned as the one given. *p is NULL if the library
// has no algorithm for it.
int mlt_blas_plan(mlt_blas *b, const mlt_product *s, CUdeviceptr bias, uint64_t room, mlt_plan **p);
// mlt_blas_run begins a product.
int mlt_blas_run(mlt_blas *b, mlt_queue q, mlt_plan *p, float alpha, float beta, CUdeviceptr a, CUdeviceptr x, CUdeviceptr c, CUdeviceptr bias, CUdeviceptr room);

#endif
