"""mltrain against its peers on one machine, in turn, in one run: PyTorch with transformers and PEFT (eager, compiled), TRL, llm.c.

usage: bench_peers.py [--mltrain bin/mltrain] [--rounds N] [--llmc DIR] [--tokenizer DIR --data FILE] [--only NAME ...] [--csv FILE]

Every row of the table takes its commands A B A B …, a warm-up in each; the ratio is that of the medians over rounds. --llmc is a
directory with llm.c's train_gpt2 built for the CPU with OpenMP (gcc -Ofast -march=native -fopenmp -DOMP train_gpt2.c -lm). --tokenizer and
--data, a directory with GPT-2's tokenizer files and rows that both mltrain and TRL read, are for tokens/s on rows of different lengths.
Run it with the Python that has the packages of tools/goldens/requirements.txt.
"""
import argparse
import csv
import json
import os
import platform
import re
import statistics
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = os.path.join(HERE, "..", "internal", "bench", "shapes")
SMOL, GPT2 = "smollm2-135m", "gpt2-124m"


def last_json(cmd, **kw):
    out = subprocess.run(cmd, capture_output=True, text=True, **kw)
    if out.returncode:
        sys.exit(f"{' '.join(cmd)}: exit code {out.returncode}\n{out.stdout[-2000:]}{out.stderr[-4000:]}")
    return json.loads(out.stdout[out.stdout.index("{"):])


