# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of authentik, of Google or of an event is evaluated as a template: through every module, role and playbook, in check mode
and for real, with much verbosity. `make compat` runs this with each ansible-core that the collection supports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.release import __version__ as core

from tests.sandbox.process import Sandbox
from tests.support.canary import DOMAIN, FORMS, Canary
from tests.support.playbook import keeping_results, kept_results, run_playbook
from tests.support.tree import ROOT

PLAYBOOKS = ROOT / "playbooks"
CANARY = ROOT / "tests" / "support" / "plays" / "canary.yml"
GROUP = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    with Canary() as canary:
        content = canary.dataset()
        dataset = tmp_path_factory.mktemp("canary") / "dataset.json"
        dataset.write_text(json.dumps(content))
        with sandboxes(dataset=dataset) as sandbox:
            sandbox.control("POST", "authentik/settings", {"licensed": True})
            yield sandbox, canary, content


@pytest.fixture
def hostile(running):
    sandbox, canary, content = running
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"licensed": True})
    yield sandbox, canary, content
    assert canary.evaluated() == []


def run(sandbox: Sandbox, playbook: Path, variables, check: bool, *arguments: str, **environment: str):
    """Run a playbook, which must come to its end, whether it fails or not.

    Args:
        variables: extra variables, or a file with them: many events are too long for a command line.
    """
    if isinstance(variables, Path):
        arguments, variables = ("-e", f"@{variables}", *arguments), {}
    reach = {
        "AUTHENTIK_URL": sandbox.authentik_url,
        "AUTHENTIK_TOKEN": sandbox.authentik_token,
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
        "ANSIBLE_PIPELINING": "1",
    }
    more = ["--check"] if check else []
    done = run_playbook(playbook, variables, "-vvv", "--diff", *more, *arguments, environment={**reach, **environment})
    assert "PLAY RECAP" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    return done


WRITING = ("POST", "PUT", "PATCH", "DELETE")
ERRORS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "authentik": [("authentik", "authentik_error", {"status": 400})],
    "Google": [("google", "google_error", {"status": 403})],
    "writes": [
        (side, fault, {"status": 400, "method": method})
        for side, fault in (("authentik", "authentik_error"), ("google", "google_error"))
        for method in WRITING
    ],
}
OFTEN = ("none", "writes")
RUNS = [("none", True), ("none", False), ("authentik", False), ("Google", True), ("writes", False)]


@pytest.mark.parametrize(
    ("errors", "check"),
    [
        pytest.param(name, check, marks=[] if name in OFTEN and not check else [pytest.mark.everything])
        for name, check in RUNS
    ],
    ids=[f"{name}-{'check' if check else 'real'}" for name, check in RUNS],
)
def test_through_every_module_and_use_of_what_they_return(hostile, tmp_path, errors, check):
    sandbox, canary, content = hostile
    for side, fault, which in ERRORS.get(errors, ()):
        sandbox.control("POST", f"{side}/faults", getattr(canary, fault)(**which))
    results = tmp_path / "results.jsonl"
    # A text that the operator marks as data: the name of a group.
    name = content["groups"][0]["name"]
    variables = tmp_path / "variables.yml"
    variables.write_text(f"canary_folder: {tmp_path}\ncanary_group: !unsafe {json.dumps(name)}\n")
    run(sandbox, CANARY, {}, check, "-e", f"@{variables}", **keeping_results(results))
    kept = kept_results(results)
    tasks = yaml.safe_load(CANARY.read_text())[0]["tasks"]
    modules = {next(key for key in task if key.startswith("dirsync.")) for task in tasks[0]["block"]}
    assert modules == {f"dirsync.authentik.{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py")}
    if (errors, check) == ("none", False):
        assert {item["task"] for item in kept} == {task["name"] for task in [*tasks[0]["block"], *tasks[1:]]}
    # The texts came through, to where they could be evaluated.
    mark = f"{canary.folder}/"
    shown = [item["task"] for item in kept if mark in json.dumps(item["result"])]
    assert {"Show all", "Show each in a text", "Assert something of failures", "Fail with messages"} <= set(shown)
    if not check:
        for file in ("facts", "template", "page", "json", "summary"):
            assert mark in (tmp_path / file).read_text(), file


