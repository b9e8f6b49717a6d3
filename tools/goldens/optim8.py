"""Ten steps of bitsandbytes' AdamW8bit on the CPU: parameters, and the codes and scales of its states.

Writes testdata/quant/adamw8bit.safetensors; README.md describes the layout.

The optimiser is bitsandbytes' own but for one thing. On the CPU 0.50.2 encodes states with a kernel that first rounds to one of 65536 steps
from -1 to 1: no second moment is less than 1/65536 of its block's largest. Its CUDA kernel, and its code for devices without a kernel of their
own, find the nearest of the map's values; the script has the CPU do so too. "--coarse" prints how far the two are from each other.
"""

import sys

import common  # first: it sets the environment before torch is loaded

import bitsandbytes
import torch
from bitsandbytes.backends.cpu import ops

STEPS, KEPT = 10, (1, 4, 10)
OPTIONS = dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
SHAPES = {"large": (1, 4099), "small": (1, 60)}  # 16 blocks of 256 and a short one; fewer than 4096 elements stay float32


def generic(x, code, absmax, codes, block):
    """quantize_blockwise as bitsandbytes registers it for devices without a kernel of their own."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CompositeExplicitAutograd)
    q, scales = torch.ops.bitsandbytes.quantize_blockwise.default.redispatch(keys, x, code, block)
    codes.copy_(q)
    absmax.copy_(scales)


def gradients(name, shape):
    """Of magnitudes from 1 to 1e-5 by block, with a block of zeros and one whose gradients stop after three steps."""
    at = torch.arange(shape[1])
    scale = 10.0 ** -(at % 2) * 100.0 ** -(at // 256 % 3)
    out = []
    for step in range(1, STEPS + 1):
        g = common.randn(f"optim8/{name}/{step}", *shape) * scale
        g[:, 512:768] = 0
        g[:, 1024:1280] = torch.sign(g[:, 1024:1280]) * (0.25 if step <= 3 else 0.0)
        out.append(g)
    return out


def train(name, shape):
    p = torch.nn.Parameter(common.randn(f"optim8/{name}", *shape) * 0.1)
    optimizer = bitsandbytes.optim.AdamW8bit([p], **OPTIONS)
    out = {"start": p.detach().clone()}
    for step, g in enumerate(gradients(name, shape), 1):
        p.grad = g.clone()
        optimizer.step()
        out[f"grad.{step}"] = g
        if step in KEPT:
            state = optimizer.state[p]
            out[f"param.{step}"] = p.detach().clone()
            for key in ("state1", "state2", "absmax1", "absmax2"):
                if key in state:
                    out[f"{key}.{step}"] = state[key].clone()
    return {f"{name}.{k}": v for k, v in out.items()}


def both():
    tensors = {}
    for name, shape in SHAPES.items():
        tensors |= train(name, shape)
    return tensors


def generate(out, only):
    ops._quant_blockwise_fp32_direct = generic
    common.write_tensors(out / "quant" / "adamw8bit.safetensors", both())


def coarse():
    kernel, ops._quant_blockwise_fp32_direct = ops._quant_blockwise_fp32_direct, generic
    want = both()
    ops._quant_blockwise_fp32_direct = kernel
    got = both()
    for step in KEPT:
        differ = {k: (got[f"large.{k}.{step}"] != want[f"large.{k}.{step}"]).float().mean() for k in ("state1", "state2")}
        param = (got[f"large.param.{step}"] - want[f"large.param.{step}"]).abs().max()
        print(f"step {step}: codes that differ: {differ['state1']:.0%} of the first moments, {differ['state2']:.0%} of the second; parameters by {param:.2g}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--coarse"]:
        common.setup()
        coarse()
    else:
        common.run(__doc__, ["quant/adamw8bit.safetensors"], generate)
