package ptxvm

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

const header = ".version 7.8\n.target sm_80\n.address_size 64\n"

// program wraps the body of a kernel with two pointers: %a to the input, %b to the output, and the thread's number %t.
func program(body string) string {
	return header + `.visible .entry k(.param .u64 k_a, .param .u64 k_b)
{
	.reg .pred %p<4>;
	.reg .b16 %h<4>;
	.reg .b32 %r<16>;
	.reg .f32 %f<8>;
	.reg .b64 %rd<8>;
	.reg .b64 %a, %b, %t4;
	.reg .b32 %t;
	.shared .align 16 .b8 sm[4096];
	ld.param.u64 %a, [k_a];
	ld.param.u64 %b, [k_b];
	mov.u32 %t, %tid.x;
	mul.wide.u32 %t4, %t, 4;
	add.s64 %a, %a, %t4;
	add.s64 %b, %b, %t4;
` + body + "\n\tret;\n}\n"
}

// execute runs a kernel of one block on in, and returns as many output words as there are threads.
func execute(t *testing.T, src string, threads int, in []uint32) ([]uint32, error) {
	t.Helper()
	m, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	mem := NewMemory(1 << 20)
	a, b := must(t, mem, 4*len(in)), must(t, mem, 4*threads)
	raw := make([]byte, 4*len(in))
	for i, v := range in {
		binary.LittleEndian.PutUint32(raw[4*i:], v)
	}
	if err := mem.Write(a, raw); err != nil {
		t.Fatal(err)
	}
	params := binary.LittleEndian.AppendUint64(nil, a)
	params = binary.LittleEndian.AppendUint64(params, b)
	err = m.Kernel("k").Launch(mem, Dim{1}, Dim{threads}, 0, params)
	out := make([]byte, 4*threads)
	if e := mem.Read(out, b); e != nil {
		t.Fatal(e)
	}
	res := make([]uint32, threads)
	for i := range res {
		res[i] = binary.LittleEndian.Uint32(out[4*i:])
	}
	return res, err
}

