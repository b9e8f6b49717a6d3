"""Checkpoints in NF4 as transformers and bitsandbytes write them, of the models of models.py, and what they compute with them.

Writes testdata/bnb/<model>[-nested]/{config.json,model.safetensors,golden.json,golden.safetensors}; README.md describes them.
With --load DIR it loads a quantised checkpoint that mltrain wrote instead and prints its logits as JSON.
"""

import json
import sys

import common  # first: it sets the environment before torch is loaded

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import models

BASE = common.TESTDATA / "models"
CASES = [("llama", False), ("llama", True), ("gpt2", True), ("gemma2", False)]


def load(folder, **options):
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", device_map="cpu", **options).eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # that path repacks weights and takes only sides that are multiples of 32
    return model


def logits_of(model, base):
    reference = json.loads((BASE / base / "golden.json").read_text())
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
        load(BASE / base, quantization_config=config, dtype=torch.float32).save_pretrained(folder)
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
