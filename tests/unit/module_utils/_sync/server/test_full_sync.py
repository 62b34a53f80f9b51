# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's full sync: which tasks are ours, and what their lines say of each object and page."""

from __future__ import annotations

import datetime
import types
import typing

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Version
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server import full_sync
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.full_sync import Page, ScheduledRun
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.task_report import TaskReport

START = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
PARENT = "authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync:gws"
PAGE = "authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync_objects:gws"
FAIL_ON = ("error", "warning")
USERS = ["5", "6", "7", "8", "9"]
TEAM = "c444dcdb-2744-5074-9370-83a9419def68"


def moment(seconds):
    return (START + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def line(event, level="info", seconds=0, **attributes):
    return {"timestamp": moment(seconds), "log_level": level, "logger": "x", "event": event, "attributes": attributes}


def refused(pk, name="somebody"):
    shown = {"pk": pk, "email": "x@elsewhere.test", "username": name}
    text = f"Failed to sync {name} due to error: Invalid email domain: x@elsewhere.test"
    return line(text, "warning", obj=shown, arguments=[])


# -- what the lines say -------------------------------------------------------------------------------------------


class Objects:
    """Five users and one group in scope."""

    in_scope = {"user": USERS, "group": [TEAM]}

    def page(self, kind, number, size):
        return self.in_scope[kind][(number - 1) * size : number * size]


BEGUN = line("Syncing page 1 or Users")
GROUPS = Page(GROUP, 1, [line("Syncing page 1 or Groups")], "done", [])


def read(*pages, crash=(), problem="", earlier=(), size=3, tells=True, lines=()):
    task = types.SimpleNamespace(earlier=list(earlier))
    run: typing.Any = types.SimpleNamespace(
        lines=list(lines), pages=list(pages), crash=list(crash), problem=problem, task=task, page_size=size
    )
    objects: typing.Any = Objects()
    return TaskReport(run, objects, FAIL_ON, tells)


def users(number, *lines, state="done", crash=()):
    return Page(USER, number, [line(f"Syncing page {number} or Users"), *lines], state, list(crash))


def test_nothing_bad_means_all_written():
    reading = read(users(1), users(2), GROUPS)
    assert (reading.failed, reading.pages, reading.doubtful) == ({}, [], set())
    assert all(reading.written("user", pk) for pk in USERS)


def test_an_object_is_named_by_its_line():
    team = {"pk": TEAM.replace("-", ""), "name": "Team", "model_name": "group", "app": "authentik_core"}
    group = Page(
        GROUP,
        1,
        [
            line("Syncing page 1 or Groups"),
            line("Failed to sync Group Team due to transient error: x", "warning", obj=team),
        ],
        "done",
        [],
    )
    reading = read(users(1, refused(6)), users(2), group)
    assert list(reading.failed) == [("user", "6"), ("group", TEAM)]
    assert reading.failed["user", "6"].reason == "Invalid email domain: x@elsewhere.test"
    assert reading.failed["user", "6"].fails_task
    assert not reading.written("user", "6")
    assert reading.written("user", "7")
    assert reading.doubtful == set()


def test_what_stops_a_page_leaves_the_rest_of_it_alone():
    stop = line(
        "Stopping sync due to error: Error , caused by b (mapping Google Workspace Provider Mapping zz)",
        "warning",
        obj={"pk": 6, "username": "b"},
    )
    reading = read(users(1, stop), users(2), GROUPS)
    assert list(reading.failed) == [("user", "6")]
    (page,) = reading.pages
    assert (page.name, page.objects, page.untouched) == ("page 1 of users", ["7"], True)
    assert reading.doubtful == {("user", "7")}


def test_a_page_that_did_not_begin_did_not_reach_google():
    silent = Page(
        USER, 2, [line("Task is being processed"), line("Task finished processing without errors")], "done", []
    )
    reading = read(users(1), silent, GROUPS)
    (page,) = reading.pages
    assert (page.failure.code, page.objects, page.untouched) == ("google_not_reached", ["8", "9"], True)
    # Servers before 2025.8 have no such line to miss.
    assert read(users(1), silent, GROUPS, tells=False).pages == []


@pytest.mark.parametrize("parent_crashed", [False, True])
def test_a_page_that_was_given_up_counts_whatever_became_of_its_parent(parent_crashed):
    """authentik has been seen to call a parent done although its pages had failed."""
    error = line('duplicate key value violates unique constraint "x"\nDETAIL:  Key (a)=(b) already exists.', "error")
    crash = [line("actor raised IntegrityError: duplicate key", "error")] if parent_crashed else []
    groups = [] if parent_crashed else [GROUPS]
    reading = read(users(1), users(2, error, state="crashed"), *groups, crash=crash)
    assert reading.pages[0].name == "page 2 of users"
    assert (reading.pages[0].objects, reading.pages[0].untouched) == (["8", "9"], False)
    assert reading.pages[0].failure.rows_stop
    assert [page.name for page in reading.pages[1:]] == (["groups"] if parent_crashed else [])
    assert all(page.failure.fails_task for page in reading.pages)
    assert not reading.written("user", "8")
    assert reading.written("user", "5")


def test_what_an_earlier_attempt_did_is_not_known():
    crash = [line("actor raised X: y", "error")]
    first = read(users(1), users(2), crash=crash)
    again = read(users(1), users(2), crash=crash, earlier=[line("Task is being processed")])
    assert [page.untouched for page in first.pages] == [True]
    assert [page.untouched for page in again.pages] == [False]


def test_a_page_that_does_not_show_is_not_taken_for_done():
    (page,) = read(users(1), GROUPS).pages
    assert (page.failure.code, page.objects, page.untouched) == ("page_missing", ["8", "9"], False)


def test_an_unfinished_sync_leaves_everything_open_that_was_not_done():
    waiting = users(2, state="unfinished", crash=[line("Object not found", "error")])
    reading = read(users(1), waiting, problem="unfinished")
    assert [(page.name, page.failure.code) for page in reading.pages] == [
        ("page 2 of users", "crashed"),
        ("groups", "not_finished"),
    ]
    assert reading.pages[0].failure.reason == "Object not found"


def test_a_traceback_is_told_by_its_last_line():
    text = "Traceback (most recent call last):\n  File x\nbuiltins.KeyError: 'address'"
    reading = read(crash=[line(text, "error")], tells=False)
    assert reading.crash.reason == "builtins.KeyError: 'address'"
    assert [(page.name, page.untouched) for page in reading.pages] == [("users", False), ("groups", False)]


def test_a_dry_run_is_read_request_by_request():
    held = line(
        "Dropping mutating request due to dry run",
        obj={"pk": 6, "username": "b"},
        method="PUT",
        url="https://admin.googleapis.com/admin/directory/v1/users/b%40example.com?alt=json",
        body='{"suspended": false, "password": "x"}',
    )
    reading = read(users(1, held), users(2), GROUPS)
    body = {"suspended": False}
    assert reading.dry_run == [
        ("user", "6", {"method": "PUT", "resource": "user", "key": "b@example.com", "body": body})
    ]


# -- which tasks are ours -----------------------------------------------------------------------------------------


class Authentik:
    """Stands for the API: full syncs come into being when the schedule is sent, as a test says."""

    def __init__(self, coming=(), known=(), pages=(), fails=None):
        self.tasks = list(known)
        self._coming = list(coming)
        self._pages = list(pages)
        self._fails = fails
        self.client = self

    def server_time(self, _local):
        return START.timestamp()

    def full_sync_schedule(self, _provider):
        return {"id": "s"}

    def send_schedule(self, _schedule):
        self.tasks = self._coming + self.tasks
        if self._fails is not None:
            raise self._fails

    def full_sync_tasks(self, _schedule):
        return self.tasks

    def task(self, message_id):
        return next(task for task in self.tasks if task["message_id"] == message_id)

    def full_sync_pages(self, _schedule):
        return iter(self._pages)


def parent(name, queued, state="done", ended=5.0, events=()):
    texts = ("Task has been queued", "Task is being processed", "Starting full provider sync", *events)
    logs = [line(text, seconds=queued) for text in texts]
    return {"message_id": name, "uid": PARENT, "state": state, "mtime": moment(ended), "logs": logs}


def page(name, queued, uid, state="done"):
    logs = [line("Task has been queued", seconds=queued), line("Syncing page 1 or Users", seconds=queued + 0.5)]
    return {"message_id": name, "uid": PAGE + uid, "state": state, "mtime": moment(queued + 1), "logs": logs}


def followed(monkeypatch, authentik):
    clock = types.SimpleNamespace(time=lambda: 0.0, monotonic=lambda: 0.0)
    monkeypatch.setattr(full_sync, "time", clock)
    monkeypatch.setattr(full_sync.tasklog, "APPEARS_WITHIN_S", -1.0)
    run = ScheduledRun(authentik, Version("2025.12.4"), {"pk": 1, "name": "gws"})
    run.prepare()
    run.start()
    run.follow(0.0)
    return run


def test_ours_is_the_new_one_queued_while_we_asked(monkeypatch):
    # One of before that ended just now, and one that somebody starts long after.
    authentik = Authentik([parent("ours", 0.5), parent("later", 9.0)], [parent("former", -0.5)])
    run = followed(monkeypatch, authentik)
    assert (run.task.message_id, run.problem, run.skipped) == ("ours", "", False)


@pytest.mark.parametrize(
    ("coming", "problem"),
    [([], "none"), ([parent("one", 0.5), parent("another", 0.7)], "ambiguous"), ([parent("old", -9.0)], "none")],
)
def test_no_guess(monkeypatch, coming, problem):
    run = followed(monkeypatch, Authentik(coming))
    assert (run.task, run.problem, run.lines) == (None, problem, [])


def test_its_pages_are_those_that_it_queued(monkeypatch):
    pages = [
        page("a2", 3.0, ":user:2"),
        page("a1", 2.0, ":user:1"),
        page("g1", 4.0, ":group:1"),
        # Of the sync before, still being retried when ours began.
        {**page("former", -3.0, ":user:1"), "mtime": moment(2.5)},
        page("long ago", -60.0, ":user:2"),
    ]
    run = followed(monkeypatch, Authentik([parent("ours", 0.5)], pages=pages))
    assert [(item.kind, item.number) for item in run.pages] == [("user", 1), ("user", 2), ("group", 1)]
    assert len(run.lines) == 3 + 2 * 3


def test_of_a_parent_that_was_retried_the_last_attempt_counts(monkeypatch):
    ours = parent("ours", 6.0, ended=20.0)
    ours["previous_logs"] = [
        line("Task has been queued", seconds=0.5),
        line("Task is being processed", seconds=0.6),
        line("actor raised X: y", "error", seconds=3),
    ]
    ours["logs"][0] = line("Task will be retried", seconds=3.1)
    pages = [page("second", 6.5, ":user:1"), page("first", 1.0, ":user:1", state="rejected")]
    run = followed(monkeypatch, Authentik([ours], pages=pages))
    assert [(item.number, item.state) for item in run.pages] == [(1, "done")]
    assert run.crash == []
    # What the first one said is told all the same.
    assert len(run.lines) == 3 + 3 + 2 * 2


def test_one_that_skipped_says_so(monkeypatch):
    ours = parent("ours", 0.5, events=("Synchronization is already running. Skipping.",))
    assert followed(monkeypatch, Authentik([ours])).skipped


def test_an_answer_that_got_lost_is_a_question_and_a_refusal_is_none(monkeypatch):
    lost = AuthentikError("server", "Bad Gateway", http_status=502, sent=True)
    run = followed(monkeypatch, Authentik([parent("ours", 0.5)], fails=lost))
    assert (run.task.message_id, run.question) == ("ours", lost)
    with pytest.raises(AuthentikError):
        followed(monkeypatch, Authentik(fails=AuthentikError("forbidden", "no")))


def test_a_page_that_crashed_without_a_word():
    """authentik's log may be cut off by then: it crashed all the same, and that fails the task."""
    found = read(Page(USER, 1, [], "crashed", []), Page(GROUP, 1, [], "done", []))
    (page,) = [item for item in found.pages if (item.kind, item.number) == ("user", 1)]
    assert (page.failure.code, page.failure.fails_task) == ("crashed", True)
    assert page.failure.reason == "it crashed, and its log does not say why"
    assert "worker log" in page.failure.remedy


@pytest.mark.parametrize(("problem", "code"), [("unfinished", "not_finished"), ("", "page_missing")])
def test_objects_that_a_sync_has_not_come_to_fail_it(problem, code):
    found = read(users(1), problem=problem)
    assert {page.kind for page in found.pages} == {"user", "group"}
    for page in found.pages:
        assert (page.failure.code, page.failure.fails_task) == (code, True)
