#!/usr/bin/env python3
"""Writes internal/tokenizer/testdata/goldens.json: small tokenizers and what Hugging Face's `tokenizers` makes of texts.

    python tools/goldens/tokenizer_goldens.py

Every normaliser, pre-tokeniser, model, post-processor, decoder and option occurs. The tokenizers are built here, from
text written here. The library breaks ties at random when it limits an alphabet, so another run may give other tokenizers,
but always ones to which its own results belong. Made with tokenizers 0.23.3.
"""
import hashlib
import json
import os
import pathlib
import random
import struct
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P
from tokenizers import processors as PP, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal" / "tokenizer" / "testdata" / "goldens.json"

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog doesn't mind; it's used to the fox.",
    "def add(a, b):\n    return a + b\n\nfor i in range(100):\n    print(add(i, 2 * i))\n",
    "A tokenizer cuts text into tokens, and a decoder puts tokens together again.",
    "Straße, café, naïve: words with marks. 123 456 7890 3.14159",
    "日本語の文 と 한국어 문장, плюс русский текст 🎉🎉",
    "there then them these those other another mother father weather leather the the the them them",
]
TEXTS = [
    "", " ", "Hello, world! The dog's other token.", "  leading and  trailing  \t ",
    "I'm you're WE'LL don't 'S 'T 'ſ l'l", "x = 3.14159 + 100000;\n\treturn\r\n\r\n  y \n \n",
    "café e\u0301 \u1e9b\u0323 ﬁ ＡＢＣ ㎏ 가 \u1100\u1161\u11a8 İI Straße", "日本語テキスト ー 한국어 ไทย हिन्दी Ελληνικά Привет",
    "👨\u200d👩\u200d👧 🏳️\u200d🌈 🎉 1️⃣", "a<s>b</s> <mask>  c the<unk> [CLS]x",
    "\x00a\x01b\x7fc\ufffd\ufeff\u200b\u00a0\u2003d\u2028\x85", "---the-final--countdown-", "½²①٣٤ 12a34_b १२",
    "foo▁bar ▁ baz▁", "<0x41>é<0xC3> ??!..", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa the them",
]
PAIRS = [("Hello there", "the dog"), ("", "a b c"), ("the quick brown fox jumps", "over"), ("a", "")]


