package tensor

import "fmt"

// Use says what memory is for. Plans, budgets and out-of-memory errors are itemised by it.
type Use string

// The purposes that a run's memory has.
const (
	UseWeights     Use = "weights"
	UseMapped      Use = "mapped weights" // used where they lie in the checkpoint's file
	UseAdapter     Use = "adapter"        // what is trained beside a frozen model
	UseGradients   Use = "gradients"
	UseOptimizer   Use = "optimizer"
	UseActivations Use = "activations"    // forward values kept for the backward pass
	UseDataGrads   Use = "data gradients" // gradients of activations, and scratch
	UseBatch       Use = "batch"          // token ids, positions, labels
	UseCache       Use = "kv cache"
	UseDraft       Use = "draft weights"  // rounded, with which a model drafts tokens for itself
	UseTables      Use = "tables"         // rotary tables and other constants
	UseLibrary     Use = "device library" // what a library of the device works in
)

// Device owns memory. Work is ordered on one queue and may be asynchronous: Download and Sync wait for it.
type Device interface {
	// Name identifies the device and, where it matters for reproducibility, its instruction set: "cpu (avx512)".
	Name() string
	// Alloc returns zeroed memory.
	Alloc(bytes int64, use Use) (Buffer, error)
	Free(Buffer)
	// Upload copies host bytes (little endian, dst's own type) into dst; src may be reused on return.
	Upload(dst Tensor, src []byte) error
	// Download waits for the queue and copies src to the host.
	Download(dst []byte, src Tensor) error
	// Copy copies element by element; types may differ (rounding to nearest even).
	Copy(dst, src Tensor) error
	Zero(dst Tensor) error
	// Allocated returns the bytes that are allocated now, by purpose.
	Allocated() map[Use]int64
	Sync() error
}

// Importer is implemented by devices that can use host memory in place, so that a memory-mapped checkpoint is not
// copied. The bytes must outlive the buffer and are never written.
type Importer interface {
	Import(b []byte) (Buffer, error)
}

// PeakMeter is implemented by devices that know the most bytes that were allocated at one time.
type PeakMeter interface {
	Peak() int64
}

// Reserver is implemented by devices that hold memory from the start, whatever a run takes: it is part of their Allocated, and of the
// plan of every run.
type Reserver interface {
	// Reserved returns the bytes by purpose.
	Reserved() map[Use]int64
}

// PeakOf returns the most bytes that were allocated on a device at one time; what is allocated now, if it does not know.
func PeakOf(d Device) (n int64) {
	if m, ok := d.(PeakMeter); ok {
		return m.Peak()
	}
	for _, b := range d.Allocated() {
		n += b
	}
	return n
}

// Quant4Multiplier is implemented by backends that multiply few rows by a matrix in NF4 without writing it decoded.
type Quant4Multiplier interface {
	// MulQuant4 computes y = x·qᵀ + bias + beta·y for x [M,Cols] and y [M,Rows]; bias [Rows] may be absent. Weights are rounded to
	// float32, or to bfloat16 if x and y are; products and sums are float32.
	MulQuant4(y, x Tensor, q Quant4, bias Tensor, beta float32) error
	// MulQuant4Rows is the largest M of an x of a type that MulQuant4 takes: with more, Dequant and Gemm are faster.
	MulQuant4Rows(x DType) int
}

// Drafter is implemented by backends on which a model drafts tokens for itself with rounded weights, and then checks several in one pass
// (see package infer).
type Drafter interface {
	// EncodeInt8 rounds a matrix: q.Codes and q.Scales are written, each scale a row's largest magnitude / 127. w is the matrix, or its
	// transpose if transposed.
	EncodeInt8(q Int8Rows, w Tensor, transposed bool) error
	// MulInt8 computes y = x·wᵀ + bias of each part for x [M,Cols] in float32; sums are float32.
	MulInt8(x Tensor, parts []Int8Part) error
	// DraftRows is the most rows that MulInt8 takes; 0 if the device gains nothing by it. Among as many rows, Gemm of float32 by a matrix
	// with at least four outputs gives a row the same bits as alone, as MulQuant4 does (and AttnSpec.Alone a query). With inOut the
	// answer is for models that hold some matrices [in,out].
	DraftRows(inOut bool) int
}

