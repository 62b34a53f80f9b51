# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of JSON Lines that a run writes: the report, the journal and the progress.

They are readable for their owner only, as they hold people's data.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import re
import stat
import threading
import typing as t

from .masking import mask
from .types import Json

# What a file is called until it is renamed to its place.
PART = ".part"
BUFFER_BYTES = 65536
MOST_SEARCHED_BYTES = 64 * 1024 * 1024


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

    The file is opened so that nobody can prepare it: a link is not followed, and a file that is there must be a regular one
    that belongs to this user and has no other name.

    Args:
        path: str; append: bool, whether to keep what is there; sync: bool, whether to write each line through.
        beside: bool, whether to write a file beside the path and rename it when it is closed.
        locked: bool, whether one process at a time may have it open.

    Raises:
        OSError: it cannot be written; ``strerror`` says why.
    """

    def __init__(self, path: str, append: bool, sync: bool, beside: bool = False, locked: bool = False) -> None:
        self._path = path
        self._open_path = path + PART if beside else path
        if beside:
            _check_place(path)
        self._handle = _opened(self._open_path, locked)
        try:
            os.fchmod(self._handle, 0o600)
            if not append:
                os.ftruncate(self._handle, 0)
            elif _is_cut(self._handle):
                # A run that was killed while it wrote: its half line stays one of its own.
                os.write(self._handle, b"\n")
        except OSError:
            os.close(self._handle)
            raise
        self._sync = sync
        self._lock = threading.Lock()
        self._waiting = bytearray()

    def existing(self) -> t.Iterator[str]:
        """The lines that are there already. Raises OSError, UnicodeDecodeError."""
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            for raw in file:
                yield raw.decode("utf-8")

    def write(self, line: Json, through: bool = True) -> None:
        """Add a line. Raises OSError, and then nothing of the line is in the file.

        Args:
            through: whether it must be on the disk before anything else happens, in a file that is written through.
        """
        raw = _encoded(mask(line))
        with self._lock:
            self._waiting += raw
            if self._sync:
                self._flush()
                if through:
                    os.fsync(self._handle)
            elif len(self._waiting) > BUFFER_BYTES:
                self._flush()

    def flush(self) -> None:
        """Write what waits. Raises OSError."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Write the rest, close, and move it to its place. Raises OSError."""
        with self._lock:
            try:
                self._flush()
            finally:
                try:
                    if self._open_path != self._path:
                        os.replace(self._open_path, self._path)
                finally:
                    os.close(self._handle)

    def _flush(self) -> None:
        """All of what waits, or nothing of it."""
        raw, self._waiting = bytes(self._waiting), bytearray()
        length = os.fstat(self._handle).st_size
        try:
            done = 0
            while done < len(raw):
                done += os.write(self._handle, raw[done:])
        except OSError:
            os.ftruncate(self._handle, length)
            raise


def _encoded(line: t.Any) -> bytes:
    """A line as bytes; whatever UTF-8 does not know is escaped."""
    try:
        return (json.dumps(line, ensure_ascii=False, sort_keys=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(line, sort_keys=False) + "\n").encode("ascii")


def _opened(path: str, locked: bool) -> int:
    """A handle of a file that is this user's own, locked where that is wanted."""
    while True:
        handle = _own_file(path)
        try:
            if not locked:
                return handle
            _lock(handle)
            # Whoever had it until now may have renamed it.
            there = os.stat(path, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (os.fstat(handle).st_dev, os.fstat(handle).st_ino):
                return handle
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            raise
        os.close(handle)


def _own_file(path: str) -> int:
    # A FIFO without a reader, and a device that waits, are refused at once.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", path) from None
        raise
    problem = _problem(os.fstat(handle))
    if problem:
        os.close(handle)
        raise OSError(errno.EINVAL, problem, path)
    return handle


def _check_place(path: str) -> None:
    """See that a file may be replaced. Raises OSError."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    problem = "it is a symbolic link" if stat.S_ISLNK(found.st_mode) else _problem(found)
    if problem:
        raise OSError(errno.EINVAL, problem, path)


def _problem(found: os.stat_result) -> str:
    """Why a file is not one that a run of this user has made; empty if it may be."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    return "it is a hard link to another file" if found.st_nlink > 1 else ""


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EAGAIN, f"another run{_whose(handle)} is using it") from None


def _whose(handle: int) -> str:
    """The process that has written the beginning of the latest run, in words; empty if that is not to be seen."""
    found = re.findall(rb'"pid": (\d+)', os.pread(handle, MOST_SEARCHED_BYTES, 0))
    return " (process %s)" % found[-1].decode("ascii") if found else ""


def _is_cut(handle: int) -> bool:
    """Whether the last line has no end."""
    length = os.fstat(handle).st_size
    return length > 0 and os.pread(handle, 1, length - 1) != b"\n"
