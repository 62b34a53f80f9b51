# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The process in which expressions are evaluated, and the end of it when one of them takes too much.

It is a fork of the module's own process, with nothing left but two pipes: no open file, no way to open one (nor a
socket: RLIMIT_NOFILE is 0), none of the environment, a bound on memory above what it was born with, and a clock of the
kernel that ends it when one evaluation takes too long, whatever the expression catches. It ends with its parent, whose
pipe it reads. What it inherits of the parent's memory is out of reach of an expression: see restricted.py.

Objects go down page by page as JSON, answers come up one line each, so that the parent knows which evaluation did not
come back.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import struct
import time
import typing as t

from .local_objects import Group, Row, User
from .local_queries import VARIANTS, Run, Unsupported
from .restricted import MOST_CHARS, Mapping, compile_expression, evaluate, load

Json = t.Dict[str, t.Any]
READ_BYTES = 64 * 1024
# A line holds a result (six characters for one outside ASCII, quoted once more) and little else.
MOST_LINE_BYTES = 16 * MOST_CHARS
# What the parent waits beyond the process's own clock, which counts its time on a processor: a busy machine is no fault.
WAIT_FACTOR = 5
WAIT_EXTRA_S = 5.0
_FAILED = 70
_OUT_OF_MEMORY = 71
_ORDER = (
    "its result depends on the order in which authentik's database gives groups or users; order_by() in the mapping "
    "settles that"
)


