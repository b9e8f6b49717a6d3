"""Makes testdata/trl: a small tokenizer, rows of every shape, and what TRL makes of them.

Versions of the committed files: trl 1.16.0, transformers 5.17.0, tokenizers 0.23.3, datasets 5.2.0.
Run: python make_trl.py  (in this folder)
"""
import json
from types import SimpleNamespace

from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, SFTConfig
from trl.data_utils import maybe_unpair_preference_dataset, pack_dataset
from trl.trainer.dpo_trainer import DPOTrainer, DataCollatorForPreference
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer

OUT = "trl"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + '\\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{% else %}{{ m.content + '<|end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

corpus = [
    "The river runs past the old mill and under the bridge, slowly in summer, quickly in spring.",
    "Add two and three to get five; multiply five by five to get twenty-five.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))",
    "Grüße aus Köln! 你好，世界。 Привет, мир. 🙂 done",
    "A question needs an answer, and an answer needs a question. What is the question? What is the answer?",
] * 4

tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tok.decoder = decoders.ByteLevel()
tok.train_from_iterator(corpus, trainers.BpeTrainer(
    vocab_size=420, special_tokens=["<pad>", "<s>", "</s>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
hf = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
hf.chat_template = TEMPLATE
hf.save_pretrained(OUT)


def chat(*turns):
    roles = ["user", "assistant"]
    return [{"role": roles[i % 2], "content": t} for i, t in enumerate(turns)]


text = [{"text": t} for t in corpus[:5]] + [{"text": "It ends by itself.</s>"}, {"text": " leading space"}]
messages = [
    {"messages": chat("What is two and three?", "Five.")},
    {"messages": chat("Hi", "Hello! 🙂", "And in Köln?", "Grüße!\n\nBye 你好")},
    {"messages": [{"role": "system", "content": "Be brief."}] + chat("Why?", "Because.")},
]
standard = [
    {"prompt": "Two and three is", "completion": " five."},
    {"prompt": "The question: ", "completion": "the answer"},
    {"prompt": "straddl", "completion": "ing words merge"},
    {"prompt": "def add(a, b):\n    ", "completion": "    return a + b"},
    {"prompt": "", "completion": "No prompt at all."},
]
conversational = [
    {"prompt": chat("What is the question?"), "completion": [{"role": "assistant", "content": "The answer."}]},
    {"prompt": chat("Hi", "Hello", "A long question that goes on and on and on, past the mill and the bridge?"),
     "completion": [{"role": "assistant", "content": "A long answer, too, with more words in it than there should be."}]},
]
pairs = [
    {"prompt": "Two and three is", "chosen": " five.", "rejected": " six, or perhaps seven, who can tell."},
    {"prompt": "The question: ", "chosen": "the answer", "rejected": "the"},
    {"prompt": "A prompt that is long enough to fill all of the room there is, and then some more", "chosen": " yes", "rejected": " no"},
]
chat_pairs = [
    {"prompt": chat("What is the question?"), "chosen": [{"role": "assistant", "content": "The answer."}],
     "rejected": [{"role": "assistant", "content": "What is the question? What is the answer?"}]},
]
implicit = [{"chosen": chat("Hi", "Hello!"), "rejected": chat("Hi", "Go away.")}]
implicit_text = [{"chosen": "The river runs slowly.", "rejected": "The river runs quickly."}]


def sft(rows, max_length, completion_only=None, assistant_only=False, mode="keep_start"):
    columns = rows[0].keys()
    me = SimpleNamespace(
        _tokenizer=hf, chat_template=None, _is_vision_dataset=False,
        completion_only_loss=completion_only if completion_only is not None else "prompt" in columns)
    args = SFTConfig(output_dir="/tmp/none", max_length=max_length, assistant_only_loss=assistant_only, truncation_mode=mode,
                     shuffle_dataset=False, bf16=False, use_cpu=True)
    ds = SFTTrainer._prepare_dataset(me, Dataset.from_list(rows), hf, args, False, None, "train")
    return {"ids": ds["input_ids"][:], "labels": ds["labels"][:]}


def dpo(rows, max_length, mode="keep_start"):
    me = SimpleNamespace(_tokenizer=hf, chat_template=None, _is_vision_dataset=False)
    args = DPOConfig(output_dir="/tmp/none", max_length=max_length, truncation_mode=mode, bf16=False, use_cpu=True)
    ds = DPOTrainer._prepare_dataset(me, Dataset.from_list(rows), hf, args, "train")
    batch = DataCollatorForPreference(pad_token_id=0, max_length=max_length, truncation_mode=mode)([ds[i] for i in range(len(ds))])
    return {k: batch[k].tolist() for k in ("input_ids", "attention_mask", "completion_mask")}


def kto(rows, max_length):
    me = SimpleNamespace(_tokenizer=hf, chat_template=None, _is_vision_dataset=False, calculate_KL=True)
    args = SimpleNamespace(dataset_num_proc=None, max_length=max_length, per_device_train_batch_size=len(rows) * 2,
                           undesirable_weight=1.0, desirable_weight=1.0)
    ds = KTOTrainer._prepare_dataset(me, Dataset.from_list(rows), hf, args, "train")
    return {k: ds[k][:] for k in ("prompt_ids", "completion_ids", "label", "KL_completion_ids")}


cases = []


def case(name, kind, rows, **options):
    f = {"sft": sft, "dpo": dpo, "kto": kto}[kind]
    cases.append({"name": name, "kind": kind, "rows": rows, "options": options, "want": f(rows, **options)})


case("text", "sft", text, max_length=1024)
case("text cut", "sft", text, max_length=9)
case("text cut at the start", "sft", text, max_length=9, mode="keep_end")
case("messages", "sft", messages, max_length=1024)
case("messages assistant only", "sft", messages, max_length=1024, assistant_only=True)
case("messages assistant only cut", "sft", messages, max_length=20, assistant_only=True)
case("prompt completion", "sft", standard, max_length=1024)
case("prompt completion all tokens", "sft", standard, max_length=1024, completion_only=False)
case("prompt completion cut", "sft", standard, max_length=8)
case("conversational prompt completion", "sft", conversational, max_length=1024)
case("conversational prompt completion cut", "sft", conversational, max_length=32)
case("conversational assistant only", "sft", conversational, max_length=1024, assistant_only=True)
case("pairs", "dpo", pairs, max_length=1024)
case("pairs cut", "dpo", pairs, max_length=12)
case("pairs cut at the start", "dpo", pairs, max_length=12, mode="keep_end")
case("chat pairs", "dpo", chat_pairs, max_length=1024)
case("implicit prompt", "dpo", implicit, max_length=1024)
case("implicit text prompt", "dpo", implicit_text, max_length=1024)
case("unpaired from pairs", "kto", pairs, max_length=1024)
case("unpaired", "kto", [{"prompt": "Two and three is", "completion": " five.", "label": True},
                         {"prompt": "Two and three is", "completion": " six.", "label": False}], max_length=1024)

rng = __import__("random").Random(1)
lengths = [rng.randint(1, 64) for _ in range(300)]
packed = pack_dataset(Dataset.from_dict({"ids": [[i] * n for i, n in enumerate(lengths)]}), 64, "bfd")
bins = []
for row, seqs in zip(packed["ids"][:], packed["seq_lengths"][:]):
    at, out = 0, []
    for n in seqs:
        out.append(row[at])
        at += n
    bins.append(out)

with open(f"{OUT}/cases.json", "w") as f:
    json.dump({"cases": cases, "packing": {"lengths": lengths, "capacity": 64, "bins": bins}}, f, ensure_ascii=False)
