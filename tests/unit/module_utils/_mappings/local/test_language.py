# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is evaluated here gives what CPython gives, or an error that makes authentik be asked; and what is refused."""

from __future__ import annotations

import builtins
import inspect
import itertools
import json
import warnings
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local import inside
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.interpreter import Interpreter
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.language import (
    ATTRIBUTES,
    NAMES,
    TYPE_ATTRIBUTES,
    Unsupported,
    check,
)

CONTEXT = {"connection": None, "provider": {"pk": 1, "name": "gws"}}
GROUPS = {
    f"00000000-0000-4000-8000-00000000000{key}": {
        "pk": f"00000000-0000-4000-8000-00000000000{key}",
        "num_pk": number,
        "name": name,
        "is_superuser": number == 2,
        "parents": [],
        "attributes": json.dumps({"number": number, "list": [name]}),
    }
    for number, (key, name) in enumerate((("a", "Engineering"), ("b", "Equipe É"), ("c", "sales")))
}
SUBJECTS = [
    {
        "pk": number,
        "username": name.split()[0].lower() if name.strip() else "",
        "name": name,
        "email": email,
        "is_active": bool(number % 3),
        "type": "internal",
        "path": "users/a",
        "uid": "0" * 64,
        "uuid": "a5d877f1-7590-49f5-a575-eee9d52730ff",
        "is_superuser": False,
        "attributes": json.dumps({"department": name, "n": number, "list": [1, email, None]}),
        "groups": list(GROUPS)[: number % 4],
        "date_joined": "2026-11-23T22:49:18.408155Z",
        "last_login": None,
    }
    for number, (name, email) in enumerate(
        (
            ("Ada Lovelace", "ada@example.com"),
            ("", ""),
            ("Cher", "CHER@Example.COM"),
            ("  Lots   Of Space ", "a.b+c@example.com"),
            ("Björk Guðmundsdóttir", "bjork@example.com"),
            ("王 小明", "wang@example.com"),
            ("İstanbul ß ǆ ﬁ", "i@example.com"),
            ("O'Neil-Smith 😀", "o'neil@example.com"),
        )
    )
]
TEXTS = """|a|Ada Lovelace|  x  |ÄÖÜ ß|İstanbul|ﬁn ǆ|they're bill's|O'Neil-Smith|１２|²½|ΑΣ ς Σ|x́y|日本語 テ|😀a|Dž|ŉ|+44 (0) 20|a,b,,c|
A_b.C-d|ǅ|ß|i̇|ᾳ|ﬀ|Ⅷ|ª|ʰ|ⓐ|Ა|ა""".replace("\n", "").split("|")
TEXTS += ["a\tb\nc\r\nd", "\u2028x\x85y\x1cz", "\xa0nb\u3000", "null\x00x", "\u200b", "\u00ad", "ab" * 20]
NUMBERS = [
    0,
    1,
    -1,
    2.5,
    0.1,
    -0.0,
    1e16,
    1e15,
    123456789,
    1e-5,
    3.14159,
    2**53,
    1 / 3,
    2.675,
    -7,
    1e22,
    0.5,
    1.5,
    5e-324,
]


def cpython() -> dict[str, Any]:
    """inside.py on CPython, with a place for expressions."""
    found: dict[str, Any] = {}
    exec(compile(inspect.getsource(inside), "inside", "exec"), found)
    found["_python_names"] = tuple(name for kind in TYPE_ATTRIBUTES for name in dir(kind))
    return found


@pytest.fixture(scope="module")
def both():
    """Evaluates an expression by the interpreter and by CPython."""
    scope = cpython()

    def evaluated(expressions, subjects=None):
        # One that begins again takes in every expression that it was ever given: each call has its own.
        interpreter = Interpreter("user", 20.0, 256)
        try:
            return by_both(interpreter, expressions, subjects)
        finally:
            interpreter.close()

    def by_both(interpreter, expressions, subjects):
        page = {
            "subjects": [[subject, CONTEXT] for subject in subjects or SUBJECTS[:1]],
            "groups": GROUPS,
            "version": [2026, 2],
        }
        tasks: list[tuple[int, int]] = []
        texts: list[str] = []
        for expression in expressions:
            try:
                source = check(expression, "user").source
            except Unsupported:
                continue
            number = len(texts)
            if interpreter.compile(number, expression).reason:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(source, scope)
            scope["_handlers"][number] = scope["_handler"]
            texts.append(expression)
            tasks.extend((index, number) for index in range(len(page["subjects"])))
        here = interpreter.run(page, tasks)
        there = scope["_evaluate_page"](json.dumps({**page, "kind": "user", "tasks": tasks}))
        return [
            (texts[number], tuple(one), tuple(other))
            for (_i, number), one, other in zip(tasks, here, there, strict=True)
        ]

    return evaluated


