# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""Files that a run leaves behind: the report (everything that was found and done) and the journal (every write).

Both are JSON Lines, readable for their owner only, as they hold people's data. The journal is written through to the
disk line by line, before a write is sent and after it was answered, so that a run that was killed can be audited and
gone on with.
"""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
import typing as t

from .secrets import mask

Json = t.Dict[str, t.Any]
# Of an unfinished run older than this, nothing is taken for granted.
RESUME_WITHIN_S = 3600.0


def now_text() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Lines:
    """A file of JSON Lines. Safe for threads.

    Args:
        path: str; append: bool, whether to keep what is there; sync: bool, whether to write each line through.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str, append: bool, sync: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        self._file = os.fdopen(os.open(path, flags, 0o600), "a" if append else "w", encoding="utf-8")
        self._sync = sync
        self._lock = threading.Lock()

    def write(self, line: Json, through: bool = True) -> None:
        """Add a line.

        Args:
            through: whether it must be on the disk before anything else happens, in a file that is written through.
        """
        text = json.dumps(mask(line), ensure_ascii=False, sort_keys=False)
        with self._lock:
            self._file.write(text + "\n")
            if self._sync:
                self._file.flush()
                if through:
                    os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the rest and close."""
        with self._lock:
            self._file.close()


class Journal:
    """Every write of a run, and what an earlier, interrupted run had finished.

    Args:
        path: str.
        key: str, tells runs that do the same job: only those are gone on with.

    Attributes:
        done: set of (kind, pk) that the interrupted run had finished.
        unanswered: list of dict, the writes of which nobody knows the answer.
    """

    def __init__(self, path: str, key: str) -> None:
        self.done: t.Set[t.Tuple[str, str]] = set()
        self.unanswered: t.List[Json] = []
        self._same = False
        self._read(path, key)
        self._lines = Lines(path, append=True, sync=True)
        self._lines.write({"event": "start", "time": now_text(), "key": key, "goes_on": bool(self.done)})

    def _read(self, path: str, key: str) -> None:
        """What the last run left, if it did the same job, did not end, and is not too long ago."""
        try:
            with open(path, encoding="utf-8") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > RESUME_WITHIN_S:
                    return
                for text in file:
                    self._take(text, key)
        except FileNotFoundError:
            return

    def _take(self, text: str, key: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            # The last line of a run that was killed while it wrote.
            return
        if not isinstance(line, dict):
            return
        event = line.get("event")
        if event == "start" and not (line.get("key") == key and line.get("goes_on")):
            self.done.clear()
            self.unanswered.clear()
            self._same = line.get("key") == key
        elif event == "end":
            self.done.clear()
            self.unanswered.clear()
        elif event == "sent":
            self.unanswered.append(line)
        elif event == "answered":
            self.unanswered = [item for item in self.unanswered if _write(item) != _write(line)]
        elif event == "done" and self._same:
            self.done.add((str(line.get("kind")), str(line.get("pk"))))

    def write(self, line: Json) -> None:
        """A request that writes, before it is sent (``event: sent``) and after it was answered."""
        self._lines.write(dict(line, time=now_text()))

    def finish(self, kind: str, pk: str, name: str, status: str) -> None:
        """An object is done."""
        line = {"event": "done", "time": now_text(), "kind": kind, "pk": pk, "name": name, "status": status}
        self._lines.write(line, through=False)

    def close(self, status: str) -> None:
        """The run has ended by itself: there is nothing to go on with."""
        self.write({"event": "end", "status": status})
        self._lines.close()


def _write(line: Json) -> t.Tuple[t.Any, ...]:
    return line.get("method"), line.get("path"), line.get("what")