func must(t *testing.T, m *Memory, n int) uint64 {
	t.Helper()
	p, err := m.Alloc(int64(n))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func counting(n int) []uint32 {
	x := make([]uint32, n)
	for i := range x {
		x[i] = uint32(i)
	}
	return x
}

// Each breach of the rules must be found, at the right place.
func TestFaults(t *testing.T) {
	store := "	cvt.u32.u64 %r1, %t4;\n	mov.u32 %r2, sm;\n	add.s32 %r1, %r1, %r2;\n	st.shared.u32 [%r1], %t;\n"
	for _, c := range []struct {
		name, body, want string
		threads, lane    int
	}{
		{"store past the end", "	st.global.u32 [%b+4], %t;", "past the end", 64, 63},
		{"load before the start", "	ld.global.u32 %r1, [%a+-4];", "in no allocation", 64, 0},
		{"null pointer", "	mov.u64 %rd1, 0;\n	ld.global.u32 %r1, [%rd1];", "null pointer", 1, 0},
		{"misaligned", "	ld.global.u32 %r1, [%a+2];", "not aligned", 32, 0},
		{"misaligned vector", "	ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%a];", "not aligned", 32, 1},
		{"uninitialised global", "	ld.global.u32 %r1, [%b];", "nothing has written", 32, 0},
		{"uninitialised shared", "	ld.shared.u32 %r1, [sm+16];", "nothing has written", 32, 0},
		{"the system's shared memory", "	st.shared.u32 [sm+-4], %t;", "at -4 is outside", 1, 0},
		{"shared past the end", "	st.shared.u32 [sm+4096], %t;", "outside of the 4096 bytes", 1, 0},
		{"read without barrier", store + "	xor.b32 %r3, %r1, 128;\n	setp.ge.u32 %p1, %t, 32;\n	@%p1 ld.shared.u32 %r4, [%r3];", "wrote without a barrier", 64, 32},
		{"read in a warp without barrier", store + "	xor.b32 %r3, %r1, 4;\n	ld.shared.u32 %r4, [%r3];", "wrote without a barrier", 32, 0},
		{"two writers", "	st.shared.u32 [sm], %t;", "wrote without a barrier", 2, 1},
		{"write after lanes of the warp read", store + "	bar.warp.sync -1;\n	ld.shared.u32 %r4, [sm];\n	st.shared.u32 [%r1], %t;", "other threads read without a barrier", 32, 0},
		{"write after other warps read", store + "	bar.sync 0;\n	ld.shared.u32 %r4, [sm];\n	bar.warp.sync -1;\n	st.shared.u32 [%r1], %t;", "wrote without a barrier", 64, 32},
		{"write after read", store + "	bar.sync 0;\n	ld.shared.u32 %r4, [%r1];\n	xor.b32 %r3, %r1, 4;\n	st.shared.u32 [%r3], %t;", "read without a barrier", 32, 0},
		{"missing wait", "	mov.u32 %r2, sm;\n	cp.async.ca.shared.global [%r2], [%a], 4;\n	cp.async.commit_group;\n	ld.shared.u32 %r3, [sm];", "unfinished cp.async", 1, 0},
		{"end without wait", "	mov.u32 %r2, sm;\n	cp.async.ca.shared.global [%r2], [%a], 4;\n	cp.async.commit_group;", "ends with an unfinished", 1, 0},
		{"divergent barrier", "	setp.lt.u32 %p1, %t, 40;\n	@%p1 bra $L1;\n	bra.uni $L2;\n$L1:\n	bar.sync 0;\n$L2:", "has ended while", 64, 32},
		{"two barriers", "	setp.lt.u32 %p1, %t, 32;\n	@%p1 bra $L1;\n	bar.sync 0;\n	bra.uni $L2;\n$L1:\n	bar.sync 0;\n$L2:", "another at the one", 64, 0},
		{"shuffle without all lanes", "	setp.lt.u32 %p1, %t, 8;\n	@%p1 shfl.sync.bfly.b32 %r1, %t, 1, 31, -1;", "do not take part", 32, 0},
		{"shuffle outside of its mask", "	shfl.sync.bfly.b32 %r1, %t, 1, 31, 255;", "does not name", 32, 8},
		{"trap", "	trap;", "trap", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := program(c.body)
			_, err := execute(t, src, c.threads, counting(64))
			var f *Fault
			if !errors.As(err, &f) {
				t.Fatalf("no fault but %v", err)
			}
			if !strings.Contains(f.Why, c.want) || f.Kernel != "k" || f.Thread[0] != c.lane {
				t.Errorf("got %v, want thread %d and %q", f, c.lane, c.want)
			}
			if line := strings.Split(src, "\n")[f.Line-1]; !strings.Contains(line, strings.Fields(f.Text)[0]) {
				t.Errorf("line %d is %q, the instruction %q", f.Line, line, f.Text)
			}
		})
	}
}