def differences(found):
    """Values that are not CPython's. An error, or what is left to authentik, makes authentik be asked."""
    return [
        (text, one, other)
        for text, one, other in found
        if one[0] == "ok" and (other[0] != "ok" or json.loads(one[1]) != json.loads(other[1]))
    ]


def compared(both, expressions, least):
    expressions = list(expressions)
    found = both(f"return {{'x': {{'y': {text}}}}}" for text in expressions)
    assert differences(found) == []
    # Most of them have to be of use.
    agreed = sum(one[0] == "ok" for _text, one, _other in found)
    assert agreed >= least * len(expressions), (agreed, len(expressions))


def test_methods_of_strings(both):
    plain = [name for name in TYPE_ATTRIBUTES[str] if name.startswith("is")]
    plain += ["capitalize", "casefold", "lower", "upper", "title", "swapcase", "strip", "lstrip", "rstrip"]
    expressions = [f"{text!r}.{name}()" for text in TEXTS for name in plain]
    compared(both, (f"str({item})" for item in expressions), 0.9)


def test_methods_of_strings_with_arguments(both):
    names = "strip lstrip rstrip count find rfind split rsplit partition rpartition startswith endswith removeprefix"
    names += " removesuffix join index rindex"
    arguments = ["", " ", "a", "ab", "x", "'", ",", "é", "\n"]
    expressions = [
        f"str({text!r}.{name}({argument!r}))"
        for text, name, argument in itertools.product(TEXTS[::3], names.split(), arguments)
    ]
    expressions += [
        f"{text!r}.{name}({size})"
        for text, name, size in itertools.product(
            TEXTS, ["center", "ljust", "rjust", "zfill", "expandtabs"], [0, 3, 30]
        )
    ]
    compared(both, expressions, 0.6)


def test_formats(both):
    expressions = [
        f"{form!r} % ({text!r},)" for text in TEXTS for form in ("%5s", "%-5s|", "%.2s", "%r", "%a", "%10.3s")
    ]
    expressions += [
        f"{form!r}.format({text!r})"
        for text in TEXTS
        for form in ("{:>5}", "{:^9.2}", "{!r}", "{!a}", "{!s:<4}", "{:*^7}")
    ]
    percent = PERCENT.split()
    braces = BRACES.split()
    expressions += [f"{form!r} % ({number!r},)" for number in NUMBERS for form in percent]
    expressions += [f"{form!r}.format({number!r})" for number in NUMBERS for form in braces]
    compared(both, expressions, 0.6)


def test_numbers(both):
    forms = "str({0}) repr({0}) int({0}) round({0}) round({0},2) abs({0}) float({0}) {0}//3 {0}%3 {0}/3 -({0}) {0}**2 {0}*1.1"
    expressions = [form.format(f"({number!r})") for number in NUMBERS for form in forms.split()]
    expressions += [
        f"{name}({text!r})"
        for text in ["7", " 7\n", "-5", "+3", "1e3", "0x1f", "１２", "", "1_0"]
        for name in ("int", "float")
    ]
    compared(both, (f"str({item})" for item in expressions), 0.7)


