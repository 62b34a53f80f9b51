# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates expressions in an interpreter made for hostile code: pydantic-monty, a Python in Rust.

An expression is the program of an admin on another machine. It runs in a process of its own that has no environment, no
file, no network and no object of this process: what it is given is the text of one JSON document, and what it gives is a
list of texts. Time and memory are bounded by the interpreter, and by this side where the interpreter does not answer.
"""

from __future__ import annotations

import inspect
import json
import platform
import re
import sys
import traceback
import typing as t

from ..._common.types import Json
from . import inside
from .language import TYPE_ATTRIBUTES, Unsupported, check

PACKAGE = "pydantic-monty"
# In JSON: half of a pair that stands for one character.
_LONE_SURROGATE = re.compile(r"\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f]", re.IGNORECASE)
# A page of evaluations may take so many times as long as one. Where it takes longer, each evaluation has its own limit.
PAGE_FACTOR = 2
# How long after its time limit the process may take to say so, before it is ended.
GRACE_S = 5.0


class MissingLibrary(Exception):
    """pydantic-monty cannot be used; the text says what to install and for which Python."""


class Answer(t.NamedTuple):
    """What became of one evaluation.

    Attributes:
        kind: ``ok`` (text is the result as JSON), ``error`` (text is what the expression raised, as authentik's test
            endpoint shows it), ``unsupported`` (text is the reason), or ``exceeded`` (a limit was met, or the process
            ended; text is the reason).
        text: str.
    """

    kind: str
    text: str


class Compiled(t.NamedTuple):
    """What is known of an expression once it was compiled.

    Attributes:
        reason: why it cannot be evaluated here, or empty.
        uses: the global names and the attributes that it uses.
    """

    reason: str
    uses: frozenset[str]


class _Stopped(Exception):
    """The evaluation ended at a limit; the text says which, in the form "it took more than 2 seconds"."""


class Interpreter:
    """One process with the expressions of one kind of object. It starts when it is needed, and again after it ended.

    Args:
        kind: Kind.
        seconds: the time that one evaluation may take.
        memory_mb: the memory that the evaluations may take.

    Raises:
        MissingLibrary.
    """

    def __init__(self, kind: str, seconds: float, memory_mb: int) -> None:
        self._monty = _load()
        self._kind = kind
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._sources: dict[int, str] = {}
        self._pool: t.Any = None
        self._session: t.Any = None
        self._limit = 0.0

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return None if self._session is None else t.cast(int, self._session.worker_pid)

    def compile(self, number: int, expression: str) -> Compiled:
        """Take an expression in under a number.

        Raises:
            MissingLibrary: the process cannot be started.
        """
        try:
            checked = check(expression, self._kind)
            self._feed(_definition(number, checked.source), self._seconds * PAGE_FACTOR)
        except (Unsupported, _Stopped) as exc:
            return Compiled(str(exc), frozenset())
        self._sources[number] = checked.source
        return Compiled("", checked.uses)

    def run(self, page: Json, tasks: t.Sequence[tuple[int, int]]) -> list[Answer]:
        """Evaluate.

        Args:
            page: ``subjects`` (each [the object as authentik lists it, its context]), ``groups`` (by primary key),
                ``version`` ([year, month] or None). ``attributes`` of objects and groups are JSON texts.
            tasks: (index of a subject, number of an expression).

        Returns:
            Answers in the order of the tasks. Where one has met a limit it is the last, and the tasks after it are not
            answered.
        """
        if len(tasks) > 1:
            try:
                return self._evaluate(page, tasks, self._seconds * PAGE_FACTOR)
            except (_Stopped, MissingLibrary, Unsupported):
                # Which of them it was shows when each has a limit of its own.
                pass
        answers: list[Answer] = []
        for task in tasks:
            try:
                answers.extend(self._evaluate(page, [task], self._seconds))
            except (_Stopped, MissingLibrary, Unsupported) as exc:
                answers.append(Answer("exceeded", str(exc)))
                break
        return answers

    def close(self) -> None:
        """End the process, if there is one. May be called more than once."""
        session, self._session = self._session, None
        pool, self._pool = self._pool, None
        for opened in (session, pool):
            if opened is not None:
                opened.__exit__(None, None, None)

    # -- the session --------------------------------------------------------------------------------------------------

    def _evaluate(self, page: Json, tasks: t.Sequence[tuple[int, int]], seconds: float) -> list[Answer]:
        wanted = {index for index, _number in tasks}
        subjects = [subject if index in wanted else None for index, subject in enumerate(page["subjects"])]
        text = json.dumps(dict(page, kind=self._kind, subjects=subjects, tasks=list(tasks)))
        if "\\ud" in text and _LONE_SURROGATE.search(text):
            if len(tasks) > 1:
                raise _Stopped("one object of the page cannot be sent")
            return [Answer("unsupported", "authentik shows a character there that UTF-8 does not have")]
        found = self._feed("_evaluate_page(_page)", seconds, _page=text)
        return [Answer(kind, answer) for kind, answer in found]

    def _feed(self, code: str, seconds: float, **inputs: t.Any) -> t.Any:
        """Run code in a session that knows inside.py and every expression.

        Raises:
            _Stopped: a limit was met. The session is gone, since nothing is known of its state.
            Unsupported: the interpreter cannot parse the code.
        """
        # The limit belongs to the session: one that has another limit is made again.
        if self._session is None or self._limit != seconds:
            self._start(seconds)
        return self._run(code, inputs)

    def _start(self, seconds: float) -> None:
        self.close()
        monty = self._monty
        self._limit = seconds
        try:
            self._pool = monty.Monty(
                max_processes=1, request_timeout=seconds + GRACE_S, feed_duration_limit_grace=GRACE_S
            )
            self._pool.__enter__()
            session = self._pool.checkout(
                limits={"max_feed_duration_secs": seconds, "max_memory": self._memory_mb * 1024 * 1024},
                assert_message_annotations=False,
            )
            session.__enter__()
        except (OSError, RuntimeError, monty.MontyError) as exc:
            self.close()
            raise _missing(str(exc)) from None
        self._session = session
        self._run(inspect.getsource(inside), {})
        names = sorted({name for kind in TYPE_ATTRIBUTES for name in dir(kind)})
        self._run("_python_names = tuple(_names)", {"_names": names})
        for number, source in self._sources.items():
            self._run(_definition(number, source), {})

    def _run(self, code: str, inputs: Json) -> t.Any:
        monty = self._monty
        try:
            return self._session.feed_run(code, inputs=inputs, print_callback=_nowhere)
        except monty.MontyCrashedError as exc:
            reason = str(exc)
            self.close()
            if exc.timed_out:
                raise _Stopped(f"it took more than {self._seconds:g} seconds") from None
            raise _Stopped(f"the process that evaluates it ended ({reason})") from None
        except monty.MontyError as exc:
            inner, text = exc.exception(), str(exc)
            if isinstance(inner, (NotImplementedError, SyntaxError)):
                raise Unsupported(f"the interpreter does not parse it ({text})") from None
            self.close()
            if isinstance(inner, TimeoutError):
                raise _Stopped(f"it took more than {self._seconds:g} seconds") from None
            if isinstance(inner, MemoryError):
                raise _Stopped("it took more than %d MB of memory" % self._memory_mb) from None
            raise _Stopped(f"the interpreter failed ({text})") from None


def _definition(number: int, source: str) -> str:
    return "%s\n_handlers[%d] = _handler" % (source, number)


def _nowhere(_stream: str, _text: str) -> None:
    """Where what is printed goes."""


def _load() -> t.Any:
    """Import pydantic_monty. Raises MissingLibrary."""
    try:
        import pydantic_monty
    except ImportError:
        raise _missing(traceback.format_exc().strip().splitlines()[-1]) from None
    return pydantic_monty


def _missing(reason: str) -> MissingLibrary:
    return MissingLibrary(
        f"{PACKAGE} cannot be used by {sys.executable} (Python {platform.python_version()}) on {platform.node()}: {reason}. "
        f"Install {PACKAGE} there (Python 3.10 or later), or set mapping_evaluation: server"
    )
