# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding our own task among others."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik import tasks as tasklog
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Version
from ansible_collections.dirsync.authentik.plugins.module_utils._common import waiting
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import USER

START = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
NEW, OLD = Version("2025.12.4"), Version("2025.8.6")
ACTOR = "authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync_objects"


def moment(seconds):
    return (START + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def task(
    name,
    queued,
    ended,
    uid="gws:user:6:manual",
    state="done",
    key="logs",
    events=("Task has been queued", "Task is being processed"),
):
    lines = [{"timestamp": moment(queued), "event": event, "log_level": "info"} for event in events]
    return {"message_id": name, "uid": f"{ACTOR}:{uid}", "state": state, "mtime": moment(ended), key: lines}


class Tasks:
    """Stands for the task list."""

    def __init__(self, *tasks):
        self.tasks = tasks

    def sync_tasks(self, provider, search):
        return [item for item in self.tasks if search in item["uid"]]


def find(*tasks, version=NEW, ended_only=True, since=0.0):
    api: Any = Tasks(*tasks)
    return tasklog.find(api, version, {"pk": 1}, USER, "6", START.timestamp() + since, ended_only)


def test_the_newest_of_our_object_is_ours():
    found = find(task("ours", 1, 2), task("former", -4, -3), task("other", 1, 2, uid="gws:user:16:manual"))
    assert found.task is not None
    assert found.task.queued == START.timestamp() + 1


def test_a_run_just_before_ours_does_not_confuse():
    assert find(task("ours", 1.2, 2), task("former", -0.5, 0.9)).task.queued == START.timestamp() + 1.2


def test_the_order_of_the_list_does_not_matter():
    ours, former = task("ours", 1.2, 2), task("former", -0.5, 0.9)
    for tasks in ((ours, former), (former, ours)):
        assert find(*tasks).task.queued == START.timestamp() + 1.2


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        ([], "none"),
        ([task("long ago", -60, -59)], "none"),
        ([task("still running", 1, 2, state="queued")], "none"),
        ([task("one", 1, 3), task("another", 1.5, 3)], "ambiguous"),
    ],
)
def test_no_guess(tasks, problem):
    found = find(*tasks)
    assert (found.task, found.problem) == (None, problem)


def test_the_older_server_does_not_name_the_object():
    ours = task("ours", 1, 2, uid="gws:user:1", key="messages")
    assert find(ours, version=OLD).task.lines
    assert (
        find(ours, task("another person's", 1.5, 3, uid="gws:user:1", key="messages"), version=OLD).problem
        == "ambiguous"
    )


def test_the_older_server_names_nothing_before_an_attempt_has_ended():
    running = {**task("ours", 1, 1, state="consumed", key="messages", events=("Task has been queued",)), "uid": ACTOR}
    former = task("former", -0.5, 0.5, uid="gws:user:1", key="messages")
    assert find(running, former, version=OLD, ended_only=False).task.state == "consumed"
    beside = task("another person's", 0.9, 3, uid="gws:user:1", key="messages")
    assert find(running, beside, version=OLD, ended_only=False).problem == "ambiguous"


@pytest.mark.parametrize(
    ("data", "phase"),
    [
        (task("a", 1, 1, state="queued", events=("Task has been queued",)), "queued"),
        (task("a", 1, 1, state="running"), "running"),
        ({**task("a", 1, 1, state="queued"), "retries": 1}, "being retried"),
        (task("a", 1, 1, state="consumed", key="messages", events=("Task will be retried",)), "being retried"),
    ],
)
def test_where_an_unfinished_task_stands(data, phase):
    found = tasklog.Task(data)
    assert not found.ended
    assert found.phase == phase


@pytest.mark.parametrize(("problem", "patience"), [("none", tasklog.APPEARS_WITHIN_S), ("ambiguous", 0.0)])
def test_a_task_that_does_not_appear_is_waited_for_briefly(monkeypatch, problem, patience):
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    found = tasklog.follow(lambda: tasklog.Found(None, problem), deadline=1000.0)
    assert (found.task, found.problem) == (None, problem)
    assert patience <= now[0] - 100.0 <= patience * 2


def test_following_ends_with_the_deadline():
    looks = []

    def look():
        looks.append(1)
        return tasklog.Found(tasklog.Task(task("a", 1, 1, state="running")))

    found = tasklog.follow(look, deadline=0.0)
    assert found.task is not None
    assert len(looks) == 1