def byte_offsets(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [x for o in offsets for x in (at[o[0]], at[o[1]])]


def record(text, e):
    inside = [o if o[1] <= len(text) else (0, 0) for o in e.offsets]  # of the second text: see pair_record
    return {"ids": e.ids, "tokens": e.tokens, "offsets": byte_offsets(text, inside), "types": e.type_ids,
            "special": e.special_tokens_mask, "attention": e.attention_mask}


def pair_record(a, b, e):
    offsets = []
    for o, sequence in zip(e.offsets, e.sequence_ids):
        offsets += byte_offsets(b if sequence == 1 else a, [o])
    return {**record(a, e), "offsets": offsets}


class Cases:
    def __init__(self):
        self.list = []

    def add(self, name, tok, texts=None, pairs=False):
        texts = TEXTS if texts is None else texts
        case = {"name": name, "tokenizer": json.loads(tok.to_str()), "texts": texts if texts is not TEXTS else None, "results": []}
        for t in texts:
            r = record(t, tok.encode(t))
            plain = tok.encode(t, add_special_tokens=False)
            if plain.ids != r["ids"]:
                r["plain"] = plain.ids
            try:
                r["decoded"] = tok.decode(r["ids"], skip_special_tokens=False)
                skipped = tok.decode(r["ids"], skip_special_tokens=True)
                if skipped != r["decoded"]:
                    r["skipped"] = skipped
            except BaseException:  # a panic of the library: there is nothing to compare with
                pass
            case["results"].append(r)
        if pairs:
            case["pairs"] = [{"a": a, "b": b, "special": pair_record(a, b, tok.encode(a, b)),
                              "plain": pair_record(a, b, tok.encode(a, b, add_special_tokens=False))} for a, b in PAIRS]
        self.list.append({k: v for k, v in case.items() if v is not None})

    def probe(self, name, norm=None, pre=None, texts=None):
        """A model to which everything is unknown, so that the tokens are the pieces it gets."""
        tok = Tokenizer(M.Unigram([("<unk>", 0.0)], 0, False))
        if norm is not None:
            tok.normalizer = norm
        if pre is not None:
            tok.pre_tokenizer = pre
        texts = TEXTS if texts is None else texts
        case = {"name": name, "tokenizer": json.loads(tok.to_str()), "texts": texts if texts is not TEXTS else None, "pieces": []}
        for t in texts:
            e = tok.encode(t)
            case["pieces"].append({"tokens": e.tokens, "offsets": byte_offsets(t, e.offsets)})
        self.list.append({k: v for k, v in case.items() if v is not None})


def charsmap(entries):
    """A precompiled charsmap: a double-array trie, built by first fit, and the replacements."""
    blob, values = b"", {}
    for key, new in entries.items():
        values[key.encode()] = len(blob)
        blob += new.encode() + b"\0"
    units = {0: 0}

    def children(prefix):
        return sorted({k[len(prefix)] if len(k) > len(prefix) else 0 for k in values if k.startswith(prefix)})

    def place(prefix, at):
        kids = children(prefix)
        base = 1
        while any(((at ^ base) ^ k) in units for k in kids) or (at ^ base) in units and 0 in kids:
            base += 1
        node = at ^ base
        units[at] = units.get(at, 0) | base << 10 | (256 if 0 in kids else 0)
        for k in kids:
            units[node ^ k] = (1 << 31 | values[prefix]) if k == 0 else k
        for k in kids:
            if k:
                place(prefix + bytes([k]), node ^ k)

    place(b"", 0)
    size = (max(units) + 256) // 256 * 256
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return struct.pack("<I", len(trie)) + trie + blob


def trained(model, pre, trainer, norm=None):
    tok = Tokenizer(model)
    tok.pre_tokenizer = pre
    if norm is not None:
        tok.normalizer = norm
    tok.train_from_iterator(CORPUS, trainer)
    return tok


def byte_bpe(**kw):
    pre = P.ByteLevel(add_prefix_space=False)
    tok = trained(M.BPE(), pre, trainers.BpeTrainer(vocab_size=340, special_tokens=["<s>", "</s>", "<pad>", "<mask>", "<unk>"],
                                                    initial_alphabet=P.ByteLevel.alphabet(), show_progress=False))
    tok.decoder = D.ByteLevel()
    return tok


GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def normalizer_cases(c):
    r = random.Random(1)
    marks = [0x300, 0x301, 0x323, 0x327, 0x338, 0x345, 0x5B0, 0x5C1, 0x93C, 0x3099, 0x64B, 0x1D165]
    bases = "aeAoqKşệ가각각षकΐἀאかﬁ⁵㍿ǆ"
    nf = TEXTS + ["".join(r.choice(bases) + "".join(chr(r.choice(marks)) for _ in range(r.randint(0, 4))) for _ in range(8))
                  for _ in range(12)] + ["a" + "\u0301\u0323" * 20 + "b"]
    for name in ("NFC", "NFD", "NFKC", "NFKD"):
        c.probe(f"normalizer {name}", getattr(N, name)(), texts=nf)
    c.probe("normalizer Lowercase", N.Lowercase())
    c.probe("normalizer Nmt", N.Nmt())
    c.probe("normalizer StripAccents", N.Sequence([N.NFD(), N.StripAccents()]), texts=nf)
    c.probe("normalizer ByteLevel", N.ByteLevel())
    c.probe("normalizer Prepend", N.Prepend("▁x"))
    for left in (False, True):
        for right in (False, True):
            c.probe(f"normalizer Strip {left} {right}", N.Strip(left, right))
    c.probe("normalizer Replace string", N.Replace("the", "THE END"))
    c.probe("normalizer Replace shorter", N.Replace("  ", ""))
    c.probe("normalizer Replace regex", N.Replace(Regex(r"\s+(?=\S)|\d"), "_é"))
    c.probe("normalizer Replace space runs", N.Replace(Regex(" {2,}"), "▁"))
    c.probe("normalizer Sequence", N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁"), N.NFKC(), N.Lowercase()]))
    for clean in (False, True):
        for accents in (None, False, True):
            c.probe(f"normalizer Bert {clean} {accents}",
                    N.BertNormalizer(clean_text=clean, handle_chinese_chars=clean, strip_accents=accents, lowercase=accents is not True))
    entries = {"ﬁ": "fi", "Ａ": "A", "Ｂ": "B", "e\u0301": "é", "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u200b": "", "㎏": "kg",
               "\x01": "", "½": "1/2", "ab": "X", "\u1100\u1161\u11a8": "각", "日": "sun", "\u2003": " ", "👨": "man"}
    c.probe("normalizer Precompiled", N.Precompiled(charsmap(entries)), texts=TEXTS + ["e\u0301e\u0301\u0323 ab abc \r\n\r\n", "👨👨\u200d👩"])


def pretokenizer_cases(c):
    c.probe("pre none")
    for prefix in (False, True):
        for rx in (False, True):
            c.probe(f"pre ByteLevel {prefix} {rx}", pre=P.ByteLevel(add_prefix_space=prefix, use_regex=rx))
    for b in BEHAVIORS:
        for invert in (False, True):
            c.probe(f"pre Split string {b} {invert}", pre=P.Split("-", b, invert))
        c.probe(f"pre Split regex {b}", pre=P.Split(Regex(r"\s+|[aeiou]{2,}"), b, False))
        c.probe(f"pre Punctuation {b}", pre=P.Punctuation(b))
    c.probe("pre Split empty matches", pre=P.Split(Regex(r"x*"), "isolated"))
    c.probe("pre Split look-behind", pre=P.Split(Regex(r"(?<=[a-z])(?=[A-Z])|(?<!\d)\d"), "merged_with_next"))
    for name, rx in (("gpt4", GPT4), ("qwen", GPT4.replace("{1,3}", ""))):
        c.probe(f"pre Split {name}", pre=P.Sequence([P.Split(Regex(rx), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]))
        c.probe(f"pre Split {name} inverted", pre=P.Split(Regex(rx), "removed", True))
    c.probe("pre Whitespace", pre=P.Whitespace())
    c.probe("pre WhitespaceSplit", pre=P.WhitespaceSplit())
    c.probe("pre Bert", pre=P.BertPreTokenizer())
    c.probe("pre Digits", pre=P.Digits(False))
    c.probe("pre Digits individual", pre=P.Digits(True))
    c.probe("pre CharDelimiterSplit", pre=P.CharDelimiterSplit("-"))
    c.probe("pre UnicodeScripts", pre=P.UnicodeScripts())
    c.probe("pre FixedLength", pre=P.FixedLength(3))
    for scheme in ("always", "never", "first"):
        for split in (True, False):
            c.probe(f"pre Metaspace {scheme} {split}", pre=P.Metaspace("▁", scheme, split))
    c.probe("pre Metaspace after Prepend", N.Prepend("é"), P.Metaspace("▁", "first", True))
    c.probe("pre Sequence first", pre=P.Sequence([P.WhitespaceSplit(), P.Metaspace("▁", "first", True)]))
    c.probe("pre Sequence", pre=P.Sequence([P.WhitespaceSplit(), P.Punctuation(), P.Digits(True), P.Metaspace("_", "always", True)]))
    c.probe("pre Sequence after ByteLevel", pre=P.Sequence([P.ByteLevel(add_prefix_space=True), P.Split("Ġ", "merged_with_next")]))
    c.probe("pre all", N.BertNormalizer(), P.BertPreTokenizer())


def model_cases(c):
    c.add("BPE byte-level", byte_bpe(), pairs=True)
    tok = byte_bpe()
    tok.pre_tokenizer = P.Sequence([P.Split(Regex(GPT4), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.normalizer = N.NFC()
    c.add("BPE llama 3 style", tok)
    d = json.loads(byte_bpe().to_str())
    d["model"]["ignore_merges"] = True
    top = max(d["model"]["vocab"].values())
    for i, s in enumerate(["Ġcountdown", "Ġleading", "Ã©x", "Ġlazy"]):
        d["model"]["vocab"][s] = top + 1 + i
    d["added_tokens"] = []
    c.add("BPE ignore_merges", Tokenizer.from_str(json.dumps(d)))
    d = json.loads(byte_bpe().to_str())
    d["model"]["merges"] = [" ".join(m) for m in d["model"]["merges"]]
    c.add("BPE merges as strings", Tokenizer.from_str(json.dumps(d)))
    for prefix in (None, "##"):
        for suffix in (None, "</w>"):
            for fuse in (False, True):
                kw = {k: v for k, v in (("continuing_subword_prefix", prefix), ("end_of_word_suffix", suffix)) if v}
                tok = trained(M.BPE(unk_token="<unk>", fuse_unk=fuse, **kw), P.Whitespace(),
                              trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], limit_alphabet=30, show_progress=False, **kw))
                tok.decoder = D.BPEDecoder("</w>")
                c.add(f"BPE {prefix} {suffix} fuse_unk {fuse}", tok)
    tok = trained(M.BPE(), P.Whitespace(), trainers.BpeTrainer(vocab_size=100, limit_alphabet=20, show_progress=False))
    c.add("BPE without unk", tok)
    d = json.loads(trained(M.BPE(), P.Metaspace(), trainers.BpeTrainer(vocab_size=150, limit_alphabet=25, show_progress=False)).to_str())
    vocab = d["model"]["vocab"]
    top = max(vocab.values())
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = top + 1 + b
    d["model"]["byte_fallback"] = True
    d["pre_tokenizer"] = None
    d["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                           {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    tok = Tokenizer.from_str(json.dumps(d))
    tok.decoder = D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    tok.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    tok.post_processor = PP.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    c.add("BPE byte_fallback", tok, pairs=True)
    d = json.loads(tok.to_str())
    for b in range(0xC3, 0xE0):
        del d["model"]["vocab"][f"<0x{b:02X}>"]
    vocab = sorted(d["model"]["vocab"], key=d["model"]["vocab"].get)
    d["model"]["vocab"] = {s: i for i, s in enumerate(vocab + ["<unk>"])}
    d["model"].update(unk_token="<unk>", fuse_unk=True)
    d["added_tokens"], d["post_processor"] = [], None
    c.add("BPE byte_fallback with gaps", Tokenizer.from_str(json.dumps(d)))

    tok = trained(M.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30), P.BertPreTokenizer(),
                  trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], limit_alphabet=40,
                                            show_progress=False), N.BertNormalizer())
    tok.decoder = D.WordPiece()
    tok.post_processor = PP.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    c.add("WordPiece", tok, pairs=True)
    d = json.loads(tok.to_str())
    del d["model"]["type"]
    c.list[-1]["tokenizer"] = d  # and without a type

    r = random.Random(2)
    words = sorted({w for s in CORPUS for w in s.split()})
    pieces = {"<unk>": 0.0, "▁": -3.0}
    for w in ["▁" + w for w in words]:
        for i in range(len(w)):
            for j in range(i + 1, min(len(w), i + 5) + 1):
                if ord(max(w[i:j])) < 0x3000 and len(pieces) < 300:
                    pieces.setdefault(w[i:j], -round(r.uniform(2, 9), 3))
    for fallback in (False, True):
        v = list(pieces.items()) + ([(f"<0x{b:02X}>", -12.0) for b in range(256)] if fallback else [])
        tok = Tokenizer(M.Unigram(v, 0, fallback))
        tok.pre_tokenizer = P.Metaspace()
        tok.decoder = D.Sequence([D.ByteFallback(), D.Metaspace()]) if fallback else D.Metaspace()
        c.add(f"Unigram byte_fallback {fallback}", tok)
    tok = Tokenizer(M.WordLevel({w: i for i, w in enumerate(["[UNK]", "the", "dog", "a", "b", "c", ",", "Hello"])}, unk_token="[UNK]"))
    tok.pre_tokenizer = P.Whitespace()
    c.add("WordLevel", tok, pairs=True)


def processor_cases(c):
    for prefix in (False, True):
        for trim in (False, True):
            tok = byte_bpe()
            tok.pre_tokenizer = P.ByteLevel(add_prefix_space=prefix)
            tok.post_processor = PP.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
            c.add(f"post ByteLevel {prefix} {trim}", tok, pairs=True)
            tok.post_processor = PP.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=trim, add_prefix_space=prefix)
            c.add(f"post Roberta {prefix} {trim}", tok, pairs=True)
    tok = byte_bpe()
    tok.post_processor = PP.Sequence([PP.ByteLevel(trim_offsets=True), PP.TemplateProcessing(
        single="<s>:2 $A:3 </s>", pair="$B:5 <s> $A:1 </s>:2 X", special_tokens=[("<s>", 0), ("</s>", 1), {"id": "X", "ids": [3, 4], "tokens": ["<mask>", "<unk>"]}])])
    c.add("post Sequence", tok, pairs=True)


def added_cases(c):
    texts = TEXTS[:4] + ["a<m>b <m> <m>  c\n<m>\n", "the<w>the <w> <w>s x<w> é<w>é _<w>", "Yesterday yesterday YESTERDAY the <L>  <R>  a  <L><R>  b",
                         "<m><m>  <m>x<longer><longer", "  <B>  <B>  ", "<L> <L>", "ÉCLAIR éclair e\u0301clair"]
    tokens = [AddedToken("<m>", normalized=False), AddedToken("<w>", single_word=True, normalized=False),
              AddedToken("yesterday", normalized=True), AddedToken("<L>", lstrip=True, normalized=False),
              AddedToken("<R>", rstrip=True, normalized=False), AddedToken("<B>", lstrip=True, rstrip=True, normalized=True),
              AddedToken("<longer>", normalized=False), AddedToken("<long", normalized=False), AddedToken("Éclair", normalized=True, single_word=True)]
    for norm in (None, N.Lowercase(), N.Sequence([N.NFC(), N.Lowercase()]), N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])):
        tok = byte_bpe()
        if norm is not None:
            tok.normalizer = norm
        tok.add_tokens(tokens)
        tok.add_special_tokens([AddedToken("<sp>", normalized=False)])
        c.add(f"added {norm}", tok, texts + ["x<sp>y"])


