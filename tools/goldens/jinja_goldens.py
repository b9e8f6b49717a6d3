"""Writes internal/template/testdata/jinja.json: what Python's jinja2 makes of templates that exercise every construct.

Run from the root of the repository with Python 3.11, jinja2 3.1.6 and markupsafe installed:

    python tools/goldens/jinja_goldens.py

The environment is the one Hugging Face transformers uses for chat templates. Each entry has the source, and either the
text or the kind of failure: syntax, undefined, unsafe, raised or other.
"""

import json
from datetime import datetime
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = Path(__file__).resolve().parents[2] / "internal" / "template" / "testdata" / "jinja.json"
NOW = datetime(2024, 7, 26, 9, 5, 7)


class Raised(Exception):
    pass


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("passed"), [], [], body).set_lineno(line)

    def passed(self, caller):
        return caller()


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: NOW.strftime(f)

CONTEXT = {
    "s": "Hello, World! ß 你好 🙂",
    "empty": "",
    "ws": "  \t padded\n text \u00a0\n",
    "n": 7,
    "neg": -7,
    "f": 2.5,
    "big": 123456789012345678901234567890,
    "yes": True,
    "no": False,
    "nothing": None,
    "xs": [3, 1, 2],
    "words": ["pear", "Apple", "fig", "apple"],
    "d": {"b": 1, "a": [1, 2, {"x": None}], "items": "shadow", "A": 2.0, "z<&>'\"": "é"},
    "users": [
        {"name": "Ann", "age": 31, "city": "Oslo", "tags": ["x", "y"]},
        {"name": "bob", "age": 25, "city": "oslo", "admin": True},
        {"name": "Cid", "age": 31, "city": "Rome", "admin": False, "nested": {"deep": {"v": 5}}},
    ],
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
    ],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": [{"v": 3, "kids": []}]}, {"v": 4, "kids": []}]}],
}