// Int8Part is one of several products of a matrix x. Bias [Rows] may be absent.
type Int8Part struct {
	Y    Tensor // F32 [M, Rows]
	W    Int8Rows
	Bias Tensor
}

// Region8 is a parameter's run of the flat vector whose optimiser states are in 8 bits: state i of it is element At+i, At a multiple of
// 256, or, if Plain, element At+i of the float32 states.
type Region8 struct {
	Segment
	At    int
	Plain bool
}

// Updater8 is implemented by backends that update parameters with states in 8 bits in one go.
type Updater8 interface {
	// Optim8 does for every region what Decode8, Optim and Encode8 do for its part of the vectors, to the bit, but changes nothing if
	// the scale is not finite. The rule is Adam or AdamW. s1 and s2 hold the states of plain regions, and are absent if there are none.
	Optim8(s OptSpec, regions []Region8, w, master, s1, s2 Tensor, q1, q2 Blocks8, g, scale Tensor) error
}

// GemmPart is one of several products of a matrix A: Gemm(GemmSpec, C, A, B, Bias).
type GemmPart struct {
	GemmSpec
	C, B, Bias Tensor
}

// SharedGemm is implemented by backends that compute several products of one matrix faster together.
type SharedGemm interface {
	// GemmShared computes the parts, none of which may write what another reads or writes. TransA, M, K and LDA are the same in all,
	// and Batch is 0 or 1.
	GemmShared(a Tensor, parts []GemmPart) error
}

// Backend is a device with its kernels.
type Backend interface {
	Device
	Kernels
}

// GemmSpec describes C[M,N] = Alpha · op(A)[M,K] · op(B)[K,N] + Beta · C (+ bias), row-major, op = transpose if asked.
// LDA, LDB and LDC are the distances in elements between the stored rows of the operands. Beta = 0 never reads C.
// With Batch > 1 the product is repeated with operands StrideA, StrideB, StrideC elements further each time.
type GemmSpec struct {
	TransA, TransB            bool
	M, N, K                   int
	LDA, LDB, LDC             int
	Alpha, Beta               float32
	Batch                     int
	StrideA, StrideB, StrideC int
	// Reduced allows a product of two bfloat16 matrices to be off by what rounding it to bfloat16 would cost, 2⁻⁹ of ‖op(A) row‖·‖op(B)
	// column‖, whatever the type of C, where that is faster. Otherwise sums are float32.
	Reduced bool
}

// UnaryOp is an element-wise function of one argument and possibly a constant k.
type UnaryOp uint8

// Element-wise functions.
const (
	OpScale    UnaryOp = iota // k·x
	OpSiLU                    // x·σ(x)
	OpGELU                    // x·Φ(x), exact, by erf
	OpGELUTanh                // ½x(1+tanh(√(2/π)(x+0.044715x³)))
	OpReLU                    // max(0, x)
	OpTanh                    // tanh x
	OpSigmoid                 // 1/(1+e^−x)
	OpSoftcap                 // k·tanh(x/k)
	OpRsqrt                   // 1/√(|x|+k)
	NumUnaryOps
)

