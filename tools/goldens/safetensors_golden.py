"""A safetensors file as the reference program writes it, for the reader and the writer of internal/checkpoint.

Writes testdata/safetensors/golden.safetensors with every dtype mltrain computes with, and other_dtypes.safetensors with some it
does not. The Go tests know the values by the formulas below.
"""

import torch
from safetensors.torch import save_file

import common


def ramp(n, dtype):
    """-n/4, -n/4 + 0.5, …: exact in every floating dtype here."""
    return (torch.arange(n, dtype=torch.float32) * 0.5 - n / 4).to(dtype)


def readable():
    return {
        "model.layers.10.weight": ramp(12, torch.float32).reshape(3, 4),
        "model.layers.2.weight": ramp(6, torch.float32).reshape(2, 3),
        "half": ramp(5, torch.float16),
        "brain": ramp(7, torch.bfloat16).reshape(1, 7),
        "ids": torch.arange(-2, 3, dtype=torch.int32),
        "codes": torch.arange(3, dtype=torch.uint8),
        "scalar": torch.tensor(1.5, dtype=torch.float32),
        "empty": torch.zeros(0, 4),
        'quoted "name"\\\u00e9': torch.tensor([2.0]),
    }


def other():
    return {
        "f8": ramp(4, torch.float8_e4m3fn),
        "f64": ramp(3, torch.float64),
        "i64": torch.arange(2),
        "flag": torch.tensor([True, False]),
        "plain": ramp(2, torch.float32),
    }


def generate(out, only):
    folder = out / "safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(readable(), folder / "golden.safetensors", metadata={"format": "pt"})
    save_file(other(), folder / "other_dtypes.safetensors")
    for path in folder.iterdir():
        path.chmod(0o644)


if __name__ == "__main__":
    common.run(__doc__, ["safetensors"], generate)
