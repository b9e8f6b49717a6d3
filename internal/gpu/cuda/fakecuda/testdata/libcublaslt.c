// A stand-in for libcublasLt.so.12: see fakecuda.go. It multiplies matrices in the stand-in's device memory, and refuses what the
// library would: descriptions that do not fit each other, operands outside of the memory, pointers less aligned than was said.

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { F32 = 0, BF16 = 14 };
enum { DESC = 0xde5c, LAYOUT = 0x1a40, PREFERENCE = 0x94ef, ALGORITHM = 0xa190, NEEDS = 1 << 20 };

typedef struct {
	int magic, op_a, op_b, epilogue;
	const void *bias;
} desc;
typedef struct {
	int magic, type;
	uint64_t rows, cols;
	int64_t ld;
	int32_t batch;
	int64_t stride;
} layout;
typedef struct {
	int magic;
	uint64_t room;
	uint32_t reduction, align[4];
} preference;
typedef struct {
	uint64_t data[8];
} algorithm;
typedef struct {
	algorithm algo;
	size_t room;
	int state;
	float waves;
	int reserved[4];
} heuristic;

// What the stand-in for the driver knows.
static int (*inside)(unsigned long long, size_t), (*current)(void **);
static void (*drain)(void);
static char handle;

size_t cublasLtGetVersion(void) { return 120401; }

int cublasLtCreate(void **h) {
	void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context = NULL;
	if (!driver) {
		return NOT_INITIALIZED;
	}
	inside = (int (*)(unsigned long long, size_t))dlsym(driver, "fake_inside");
	drain = (void (*)(void))dlsym(driver, "fake_drain");
	current = (int (*)(void **))dlsym(driver, "cuCtxGetCurrent");
	current(&context);
	*h = &handle;
	return context ? OK : NOT_INITIALIZED;
}

int cublasLtMatmulDescCreate(desc **d, int compute, int scale) {
	*d = malloc(sizeof **d);
	**d = (desc){DESC, 0, 0, 1, NULL};
	return compute == 68 && scale == F32 ? OK : INVALID_VALUE;
}
int cublasLtMatmulDescDestroy(desc *d) { free(d); return OK; }
int cublasLtMatmulDescSetAttribute(desc *d, int name, const void *value, size_t n) {
	void *to[] = {[3] = &d->op_a, [4] = &d->op_b, [7] = &d->epilogue, [8] = &d->bias};
	if (d->magic != DESC || name < 0 || name > 8 || !to[name] || n != (name == 8 ? 8 : 4)) {
		return INVALID_VALUE;
	}
	memcpy(to[name], value, n);
	return OK;
}

int cublasLtMatrixLayoutCreate(layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
	*l = malloc(sizeof **l);
	**l = (layout){LAYOUT, type, rows, cols, ld, 1, 0};
	return (type == F32 || type == BF16) && rows > 0 && cols > 0 && ld >= (int64_t)rows ? OK : INVALID_VALUE;
}
int cublasLtMatrixLayoutDestroy(layout *l) { free(l); return OK; }
int cublasLtMatrixLayoutSetAttribute(layout *l, int name, const void *value, size_t n) {
	if (l->magic != LAYOUT || (name != 5 && name != 6) || n != (name == 5 ? 4 : 8)) {
		return INVALID_VALUE;
	}
	memcpy(name == 5 ? (void *)&l->batch : (void *)&l->stride, value, n);
	return OK;
}

int cublasLtMatmulPreferenceCreate(preference **p) {
	*p = malloc(sizeof **p);
	**p = (preference){PREFERENCE, 0, 7, {256, 256, 256, 256}};
	return OK;
}
int cublasLtMatmulPreferenceDestroy(preference *p) { free(p); return OK; }
int cublasLtMatmulPreferenceSetAttribute(preference *p, int name, const void *value, size_t n) {
	void *to[] = {[1] = &p->room, [3] = &p->reduction, [5] = &p->align[0], &p->align[1], &p->align[2], &p->align[3]};
	if (p->magic != PREFERENCE || name < 0 || name > 8 || !to[name] || n != (name == 1 ? 8 : 4)) {
		return INVALID_VALUE;
	}
	memcpy(to[name], value, n);
	return OK;
}

// fits tells whether descriptions are of matrices that can be multiplied.
static int fits(const desc *d, const layout *a, const layout *b, const layout *c) {
	uint64_t m = d->op_a ? a->cols : a->rows, k = d->op_a ? a->rows : a->cols;
	return d->magic == DESC && a->magic == LAYOUT && b->magic == LAYOUT && c->magic == LAYOUT && a->type == BF16 && b->type == BF16 && m == c->rows &&
		k == (d->op_b ? b->cols : b->rows) && c->cols == (d->op_b ? b->rows : b->cols) && a->batch == b->batch && b->batch == c->batch && c->batch > 0 &&
		(d->epilogue == 1 || d->epilogue == 4);
}

