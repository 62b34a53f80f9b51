# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listings that fail, come back short or empty, or trail behind: nothing is destroyed or made twice because of them."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.truth.whole import DOMAIN, Whole

# So many that every list has three pages: 500 users, 200 groups and members a page at Google, 100 in authentik.
PEOPLE, GROUPS, OTHER_USERS, OTHER_GROUPS = 210, 205, 900, 250
PAGES = (1, 2, 3)
GOOGLE_ANSWERS: dict[str, dict[str, Any]] = {
    "503": {"status": 503, "reason": "backendError"},
    "403": {"status": 403, "reason": "forbidden"},
    "cut off": {"truncate": 100, "when": "after"},
    "no object": {"body": "[]", "content_type": "application/json"},
    "dropped": {"drop": True},
}
AUTHENTIK_ANSWERS: dict[str, dict[str, Any]] = {
    "502": {"status": 502, "body": "<html>", "content_type": "text/html"},
    "403": {"status": 403},
    "404": {"status": 404},
    "cut off": {"truncate": 100, "when": "after"},
    "no list": {"body": "{}", "content_type": "application/json"},
    "dropped": {"drop": True},
}
AUTHENTIK_LISTS = ("core/users/", "core/groups/", "google_workspace_users/", "google_workspace_groups/")


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    names = {"givenName": "Some", "familyName": "Body"}
    people = [f"person-{number:03}" for number in range(PEOPLE)]
    dataset = {
        "domain": DOMAIN,
        "users": [{"username": name, "name": "Person Example", "email": f"{name}@{DOMAIN}"} for name in people],
        "groups": [{"name": f"group-{number:03}", "members": [people[number]]} for number in range(GROUPS)]
        + [{"name": "everybody", "members": people}],
        "google": {
            "users": [{"primaryEmail": f"other-{n}@{DOMAIN}", "name": names} for n in range(OTHER_USERS)],
            "groups": [{"email": f"other-group-{n}@{DOMAIN}"} for n in range(OTHER_GROUPS)],
        },
    }
    folder = tmp_path_factory.mktemp("listings")
    path = folder / "dataset.json"
    path.write_text(json.dumps(dataset))
    with sandboxes(dataset=path) as sandbox:
        whole = Whole(sandbox, folder)
        whole.control("POST", "authentik/settings", {"signals": False})
        whole.converged(membership="exact")
        yield whole


@pytest.fixture
def whole(running):
    """Everything in sync but for one person, one group and one member on each side: there would be something to write."""
    running.calm()
    running.control("PATCH", f"google/users/person-000@{DOMAIN}", {"name": {"givenName": "Drifted"}})
    running.control("PATCH", f"google/groups/group-000@{DOMAIN}", {"name": "Drifted"})
    running.control("POST", f"google/groups/group-001@{DOMAIN}/members", {"email": f"admin@{DOMAIN}"})
    return running


def stopped(whole, **options):
    """A run that must end before any write, whatever it was going to do."""
    whole.quiet = False
    before = whole.sandbox.google_state()
    run = whole.sync(membership="exact", orphans="apply", **options)
    assert run.failed
    assert not run.result["changed"]
    assert run.result["basis"] == "nothing_sent"
    assert whole.sandbox.google_state() == before
    for side in (whole.sandbox.google_requests(), whole.sandbox.authentik_requests()):
        assert {item["method"] for item in side if item["path"] != "/token" and "/test/" not in item["path"]} <= {"GET"}
    return run.result


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["users", "groups"])
@pytest.mark.parametrize("answer", GOOGLE_ANSWERS)
def test_a_page_of_google_that_fails_ends_the_run(whole, kind, page, answer):
    whole.sandbox.fault("google", **GOOGLE_ANSWERS[answer], method="GET", path=rf"/{kind}\?", skip=page - 1, times=-1)
    result = stopped(whole)
    assert f"list the {kind} at Google" in result["msg"]