def limit_cases(c):
    def cls(tok):
        tok.post_processor = PP.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)])
        return tok
    for strategy in ("longest_first", "only_first"):
        for direction in ("left", "right"):
            tok = cls(byte_bpe())
            tok.enable_truncation(16 if strategy == "only_first" else 7, stride=1, strategy=strategy, direction=direction)
            c.add(f"truncation {strategy} {direction}", tok, pairs=True)
    for direction in ("left", "right"):
        for length, multiple in ((None, 8), (20, None), (10, 4)):
            tok = cls(byte_bpe())
            tok.enable_padding(direction=direction, pad_id=2, pad_type_id=3, pad_token="<pad>", length=length, pad_to_multiple_of=multiple)
            tok.enable_truncation(30)
            c.add(f"padding {direction} {length} {multiple}", tok, pairs=True)


def decoder_cases():
    lists = [[], ["a"], ["Ġthe", "Ġdog", "ĠâĤ", "¬", "Ã", "x", "日", "Ã©", "ð", "Ł", "İ", "ī", "ĠÃĠ"],
             ["▁The", "▁dog", "s", "▁", "▁▁x", "▁"], ["the", "##re", "n't", ".", "do", "not", "'s", " ,", "##"],
             ["<0xC3>", "<0xA9>", "x", "<0xC3>", "y", "<0xF0>", "<0x9F>", "<0x+A>", "<0x41>", "<0xe3>", "<0x81>", "<0x82>", "<0xZZ>"],
             ["the</w>", "d", "og</w>", ".</w>"], ["<pad>", "h", "h", "<pad>", "h", "|", "i", "i", "|", "|", "'s", " 's"],
             ["  a  ", " b", "   ", "c "]]
    ds = {
        "ByteLevel": D.ByteLevel(), "ByteFallback": D.ByteFallback(), "Fuse": D.Fuse(), "Strip 1 0": D.Strip(" ", 1, 0),
        "Strip 2 1": D.Strip(" ", 2, 1), "Replace": D.Replace("▁", " "), "Replace regex": D.Replace(Regex(r"[aeiou]+|^\s"), "_"),
        "Metaspace": D.Metaspace(), "Metaspace never": D.Metaspace("▁", "never"), "Metaspace first": D.Metaspace("▁", "first"),
        "WordPiece": D.WordPiece(), "WordPiece raw": D.WordPiece("##", False), "BPEDecoder": D.BPEDecoder(), "CTC": D.CTC(),
        "CTC raw": D.CTC("<pad>", "|", False),
        "Sequence": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
    }
    out = []
    for name, d in ds.items():
        tok = Tokenizer(M.WordLevel({"a": 0}, unk_token="a"))
        tok.decoder = d
        results = []
        for l in lists:
            try:
                results.append(d.decode(l))
            except BaseException:  # a panic of the library
                results.append(None)
        out.append({"name": name, "decoder": json.loads(tok.to_str())["decoder"], "results": results})
    return {"lists": lists, "decoders": out}


