# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a run: every write, so that an interrupted run can be audited and gone on with.

It is written through to the disk line by line, before a write is sent and after it was answered.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from .._common.json_lines import Lines, now_text, seconds_of
from .._common.kind import Kind
from .._common.types import Json

# Of an unfinished run older than this, nothing is taken for granted.
RESUME_WITHIN_S = 3600.0


class Journal:
    """Every write of a run, and what an earlier, interrupted run had finished.

    Args:
        path: str.
        key: str, tells runs that do the same job: only those are gone on with.

    Attributes:
        unanswered: list of dict, the writes of an interrupted run of which nobody knows the answer.

    Raises:
        OSError, UnicodeDecodeError: it cannot be used.
    """

    def __init__(self, path: str, key: str) -> None:
        self.unanswered: list[Json] = []
        self._done: dict[tuple[str, str], str] = {}
        self._same = False
        self._since = time.time() - RESUME_WITHIN_S
        self._lines = Lines(path, append=True, sync=True, locked=True)
        for text in self._lines.existing():
            self._take(text, key)
        self._lines.write(
            {"event": "start", "time": now_text(), "pid": os.getpid(), "key": key, "goes_on": bool(self._done)}
        )

    def was_done(self, kind: Kind, pk: str, mark: str) -> bool:
        """Whether the interrupted run had finished an object, which is in authentik as it was then.

        Args:
            mark: what finish() was given.
        """
        return self._done.get((kind, pk)) == mark

    def _take(self, text: str, key: str) -> None:
        """A line that the last run left, if it did the same job, did not end, and is not too long ago."""
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            # The last line of a run that was killed while it wrote.
            return
        if not isinstance(line, dict):
            return
        event = line.get("event")
        if event == "start" and not (line.get("key") == key and line.get("goes_on")):
            self._done.clear()
            self.unanswered.clear()
            self._same = line.get("key") == key
        elif event == "end":
            self._done.clear()
            self.unanswered.clear()
        elif event == "sent":
            self.unanswered.append(line)
        elif event == "answered":
            self.unanswered = [item for item in self.unanswered if _write(item) != _write(line)]
        elif event == "done" and self._same and seconds_of(line.get("time")) > self._since:
            self._done[str(line.get("kind")), str(line.get("pk"))] = str(line.get("mark"))

    def write(self, line: Json) -> None:
        """A request that writes, before it is sent (``event: sent``) and after it was answered."""
        # Of an answer that is lost with the power, the next run sees the trace.
        self._lines.write(dict(line, time=now_text()), through=line.get("event") != "answered")

    def finish(self, kind: Kind, pk: str, name: str, status: str, mark: str) -> None:
        """An object is done.

        Args:
            mark: tells whether it is still the same in authentik when the next run comes by.
        """
        line = {"event": "done", "time": now_text(), "kind": kind, "pk": pk, "name": name, "status": status}
        line["mark"] = mark
        self._lines.write(line, through=False)

    def leave(self) -> None:
        """The run is stopped from outside: the next one can go on with it."""
        self._lines.close()

    def close(self, status: str) -> None:
        """The run has ended by itself: there is nothing to go on with."""
        try:
            self.write({"event": "end", "status": status})
        finally:
            self._lines.close()


def _write(line: Json) -> tuple[t.Any, ...]:
    return line.get("method"), line.get("path"), line.get("what")
