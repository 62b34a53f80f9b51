# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of JSON Lines that a run writes: the report, the journal and the progress.

They are readable for their owner only, as they hold people's data.
"""

from __future__ import annotations

import datetime
import json
import os
import stat
import threading
import typing as t

from .masking import mask
from .types import Json


def now_text() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: t.Any) -> float:
    """A time as now_text() gives it, in seconds since 1970; 0 for anything else."""
    try:
        return (
            datetime.datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%fZ")
            .replace(tzinfo=datetime.timezone.utc)
            .timestamp()
        )
    except ValueError:
        return 0.0


class Lines:
    """A file of JSON Lines. Safe for threads.

    Args:
        path: str; append: bool, whether to keep what is there; sync: bool, whether to write each line through.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str, append: bool, sync: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        handle = os.open(path, flags, 0o600)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                # Also where it was there before, with other rights.
                os.fchmod(handle, 0o600)
            self._file = os.fdopen(handle, "a" if append else "w", encoding="utf-8")
        except OSError:
            os.close(handle)
            raise
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
