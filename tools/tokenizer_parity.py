#!/usr/bin/env python3
"""Makes material to compare internal/tokenizer with Hugging Face's `tokenizers` on large mixed text.

    python tools/tokenizer_parity.py OUT NAME=DIR...
    MLTRAIN_TOKENIZER_PARITY=OUT go test ./internal/tokenizer -run TestParity -v

Each NAME=DIR is a tokenizer folder: with tokenizer.json (loaded by `tokenizers`), or with other files and a
tokenizer_config.json whose tokenizer_class transformers knows. OUT gets text.bin (about 2 MB: code, prose, CJK,
emoji, runs of spaces, indentation, every corner of Unicode) and a folder per tokenizer with a copy of its files and
ids.bin. --json also writes the tokenizer.json that transformers makes, as NAME-json. Prints what Rust needs on one
thread.

Versions used for the numbers in bench/tokenizer.md: tokenizers 0.23.3, transformers 5.17.0, sentencepiece 0.2.
"""
import argparse
import os
import random
import shutil
import struct
import sys
import time
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

WORDS = ("the of and to in is that it was for on are as with his they at be this have from or one had by word but not "
         "what all were we when your can said there use an each which she do how their if will up other about out many "
         "then them these so some her would make like him into time has look two more write go see number no way could "
         "people my than first water been call who oil its now find long down day did get come made may part don't I'm "
         "you're we'll they've it's HELLO World GPU naïve café façade Straße İstanbul señor Ångström résumé").split()
SPECIALS = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]", "[MASK]", "[UNK]",
            "<pad>", "<extra_id_0>", "<think>", "</think>", "<tool_call>", "<0x0A>", "[PAD]"]
SCRIPTS = [(0x4E00, 0x9FFF), (0x3040, 0x30FF), (0xAC00, 0xD7A3), (0x0400, 0x04FF), (0x0370, 0x03FF), (0x0590, 0x05FF),
           (0x0600, 0x06FF), (0x0900, 0x097F), (0x0E00, 0x0E7F), (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF), (0x0080, 0x024F),
           (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2190, 0x22FF), (0xFF00, 0xFFEF), (0x0300, 0x036F), (0x3400, 0x4DBF),
           (0x20000, 0x2A6DF), (0x1D400, 0x1D7FF), (0x2460, 0x24FF), (0x3300, 0x33FF), (0x1100, 0x11FF)]
