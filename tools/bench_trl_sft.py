"""LoRA with TRL's SFTTrainer, as installed, on rows of different lengths: the peer of `mltrain sft` in bench_peers.py.

usage: bench_trl_sft.py --model DIR --data FILE --steps N      FILE is a JSON list of {instruction, input, output}
prints one JSON object with tokens_per_second: real tokens, no padding, the median over steps after the first two.
"""
import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

p = argparse.ArgumentParser()
p.add_argument("--model")
p.add_argument("--data")
p.add_argument("--steps", type=int)
args = p.parse_args()

rows = json.load(open(args.data))
data = Dataset.from_list([{"prompt": f"### Instruction:\n{r['instruction']}\n{r.get('input') or ''}\n\n### Response:\n", "completion": r["output"]} for r in rows])
tok = AutoTokenizer.from_pretrained(args.model)


class Clock(TrainerCallback):
    def __init__(self):
        self.seconds, self.start = [], 0

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)


class Count:
    """Counts the real tokens of each batch that the trainer collates."""

    def __init__(self, inner):
        self.inner, self.tokens = inner, []

    def __call__(self, rows):
        batch = self.inner(rows)
        self.tokens.append(int(batch["attention_mask"].sum()))
        return batch


clock = Clock()
with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(sys.stderr):  # the trainer prints its log
    trainer = SFTTrainer(
        model=args.model, train_dataset=data, processing_class=tok, callbacks=[clock],
        peft_config=LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(output_dir=out, max_steps=args.steps, per_device_train_batch_size=8, max_length=512, report_to=[], save_strategy="no", use_cpu=True, bf16=False,
                       gradient_checkpointing=False, logging_steps=1000, disable_tqdm=True, dataset_num_proc=None),
    )
    count = Count(trainer.data_collator)
    trainer.data_collator = count
    trainer.train()
rates = [n / s for n, s in zip(count.tokens, clock.seconds)][2:]
print(json.dumps({"tokens_per_second": statistics.median(rates), "tokens": count.tokens[: args.steps], "seconds_per_step": clock.seconds}))
