#!/usr/bin/env python3
"""Times internal/tokenizer against Hugging Face's Rust library, in turns, on the same texts.

    python tools/tokenizer_bench.py TEXT NAME=DIR... [--rounds 3]

TEXT is a file of text, cut into documents of about 4 kB at line ends, or `mixed` for the text of tokenizer_parity.py.
DIRs hold a tokenizer.json. Rust runs encode_batch_fast, its quickest way (no offsets), on one thread; Go runs
AppendIDs on one goroutine. Prints the best of the rounds, which is what a busy machine disturbs least.
"""
import argparse
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers

import tokenizer_parity

ROOT = pathlib.Path(__file__).resolve().parents[1]


def documents(path):
    if path == "mixed":
        return tokenizer_parity.docs(2_000_000)
    out, part, size = [], [], 0
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines(keepends=True):
        part.append(line)
        size += len(line.encode())
        if size > 4000:
            out.append("".join(part))
            part, size = [], 0
    return out + ["".join(part)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("text")
    p.add_argument("tokenizers", nargs="+", metavar="NAME=DIR")
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    docs = documents(a.text)
    size = sum(len(d.encode()) for d in docs)
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, "text.bin"), "wb") as f:
            for d in docs:
                f.write(struct.pack("<I", len(d.encode())) + d.encode())
        rust = {}
        for item in a.tokenizers:
            name, _, path = item.partition("=")
            os.makedirs(os.path.join(tmp, name))
            shutil.copyfile(os.path.join(path, "tokenizer.json"), os.path.join(tmp, name, "tokenizer.json"))
            rust[name] = tokenizers.Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
            rust[name].no_truncation()
            rust[name].no_padding()
        binary = os.path.join(tmp, "bench")
        subprocess.run(["go", "test", "-c", "-o", binary, "./internal/tokenizer"], cwd=ROOT, check=True)
        best = {}

        def note(key, value):
            best[key] = max(best.get(key, 0), value)

        for _ in range(a.rounds):
            for name, tok in rust.items():
                begin = time.perf_counter()
                tok.encode_batch_fast(docs)
                note((name, "rust"), size / 1e6 / (time.perf_counter() - begin))
                for bench, args in (("BenchmarkEncode", ["-test.cpu=1"]), ("BenchmarkEncodeCold", ["-test.cpu=1"]),
                                    ("BenchmarkEncodeParallel", []), ("BenchmarkEncodeOffsets", ["-test.cpu=1"])):
                    out = subprocess.run([binary, "-test.run=XXX", f"-test.bench=^{bench}$/^{name}$", "-test.benchtime=0.5s", *args],
                                         cwd=ROOT / "internal" / "tokenizer", env={**os.environ, "MLTRAIN_TOKENIZER_BENCH": tmp},
                                         check=True, capture_output=True, text=True).stdout
                    note((name, bench), float(re.search(r"([\d.]+) MB/s", out)[1]))
    print(f"{a.text}: {size} bytes in {len(docs)} documents, tokenizers {tokenizers.__version__}, {os.cpu_count()} cores")
    print("| tokenizer | Rust | Go, cold | ratio | Go, warm | ratio | Go, warm, all cores | Go, offsets |\n|-|-|-|-|-|-|-|-|")
    for name in rust:
        r, cold, warm = best[name, "rust"], best[name, "BenchmarkEncodeCold"], best[name, "BenchmarkEncode"]
        print(f"| {name} | {r:.1f} | {cold:.1f} | {cold / r:.1f}× | {warm:.1f} | {warm / r:.1f}× | "
              f"{best[name, 'BenchmarkEncodeParallel']:.1f} | {best[name, 'BenchmarkEncodeOffsets']:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
