"""TRL's preference losses, gradients, metrics and ten-step curves on the models of models.py.

Each case runs the loss of TRL's own trainer (DPO, KTO, CPO/SimPO, ORPO, reward) on one fixed batch. Writes
testdata/preference/<base>.{json,safetensors}; README.md describes the layout.
"""

import tempfile
import warnings

import common  # first: it sets the environment before torch and datasets are loaded

import datasets
import torch
from peft import LoraConfig, PeftModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

import models

BASES = ["llama", "qwen2"]
EOS = 2
# Prompt, chosen and rejected lengths before the end token, one triple a pair; then prompt, completion, label.
PAIRS = [(6, 6, 4), (3, 3, 1), (9, 4, 5), (4, 7, 6)]
UNPAIRED = [(6, 7, True), (3, 9, False), (9, 5, True), (4, 1, False), (2, 6, False), (5, 3, True), (7, 4, True)]
MARGINS = [0.5, 0.0, 1.25, -0.3]
FULL_GRADIENTS = [
    "model.norm.weight",
    "model.layers.0.self_attn.k_proj.weight",
    "model.layers.1.post_attention_layernorm.weight",
]

DPO = [
    ("sigmoid", {}),
    ("hinge", {}),
    ("ipo", {}),
    ("robust", {"label_smoothing": 0.1}),
    ("exo_pair", {"label_smoothing": 0.1}),
    ("bco_pair", {}),
    ("nca_pair", {}),
    ("sppo_hard", {}),
    ("apo_zero", {}),
    ("apo_down", {}),
    ("aot", {}),
    ("aot", {"label_smoothing": 0.1}),
    ("aot_unpaired", {}),
    ("aot_unpaired", {"label_smoothing": 0.1}),
    ("discopop", {}),
    ("sigmoid_norm", {}),
    ("sft", {}),
    ("sigmoid", {"beta": 0.5}),
    ("sigmoid", {"use_weighting": True}),
    ("sigmoid", {"ld_alpha": 0.5}),
    ("sigmoid", {"max_length": 10}),
    ("sigmoid", {"max_length": 10, "truncation_mode": "keep_end"}),
    ("sigmoid", {"f_divergence_type": "forward_kl"}),
    ("sigmoid", {"f_divergence_type": "js_divergence"}),
    ("sigmoid", {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.5}),
    (["sigmoid", "sft"], {"loss_weights": [1.0, 0.5]}),
    (["sigmoid", "bco_pair", "sft"], {"loss_weights": [0.8, 0.2, 1.0]}),
]
CPO = [
    ("sigmoid", {"cpo_alpha": 1.0}),
    ("sigmoid", {"cpo_alpha": 0.0}),
    ("hinge", {"cpo_alpha": 1.0}),
    ("ipo", {"cpo_alpha": 1.0}),
    ("simpo", {"cpo_alpha": 0.0, "simpo_gamma": 0.5, "beta": 2.0}),
    ("simpo", {"cpo_alpha": 0.5, "simpo_gamma": 0.5, "beta": 2.0}),
]
KTO = [
    ("kto", {}),
    ("kto", {"desirable_weight": 1.33, "undesirable_weight": 0.8}),
    ("apo_zero_unpaired", {}),
]
# Which cases also get a ten-step curve.
CURVES = {"dpo-sigmoid", "dpo-ipo", "orpo", "kto-kto", "cpo-simpo-cpo_alpha=0.0-simpo_gamma=0.5-beta=2.0", "reward"}
CURVE_LR = 1e-3


SCRATCH = tempfile.TemporaryDirectory()


def tokenizer(vocab):
    """Token i is the word "t<i>", but for padding and the end token."""
    words = {f"t{i}": i for i in range(vocab) if i not in (EOS, common.PAD_ID)}
    words |= {"</s>": EOS, "<pad>": common.PAD_ID}
    tok = Tokenizer(WordLevel(words, unk_token="<pad>"))
    tok.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="</s>", pad_token="<pad>")


def words(key, n, vocab):
    """n random words, none of them the end token or padding."""
    ids = torch.randint(EOS + 1, vocab, (n,), generator=common.generator(key))
    return " ".join(f"t{i}" for i in ids)


def pair_rows(base, vocab):
    return [
        {
            "prompt": words(f"{base}/pair{i}/prompt", p, vocab),
            "chosen": f" {words(f'{base}/pair{i}/chosen', c, vocab)} </s>",
            "rejected": f" {words(f'{base}/pair{i}/rejected', r, vocab)} </s>",
        }
        for i, (p, c, r) in enumerate(PAIRS)
    ]


def unpaired_rows(base, vocab):
    return [
        {
            "prompt": words(f"{base}/row{i}/prompt", p, vocab),
            "completion": f" {words(f'{base}/row{i}/completion', c, vocab)} </s>",
            "label": label,
        }
        for i, (p, c, label) in enumerate(UNPAIRED)
    ]


def ids(text):
    return [EOS if word == "</s>" else int(word[1:]) for word in text.split()]


def load_policy(base):
    return models.load(common.TESTDATA / "models" / base)


