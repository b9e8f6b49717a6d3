"""What every golden script shares: determinism, the fixed batch, the loss, writing and checking files."""

import argparse
import filecmp
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
import zlib

# Goldens are a CPU matter, and nothing may be fetched while they are made.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import torch
from safetensors.torch import load_file, save_file
from transformers.trainer_pt_utils import LabelSmoother
from transformers.utils import logging

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTDATA = ROOT / "testdata"

IGNORE = -100
LENGTHS = [17, 9, 24]
PAD_ID = 0

ADAMW = {
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
}


def setup():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    logging.disable_progress_bar()


def generator(key):
    """A generator seeded by a text key, so that no tensor's values depend on the order in which they are drawn."""
    return torch.Generator().manual_seed(zlib.crc32(key.encode()))


def randn(key, *shape):
    return torch.randn(*shape, generator=generator(key))


def make_batch(key, vocab):
    """Three right-padded rows of LENGTHS tokens; PAD_ID also occurs as a real, trained token.

    Labels are -100 on padding, on a prompt prefix of rows 0 and 2, and on a span inside row 2.
    """
    width = max(LENGTHS)
    ids = torch.full((len(LENGTHS), width), PAD_ID, dtype=torch.long)
    labels = torch.full_like(ids, IGNORE)
    for i, n in enumerate(LENGTHS):
        row = torch.randint(0, vocab, (n,), generator=generator(f"{key}/row{i}"))
        row[n - 1] = PAD_ID
        ids[i, :n] = row
        labels[i, :n] = row
    labels[0, :4] = IGNORE
    labels[2, :7] = IGNORE
    labels[2, 12:15] = IGNORE
    return ids, labels


def attention_mask():
    mask = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for i, n in enumerate(LENGTHS):
        mask[i, :n] = 1
    return mask


def causal_loss(logits, labels):
    """Sum of -log p over the non-masked labels, shifted by one, divided by their count."""
    logits, labels = logits[:, :-1].float(), labels[:, 1:]
    total = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORE, reduction="sum"
    )
    return total / (labels != IGNORE).sum()


def smoothed_loss(logits, labels, epsilon):
    return LabelSmoother(epsilon=epsilon)({"logits": logits}, labels, shift_labels=True)


def grad_norm(params):
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in params])).item()


def train_adamw(named, loss_fn, steps=10, lr=ADAMW["lr"]):
    """AdamW on a fixed batch: losses before each update, norms before clipping, norms of the final parameters.

    named maps a name to its parameter. Weight decay falls on tensors of two and more dimensions only.
    """
    decay = [p for p in named.values() if p.dim() >= 2]
    plain = [p for p in named.values() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": ADAMW["weight_decay"]},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=lr,
        betas=tuple(ADAMW["betas"]),
        eps=ADAMW["eps"],
        foreach=False,
    )
    losses, norms = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_fn()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(named.values()), ADAMW["max_grad_norm"], foreach=False)
        losses.append(loss.item())
        norms.append(norm.item())
        optimizer.step()
    return {
        **ADAMW,
        "lr": lr,
        "losses": losses,
        "grad_norms": norms,
        "final_param_norms": {k: torch.linalg.vector_norm(p).item() for k, p in sorted(named.items())},
    }


def write_json(path, value):
    """JSON with sorted keys; lists of plain numbers stay on one line so that diffs are readable."""

    def scalar(v):
        return not isinstance(v, (list, dict))

    def render(v, indent):
        pad = " " * (indent + 1)
        if isinstance(v, dict) and v:
            rows = [f"{pad}{json.dumps(k)}: {render(v[k], indent + 1)}" for k in sorted(v)]
            return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
        if isinstance(v, list) and v and not all(scalar(x) for x in v):
            return "[\n" + ",\n".join(pad + render(x, indent + 1) for x in v) + "\n" + " " * indent + "]"
        return json.dumps(v, allow_nan=False)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(value, 0) + "\n")


def write_tensors(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _compare_json(a, b, where, faults, tol):
    if isinstance(a, bool) or isinstance(b, bool) or isinstance(a, str) or a is None:
        if a != b:
            faults.append(f"{where}: {a!r} became {b!r}")
    elif isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if not math.isclose(a, b, rel_tol=tol, abs_tol=tol):
            faults.append(f"{where}: {a} became {b}")
    elif isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for k in a:
            _compare_json(a[k], b[k], f"{where}.{k}", faults, tol)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            _compare_json(x, y, f"{where}[{i}]", faults, tol)
    else:
        faults.append(f"{where}: shape or keys differ")


def compare_trees(committed, fresh, tol):
    """Differences between two trees of goldens: every file, every number, absolute or relative to the tensor's largest."""
    faults = []
    names = lambda d: {str(p.relative_to(d)) for p in d.rglob("*") if p.is_file()}
    have, want = names(committed), names(fresh)
    faults += [f"{n}: committed but no longer generated" for n in sorted(have - want)]
    faults += [f"{n}: generated but not committed" for n in sorted(want - have)]
    for n in sorted(have & want):
        a, b = committed / n, fresh / n
        if filecmp.cmp(a, b, shallow=False):
            continue
        if n.endswith(".json"):
            _compare_json(json.loads(a.read_text()), json.loads(b.read_text()), n, faults, tol)
        elif n.endswith(".safetensors"):
            ta, tb = load_file(a), load_file(b)
            if ta.keys() != tb.keys():
                faults.append(f"{n}: tensor names differ")
                continue
            for k in ta:
                if ta[k].shape != tb[k].shape or ta[k].dtype != tb[k].dtype:
                    faults.append(f"{n}: {k}: shape or dtype differs")
                    continue
                diff = (ta[k].double() - tb[k].double()).abs().max().item() if ta[k].numel() else 0.0
                if diff > tol * max(1.0, ta[k].abs().max().item()):
                    faults.append(f"{n}: {k}: largest difference {diff}")
        else:
            faults.append(f"{n}: bytes differ")
    return faults


def run(description, parts, generate):
    """The command line of every golden script.

    parts are the paths under testdata/ that the script owns (folders or files); generate(out, only) writes them
    below out. With --check they are made in a temporary folder and compared with the committed ones.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="regenerate into a temporary folder and compare")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--only", default="", help="restrict to names that contain this text")
    args = parser.parse_args()
    setup()
    if args.only and args.check:
        parser.error("--only and --check do not go together")
    if not args.check:
        if not args.only:
            for p in parts:
                target = TESTDATA / p
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        generate(TESTDATA, args.only)
        return
    with tempfile.TemporaryDirectory() as tmp:
        fresh = pathlib.Path(tmp)
        generate(fresh, "")
        faults = []
        for p in parts:
            src = TESTDATA / p
            if src.is_dir():
                faults += compare_trees(src, fresh / p, args.tolerance)
            elif src.exists():
                new = json.loads((fresh / p).read_text())
                _compare_json(json.loads(src.read_text()), new, p, faults, args.tolerance)
            else:
                faults.append(f"{p}: not committed")
        for f in faults:
            print(f, file=sys.stderr)
        print(f"{len(faults)} differences at tolerance {args.tolerance}")
        sys.exit(1 if faults else 0)