PERCENT = "%d %5d %05d %x %o %e %f %g %.2f %s %+d %i %5.1f %%%d %-8d| %G %X %u"
BRACES = "{:d} {:x} {:b} {:o} {:,} {:.2f} {:e} {:g} {:%} {:05} {:+} {:>10} {:.3} {:_} {:010.2f} {:#x} {:E} {:.0f}"
SMALL = """
sorted([3,1,2],reverse=True) | list(reversed([1,2])) | sum([1.1,2.2,3.3]) | min("b","a")
max([1,2],key=lambda x:-x) | {"a":1}|{"b":2} | dict(a=1,**{"b":2}) | [1,2]+[3] | [1]*3 | [*"ab",*[1]]
{**{"a":1},"a":2} | [x for x in range(10) if x%2][::-1] | {k:v for k,v in zip("ab",[1,2])}
list(map(lambda x:x*2,[1,2])) | list(filter(lambda x:x>1,[1,2])) | any([0,1]) | all([])
"".join(str(i) for i in range(3)) | isinstance(1,(int,str)) | isinstance(True,int) | isinstance(1,bool)
"%(a)s"%{"a":[1,"x"]} | str([1,"a",None,True,1.5,{"k":(1,)}]) | repr("it's") | repr('q"x') | int("ff",16) | chr(233)
ord("é") | hex(-255) | oct(8) | bin(5) | "abc"[10:] | [1,2,3][-5:] | list(range(5,0,-2)) | divmod(-7,2) | -7//2
-7%2 | 7%-3 | 2**-1 | round(0.5) | round(-2.5) | round(2.675,2) | "a b".split(" ") | " a  b ".split(" ")
"aXbX".replace("X","",1) | "a\\r\\nb\\rc".splitlines() | "abc".startswith(("b","a")) | "{0} {1} {0}".format("a","b")
"{:{}}".format("x",5) | "{:>{w}.{p}}".format("abcdef",w=8,p=3) | "{{}}".format() | f"{3.14159:.2f}" | f"{'a'!r:>5}"
f"{10:#x}" | f"{[1,2]}" | [i for i,c in enumerate("abc") if c!="b"] | next(iter([]),5)
sorted({"b":1,"a":2}.items()) | {"a":1}.pop("x",3) | [1,2,3].index(2) | [1,2,2].count(2) | "aa".count("")
"".split() | "".split(",") | dict.fromkeys("ab",0) | "x"<"X" | 1.0==1 | int(-2.7) | str(1e21) | 5.5%2 | pow(3,4,5)
sorted([(1,"b"),(1,"a")]) | "a".zfill(4) | "-5".zfill(4) | "éa".title() | hello if (hello:="x") else "y"
(lambda *a,**k:[a,sorted(k)])(1,b=2) | [[1,2][i] for i in (0,1)] | {"a":{"b":[1]}}["a"]["b"][0]
user.name or user.username | not user.email | len(user.attributes) | str(user.uuid) | user.date_joined.isoformat()
user.last_login is None | f"{user.date_joined:%d.%m.%Y}" | user.date_joined.strftime("%A %j %H:%M") | str(user)
user.pk + 1 | user.locale() | bool(user.ak_groups.all()) | user.ak_groups.filter(name__istartswith="e").count()
sorted(g.name for g in user.ak_groups.all()) | user.all_groups().exists()
user.ak_groups.order_by("pk").first() == None | [g.num_pk for g in user.ak_groups.order_by("pk")] | user.is_staff
len(user.ak_groups.all()) | sorted(user.ak_groups.values_list("name",flat=True))
user.group_attributes().get("number") | ak_is_group_member(user,name="sales")
[str(g) for g in user.ak_groups.filter(is_superuser=True)] | user.ak_groups.filter(name="sales") and 1
hasattr(user,"email") | getattr(user,"name") | list_flatten(["a"]) | slugify(user.name)
regex_match(user.name,r"^[A-Z]\\w+") | regex_replace(user.name,r"[^\\w]+","-")
user.ak_groups.exclude(name="sales").count() | [d["name"] for d in user.ak_groups.order_by("pk").values("name")]
user.attributes["list"][1] | "x" if user.ak_groups.filter(name="nothing") else "y"
(user.ak_groups.filter(name="sales") or "none") == "none" | list(filter(None,["",user.name]))
"""


def test_small_expressions_for_several_people(both):
    expressions = [item.strip() for line in SMALL.strip().splitlines() for item in line.split(" | ")]
    found = both((f"return {{'x': {{'y': {text}}}}}" for text in expressions), SUBJECTS)
    assert differences(found) == []
    agreed = {text for text, one, _other in found if one[0] == "ok"}
    assert len(agreed) > 0.85 * len(expressions)


