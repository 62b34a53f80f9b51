# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of Google's error table × every kind of request × both engines: what the result says, and what is true.

Each case is run with the answer given once and given for ever. The oracle knows nothing of the module: ``changed`` must say
whether the object at Google is another one than before; a result that is no failure must hold what authentik wants, or
call itself unconfirmed; ``operations`` must be among the writes that Google performed. For the direct engine the table
below says besides what a person would expect.
"""

from __future__ import annotations

import re
import time
import types
from dataclasses import dataclass
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common import waiting
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import TABLE
from tests.support.google import unvaried
from tests.support.module import reaching, run_module

USER, GROUP, ADDED, FOREIGN = (
    "ada.example",
    "engineering",
    "grace.example@corp.example.com",
    "ken.example@corp.example.com",
)


@dataclass(frozen=True)
class Fault:
    """An answer of Google's, and what the direct engine makes of it.

    ``once``, ``ever``: what a sync comes to that meets it once, or each time: "done" (what was asked), "failed" (the task
    fails, nothing of it was written), "unconfirmed" (the task fails after waiting). ``says``: in the message then.
    ``besides``: other outcomes for single operations, as {operation: (once, ever)}.
    """

    name: str
    fault: dict[str, Any]
    once: str
    ever: str
    says: str
    besides: dict[str, tuple[str, str]] | None = None


def google(status: int, reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"status": status, "reason": reason, **({"message": message} if message else {}), **more}


# A write whose answers are all lost is seen by a look; a read is nothing but its answer.
BLIND = {"read": ("done", "failed")}
FAULTS = [
    Fault("userRateLimitExceeded", google(403, "userRateLimitExceeded"), "done", "failed", "Too many requests"),
    Fault(
        "quotaExceeded", google(403, "quotaExceeded", "Request rate higher than configured."), "done", "failed", "quota"
    ),
    Fault(
        "quotaExceeded details",
        google(403, "RATE_LIMIT_EXCEEDED", shape="details"),
        "done",
        "failed",
        "Too many requests",
    ),
    Fault("429", google(429, "rateLimitExceeded", headers={"Retry-After": "3"}), "done", "failed", "Too many requests"),
    Fault("dailyLimitExceeded", google(403, "dailyLimitExceeded"), "failed", "failed", "quota for today"),
    Fault("503", google(503, "backendError"), "done", "failed", "try again later"),
    Fault("503 quota", google(503, "backendError", "Quota exceeded for now"), "done", "failed", "Too many requests"),
    Fault("500", google(500, "backendError"), "done", "failed", "try again later"),
    Fault("502", google(502, "backendError"), "done", "failed", "try again later"),
    Fault("504", google(504, "backendError"), "done", "failed", "try again later"),
    Fault("401", google(401, "authError"), "done", "failed", "access token was refused"),
    Fault("forbidden", google(403, "forbidden"), "failed", "failed", "delegated subject admin@corp.example.com"),
    Fault("scope", google(403, "insufficientPermissions"), "failed", "failed", "lacks a scope"),
    Fault(
        "scope details",
        google(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", shape="details"),
        "failed",
        "failed",
        "lacks a scope",
    ),
    Fault("disabled", google(403, "accessNotConfigured"), "failed", "failed", "Enable the Admin SDK"),
    Fault("limit", google(412, "limitExceeded"), "failed", "failed", "limit of this Google Workspace"),
    Fault(
        "404",
        google(404, "notFound", "Resource Not Found"),
        "failed",
        "failed",
        "Not Found|shows nobody",
        {
            "member_add": ("done", "unconfirmed"),
            "member_remove": ("done", "failed"),
            # Found by another key; or else made anew, which Google then refuses.
            "read": ("done", "unconfirmed"),
        },
    ),
    Fault(
        "404 foreign",
        {"status": 404, "body": "<html>", "content_type": "text/html"},
        "failed",
        "failed",
        "google_api_endpoint",
    ),
    Fault(
        "409",
        google(409, "duplicate", "Entity already exists."),
        "done",
        "unconfirmed",
        "already exists|shows nobody",
        {
            "member_add": ("unconfirmed", "unconfirmed"),
            "member_remove": ("failed", "failed"),
            "read": ("failed", "failed"),
        },
    ),
    Fault(
        "409 conflict",
        google(409, "conflict", "Conflict"),
        "failed",
        "failed",
        "Conflict",
        {"member_add": ("unconfirmed", "unconfirmed"), "member_remove": ("unconfirmed", "unconfirmed")},
    ),
    Fault(
        "412 not complete",
        google(412, "conditionNotMet", "User creation is not complete"),
        "done",
        "unconfirmed",
        "not complete",
        {
            "user_create": ("failed", "failed"),
            "group_create": ("failed", "failed"),
            "member_remove": ("failed", "failed"),
            "read": ("failed", "failed"),
        },
    ),
    Fault("412 cyclic", google(412, "conditionNotMet", "Cyclic memberships not allowed"), "failed", "failed", "Cyclic"),
    Fault("412", google(412, "conditionNotMet", "Precondition"), "failed", "failed", "Precondition"),
    Fault(
        "400", google(400, "invalid", "Invalid Input: primaryEmail"), "failed", "failed", "Invalid Input: primaryEmail"
    ),
    Fault("400 disguised", google(400, "invalid", "A system error has occurred"), "done", "failed", "system error"),
    Fault("performed, then 503", google(503, "backendError", when="after"), "done", "done", "later", BLIND),
    Fault("performed, then dropped", {"drop": True, "when": "after"}, "done", "done", "out of reach", BLIND),
    Fault("performed, then cut off", {"truncate": 20, "when": "after"}, "done", "done", "cut off|out of reach", BLIND),
    Fault("dropped", {"drop": True}, "done", "failed", "out of reach"),
]

OPERATIONS = {
    "user_create": ("POST", r"/users(\?|$)"),
    "user_update": ("PUT", "/users/"),
    "group_create": ("POST", r"/groups(\?|$)"),
    "group_update": ("PUT", "/groups/"),
    "member_add": ("POST", "/members"),
    "member_remove": ("DELETE", "/members/"),
    "read": ("GET", "/users/"),
}
PERFORMED = {
    ("user", "POST"): r"/users$",
    ("user", "PUT"): "/users/",
    ("group", "POST"): "/groups$",
    ("group", "PUT"): "/groups/[^/]+$",
    ("member", "POST"): "/members$",
    ("member", "DELETE"): "/members/",
}


def test_every_row_of_the_table_is_in_the_matrix():
    def fits(row, fault):
        reasons = not row.reasons or fault.get("reason") in row.reasons
        return reasons and row.status in (None, fault.get("status"))

    for row in TABLE:
        assert [item.name for item in FAULTS if fits(row, item.fault)], row


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    with sandboxes(answer_ms=2000) as running:
        yield running


@pytest.fixture
def no_waiting(monkeypatch):
    """Waiting costs next to no time here; how long it would have been is not what is asked."""
    clock = types.SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.02)), monotonic=time.monotonic)
    monkeypatch.setattr(waiting, "time", clock)


def call(sandbox, kind, name, engine="direct", **more):
    return run_module(
        {
            **reaching(sandbox),
            "sync_object_model": kind,
            "sync_object_id": name,
            "engine": engine,
            **more,
        }
    )


@pytest.fixture(scope="module")
def in_sync():
    """What a test left in sync on both sides, for the next one: nothing, or what NEEDED names."""
    return set()


# What an operation finds in sync.
NEEDED = {
    "user_create": (),
    "group_create": (),
    "user_update": (("user", USER),),
    "read": (("user", USER),),
    "group_update": (("group", "empty"),),
    **dict.fromkeys(
        ("member_add", "member_remove"),
        (*(("user", name) for name in (USER, "grace.example", "linus.example", "ken.example")), ("group", GROUP)),
    ),
}


def prepare(sandbox, operation, in_sync):
    """Bring both sides to where the operation is the one thing to do; returns kind and name of the object."""
    needed = NEEDED[operation]
    if not needed or in_sync != set(needed):
        sandbox.reset()
        sandbox.control("POST", "authentik/settings", {"retry_ms": 10, "signals": False})
        for kind, name in needed:
            assert call(sandbox, kind, name).result["status"] == "synced"
    in_sync.clear()
    if operation in ("user_create", "group_create"):
        return ("user", USER) if operation == "user_create" else ("group", "empty")
    if operation in ("user_update", "read"):
        if operation == "user_update":
            sandbox.control("PATCH", f"google/users/{USER}@corp.example.com", {"name": {"givenName": "Adah"}})
        return "user", USER
    if operation == "group_update":
        sandbox.control("PATCH", "google/groups/empty@corp.example.com", {"name": "Full"})
        return "group", "empty"
    members = f"google/groups/{GROUP}@corp.example.com/members"
    if operation == "member_add":
        sandbox.control("DELETE", f"{members}/{ADDED}")
    else:
        sandbox.control("POST", members, {"email": FOREIGN})
    return "group", GROUP


def wanted(state, operation):
    """Whether Google holds what was asked for."""
    users = {item["primaryEmail"]: item for item in state["users"]}
    groups = {item["email"]: item for item in state["groups"]}
    if operation in ("user_create", "user_update", "read"):
        person = users.get(f"{USER}@corp.example.com")
        return person is not None and person["name"]["givenName"] == "Ada"
    if operation in ("group_create", "group_update"):
        return "empty@corp.example.com" in groups and groups["empty@corp.example.com"]["name"] == "empty"
    members = {item["email"] for item in groups[f"{GROUP}@corp.example.com"]["members"]}
    return ADDED in members and FOREIGN not in members


def check_claims(sandbox, run, before, operation):
    """What holds for whatever engine."""
    result, after = run.result, sandbox.google_state()
    really = unvaried(before) != unvaried(after)
    assert result["changed"] == really or result["basis"] == "assumed", (result, run.warnings)
    if result["basis"] == "assumed":
        assert run.warnings or run.failed
    if result["status"] in ("synced", "unchanged"):
        assert wanted(after, operation)
        assert not run.failed
    else:
        assert run.failed or run.warnings
    written = [(item["method"], item["path"]) for item in sandbox.google_requests() if item["method"] != "GET"]
    for item in result["operations"]:
        if item["resource"] != "connection" and item["method"]:
            pattern = PERFORMED[item["resource"], item["method"]]
            assert [1 for method, path in written if method == item["method"] and re.search(pattern, path)], item
    assert bool(result["changes"]) == result["changed"] or result["basis"] == "assumed"
    return really


DIRECT = [
    pytest.param(fault, operation, times, id=f"{fault.name}-{operation}-{'once' if times == 1 else 'ever'}")
    # One operation after the other, so that what it needs is there already.
    for operation in OPERATIONS
    for fault in FAULTS
    for times in (1, -1)
]


@pytest.mark.parametrize(("fault", "operation", "times"), DIRECT)
def test_direct(sandbox, no_waiting, in_sync, fault, operation, times):
    kind, name = prepare(sandbox, operation, in_sync)
    before = sandbox.google_state()
    sandbox.clear_requests()
    method, path = OPERATIONS[operation]
    sandbox.fault("google", **{**fault.fault, "method": method, "path": path, "times": times})
    run = call(sandbox, kind, name, membership="exact" if kind == "group" else "add")
    sandbox.control("DELETE", "google/faults")
    really = check_claims(sandbox, run, before, operation)
    expected = (fault.besides or {}).get(operation, (fault.once, fault.ever))[0 if times == 1 else 1]
    result = run.result
    said = (result["status"], result["changed"], result.get("msg"), result["messages"])
    if expected == "done":
        assert result["status"] == ("unchanged" if operation == "read" else "synced"), said
        assert not run.failed
        assert really == (operation != "read")
        in_sync.update(NEEDED[operation])
        return
    assert run.failed, said
    assert result["status"] == expected, said
    assert not really
    assert re.search(fault.says, result["msg"]), said
    assert result["messages"][-1]["log_level"] == "error"
    # Once the fault is over, the next run does what was asked.
    healed = call(sandbox, kind, name, membership="exact" if kind == "group" else "add")
    assert healed.result["status"] == ("unchanged" if operation == "read" else "synced")
    assert wanted(sandbox.google_state(), operation)
    in_sync.update(NEEDED[operation])


SERVER = [
    pytest.param(fault, operation, times, id=f"{fault.name}-{operation}-{'once' if times == 1 else 'ever'}")
    for operation in OPERATIONS
    if operation != "member_remove"
    for fault in FAULTS
    for times in (1, -1)
]


@pytest.mark.parametrize(("fault", "operation", "times"), SERVER)
def test_server(sandbox, no_waiting, in_sync, fault, operation, times):
    kind, name = prepare(sandbox, operation, in_sync)
    before = sandbox.google_state()
    sandbox.clear_requests()
    method, path = OPERATIONS[operation]
    sandbox.fault("google", **{**fault.fault, "method": method, "path": path, "times": times})
    run = call(sandbox, kind, name, engine="server", sync_timeout=5, google_wait=1)
    sandbox.control("DELETE", "google/faults")
    check_claims(sandbox, run, before, operation)