@pytest.mark.parametrize(
    ("answer", "page"), [*((answer, 2) for answer in AUTHENTIK_ANSWERS), *(("502", page) for page in (1, 3))]
)
@pytest.mark.parametrize("listed", AUTHENTIK_LISTS)
def test_a_page_of_authentik_that_fails_ends_the_run(whole, listed, page, answer):
    whole.sandbox.fault(
        "authentik", **AUTHENTIK_ANSWERS[answer], method="GET", path=rf"{listed}\?.*page={page}(&|$)", times=-1
    )
    stopped(whole)


def page_of(whole, listed, number):
    """A page as authentik gives it."""
    prefix = "" if listed.startswith("core/") else "providers/"
    address = f"{whole.sandbox.authentik_url}/api/v3/{prefix}{listed}?page={number}&page_size=100&ordering=pk&include_users=false"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {whole.token}"})
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("listed", AUTHENTIK_LISTS)
def test_a_page_of_authentik_that_lacks_entries_ends_the_run(whole, listed, page):
    body = page_of(whole, listed, page)
    body["results"] = body["results"][:-1]
    whole.sandbox.fault("authentik", body=body, method="GET", path=rf"{listed}\?.*page={page}(&|$)", times=-1)
    result = stopped(whole)
    assert "announced" in result["msg"]


@pytest.mark.parametrize("listed", ["core/users/", "core/groups/"])
def test_a_list_of_authentik_that_is_empty_stops_the_run(whole, listed):
    body = page_of(whole, listed, 1)
    body["results"] = []
    body["pagination"].update(next=0, count=0, total_pages=1)
    whole.sandbox.fault("authentik", body=body, method="GET", path=rf"{listed}\?", times=-1)
    result = stopped(whole)
    assert result["code"] == "guard"
    assert "authentik lists no" in result["msg"]


def hide(whole, number):
    """authentik lists so many people less, as it does for somebody who may not see all of them."""
    body = page_of(whole, "core/users/", 1)
    hidden = body["results"][-number:]
    body["results"] = body["results"][:-number]
    body["pagination"]["count"] -= number
    whole.sandbox.fault("authentik", body=body, method="GET", path=r"core/users/\?.*page=1(&|$)", times=-1)
    for page in (2, 3):
        rest = page_of(whole, "core/users/", page)
        rest["pagination"]["count"] -= number
        whole.sandbox.fault("authentik", body=rest, method="GET", path=rf"core/users/\?.*page={page}(&|$)", times=-1)
    return hidden


def test_a_list_of_authentik_that_shows_much_less_stops_the_run(whole):
    hide(whole, 60)
    result = stopped(whole)
    assert result["code"] == "guard"
    assert "60 connected users are missing in authentik's listing" in result["msg"]


@pytest.mark.parametrize("readable", [True, False])
def test_whom_authentik_does_not_list_is_no_orphan(whole, readable):
    hidden = hide(whole, 5)
    if not readable:
        whole.sandbox.fault("authentik", status=404, method="GET", path=r"core/users/\d+/", times=-1)
    before = whole.sandbox.google_state()
    run = whole.call(membership="add", orphans="apply")
    after = whole.sandbox.google_state()
    assert [item["id"] for item in before["users"]] == [item["id"] for item in after["users"]]
    assert not [item for item in after["users"] if item["suspended"]]
    assert run.result["counts"]["users"]["deleted"] == run.result["counts"]["users"]["suspended"] == 0
    assert run.result["counts"]["users"]["unlinked"] == 0
    told = {item["pk"]: item["why"] for item in run.result["orphans"]}
    if readable:
        assert told == {}
    else:
        assert set(told) == {str(item["pk"]) for item in hidden}
        assert {item["action"] for item in run.result["orphans"]} == {None}
        assert all("does not show it" in why for why in told.values())
    # Their groups are not known as a whole, and so not synced.
    assert {item["code"] for item in run.result["failed_objects"]} == {"authentik_json"}
    for side in ("google", "authentik"):
        whole.control("DELETE", f"{side}/faults")
    whole.converged(membership="exact")


