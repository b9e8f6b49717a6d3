"""What PEFT makes of LoRA+ and PiSSA on the models of models.py and the adapters of peft_lora.py.

Writes testdata/peft/: loraplus.json (ten losses of each adapter under create_loraplus_optimizer) and pissa.json with
pissa.safetensors (the product B·A that PiSSA starts from, by module, and ten losses of AdamW from there). README.md describes
them.
"""

import json

import common  # first: it sets the environment before torch and peft are loaded

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer

import models
import peft_lora

LORAPLUS = ["llama-lora", "llama-embed", "llama-bias-all", "gpt2-lora"]
RATIO = 4.0
LR = 2e-3
DECAY = 0.01
PISSA = ["llama", "gpt2"]


def batch(base):
    reference = json.loads((peft_lora.BASE / base / "golden.json").read_text())
    return torch.tensor(reference["input_ids"]), torch.tensor(reference["labels"])


def losses(model, optimizer, base, steps=10):
    ids, labels = batch(base)
    out = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = common.causal_loss(models.forward(model, ids), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0, foreach=False)
        optimizer.step()
        out.append(loss.item())
    return out


def loraplus():
    record = {"lr": LR, "loraplus_lr_ratio": RATIO, "weight_decay": DECAY, "max_grad_norm": 1.0, "losses": {}}
    for name in LORAPLUS:
        folder = common.TESTDATA / "lora" / name
        base = json.loads((folder / "golden.json").read_text())["base"]
        model = peft_lora.load(base, folder)
        optimizer = create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=LR, loraplus_lr_ratio=RATIO, loraplus_weight_decay=DECAY, foreach=False
        )
        record["losses"][name] = losses(model, optimizer, base)
    return record


def pissa():
    record, tensors = {"r": 4, "lora_alpha": 8, "lr": LR, "losses": {}}, {}
    for base in PISSA:
        plain = {**peft_lora.PLAIN, "init_lora_weights": "pissa"}
        model = get_peft_model(models.load(peft_lora.BASE / base), LoraConfig(fan_in_fan_out=base == "gpt2", **plain)).eval()
        for key, module in model.named_modules():
            if hasattr(module, "lora_A") and ("layers.0." in key or "h.0." in key):
                product = module.lora_B["default"].weight @ module.lora_A["default"].weight
                tensors[f"{base}.{key.removeprefix('base_model.model.')}"] = product
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, weight_decay=0.0, foreach=False)
        record["losses"][base] = losses(model, optimizer, base)
    return record, tensors


def generate(out, only):
    if only in "loraplus":
        common.write_json(out / "peft" / "loraplus.json", loraplus())
    if only in "pissa":
        record, tensors = pissa()
        common.write_json(out / "peft" / "pissa.json", record)
        common.write_tensors(out / "peft" / "pissa.safetensors", tensors)


if __name__ == "__main__":
    common.run(__doc__, ["peft"], generate)
