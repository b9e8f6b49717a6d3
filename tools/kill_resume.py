"""Trains twice, once killed with SIGKILL at random moments and resumed until it is done, and compares what the two runs leave, byte for byte.

    python tools/kill_resume.py [--kills N] [--seed N] OUTPUT -- bin/mltrain lora -c run.yaml …

OUTPUT/whole and OUTPUT/killed are the output directories; the command is given --output, --resume and --quiet. Exit status 1: they differ.
"""

import argparse
import hashlib
import pathlib
import random
import subprocess
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("output", type=pathlib.Path)
parser.add_argument("command", nargs="+")
args = parser.parse_args()
rng = random.Random(args.seed)


def start(name):
    return subprocess.Popen([*args.command, "--output", args.output / name, "--resume", "--quiet"])


began = time.monotonic()
if start("whole").wait():
    sys.exit("the undisturbed run failed")
took = time.monotonic() - began
kills = []
while True:
    began, run = time.monotonic(), start("killed")
    if len(kills) < args.kills:
        threading.Timer(took * rng.uniform(0.1, 0.5), run.kill).start()
    status = run.wait()
    if status == 0:
        break
    if status != -9:
        sys.exit(f"the killed run failed with status {status}")
    saved = sorted(int(p.name.split("-")[1]) for p in (args.output / "killed").glob("checkpoint-*") if p.name.split("-")[1].isdigit())
    kills.append(f"after {time.monotonic() - began:.1f} s, the last checkpoint of step {saved[-1] if saved else 0}")
print(f"undisturbed {took:.1f} s; killed {len(kills)} times: " + "; ".join(kills))
differ = 0
for path in sorted((args.output / "whole").glob("*.safetensors")):
    sums = [hashlib.sha256((args.output / run / path.name).read_bytes()).hexdigest() for run in ("whole", "killed")]
    differ += sums[0] != sums[1]
    print(f"{path.name}: {path.stat().st_size} bytes, sha256 {sums[0][:16]}, {'equal' if sums[0] == sums[1] else 'DIFFERENT: ' + sums[1][:16]}")
sys.exit(differ > 0)
