# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions that mean harm end within a bounded time, and nothing of them gets out."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._sync import expression_process, restricted
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.expression_process import ExpressionProcess
from tests.support.tree import ROOT

SECONDS = 0.2
# For what is to end by its memory.
PATIENT_SECONDS = 2.0
MEMORY_MB = 64
# What an evaluation may cost of a processor, the process's start and end and the compiler included.
BOUND_S = SECONDS + 1.5
ADA = {
    "pk": 6,
    "username": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "is_active": True,
    "type": "internal",
    "path": "users",
    "uid": "0",
    "uuid": "a5d877f1-7590-49f5-a575-eee9d52730ff",
    "is_superuser": False,
    "attributes": {"department": "Engineering", "list": [1, 2]},
    "groups": [],
    "date_joined": "2026-11-23T22:49:18.408155Z",
    "last_login": None,
}
CONTEXT = {"connection": None, "provider": {"pk": 1, "name": "gws"}}


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The process's own clock counts its time on a processor, and on a busy machine it is to be the first all the same."""
    monkeypatch.setattr(expression_process, "WAIT_EXTRA_S", 90)


@pytest.fixture
def process():
    found = ExpressionProcess("user", SECONDS, MEMORY_MB)
    yield found
    pid = found.pid
    found.close()
    assert pid is None or not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def processor_time():
    """What the processes that have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def page(*subjects, **more):
    return {"subjects": [[dict(ADA, **item), CONTEXT] for item in subjects], "groups": {}, "version": [2026, 2], **more}


def result(process, source, **data):
    """What becomes of an expression for Ada: (kind, text)."""
    compiled = process.compile(0, textwrap.dedent(source))
    if compiled.reason:
        return "refused", compiled.reason
    (answer,) = process.run(page(data), [(0, 0)])
    return tuple(answer)


def is_well(process):
    """Afterwards the same object goes on as if nothing had been."""
    assert process.compile(1, "return {'name': user.name}").reason == ""
    assert process.run(page({}), [(0, 1)]) == [("ok", '{"name": "Ada Lovelace"}')]


# Each: an expression, what becomes of it, and a part of the reason.
HOSTILE = {
    "import": ("import os\nreturn os.listdir('/')", "refused", "Import"),
    "import from": ("from os import system\nsystem('touch /tmp/x')", "refused", "ImportFrom"),
    "__import__": ("return __import__('os')", "refused", "__import__"),
    "open": ("return open('/etc/passwd').read()", "refused", "it uses open (files)"),
    "eval": ("return eval('1')", "refused", "Eval"),
    "exec": ("exec('x = 1')", "refused", "Exec"),
    "type": ("return type(user)", "refused", "it uses type"),
    "globals": ("return globals()", "refused", "it uses globals"),
    "vars": ("return vars(user)", "refused", "it uses vars"),
    "breakpoint": ("breakpoint()", "refused", "breakpoint"),
    "a class": ("class A: pass\nreturn {}", "refused", "ClassDef"),
    "subclasses": ("return ().__class__.__base__.__subclasses__()", "refused", "__subclasses__"),
    "dunder by getattr": ("return getattr((), '__class__')", "unsupported", "__class__"),
    "dunder by getattr, put together": (
        "return getattr(user, '_' * 2 + 'class' + '_' * 2)",
        "unsupported",
        "__class__",
    ),
    "dunder by getattr with a default": ("return {'x': getattr(user, '__dict__', 1)}", "unsupported", "__dict__"),
    "a private attribute of the objects": ("return {'x': str(user._attributes)}", "refused", "_attributes"),
    "the objects' own attributes": ("return {'x': str(user.data)}", "unsupported", "user.data"),
    "the run of the objects": ("return {'x': str(user.run)}", "unsupported", "user.run"),
    "str.format": ("return {'x': '{0.__class__}'.format(user)}", "unsupported", "reads attributes or items"),
    "str.format by the type": ("return {'x': str.format('{0.run}', user)}", "unsupported", "reads attributes or items"),
    "str.format of something else": ("return {'x': str.format(user)}", "unsupported", "something else than a text"),
    "str.format by map": (
        "return list(map(str.format, ['{0.run.groups}'], [user]))",
        "unsupported",
        "reads attributes",
    ),
    "str.format in a specification": ("return {'x': '{0:{1.run}}'.format(1, user)}", "unsupported", "reads attributes"),
    "format_map": ("return {'x': '{a.run}'.format_map({'a': user})}", "unsupported", "reads attributes"),
    "a generator's frame": ("g = (x for x in [1])\nreturn g.gi_frame", "refused", "gi_frame"),
    "a generator's frame by getattr": ("return getattr((x for x in [1]), 'gi_frame')", "unsupported", "gi_frame"),
    "a function's code": ("return getattr(regex_match, 'func_globals')", "unsupported", "func_globals"),
    "a traceback": (
        "try:\n    1 / 0\nexcept Exception as exc:\n    return exc.__traceback__",
        "refused",
        "__traceback__",
    ),
    "a frame by a traceback": (
        "try:\n    1 / 0\nexcept Exception as exc:\n    return exc.with_traceback(None).args[0].tb_frame",
        "refused",
        "tb_frame",
    ),
    "the object of an error": (
        "try:\n    user.name.nothing\nexcept AttributeError as exc:\n    return exc.obj",
        "unsupported",
        "attribute obj",
    ),
    "the mro of a type": ("return str(dict.mro())", "unsupported", "attribute mro"),
    "an except star": ("try:\n    pass\nexcept* Exception as group:\n    pass", "refused", ""),
    "writing to the objects": ("user.name = 'x'\nreturn {}", "unsupported", "writes to a user"),
    "writing to a function": ("regex_match.x = 1", "unsupported", "writes to a function"),
    "deleting of the objects": ("del request.user", "unsupported", "writes to a request"),
    "a guard's name": ("_getattr_ = lambda ob, name: 1\nreturn user.x", "refused", "_getattr_"),
    "a guard's name as an argument": ("def f(_write_): pass\nreturn {}", "refused", "_write_"),
    "a guard's name by global": ("global regex_match\nregex_match = None", "refused", "Global"),
    "an endless loop": ("while True:\n    pass", "exceeded", "more than 0.2 seconds"),
    "an endless loop that catches": (
        "while True:\n    try:\n        while True:\n            pass\n    except:\n        pass",
        "exceeded",
        "more than 0.2 seconds",
    ),
    "an endless loop in finally": (
        "try:\n    1 / 0\nfinally:\n    while True:\n        pass",
        "exceeded",
        "more than 0.2 seconds",
    ),
    "an endless iterator": ("return list(iter(int, 1))", "exceeded", "more than"),
    "an endless generator": (
        "def g():\n    while True:\n        yield 1\nreturn {'x': sum(g())}",
        "exceeded",
        "more than 0.2 seconds",
    ),
    "a large power": ("return {'x': 10 ** 10 ** 8}", "exceeded", "more than"),
    "a large shift": ("return {'x': 1 << 10 ** 12}", "exceeded", "more than"),
    "a regular expression that goes back for ever": (
        "return {'x': regex_match('a' * 40 + 'b', '^(a|aa)+$')}",
        "exceeded",
        "more than 0.2 seconds",
    ),
    "a large text": ("return {'x': len('x' * 10 ** 12)}", "exceeded", "more than 64 MB"),
    "a large text that is caught": (
        "try:\n    x = 'x' * 10 ** 12\nexcept BaseException:\n    x = ''\nreturn {'x': x}",
        "exceeded",
        "more than 64 MB",
    ),
    "a text that grows": ("x = 'xyz'\nwhile True:\n    x = x + x", "exceeded", "more than 64 MB"),
    "a list that grows": ("x = []\nwhile True:\n    x.append('y' * 100000)", "exceeded", "more than"),
    "a large format": ("return {'x': f'{1:>9999999999}'}", "exceeded", "more than 64 MB"),
    "a large range": ("return {'x': list(range(10 ** 10))}", "exceeded", "more than"),
    "a deep recursion": ("def f():\n    return f()\nreturn f()", "unsupported", "calls itself too often"),
    "a deep recursion that is caught": (
        "def f():\n    try:\n        return f()\n    except RecursionError:\n        return 1\nreturn {'x': f()}",
        "unsupported",
        "calls itself too often",
    ),
    "a nested result": ("x = [1]\nfor i in range(5000):\n    x = [x]\nreturn {'x': x}", "unsupported", "too large"),
    "a result that holds itself": ("x = {}\nx['x'] = x\nreturn x", "unsupported", "too large"),
    "a result of laughs": (
        "x = ['ha']\nfor i in range(40):\n    x = [x, x, x]\nreturn {'x': x}",
        "unsupported",
        "too large",
    ),
    "a long result": ("return {'x': 'x' * 3000000}", "unsupported", "a text of 3000000 characters"),
    "a broad result": ("return {'x': [{'y': 'x'} for i in range(100000)]}", "unsupported", "too large"),
    "a source that nests": ("return " + "(" * 500 + ")" * 500, "refused", ""),
    "a long source": ("x = 1\n" * 100000, "refused", "characters"),
    "the network": ("return requests.get('http://127.0.0.1/')", "refused", "the network"),
    "an event": ("ak_create_event('x')\nreturn {}", "refused", "authentik's events"),
    "leaving": ("raise SystemExit(0)", "unsupported", "SystemExit"),
    "a refusal that is caught": (
        "try:\n    x = user.data\nexcept BaseException:\n    x = 1\nreturn {'x': x}",
        "unsupported",
        "user.data",
    ),
    "a refusal that is swallowed": (
        "def f():\n    try:\n        return user.data\n    finally:\n        return 1\nreturn {'x': f()}",
        "refused",
        "finally",
    ),
    "the hash by a comparison": ("return {'x': user.password == 'x'}", "unsupported", "the value of user.password"),
    "the hash as a text": ("return {'x': f'{user.password}'}", "unsupported", "the value of user.password"),
    "the hash in a message": ("raise ValueError(user.password)", "unsupported", "the value of user.password"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_expressions(process, name):
    source, kind, reason = HOSTILE[name]
    if reason.endswith("MB"):
        # Where pages are slow to come by, the other bound would be met first.
        process.close()
        process = ExpressionProcess("user", PATIENT_SECONDS, MEMORY_MB)
    before = processor_time()
    found = result(process, source)
    process.close()
    assert processor_time() - before < BOUND_S
    assert found[0] == kind, found
    assert reason in found[1]
    is_well(process)


def test_the_parents_memory_stays(process):
    """What a large result or a large list takes is the process's alone."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("a list that grows", "a text that grows", "a long result", "a broad result", "a large range"):
        result(process, HOSTILE[name][0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


def test_the_process_is_shut_in():
    """Even code without any guard has no file, no network, no other process, no environment and no terminal there."""
    os.environ["A_SECRET_OF_THE_TEST"] = "s3cret"
    outside = ROOT / "tests" / "output"
    outside.mkdir(exist_ok=True)
    mark = outside / "escaped"
    mark.unlink(missing_ok=True)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    kept = os.open(os.devnull, os.O_RDONLY)
    found = {}

    def escape(_mapping, _run, _subject, _context):
        def tried(name, action):
            try:
                found[name] = repr(action())
            except OSError as exc:
                found[name] = type(exc).__name__ + " " + str(exc.errno)

        tried("open to write", lambda: os.open(mark, os.O_WRONLY | os.O_CREAT))
        tried("open to read", lambda: Path("/etc/passwd").read_text())
        tried("network", lambda: socket.create_connection(address, 1))
        tried("socket", socket.socket)
        tried("pipe", os.pipe)
        tried("other descriptors", lambda: [os.fstat(number) for number in range(5, 64)])
        tried("the parent's descriptor", lambda: os.read(kept, 1) if kept > 4 else os.fstat(5))
        tried("environment", lambda: dict(os.environ))
        tried("terminal", lambda: [os.fstat(number).st_rdev for number in (0, 1, 2)])
        tried(
            "limits", lambda: [resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in ("NOFILE", "CORE")]
        )
        return True, json.dumps(found)

    original, expression_process.evaluate = expression_process.evaluate, escape
    try:
        process = ExpressionProcess("user", 2.0, MEMORY_MB)
        kind, text = result(process, "return {}")
        process.close()
    finally:
        expression_process.evaluate = original
        del os.environ["A_SECRET_OF_THE_TEST"]
        os.close(kept)
        listener.close()
    assert kind == "ok"
    found = json.loads(text)
    nowhere = os.stat(os.devnull).st_rdev
    too_many = "OSError 24"
    for name in ("open to write", "open to read", "socket", "network", "pipe"):
        assert found[name] == too_many, name
    assert found["other descriptors"] == found["the parent's descriptor"] == "OSError 9"
    assert found["environment"] == "{}"
    assert found["terminal"] == repr([nowhere] * 3)
    assert found["limits"] == "[(0, 0), (0, 0)]"
    assert not mark.exists()


def test_a_process_that_is_killed_is_named(process):
    assert process.compile(0, "return {'x': sum(range(10 ** 6))}").reason == ""
    tasks = [(0, 0)]
    assert process.run(page({}), tasks)[0].kind == "ok"
    os.kill(process.pid, signal.SIGKILL)
    assert process.run(page({}), tasks) == [
        ("exceeded", "the system ended the process that evaluates it (out of memory?)")
    ]
    assert process.run(page({}), tasks)[0].kind == "ok"


def test_a_process_that_stands_still_is_ended(process, monkeypatch):
    assert process.compile(0, "return {'x': 1}").reason == ""
    pid = process.pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(expression_process, "WAIT_EXTRA_S", 0.2)
    monkeypatch.setattr(expression_process, "WAIT_FACTOR", 1)
    (answer,) = process.run(page({}), [(0, 0)])
    assert answer.kind == "exceeded"
    assert "no answer within" in answer.text
    assert not alive(pid)


def test_the_one_that_took_too_long_is_told_from_the_others(process):
    """Of many objects, the first that hangs is the last that is answered."""
    assert process.compile(0, "while user.name == 'hang':\n    pass\nreturn {'x': user.name}").reason == ""
    assert process.compile(1, "return {'y': 1}").reason == ""
    subjects = [{"name": name} for name in ("a", "b", "hang", "d")]
    tasks = [(index, number) for index in range(4) for number in (1, 0)]
    found = process.run(page(*subjects), tasks)
    assert [answer.kind for answer in found] == ["ok"] * 5 + ["exceeded"]
    assert [answer.kind for answer in process.run(page(*subjects), tasks[6:])] == ["ok", "ok"]


def test_it_ends_with_its_parent():
    """A module that is killed leaves nothing behind, even while an expression runs."""
    program = textwrap.dedent(
        """
        import sys
        from ansible_collections.dirsync.authentik.plugins.module_utils._sync.expression_process import ExpressionProcess
        process = ExpressionProcess("user", 2.0, 64)
        process.compile(0, "while True: pass" if sys.argv[1] == "busy" else "return {}")
        print(process.pid, flush=True)
        process.run({"subjects": [[{"pk": 1}, {"connection": None, "provider": None}]], "groups": {}, "version": None}, [(0, 0)])
        print("answered", flush=True)
        import time
        time.sleep(60)
        """
    )
    for what in ("busy", "idle"):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / ".build")))}
        parent = subprocess.Popen(
            [sys.executable, "-c", program, what], stdout=subprocess.PIPE, env=environment, text=True, cwd=ROOT
        )
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if what == "idle":
            assert parent.stdout.readline() == "answered\n"
        parent.kill()
        parent.wait()
        parent.stdout.close()
        deadline = time.monotonic() + 30
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(pid), what