def test_the_control_a_trusted_template_makes_its_mark(tmp_path):
    play = tmp_path / "play.yml"
    with Canary() as canary:
        text = canary.text("trusted")
        task = {"name": "Show", "ansible.builtin.debug": {"msg": text}}
        play.write_text(
            yaml.safe_dump([{"name": "Control", "hosts": "localhost", "gather_facts": False, "tasks": [task]}])
        )
        assert run_playbook(play, {}).returncode == 0
        assert canary.evaluated() == ["trusted (print)"]


@pytest.mark.skipif(
    not core.startswith("2.18."), reason="later ansible-core evaluates no strings inside of extra variables"
)
def test_the_control_2_18_evaluates_all_of_an_event_that_a_template_names(tmp_path):
    play = tmp_path / "play.yml"
    task = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ ansible_eda.event.payload.model.pk }}"}}
    play.write_text(yaml.safe_dump([{"name": "Control", "hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    with Canary() as canary:
        assert run_playbook(play, {"ansible_eda": {"event": canary.event("user", 6)}}).returncode == 0
        assert "event's name (print)" in canary.evaluated()


def wrong_keys(canary: Canary) -> list[Any]:
    """What is not the primary key of a user."""
    wrong: list[Any] = [canary.text("primary key", form) for form in FORMS]
    wrong += [f"6{canary.text('primary key')}", f"6\n{canary.text('primary key')}", [canary.text("primary key")]]
    return [*wrong, canary.structure("primary key"), None, True, 6.5, -6, 2**40, "6\n", "\u0666"]


def one_event(canary):
    return {"ansible_eda": {"event": canary.event("user", 6), **canary.structure("ansible_eda")}}


def one_wrong_event(canary):
    return {"ansible_eda": {"event": canary.event("user", canary.text("primary key"))}}


def several_events(canary):
    model = {"action": "model_updated", "model": {"app": canary.text("app"), "model_name": "user", "pk": 6}}
    events = {
        **{f"m_{number}": canary.event("user", pk) for number, pk in enumerate(wrong_keys(canary))},
        "g_0": canary.event("group", f"{GROUP}{canary.text('primary key')}"),
        "g_1": canary.event(canary.text("kind"), 6),
        "g_2": canary.text("event"),
        "g_3": {"payload": canary.text("payload")},
        "g_4": {"payload": {"action": "model_updated", "model": canary.text("model")}},
        "g_5": {"payload": {**model, "action": canary.text("action")}},
        "g_6": {"payload": model},
        canary.text("key of an event"): canary.event("user", 6),
        "m_99": canary.event("user", "7"),
    }
    return {"ansible_eda": {"events": events, "rule": canary.text("rule")}}


def given_objects(canary):
    entries = [f"{kind}:{pk}" for kind in ("user", "group") for pk in wrong_keys(canary)]
    return {"resync_objects": ["user:6", *entries, canary.structure("entry"), "user:7"], **one_wrong_event(canary)}


SHAPES = [(one_event, True, {"6"}), (one_wrong_event, False, set()), (several_events, False, {"6", "7"})]
SHAPES += [(given_objects, False, {"6", "7"})]


@pytest.mark.parametrize(("shape", "check", "synced"), SHAPES, ids=[item[0].__name__ for item in SHAPES])
def test_events_name_objects_and_nothing_else(hostile, tmp_path, shape, check, synced):
    sandbox, canary, _content = hostile
    variables = tmp_path / "extravars"
    given = {**shape(canary), "resync_provider_name": "canary", "resync_retries": 0, "resync_delay": 0}
    # The provider's own name is a text, too; this is what the operator would type.
    sandbox.control("PATCH", "authentik/providers/1", {"name": "canary"})
    variables.write_text(json.dumps(given))
    done = run(sandbox, PLAYBOOKS / "resync_on_change.yml", variables, check)
    asked = [item for item in sandbox.authentik_requests() if "/core/" in item["path"]]
    # Who else has the address of an account that is taken over is asked by that address, and by nothing from an event.
    users = {str(user["pk"]): user["email"] for user in sandbox.control("GET", "authentik/state")["users"]}
    searched = {item["query"]["search"] for item in asked if "search" in item["query"]}
    assert searched <= {users[pk] for pk in synced}
    read = {item["path"] for item in asked if "search" not in item["query"]}
    assert read == {f"/api/v3/core/users/{pk}/" for pk in synced}
    # Every event here has texts among its former members, which name nobody.
    assert done.returncode != 0 and "the event was not understood" in done.stdout


def test_the_group_of_an_event_has_members_with_texts(hostile):
    sandbox, canary, content = hostile
    sandbox.control("PATCH", "authentik/providers/1", {"name": "canary"})
    groups = {item["name"]: item["pk"] for item in sandbox.control("GET", "authentik/state")["groups"]}
    pk = groups[content["groups"][0]["name"]]
    event = {**canary.event("group", pk.replace("-", ""))}
    event["payload"]["former_members"] = [10]
    given = {"ansible_eda": {"event": event}, "resync_provider_name": "canary", "resync_retries": 0}
    done = run(sandbox, PLAYBOOKS / "resync_on_change.yml", given, False)
    assert done.returncode == 0, done.stdout[-3000:]
    made = {user["primaryEmail"] for user in sandbox.google_state()["users"]}
    assert {f"canary{number}@{DOMAIN}" for number in (0, 1, 4)} <= made
    # What authentik says of the members is read, and not shown.
    assert '"users_obj"' not in done.stdout


def test_a_group_with_more_members_than_the_limit(hostile):
    sandbox, canary, content = hostile
    sandbox.control("PATCH", "authentik/providers/1", {"name": "canary"})
    groups = {item["name"]: item["pk"] for item in sandbox.control("GET", "authentik/state")["groups"]}
    pk = groups[content["groups"][0]["name"]]
    given = {"resync_objects": f"group:{pk}", "resync_provider_name": "canary", "resync_members_limit": 1}
    done = run(sandbox, PLAYBOOKS / "resync_on_change.yml", given, False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"Group {pk} has more members than resync_members_limit (1)" in done.stdout
    assert '"users_obj"' not in done.stdout
    assert not [item for item in sandbox.authentik_requests() if item["path"].startswith("/api/v3/core/users/")]


# Playbook to the variables that it needs; a name that begins with @ is a file.
PLAYS: dict[str, dict[str, Any]] = {
    "sync_all": {"provider": "1", "state_dir": "@state", "fail_on_objects": True},
    "sync_sharded": {"provider": "1", "state_dir": "@state", "shard_count": 1, "shard_index": 0},
    "drift_report": {"provider": "1", "drift_report_path": "@page.html", "drift_report_fail_on_objects": True},
    "setup": {
        "google_workspace_setup_provider": {"name": "canary", "delegated_subject": f"admin@{DOMAIN}"},
        "google_workspace_setup_mappings": [
            {
                "name": "Notes",
                "expression": "return {'notes': user.name}",
                "test_against": [{"user": "6"}, {"user": "7"}],
            }
        ],
    },
    "demo": {"demo_user": "6", "demo_group": "@group", "demo_outsider": "11", "demo_robot": "12"},
}
PLAYED = [("sync_all", True), ("sync_all", False), ("sync_sharded", False), ("drift_report", False), ("setup", True)]
PLAYED += [("setup", False), ("demo", False)]


@pytest.mark.parametrize(
    ("play", "check"), PLAYED, ids=[f"{play}-{'check' if check else 'real'}" for play, check in PLAYED]
)
def test_through_the_playbooks(hostile, tmp_path, play, check):
    sandbox, canary, content = hostile
    variables = {
        name: str(tmp_path / value[1:]) if str(value).startswith("@") else value for name, value in PLAYS[play].items()
    }
    if play == "demo":
        groups = {item["name"]: item["pk"] for item in sandbox.control("GET", "authentik/state")["groups"]}
        variables.update(demo_group=groups[content["groups"][0]["name"]], demo_provider="canary")
    if play in ("demo", "setup"):
        # They want the provider by its name, which the operator would type.
        sandbox.control("PATCH", "authentik/providers/1", {"name": "canary"})
    key = {}
    if play == "setup":
        key["GCP_SERVICE_ACCOUNT_CONTENTS"] = Path(sandbox.service_account_file).read_text()
        key["GOOGLE_WORKSPACE_DELEGATED_SUBJECT"] = f"admin@{DOMAIN}"
    done = run(sandbox, PLAYBOOKS / f"{play}.yml", variables, check, **key)
    assert f"{canary.folder}/" in done.stdout, done.stdout[-3000:]
    if play == "drift_report":
        for file in ("page.html", "page.json"):
            assert f"{canary.folder}/" in (tmp_path / file).read_text()


def test_every_playbook_is_run_here():
    assert {path.stem for path in PLAYBOOKS.glob("*.yml")} == {*PLAYS, "resync_on_change"}