// String returns the function's name.
func (o UnaryOp) String() string {
	names := [...]string{"scale", "silu", "gelu", "gelu_tanh", "relu", "tanh", "sigmoid", "softcap", "rsqrt"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("unary(%d)", o)
}

// BinaryOp is an element-wise function of two arguments.
type BinaryOp uint8

// Element-wise functions of two arguments.
const (
	OpAdd BinaryOp = iota
	OpSub
	OpMul
	NumBinaryOps
)

// String returns the function's name.
func (o BinaryOp) String() string { return [...]string{"add", "sub", "mul"}[o] }

// ReduceOp folds elements into one.
type ReduceOp uint8

// Reductions.
const (
	ReduceSum ReduceOp = iota
	ReduceSumSq
	ReduceMax
	NumReduceOps
)

// String returns the reduction's name.
func (o ReduceOp) String() string { return [...]string{"sum", "sumsq", "max"}[o] }

// NormKind selects the normalisation.
type NormKind uint8

// Normalisations over the last dimension.
const (
	RMSNorm   NormKind = iota // x / √(mean x² + eps) · w
	LayerNorm                 // (x − mean) / √(var + eps) · w + b
)

// NormSpec describes a normalisation. PlusOne multiplies by 1+w (Gemma).
type NormSpec struct {
	Kind    NormKind
	Eps     float32
	PlusOne bool
}

// RopeSpec describes rotary position embedding over rows of Heads·HeadDim elements. The first RotaryDim elements of a
// head are rotated: element i pairs with i+RotaryDim/2 (Hugging Face's rotate-half), or 2i with 2i+1 if Interleaved.
// Sign is +1 forward and −1 backward: the inverse of a rotation is its transpose. Strides are in elements between the
// rows of x and y, which may be the same memory.
type RopeSpec struct {
	Heads, HeadDim, RotaryDim int
	Interleaved               bool
	Sign                      float32
	StrideX, StrideY          int
}

// AttnSpec describes softmax attention over packed sequences.
//
// Row i of q belongs to the sequence s with CuQ[s] ≤ i < CuQ[s+1]; keys and values of s begin at row CuK[s]. If UsedK is
// present, s has UsedK[s] keys (a KV cache holds room for more), else CuK[s+1] − CuK[s]. With nq queries and nk keys,
// query i stands at key position i + nk − nq (bottom-right alignment): Causal hides keys after it, Window > 0 those more
// than Window−1 before it. Query head h reads key head h / (Heads/KVHeads). Scores are scale·q·k, then SoftCap·tanh(score
// / SoftCap) if SoftCap > 0, then the bias is added, then softmax in float32, then dropout with probability Dropout from
// Key, where the counter index is (h·TotalQ + i)·MaxK + j for query row i and the sequence's j-th key.
//
// A bias, if present, is float32 of shape [Heads, N, N], or [1, N, N] for all heads, N at least the keys of any sequence:
// element (h, p, j) is added to the score, neither scaled nor capped, of head h for the query that stands at key position
// p of its sequence and that sequence's j-th key. So one bias serves sequences of all lengths, and with a KV cache a query
// finds the row of its position. Every query must stand at a key: no sequence may have more queries than keys. −∞ hides a
// key; keys hidden by Causal, Window or UsedK stay hidden whatever their bias.
//
// With Alone a query has the bits that it has as the only query of its sequence: devices that are a Drafter have it, for the forward pass.
//
// MaxQ and MaxK bound the lengths of a sequence. Strides are elements between rows, so that a fused qkv projection stays
// one buffer.
type AttnSpec struct {
	CuQ, CuK, UsedK                    Tensor // int32 [Seqs+1], [Seqs+1], [Seqs]
	Seqs, MaxQ, MaxK                   int
	Heads, KVHeads, HeadDim            int
	StrideQ, StrideK, StrideV, StrideO int
	Causal, Alone                      bool
	Window                             int
	Scale, SoftCap                     float32
	Dropout                            float32
	Key                                RNGKey
}

// CESpec describes a softmax cross-entropy over rows of logits. Targets equal to IgnoreIndex count nothing. Logits are
// soft-capped first if SoftCap > 0. With Smoothing ε the log-likelihood of a row is (1−ε)·logp[target] + ε·mean(logp).
type CESpec struct {
	IgnoreIndex int32
	SoftCap     float32
	Smoothing   float32
}

// The columns of the rows that CrossEntropy writes.
const (
	CELogp    = iota // log-likelihood of the target (smoothed if asked); 0 if ignored
	CELSE            // log Σ exp(logit)
	CECorrect        // 1 if the target is the (first) largest logit; 0 if ignored
	CEEntropy        // entropy of the predicted distribution in nats; 0 if ignored
	CECols
)

// OptKind is an optimiser's update rule.
type OptKind uint8

// Optimisers. s1 and s2 are their states.
const (
	SGD   OptKind = iota // s1: momentum buffer, if Momentum ≠ 0; weight decay is added to the gradient
	Adam                 // s1, s2: moments; weight decay is added to the gradient
	AdamW                // s1, s2: moments; decoupled weight decay
	Lion                 // s1: momentum; decoupled weight decay
)

// OptSpec holds what all parameters of an update share. Step counts from 1.
type OptSpec struct {
	Kind         OptKind
	Step         int
	Beta1, Beta2 float32
	Eps          float32
	Momentum     float32
	Nesterov     bool
}

// Segment is a run of the flat parameter vector with its own learning rate and weight decay.
type Segment struct {
	Off, Len        int
	LR, WeightDecay float32
}

// GateSpec describes y = f(gate)·up over Rows rows of Cols elements; strides are elements between rows, so that gate and
// up may be the halves of one buffer.
type GateSpec struct {
	Op                            UnaryOp
	Rows, Cols                    int
	StrideGate, StrideUp, StrideY int
}

// Quant4 is a matrix [Rows, Cols] in NF4: a code of four bits an element, the even element in the high half of a byte, and a scale for
// each 64 consecutive elements of the flattened matrix. Scales are float32, or quantised themselves (double quantisation): then scale
// i is Map[AbsCodes[i]]·AbsScales[i/256] + Offset.
type Quant4 struct {
	Rows, Cols int
	Codes      Tensor // U8 [(Rows·Cols+1)/2]
	Absmax     Tensor // F32 [⌈Rows·Cols/64⌉], absent with double quantisation
	AbsCodes   Tensor // U8 [⌈Rows·Cols/64⌉]
	AbsScales  Tensor // F32 [⌈⌈Rows·Cols/64⌉/256⌉]
	Map        Tensor // F32 [256]
	Offset     float32
}

// Int8Rows is a matrix in whole numbers with a scale for each row: element (i,j) is Codes[i,j]·Scales[i].
type Int8Rows struct {
	Codes  Tensor // I8 [Rows, Cols], Rows at least 4
	Scales Tensor // F32 [Rows]
}

// Blocks8 is a vector in 8 bits: an index into a map of 256 ascending values an element, and a scale for each 256 consecutive
// elements.
type Blocks8 struct {
	Codes  Tensor // U8 [n]
	Absmax Tensor // F32 [⌈n/256⌉]
	Map    Tensor // F32 [256]: quant.DynamicMap(Signed)
	Signed bool
}

// Kernels are the operations of a backend. Outputs come first and are allocated by the caller; acc means "+=", otherwise
// an output is overwritten without being read. Inputs and outputs must not overlap unless a kernel says they may. All
// reductions have an order that depends on shapes only. Errors name the kernel and the shapes.
//
// Floating-point operands are F32, or BF16 where the activation type is BF16; arithmetic and reductions are in float32.
// Statistics, log-sum-exps, losses, gradients of parameters and optimiser states are F32.
type Kernels interface {
	// Gemm multiplies matrices as GemmSpec says. A present bias [N] is added to every row of C.
	Gemm(s GemmSpec, c, a, b, bias Tensor) error

	// Unary computes y = op(x); y may be x.
	Unary(op UnaryOp, k float32, y, x Tensor) error
	// UnaryBwd computes dx = dy·op'(x); dx may be dy.
	UnaryBwd(op UnaryOp, k float32, dx, dy, x Tensor, acc bool) error
	// Binary computes y = a op b. b has a's shape, or is a row [C] or a column [R,1] of a seen as a matrix [R,C].
	// y may be a.
	Binary(op BinaryOp, y, a, b Tensor, acc bool) error
	// Gate computes y = op(gate)·up.
	Gate(s GateSpec, y, gate, up Tensor) error
	// GateBwd computes dgate = dy·up·op'(gate) and dup = dy·op(gate), with gate's and up's strides. dgate may be gate
	// and dup may be up.
	GateBwd(s GateSpec, dgate, dup, dy, gate, up Tensor) error
	// Reduce folds x seen as a matrix [R,C] along axis 0 (y is [C]) or 1 (y is [R]).
	Reduce(op ReduceOp, y, x Tensor, axis int, acc bool) error

	// Norm normalises the rows of x [R,C]; stats [R,2] receives mean and reciprocal deviation. b may be absent.
	Norm(s NormSpec, y, stats, x, w, b Tensor) error
	// NormBwd computes dx (+= if acc), and adds to dw and db [C] unless they are absent. dx may be dy if acc is false.
	NormBwd(s NormSpec, dx, dw, db, dy, stats, x, w Tensor, acc bool) error

	// Rope rotates the rows of x by their positions pos (int32 [R]). table [P, RotaryDim] holds RotaryDim/2 cosines,
	// then as many sines, for each position. y may be x. Elements from RotaryDim on are copied.
	Rope(s RopeSpec, y, x, table, pos Tensor) error

	// Attention computes o and the log-sum-exp of the scores lse [Heads, TotalQ]. bias may be absent.
	Attention(s AttnSpec, o, lse, q, k, v, bias Tensor) error
	// AttentionBwd computes dq, dk and dv, laid out with the strides of q, k and v, and adds to dbias, laid out as bias,
	// unless it is absent: the sum over the sequences, and over the heads that share it. delta [Heads, TotalQ] is scratch.
	AttentionBwd(s AttnSpec, dq, dk, dv, dbias, do, o, lse, delta, q, k, v, bias Tensor) error

	// Gather copies rows of table [V,C] : y[i] = table[ids[i]].
	Gather(y, table, ids Tensor) error
	// ScatterAdd adds rows : dtable[ids[i]] += dy[i], in order of i.
	ScatterAdd(dtable, dy, ids Tensor) error
	// Dequant writes rows row … row+R−1 of q to w [R,Cols], F32 or BF16: code·scale in float32, rounded once.
	Dequant(w Tensor, q Quant4, row int) error
	// PutRows copies rows : dst[rows[i]] = src[i]. dst [N,C]; src rows are srcStride elements apart.
	PutRows(dst, src Tensor, srcStride int, rows Tensor) error

	// CrossEntropy writes rows [R,CECols] for logits [R,V] and targets int32 [R].
	CrossEntropy(s CESpec, rows, logits, targets Tensor) error
	// CrossEntropyBwd computes dlogits = drow[i]·∂rows[i,CELogp]/∂logits[i]; zero rows where ignored. An absent drow
	// stands for −1 everywhere: the gradient of the summed loss. dlogits may be logits. Logits of F32 may have dlogits of BF16.
	CrossEntropyBwd(s CESpec, dlogits, logits, rows, targets, drow Tensor) error

	// Dropout computes y = x/(1−p) where key keeps an element and 0 elsewhere (see RNGKey); y may be x. Backward is the
	// same call on the gradient. With acc y += that.
	Dropout(y, x Tensor, p float32, key RNGKey, acc bool) error

	// SumSq computes out[0] = Σ x² (+= if acc).
	SumSq(out, x Tensor, acc bool) error
	// ClipScale turns the squared norm of the unscaled gradient into what Optim needs: norm = √sumsq[0]·inv; out[0] =
	// inv·min(1, maxNorm/(norm+1e−6)), or inv if maxNorm ≤ 0; out[1] = norm. A norm that is not finite makes out[0] NaN.
	ClipScale(out, sumsq Tensor, inv, maxNorm float32) error
	// Decode8 computes x = map[code]·absmax, x F32 [n].
	Decode8(x Tensor, q Blocks8) error
	// Encode8 sets absmax to the largest magnitude of each block and codes to the values of the map nearest to x/absmax, of two
	// equally near the lower.
	Encode8(q Blocks8, x Tensor) error
	// Optim updates the segments of the flat vectors master (F32; the parameters) and its states from gradient g
	// multiplied by scale[0], and writes w, the rounded copy that the model computes with, unless absent. A scale that
	// is not finite changes nothing.
	Optim(s OptSpec, segs []Segment, w, master, s1, s2, g, scale Tensor) error
}