class Answer(t.NamedTuple):
    """What became of one evaluation.

    Attributes:
        kind: ``ok`` (text is the result as JSON), ``error`` (text is what the expression raised, as authentik's test
            endpoint shows it), ``unsupported`` (text is the reason), or ``exceeded`` (the process ended, or had to be
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
    uses: t.FrozenSet[str]


class Stopped(Exception):
    """The process is no more; the text says why, in the form "it took more than 2 seconds"."""


class ExpressionProcess:
    """One process with compiled expressions of one kind; it is started when it is needed, and anew after its end.

    Args:
        kind: "user" or "group".
        seconds: the time on a processor that one evaluation may take.
        memory_mb: how much memory the process may take beyond what it has when it starts.

    Raises:
        MissingLibrary: RestrictedPython is not there.
    """

    def __init__(self, kind: str, seconds: float, memory_mb: int) -> None:
        load()
        self._kind = kind
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._sources: t.Dict[int, str] = {}
        self._pid: t.Optional[int] = None
        self._down = self._up = -1
        self._unread = b""

    @property
    def pid(self) -> t.Optional[int]:
        """The process's id while it is there."""
        return self._pid

    def compile(self, number: int, source: str) -> Compiled:
        """Compile an expression: in the process, since that alone can take too much."""
        try:
            self._ready()
            found = self._compile(number, source)
        except Stopped as exc:
            return Compiled(str(exc), frozenset())
        if not found.reason:
            self._sources[number] = source
        return found

    def run(self, page: Json, tasks: t.Sequence[t.Tuple[int, int]]) -> t.List[Answer]:
        """Evaluate.

        Args:
            page: ``subjects`` (each [the object as authentik lists it, its context]), ``groups`` (by primary key),
                ``version`` ([year, month] or None).
            tasks: (index of a subject, number of an expression).

        Returns:
            Answers in the order of the tasks. When the process ended the last one says so, and the tasks after it are
            not answered.
        """
        answers: t.List[Answer] = []
        try:
            self._ready()
            self._send(dict(page, tasks=list(tasks)))
            while len(answers) < len(tasks):
                kind, text = self._line()
                answers.append(Answer(kind, text))
        except Stopped as exc:
            answers.append(Answer("exceeded", str(exc)))
        return answers

    def close(self) -> None:
        """End the process, if there is one."""
        if self._pid is not None:
            self._end(at_once=True)

    # -- starting and ending ------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Have a process that knows every expression."""
        if self._pid is None:
            self._start()
            for number, source in self._sources.items():
                self._compile(number, source)

    def _start(self) -> None:
        down, self._down = os.pipe()
        self._up, up = os.pipe()
        try:
            pid = os.fork()
        except OSError as exc:
            for descriptor in (down, self._down, self._up, up):
                os.close(descriptor)
            raise Stopped("no process could be started to evaluate it (%s)" % exc.strerror) from None
        if pid == 0:
            status = _FAILED
            try:
                _serve(down, up, self._kind, self._seconds, self._memory_mb)
                status = 0
            except MemoryError:
                status = _OUT_OF_MEMORY
            finally:
                # Whatever happened: the parent's code must not run twice.
                os._exit(status)
        os.close(down)
        os.close(up)
        os.set_blocking(self._down, False)
        self._pid, self._unread = pid, b""

    def _end(self, at_once: bool) -> int:
        """See to it that the process is gone.

        Args:
            at_once: whether it is ended by force; else it is known to be ending by itself.

        Returns:
            Its status as waitpid gives it.
        """
        pid, self._pid = t.cast(int, self._pid), None
        os.close(self._down)
        os.close(self._up)
        deadline = time.monotonic() + (0.0 if at_once else WAIT_EXTRA_S)
        while time.monotonic() < deadline:
            ended, status = _wait(pid, os.WNOHANG)
            if ended:
                return status
            time.sleep(0.002)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return _wait(pid, 0)[1]

    def _gone(self) -> Stopped:
        """The process closed its pipe."""
        status = self._end(at_once=False)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if ended_by in (signal.SIGPROF, signal.SIGXCPU):
            return Stopped("it took more than %g seconds" % self._seconds)
        if ended_by == signal.SIGKILL:
            return Stopped("the system ended the process that evaluates it (out of memory?)")
        if not ended_by and os.WEXITSTATUS(status) == _OUT_OF_MEMORY:
            return Stopped("it took more than %d MB of memory" % self._memory_mb)
        return Stopped(
            "the process that evaluates it crashed (%s)"
            % ("signal %d" % ended_by if ended_by else "status %d" % os.WEXITSTATUS(status))
        )

    # -- talking ------------------------------------------------------------------------------------------------------

    def _compile(self, number: int, source: str) -> Compiled:
        self._send({"compile": [number, source]})
        reason, uses = self._line()
        return Compiled(reason, frozenset(uses))

    def _send(self, message: Json) -> None:
        """Give the process a message. It reads one to its end before it answers, so that neither waits for the other."""
        data = json.dumps(message).encode("ascii")
        left = memoryview(struct.pack(">Q", len(data)) + data)
        while left:
            self._await(self._down, select.POLLOUT)
            try:
                left = left[os.write(self._down, left[:READ_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._gone() from None

    def _line(self) -> t.List[t.Any]:
        """The next answer."""
        parts = []
        size = 0
        while True:
            head, newline, rest = self._unread.partition(b"\n")
            parts.append(head)
            size += len(head)
            if newline:
                self._unread = rest
                return t.cast(t.List[t.Any], json.loads(b"".join(parts).decode("ascii")))
            if size > MOST_LINE_BYTES:
                self._end(at_once=True)
                raise Stopped("its result is too large")
            self._await(self._up, select.POLLIN)
            self._unread = os.read(self._up, READ_BYTES)
            if not self._unread:
                raise self._gone()

    def _await(self, descriptor: int, event: int) -> None:
        """Wait until a pipe can be read, or written, or the process is gone."""
        seconds = self._seconds * WAIT_FACTOR + WAIT_EXTRA_S
        waiting = select.poll()
        waiting.register(descriptor, event)
        if not waiting.poll(seconds * 1000):
            self._end(at_once=True)
            raise Stopped("there was no answer within %g seconds" % seconds)


def _wait(pid: int, options: int) -> t.Tuple[bool, int]:
    """Whether a process has ended, and its status."""
    try:
        found, status = os.waitpid(pid, options)
    except ChildProcessError:
        # Somebody else has taken its status; it is gone all the same.
        return True, 0
    return found == pid, status


# -- inside the process -------------------------------------------------------------------------------------------------


def _serve(down: int, up: int, kind: str, seconds: float, memory_mb: int) -> None:
    """Answer until the parent is gone."""
    _shut_in(down, up, memory_mb)
    mappings: t.Dict[int, Mapping] = {}
    while True:
        message = _receive()
        if message is None:
            return
        if "compile" in message:
            number, source = message["compile"]
            with _Clock(seconds):
                answer = _compiled(mappings, number, source, kind)
            _answer(answer)
            continue
        groups, version = message["groups"], message["version"]
        known = None if version is None else (int(version[0]), int(version[1]))
        for subject, number in message["tasks"]:
            data, context = message["subjects"][subject]
            with _Clock(seconds):
                found = _evaluated(mappings[number], kind, groups, known, data, context)
            _answer(found)


_IN, _OUT = 3, 4


def _shut_in(down: int, up: int, memory_mb: int) -> None:
    """Give up all that the process does not need, for ever."""
    for number in signal.Signals:
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                # Some are the C library's own.
                pass
    # The terminal's Ctrl-C goes to the parent, whose end is this one's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.environ.clear()
    kept = [os.dup(down), os.dup(up)]
    while min(kept) <= _OUT:
        kept = [os.dup(descriptor) for descriptor in kept]
    os.dup2(kept[0], _IN)
    os.dup2(kept[1], _OUT)
    size = _address_space()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.closerange(_OUT + 1, _highest_descriptor() + 1)
    for name, most in (("RLIMIT_NOFILE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        _limit(name, most)
    _limit("RLIMIT_AS", size + memory_mb * 1024 * 1024)
    # What is there already is the parent's: to look through it again and again would only copy its pages.
    gc.collect()
    gc.freeze()


def _limit(name: str, most: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    hard = resource.getrlimit(number)[1]
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(number, (wanted, wanted))
    except (OSError, ValueError):
        # Not every system has every limit; the others and the parent's clock remain.
        pass


def _highest_descriptor() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return max(int(name) for name in os.listdir(folder))
        except (OSError, ValueError):
            continue
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 65536 if soft == resource.RLIM_INFINITY else min(soft, 65536)


def _address_space() -> int:
    """The size of the process in bytes."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        # Without /proc: what it ever had in memory, in the unit of Linux, and room for what it only reserved.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 1024**3


class _Clock:
    """Ends the process after some seconds on a processor: the kernel does, whatever runs."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def __exit__(self, *_what: t.Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _receive() -> t.Optional[Json]:
    size = _read(8)
    if size is None:
        return None
    data = _read(struct.unpack(">Q", size)[0])
    return None if data is None else t.cast(Json, json.loads(data.decode("ascii")))


def _read(size: int) -> t.Optional[bytes]:
    """So many bytes, or None when the parent is gone."""
    parts = []
    while size:
        part = os.read(_IN, min(size, READ_BYTES))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _answer(answer: t.Sequence[t.Any]) -> None:
    left = json.dumps(answer).encode("ascii") + b"\n"
    while left:
        left = left[os.write(_OUT, left) :]


def _compiled(mappings: t.Dict[int, Mapping], number: int, source: str, kind: str) -> t.List[t.Any]:
    try:
        mappings[number] = compile_expression(source, kind)
    except Unsupported as exc:
        return [str(exc), []]
    return ["", sorted(mappings[number].names | mappings[number].attributes)]


def _evaluated(
    mapping: Mapping,
    kind: str,
    groups: t.Mapping[str, Json],
    version: t.Optional[t.Tuple[int, int]],
    data: Json,
    context: Json,
) -> t.Tuple[str, str]:
    """Evaluate an expression for one object, in each order that unordered rows are tried in.

    Raises:
        MemoryError: which ends the process, so that the next one starts with nothing.
    """
    row: t.Type[Row] = User if kind == "user" else Group
    first: t.Optional[t.Tuple[bool, str]] = None
    for variant in range(VARIANTS):
        run = Run(groups, version, variant)
        # The expression may change what it is given.
        given = {name: dict(value) if isinstance(value, dict) else value for name, value in context.items()}
        try:
            found = evaluate(mapping, run, row(run, data), given)
        except Unsupported as exc:
            return "unsupported", run.trouble or str(exc)
        except RecursionError:
            return "unsupported", "it calls itself too often"
        if first is not None and found != first:
            return "unsupported", _ORDER
        first = found
        if not run.uncertain:
            break
    ok, text = t.cast(t.Tuple[bool, str], first)
    return "ok" if ok else "error", text