def digests():
    """One hash for what each function makes of every code point."""
    codes = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    out = {}
    for name, n in (("NFC", N.NFC()), ("NFD", N.NFD()), ("NFKC", N.NFKC()), ("NFKD", N.NFKD()), ("Lowercase", N.Lowercase()),
                    ("StripAccents", N.StripAccents()), ("BertNormalizer", N.BertNormalizer()), ("Nmt", N.Nmt())):
        out[name] = hashlib.sha256("\0".join("a" + n.normalize_str("a" + c) for c in codes).encode()).hexdigest()
    for name, p in (("Whitespace", P.Whitespace()), ("WhitespaceSplit", P.WhitespaceSplit()), ("Punctuation", P.Punctuation()),
                    ("Digits", P.Digits(True)), ("UnicodeScripts", P.UnicodeScripts()), ("BertPreTokenizer", P.BertPreTokenizer()),
                    ("ByteLevel", P.ByteLevel(add_prefix_space=False))):
        h = hashlib.sha256()
        for c in codes:
            h.update("\0".join(s for s, _ in p.pre_tokenize_str("a" + c + "b1")).encode() + b"\1")
        out[name] = h.hexdigest()
    return out


def main():
    c = Cases()
    normalizer_cases(c)
    pretokenizer_cases(c)
    model_cases(c)
    processor_cases(c)
    added_cases(c)
    limit_cases(c)
    # Cases share models: each is written once, and cases name it by its number.
    models = []
    for case in c.list:
        m = case["tokenizer"]["model"]
        if m not in models:
            models.append(m)
        case["tokenizer"]["model"] = models.index(m)
    data = {"version": tokenizers.__version__, "corpus": CORPUS, "texts": TEXTS, "cases": c.list, "decoding": decoder_cases(), "digests": digests(), "models": models}
    lines = [f'"{k}": ' + json.dumps(v, ensure_ascii=False, separators=(",", ":")) for k, v in data.items() if k != "cases"]
    cases = ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in data["cases"])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("{\n" + ",\n".join(lines) + ',\n"cases": [\n' + cases + "\n]}\n", encoding="utf-8")
    print(f"{OUT}: {len(c.list)} cases, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
