"""One training step, or generation, in PyTorch with transformers (and PEFT) on the shapes of `mltrain bench`: the peer that
bench_peers.py measures in turn with mltrain. Random weights, made-up tokens, AdamW, gradient clipping at 1.

usage: bench_torch.py step|generate --shape FILE.json [--device cuda --batch N --seq N --lora-rank R --bf16 --load-in-4bit --compile --steps N --warmup N]
prints one JSON object: seconds (median), ns (all), tokens_per_second, peak_rss_bytes, and peak_device_bytes on a GPU.
"""
import argparse
import json
import resource
import statistics
import time

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM


def build(args):
    config = AutoConfig.for_model(**{k: v for k, v in json.load(open(args.shape)).items() if k != "architectures"})
    torch.manual_seed(1)
    dtype = torch.bfloat16 if args.bf16 and (args.lora_rank or args.what == "generate") else torch.float32
    with torch.device(args.device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.config.use_cache = False
    if args.load_in_4bit:
        quantise(model)
    if args.lora_rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=args.lora_rank, lora_alpha=2 * args.lora_rank, target_modules="all-linear", lora_dropout=0, task_type="CAUSAL_LM"))
    return model


def quantise(model):
    """Puts bitsandbytes' NF4 layers with double quantisation in place of the linear ones, but for the head."""
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            weight = module.weight
            layer = bnb.nn.Linear4bit(module.in_features, module.out_features, bias=False, compute_dtype=weight.dtype, compress_statistics=True, quant_type="nf4")
            layer.weight = bnb.nn.Params4bit(weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4", module=layer)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, layer.to(weight.device))
    assert all(m.weight.quant_state is not None for m in model.modules() if isinstance(m, bnb.nn.Linear4bit))


def step(args):
    model = build(args).train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-5, weight_decay=0, foreach=True)
    ids = torch.randint(0, 500, (args.batch, args.seq), device=args.device)
    if args.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    forward = torch.compile(model) if args.compile else model
    times = []
    for i in range(args.warmup + args.steps):
        start = time.perf_counter_ns()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        wait(args)
        if i >= args.warmup:
            times.append(time.perf_counter_ns() - start)
    return times, args.batch * args.seq


def wait(args):
    if args.device == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def generate(args):
    model = build(args).eval()
    model.config.use_cache = True
    ids = torch.randint(0, 500, (1, args.prompt), device=args.device)
    mask = torch.ones_like(ids)
    kw = dict(attention_mask=mask, do_sample=False, eos_token_id=None, pad_token_id=0, use_cache=True)
    times = []
    for i in range(2):
        start = time.perf_counter_ns()
        model.generate(ids, max_new_tokens=1, **kw)
        first = time.perf_counter_ns() - start
        start = time.perf_counter_ns()
        model.generate(ids, max_new_tokens=args.tokens, min_new_tokens=args.tokens, **kw)
        times = [time.perf_counter_ns() - start - first]
    return times, args.tokens - 1


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["step", "generate"])
    p.add_argument("--shape", required=True)
    p.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    p.add_argument("--recompute", action="store_true", help="gradient checkpointing")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--seq", type=int, default=512)
    p.add_argument("--lora-rank", type=int, default=0)
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--load-in-4bit", action="store_true")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--prompt", type=int, default=64)
    p.add_argument("--tokens", type=int, default=64)
    args = p.parse_args()
    transformers.logging.set_verbosity_error()
    times, tokens = {"step": step, "generate": generate}[args.what](args)
    seconds = statistics.median(times) / 1e9
    memory = {"peak_device_bytes": torch.cuda.max_memory_allocated()} if args.device == "cuda" else {}
    print(json.dumps({
        "seconds": seconds, "ns": times, "tokens_per_second": tokens / seconds,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "torch": torch.__version__, "threads": torch.get_num_threads(), **memory,
    }))


main()
