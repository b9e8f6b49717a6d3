// Command gemm compares the matrix products of internal/cpu/gemm with OpenBLAS (float32) and PyTorch (MKL in float32,
// oneDNN in bfloat16). It needs libopenblas-dev; PyTorch is optional:
//
//	go run . -threads 1 -kind f32 -python /path/to/python >> ../gemm.csv
//
// Each side runs in processes of its own, which take turns: the idle threads of one library spin and would slow the
// other down. It prints CSV: GFLOP/s of the fastest and the median call of all turns, and the ratios to our own. With
// one thread the time is that of the thread's own clock, which stops while other programs have the core.
package main

/*
#cgo LDFLAGS: -lopenblas
#include <stdint.h>
typedef enum { ROW = 101, PLAIN = 111, TRANS = 112 } option;
void cblas_sgemm(option order, option ta, option tb, int m, int n, int k, float alpha, const float *a, int lda,
	const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int n);
*/
import "C"

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mltrain/mltrain/internal/cpu/gemm"
	"golang.org/x/sys/unix"
)

//go:embed shapes.csv
var shapesCSV string

type shape struct {
	name           string
	transA, transB bool
	m, n, k        int
}

// only names the shapes to measure, with commas between; empty means all.
var only string

func shapes() ([]shape, error) {
	rows, err := csv.NewReader(strings.NewReader(shapesCSV)).ReadAll()
	if err != nil {
		return nil, err
	}
	var out []shape
	for _, row := range rows[1:] {
		var v [5]int
		for i := range v {
			if v[i], err = strconv.Atoi(row[i+1]); err != nil {
				return nil, err
			}
		}
		if only != "" && !slices.Contains(strings.Split(only, ","), row[0]) {
			continue
		}
		out = append(out, shape{row[0], v[0] == 1, v[1] == 1, v[2], v[3], v[4]})
	}
	return out, nil
}

func main() {
	threads := flag.Int("threads", 1, "threads of every library")
	kind := flag.String("kind", "f32", "f32 or bf16")
	seconds := flag.Float64("seconds", 0.1, "time per shape and turn")
	rounds := flag.Int("rounds", 3, "turns per side")
	python := flag.String("python", "", "Python interpreter with PyTorch")
	flag.StringVar(&only, "only", "", "names of shapes, with commas between; all without")
	side := flag.String("side", "", "for child processes: ours or openblas")
	flag.Parse()
	var err error
	if *side != "" {
		err = measure(*side, *threads, *kind, time.Duration(*seconds*1e9))
	} else {
		err = compare(*threads, *kind, *seconds, *rounds, *python)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gemm:", err)
		os.Exit(1)
	}
}

// result is the fastest call of all turns and the median calls of the turns.
type result struct {
	best    float64
	medians []float64
}

func (r *result) median() float64 {
	slices.Sort(r.medians)
	return r.medians[len(r.medians)/2]
}

func compare(threads int, kind string, seconds float64, rounds int, python string) error {
	args := func(side string) []string {
		return []string{os.Args[0], "-side", side, "-threads", fmt.Sprint(threads), "-kind", kind, "-seconds", fmt.Sprint(seconds), "-only", only}
	}
	sides := []string{"ours"}
	commands := map[string][]string{"ours": args("ours")}
	if kind == "f32" {
		sides = append(sides, "openblas")
		commands["openblas"] = args("openblas")
	}
	if python != "" {
		sides = append(sides, "torch")
		commands["torch"] = []string{python, "torch_side.py", fmt.Sprint(threads), kind, fmt.Sprint(seconds), only}
	}
	results := map[string]map[string]*result{}
	for range rounds {
		for _, side := range sides {
			cmd := exec.Command(commands[side][0], commands[side][1:]...)
			cmd.Stderr = os.Stderr
			if side == "ours" { // OpenBLAS is in the program and would start threads, which spin
				cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1")
			}
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", side, err)
			}
			if err := collect(results, side, out); err != nil {
				return err
			}
		}
	}
	all, err := shapes()
	if err != nil {
		return err
	}
	peak := gemm.PeakF32()
	if kind == "bf16" {
		peak = gemm.PeakBF16()
	}
	fmt.Printf("# kind %s, threads %d, measured peak per core %.0f GFLOP/s\nshape,m,n,k,ours,ours_median", kind, threads, peak)
	for _, side := range sides[1:] {
		fmt.Printf(",%s,%s_median,ratio,ratio_median", side, side)
	}
	fmt.Println()
	for _, s := range all {
		flops := 2 * float64(s.m) * float64(s.n) * float64(s.k)
		ours := results[s.name]["ours"]
		fmt.Printf("%s,%d,%d,%d,%.1f,%.1f", s.name, s.m, s.n, s.k, flops/ours.best, flops/ours.median())
		for _, side := range sides[1:] {
			r := results[s.name][side]
			fmt.Printf(",%.1f,%.1f,%.2f,%.2f", flops/r.best, flops/r.median(), r.best/ours.best, r.median()/ours.median())
		}
		fmt.Println()
	}
	return nil
}

