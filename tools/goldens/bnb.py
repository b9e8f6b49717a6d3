"""Checkpoints in NF4 as transformers and bitsandbytes write them, of the models of models.py, and what they compute with them.

Writes testdata/bnb/<model>[-nested]/{config.json,model.safetensors,golden.json,golden.safetensors}; README.md describes them.
"--load BASE DIR" loads the quantised checkpoint in DIR, that mltrain wrote of testdata/models/BASE, and prints its logits as JSON.

The CPU kernel of bitsandbytes 0.50.2 that decodes NF4 begins a block with every row, while it encodes (and its CUDA code does both)
over the flattened matrix: where a row is no multiple of 64, it decodes something else than was encoded. There the script computes
with bitsandbytes' generic code instead. The case wide has no such rows, and goes by the kernel.
"""

import json
import sys
import tempfile

import common  # first: it sets the environment before torch is loaded

import bitsandbytes
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

import models

BASE = common.TESTDATA / "models"
CASES = [("llama", False), ("llama", True), ("gpt2", True), ("gemma2", False), ("wide", True)]


def dequantise(weight):
    state = weight.quant_state
    absmax = state.absmax
    if state.nested:
        absmax = bitsandbytes.functional.dequantize_blockwise(absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(weight.data.reshape(-1), absmax, state.code, state.blocksize, state.shape, state.dtype)


def decoding(module):
    return lambda x: torch.nn.functional.linear(x, dequantise(module.weight), module.bias)


def wide(folder):
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=101, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, initializer_range=0.2, pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def load(folder, **options):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", device_map="cpu", **options).eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # that path repacks weights and takes only sides that are multiples of 32
            if module.in_features % 64:
                module.forward = decoding(module)
    return model


def logits_of(model, base):
    reference = json.loads((BASE / (base if base != "wide" else "llama") / "golden.json").read_text())
    with torch.no_grad():
        return models.forward(model, torch.tensor(reference["input_ids"]))


def generate(out, only):
    for base, nested in CASES:
        name = base + ("-nested" if nested else "")
        if only not in name:
            continue
        folder = out / "bnb" / name
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=nested, bnb_4bit_compute_dtype=torch.float32
        )
        with tempfile.TemporaryDirectory() as tmp:
            if base == "wide":
                wide(tmp)
            load(BASE / base if base != "wide" else tmp, quantization_config=config, dtype=torch.float32).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        logits = logits_of(load(folder), base)
        common.write_tensors(folder / "golden.safetensors", {f"logits.{i}": logits[i, :n] for i, n in enumerate(common.LENGTHS)})
        common.write_json(folder / "golden.json", {"base": base, "nested": nested})
        print(f"{name}: {sum(p.stat().st_size for p in folder.iterdir()) / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        common.setup()
        base, folder = sys.argv[2:4]
        logits = logits_of(load(folder), base)
        print(json.dumps([logits[i, :n].tolist() for i, n in enumerate(common.LENGTHS)]))
    else:
        common.run(__doc__, ["bnb"], generate)