@pytest.mark.parametrize(("kind", "pages"), [("users", 1), ("groups", 0)])
def test_a_list_of_google_that_ends_early_stops_the_run(whole, kind, pages):
    whole.sandbox.fault("google", body={kind: []}, method="GET", path=rf"/{kind}\?", skip=pages, times=-1)
    result = stopped(whole)
    assert result["code"] == "guard"
    assert f"connected {kind} are missing in Google's listing" in result["msg"]
    assert "safety_limits.missing" in result["msg"]


def test_a_list_of_google_that_is_empty_stops_the_run(whole):
    whole.sandbox.fault("google", body={"kind": "admin#directory#users"}, method="GET", path=r"/users\?", times=-1)
    assert "Google lists no user at all" in stopped(whole)["msg"]


def test_forced_beyond_a_short_list_nothing_is_made_twice(whole):
    whole.sandbox.fault("google", body={"users": []}, method="GET", path=r"/users\?", skip=1, times=-1)
    whole.quiet = False
    run = whole.sync(membership="exact", force=True)
    assert run.result["status"] == "synced", run.result
    assert run.result["counts"]["users"]["created"] == 0
    assert run.result["counts"]["users"]["updated"] == 1
    assert [text for text in run.warnings if "force is set" in text]


@pytest.mark.parametrize("answer", GOOGLE_ANSWERS)
def test_members_that_cannot_be_read_fail_their_group_alone(whole, answer):
    state = whole.sandbox.google_state()
    group = next(item for item in state["groups"] if item["email"] == f"everybody@{DOMAIN}")
    # The second page of the members of the one group that has two.
    whole.sandbox.fault(
        "google", **GOOGLE_ANSWERS[answer], method="GET", path=rf"/groups/{group['id']}/members\?.*pageToken", times=-1
    )
    whole.quiet = False
    run = whole.sync(membership="exact")
    assert [item["name"] for item in run.result["failed_objects"]] == ["everybody"]
    assert run.result["counts"]["users"]["updated"] == 1
    assert run.result["counts"]["groups"]["members_removed"] == 1


# Lag


def test_what_is_not_listed_yet_is_not_made_twice(whole):
    whole.converged(membership="exact")
    whole.control("POST", "google/settings", {"lag_ms": 1500})
    whole.control("POST", "authentik/users", {"username": "new", "name": "New Body", "email": f"new@{DOMAIN}"})
    whole.control("POST", "authentik/groups/group-002/members", {"username": "new"})
    first = whole.sync(membership="exact")
    assert first.result["counts"]["users"]["created"] == 1
    assert first.result["counts"]["groups"]["members_added"] == 1
    second = whole.sync(membership="exact")
    assert second.result["status"] == "unchanged", second.result
    # Groups alone: whoever is not listed is asked for before being called without an account.
    groups = whole.sync(models=["group"], membership="exact")
    assert groups.result["status"] == "unchanged"
    assert groups.result["counts"]["groups"]["members_skipped"] == 0
    assert [item for item in whole.sandbox.google_state()["users"] if item["primaryEmail"] == f"new@{DOMAIN}"]
    whole.control("DELETE", "authentik/users/new")
    whole.control("DELETE", f"google/users/new@{DOMAIN}")


def test_a_group_that_is_not_ready_is_unconfirmed_and_then_done(whole):
    whole.converged(membership="exact")
    whole.control("POST", "google/settings", {"lag_ms": 60_000})
    whole.control("POST", "authentik/groups", {"name": "fresh", "members": ["person-000", "person-001"]})
    first = whole.sync(membership="exact")
    assert first.failed
    assert first.result["counts"]["groups"]["unconfirmed"] == 1
    assert first.result["changes"][0]["action"] == "created"
    second = whole.sync(membership="exact")
    assert second.result["counts"]["groups"]["created"] == 0
    whole.control("POST", "google/settings", {"lag_ms": 0})
    third = whole.converged(membership="exact")
    assert third.result["counts"]["groups"]["members_added"] == 2
    assert len([item for item in whole.sandbox.google_state()["groups"] if item["name"] == "fresh"]) == 1