// lowest returns the power of two, up to 256, that an address is a multiple of.
static uint64_t lowest(uintptr_t p) { return p % 256 ? p & -p : 256; }

int cublasLtMatmulAlgoGetHeuristic(void *h, desc *d, layout *a, layout *b, layout *c, layout *out, preference *p, int requested, heuristic *found, int *n) {
	*n = 0;
	if (h != &handle || requested < 1 || p->magic != PREFERENCE || p->reduction != 2 || !fits(d, a, b, c) || c != out) {
		return INVALID_VALUE;
	}
	if (d->epilogue == 4 && !d->bias) { // it could be aligned in any way
		return INVALID_VALUE;
	}
	if (getenv("FAKE_CUBLASLT_REFUSE") || p->room < NEEDS) {
		return NOT_SUPPORTED;
	}
	*found = (heuristic){{{ALGORITHM, p->align[0], p->align[1], p->align[2], p->align[3], d->epilogue, lowest((uintptr_t)d->bias)}}, NEEDS, OK, 1, {0}};
	*n = 1;
	return OK;
}

static size_t bytes(const layout *l) {
	return (((size_t)l->batch - 1) * l->stride + (l->cols - 1) * l->ld + l->rows) * (l->type == F32 ? 4 : 2);
}

static float from_bf16(uint16_t x) {
	uint32_t u = (uint32_t)x << 16;
	float f;
	memcpy(&f, &u, 4);
	return f;
}

static uint16_t to_bf16(float f) {
	uint32_t u;
	memcpy(&u, &f, 4);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float element(const void *p, int type, size_t i) { return type == F32 ? ((const float *)p)[i] : from_bf16(((const uint16_t *)p)[i]); }

int cublasLtMatmul(void *h, desc *d, const float *alpha, const void *a, layout *la, const void *b, layout *lb, const float *beta, const void *c, layout *lc,
	void *out, layout *lout, const algorithm *algo, void *room, size_t room_size, void *stream) {
	void *context = NULL;
	current(&context);
	const void *pointers[] = {a, b, c, out};
	if (h != &handle || !context || !stream || !fits(d, la, lb, lc) || lc != lout || c != out || algo->data[0] != ALGORITHM || algo->data[5] != (uint64_t)d->epilogue ||
		room_size < NEEDS || (uintptr_t)room % 256 || !inside((uintptr_t)room, room_size)) {
		return INVALID_VALUE;
	}
	for (int i = 0; i < 4; i++) {
		if ((uintptr_t)pointers[i] % algo->data[1 + i]) {
			return INVALID_VALUE;
		}
	}
	if (d->epilogue == 4 && (uintptr_t)d->bias % algo->data[6]) {
		return INVALID_VALUE;
	}
	size_t m = lc->rows, n = lc->cols, k = d->op_a ? la->rows : la->cols;
	if (!inside((uintptr_t)a, bytes(la)) || !inside((uintptr_t)b, bytes(lb)) || !inside((uintptr_t)out, bytes(lc)) ||
		(d->epilogue == 4 && !inside((uintptr_t)d->bias, m * (lc->type == F32 ? 4 : 2)))) {
		return EXECUTION_FAILED;
	}
	say("matmul %c%c %zu,%zu,%zu ld %ld,%ld,%ld batch %d %s%s\n", d->op_a ? 't' : 'n', d->op_b ? 't' : 'n', m, n, k, (long)la->ld, (long)lb->ld, (long)lc->ld, lc->batch,
		lc->type == F32 ? "f32" : "bf16", d->epilogue == 4 ? " bias" : "");
	drain(); // what is in the queue before
	memset(room, 0x5a, NEEDS); // it is the library's
	for (int32_t z = 0; z < lc->batch; z++) {
		for (size_t i = 0; i < m; i++) {
			for (size_t j = 0; j < n; j++) {
				float sum = 0;
				for (size_t l = 0; l < k; l++) {
					sum += element(a, BF16, z * la->stride + (d->op_a ? i * la->ld + l : l * la->ld + i)) *
						element(b, BF16, z * lb->stride + (d->op_b ? l * lb->ld + j : j * lb->ld + l));
				}
				size_t at = z * lc->stride + j * lc->ld + i;
				sum *= *alpha;
				if (*beta != 0) {
					sum += *beta * element(out, lc->type, at);
				}
				if (d->epilogue == 4) {
					sum += element(d->bias, lc->type, i);
				}
				if (lc->type == F32) {
					((float *)out)[at] = sum;
				} else {
					((uint16_t *)out)[at] = to_bf16(sum);
				}
			}
		}
	}
	return OK;
}
