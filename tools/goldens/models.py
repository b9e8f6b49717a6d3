"""Tiny random models of every family and what transformers computes with them.

Writes testdata/models/<name>/{config.json,model.safetensors,golden.json,golden.safetensors}; README.md describes
the layout. The goldens come from the model as loaded back from disk, so the committed config.json is what they test.
"""

import json

import common  # first: it sets the environment before torch and transformers are loaded

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

SMALL = dict(
    vocab_size=67,
    hidden_size=32,
    intermediate_size=44,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=common.PAD_ID,
)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
# With theta 500 and head_dim 8 the wavelengths are 6.3, 30, 140 and 664 positions.
SHORT_THETA = 500.0

GEMMA3_TEXT = dict(
    vocab_size=59,
    hidden_size=24,
    intermediate_size=36,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=common.PAD_ID,
    query_pre_attn_scalar=12,
    sliding_window=6,
)


def spec(model_type, legacy=None, **config):
    """legacy rewrites config.json from transformers 5's keys to those that checkpoints on the Hub carry."""
    return {"model_type": model_type, "legacy": legacy, "config": config}


def legacy_rope(config):
    """rope_parameters -> rope_theta and rope_scaling."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    return config


def legacy_rope_type(config):
    """As legacy_rope, with the oldest spelling of the key: type."""
    config = legacy_rope(config)
    scaling = config["rope_scaling"]
    config["rope_scaling"] = {"type": scaling.pop("rope_type"), **scaling}
    return config


def legacy_partial(config):
    config["partial_rotary_factor"] = config["rope_parameters"].pop("partial_rotary_factor")
    return legacy_rope(config)


def legacy_gemma3(config):
    """rope_local_base_freq and sliding_window_pattern instead of one rope and one type per layer."""
    text = config["text_config"]
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope["full_attention"]["rope_theta"]
    text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    text["rope_scaling"] = {k: v for k, v in rope["full_attention"].items() if k != "rope_theta"}
    del text["layer_types"], text["_sliding_window_pattern"]
    text["sliding_window_pattern"] = 2
    return config


MODELS = {
    "llama": spec(
        "llama",
        vocab_size=101, hidden_size=48, intermediate_size=57, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=128, rms_norm_eps=1e-5, rope_parameters=dict(ROPE),
        bos_token_id=1, eos_token_id=2, pad_token_id=common.PAD_ID,
    ),
    "llama-tied": spec(
        "llama", legacy=legacy_rope,
        vocab_size=89, hidden_size=40, intermediate_size=45, num_hidden_layers=2, num_attention_heads=5,
        num_key_value_heads=1, max_position_embeddings=128, rms_norm_eps=1e-5, rope_parameters=dict(ROPE),
        bos_token_id=1, eos_token_id=2, pad_token_id=common.PAD_ID, tie_word_embeddings=True,
    ),
    "llama-bias": spec(
        "llama", **{**SMALL, "num_attention_heads": 4, "head_dim": 6}, attention_bias=True, mlp_bias=True,
        rope_parameters=dict(ROPE),
    ),
    "llama-rope-llama3": spec(
        "llama", legacy=legacy_rope, **SMALL,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": SHORT_THETA, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        },
    ),
    "llama-rope-linear": spec(
        "llama", legacy=legacy_rope_type, **SMALL,
        rope_parameters={"rope_type": "linear", "rope_theta": SHORT_THETA, "factor": 3.0},
    ),
    "llama-rope-dynamic": spec(
        "llama", **{**SMALL, "max_position_embeddings": 16},
        rope_parameters={"rope_type": "dynamic", "rope_theta": SHORT_THETA, "factor": 2.0},
    ),
    "llama-rope-yarn": spec(
        "llama", **{**SMALL, "max_position_embeddings": 256},
        rope_parameters={
            "rope_type": "yarn", "rope_theta": SHORT_THETA, "factor": 4.0, "original_max_position_embeddings": 64,
        },
    ),
    "smollm2": spec(
        "llama", **{**SMALL, "hidden_size": 36, "num_attention_heads": 9, "num_key_value_heads": 3},
        rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    ),
    "qwen2": spec("qwen2", legacy=legacy_rope, **SMALL, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "qwen3": spec(
        "qwen3", **SMALL, head_dim=12, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    ),
    "gpt2": spec(
        "gpt2", vocab_size=67, n_positions=64, n_embd=28, n_layer=2, n_head=4, bos_token_id=2, eos_token_id=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    ),
    "mistral": spec("mistral", **SMALL, sliding_window=6, rope_parameters=dict(ROPE)),
    "gemma2": spec(
        "gemma2", legacy=legacy_rope, **{**SMALL, "hidden_size": 28}, head_dim=8, query_pre_attn_scalar=12,
        sliding_window=6, attn_logit_softcapping=4.0, final_logit_softcapping=6.0, rope_parameters=dict(ROPE),
    ),
    "gemma3-text": spec(
        "gemma3_text", **GEMMA3_TEXT, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
        },
    ),
    "gemma3": spec(
        "gemma3", legacy=legacy_gemma3,
        text_config=dict(
            **GEMMA3_TEXT, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 8.0},
            },
        ),
        vision_config=dict(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4,
        ),
        mm_tokens_per_image=4, boi_token_index=56, eoi_token_index=57, image_token_index=58,
    ),
    "phi3": spec(
        "phi3", legacy=legacy_partial, **SMALL, original_max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
    ),
    "phi3-partial": spec(
        "phi3", legacy=legacy_partial, **{**SMALL, "num_attention_heads": 2, "num_key_value_heads": 1},
        original_max_position_embeddings=128, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75},
    ),
    "olmo2": spec("olmo2", **SMALL, rope_parameters=dict(ROPE)),
}


def initialise(name, model):
    """Large enough everywhere that a forgotten bias, norm or scale is visible; norms lie around their identity.

    With a tied head the final norm's signs are random: else every token predicts itself and greedy decoding shows
    nothing.
    """
    gemma = model.config.model_type.startswith("gemma")
    tied = model.config.get_text_config().tie_word_embeddings
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = common.randn(f"{name}/{key}", *p.shape)
            if "norm" in key or ".ln_" in key:
                identity = 0.0 if key.endswith("bias") or gemma else 1.0
                p.copy_(identity + 0.2 * noise)
                final = key.endswith(("model.norm.weight", "language_model.norm.weight", "ln_f.weight"))
                if tied and final:
                    sign = common.randn(f"{name}/{key}/sign", *p.shape).sign()
                    p.copy_(sign * (p + 1.0) - 1.0 if gemma else sign * p)
            elif key.endswith("bias"):
                p.copy_(0.2 * noise)
            elif "embed" in key or ".wte" in key or ".wpe" in key:
                p.copy_((0.2 if tied and not gemma else 0.4) * noise)
            else:
                p.copy_(0.18 * noise)


def build(name, folder):
    """Makes the model, saves it in the Hugging Face layout and rewrites config.json where asked."""
    s = MODELS[name]
    config = AutoConfig.for_model(s["model_type"], **s["config"])
    config.dtype = torch.float32
    auto = AutoModelForImageTextToText if s["model_type"] == "gemma3" else AutoModelForCausalLM
    model = auto.from_config(config, attn_implementation="eager")
    initialise(name, model)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)
    path = folder / "config.json"
    saved = json.loads(path.read_text())
    if s["legacy"]:
        saved = s["legacy"](saved)
        saved["torch_dtype"] = saved.pop("dtype")
    path.write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")


def load(folder):
    """The model as transformers reads it from folder, fp32, eager attention, evaluation mode."""
    config = json.loads((folder / "config.json").read_text())
    auto = AutoModelForImageTextToText if config["model_type"] == "gemma3" else AutoModelForCausalLM
    model, info = auto.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    if any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"{folder}: loading was not exact: {info}")
    return model.eval()


def checkpoint_names(model, folder):
    """Maps the names of model.safetensors to parameters: they differ from module paths for nested models."""
    stored = load_file(folder / "model.safetensors")
    named = {}
    for key, p in model.named_parameters():
        matches = [n for n, t in stored.items() if t.shape == p.shape and torch.equal(t, p)]
        if len(matches) != 1:
            raise SystemExit(f"{folder}: parameter {key} is stored as {matches}")
        named[matches[0]] = p
    if named.keys() != stored.keys():
        raise SystemExit(f"{folder}: stored but no parameter: {sorted(stored.keys() - named.keys())}")
    return named


def forward(model, ids, **kwargs):
    kwargs.setdefault("attention_mask", common.attention_mask())
    if model.config.model_type == "gemma3":
        kwargs["token_type_ids"] = torch.zeros_like(ids)
    return model(input_ids=ids, use_cache=False, **kwargs).logits


def greedy(folder, prompt, n):
    """Greedy decoding that runs the whole sequence again for each token, so that no cache takes part."""
    tokens, margin = list(prompt), float("inf")
    with torch.no_grad():
        for _ in range(n):
            model = load(folder) if "dynamic" in folder.name or len(tokens) == len(prompt) else model
            ids = torch.tensor([tokens])
            logits = forward(model, ids, attention_mask=torch.ones_like(ids))[0, -1]
            best = torch.topk(logits, 2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            tokens.append(best.indices[0].item())
    if margin < 1e-3:
        raise SystemExit(f"{folder.name}: greedy decoding is not decided: margin {margin}")
    return {"prompt": list(prompt), "tokens": tokens[len(prompt):], "min_margin": margin}


def packed(model, ids, labels, separate):
    """The three rows as one sequence: positions restart, attention stays inside each row."""
    lengths = common.LENGTHS
    flat_ids = torch.cat([ids[i, :n] for i, n in enumerate(lengths)])
    flat_labels = torch.cat([labels[i, :n] for i, n in enumerate(lengths)])
    positions = torch.cat([torch.arange(n) for n in lengths])
    total, starts = sum(lengths), [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    mask = torch.full((total, total), torch.finfo(torch.float32).min)
    for start, n in zip(starts, lengths):
        flat_labels[start] = common.IGNORE
        block = torch.full((n, n), torch.finfo(torch.float32).min).triu(1)
        mask[start : start + n, start : start + n] = block
    with torch.no_grad():
        logits = forward(model, flat_ids[None], attention_mask=mask[None, None], position_ids=positions[None])
    if not torch.allclose(logits[0], torch.cat(separate), atol=2e-5, rtol=0):
        raise SystemExit("packed logits differ from the separate ones")
    return logits[0], {
        "input_ids": flat_ids.tolist(),
        "labels": flat_labels.tolist(),
        "position_ids": positions.tolist(),
        "cu_seqlens": starts,
        "loss": common.causal_loss(logits, flat_labels[None]).item(),
    }


def golden(name, folder):
    model = load(folder)
    config = json.loads((folder / "config.json").read_text())
    vocab = config.get("text_config", config)["vocab_size"]
    ids, labels = common.make_batch(name, vocab - 3 if config["model_type"] == "gemma3" else vocab)
    named = checkpoint_names(model, folder)
    tensors = {}

    logits = forward(model, ids)
    loss = common.causal_loss(logits, labels)
    loss.backward()
    rows = [logits[i, :n].detach() for i, n in enumerate(common.LENGTHS)]
    for i, row in enumerate(rows):
        tensors[f"logits.{i}"] = row
    # The vision tower of a nested model takes no part in a text batch.
    named = {k: p for k, p in named.items() if p.grad is not None}
    for key, p in named.items():
        tensors[f"grad.{key}"] = p.grad
    record = {
        "name": name,
        "input_ids": ids.tolist(),
        "labels": labels.tolist(),
        "lengths": common.LENGTHS,
        "num_label_tokens": int((labels[:, 1:] != common.IGNORE).sum()),
        "loss": loss.item(),
        "grad_norm": common.grad_norm(named.values()),
    }

    model.zero_grad()
    smooth = common.smoothed_loss(forward(model, ids), labels, 0.1)
    smooth.backward()
    record["label_smoothing"] = {
        "epsilon": 0.1,
        "loss": smooth.item(),
        "grad_norm": common.grad_norm(named.values()),
    }
    if name == "llama":
        tensors["packed.logits"], record["packed"] = packed(model, ids, labels, rows)
    if "dynamic" in name:
        # Frequencies follow the longest row of the batch; alone, a short row keeps the original ones.
        for i, n in enumerate(common.LENGTHS):
            with torch.no_grad():
                alone = ids[i : i + 1, :n]
                tensors[f"logits_alone.{i}"] = forward(load(folder), alone, attention_mask=torch.ones_like(alone))[0]
    record["greedy"] = greedy(folder, ids[0, :5].tolist(), 12)
    record["adamw"] = common.train_adamw(named, lambda: common.causal_loss(forward(model, ids), labels))
    common.write_tensors(folder / "golden.safetensors", tensors)
    common.write_json(folder / "golden.json", record)


def generate(out, only):
    for name in MODELS:
        if only in name:
            folder = out / "models" / name
            build(name, folder)
            golden(name, folder)
            size = sum(p.stat().st_size for p in folder.iterdir())
            print(f"{name}: {size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    common.run(__doc__, ["models"], generate)