# Expressions: each becomes {{ … }}.
EXPRESSIONS = r"""
1 | 2.0
none
None
true
False
nothing
yes
n
f
big
xs
d
(1,)
(1, 2, "a'b")
()
[]
{}
{'a': 1, "b": none, 3: [true, 1.5]}
"it's"
['it\'s', "say \"x\"", 'both \' and "', "tab\t nl\n \\ \x07 é \u200b 🙂"]
"a" "b" 'c'
"\x41\u00e9\U0001F642\101\q\
z"
0x1f + 0b101 + 0o17 + 1_000
1.5e3
1e5
1E-7
1e16
1e15
123456789.123
0.1 + 0.2
1e22
5e-324
100000.0
1.0e4
-0.0
1 / 3
7 // 2
-7 // 2
7 % -3
-7 % 3
7.5 // 2
-7.5 % 2
-7.5 // 2
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
10 ** 20
big + 1
big * big
big // 7
big % 1000
9223372036854775807 + 1
-9223372036854775808 - 1
n / 0
n // 0
n % 0
1 + true
true + true
+true
-n
--n
+f
1 + "a"
"a" + 1
"a" + none
"a" * 3
3 * "ab"
"a" * -1
[1, 2] * 2
[1] + [2]
(1,) + (2,)
[1] + (2,)
[1] - [1]
"a" ~ 1 ~ none ~ [1] ~ undef ~ 1.0
1 ~ 2 + 3
1 + 2 ~ 3
2 * 3 ~ 4
"%s and %d and %5.2f|%-5s|%05d|%x|%r|%%" % ("x", 5, 1.234, "ab", 42, 255, "q")
"%s" % n
"%s" % [1, 2]
"%s" % undef
"%(a)s-%(b)03d" % {"a": 1, "b": 2}
"%d" % 3.99
"%e|%g|%g|%G" % (12345.678, 0.00001, 1000000, 1e-10)
"%+d|% d|%#x|%o|%c|%c" % (5, 5, 255, 8, 65, "z")
"%*d" % (5, 42)
"%.3s" % "abcdef"
"%s %s" % "a"
"%s" % ("a", "b")
"none" % ()
"none" % 1
"%d" % "a"
"{} {} {}".format(1, "a", none)
"{0} {1} {0} {name}".format(1, 2, name="z")
"{:>8}|{:<8}|{:^8}|{:*^9}|{:08.3f}|{:,}|{:+d}|{:x}|{:#b}|{:e}|{:.0%}|{:g}".format("r", "l", "c", "m", 3.14159, 1234567, 5, 255, 5, 12345.678, 0.256, 0.0001)
"{:,.2f} {:_d} {:012,d}".format(1234567.891, 1234567, 1234567)
"{0.name} {1[0]} {2[k]}".format(users[0], [5], {"k": 6})
"{!r} {!s} {{}}".format("a", "b")
"{:{}}".format("a", 5)
"{:.2f} {:.3} {:5}|{:5}|".format(2, 2.34567, 1, true)
"{} {0}".format(1)
"{}".format()
"{:d}".format("a")
"{:s}".format(1)
"{a}".format_map({"a": 3})
"{0.__class__}".format(1)
1 == 1.0
1 == true
"1" == 1
[1, [2]] == [1, [2]]
(1,) == [1]
{"a": 1} == {"a": 1.0}
{"a": 1, "b": 2} == {"b": 2, "a": 1}
none == none
none == false
undef == undef2
undef == none
undef != 1
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 != 1
"a" < "b"
"B" < "a"
[1, 2] < [1, 3]
[1] < [1, 0]
(1, "a") < (1, "b")
1 < "a"
none < 1
undef < 1
1.5 >= 1
9007199254740993 == 9007199254740992.0
"ell" in s
"" in ""
1 in "a"
undef in "a"
1 in xs
"a" in d
"missing" not in d
1 not in xs
1 in none
1 in undef
1 in 5
[1] in [[1]]
3 in range(5)
not 1
not undef
not not []
0 or "x"
"" or 0 or none
1 and 2
0 and undef.x
undef or "d"
1 if true
1 if false
1 if false else 2
(1 if no) is defined
(1 if no else 2 if no else 3)
"a" if undef else "b"
undef
undef.x
undef["x"]
undef.x.y
undef()
undef + 1
undef | length
undef | list
undef | join(",")
d.nope
d.nope.nope
d["nope"]["x"]
d.b
d["b"]
d.items
d["items"]
d.a.2.x
d.a[2]["x"]
d.a[5]
d.a["x"]
d.a[1.0]
d.a[true]
d[[1]]
d[none]
nothing.x
nothing["x"]
nothing.x.y
n.x
n[0]
s[0]
s[-1]
s[14]
s[100]
s["upper"]()
s[1:4]
s[-3:]
s[::-1]
s[::2]
s[10:2:-3]
s[:-2]
s[100:]
s[-100:3]
xs[1:]
xs[:-1]
xs[::-1]
xs[5:]
xs[:none]
(1, 2, 3)[1:]
range(10)[2:8:2]
range(10)[::-1] | list
range(5)[-1]
xs["a":]
xs[::0]
d[1:]
nothing[1:]
undef[1:]
xs[1,2]
xs.0
xs.9
xs|length
s|length
s|count
d|length
n|length
none|length
range(3)
range(1, 10, 3)|list
range(5, 0, -2)|list
range(0)|list
range(3)|length
range(200000)
range("a")
dict(a=1, b=2)
dict([("x", 1), ["y", 2]], z=3)
dict({"a": 1}, a=2)
namespace(a=1)
namespace(a=1).a
namespace({"k": 5}).k
namespace().zz
d.keys()
d.values()
d.items()
{"a": 1}.items()
{"a": 1}.keys()|list
{"a": 1, "b": 2}.values()|sum
{"a": 1}.get("a")
{"a": 1}.get("b")
{"a": 1}.get("b", 3)
{"a": 1}.get(["x"])
{"a": 1}.get(key="a")
d.keys()[0]
d.keys()|first
d.copy()
d.pop("b")
d.update({})
d.clear
d.setdefault("a", 1)
d.__class__
d.__class__.x
s.__class__
xs.append(1)
xs.append
xs.pop()
xs.sort()
xs.index(2)
xs.count(3)
xs.index(99)
xs.copy()
(1, 2, 2).count(2)
"_x" in {"_x": 1}
{"_x": 1}._x
{"__y__": 1}.__y__
n.bit_length()
f.is_integer()
s.upper()
s.lower()
s.title()
s.capitalize()
s.swapcase()
s.casefold()
"they're bill's 3rd ΑΣ ŉ ﬁx ǆ".title()
"ΑΣ ΑΣΑ İ".lower()
"ﬁ ΐ ß".upper()
"ﬁsh ß".capitalize()
ws.strip()
ws.lstrip()
ws.rstrip()
"xxhixx".strip("x")
"abcba".lstrip("ab")
"abcba".rstrip("ab")
"\x1c a \x1f".strip()
" a ".strip(none)
"a,b,,c".split(",")
"a,b,,c".split(",", 1)
"a,b,,c".rsplit(",", 1)
" a  b c ".split()
" a  b c ".split(none, 1)
" a  b c ".rsplit(none, 1)
" a  b c ".split(maxsplit=0)
"".split()
"".split(",")
"a".split("")
"<think>x</think>y".split("</think>")[-1].lstrip("\n")
"a\nb\r\nc\vd\x85e\n".splitlines()
"a\nb\n".splitlines(true)
"".splitlines()
s.startswith("Hell")
s.startswith(("x", "H"))
s.startswith("lo", 3)
s.endswith("🙂")
s.endswith(("a", "b"))
s.startswith(1)
s.startswith(["H"])
s.replace("l", "L")
s.replace("l", "L", 1)
"aaa".replace("", "-")
"aaa".replace("a", "", 2)
"a".replace(1, 2)
", ".join(words)
", ".join("abc")
", ".join([1])
", ".join({"a": 1, "b": 2})
s.find("o")
s.find("o", 5)
s.find("zz")
s.find("好")
s.rfind("o")
s.index("W")
s.index("zz")
s.count("l")
s.count("")
"hello".removeprefix("he")
"hello".removesuffix("lo")
"hello".removeprefix("x")
"a-b-c".partition("-")
"a-b-c".rpartition("-")
"abc".partition("-")
"abc".rpartition("-")
"abc".center(8)
"abc".center(9, "*")
"ab".center(5, "*")
"abc".ljust(5) ~ "|"
"abc".rjust(5, ".")
"-42".zfill(6)
"42".zfill(1)
"a\tb\tc".expandtabs(4)
"abc".isalpha()
"ab1".isalnum()
"12".isdigit()
"²".isdigit()
"²".isdecimal()
"½".isnumeric()
" \n".isspace()
"".isspace()
"AB 1".isupper()
"ab".islower()
"Ab Cd".istitle()
"abc é".isascii()
"a_1".isidentifier()
"a\n".isprintable()
"abc".nope()
"abc".encode
s|upper
s|lower
s|title
"foo-bar (baz) [x] it's o'neil"|title
s|capitalize
none|upper
12|upper
ws|trim
"xxaxx"|trim("x")
none|trim
12|trim
s|string
12|string|length
none|string
xs|string
s|replace("l", "L")
s|replace("l", "L", 2)
12321|replace(2, "x")
"a\nb\n\nc"|indent
"a\nb\n\nc"|indent(2, true)
"a\nb\n\nc"|indent(2, first=true, blank=true)
"a\nb"|indent("> ")
""|indent
12|indent
"abc"|center(9)
"hello world and more"|truncate(9)
"hello world and more"|truncate(9, true)
"hello world and more"|truncate(11, false, "…", 0)
"short"|truncate(3)
"one two, three_four - five"|wordcount
"%s!"|format("x")
"%(a)s"|format(a=1)
"a b/c?d=é&"|urlencode
{"a b": 1, "c": "x/y"}|urlencode
"42"|int
"42.9"|int
" 42 "|int
"abc"|int
"abc"|int(-1)
"ff"|int(0, 16)
"0xff"|int(0, 16)
"1_000"|int
none|int
3.99|int
-3.99|int
true|int
[]|int(5)
"3.5"|float
"abc"|float
"abc"|float(1.5)
"1e3"|float
"inf"|float
"nan"|float
1|float
none|float
-5|abs
-5.5|abs
"a"|abs
42.55|round
42.45|round(1)
2.5|round
3.5|round
0.125|round(2)
42|round
1234|round(-2)
1250|round(-2)
1350|round(-2)
42.55|round(1, "floor")
42.51|round(1, "ceil")
42.4|round(method="ceil")
7|round(0, "floor")
1.5|round(2, "x")
undef|default("x")
undef|default
none|default("x")
none|default("x", true)
""|d("x", boolean=true)
"a"|default("x")
undef|default(none)
users[0]|attr("name")
users[0]|attr("keys")
xs|list
"héy"|list
d|list
none|list
xs|first
[]|first
[]|first|default("none")
s|first
d|first
xs|last
[]|last
s|last
d|last
range(4)|last
xs|map("string")|last
xs|join
xs|join("-")
xs|join(1)
words|join(", ")
users|join(", ", attribute="name")
[none, true, 1.0]|join("|")
none|join
"abc"|join("-")
{"a": 1}|items|list
undef|items|list
none|items|list
d|dictsort
{"b": 1, "A": 2, "a": 0}|dictsort
{"b": 1, "A": 2, "a": 0}|dictsort(true)
{"b": 1, "A": 2}|dictsort(by="value")
{"b": 1, "A": 2}|dictsort(false, "value", true)
{"b": 1, 1: 2}|dictsort
xs|dictsort
xs|sort
xs|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
users|sort(attribute="age")|map(attribute="name")|list
users|sort(attribute="age,name")|map(attribute="name")|list
users|sort(true, attribute="age")|map(attribute="name")|list
[1, "a"]|sort
"hello"|sort
words|unique|list
words|unique(true)|list
users|unique(attribute="city")|map(attribute="name")|join(",")
[1, 1.0, true, "1", none, none]|unique|list
xs|min
xs|max
words|min
words|max(case_sensitive=true)
users|max(attribute="age")
[]|min
[]|max|default(0)
xs|sum
users|sum(attribute="age")
[1.5, 2]|sum(start=10)
[[1], [2]]|sum(start=[])
["a"]|sum
xs|reverse|list
"abc"|reverse
xs|map("abs")|reverse
words|map("upper")|list
words|map("replace", "p", "P")|join(" ")
users|map(attribute="name")|join(" ")
users|map(attribute="nested.deep.v")|list
users|map(attribute="admin", default="?")|list
users|map(attribute="admin")|list
users|map(attribute="tags.0", default=0)|list
users|map(attribute="name", bogus=1)|list
words|map("nope")|list
words|map|list
words|map(upper)|list
none|map("upper")|list
xs|map("string")|length
1 if xs|select("eq", 99) else 0
xs|select|list
[0, 1, "", "a", none]|select|list
[0, 1, "", "a", none]|reject|list
xs|select("odd")|list
xs|reject("odd")|list
xs|select("divisibleby", 3)|list
xs|select(">", 1)|list
xs|select("in", [1, 2])|list
users|selectattr("admin")|map(attribute="name")|list
users|selectattr("admin", "defined")|map(attribute="name")|list
users|selectattr("age", "equalto", 31)|map(attribute="name")|list
users|selectattr("nested.deep.v", "eq", 5)|list|length
users|rejectattr("age", "lt", 30)|map(attribute="name")|list
users|rejectattr("admin", "undefined")|map(attribute="name")|list
users|selectattr|list
users|selectattr("age", "nope")|list
messages|selectattr("role", "equalto", "user")|map(attribute="content")|first
xs|batch(2)|list
xs|batch(2, "x")|list
[1,2,3,4,5,6,7]|slice(3)|list
[1,2,3,4,5,6,7]|slice(3, "x")|list
users|groupby("age")|list
users|groupby("city")|map(attribute="grouper")|list
users|groupby("city", case_sensitive=true)|map("first")|list
users|groupby("admin", default=false)|map("last")|map("length")|list
d|tojson
s|tojson
s|tojson(ensure_ascii=true)
[1.0, 1e20, none, true, -0.0, big]|tojson
d|tojson(indent=2)
{}|tojson(indent=2)
[[], {}, [1]]|tojson(indent=1)
d|tojson(separators=(",", ":"))
d|tojson(indent=4, separators=(", ", " : "))
{"b": 1, "a": 2}|tojson(sort_keys=true)
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
{(1, 2): 3}|tojson
(1, 2)|tojson
undef|tojson
range(3)|tojson
namespace()|tojson
d.items()|tojson
"</script>&'\x00\x1f\x7f\u2028"|tojson
"a\tb"|tojson(indent="\t")
["x"]|tojson(indent="--")
"<b>"|e
"<b>"|escape|e
"<b>"|safe
"<b>"|safe + "<i>"
"<i>" + ("<b>"|safe)
("<b>"|safe) ~ "<i>"
[("<b>"|safe)]
"<b>"|safe|upper
"<b>"|safe is escaped
("<b>"|safe).strip("<")
("a,b"|safe).split(",")
("<b>%s"|safe) % "<"
"<b>"|forceescape
("x"|safe) == "x"
{"k": 1}[("k"|safe)]
d|tojson|safe
n is defined
undef is defined
undef is undefined
d.nope is undefined
none is none
n is not none
n is number
true is number
"a" is number
n is integer
true is integer
f is float
s is string
xs is string
d is mapping
xs is mapping
xs is sequence
s is sequence
d is sequence
undef is sequence
n is sequence
(xs|map("abs")) is sequence
xs is iterable
n is iterable
undef is iterable
none is iterable
range is callable
n is callable
yes is true
n is true
no is false
yes is boolean
n is boolean
n is odd
n is even
n is divisibleby 7
n is divisibleby(2)
"a" is odd
"abc" is lower
"ABC" is upper
1 is eq 1.0
1 is equalto 2
1 is ne 2
1 is lt 2
1 is lessthan 2
2 is gt 1
2 is greaterthan 3
2 is ge 2
2 is le 1
1 is in [1, 2]
"a" is in "abc"
none is sameas none
1 is sameas 1.0
xs is sameas xs
"upper" is filter
"nope" is filter
"odd" is test
n is not odd
not n is odd
n is odd and n is number
n is divisibleby 7 or undef.x
1 is number is number
n is nope
n|nope
n|nope if false else 1
n|upper|lower|length + 1
-n|abs
(-n)|abs
not n|string == "7"
"a" in s|lower
n.__init__
strftime_now("%Y-%m-%d %H:%M:%S %B %b %A %a %j %y %I %p %-d %-m %% %U %W %w %u %V %G %e %C %D %F %T %R %c %x %X %h|%n|%t|%f")
strftime_now("%d %b %Y")
raise_exception("no " ~ n)
cycler("a", "b").next()
joiner("|")()
lipsum
xs | map("string") | join
{"a": {"b": [1, {"c": "deep"}]}}.a.b[1].c
[x for x in xs]
a b
1 +
(1
{'a' 1}
"abc
1 = 2
@
d.
d.1.x
f(x=1, 2)
f(*xs, *xs)
f(**d, **d)
dict(**{"a": 1}, **{"b": 2})
dict(**{"a": 1, "b": 2})
dict(a=1, a=2)
range(*[1, 4])|list
{"a": 1,}
[1, 2,]
(1, 2,)
xs[-1:]
"x" * n ~ "y"
"a" is string and not "b" is mapping
"ab"[0] ~ "ab"[1]
[1, 2] is eq [1, 2]
"A" ~ ("B" if yes) ~ ("C" if no) ~ "D"
1.5 | string ~ 2
1 - 1 ~ 2
"abc" > "abd" or 2 < 1
""
[undef]
{"a": undef}
"x" | default(undef.y)
"end"
""".strip("\n").split("\n")