func collect(results map[string]map[string]*result, side string, out []byte) error {
	for line := range bytes.Lines(out) {
		var name string
		var best, median float64
		if _, err := fmt.Sscan(string(line), &name, &best, &median); err != nil {
			return fmt.Errorf("%s printed %q: %w", side, line, err)
		}
		if results[name] == nil {
			results[name] = map[string]*result{}
		}
		r := results[name][side]
		if r == nil {
			r = &result{best: math.Inf(1)}
			results[name][side] = r
		}
		r.best = min(r.best, best)
		r.medians = append(r.medians, median)
	}
	return nil
}

// measure times every shape on one side and prints name, fastest and median nanoseconds.
func measure(side string, threads int, kind string, budget time.Duration) error {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(threads)
	if side == "openblas" {
		C.openblas_set_num_threads(C.int(threads))
	} else {
		C.openblas_set_num_threads(1)
	}
	all, err := shapes()
	if err != nil {
		return err
	}
	for _, s := range all {
		call := product(side, kind, s)
		call()
		var times []float64
		for end := time.Now().Add(budget); len(times) < 3 || time.Now().Before(end); {
			start := now(threads)
			call()
			times = append(times, now(threads)-start)
		}
		slices.Sort(times)
		fmt.Println(s.name, times[0], times[len(times)/2])
	}
	return nil
}

func now(threads int) float64 {
	clock := int32(unix.CLOCK_MONOTONIC)
	if threads == 1 {
		clock = unix.CLOCK_THREAD_CPUTIME_ID
	}
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return float64(t.Nano())
}

func product(side, kind string, s shape) func() {
	spec := gemm.Spec{TransA: s.transA, TransB: s.transB, M: s.m, N: s.n, K: s.k, LDA: s.k, LDB: s.n, LDC: s.n, Alpha: 1}
	if s.transA {
		spec.LDA = s.m
	}
	if s.transB {
		spec.LDB = s.k
	}
	a, b, c := random(s.m*s.k), random(s.k*s.n), make([]float32, s.m*s.n)
	if side == "openblas" {
		option := map[bool]C.option{false: C.PLAIN, true: C.TRANS}
		return func() {
			C.cblas_sgemm(C.ROW, option[s.transA], option[s.transB], C.int(s.m), C.int(s.n), C.int(s.k), 1,
				(*C.float)(&a[0]), C.int(spec.LDA), (*C.float)(&b[0]), C.int(spec.LDB), 0, (*C.float)(&c[0]), C.int(s.n))
		}
	}
	if kind == "f32" {
		return func() { gemm.F32(spec, c, a, b, nil) }
	}
	// All of torch.mm's matrices are bfloat16, the result too.
	d := make([]uint16, len(c))
	x, y := half(a), half(b)
	return func() {
		gemm.Mul(spec, gemm.ComputeBF16Reduced, gemm.Data{BF16: d}, gemm.Data{BF16: x}, gemm.Data{BF16: y}, gemm.Data{})
	}
}

func random(n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = rand.Float32() - 0.5
	}
	return s
}

func half(s []float32) []uint16 {
	h := make([]uint16, len(s))
	for i, v := range s {
		h[i] = uint16(math.Float32bits(v) >> 16)
	}
	return h
}
