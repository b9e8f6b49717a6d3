"""Writes testdata/eval/python.json: what Python, jinja2 and lm-evaluation-harness make of small inputs that task files depend on.

    venv/bin/python tools/goldens/lm_eval_python.py
"""

import ast
import json
import pathlib
import random
import re

from lm_eval import utils
from lm_eval.api import metrics
from lm_eval.filters import build_filter_ensemble

OUT = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "eval" / "python.json"

LITERALS = [
    "['a', 'b']", '["it\'s", "x"]', "('a', 1, 2.5)", "[1, -2, 3.0e2, None, True, False]", "[]", "()", "(1)", "(1,)", "['a',]", "'a' 'b'",
    r"['\n\t\\ \x41 \u00e9 \'', r'\n']", "'''three\n\"quotes\"'''", "[['a'], ('b', ['c'])]", "['é', '北京']", "  [ 'a' , 'b' ]", r"'\q'", r"'\101'",
    # and what is none
    "[a]", "['a'", "['a' b]", "1 + ", "f()", "", "'a", "[,]", "[1 2]", "'\n'",
]
PATTERNS = [
    (r"#### (\-?[0-9\.\,]+)", "so it is\n#### 1,234.5 or #### -7"),
    (r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "I paid $1,200.50 for 3, or 12. And -4"),
    (r"(?P<b>b)(?P<a>a)|c", "xbac"),
    (r"(?P<q>['\"]).*?(?P=q)", "say 'a' and \"b'\""),
    (r"\bThe answer is (?:\()?([A-D])(?=\)|\b)", "The answer is (B). The answer is D"),
    (r"[]a]+", "]a]b"), (r"[^]]+", "ab]c"), (r"a{,2}b", "aaab ab b"), (r"\d+\Z", "12\n34"), (r"^.", "ab\ncd"), (r"(?m)^.", "ab\ncd"),
    (r"(?i)ÉA", "éa Éa"), (r"(?s).*#### ", "x\ny #### 3"), (r"x*", "axb"), (r"[\[a]+", "[a[b"), (r"(a)|(b)|", "ab"), (r"\w+", "naïve 北京 x_1"),
]
SUBSTITUTIONS = [
    (r"\s+([.,])", r"\1", "a , b  .", 0), (r"(\w)(\w)", r"\2\1", "abcd e", 0), (r"(?P<x>a)", r"<\g<x>\g<0>\g<1>>", "aba", 1), (r"\.$", "", "3.", 0),
    (r"a", r"\\n\n", "bab", 0), (r"", "-", "ab", 0), (r"x", "y", "none", 0),
]
TEMPLATES = [
    ("{{a}}\n", {"a": 1}), ("  {% if a %}\n x\n{% endif %}\n", {"a": True}), ("{% for x in l %}{{x}}\n{% endfor %}", {"l": [1, None, 2.0]}),
    ("{{ a | regex_replace('b+', '<\\\\g<0>>') }}", {"a": "abbc"}), ("{{ a.split(' ')[-1].strip() }}", {"a": "x y z "}),
    ("{{ d | tojson }}", {"d": {"b": "<é>", "a": [1, 2.5]}}), ("{{ x if x is defined else 'no' }}", {}), ("{{ ['A','B'][i] }}", {"i": 1}),
    ("{{a}}", {}), ("{% if b %}x{% endif %}", {}), ("{{ a.b }}", {"a": {}}), ("{{ a == b }}", {"a": 1}), ("{{ a + b }}", {"a": "1"}),
    ("{% set x = a|lower -%}  \n {{ x }}!", {"a": "ÄB"}), ("{{ [a, \"it's\"] }}", {"a": "q"}), ("{{ a|default('z') }}", {}), ("{{ not b }}", {}),
    ("{# c #}\n{{ l|join(', ') }}", {"l": ["x", "y"]}), ("{% for x in b %}{% endfor %}", {}), ("{{ 'x' if false }}", {}),
]
ANSWERS = ["The answer is B", " yes, B", "guilty of romance", "(A) no", "so: C", "B", "b", "", "none: D", "B", "Guilty!"]
DOC = {"choices": ["Guilty", "Guilty of Romance", "no way!"]}
FILTERS = [
    [["take_first", None]], [["regex", {"regex_pattern": "(A|B)"}], ["take_first", None]], [["regex", {"regex_pattern": "[A-Z]", "group_select": -1, "fallback": "-"}], ["take_first", None]],
    [["remove_whitespace", None], ["uppercase", None], ["take_first", None]], [["lowercase", None], ["map", {"mapping_dict": {"b": "x"}, "default_value": "?"}], ["take_first", None]],
    [["multi_choice_regex", {"regex_pattern": r"(\([A-Z]\))", "ignore_case": True, "ignore_punctuation": True}], ["take_first", None]],
    [["multi_choice_regex", {"regex_pattern": r"answer is ([A-Z])", "regexes_to_ignore": ["of "], "group_select": 0}], ["take_first", None]],
]
VOTES = [["a", "b", "b", "a", "c"], ["x", "y"], ["z"]]
MATCHES = [
    ("The Answer.", "the answer", {"ignore_case": True, "ignore_punctuation": True}), ("$1,000", "1000", {"regexes_to_ignore": [",", "\\$"]}),
    ("a1b2", "ab", {"ignore_numbers": True}), ("a", "A", {}), ("x #### 5", "5", {"regexes_to_ignore": ["(?s).*#### "]}), ("ÄÖ", "äö", {"ignore_case": True}),
]