# Whole templates; {{ }} and {% %} are up to them.
TEMPLATES = [
    # whitespace control
    "a\n{% if yes %}\nb\n{% endif %}\nc\n",
    "a\n  {% if yes %}  \nb\n  {% endif %}\nc",
    "a\n  {%+ if yes %}\nb\n  {%+ endif +%}\nc",
    "a\n  {%- if yes -%}  \n\n b \n {%- endif -%} \n c",
    "a {{- n -}} b\n  {{ n }}\n{{ n }}\n\nz",
    "a\n  {# note #}\nb {# x #} c\n{#- y -#}\n d {#+ q +#}\n e",
    "{# a #}\n{# b #}\n\nx",
    "x{% if yes %}y{% endif %}\n\n",
    "x\n\n\n",
    "\n{% set a = 1 %}\n{{ a }}\n",
    "  {% set a = 1 %}  {{ a }}",
    "{% if yes %}\r\nwin\r\n{% endif %}\rmac\r",
    "{{ '{{' }} {{ \"}}\" }} {{ {'a': {'b': 1}}.a.b }}{{ {} }}",
    "{% raw %}{{ not }} {% if %} {# c #}{% endraw %}!",
    "a\n  {%- raw -%}\n {{ x }} \n{%- endraw -%}\n b",
    "a\n {% raw %}\n{{ x }}\n {% endraw %}\nb",
    "{ { } } {x} {% raw %}{%{% endraw %} #} %} }}",
    "{{ 1 }}{#",
    "{{ 1",
    "{% if yes %}",
    "{% endif %}",
    "{% raw %}",
    "{{ }}",
    "{% %}",
    "{{ n }}}",
    "{{{ n }}",
    "{%if yes%}t{%else%}f{%endif%}",
    "{%\nif\nyes\n%}t{% endif %}",
    "{% if yes: %}t{% endif %}",
    # if
    "{% if no %}a{% elif undef %}b{% elif n == 7 %}c{% else %}d{% endif %}",
    "{% if no %}a{% elif no %}b{% else %}d{% endif %}",
    "{% if no %}{{ 1|nope }}{% endif %}ok",
    "{% if yes %}{{ 1|nope }}{% endif %}ok",
    "{{ 1|nope }}",
    "{% if no %}{% else %}{% if 1 is nope %}{% endif %}{% endif %}",
    # set and scope
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set x = 1 %}{% for i in xs %}{% set x = i %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in xs %}{{ y }}{% set y = i %}{{ y }}{% endfor %}{{ y }}",
    "{% for i in xs %}{% if loop.first %}{% set q = 1 %}{% endif %}[{{ q }}]{% endfor %}",
    "{% for i in xs %}{% set n = n + i %}{{ n }} {% endfor %}{{ n }}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}",
    "{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}",
    "{% set a, b = [1] %}",
    "{% set a, b = 1, 2, 3 %}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set ns = namespace(i=0) %}{% for x in xs %}{% set ns.i = ns.i + x %}{% endfor %}{{ ns.i }} {{ ns }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a + ns.b }}",
    "{% set d.x = 1 %}",
    "{% set undef.x = 1 %}",
    "{% set true = 1 %}",
    "{% set 'a' = 1 %}",
    "{% set a.b.c = 1 %}",
    "{% set x %}a{{ n }}b\n{% endset %}[{{ x }}]{{ x|length }}",
    "{% set x | upper | replace('A', 'x') %}abc{% endset %}{{ x }}",
    "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}",
    "{% set s = s[:5] %}{{ s }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c }}",
    "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}",
    "{% filter upper %}abc {{ n }} {% if yes %}x{% endif %}{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}aaa{% endfilter %}",
    "{% print n, 'a', xs %}",
    # for
    "{% for x in xs %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for x in xs %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in [1,1,2,2,1] %}{{ loop.changed(x) }} {{ loop.cycle('a', 'b', 'c') }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }};{% endfor %}",
    "{% for k, v in {'a': 1}|items %}{{ k }}{{ v }}{% endfor %}",
    "{% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in xs %}a{% else %}none{% endfor %}",
    "{% for x in undef %}a{% else %}none{% endfor %}",
    "{% for x in none %}a{% endfor %}",
    "{% for x in n %}a{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}{{ x }}{{ loop.length }}{{ loop.last }} {% else %}e{% endfor %}",
    "{% for x in xs if x > 10 %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in xs if loop.first %}{{ x }}{% endfor %}",
    "{% for x in xs|map('string') %}{{ loop.index }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% break %}{% else %}e{% endfor %}",
    "{% for x in xs %}{% continue %}{% else %}e{% endfor %}",
    "{% for x in xs %}{{ x }}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}",
    "{% for x in xs %}{% for y in [] %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %}",
    "{% break %}",
    "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in xs %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
    "{% for x in tree recursive %}<{{ x.v }}{{ loop.depth }}{{ loop(x.kids) }}>{% endfor %}",
    "{% for x in tree %}{{ loop(x.kids) }}{% endfor %}",
    "{% for loop in xs %}{% endfor %}",
    "{{ loop }}",
    "{% for x in xs %}{{ loop }}{% endfor %}",
    "{% for x in xs %}{% endfor %}{{ x }}",
    "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}",
    "{% for m in messages %}\n{{ m.role }}: {{ m.content }}\n{% endfor %}\nend",
    "{% for m in messages[1:] %}{{ m['role'] }}{{ m.get('tool_calls', [])|length }}{% endfor %}",
    "{% for m in messages %}{{ loop.nextitem.role if not loop.last }}{% endfor %}",
    "{% for group in users|groupby('age') %}{{ group.grouper }}: {{ group.list|map(attribute='name')|join(',') }};{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.current }}",
    "{% set j = joiner(', ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}",
    # macros
    "{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=1, a=2) }}{{ m() }}",
    "{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(3) }}",
    "{% macro m(a, b=n) %}{{ b }}{% endmacro %}{{ m(3) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a) %}{{ a }}{{ varargs|length }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro fact(k) %}{{ 1 if k == 0 else k * (fact(k - 1)|int) }}{% endmacro %}{{ fact(6) }}",
    "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}",
    "{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "{% macro m() %}\n  a\n{% endmacro %}\n[{{ m() }}]",
    "{% macro m() -%}\n  a\n{%- endmacro %}\n[{{ m()|upper }}]",
    "{% macro outer() %}{% macro inner(x) %}<{{ x }}>{% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}",
    "{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}body {{ n }}{% endcall %}",
    "{% macro m() %}({{ caller(1, 2) }}){% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}",
    "{% call n %}{% endcall %}",
    "{% macro m(a) %}{% endmacro %}{{ m }}{{ m.name }}{{ m.arguments }}",
    "{% macro m(items) %}{% for i in items %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}{% endmacro %}{{ m([1,2]) }}{{ m([]) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(m(m('x'))) }}",
    "{% macro m() %}{% for i in xs %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}{% endmacro %}{{ m() }}",
    # generation
    "a{% generation %}b{{ n }}{% endgeneration %}c",
    "{% for m in messages %}{{ m.role }}{%- generation -%} {{ m.content }}\n{%- endgeneration %}\n{% endfor %}",
    "{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x }}",
    "{% generation %}",
    # refusals and failures
    "{{ raise_exception('stop') }}",
    "{% if messages[0].role != 'user' %}{{ raise_exception('roles') }}{% endif %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{% nope %}",
    "{% do xs %}",
    "{{ xs.append(4) }}{{ xs }}",
    "{% set _ = d.update({'q': 1}) %}",
    "{{ ''.__class__.__mro__ }}",
    "{{ d.__init__.__globals__ }}",
    "{{ messages[0].content.strip() + messages[5].content }}",
    "{{ messages[0]['content']['x'] }}|{{ messages[0].content.x is defined }}",
    "{{ users[0].name ~ users[9] }}",
    # idioms of chat templates
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set sys = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ sys }}|{% for m in loop_messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}",
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- 'U:' + m.content + '\\n' }}\n    {%- elif m.tool_calls is defined and m.tool_calls is iterable and m.tool_calls | length > 0 %}\n        {%- for t in m.tool_calls %}\n            {{- t.function | tojson }}\n        {%- endfor %}\n    {%- endif %}\n{%- endfor %}",
    "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = 'x' %}{% endif %}{% endif %}{{ date_string }}",
    "{% if tools is not none and tools is defined %}t{% else %}n{% endif %}",
    "{{ bos_token }}{{ (messages | selectattr('role', 'equalto', 'assistant') | list | last).content }}",
    "{% for key in d.keys()|sort %}{{ key }} {% endfor %}",
    "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{% if ns.last < 0 and m.role == 'user' %}{% set ns.last = index %}{% endif %}{% endfor %}{{ ns.last }}",
    "{{ messages[-1].content if messages[-1].content is string else '' }}",
    "{% set content = messages[2].content.split('l')[-1].lstrip('\\n') %}{{ content }}",
    "{{ '\\n' }}{{ \"\\n\" }}x\n",
    "{{ messages|map(attribute='role')|unique|join(',') }}",
    "{{- 'a' -}}\n\n{{- 'b' }}\n  {%- if yes %}\n c{% endif %}",
    "{% for tool in messages[2].tool_calls %}{% set tool = tool.function %}{{ tool.name }}({% for k, v in tool.arguments|items %}{{ k }}={{ v|tojson }}{% endfor %}){% endfor %}",
]