class Peers:
    def __init__(self, args):
        self.args = args
        self.tmp = tempfile.mkdtemp(prefix="bench-peers-")

    def ours(self, what, shape, *flags, env=None):
        return last_json([self.args.mltrain, "bench", what, "--shape", shape, "--json", *flags], env={**os.environ, **(env or {})})

    def torch(self, what, shape, *flags):
        return last_json([sys.executable, os.path.join(HERE, "bench_torch.py"), what, "--shape", os.path.join(SHAPES, shape + ".json"), *flags])

    def llmc(self):
        """Nine steps of llm.c's train_gpt2 on random weights, before its first sample; batch 4, 64 tokens."""
        root = os.path.join(self.tmp, "llmc")
        if not os.path.exists(root):
            import numpy

            os.makedirs(os.path.join(root, "dev/data/tinystories"))
            layers, width, vocab, padded, positions = 12, 768, 50257, 50304, 1024
            sizes = [padded * width, positions * width] + [layers * n for n in (
                width, width, 3 * width * width, 3 * width, width * width, width, width, width, 4 * width * width, 4 * width, 4 * width * width, width)] + [width, width]
            rng = numpy.random.default_rng(1)
            with open(os.path.join(root, "gpt2_124M.bin"), "wb") as f:
                f.write(struct.pack("256i", *([20240326, 3, positions, vocab, layers, 12, width, padded] + [0] * 248)))
                for i, n in enumerate(sizes):
                    scale = i in (2, 8, 14)  # norms' weights
                    f.write((numpy.ones(n) if scale else 0.02 * rng.standard_normal(n)).astype("float32").tobytes())
            for name in ("train", "val"):
                with open(os.path.join(root, f"dev/data/tinystories/TinyStories_{name}.bin"), "wb") as f:
                    n = 100_000
                    f.write(struct.pack("256i", *([20240520, 1, n] + [0] * 253)))
                    f.write(rng.integers(0, 500, n).astype("uint16").tobytes())
        binary = os.path.join(os.path.abspath(self.args.llmc), "train_gpt2")
        times = []
        with subprocess.Popen([binary], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
            for line in p.stdout:
                if m := re.match(r"step (\d+): .*took ([\d.]+) ms", line):
                    times.append(float(m[2]) / 1e3)
                    if len(times) == 9:
                        p.kill()
        return {"seconds": statistics.median(times[2:])}

    def ragged(self):
        """A directory with a random model of SmolLM2's shape and GPT-2's tokenizer."""
        root = os.path.join(self.tmp, "ragged")
        if not os.path.exists(root):
            from bench_trl_dpo import make_model

            make_model(root, self.args.tokenizer)
        return root

    def ours_ragged(self):
        out = os.path.join(self.tmp, "ours")
        run = last_json([self.args.mltrain, "sft", "--model", self.ragged(), "--data", self.args.data, "--output", out, "--overwrite", "--max-steps", "8", "--quiet", "--json",
                         "--set", "max_length=512", "--set", "per_device_train_batch_size=8", "--set", "logging_steps=2", "--set", "save_strategy=no", "--set", "use_peft=true"])
        rows = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
        rates = [r["tokens_per_second"] for r in rows if "tokens_per_second" in r]
        return {"tokens_per_second": statistics.median(rates[1:]), "run": run}

    def trl_ragged(self):
        return last_json([sys.executable, os.path.join(HERE, "bench_trl_sft.py"), "--model", self.ragged(), "--data", self.args.data, "--steps", "8"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--mltrain", default=os.path.join(HERE, "..", "bin", "mltrain"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--llmc")
    p.add_argument("--tokenizer")
    p.add_argument("--data")
    p.add_argument("--only", nargs="*")
    p.add_argument("--csv")
    args = p.parse_args()
    b = Peers(args)
    lora = ("--lora-rank", "16")
    one = {"GOMAXPROCS": "1"}
    # Times are of a token where both sides tell tokens a second, else of a step.
    rows = [
        ("full step fp32 / eager", "1.3", lambda: b.ours("step", SMOL), lambda: b.torch("step", SMOL)),
        ("full step fp32 / compile", "1.3", lambda: b.ours("step", SMOL), lambda: b.torch("step", SMOL, "--compile")),
        ("full step bf16 / autocast", "", lambda: b.ours("step", SMOL, "--bf16"), lambda: b.torch("step", SMOL, "--bf16")),
        ("LoRA r16 step fp32 / eager", "1.4", lambda: b.ours("step", SMOL, *lora), lambda: b.torch("step", SMOL, *lora)),
        ("LoRA r16 step bf16 / fp32 eager", "2.5", lambda: b.ours("step", SMOL, *lora, "--bf16"), lambda: b.torch("step", SMOL, *lora)),
        ("LoRA r16 step bf16 / bf16 eager", "", lambda: b.ours("step", SMOL, *lora, "--bf16"), lambda: b.torch("step", SMOL, *lora, "--bf16")),
        ("bf16 / fp32 full step, ours", "1.0", lambda: b.ours("step", SMOL, "--bf16"), lambda: b.ours("step", SMOL)),
        ("2 cores / 1 core, full step, ours", "1.9", lambda: b.ours("step", SMOL), lambda: b.ours("step", SMOL, env=one)),
        ("generate batch 1 / transformers", "2", lambda: b.ours("generate", SMOL), lambda: b.torch("generate", SMOL)),
        ("generate without drafts / transformers", "", lambda: b.ours("generate", SMOL, "--num-assistant-tokens", "0"), lambda: b.torch("generate", SMOL)),
        ("generate, NF4 / transformers with bitsandbytes", "", lambda: b.ours("generate", SMOL, "--load-in-4bit"), lambda: b.torch("generate", SMOL, "--load-in-4bit")),
        ("QLoRA step fp32 / PEFT with bitsandbytes", "", lambda: b.ours("step", SMOL, *lora, "--load-in-4bit"), lambda: b.torch("step", SMOL, *lora, "--load-in-4bit")),
        ("generate, bf16 checkpoint / transformers bf16", "2", lambda: b.ours("generate", SMOL, "--bf16"), lambda: b.torch("generate", SMOL, "--bf16")),
        ("generate, bf16 checkpoint / transformers fp32", "2", lambda: b.ours("generate", SMOL, "--bf16"), lambda: b.torch("generate", SMOL)),
    ]
    if args.llmc:
        shape = ("--batch", "4", "--seq", "64")
        rows.append(("GPT-2 124M full step / llm.c", "4", lambda: b.ours("step", GPT2, *shape), b.llmc))
    if args.tokenizer and args.data:
        rows.append(("LoRA on rows of different lengths / TRL", "3", b.ours_ragged, b.trl_ragged))
    results = []
    for name, target, ours, peer in rows:
        if args.only and not any(o in name for o in args.only):
            continue
        a, c = [], []
        for _ in range(args.rounds):
            a.append(ours())
            c.append(peer())

        def middle(runs):
            if all("tokens_per_second" in r for r in a + c):
                return 1 / statistics.median(r["tokens_per_second"] for r in runs)
            return statistics.median(r["seconds"] for r in runs)

        mem = [statistics.median(r["peak_rss_bytes"] for r in runs) / 2**20 if "peak_rss_bytes" in runs[0] else None for runs in (a, c)]
        row = {"what": name, "target": target, "ours_s": middle(a), "peer_s": middle(c), "ratio": middle(c) / middle(a), "ours_rss_mib": mem[0], "peer_rss_mib": mem[1]}
        results.append(row)
        memory = f"   memory {mem[0]:.0f} / {mem[1]:.0f} MiB = {mem[0] / mem[1]:.2f}" if None not in mem else ""
        print(f"{name:46s} target {target or '–':5s} {row['ours_s']:9.4f} s  {row['peer_s']:9.4f} s  ratio {row['ratio']:.2f}{memory}", flush=True)
    if args.csv:
        import torch
        import transformers

        version = subprocess.run([args.mltrain, "version"], capture_output=True, text=True).stdout.split("\n")[0]
        with open(args.csv, "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(["#", version, platform.platform(), f"torch {torch.__version__}", f"transformers {transformers.__version__}", f"{os.cpu_count()} cores", f"{args.rounds} rounds"])
            w.writerow(list(results[0]))
            for r in results:
                w.writerow([f"{v:.5g}" if isinstance(v, float) else v for v in r.values()])


main()
