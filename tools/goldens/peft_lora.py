"""Adapters that PEFT made on the models of models.py, and what it computes with them.

Writes testdata/lora/<model>-<variant>/{adapter_config.json,adapter_model.safetensors,golden.json,golden.safetensors};
README.md describes the layout. The goldens come from the adapter as PEFT loads it back from disk.
"""

import json
import warnings

import common  # first: it sets the environment before torch and peft are loaded

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

import models

BASE = common.TESTDATA / "models"
LR = 5e-3
FAMILIES = ["llama", "qwen2", "qwen3", "gpt2", "mistral", "gemma2", "gemma3-text", "phi3", "olmo2"]
PLAIN = dict(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", bias="none", task_type="CAUSAL_LM")
VARIANTS = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}


def cases():
    for base in FAMILIES:
        for variant, options in VARIANTS.items():
            yield f"{base}-{variant}", base, {**PLAIN, **options}
    yield "llama-patterns", "llama", {
        **PLAIN,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "rank_pattern": {"v_proj": 2, "layers.1.self_attn.q_proj": 6},
        "alpha_pattern": {"down_proj": 3},
    }
    yield "llama-regex", "llama", {**PLAIN, "target_modules": r".*\.layers\.0\..*\.(q_proj|up_proj)"}
    yield "llama-layer1", "llama", {**PLAIN, "target_modules": ["o_proj", "gate_proj"], "layers_to_transform": [1]}
    yield "llama-embed", "llama", {**PLAIN, "target_modules": ["embed_tokens", "q_proj"]}
    yield "llama-save", "llama", {**PLAIN, "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["lm_head"]}
    for base in ["llama", "llama-tied", "gpt2"]:
        yield f"{base}-tokens", base, {**PLAIN, "target_modules": ["q_proj", "v_proj", "c_attn"], "trainable_token_indices": [3, 0, 41]}
    yield "llama-bias-all", "llama-bias", {**PLAIN, "target_modules": ["q_proj", "down_proj"], "bias": "all"}
    yield "llama-bias-lora_only", "llama-bias", {
        **PLAIN, "target_modules": ["q_proj", "down_proj"], "bias": "lora_only",
    }


def initialise(name, model):
    """A and B non-zero, DoRA's magnitudes off the norm, saved modules and biases off their base."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            if not p.requires_grad:
                continue
            noise = common.randn(f"lora/{name}/{key}", *p.shape)
            if "lora_magnitude_vector" in key:
                p.mul_(1 + 0.1 * noise)
            elif "lora_" in key:
                p.copy_((0.1 if "_B" in key else 0.2) * noise)
            else:
                p.add_(0.05 * noise)


def build(name, base, options, folder):
    model = models.load(BASE / base)
    peft = get_peft_model(model, LoraConfig(fan_in_fan_out=base == "gpt2", **options))
    initialise(name, peft)
    peft.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "adapter_model.safetensors").chmod(0o644)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = f"testdata/models/{base}"
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT keeps a set
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(base, folder):
    return PeftModel.from_pretrained(models.load(BASE / base), folder, is_trainable=True).eval()


def adapter_names(model, folder):
    """Maps the names of adapter_model.safetensors to the trainable parameters, by their values."""
    stored = load_file(folder / "adapter_model.safetensors")
    named = {}
    for key, p in model.named_parameters():
        if p.requires_grad:
            matches = [n for n, t in stored.items() if t.shape == p.shape and torch.equal(t, p)]
            if len(matches) != 1:
                raise SystemExit(f"{folder}: {key} is stored as {matches}")
            named[matches[0]] = p
    # With LoRA on an embedding PEFT stores the frozen embedding as well.
    frozen = {n for n in stored if n.endswith("embed_tokens.base_layer.weight")}
    if named.keys() != stored.keys() - frozen:
        raise SystemExit(f"{folder}: stored but not trainable: {sorted(stored.keys() - named.keys())}")
    return named


def golden(base, folder):
    reference = json.loads((BASE / base / "golden.json").read_text())
    ids, labels = torch.tensor(reference["input_ids"]), torch.tensor(reference["labels"])
    model = load(base, folder)
    named = adapter_names(model, folder)

    logits = models.forward(model, ids)
    loss = common.causal_loss(logits, labels)
    loss.backward()
    tensors = {f"logits.{i}": logits[i, :n] for i, n in enumerate(common.LENGTHS)}
    tensors |= {f"grad.{k}": p.grad for k, p in named.items()}
    mask = common.attention_mask().bool()
    merged = models.forward(load(base, folder).merge_and_unload(), ids)
    if not torch.allclose(merged[mask], logits[mask], atol=3e-5, rtol=0):
        raise SystemExit(f"{folder.name}: the merged model differs by {(merged - logits)[mask].abs().max()}")
    record = {
        "name": folder.name,
        "base": base,
        "loss": loss.item(),
        "base_loss": reference["loss"],
        "grad_norm": common.grad_norm(named.values()),
        "num_trainable": sum(p.numel() for p in named.values()),
    }
    record["adamw"] = common.train_adamw(named, lambda: common.causal_loss(models.forward(model, ids), labels), lr=LR)
    common.write_tensors(folder / "golden.safetensors", tensors)
    common.write_json(folder / "golden.json", record)


def generate(out, only):
    warnings.filterwarnings("ignore", message="Setting `save_embedding_layers`")
    for name, base, options in cases():
        if only in name:
            folder = out / "lora" / name
            build(name, base, options, folder)
            golden(base, folder)
            size = sum(p.stat().st_size for p in folder.iterdir())
            print(f"{name}: {size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    common.run(__doc__, ["lora"], generate)
