# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook, run by the real ansible-rulebook, against the webhooks that the sandbox's authentik sends."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.sandbox.process import Sandbox
from tests.support.module import PREFIXES
from tests.support.tree import ROOT
from tests.support.venvs import environment

PAGE = ROOT / "docs" / "events.md"
TOKEN = "a-long-random-token"
STARTS_WITHIN_S = 90
SYNCS_WITHIN_S = 60
RETRIES = 2


def java() -> int:
    """The version of Java on this machine, or 0."""
    if not shutil.which("java"):
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


pytestmark = pytest.mark.skipif(
    java() < 17, reason=f"ansible-rulebook needs Java 17 or later; here: {java() or 'none'}"
)


def mappings() -> list[str]:
    """The webhook mappings of the documentation: the body's and the headers'."""
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, seconds=SYNCS_WITHIN_S):
    """Wait for something to be so; returns whether it came to be."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


class Rulebook:
    """ansible-rulebook under way, with its output."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        requirements = ["-r", str(ROOT / "tests" / "requirements-events.txt"), "-r", str(ROOT / "requirements.txt")]
        programs = environment("events", requirements)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/authentik"
        self.log = folder / "log.txt"
        variables = folder / "vars.yml"
        given = {
            "webhook_token": TOKEN,
            "webhook_port": self.port,
            "provider_name": "gws",
            "retries": RETRIES,
            "delay": 1,
        }
        variables.write_text(json.dumps(given))
        inventory = folder / "inventory.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": str(programs / "python")}
        inventory.write_text(json.dumps({"all": {"hosts": {"localhost": host}}}))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
        self.process = subprocess.Popen(
            [
                *(programs / "ansible-rulebook", "--rulebook", "dirsync.authentik.resync_on_change"),
                *("--inventory", inventory, "--vars", variables),
            ],
            cwd=folder,
            env={
                **kept,
                "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
                "AUTHENTIK_URL": sandbox.authentik_url,
                "AUTHENTIK_TOKEN": sandbox.authentik_token,
                "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"),
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
            },
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        if not until(self.listening, STARTS_WITHIN_S):
            self.end()
            raise RuntimeError(f"ansible-rulebook did not start:\n{self.said()}")

    def listening(self) -> bool:
        try:
            urllib.request.urlopen(self.url)
        except urllib.error.HTTPError as exc:
            return exc.code == 401
        except OSError:
            return False
        return True

    def said(self) -> str:
        return self.log.read_text()

    def runs(self) -> int:
        """How many playbooks came to their end."""
        return self.said().count("PLAY RECAP")

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Sandbox() as sandbox:
        rulebook = Rulebook(sandbox, tmp_path_factory.mktemp("rulebook"))
        yield sandbox, rulebook
        rulebook.end()


@pytest.fixture
def both(running):
    sandbox, rulebook = running
    sandbox.reset()
    return sandbox, rulebook


def notify(sandbox, url, headers=None):
    body, default = mappings()
    sandbox.control(
        "POST", "authentik/webhooks", {"url": url, "mapping_body": body, "mapping_headers": headers or default}
    )


def save(sandbox, method, path, body):
    """What somebody does in authentik, by its API."""
    request = urllib.request.Request(
        f"{sandbox.authentik_url}/api/v3/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {sandbox.authentik_token}", "Content-Type": "application/json"},
        method=method,
    )
    urllib.request.urlopen(request)


def names(sandbox):
    return {user["primaryEmail"].split("@")[0]: user["name"]["fullName"] for user in sandbox.google_state()["users"]}


def group_pk(sandbox, name):
    return next(item["pk"] for item in sandbox.control("GET", "authentik/state")["groups"] if item["name"] == name)


def statuses(sandbox):
    return [item["status"] for item in sandbox.control("GET", "authentik/webhooks")]


