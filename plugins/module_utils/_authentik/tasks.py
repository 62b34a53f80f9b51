# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The task behind a sync (2025.8 and later): found by its uid and time, and followed until it has ended."""

from __future__ import annotations

import datetime
import typing as t

from .._common import waiting
from .._common.kind import Kind
from .._common.types import Json
from .api import SYNC_ACTOR, Authentik, Version
from .errors import AuthentikError

ENDED = frozenset(("done", "rejected", "error"))
# The Date header knows whole seconds, and a proxy's clock may differ a little from the worker's.
CLOCK_SLACK_S = 2.0
# A task is stored before the endpoint begins to wait for it.
APPEARS_WITHIN_S = 5.0


class Task:
    """A task's state and lines.

    Attributes:
        state: str, authentik's word.
        lines: list of LogEvent dicts of the attempt that counts (the last).
        earlier: list of LogEvent dicts of attempts before it.
        retries: int.
        message_id: str.
        queued, touched: float, when it was queued and last changed, in seconds since 1970.
    """

    def __init__(self, data: Json) -> None:
        self.state = str(data.get("state") or "")
        # 2025.8 says messages, later servers say logs.
        self.lines = _dicts(data.get("logs") if "logs" in data else data.get("messages"))
        self.earlier = _dicts(data.get("previous_logs") if "previous_logs" in data else data.get("previous_messages"))
        self.retries = int(data.get("retries") or 0)
        self.uid = str(data.get("uid") or "")
        self.message_id = str(data.get("message_id") or "")
        times = sorted(filter(None, (seconds_of(line.get("timestamp")) for line in self.lines + self.earlier)))
        self.queued = times[0] if times else seconds_of(data.get("mtime")) or 0.0
        self.touched = max(times[-1] if times else 0.0, seconds_of(data.get("mtime")) or 0.0)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def phase(self) -> str:
        """Where an unfinished task stands: "queued", "running" or "being retried"."""
        if self.earlier or self.retries or any("will be retried" in str(line.get("event")) for line in self.lines):
            return "being retried"
        if any("is being processed" in str(line.get("event")) for line in self.lines):
            return "running"
        return "queued" if self.state == "queued" else "running"


class Found:
    """The outcome of a search: the task, or why there is none (``none``, ``ambiguous``)."""

    def __init__(self, task: Task | None, problem: str = "") -> None:
        self.task = task
        self.problem = problem


def find(
    authentik: Authentik, version: Version, provider: Json, kind: Kind, pk: str, since: float, ended_only: bool
) -> Found:
    """Find the task of our own call.

    Args:
        since: seconds since 1970 on the server's clock, before which the call cannot have been received.
        ended_only: the call was answered, so its task has ended.
    """
    if version.task_uid_names_object:
        search = f"{kind}:{pk}:manual"
        tails: tuple[str, ...] = (":" + search,)
    else:
        # The uid ends in provider, kind and page, and the object is not in it. Not even that is stored before an attempt
        # has ended: until then any sync of the provider could be ours.
        search = ""
        tails = (f":{kind}:1", SYNC_ACTOR)
    tasks = [Task(data) for data in authentik.sync_tasks(int(provider["pk"]), search)]
    fitting = [
        task
        for task in tasks
        if task.uid.endswith(tails) and task.queued >= since - CLOCK_SLACK_S and (task.ended or not ended_only)
    ]
    if not fitting:
        return Found(None, "none")
    fitting.sort(key=lambda task: task.queued, reverse=True)
    ours = fitting[0]
    # Earlier ones that had ended before ours began are former runs; one beside ours might be ours.
    if any(task.touched > ours.queued for task in fitting[1:]):
        return Found(None, "ambiguous")
    return Found(ours)


def follow(
    look: t.Callable[[], Found],
    deadline: float,
    longest_pause: float = 3.0,
) -> Found:
    """Look at a task until it has ended, cannot be told from another, or the deadline (waiting.now()) is over.

    A task that never appears is waited for only briefly. The pauses between the looks grow, to ``longest_pause`` seconds.
    """
    started = waiting.now()
    found = Found(None, "none")

    def ended() -> bool:
        nonlocal found
        try:
            found = look()
        except AuthentikError as exc:
            # authentik may be restarting; a refusal is final.
            if exc.kind not in ("network", "refused", "timeout", "server"):
                raise
            found = Found(None, "none")
        if found.task is not None:
            return found.task.ended
        return found.problem == "ambiguous" or waiting.now() - started > APPEARS_WITHIN_S

    waiting.poll(ended, deadline, 0.25, 1.5, longest_pause, shortest=0.05)
    return found


def unfinished(authentik: Authentik, version: Version, task: Task) -> str:
    """What to say of a task that had not ended when we gave up."""
    try:
        workers = authentik.worker_count(version)
        alive = (
            "no worker is running"
            if workers == 0
            else "%d worker%s running" % (workers, "s are" if workers > 1 else " is")
        )
    except AuthentikError:
        alive = "whether a worker is running cannot be seen with this token"
    return f"its task is still {task.phase} ({alive}), and may still run"


def _dicts(lines: t.Any) -> list[Json]:
    return [line for line in lines or [] if isinstance(line, dict)]


def seconds_of(text: t.Any) -> float | None:
    """An ISO 8601 timestamp, as authentik writes it, as seconds since 1970."""
    if not isinstance(text, str) or not text:
        return None
    try:
        # Python before 3.11 does not read a final Z.
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()
