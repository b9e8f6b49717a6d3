"""Requests/s of `mltrain eval` against lm-evaluation-harness, in turn, on the CPU: random weights in the shape of a model of 135M parameters.

usage: bench_lm_eval.py [--mltrain bin/mltrain] [--rounds N] [--threads N] [--batch-size N ...] [--csv FILE]

Both read the same task files, rows and checkpoint. The harness is timed around simple_evaluate with the model loaded; mltrain
around the whole command, loading included. Where other programs run beside it, the ratio of processor time says more than that
of requests/s. The harness is given each batch size, and the best one counts. Run it with the
Python that has the packages of tools/goldens/requirements.txt.
"""
import argparse
import csv
import json
import os
import pathlib
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TINY = HERE.parent / "testdata" / "eval" / "model"  # for its tokenizer
WORDS = "the a small grey old cat dog horse house river makes takes sees near under over quickly slowly and then it was very late".split()
CHOICE = """task: bench_choice
dataset_path: json
dataset_kwargs: {data_files: {test: choice.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{context}}"
doc_to_choice: choices
doc_to_target: 0
"""
GENERATE = """task: bench_generate
dataset_path: json
dataset_kwargs: {data_files: {test: generate.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{context}}"
doc_to_target: "none"
generation_kwargs: {until: ["\\n\\n\\n\\n"], max_gen_toks: %d, do_sample: false}
"""


def words(rng, n):
    return " ".join(rng.choice(WORDS) for _ in range(n))


def setup(folder, args):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    import torch

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    ))
    model.save_pretrained(folder / "model")
    (folder / "model" / "generation_config.json").unlink(missing_ok=True)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(folder / "model")
    rng = random.Random(1)
    with open(folder / "choice.jsonl", "w") as f:
        for _ in range(args.rows):
            f.write(json.dumps({"context": words(rng, args.context), "choices": [words(rng, 5) for _ in range(4)]}) + "\n")
    with open(folder / "generate.jsonl", "w") as f:
        for _ in range(args.prompts):
            f.write(json.dumps({"context": words(rng, args.context // 2)}) + "\n")
    (folder / "choice.yaml").write_text(CHOICE)
    (folder / "generate.yaml").write_text(GENERATE % args.new_tokens)


def children_cpu():
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


def ours(args, task, env):
    start, cpu = time.perf_counter(), children_cpu()
    r = subprocess.run([args.mltrain, "eval", "--model", "model", "--task", f"{task}.yaml", "--bootstrap-iters", "0", "--json", "--quiet"],
                       capture_output=True, text=True, env=env)
    took = time.perf_counter() - start, children_cpu() - cpu
    if r.returncode:
        sys.exit(r.stderr)
    return took, json.loads(r.stdout)["results"][f"bench_{task}"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mltrain", default="bin/mltrain")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--batch-size", type=int, nargs="+", default=[8])
    p.add_argument("--rows", type=int, default=16, help="of the multiple choice, four choices each")
    p.add_argument("--context", type=int, default=90, help="words of a context")
    p.add_argument("--prompts", type=int, default=16)
    p.add_argument("--new-tokens", type=int, default=48)
    p.add_argument("--csv")
    args = p.parse_args()
    args.mltrain = os.path.abspath(args.mltrain)
    args.csv = args.csv and os.path.abspath(args.csv)
    os.environ.update(OMP_NUM_THREADS=str(args.threads), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    env = {**os.environ, "GOMAXPROCS": str(args.threads)}

    import torch
    import transformers
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(prefix="bench-lm-eval-") as tmp:
        os.chdir(tmp)
        setup(pathlib.Path(tmp), args)
        lms = {b: HFLM(pretrained="model", device="cpu", dtype="float32", batch_size=b) for b in args.batch_size}
        manager = TaskManager(include_path=".", include_defaults=False)
        rows = []
        for task, requests in [("choice", 4 * args.rows), ("generate", args.prompts)]:
            times = {"mltrain": []} | {b: [] for b in lms}
            for _ in range(args.rounds):
                took, mine = ours(args, task, env)
                times["mltrain"].append(took)
                for b, lm in lms.items():
                    start, cpu = time.perf_counter(), time.process_time()
                    theirs = lm_eval.simple_evaluate(model=lm, tasks=[f"bench_{task}"], task_manager=manager, bootstrap_iters=0)
                    times[b].append((time.perf_counter() - start, time.process_time() - cpu))
                    for k, v in theirs["results"][f"bench_{task}"].items():
                        if k in ("acc,none", "acc_norm,none", "exact_match,none") and mine[k] != v:
                            print(f"{task}: {k} is {mine[k]}, the harness has {v}", file=sys.stderr)
            median = {k: [statistics.median(x) for x in zip(*v)] for k, v in times.items()}
            best = min(lms, key=lambda b: median[b][0])
            (us, our_cpu), (them, their_cpu) = median["mltrain"], median[best]
            rows.append({
                "task": task, "requests": requests, "mltrain_requests_per_s": round(requests / us, 3), "lm_eval_requests_per_s": round(requests / them, 3),
                "ratio": round(them / us, 2),
                "mltrain_cpu_s": round(our_cpu, 2), "lm_eval_cpu_s": round(their_cpu, 2), "cpu_ratio": round(their_cpu / our_cpu, 2), "lm_eval_batch_size": best, "rounds": args.rounds, "threads": args.threads,
                "context_words": args.context if task == "choice" else args.context // 2, "new_tokens": args.new_tokens if task == "generate" else "",
                "lm_eval": lm_eval.__version__, "torch": torch.__version__, "transformers": transformers.__version__, "machine": platform.processor() or platform.machine(),
            })
            print(rows[-1], flush=True)
    os.chdir(HERE)
    if args.csv:
        with open(args.csv, "w", newline="") as f:
            w = csv.DictWriter(f, rows[0])
            w.writeheader()
            w.writerows(rows)


if __name__ == "__main__":
    main()