def with_adapter(base):
    adapter = common.TESTDATA / "lora" / f"{base}-lora"
    return PeftModel.from_pretrained(load_policy(base), adapter, is_trainable=True)


def load_reference(base):
    """Another model of the same shape: the policy with a committed adapter merged into it."""
    return with_adapter(base).merge_and_unload()


def settings(batch, **options):
    return dict(
        output_dir=SCRATCH.name, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        per_device_train_batch_size=batch, disable_tqdm=True, remove_unused_columns=False, save_strategy="no", **options,
    )


def collate(trainer):
    """The whole data set as one batch, in its order."""
    keep = ("prompt_ids", "chosen_ids", "rejected_ids", "completion_ids", "KL_completion_ids", "label", "margin")
    own = isinstance(trainer, (CPOTrainer, ORPOTrainer))
    rows = [r if own else {k: v for k, v in r.items() if k in keep} for r in trainer.train_dataset]
    return trainer.data_collator(rows)


def last_metrics(trainer):
    return {k: float(v[-1]) for k, v in trainer._metrics["train"].items() if k not in ("num_tokens", "entropy")}


class Case:
    """One loss on one batch: loss() returns the scalar to differentiate, metrics() what TRL logged for it."""

    def __init__(self, name, kind, options, trainer):
        self.name, self.kind, self.options, self.trainer = name, kind, options, trainer
        self.model = trainer.model.train()
        self.batch = collate(trainer)
        self.logged = {}

    def loss(self):
        batch = dict(self.batch)
        if self.kind in ("cpo", "orpo"):
            loss, self.logged = self.trainer.get_batch_loss_metrics(self.model, batch)
            return loss
        if self.kind == "reward":
            loss = self.trainer.compute_loss(self.model, batch)
        else:
            loss = self.trainer._compute_loss(self.model, batch, False)
        self.logged = last_metrics(self.trainer)
        return loss


def label(prefix, loss_type, options):
    parts = [prefix, "+".join(loss_type) if isinstance(loss_type, list) else loss_type]
    for k, v in options.items():
        parts.append(f"{k}={'+'.join(map(str, v)) if isinstance(v, list) else v}")
    return "-".join(parts)


def reward_model(base):
    folder = common.TESTDATA / "models" / base
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, attn_implementation="eager", dtype=torch.float32
    )
    with torch.no_grad():
        model.score.weight.copy_(0.2 * common.randn(f"{base}/score", *model.score.weight.shape))
    return model


def cases(base, vocab):
    tok = tokenizer(vocab)
    pairs = datasets.Dataset.from_list(pair_rows(base, vocab))
    unpaired = datasets.Dataset.from_list(unpaired_rows(base, vocab))
    n, m = len(PAIRS), len(UNPAIRED)

    for loss_type, extra in DPO:
        options = {"loss_type": loss_type, "beta": 0.1, **extra}
        args = DPOConfig(**settings(n, **options))
        trainer = DPOTrainer(load_policy(base), load_reference(base), args, train_dataset=pairs, processing_class=tok)
        yield Case(label("dpo", loss_type, extra), "dpo", options, trainer)

    # The policy is the base with an adapter that starts as the committed one, the reference the base without.
    options = {"loss_type": "sigmoid", "beta": 0.1}
    config = LoraConfig(**lora_options(base))
    trainer = DPOTrainer(
        load_policy(base), None, DPOConfig(**settings(n, **options)), train_dataset=pairs, processing_class=tok,
        peft_config=config,
    )
    adapter = dict(with_adapter(base).named_parameters())
    with torch.no_grad():
        for key, p in trainer.model.named_parameters():
            if p.requires_grad:
                p.copy_(adapter[key])
    yield Case("dpo-lora-sigmoid", "dpo", options, trainer)

    for loss_type, extra in KTO:
        options = {"loss_type": loss_type, "beta": 0.1, **extra}
        args = KTOConfig(**settings(m, **options))
        trainer = KTOTrainer(
            load_policy(base), load_reference(base), args, train_dataset=unpaired, processing_class=tok
        )
        yield Case(label("kto", loss_type, extra), "kto", options, trainer)
    # Policy and reference exchanged: of the two directions one has a positive KL estimate, the other is clamped.
    options = {"loss_type": "kto", "beta": 0.1}
    args = KTOConfig(**settings(m, **options))
    policy = load_reference(base).requires_grad_(True)
    trainer = KTOTrainer(policy, load_policy(base), args, train_dataset=unpaired, processing_class=tok)
    yield Case("kto-exchanged", "kto", options, trainer)

    for loss_type, extra in CPO:
        options = {"loss_type": loss_type, "beta": 0.1, **extra}
        args = CPOConfig(**settings(n, max_length=64, **options))
        trainer = CPOTrainer(load_policy(base), args, train_dataset=pairs, processing_class=tok)
        yield Case(label("cpo", loss_type, extra), "cpo", options, trainer)

    options = {"beta": 0.1}
    args = ORPOConfig(**settings(n, max_length=64, **options))
    trainer = ORPOTrainer(load_policy(base), args, train_dataset=pairs, processing_class=tok)
    yield Case("orpo", "orpo", options, trainer)

    for name, margin, centre in [
        ("reward", False, None),
        ("reward-margin", True, None),
        ("reward-center_rewards_coefficient=0.1", False, 0.1),
    ]:
        options = {"center_rewards_coefficient": centre}
        data = pairs.add_column("margin", MARGINS) if margin else pairs
        args = RewardConfig(**settings(n, **options))
        trainer = RewardTrainer(reward_model(base), args, train_dataset=data, processing_class=tok)
        yield Case(name, "reward", {**options, "margin": margin}, trainer)


