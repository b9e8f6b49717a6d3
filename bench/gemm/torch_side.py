"""The PyTorch side of the comparison: torch.mm (MKL in float32, oneDNN in bfloat16). Started by main.go.

usage: torch_side.py THREADS f32|bf16 SECONDS [NAMES]   prints one line per shape: name, fastest and median nanoseconds.
"""
import csv
import os
import sys
import time

threads, kind, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
only = [name for name in "".join(sys.argv[4:5]).split(",") if name]  # of shapes; all without
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
import torch  # noqa: E402  (after the thread counts are set)

torch.set_num_threads(threads)
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[kind]
# One thread is timed by its own clock, which stops while other programs have the core.
clock = time.CLOCK_THREAD_CPUTIME_ID if threads == 1 else time.CLOCK_MONOTONIC


def operand(trans, rows, cols):
    if trans:
        return (torch.rand(cols, rows) - 0.5).to(dtype).t()
    return (torch.rand(rows, cols) - 0.5).to(dtype)


for row in csv.DictReader(open(os.path.join(os.path.dirname(__file__), "shapes.csv"))):
    if only and row["name"] not in only:
        continue
    m, n, k = int(row["m"]), int(row["n"]), int(row["k"])
    a, b = operand(row["transA"] == "1", m, k), operand(row["transB"] == "1", k, n)
    out = torch.empty(m, n, dtype=dtype)
    torch.mm(a, b, out=out)
    times, end = [], time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < end:
        start = time.clock_gettime_ns(clock)
        torch.mm(a, b, out=out)
        times.append(time.clock_gettime_ns(clock) - start)
    times.sort()
    print(row["name"], times[0], times[len(times) // 2], flush=True)