def kind(e):
    if isinstance(e, jinja2.exceptions.TemplateSyntaxError):
        return "syntax"
    if isinstance(e, jinja2.exceptions.SecurityError):
        return "unsafe"
    if isinstance(e, jinja2.exceptions.UndefinedError):
        return "undefined"
    if isinstance(e, Raised):
        return "raised"
    return "other"


def render(src):
    entry = {"src": src}
    try:
        entry["out"] = env.from_string(src).render(**CONTEXT)
    except Exception as e:  # every failure is a result here
        entry["err"] = kind(e)
        entry["why"] = str(e)
    return entry


def main():
    sources = ["{{ " + x + " }}" for x in join_continued(EXPRESSIONS)] + TEMPLATES
    cases = [render(s) for s in sources]
    cases = [c for c in cases if " at 0x" not in c.get("out", "")]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", encoding="utf-8") as f:
        json.dump({"context": CONTEXT, "cases": cases}, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(len(cases), "cases,", sum("err" in c for c in cases), "of them failures")


def join_continued(lines):
    """A line that ends with a backslash goes on in the next one."""
    out, held = [], ""
    for line in lines:
        if line.endswith("\\"):
            held = line + "\n"
            continue
        out.append(held + line)
        held = ""
    return out


if __name__ == "__main__":
    main()