// What is allowed must pass: the counterparts of the faults.
func TestSynchronised(t *testing.T) {
	store := "	cvt.u32.u64 %r1, %t4;\n	mov.u32 %r2, sm;\n	add.s32 %r1, %r1, %r2;\n	st.shared.u32 [%r1], %t;\n"
	for name, c := range map[string]struct {
		body    string
		threads int
		want    func(i uint32) uint32
	}{
		"barrier":                  {store + "	bar.sync 0;\n	xor.b32 %r3, %r1, 128;\n	ld.shared.u32 %r4, [%r3];\n	st.global.u32 [%b], %r4;", 64, func(i uint32) uint32 { return i ^ 32 }},
		"warp barrier":             {store + "	bar.warp.sync -1;\n	xor.b32 %r3, %r1, 4;\n	ld.shared.u32 %r4, [%r3];\n	st.global.u32 [%b], %r4;", 32, func(i uint32) uint32 { return i ^ 1 }},
		"warp barrier after reads": {store + "	bar.warp.sync -1;\n	ld.shared.u32 %r4, [sm];\n	bar.warp.sync -1;\n	st.shared.u32 [%r1], %t;\n	st.global.u32 [%b], %r4;", 32, func(uint32) uint32 { return 0 }},
		"async": {"	cvt.u32.u64 %r1, %t4;\n	mov.u32 %r2, sm;\n	add.s32 %r1, %r1, %r2;\n	cp.async.ca.shared.global [%r1], [%a], 4;\n	cp.async.commit_group;\n" +
			"	cp.async.wait_group 0;\n	ld.shared.u32 %r4, [%r1];\n	st.global.u32 [%b], %r4;", 32, func(i uint32) uint32 { return i }},
		"lanes that part meet again": {"	and.b32 %r1, %t, 1;\n	setp.eq.s32 %p1, %r1, 0;\n	@%p1 bra $L1;\n	add.s32 %r2, %t, 100;\n	bra.uni $L2;\n$L1:\n	add.s32 %r2, %t, 200;\n$L2:\n" +
			"	shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;\n	st.global.u32 [%b], %r3;", 32, func(i uint32) uint32 { return (i ^ 1) + 200 - 100*((i^1)&1) }},
		"lanes wait at a shuffle for others": {"	and.b32 %r1, %t, 1;\n	setp.eq.s32 %p1, %r1, 0;\n	@%p1 bra $L3;\n$L1:\n	shfl.sync.bfly.b32 %r3, %t, 1, 31, -1;\n	bra.uni $L4;\n$L3:\n	mov.u32 %r2, 1;\n	bra.uni $L1;\n$L4:\n" +
			"	st.global.u32 [%b], %r3;", 32, func(i uint32) uint32 { return i ^ 1 }},
		"vote":                         {"	and.b32 %r1, %t, 1;\n	setp.eq.s32 %p1, %r1, 0;\n	vote.sync.ballot.b32 %r2, %p1, -1;\n	st.global.u32 [%b], %r2;", 32, func(uint32) uint32 { return 0x55555555 }},
		"up":                           {"	shfl.sync.up.b32 %r2, %t, 3, 0, -1;\n	st.global.u32 [%b], %r2;", 32, func(i uint32) uint32 { return i - 3*bit(i >= 3) }},
		"down":                         {"	shfl.sync.down.b32 %r2, %t, 3, 31, -1;\n	st.global.u32 [%b], %r2;", 32, func(i uint32) uint32 { return i + 3*bit(i < 29) }},
		"idx":                          {"	shfl.sync.idx.b32 %r2, %t, 5, 31, -1;\n	st.global.u32 [%b], %r2;", 32, func(uint32) uint32 { return 5 }},
		"shared memory begins at 1024": {"	mov.u32 %r2, sm;\n	st.global.u32 [%b], %r2;", 32, func(uint32) uint32 { return 1024 }},
		"negative literal is unsigned": {"	mul.hi.u32 %r2, %t, -1;\n	st.global.u32 [%b], %r2;", 32, func(i uint32) uint32 { return uint32(uint64(i) * 0xffffffff >> 32) }},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := execute(t, program(c.body), c.threads, counting(64))
			if err != nil {
				t.Fatal(err)
			}
			for i, g := range got {
				if w := c.want(uint32(i)); g != w {
					t.Errorf("thread %d: %d, want %d", i, g, w)
				}
			}
		})
	}
}

// fma must be rounded once. The reference is exact arithmetic.
func TestFMA(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() float32 {
		return math.Float32frombits(rng.Uint32()&0x807fffff | uint32(rng.IntN(60)+97)<<23)
	}
	check := func(x, y, z float32) {
		p := new(big.Float).SetPrec(500).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
		want, _ := p.Add(p, big.NewFloat(float64(z))).Float32()
		if got := fma(x, y, z); got != want {
			t.Errorf("fma(%g, %g, %g) = %g, want %g", x, y, z, got, want)
		}
	}
	for range 200_000 {
		check(random(), random(), random())
	}
	// A product just above a tie, which float64 cannot tell from the tie.
	check(1+0x1p-12, 1+0x1p-12, 0x1p-90)
	check(1+0x1p-23, 1, 0x1p-24)
	check(0x1.000002p0, 0x1.000002p-1, 0x1p60)
	check(0x1p-75, 0x1p-75, 0x1p-149)
	check(0x1.8p-75, 0x1p-75, 0)
}