EMOJI = ["👨\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "🇷🇺", "👍🏽", "❤️", "🎉", "1️⃣", "🧑‍💻"]
SPACES = [" ", "  ", "    ", "\t", "\n", "\r\n", "\n\n", " \n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x85", "\x0b"]


def assigned(c):
    return unicodedata.category(chr(c)) not in ("Cn", "Cs")


def prose(r):
    out = []
    for _ in range(r.randint(5, 60)):
        w = r.choice(WORDS)
        if r.random() < .1:
            w = w.capitalize()
        if r.random() < .1:
            w += r.choice(".,;:!?\"')")
        if r.random() < .03:
            w = str(r.randint(0, 10 ** r.randint(1, 9)))
        out.append(w)
    return " ".join(out)


def code(r):
    lines, depth = [], 0
    for _ in range(r.randint(3, 20)):
        indent = ("\t" * depth) if r.random() < .3 else (" " * 4 * depth)
        name = r.choice(WORDS) + r.choice(["", "_", "2", "Fn"]) + r.choice(WORDS)
        lines.append(indent + r.choice([
            f"if ({name} != {r.randint(0, 99)}) {{", f"def {name}(self, x: int = 0x{r.randint(0, 65535):X}) -> None:",
            f"return {name}[i] + 3.14e-{r.randint(1, 9)};  // {r.choice(WORDS)}", "}", "", f"for i in range({r.randint(1, 999)}):",
            f"x = '{r.choice(WORDS)}' + \"\\n\\t\"", "#include <stdio.h>", f"SELECT * FROM {name} WHERE a='b''c';",
            "===========", "-----", "/* ********* */", "https://example.com/a?b=c&d=%20#frag", "a@b.org"]))
        depth = max(0, min(6, depth + r.choice([-1, 0, 0, 1])))
    return r.choice(["\n", "\r\n"]).join(lines)


def script(r):
    lo, hi = r.choice(SCRIPTS)
    out = []
    for _ in range(r.randint(3, 60)):
        c = r.randint(lo, hi)
        if assigned(c):
            out.append(chr(c))
        if r.random() < .1:
            out.append(r.choice(SPACES + list(".,。、！？-'")))
    return "".join(out)


def anything(r):
    out = []
    while len(out) < r.randint(1, 60):
        c = r.choice([r.randint(0, 0x7F), r.randint(0, 0x7FF), r.randint(0, 0xFFFF), r.randint(0, 0x1FFFF), r.randint(0, 0x10FFFF)])
        if assigned(c):
            out.append(chr(c))
    return "".join(out)


def mix(r):
    out = []
    for _ in range(r.randint(1, 12)):
        out.append(r.choice([
            lambda: prose(r), lambda: prose(r), lambda: code(r), lambda: script(r), lambda: script(r), lambda: anything(r),
            lambda: r.choice(EMOJI), lambda: r.choice(SPACES) * r.randint(1, 9), lambda: r.choice(SPECIALS),
            lambda: r.choice("a \n.=-9") * r.randint(1, 90), lambda: unicodedata.normalize("NFD", prose(r))])())
        out.append(r.choice(["", " ", "\n", "  ", "\n    ", r.choice(SPACES)]))
    return "".join(out)


def docs(size):
    r = random.Random(4)
    out, total = [""], 0
    while total < size:
        d = mix(r)
        out.append(d)
        total += len(d.encode())
    return out


def load(path, spm):
    if os.path.exists(os.path.join(path, "tokenizer.json")):
        import tokenizers
        return tokenizers.Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    if spm:
        sys.path.insert(0, spm)
    import json
    import transformers
    with open(os.path.join(path, "tokenizer_config.json")) as f:
        cls = getattr(transformers, json.load(f)["tokenizer_class"])
    return cls.from_pretrained(path).backend_tokenizer


def train(texts, path):
    """Trains a byte-level BPE tokenizer with the settings that TestTrainParity uses."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    begin = time.perf_counter()
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=4000, special_tokens=["<s>", "</s>"], show_progress=False,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    print(f"training: Rust {time.perf_counter() - begin:.2f} s", flush=True)
    tok.save(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("tokenizers", nargs="+", metavar="NAME=DIR")
    p.add_argument("--size", type=int, default=2_000_000, help="bytes of text")
    p.add_argument("--json", action="store_true", help="also test the tokenizer.json that transformers makes")
    p.add_argument("--spm", help="folder with the sentencepiece and protobuf packages, if they are not installed")
    a = p.parse_args()
    texts = docs(a.size)
    size = sum(len(t.encode()) for t in texts)
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "text.bin"), "wb") as f:
        for t in texts:
            b = t.encode()
            f.write(struct.pack("<I", len(b)) + b)
    train(texts, os.path.join(a.out, "trained.json"))
    for item in a.tokenizers:
        name, _, path = item.partition("=")
        tok = load(path, a.spm)
        tok.no_truncation()
        tok.no_padding()
        begin = time.perf_counter()
        ids = [tok.encode(t).ids for t in texts]
        took = time.perf_counter() - begin
        data = b"".join(struct.pack(f"<{len(i) + 1}I", len(i), *i) for i in ids)
        print(f"{name}: {size} bytes, {sum(map(len, ids))} tokens, Rust {size / took / 1e6:.2f} MB/s", flush=True)
        targets = [os.path.join(a.out, name)]
        shutil.rmtree(targets[0], ignore_errors=True)
        if os.path.exists(os.path.join(path, "tokenizer.json")):
            os.makedirs(targets[0])
            tok.save(os.path.join(targets[0], "tokenizer.json"))
        else:
            shutil.copytree(path, targets[0], copy_function=shutil.copyfile)
            if a.json:
                targets.append(targets[0] + "-json")
                os.makedirs(targets[1], exist_ok=True)
                tok.save(os.path.join(targets[1], "tokenizer.json"))
        for t in targets:
            with open(os.path.join(t, "ids.bin"), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
