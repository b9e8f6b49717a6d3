#!/usr/bin/env python3
"""Lists what TensorBoard's own reader finds in a run's event files, and fails if it is not what metrics.jsonl says.

    pip install -r tools/tensorboard/requirements.txt
    python tools/tensorboard/read_events.py runs/sft-tiny
"""
import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ALL = {"scalars": 0, "tensors": 0, "histograms": 0}


def main(run: pathlib.Path) -> int:
    events = EventAccumulator(str(run / "runs"), size_guidance=ALL)
    events.Reload()
    tags = events.Tags()
    faults = 0
    for tag in tags["scalars"]:
        points = events.Scalars(tag)
        print(f"scalar     {tag:34} {len(points):4} points, steps {points[0].step}..{points[-1].step}, last {points[-1].value:.6g}")
    for tag in tags["tensors"]:
        points = events.Tensors(tag)
        plugin = events.SummaryMetadata(tag).plugin_data.plugin_name
        last = points[-1].tensor_proto.string_val[0].decode()
        print(f"{plugin:10} {tag:34} {len(points):4} points, steps {points[0].step}..{points[-1].step}, last {last!r}")
    for tag in tags["histograms"]:
        points = events.Histograms(tag)
        h = points[-1].histogram_value
        print(f"histogram  {tag:34} {len(points):4} points, {h.num:.0f} values from {h.min:.3g} to {h.max:.3g}")
        if h.num != sum(h.bucket):
            print(f"{tag}: the buckets hold {sum(h.bucket):.0f} of {h.num:.0f} values", file=sys.stderr)
            faults += 1
    for line in (run / "metrics.jsonl").read_text().splitlines():
        entry = json.loads(line)
        for key, value in entry.items():
            tag = "eval/" + key[5:] if key.startswith("eval_") else "train/" + key
            if key == "step" or value is None:
                continue
            found = [p.value for p in events.Scalars(tag) if p.step == entry["step"]] if tag in tags["scalars"] else []
            if not any(abs(v - value) <= 1e-6 * max(1, abs(value)) for v in found):
                print(f"step {entry['step']}: {tag} is {value} in metrics.jsonl and {found} in the events", file=sys.stderr)
                faults += 1
    print(f"{faults} differences from metrics.jsonl")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