func TestMultiplyMatrices(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	// One warp multiplies A [16,16] by B [16,8]; fragments are loaded by ldmatrix from rows of 16 and 8 elements.
	src := program(`	.reg .b32 %q<12>;
	.reg .f32 %c<8>;
	mul.lo.s32 %r1, %t, 24;
	mov.u32 %r2, sm;
	shl.b32 %r3, %t, 4;
	add.s32 %r4, %r2, %r3;
	mul.wide.u32 %rd1, %t, 12;
	add.s64 %rd2, %a, %rd1;
	ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%rd2];
	st.shared.v4.u32 [%r4], {%r5,%r6,%r7,%r8};
	ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%rd2+512];
	st.shared.v4.u32 [%r4+512], {%r5,%r6,%r7,%r8};
	bar.sync 0;
	and.b32 %r9, %t, 15;
	shl.b32 %r9, %r9, 5;
	shr.u32 %r10, %t, 4;
	shl.b32 %r10, %r10, 4;
	add.s32 %r9, %r9, %r10;
	add.s32 %r9, %r9, %r2;
	ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%q0,%q1,%q2,%q3}, [%r9];
	and.b32 %r9, %t, 15;
	shl.b32 %r9, %r9, 4;
	add.s32 %r9, %r9, %r2;
	ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%q4,%q5}, [%r9+512];
	mov.f32 %c0, 0f00000000;
	mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%c1,%c2,%c3,%c4}, {%q0,%q1,%q2,%q3}, {%q4,%q5}, {%c0,%c0,%c0,%c0};
	add.s64 %rd3, %b, %rd1;
	st.global.v4.f32 [%rd3], {%c1,%c2,%c3,%c4};`)
	in := make([]uint32, 128+128)
	value := func(i int) float32 { return math.Float32frombits(in[i/2] >> (16 * (i % 2)) << 16) }
	for i := range in[:192] {
		in[i] = uint32(bfloat(float32(rng.NormFloat64())))<<16 | uint32(bfloat(float32(rng.NormFloat64())))
	}
	m, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	mem := NewMemory(1 << 20)
	a, b := must(t, mem, 1024), must(t, mem, 512)
	raw := make([]byte, 1024)
	for i, v := range in {
		binary.LittleEndian.PutUint32(raw[4*i:], v)
	}
	if err := mem.Write(a, raw); err != nil {
		t.Fatal(err)
	}
	params := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, a), b)
	if err := m.Kernel("k").Launch(mem, Dim{1}, Dim{32}, 0, params); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 512)
	if err := mem.Read(out, b); err != nil {
		t.Fatal(err)
	}
	for l := range 32 {
		for i := range 4 {
			row, col := l/4+8*(i/2), 2*(l%4)+i%2
			want := 0.0
			for k := range 16 {
				want += float64(value(16*row+k)) * float64(value(256+8*k+col))
			}
			got := float64(math.Float32frombits(binary.LittleEndian.Uint32(out[16*l+4*i:])))
			if math.Abs(got-want) > 1e-5 {
				t.Errorf("C[%d,%d] is %v, want %v", row, col, got, want)
			}
		}
	}
}

func TestLaunchChecks(t *testing.T) {
	m, err := Load(program(""))
	if err != nil {
		t.Fatal(err)
	}
	k, mem := m.Kernel("k"), NewMemory(1<<20)
	for name, err := range map[string]error{
		"parameters": k.Launch(mem, Dim{1}, Dim{1}, 0, make([]byte, 8)),
		"threads":    k.Launch(mem, Dim{1}, Dim{1025}, 0, make([]byte, 16)),
		"shared":     k.Launch(mem, Dim{1}, Dim{1}, 1<<20, make([]byte, 16)),
		"grid":       k.Launch(mem, Dim{1, 70000}, Dim{1}, 0, make([]byte, 16)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMemory(t *testing.T) {
	m := NewMemory(1000)
	p := must(t, m, 600)
	if _, err := m.Alloc(600); err == nil {
		t.Error("more was allocated than there is")
	}
	if err := m.Write(p+1, make([]byte, 600)); err == nil {
		t.Error("a write past the end passed")
	}
	if err := m.Free(p + 1); err == nil {
		t.Error("a pointer into an allocation was freed")
	}
	if err := m.Free(p); err != nil {
		t.Error(err)
	}
	if err := m.Read(make([]byte, 1), p); err == nil {
		t.Error("freed memory was read")
	}
	if m.Used() != 0 {
		t.Errorf("%d bytes in use", m.Used())
	}
}

// FuzzLoad holds that no text makes the parser panic.
func FuzzLoad(f *testing.F) {
	f.Add(program("	bar.sync 0;"))
	f.Add(program("	mov.b64 {%r1,_}, %rd1;\n	@!%p1 bra $L;\n$L:"))
	f.Add(header + ".const .align 4 .b8 c[4] = {1, 2, 3, 4};")
	f.Add(header + ".visible .entry k(")
	f.Add("/*")
	f.Add(program("	ld.global.f32"))
	f.Fuzz(func(_ *testing.T, src string) {
		_, _ = Load(src)
	})
}
