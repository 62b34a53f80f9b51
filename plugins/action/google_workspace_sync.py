# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and shows its progress meanwhile where it runs on the controller; with -v what changed.

Ansible shows nothing of a module while it works. The module writes its progress into a file; here that file is read and
told on standard error, so that what reads standard output (a callback that prints JSON, say) is not disturbed.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import typing as t

from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils.sync_action import SyncAction

# A person who watches wants to see that it moves; a log wants to stay readable.
TERMINAL_EVERY_S, LOG_EVERY_S = 3.0, 30.0
READ_EVERY_S = 0.5


class ActionModule(SyncAction):
    """The action behind dirsync.authentik.google_workspace_sync."""

    def execute(self, task_vars: t.Any, wrap_async: bool) -> dict[str, t.Any]:
        """Run the module, and tell its progress where both sides reach the same file."""
        arguments = dict(self._task.args)
        if wrap_async or not self._may_show(arguments):
            return super().execute(task_vars, wrap_async)
        with tempfile.TemporaryDirectory(prefix="google_workspace_sync_") as folder:
            path = str(arguments.setdefault("progress_path", os.path.join(folder, "progress")))
            with Watcher(os.path.expanduser(path), self._tell, interval()):
                return t.cast(t.Dict[str, t.Any], self._execute_module(module_args=arguments, task_vars=task_vars))

    def _may_show(self, arguments: t.Mapping[str, t.Any]) -> bool:
        """Whether the progress can and should be shown: the file must be one that both sides reach."""
        wanted = arguments.get("show_progress", os.environ.get("DIRSYNC_SHOW_PROGRESS", "true"))
        try:
            shown = boolean(wanted)
        except TypeError:
            # The module will say what is wrong with it.
            return False
        local = self._connection.transport == "local" and not self._connection.become
        return bool(shown and local and not self._task.no_log)

    def _tell(self, text: str) -> None:
        self._display.display(text, stderr=True)


class Watcher:
    """Reads a file of progress as it grows, as a context manager, and tells its last line now and then, and the plan at once.

    Args:
        path: str; tell: callable taking a text; every: float, seconds.
    """

    def __init__(self, path: str, tell: t.Callable[[str], None], every: float) -> None:
        self._path = path
        self._tell = tell
        self._every = every
        self._ended = threading.Event()
        self._position = 0
        self._last = ""
        self._planned = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_what: t.Any) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        told = time.monotonic()
        said = ""
        while not self._ended.wait(READ_EVERY_S):
            self._read()
            if self._last == said or time.monotonic() - told < self._every:
                continue
            told, said = time.monotonic(), self._last
            words = shown(said)
            if words:
                self._tell(words)
        # A short run ends between two looks.
        self._read()

    def _read(self) -> None:
        """Read what was added since the last time."""
        try:
            with open(self._path, encoding="utf-8") as file:
                file.seek(self._position)
                text = file.read()
        except (OSError, UnicodeDecodeError):
            # Not there yet; progress is never a reason to fail.
            return
        whole, newline, _rest = text.rpartition("\n")
        if not newline:
            return
        self._position += len((whole + newline).encode("utf-8"))
        self._last = whole.rpartition("\n")[2] or self._last
        plan = "" if self._planned else plan_of(self._last)
        if plan:
            self._planned = True
            self._tell(plan)


def plan_of(line: str) -> str:
    """The totals of the plan in a line of progress; empty for one without."""
    try:
        text = json.loads(line)["plan"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f"  {text}" if isinstance(text, str) and text.isprintable() else ""


def shown(line: str) -> str:
    """A line of progress in words; empty for one that cannot be read."""
    try:
        state = json.loads(line)
        done, total = int(state["done"]), int(state["total"])
        changes, differences = int(state["changes"]), int(state["differences"])
        phase, elapsed = str(state["phase"]), float(state["elapsed"])
    except (ValueError, TypeError, KeyError):
        return ""
    parts = ["%d of %d (%d%%)" % (done, total, 100 * done // total) if total else "%d" % done]
    number, noun = (changes, "change") if changes else (differences, "difference")
    parts.append("%d %s%s so far" % (number, noun, "" if number == 1 else "s"))
    if 0 < done < total and elapsed >= 1:
        parts.append("about %s left" % duration(elapsed / done * (total - done)))
    return "  %s: %s" % (phase, ", ".join(parts))


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 60:
        return "%d s" % max(1, round(seconds))
    if seconds < 3600:
        return "%d min" % round(seconds / 60)
    return "%d h %d min" % (seconds // 3600, seconds % 3600 // 60)


def interval() -> float:
    """Seconds between two lines: more where the output goes into a log."""
    if os.environ.get("CI"):
        return LOG_EVERY_S
    try:
        # This process has no terminal of its own; the one that started it may have.
        target = os.readlink("/proc/%d/fd/2" % os.getppid())
    except OSError:
        return TERMINAL_EVERY_S if os.environ.get("TERM") else LOG_EVERY_S
    return TERMINAL_EVERY_S if target.startswith(("/dev/pts/", "/dev/tty")) else LOG_EVERY_S