def test_no_evaluation_sees_the_one_before(process):
    source = "user.attributes['seen'] = user.attributes.get('seen', 0) + 1\nreturn {'seen': user.attributes['seen']}"
    assert process.compile(0, source).reason == ""
    assert process.compile(1, "provider['x'] = 1\nreturn {'n': len(provider)}").reason == ""
    found = process.run(page({}), [(0, 0), (0, 0), (0, 1), (0, 1)])
    assert [json.loads(answer.text) for answer in found] == [{"seen": 1}, {"seen": 1}, {"n": 3}, {"n": 3}]


def test_what_is_no_plain_json_is_left_to_authentik(process):
    for value, reason in (
        ("{1: 2}", "a key that is no text"),
        ("{'x': {1}}", "holds a set"),
        ("{'x': float('nan')}", "a number that JSON has not"),
        ("{'x': 10 ** 30}", "more than 64 bits"),
        ("{'x': user.date_joined}", "holds a datetime"),
        ("{'x': user.uuid}", "holds a UUID"),
        ("{'x': user}", "holds a user"),
        ("{'x': b'y'}", "holds a bytes"),
        ("{'x': [0]}", "an empty element"),
        ("{'x': (y for y in [1])}", "holds a generator"),
        ("{'x': len}", "holds a builtin_function_or_method"),
    ):
        kind, text = result(process, f"return {value}")
        assert (kind, reason in text) == ("unsupported", True), (value, text)


def test_errors_are_told_as_authentik_tells_them(process):
    for source, last in (
        ("return {}['x']", "builtins.KeyError: 'x'"),
        ("raise ValueError('no')", "builtins.ValueError: no"),
        ("raise SkipObject", "authentik.core.expression.exceptions.SkipObjectException:"),
        ("return user.name.nothing", "builtins.AttributeError: 'str' object has no attribute 'nothing'"),
        ("return connection.google_id", "builtins.AttributeError: 'NoneType' object has no attribute 'google_id'"),
        ("return provider.name", "builtins.AttributeError: 'dict' object has no attribute 'name'"),
        (
            "return user.ak_groups.get(name='x')",
            "authentik.core.models.DoesNotExist: Group matching query does not exist.",
        ),
    ):
        kind, text = result(process, source)
        assert (kind, text.splitlines()[-1].strip()) == ("error", last)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(restricted, "_policy", None)
    monkeypatch.setitem(sys.modules, "RestrictedPython", None)
    with pytest.raises(
        restricted.MissingLibrary, match=r"Install RestrictedPython there, or set mapping_evaluation: server"
    ):
        ExpressionProcess("user", SECONDS, MEMORY_MB)
