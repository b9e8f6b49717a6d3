"""`mltrain dpo` against TRL's DPOTrainer, in turn, on one machine: pairs a second on a random model of SmolLM2-135M's shape, full fine-tuning
with a live reference, float32.

usage: bench_trl_dpo.py --tokenizer DIR [--mltrain bin/mltrain --steps N --rounds N --csv FILE]
       (the directory holds GPT-2's tokenizer files)

Two kinds of rows: answers of different lengths (20 to 200 words, as in chats), and answers of equal length. Prompts are as long as the
mean answer. Each step is one batch of 4 pairs; the median time of a step after the first two counts.
"""
import argparse
import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = "the of and to in is that it was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use".split()


def rows(kind, n, rng):
    text = lambda k: " ".join(rng.choice(WORDS) for _ in range(k))
    out = []
    for _ in range(n):
        a, b = (100, 100) if kind == "equal" else (rng.randint(20, 200), rng.randint(20, 200))
        out.append({"prompt": text(100), "chosen": " " + text(a), "rejected": " " + text(b)})
    return out


def make_model(root, tokenizer):
    """Writes a random model of SmolLM2-135M's shape with GPT-2's tokenizer."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer(os.path.join(tokenizer, "vocab.json"), os.path.join(tokenizer, "merges.txt"))
    tok = PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tok.save_pretrained(root)
    shape = json.load(open(os.path.join(HERE, "..", "internal", "bench", "shapes", "smollm2-135m.json")))
    shape.pop("architectures")
    config = AutoConfig.for_model(**{**shape, "vocab_size": 50304, "eos_token_id": tok.eos_token_id, "bos_token_id": tok.eos_token_id})
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(root)


def trl(model, data, steps):
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class Clock(TrainerCallback):
        seconds, start = [], 0

        def on_step_begin(self, *_, **__):
            self.start = time.perf_counter()

        def on_step_end(self, *_, **__):
            self.seconds.append(time.perf_counter() - self.start)

    with tempfile.TemporaryDirectory() as out:
        trainer = DPOTrainer(
            model=model, train_dataset=Dataset.from_list([json.loads(line) for line in open(data)]), processing_class=AutoTokenizer.from_pretrained(model), callbacks=[Clock()],
            args=DPOConfig(output_dir=out, max_steps=steps, per_device_train_batch_size=4, max_length=512, report_to=[], save_strategy="no", use_cpu=True, bf16=False,
                           gradient_checkpointing=False, logging_steps=1000, disable_tqdm=True),
        )
        trainer.train()
    print(json.dumps({"seconds": statistics.median(Clock.seconds[2:]), "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def ours(binary, model, data, steps, out):
    command = [binary, "dpo", "--model", model, "--data", data, "--output", out, "--overwrite", "--max-steps", str(steps), "--quiet", "--set", "max_length=512",
               "--set", "per_device_train_batch_size=4", "--set", "logging_steps=1", "--set", "save_strategy=no", "--set", "dataloader_drop_last=true"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "MLTRAIN_CACHE": out + "-cache"})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit status {child.returncode}")
    lines = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    ends = [l for l in lines if "loss" in l]
    tokens = [b["num_tokens"] - a["num_tokens"] for a, b in zip(ends, ends[1:])]
    seconds = [n / l["tokens_per_second"] for n, l in zip(tokens, ends[1:])]
    return {"seconds": statistics.median(seconds[1:]), "rss": usage.ru_maxrss * 1024}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--mltrain", default=os.path.join(HERE, "..", "bin", "mltrain"))
    p.add_argument("--tokenizer")
    p.add_argument("--steps", type=int, default=7)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--csv")
    p.add_argument("--trl", nargs=2, metavar=("MODEL", "DATA"), help="run TRL only and print its time")
    a = p.parse_args()
    if a.trl:
        return trl(*a.trl, a.steps)
    tmp = tempfile.mkdtemp(prefix="bench-dpo-")
    model = os.path.join(tmp, "model")
    make_model(model, a.tokenizer)
    results = []
    for kind in ("ragged", "equal"):
        data = os.path.join(tmp, kind + ".jsonl")
        with open(data, "w") as f:
            for r in rows(kind, 4 * a.steps, random.Random(3)):
                f.write(json.dumps(r) + "\n")
        mine, theirs = [], []
        for _ in range(a.rounds):
            mine.append(ours(a.mltrain, model, data, a.steps, os.path.join(tmp, "out")))
            out = subprocess.run([sys.executable, __file__, "--steps", str(a.steps), "--trl", model, data], capture_output=True, text=True)
            if out.returncode:
                sys.exit(out.stderr[-3000:])
            theirs.append(json.loads(out.stdout[out.stdout.rindex("{"):]))
        m, t = (statistics.median(r["seconds"] for r in x) for x in (mine, theirs))
        mr, tr = (statistics.median(r["rss"] for r in x) for x in (mine, theirs))
        results.append([kind, 4 / m, 4 / t, t / m, mr / 2**20, tr / 2**20, mr / tr])
        print(f"{kind:7s} {4 / m:6.2f} pairs/s, TRL {4 / t:6.2f}: ratio {t / m:.2f}; memory {mr / 2**20:.0f} / {tr / 2**20:.0f} MiB = {mr / tr:.2f}", flush=True)
    if a.csv:
        with open(a.csv, "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(["rows", "pairs_per_second", "trl_pairs_per_second", "ratio", "rss_mib", "trl_rss_mib", "memory_ratio"])
            w.writerows([[f"{v:.4g}" if isinstance(v, float) else v for v in r] for r in results])


if __name__ == "__main__":
    main()