def test_changes_are_joined_and_the_last_one_counts(both):
    sandbox, rulebook = both
    notify(sandbox, rulebook.url)
    before = rulebook.runs()
    begun = time.monotonic()
    for name in ("Ada One", "Ada Two", "Ada Three"):
        save(sandbox, "PATCH", "core/users/6/", {"name": name})
    save(sandbox, "PATCH", "core/users/7/", {"name": "Grace Two"})
    assert until(lambda: rulebook.runs() > before), rulebook.said()[-3000:]
    assert time.monotonic() - begun < SYNCS_WITHIN_S
    assert names(sandbox)["ada.example"] == "Ada Three"
    assert names(sandbox)["grace.example"] == "Grace Two"
    assert statuses(sandbox) == [200] * 4
    created = [
        item for item in sandbox.google_requests() if item["method"] == "POST" and item["path"].endswith("/users")
    ]
    assert len(created) == 2
    assert rulebook.runs() == before + 1
    assert TOKEN not in rulebook.said() and sandbox.authentik_token not in rulebook.said()


def test_a_group_that_got_a_member(both):
    sandbox, rulebook = both
    notify(sandbox, rulebook.url)
    before = rulebook.runs()
    pk = group_pk(sandbox, "empty")
    save(sandbox, "PATCH", "core/users/6/", {"name": "Ada Example"})
    save(sandbox, "POST", f"core/groups/{pk}/add_user/", {"pk": 6})
    assert until(lambda: rulebook.runs() > before), rulebook.said()[-3000:]
    (group,) = [item for item in sandbox.google_state()["groups"] if item["name"] == "empty"]
    assert [member["email"] for member in group["members"]] == ["ada.example@corp.example.com"]


def test_who_does_not_send_the_token_changes_nothing(both):
    sandbox, rulebook = both
    before = rulebook.runs()
    notify(sandbox, rulebook.url, 'return {"Authorization": "Bearer something else"}')
    notify(sandbox, rulebook.url, "return {}")
    save(sandbox, "PATCH", "core/users/6/", {"name": "Ada Two"})
    assert until(lambda: statuses(sandbox) == [401, 401])
    time.sleep(5)
    assert rulebook.runs() == before
    assert "ada.example" not in names(sandbox)


def test_a_failure_is_repeated_until_it_works(both):
    sandbox, rulebook = both
    notify(sandbox, rulebook.url)
    before = rulebook.runs()
    refusal = {"method": "GET", "path": "core/users/6/", "status": 403, "body": '{"detail": "no"}', "times": RETRIES}
    sandbox.control("POST", "authentik/faults", refusal)
    save(sandbox, "PATCH", "core/users/6/", {"name": "Ada Two"})
    assert until(lambda: rulebook.runs() > before), rulebook.said()[-3000:]
    assert names(sandbox)["ada.example"] == "Ada Two"
    assert sandbox.control("GET", "authentik/faults") == []


def test_a_failure_for_ever_is_given_up_and_the_others_go_on(both):
    sandbox, rulebook = both
    notify(sandbox, rulebook.url)
    before = rulebook.runs()
    sandbox.control(
        "POST",
        "authentik/faults",
        {"method": "GET", "path": "core/users/6/", "status": 403, "body": '{"detail": "no"}', "times": -1},
    )
    save(sandbox, "PATCH", "core/users/6/", {"name": "Ada Two"})
    save(sandbox, "PATCH", "core/users/7/", {"name": "Grace Two"})
    assert until(lambda: rulebook.runs() > before), rulebook.said()[-3000:]
    assert "ada.example" not in names(sandbox) and names(sandbox)["grace.example"] == "Grace Two"
    assert f"Not in sync, after {RETRIES} retries" in rulebook.said()
    asked = [
        item
        for item in sandbox.authentik_requests()
        if item["path"].endswith("/core/users/6/") and item["method"] == "GET"
    ]
    assert len(asked) == RETRIES + 1
    save(sandbox, "PATCH", "core/users/8/", {"name": "Linus Two"})
    assert until(lambda: names(sandbox).get("linus.example") == "Linus Two"), rulebook.said()[-3000:]
