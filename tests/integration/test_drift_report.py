# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role drift_report, by real ansible-playbook runs against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sandbox.process import Sandbox
from tests.support.drift import HOSTILE, LONG, dataset, document, drift, in_sync, report, sync

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    path = tmp_path_factory.mktemp("drift") / "dataset.json"
    path.write_text(json.dumps(dataset()))
    with sandboxes(dataset=path) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    in_sync(running)
    return running


def wrote(sandbox: Sandbox) -> list[tuple[str, str]]:
    """What could have changed something; asking authentik to evaluate a mapping, and Google for a token, cannot."""
    requests = [*sandbox.authentik_requests(), *sandbox.google_requests()]
    return [
        (item["method"], item["path"])
        for item in requests
        if item["method"] in WRITES and not item["path"].endswith("/test/") and item["path"] != "/token"
    ]


def test_drift_of_every_kind(sandbox, tmp_path):
    drift(sandbox)
    before = sandbox.google_state()
    expected = sync(sandbox, safety_limits={"suspensions": "5"}).result
    sandbox.clear_requests()
    page = tmp_path / "page.html"
    done = report(
        sandbox,
        page,
        {"drift_report_safety_limits": {"suspensions": "5"}, "drift_report_title": "Title <b>"},
        "-vvvv",
        "--diff",
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert wrote(sandbox) == []
    assert sandbox.google_state() == before
    found = document(page)
    assert found["counts"] == expected["counts"]
    for key in ("changes_total", "failed_total", "plan", "safety_limits", "mapping_evaluation", "code", "msg"):
        assert found[key] == expected[key], key
    assert (found["state"], found["drift"], found["complete"]) == ("drift", True, True)
    assert (found["title"], found["provider"]["name"]) == ("Title <b>", "gws <b>")
    assert found["authentik"] == sandbox.authentik_url
    assert found["options"]["membership"] == "exact"
    assert found["remarks"] == []
    told = {item["name"]: item["words"] for item in found["objects"]}
    assert told["person1"] == "would be updated: display name and given name differ"
    assert told["person2"] == "would be created: Google has no such account yet"
    assert told["person4"] == "would be updated: would be reactivated"
    assert told["person5"] == "would be suspended: deactivated in authentik (as its property mappings give it)"
    assert told["person6"].startswith("no longer synced, and left as it is: it is a service account")
    assert told["outsider"].startswith("cannot be synced: Invalid email domain: outsider@elsewhere.test.")
    assert told["team0"] == "would be updated: 1 member would be removed"
    assert told["team2"] == "would be updated: 1 member would be added; name differs"
    assert told["team3"] == "would be updated: 1 member would be added"
    assert set(HOSTILE) | {LONG.strip()} <= {name.strip() for name in told}
    # The files are for their owner only, the one in between is gone, and no secret is anywhere.
    assert sorted(item.name for item in tmp_path.iterdir() if not item.is_dir()) == ["page.html", "page.json"]
    assert {item.stat().st_mode & 0o777 for item in tmp_path.glob("page.*")} == {0o600}
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"].splitlines()[3]
    for text in (done.stdout + done.stderr, page.read_text(), page.with_suffix(".json").read_text()):
        assert sandbox.authentik_token not in text
        assert key not in text
    # Neither are the files printed, nor are names taken for templates.
    assert "<!DOCTYPE html>" not in done.stdout
    assert str(7 * 191) not in page.read_text().replace(sandbox.authentik_url, "")


def test_orphans_that_would_be_suspended_or_disconnected(sandbox, tmp_path):
    drift(sandbox)
    page = tmp_path / "page.html"
    assert (
        report(
            sandbox, page, {"drift_report_orphans": "apply", "drift_report_safety_limits": {"suspensions": "5"}}
        ).returncode
        == 0
    )
    told = {item["name"]: item["words"] for item in document(page)["objects"]}
    assert told["person6"].startswith("would be suspended: it is a service account")


def test_no_drift(sandbox, tmp_path):
    sandbox.control("DELETE", "authentik/users/outsider")
    page = tmp_path / "page.html"
    strict = {"drift_report_fail_on_drift": True, "drift_report_fail_on_objects": True}
    done = report(sandbox, page, strict)
    assert done.returncode == 0, done.stdout[-4000:]
    found = document(page)
    assert (found["state"], found["changes_total"], found["objects"]) == ("in_sync", 0, [])
    assert "Nothing would change." in found["headline"]
    assert "Nothing would change." in done.stdout
    # Only the two files are new.
    assert "changed=2 " in done.stdout


def test_check_mode_writes_the_report_too(sandbox, tmp_path):
    page = tmp_path / "page.html"
    assert report(sandbox, page, None, "--check").returncode == 0
    assert document(page)["complete"]
    assert [item.name for item in tmp_path.glob("drift_report.*")] == []


def test_drift_fails_the_play_where_that_is_wanted_and_the_page_is_there(sandbox, tmp_path):
    drift(sandbox)
    page = tmp_path / "page.html"
    variables = {
        "drift_report_fail_on_drift": True,
        "drift_report_safety_limits": {"suspensions": "5"},
        "drift_report_json_path": "",
    }
    done = report(sandbox, page, variables)
    assert done.returncode == 2
    assert "Fail if something would change" in done.stdout
    assert "failed=1 " in done.stdout
    assert page.exists()
    assert not page.with_suffix(".json").exists()


def test_failed_objects_fail_the_play_where_that_is_wanted(sandbox, tmp_path):
    page = tmp_path / "page.html"
    assert report(sandbox, page).returncode == 0
    found = document(page)
    assert (found["state"], found["failed_total"], found["drift"]) == ("attention", 1, False)
    done = report(sandbox, page, {"drift_report_fail_on_objects": True, "drift_report_fail_on_drift": True})
    assert done.returncode == 2
    assert "Fail if objects cannot be synced" in done.stdout
    assert "Invalid email domain: outsider@elsewhere.test" in done.stdout


def test_a_safety_limit_that_would_stop_a_sync_is_shown_with_the_plan(sandbox, tmp_path):
    drift(sandbox)
    page = tmp_path / "page.html"
    done = report(sandbox, page, {"drift_report_safety_limits": {"suspensions": "0"}})
    assert done.returncode == 0, done.stdout[-4000:]
    found = document(page)
    assert (found["state"], found["code"], found["drift"]) == ("stopped", "guard", True)
    assert found["safety_limits_exceeded"] == [
        "1 accounts would be suspended or archived (of 30), more than safety_limits.suspensions: 0 allows (0)"
    ]
    assert {"person1", "person2", "person5"} <= {item["name"] for item in found["objects"]}
    forced = report(sandbox, page, {"drift_report_safety_limits": {"suspensions": "0"}, "drift_report_force": True})
    assert forced.returncode == 0
    found = document(page)
    assert (found["state"], found["safety_limits_exceeded"]) == ("drift", [])
    assert [item["option"] for item in found["safety_limits"] if item["overridden"]] == ["suspensions"]


@pytest.mark.parametrize(
    ("fault", "variables", "said"),
    [
        (
            {"method": "GET", "path": r"/users(\?|$)", "status": 403, "reason": "forbidden", "times": -1},
            {},
            "google_",
        ),
        (None, {"provider": "no such provider"}, "authentik_not_found"),
        (None, {"drift_report_safety_limits": {"deletions": "many"}}, "invalid_option"),
        (None, {"drift_report_authentik_url": "http://127.0.0.1:9"}, "authentik_"),
    ],
)
def test_a_comparison_that_did_not_come_to_its_end_says_so_and_fails(sandbox, tmp_path, fault, variables, said):
    page = tmp_path / "page.html"
    page.write_text("yesterday's")
    if fault:
        sandbox.fault("google", **fault)
    done = report(sandbox, page, variables)
    assert done.returncode == 2, done.stdout[-3000:]
    assert "Fail if the comparison did not finish" in done.stdout
    found = document(page)
    assert (found["state"], found["complete"], found["drift"]) == ("incomplete", False, False)
    assert found["code"].startswith(said)
    assert found["msg"]
    assert "yesterday's" not in page.read_text()
    assert found["headline"] in page.read_text()


def test_a_listing_that_is_too_short_is_no_comparison(sandbox, tmp_path):
    for number in range(12):
        sandbox.control("DELETE", f"google/users/person{number}@corp.example.com")
    page = tmp_path / "page.html"
    done = report(sandbox, page)
    assert done.returncode == 2
    found = document(page)
    assert (found["state"], found["code"]) == ("incomplete", "guard")
    assert [item["option"] for item in found["safety_limits"] if item["exceeded"]] == ["missing"]


def test_a_page_that_cannot_be_written_fails_and_leaves_nothing(sandbox, tmp_path):
    done = report(sandbox, tmp_path / "no" / "such" / "page.html", {}, "-e", f"ansible_remote_tmp={tmp_path}/remote")
    assert done.returncode == 2
    assert "Write the page" in done.stdout
    assert list(tmp_path.glob("**/drift_report.*")) == []
