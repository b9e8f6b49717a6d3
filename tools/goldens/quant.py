"""What bitsandbytes makes of awkward blocks on the CPU: NF4 with and without double quantisation, 8-bit blockwise.

Writes testdata/quant/quant.safetensors; README.md describes the layout.
"""

import common  # first: it sets the environment before torch is loaded

import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file

NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
       0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def rand(name, *shape):
    return torch.randn(*shape, generator=common.generator(name))


def borderline():
    """Every midpoint between two codes and its neighbours, in blocks whose largest magnitude is 1 or an odd number."""
    rows = []
    code = torch.tensor(NF4)
    mid = (code[1:] + code[:-1]) / 2
    for scale in (1.0, 3.3, 0.0177, 1e30, 1e-30):
        for v in (mid, torch.nextafter(mid, torch.tensor(9.0)), torch.nextafter(mid, torch.tensor(-9.0))):
            rows.append(torch.cat([v * scale, torch.tensor([scale]), torch.zeros(48)]))
    return torch.stack(rows)


CASES = {
    "random": lambda: rand("quant/random", 8, 128),
    "odd": lambda: rand("quant/odd", 7, 37),  # blocks straddle rows, the last one is short
    "one": lambda: rand("quant/one", 1, 1),
    "constant": lambda: torch.full((4, 64), -0.3),
    "zero": lambda: torch.cat([torch.zeros(64), rand("quant/zero", 64), torch.zeros(64)]).reshape(3, 64),
    "huge": lambda: rand("quant/huge", 4, 64) * 1e37,
    "tiny": lambda: rand("quant/tiny", 4, 64) * 1e-36,
    "spread": lambda: rand("quant/spread", 300, 64) * torch.exp(4 * rand("quant/scales", 300, 1)),  # more than one block of 256 scales
    "borderline": borderline,
}


def main():
    out = {}
    for name, make in CASES.items():
        x = make().float().contiguous()
        out[f"{name}.x"] = x
        q, s = F.quantize_4bit(x, blocksize=64, quant_type="nf4")
        out[f"{name}.nf4"], out[f"{name}.absmax"] = q.flatten(), s.absmax
        big = name == "spread"
        if not big:
            out[f"{name}.dequant"] = F.dequantize_4bit(q, s)
        q2, s2 = F.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=True)
        assert torch.equal(q, q2)
        out[f"{name}.nested"], out[f"{name}.nested_absmax"], out[f"{name}.offset"] = s2.absmax, s2.state2.absmax, s2.offset.reshape(1)
        if not big:
            out[f"{name}.nested_dequant"] = F.dequantize_4bit(q2, s2)
        for signed in (True, False):
            code = F.create_dynamic_map(signed)
            v = x if signed else x.abs()
            q8, s8 = F.quantize_blockwise(v, code=code, blocksize=256)
            kind = "int8" if signed else "uint8"
            out[f"{name}.{kind}"], out[f"{name}.{kind}_absmax"] = q8, s8.absmax
            if not big:
                out[f"{name}.{kind}_dequant"] = F.dequantize_blockwise(q8, s8)
    out["map.signed"], out["map.unsigned"] = F.create_dynamic_map(True), F.create_dynamic_map(False)
    path = common.TESTDATA / "quant" / "quant.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in out.items()}, path)
    print(path, path.stat().st_size)


main()
