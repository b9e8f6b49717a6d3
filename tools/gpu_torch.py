#!/usr/bin/env python3
"""Single kernels in PyTorch, on the operands of `mltrain bench kernels`: what tools/gpu-check compares with.

usage: gpu_torch.py --sizes JSON [--device cuda|cpu] [--rounds N]
--sizes is the field "sizes" of what mltrain prints. Prints one JSON object: "torch", "device", and "kernels", a list of
{"name": as mltrain has it, "peer": what computes, "seconds": a call} or {"name", "peer", "missing": why}.

Attention is scaled_dot_product_attention with its backend pinned, flash and cuDNN, each by name. "bnb-equivalent" decodes NF4 with double
quantisation as bitsandbytes does, by torch.compile on a GPU, and multiplies by cuBLAS.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]


class Bench:
    def __init__(self, device, sizes, rounds):
        self.device, self.s, self.rounds, self.out = device, sizes, rounds, []
        torch.manual_seed(1)

    def random(self, *shape, dtype=torch.bfloat16, grad=False):
        x = torch.randn(*shape, device=self.device, dtype=torch.float32).to(dtype)
        return x.requires_grad_(grad)

    def sync(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def run(self, call, n):
        self.sync()
        start = time.perf_counter()
        for _ in range(n):
            call()
        self.sync()
        return time.perf_counter() - start

    def measure(self, name, peer, make):
        """make returns the call. What this PyTorch cannot do is noted, not fatal."""
        try:
            call = make()
            self.run(call, 2)
            n = max(1, min(1000, int(0.02 / max(1e-6, self.run(call, 1)))))
            seconds = statistics.median(self.run(call, n) for _ in range(self.rounds)) / n
            self.out.append({"name": name, "peer": peer, "seconds": seconds})
        except (RuntimeError, NotImplementedError, ImportError, AttributeError) as e:
            self.out.append({"name": name, "peer": peer, "missing": str(e).strip().splitlines()[0][:200] if str(e) else type(e).__name__})
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def memory(self):
        n, hidden = self.s["Params"], self.s["Hidden"]
        rows = n // hidden

        def copy():
            x, y = self.random(n, dtype=torch.float32), torch.empty(n, device=self.device)
            return lambda: y.copy_(x)

        def adamw():
            p = torch.nn.Parameter(self.random(n, dtype=torch.float32))
            p.grad = self.random(n, dtype=torch.float32)
            return torch.optim.AdamW([p], lr=1e-5, weight_decay=0.01, fused=True).step

        def rmsnorm():
            x, w = self.random(rows, hidden), self.random(hidden)
            return lambda: F.rms_norm(x, (hidden,), w, 1e-5)

        def swiglu():
            gate, up = self.random(rows, hidden), self.random(rows, hidden)
            f = self.compiled(lambda g, u: F.silu(g) * u)
            return lambda: f(gate, up)

        self.measure("copy", "torch copy_", copy)
        self.measure("adamw", "torch fused AdamW", adamw)
        self.measure("rmsnorm", "torch rms_norm", rmsnorm)
        self.measure("swiglu", "torch, compiled on a GPU", swiglu)

    def compiled(self, f):
        return torch.compile(f) if self.device == "cuda" else f

    def quantised(self, rows, cols):
        """A random matrix in NF4 with double quantisation, and the function that decodes it."""
        blocks = rows * cols // 64
        codes = torch.randint(0, 256, (rows * cols // 2,), device=self.device, dtype=torch.uint8)
        abs_codes = torch.randint(0, 256, (blocks,), device=self.device, dtype=torch.uint8)
        scales, table = self.random((blocks + 255) // 256, dtype=torch.float32), self.random(256, dtype=torch.float32)
        values = torch.tensor(NF4, device=self.device)

        def decode():
            absmax = table[abs_codes.int()] * scales.repeat_interleave(256)[:blocks] + 0.1
            pairs = torch.stack((values[(codes >> 4).int()], values[(codes & 15).int()]), dim=-1)
            return (pairs.view(blocks, 64) * absmax[:, None]).to(torch.bfloat16).view(rows, cols)

        return self.compiled(decode)

    def linear(self):
        n = self.s["Hidden"]
        self.measure("dequantise", "bnb-equivalent", lambda: self.quantised(self.s["Wide"], n))
        for m in self.s["Rows"]:

            def plain():
                x, w = self.random(m, n), self.random(n, n)
                return lambda: F.linear(x, w)

            def packed():
                x, decode = self.random(m, n), self.quantised(n, n)
                return lambda: F.linear(x, decode())

            self.measure(f"linear M={m}", "torch bf16 linear", plain)
            # What NF4 is measured against: the layer with its weight in bfloat16, and decoding as a program in torch does it.
            self.measure(f"nf4 linear M={m}", "torch bf16 linear", plain)
            self.measure(f"nf4 linear M={m}", "bnb-equivalent", packed)

    def attention(self):
        tokens, heads, dim = self.s["Tokens"], self.s["Heads"], self.s["HeadDim"]
        backends = [("sdpa flash", SDPBackend.FLASH_ATTENTION)]
        if self.device == "cuda":
            backends.append(("sdpa cudnn", SDPBackend.CUDNN_ATTENTION))
        for seq in self.s["Seqs"]:
            for peer, backend in backends:

                def inputs(grad):
                    return [self.random(tokens // seq, heads, seq, dim, grad=grad) for _ in range(3)]

                def forward():
                    q, k, v = inputs(False)

                    def call():
                        with sdpa_kernel(backend):
                            F.scaled_dot_product_attention(q, k, v, is_causal=True)

                    return call

                def backward():
                    qkv = inputs(True)
                    with sdpa_kernel(backend):
                        o = F.scaled_dot_product_attention(*qkv, is_causal=True)
                    do = torch.randn_like(o)
                    return lambda: torch.autograd.grad(o, qkv, do, retain_graph=True)

                self.measure(f"attention forward causal {seq}", peer, forward)
                self.measure(f"attention backward causal {seq}", peer, backward)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", required=True)
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args()
    b = Bench(args.device, json.loads(args.sizes), args.rounds)
    b.memory()
    b.linear()
    b.attention()
    name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": name, "kernels": b.out}))


if __name__ == "__main__":
    main()
