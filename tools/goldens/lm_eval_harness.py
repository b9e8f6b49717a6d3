"""Writes testdata/eval/{model,data,golden.json}: a tiny trained Llama, rows for the task files beside them, and what
lm-evaluation-harness makes of them.

    venv/bin/python tools/goldens/lm_eval_harness.py                # rewrite
    venv/bin/python tools/goldens/lm_eval_harness.py --keep-model   # rewrite the data and golden.json only
"""

import argparse
import json
import os
import pathlib
import random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "eval"
PETS = {"dog": ["woof", "bark"], "cat": ["meow", "purr"], "cow": ["moo"], "duck": ["quack"], "sheep": ["baa"], "horse": ["neigh"]}
NAMES = ["Ann", "Ben", "Cleo", "Dag", "Edda", "Finn", "Gül", "Hugo", "Ines", "Jörg", "Kim", "Łucja"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def pet_row(rng):
    pet = rng.choice(list(PETS))
    others = rng.sample([p for p in PETS if p != pet], 2)
    sounds = [PETS[pet][0], PETS[others[0]][0], PETS[others[1]][0]]
    order = rng.sample(range(3), 3)
    return {"name": rng.choice(NAMES), "pet": pet, "sounds": [sounds[i] for i in order], "label": order.index(0)}


def sum_row(rng):
    a, b = rng.randrange(1, 10), rng.randrange(1, 10)
    return {"question": f"{a} + {b}?", "answer": f"{a} and {b} make {a + b}.\n#### {a + b}"}


def story(rng):
    name, pet = rng.choice(NAMES), rng.choice(list(PETS))
    return f"{name} has a {pet}. The {pet} says {PETS[pet][0]}"


def lines(path, rows):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def data():
    rng = random.Random(7)
    folder = ROOT / "data"
    folder.mkdir(parents=True, exist_ok=True)
    lines(folder / "pets_train.jsonl", [pet_row(rng) for _ in range(30)])
    lines(folder / "pets.jsonl", [pet_row(rng) for _ in range(24)])
    lines(folder / "sums_train.jsonl", [sum_row(rng) for _ in range(40)])
    lines(folder / "sums.jsonl", [sum_row(rng) for _ in range(18)])
    lines(folder / "stories.jsonl", [{"text": story(rng)} for _ in range(16)])
    lines(folder / "passages.jsonl", [{"page": " ".join(story(rng) + " ." for _ in range(n))} for n in (1, 3, 40, 80)]
          + [{"page": "Zwölf  Boxkämpfer jagen\nViktor , quer über den großen Sylter Deich . 北京 "}])
    lines(folder / "sounds.jsonl", [{"pet": p, "answers": PETS[p]} for p in PETS])
    rows = ["degrees,rain,coat"]
    for i in range(20):
        degrees, rain = rng.randrange(-5, 30), rng.random() < 0.4
        rows.append(f"{degrees},{rain},{int((degrees < 12 or rain) != (i % 5 == 4))}")  # some are wrong
    (folder / "weather.csv").write_text("\n".join(rows) + "\n")
    pronouns = []
    for _ in range(14):
        a, b = rng.sample(NAMES, 2)
        pet = rng.choice(list(PETS))
        answer = rng.choice("12")
        pronouns.append({"sentence": f"{a} gave {b} a {pet}. Now _ has a {pet}.", "option1": a, "option2": b, "answer": answer})
    (folder / "pronoun.json").write_text(json.dumps(pronouns, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def corpus(rng):
    kind = rng.randrange(5)
    if kind == 0:
        r = pet_row(rng)
        return f"{r['name']} has a {r['pet']}. What does the {r['pet']} say? {r['sounds'][r['label']]}\n\n"
    if kind == 1:
        r = sum_row(rng)
        return f"Question: {r['question']}\nAnswer: {r['answer']}\n\n"
    if kind == 2:
        return story(rng) + ".\n"
    if kind == 3:
        degrees, rain = rng.randrange(-5, 30), rng.random() < 0.4
        return f"It is {degrees} degrees{' and it rains' if rain else ''}. Do I need a coat? {'yes' if degrees < 12 or rain else 'no'}\n\n"
    pet = rng.choice(list(PETS))
    return f"The {pet} says loudly: {rng.choice(PETS[pet])}\n\n"


def tokenizer(texts):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=380, special_tokens=special,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    return tok


def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    rng = random.Random(11)
    texts = [corpus(rng) for _ in range(4000)]
    tok = tokenizer(texts)
    folder = ROOT / "model"
    folder.mkdir(parents=True, exist_ok=True)
    tok.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "tokenizer_class": "PreTrainedTokenizerFast",
              "chat_template": TEMPLATE, "model_max_length": 160}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    llama = LlamaForCausalLM(LlamaConfig(
        vocab_size=tok.get_vocab_size(), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=160, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    ))
    ids = [i for t in texts for i in tok.encode(t, add_special_tokens=False).ids]
    opt = torch.optim.AdamW(llama.parameters(), lr=4e-3, weight_decay=0.0)
    steps = 400
    for step in range(steps):
        starts = [rng.randrange(len(ids) - 100) for _ in range(16)]
        batch = torch.tensor([[0] + ids[s : s + 96] for s in starts])
        loss = llama(input_ids=batch, labels=batch).loss
        opt.zero_grad()
        loss.backward()
        for g in opt.param_groups:
            g["lr"] = 4e-3 * min(1, (step + 1) / 20, (steps - step) / 150)
        opt.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    llama.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "model.safetensors").chmod(0o644)


# Each run is a call of the harness: the tasks and its arguments.
RUNS = {
    "plain": {"tasks": ["pets", "pets_self", "weather", "pronoun", "last_word", "passages", "sums", "sounds"]},
    "group": {"tasks": ["everything"], "limit": 9, "num_fewshot": 1},
    "tag": {"tasks": ["animals"], "limit": 0.25, "fewshot_random_seed": 5},
    "chat": {"tasks": ["pets", "sums", "sounds"], "limit": 6, "num_fewshot": 1, "apply_chat_template": True, "fewshot_as_multiturn": True,
             "system_instruction": "Be short."},
    "chat_one_turn": {"tasks": ["pets", "sums", "sounds"], "limit": 4, "num_fewshot": 2, "apply_chat_template": True, "fewshot_as_multiturn": False},
    "no_shots": {"tasks": ["pets", "sums"], "limit": 6, "num_fewshot": 0, "gen_kwargs": {"max_gen_toks": 6}},
}


def plain(x):
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if hasattr(x, "tolist"):
        return x.tolist()
    return x


def golden():
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    os.chdir(ROOT)
    torch.set_num_threads(1)
    lm = HFLM(pretrained="model", device="cpu", dtype="float32", batch_size=1)
    out = {"lm_eval": lm_eval.__version__, "runs": {}}
    for name, args in RUNS.items():
        res = lm_eval.simple_evaluate(model=lm, task_manager=TaskManager(include_path=".", include_defaults=False), bootstrap_iters=2000,
                                      random_seed=0, **{"fewshot_as_multiturn": False, **args})
        samples = {
            task: [
                {k: v for k, v in s.items() if k not in ("doc", "prompt_hash", "target_hash")} for s in plain(rows)
            ]
            for task, rows in res["samples"].items()
        }
        keep = ("results", "groups", "group_subtasks", "n-shot", "n-samples", "higher_is_better")
        out["runs"][name] = {"args": args, **{k: plain(res[k]) for k in keep if k in res}, "samples": samples}
        for task, m in out["runs"][name]["results"].items():
            print(name, task, {k: v for k, v in m.items() if "," in k})
    (ROOT / "golden.json").write_text(json.dumps(out, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep-model", action="store_true", help="use the model that is there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data()
    if not args.keep_model:
        model()
    golden()
