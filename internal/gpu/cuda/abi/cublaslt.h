/* The part of cuBLASLt's binary interface that this program uses: names, numbers and layouts as the libraries of CUDA 11 to 13
 * export them. */
#ifndef MLTRAIN_CUBLASLT_H
#define MLTRAIN_CUBLASLT_H

#include <stddef.h>
#include <stdint.h>

typedef struct cublasLtContext *cublasLtHandle_t;
typedef struct cublasLtMatmulDescStruct *cublasLtMatmulDesc_t;
typedef struct cublasLtMatrixLayoutStruct *cublasLtMatrixLayout_t;
typedef struct cublasLtMatmulPreferenceStruct *cublasLtMatmulPreference_t;
typedef struct cublasLtStream *cublasLtStream_t; /* a CUstream */

enum { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum { CUBLAS_COMPUTE_32F = 68 };
enum { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
enum { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };
enum { CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };
enum {
	CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4, CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
	CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum { CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6 };
enum {
	CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
	CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
	CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

typedef struct { uint64_t data[8]; } cublasLtMatmulAlgo_t;
typedef struct {
	cublasLtMatmulAlgo_t algo;
	size_t workspaceSize;
	int state;
	float wavesCount;
	int reserved[4];
} cublasLtMatmulHeuristicResult_t;

#define CUBLASLT_FUNCTIONS(F) \
	F(int, cublasLtCreate, (cublasLtHandle_t *)) \
	F(int, cublasLtMatmulDescCreate, (cublasLtMatmulDesc_t *, int computeType, int scaleType)) \
	F(int, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t)) \
	F(int, cublasLtMatmulDescSetAttribute, (cublasLtMatmulDesc_t, int, const void *, size_t)) \
	F(int, cublasLtMatrixLayoutCreate, (cublasLtMatrixLayout_t *, int type, uint64_t rows, uint64_t cols, int64_t ld)) \
	F(int, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t)) \
	F(int, cublasLtMatrixLayoutSetAttribute, (cublasLtMatrixLayout_t, int, const void *, size_t)) \
	F(int, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t *)) \
	F(int, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t)) \
	F(int, cublasLtMatmulPreferenceSetAttribute, (cublasLtMatmulPreference_t, int, const void *, size_t)) \
	F(int, cublasLtMatmulAlgoGetHeuristic, (cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, \
	  cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int requested, cublasLtMatmulHeuristicResult_t *, int *found)) \
	F(int, cublasLtMatmul, (cublasLtHandle_t, cublasLtMatmulDesc_t, const void *alpha, const void *a, cublasLtMatrixLayout_t, const void *b, \
	  cublasLtMatrixLayout_t, const void *beta, const void *c, cublasLtMatrixLayout_t, void *d, cublasLtMatrixLayout_t, \
	  const cublasLtMatmulAlgo_t *, void *workspace, size_t, cublasLtStream_t)) \
	F(size_t, cublasLtGetVersion, (void))

#endif