_ATOMS = r"""a b . \d \w \s \W \D \S [a-z] [^a-z] [A-Z0-9_] [éa] é \. - (ab) (a|b) (?:x|yz) ^ $ \b \B \A \Z [\w.-] [^\w\s-] (?i:A) (?=a)
(?!b) (?<=a) (?P<n>a) \1 [\d+] [+-] []a] \t \n \x41 @ [a&&b] [a--b] [[a] \p{L} \h { } a{2} a{,2} a{1,} x*? a*+ (?>a) (?m)^ \0 [\s\S] ß ſ
[[:alpha:]] || | () [a~~b] [\b] \/ \-"""
ATOMS = _ATOMS.split()
QUANTIFIERS = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "*?"]
MATCHED = [
    "",
    "a",
    "b",
    "ab",
    "Ada Lovelace",
    "a.b-c_d@example.com",
    "+44 (0)20 7946",
    "é",
    "ÀÉ ß",
    "aab",
    "xyz\n",
    "\n",
    "a\nb",
]
MATCHED += [
    "1２",
    "under_score",
    "A  B",
    "\u00a0x",
    "\x1c",
    "日本",
    "ſK",
    "aaa",
    "x-y--z",
    "]",
    "[",
    "{2}",
    "\\",
    "😀",
    "\u2028",
    "\x85",
]
REPLACEMENTS = ["", "-", ".", "x\\1", "\\g<0>", "\\n", "$1", "${1}", "$$", "é"]


