//go:build cuda && linux && (amd64 || arm64)

#include "blas.h"

#include <dlfcn.h>
#include <stdio.h>

#include "abi/cublaslt.h"

struct mlt_blas {
	void *library;
	cublasLtHandle_t handle;
#define FIELD(type, name, args) type(*name) args;
	CUBLASLT_FUNCTIONS(FIELD)
};

struct mlt_plan {
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t a, b, c;
	cublasLtMatmulAlgo_t algo;
	size_t room;
	int has_bias;
};

mlt_blas *mlt_blas_open(CUcontext ctx, char *name, size_t n) {
	const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"};
	void *library = NULL;
	for (size_t i = 0; i < sizeof names / sizeof *names && library == NULL; i++) {
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		snprintf(name, n, "%s", names[i]);
	}
	if (library == NULL) {
		snprintf(name, n, "libcublasLt.so is not installed");
		return NULL;
	}
	mlt_blas *b = calloc(1, sizeof *b);
	b->library = library;
#define FIND(type, function, args) \
	if ((b->function = (type(*) args)dlsym(library, #function)) == NULL) { \
		snprintf(name, n, "cuBLASLt has no " #function); \
		mlt_blas_close(b); \
		return NULL; \
	}
	CUBLASLT_FUNCTIONS(FIND)
	if (ctx == NULL) {
		return b;
	}
	int result = cuCtxSetCurrent(ctx);
	if (result == CUDA_SUCCESS) {
		result = b->cublasLtCreate(&b->handle);
	}
	if (result != CUBLAS_STATUS_SUCCESS) {
		snprintf(name, n, "cuBLASLt does not start: result %d", result);
		mlt_blas_close(b);
		return NULL;
	}
	return b;
}

void mlt_blas_close(mlt_blas *b) {
	dlclose(b->library);
	free(b);
}

size_t mlt_blas_version(const mlt_blas *b) { return b->cublasLtGetVersion(); }

static void forget(mlt_blas *b, mlt_plan *p) {
	if (p->desc) b->cublasLtMatmulDescDestroy(p->desc);
	if (p->a) b->cublasLtMatrixLayoutDestroy(p->a);
	if (p->b) b->cublasLtMatrixLayoutDestroy(p->b);
	if (p->c) b->cublasLtMatrixLayoutDestroy(p->c);
	free(p);
}

#define CALL(x)           \
	do {                  \
		int result = (x); \
		if (result != 0) { \
			return result; \
		}                 \
	} while (0)

// layout describes matrices that lie rows·cols in memory, row after row. The library counts columns first: to it they are the
// transposed.
static int layout(mlt_blas *b, cublasLtMatrixLayout_t *l, int type, int64_t rows, int64_t cols, int64_t ld, int32_t batch, int64_t stride) {
	CALL(b->cublasLtMatrixLayoutCreate(l, type, cols, rows, ld));
	CALL(b->cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch));
	return b->cublasLtMatrixLayoutSetAttribute(*l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
}

// prepare fills a plan. As the library sees all matrices transposed, it is asked for Cᵀ = op(B)ᵀ·op(A)ᵀ: its A is our B.
static int prepare(mlt_blas *b, const mlt_product *s, CUdeviceptr bias, uint64_t room, mlt_plan *p, int *found) {
	int32_t op_a = s->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = s->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
	int32_t epilogue = s->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
	CALL(b->cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
	CALL(b->cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
	CALL(b->cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
	CALL(b->cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
	if (s->has_bias) { // the library goes by its alignment
		CALL(b->cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
	}
	CALL(layout(b, &p->a, CUDA_R_16BF, s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->batch, s->stride_b));
	CALL(layout(b, &p->b, CUDA_R_16BF, s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->batch, s->stride_a));
	CALL(layout(b, &p->c, s->c_is_f32 ? CUDA_R_32F : CUDA_R_16BF, s->m, s->n, s->ldc, s->batch, s->stride_c));
	cublasLtMatmulPreference_t pref = NULL;
	CALL(b->cublasLtMatmulPreferenceCreate(&pref));
	// Parts of a sum that are made apart are added in a fixed order, in float32.
	uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
	const struct { int name; const void *value; size_t size; } wishes[] = {
		{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room},
		{CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction},
		{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &s->align_b, sizeof s->align_b},
		{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &s->align_a, sizeof s->align_a},
		{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &s->align_c, sizeof s->align_c},
		{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &s->align_c, sizeof s->align_c},
	};
	int result = CUBLAS_STATUS_SUCCESS;
	for (size_t i = 0; i < sizeof wishes / sizeof *wishes && result == CUBLAS_STATUS_SUCCESS; i++) {
		result = b->cublasLtMatmulPreferenceSetAttribute(pref, wishes[i].name, wishes[i].value, wishes[i].size);
	}
	cublasLtMatmulHeuristicResult_t best = {0};
	if (result == CUBLAS_STATUS_SUCCESS) {
		result = b->cublasLtMatmulAlgoGetHeuristic(b->handle, p->desc, p->a, p->b, p->c, p->c, pref, 1, &best, found);
	}
	b->cublasLtMatmulPreferenceDestroy(pref);
	p->algo = best.algo, p->room = best.workspaceSize, p->has_bias = s->has_bias;
	if (result == CUBLAS_STATUS_SUCCESS && *found > 0) {
		result = best.state;
	}
	if (result == CUBLAS_STATUS_NOT_SUPPORTED) {
		*found = 0;
		return CUBLAS_STATUS_SUCCESS;
	}
	return result;
}

int mlt_blas_plan(mlt_blas *b, const mlt_product *s, CUdeviceptr bias, uint64_t room, mlt_plan **out) {
	int found = 0;
	mlt_plan *p = calloc(1, sizeof *p);
	int result = prepare(b, s, bias, room, p, &found);
	if (result != CUBLAS_STATUS_SUCCESS || found == 0) {
		forget(b, p);
		p = NULL;
	}
	*out = p;
	return result;
}

int mlt_blas_run(mlt_blas *b, mlt_queue q, mlt_plan *p, float alpha, float beta, CUdeviceptr a, CUdeviceptr x, CUdeviceptr c, CUdeviceptr bias, CUdeviceptr room) {
	CALL(cuCtxSetCurrent(q.ctx));
	if (p->has_bias) {
		CALL(b->cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
	}
	return b->cublasLtMatmul(b->handle, p->desc, &alpha, (void *)(uintptr_t)x, p->a, (void *)(uintptr_t)a, p->b, &beta, (void *)(uintptr_t)c, p->c,
		(void *)(uintptr_t)c, p->c, &p->algo, (void *)(uintptr_t)room, p->room, (cublasLtStream_t)q.stream);
}