def lora_options(base):
    return dict(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def sequence_logps(model, prompts, completions):
    """Summed and per-token log-probabilities of each completion after its prompt."""
    sums = []
    with torch.no_grad():
        for prompt, completion in zip(prompts, completions):
            seq = torch.tensor([prompt + completion])
            logp = torch.log_softmax(models.forward(model, seq, attention_mask=torch.ones_like(seq))[0], -1)
            at = torch.arange(len(prompt) - 1, seq.shape[1] - 1)
            sums.append(logp[at, seq[0, at + 1]].sum().item())
    return sums


def trainable(case):
    """Parameters by checkpoint name; a LoRA parameter keeps PEFT's name without the adapter's."""
    named = {k.replace(".default", ""): p for k, p in case.model.named_parameters() if p.requires_grad}
    return {k: p for k, p in named.items() if p.grad is not None}


def check(results, logps):
    """TRL must have seen the token ids that we write down, and AOT must not coincide with DPO."""
    by_name = {r["name"]: r for r in results}
    for side in ("chosen", "rejected"):
        ours = sum(logps["policy"][side]) / len(PAIRS)
        theirs = by_name["dpo-sigmoid"]["metrics"][f"logps/{side}"]
        if abs(ours - theirs) > 1e-4:
            raise SystemExit(f"log-probabilities of {side}: {ours}, TRL has {theirs}")
    if abs(by_name["dpo-sigmoid"]["loss"] - by_name["dpo-aot"]["loss"]) < 1e-3:
        raise SystemExit("the pairs have one order under policy and reference: AOT shows nothing")
    shifts = [sum(logps[w]["kl_completion"]) / len(UNPAIRED) for w in ("policy", "reference")]
    if abs(max(0.0, shifts[0] - shifts[1]) - by_name["kto-kto"]["metrics"]["kl"]) > 1e-4:
        raise SystemExit("the KL estimate is not TRL's")


def record(case, tensors):
    loss = case.loss()
    case.model.zero_grad()
    loss.backward()
    named = trainable(case)
    out = {
        "name": case.name,
        "trainer": case.kind,
        "options": case.options,
        "loss": loss.item(),
        "metrics": dict(sorted(case.logged.items())),
        "grad_norm": common.grad_norm(named.values()),
        "grad_norms": {k: torch.linalg.vector_norm(p.grad).item() for k, p in sorted(named.items())},
    }
    for key in FULL_GRADIENTS:
        if key in named:
            tensors[f"grad.{case.name}.{key}"] = named[key].grad.clone()
    if case.name in CURVES:
        out["adamw"] = common.train_adamw(named, case.loss, lr=CURVE_LR)
    return out


def golden(base, out):
    policy, reference = load_policy(base), load_reference(base)
    vocab = policy.config.vocab_size
    pairs = [{k: ids(v) for k, v in r.items()} for r in pair_rows(base, vocab)]
    unpaired = [
        {"prompt": ids(r["prompt"]), "completion": ids(r["completion"]), "label": r["label"]}
        for r in unpaired_rows(base, vocab)
    ]
    logps = {}
    for who, model in (("policy", policy), ("reference", reference)):
        prompts = [p["prompt"] for p in pairs]
        logps[who] = {
            "chosen": sequence_logps(model, prompts, [p["chosen"] for p in pairs]),
            "rejected": sequence_logps(model, prompts, [p["rejected"] for p in pairs]),
            "completion": sequence_logps(model, [r["prompt"] for r in unpaired], [r["completion"] for r in unpaired]),
            "kl_completion": sequence_logps(
                model,
                [r["prompt"] for r in unpaired],
                [unpaired[i - 1]["completion"] for i in range(len(unpaired))],
            ),
        }
    tensors = {"score.weight": reward_model(base).score.weight}
    results = [record(case, tensors) for case in cases(base, vocab)]
    check(results, logps)
    common.write_json(
        out / "preference" / f"{base}.json",
        {
            "base": f"testdata/models/{base}",
            "reference_adapter": f"testdata/lora/{base}-lora",
            "pairs": pairs,
            "margins": MARGINS,
            "unpaired": unpaired,
            "logps": logps,
            "cases": results,
        },
    )
    if base == "llama":
        common.write_tensors(out / "preference" / f"{base}.safetensors", tensors)
    else:
        common.write_tensors(out / "preference" / f"{base}.safetensors", {"score.weight": tensors["score.weight"]})
    print(f"{base}: {len(results)} cases", flush=True)


def generate(out, only):
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning)
    for base in BASES:
        if only in base:
            golden(base, out)


if __name__ == "__main__":
    common.run(__doc__, ["preference"], generate)