@settings(max_examples=12)
@given(st.data())
def test_regular_expressions(both, data):
    """Patterns of every kind that CPython knows, and some that only others do."""
    expressions = []
    for _index in range(60):
        parts = data.draw(
            st.lists(st.tuples(st.sampled_from(ATOMS), st.sampled_from(QUANTIFIERS)), min_size=1, max_size=4)
        )
        pattern = "".join(atom + quantifier for atom, quantifier in parts)
        text, replacement = data.draw(st.sampled_from(MATCHED)), data.draw(st.sampled_from(REPLACEMENTS))
        expressions.append(f"regex_match({text!r}, {pattern!r})")
        expressions.append(f"regex_replace({text!r}, {pattern!r}, {replacement!r})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert differences(both(f"return {{'x': {{'y': {text}}}}}" for text in expressions)) == []


def test_usual_regular_expressions_are_evaluated_here(both):
    usual = [
        (r"\(0\)", ""),
        (r"^00", "+"),
        (r"[^+\d]", ""),
        (r"^\+\d{6,}$", "x"),
        (r"[^a-z0-9.]+", "."),
        (r"\s+", " "),
        (r"^[\w.-]+@example\.com$", ""),
        (r"(?:Dr|Prof)\. ", ""),
        (r"[-_ ]+", "-"),
    ]
    found = both(f"return {{'x': {{'y': regex_replace(user.name, {pattern!r}, {text!r})}}}}" for pattern, text in usual)
    assert [one[0] for _text, one, _other in found] == ["ok"] * len(usual)
    assert differences(found) == []


# -- what is promised of the interpreter ------------------------------------------------------------------------------


def test_the_interpreter_has_every_name(both):
    """Each name that may be used is there: else every object would need authentik's answer, and nobody would know why."""
    known = (
        NAMES
        - {"SkipObject", "ak_logger"}
        - {name for name in NAMES if name.endswith(("Error", "Exception", "Iteration"))}
    )
    raised = sorted(NAMES - known - {"ak_logger"})
    used = [f"x = {name}\nreturn {{'x': 1}}" for name in sorted(known)]
    used += [f"try:\n    1 + 1\nexcept {name}:\n    pass\nreturn {{'x': 1}}" for name in raised]
    caught = [f"try:\n    raise {name}('x')\nexcept {name} as exc:\n    return {{'x': str(exc)}}" for name in raised]
    found = both([*used, *caught])
    assert [text for text, _one, _other in found] == [*used, *caught]
    # That one wants five arguments.
    assert [text for text, one, _other in found if one[0] != "ok" and "raise UnicodeDecodeError" not in text] == []


def test_no_name_reaches_out():
    for name in (
        "open",
        "eval",
        "exec",
        "compile",
        "__import__",
        "globals",
        "locals",
        "vars",
        "dir",
        "type",
        "input",
        "id",
        "hash",
    ):
        assert name not in NAMES
        with pytest.raises(Unsupported, match=f"it uses {name}"):
            check(f"return {name}", "user")
    assert not [name for name in NAMES | ATTRIBUTES if name.startswith("_")]


SAMPLES = {str: "'a'", list: "[1]", dict: "{'a': 1}", set: "{1}", bytes: "b'a'"}
ARGUMENTS = ("", "'a'", "1", "['a']", "0, 1", "'a', 'b'", "{'b': 2}", "{2}")


def test_the_interpreter_has_every_attribute(both):
    """Each method comes to an end with some arguments."""
    for kind, sample in SAMPLES.items():
        for name in sorted(TYPE_ATTRIBUTES[kind]):
            assert hasattr(kind, name)
            calls = [f"x = {sample}.{name}({arguments})\nreturn {{'x': 1}}" for arguments in ARGUMENTS]
            assert "ok" in [one[0] for _text, one, _other in both(calls)], (kind, name)


@pytest.mark.parametrize(
    "expression",
    [
        "x = map(len, ['a'])",
        "x = (y for y in user.name)",
        "return {'x': filter(None, [1])}",
        "if filter(None, []):\n    pass",
        "x = [zip('a', 'b')]",
        "x = (y for y in []) or 1",
        "x = print(reversed('ab'))",
    ],
)
def test_an_iterator_that_is_kept_is_refused(expression):
    with pytest.raises(Unsupported, match="it keeps an iterator"):
        check(expression, "user")


@pytest.mark.parametrize(
    "expression",
    [
        "a, b = zip('ab', 'cd')",
        "for a, b in enumerate('ab'):\n    pass",
        "x = [*reversed('ab')]",
        "x = {a: b for a, b in zip('ab', 'cd')}",
        "x = ', '.join(y for y in user.name)",
        "x = sorted(map(len, filter(None, ['a'])), key=len)",
    ],
)
def test_an_iterator_that_is_read_where_it_is_made_is_evaluated_here(expression):
    check(expression, "user")


@pytest.mark.parametrize(
    ("expression", "kind", "reason"),
    [
        ("return {'x': request.user.name}", "group", "there is none for a group"),
        ("return {'x': user.name}", "group", "it uses user"),
        ("return {'x': requests.get('https://example.com')}", "user", "the network"),
        ("x = 1\nreturn {'x': x if (y := user.ak_groups) and (z := 1) else 2}", "user", ""),
        ("return {'x': user.ak_groups.all() and (z := 1)}", "user", "it assigns within and or or"),
        ("match user.ak_groups:\n    case _ if True:\n        return {}", "user", "match"),
        ("return {}\ndef f():\n    pass\nimport os", "user", "it imports a module"),
        ("pass\n\rdef g(): pass", "user", ""),
        ("@len\ndef f(x):\n    pass\nreturn {}", "user", "it uses a decorator"),
        ("return {'x': 1j}", "user", "a complex number"),
        ("return {'x': [_truth for _truth in [1]]}", "user", "it uses the name _truth"),
        ("return {", "user", "Python does not parse it"),
        ("\treturn {}\n  x", "user", "Python does not parse it"),
        ("return {'x': '\0'}", "user", "Python does not parse it"),
    ],
)
def test_what_is_refused_by_its_text(expression, kind, reason):
    if not reason:
        check(expression, kind)
        return
    with pytest.raises(Unsupported, match=reason):
        check(expression, kind)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 50000 + ")" * 50000,
        "-" * 90000 + "1",
        "a" + ".b" * 45000,
        "lambda:" * 13000 + "1",
        "1" + "+1" * 45000,
        "a" + " and a" * 16000,
        "user.ak_groups" + " and user.ak_groups" * 5000,
        "[a for a in " * 7000 + "b" + "]" * 7000,
        "{1:" * 30000 + "1" + "}" * 30000,
        "(a:=" * 20000 + "1" + ")" * 20000,
    ],
)
def test_a_text_that_nests_is_refused(source):
    """Deciding about a text ends, whatever the text."""
    with pytest.raises(Unsupported):
        check("return " + source, "user")


def test_inside_needs_no_more_than_it_has():
    """The file is ordinary Python: its own names and built-in ones, so that CPython can run it beside the interpreter."""
    scope = cpython()
    assert scope["SkipObject"] is IsADirectoryError
    assert {name for name in NAMES if name in scope or hasattr(builtins, name)} == NAMES
    assert scope["_time"]("x", "2026-11-23T22:49:18Z") == datetime(2026, 11, 23, 22, 49, 18, tzinfo=timezone.utc)