def attempt(f):
    try:
        return {"value": f()}
    except Exception as e:  # whatever Python has against it
        return {"error": type(e).__name__}


def plain(v):
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    return v


def filtered(steps, resps, docs):
    class Instance:
        def __init__(self, resps, doc):
            self.resps, self.doc, self.filtered_resps = resps, doc, {}

    instances = [Instance(r, d) for r, d in zip(resps, docs)]
    build_filter_ensemble("f", steps).apply(instances)
    return [i.filtered_resps["f"] for i in instances]


def drawn(seed, n, k):
    r = random.Random(seed)
    return {"seed": seed, "n": n, "k": k, "sample": [r.sample(range(n), k) for _ in range(3)], "choices": r.choices(range(n), k=6), "random": r.random()}


out = {
    "random": [drawn(s, n, k) for s, n, k in [(0, 10, 3), (1234, 7473, 5), (1234, 100, 8), (5, 21, 5), (5, 22, 5), (1 << 40, 1000, 4), (42, 3, 3)]],
    "literals": [{"src": s, **attempt(lambda: plain(ast.literal_eval(s)))} for s in LITERALS],
    "findall": [{"pattern": p, "text": t, "groups": re.compile(p).groups, "found": plain(re.findall(p, t))} for p, t in PATTERNS],
    "sub": [{"pattern": p, "repl": r, "text": t, "count": c, "out": re.sub(p, r, t, count=c)} for p, r, t, c in SUBSTITUTIONS],
    "templates": [{"src": s, "doc": d, **attempt(lambda: utils.apply_template(s, d))} for s, d in TEMPLATES],
    "filters": [{"steps": [{"function": f, **(a or {})} for f, a in steps], "out": filtered(steps, [[a] for a in ANSWERS], [DOC] * len(ANSWERS))} for steps in FILTERS],
    "votes": [filtered([["majority_vote", None], ["take_first", None]], [v], [{}])[0] for v in VOTES],
    "answers": ANSWERS, "doc": DOC, "vote_answers": VOTES,
    "matches": [{"prediction": p, "reference": r, "args": a, "match": float(metrics.exact_match_hf_evaluate([p], [r], **a)["exact_match"])} for p, r, a in MATCHES],
    "words": [{"text": t, "words": len(re.split(r"\s+", t))} for t in ["", " a  b ", "a", "a\u00a0b\u2003c\x1cd", "\n"]],
    "stderr": [{"aggregation": name, "items": items, "value": agg(items), "stderr": se}
               for name, agg, items in [("mean", metrics.mean, [1.0, 0.0, 1.0, 1.0]), ("median", metrics.median, [3.0, 1.0, 2.0, 5.0]), ("nanmean", metrics.nanmean, [1.0, 4.0, 2.5]),
                                        ("perplexity", metrics.perplexity, [-0.5, -1.5, -2.0]), ("f1", metrics.f1_score, [(1, 1), (0, 1), (1, 0), (1, 1), (0, 0)]),
                                        ("matthews_corrcoef", metrics.matthews_corrcoef, [(0, 0), (1, 2), (2, 2), (1, 1), (0, 1)]),
                                        ("bleu", metrics.bleu, [("the cat sat on the mat", "the cat sat on a mat"), ("it is very late now", "it is late now indeed")]),
                                        ("chrf", metrics.chrf, [("the cat", "the hat"), ("it is late", "it was late")]),
                                        ("weighted_perplexity", metrics.weighted_perplexity, [(-3.0, 2), (-5.0, 4)]), ("bits_per_byte", metrics.bits_per_byte, [(-3.0, 2), (-5.0, 4)]),
                                        ("brier_score", metrics.brier_score, [(0, [0.7, 0.3]), (1, [0.6, 0.4])])]
               for se in [(lambda f: f(items) if f else None)(metrics.stderr_for_metric(agg, 100 if name in ("bleu", "chrf") else 2000))]],
}


def default(x):
    return x.item() if hasattr(x, "item") else str(x)


if __name__ == "__main__":
    OUT.write_text(json.dumps(out, ensure_ascii=False, indent=1, default=default) + "\n", encoding="utf-8")
