# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebooks, run by the real ansible-rulebook, against the webhooks that the sandbox's authentik sends.

Automation controller is played by a small server that keeps what it is asked to launch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.sandbox.process import Sandbox
from tests.support.module import PREFIXES
from tests.support.tree import ROOT
from tests.support.venvs import environment

PAGE = ROOT / "docs" / "events.md"
RULEBOOKS = ROOT / "extensions" / "eda" / "rulebooks"
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


def programs_of_events() -> Path:
    """The folder of programs of the environment with ansible-rulebook."""
    requirements = ["-r", str(ROOT / "tests" / "requirements-events.txt"), "-r", str(ROOT / "requirements.txt")]
    return environment("events", requirements)


class Rulebook:
    """ansible-rulebook under way, with its output."""

    def __init__(
        self, sandbox: Sandbox, folder: Path, name: str = "resync_on_change", arguments: tuple[str, ...] = ()
    ) -> None:
        programs = programs_of_events()
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
                *(str(programs / "ansible-rulebook"), "--rulebook", f"dirsync.authentik.{name}"),
                *("--inventory", str(inventory), "--vars", str(variables), *arguments),
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
                "EDA_JOB_TEMPLATE_REFRESH_DELAY": "0.2",
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
def running(tmp_path_factory, sandboxes):
    with sandboxes() as sandbox:
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


@pytest.mark.everything
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


def members(sandbox, name):
    """The addresses of the members of a group at Google; None if there is no such group."""
    found = [item["members"] for item in sandbox.google_state()["groups"] if item["name"] == name]
    return [member["email"] for member in found[0]] if found else None


def test_the_members_of_a_group_are_synced_with_it(both):
    sandbox, rulebook = both
    notify(sandbox, rulebook.url)
    # Nothing is notified of the member, who has no account yet.
    save(sandbox, "POST", f"core/groups/{group_pk(sandbox, 'empty')}/add_user/", {"pk": 6})
    assert until(lambda: members(sandbox, "empty") == ["ada.example@corp.example.com"]), rulebook.said()[-3000:]
    assert "ada.example" in names(sandbox)


@pytest.mark.parametrize("licensed", [True, False])
def test_whoever_left_a_group_is_synced_where_the_event_names_them(both, licensed):
    sandbox, rulebook = both
    sandbox.control("POST", "authentik/settings", {"licensed": licensed})
    pk = group_pk(sandbox, "empty")
    save(sandbox, "POST", f"core/groups/{pk}/add_user/", {"pk": 6})
    save(sandbox, "POST", f"core/groups/{pk}/add_user/", {"pk": 7})
    notify(sandbox, rulebook.url)
    save(sandbox, "POST", f"core/groups/{pk}/remove_user/", {"pk": 6})
    # The group comes last.
    assert until(lambda: members(sandbox, "empty") == ["grace.example@corp.example.com"]), rulebook.said()[-3000:]
    assert ("ada.example" in names(sandbox)) is licensed
    assert sandbox.control("GET", "authentik/webhooks")[-1]["body"] == {
        "action": "model_updated",
        "model": {"app": "authentik_core", "model_name": "group", "pk": pk.replace("-", "")},
        "former_members": [6] if licensed else [],
    }


# What no primary key is; MARK is a file that the command of the template makes.
WRONG_KEYS = (
    ("user", "{template}"),
    ("user", "6\n{template}"),
    ("user", "6 {template}"),
    ("user", "{template}6"),
    ("user", ["{template}"]),
    ("user", {"{template}": "{template}"}),
    ("user", -6),
    ("user", True),
    ("user", "0123456789abcdef0123456789abcdef"),
    ("group", "{template}"),
    ("group", "0123456789abcdef0123456789abcdef{template}"),
    ("group", 6),
    ("{template}", 6),
)


def filled(value, text):
    """A value with a text in the place of ``{template}``, in keys too."""
    if isinstance(value, dict):
        return {filled(key, text): filled(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, text) for item in value]
    return value.replace("{template}", text) if isinstance(value, str) else value


def post(url, payload):
    """What somebody sends who has the token."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(payload).encode(), headers))


def hostile(kind, pk, text):
    """A notification with a text in all places where authentik's may have one, and in more."""
    model = {"app": "authentik_core", "model_name": kind, "pk": pk, "name": text, text: text}
    return {
        "action": "model_updated",
        "model": model,
        "former_members": [text, text + "1", {text: text}],
        "user": {"username": text, text: [text]},
        text: text,
    }


def test_no_text_of_an_event_is_evaluated_or_passed_on(both, tmp_path):
    sandbox, rulebook = both
    mark = tmp_path / "executed"
    template = f"{{{{ lookup('pipe', 'touch {mark}') }}}}"
    for kind, pk in WRONG_KEYS:
        post(rulebook.url, hostile(filled(kind, template), filled(pk, template), template))
    sandbox.clear_requests()
    post(rulebook.url, hostile("user", 6, template))
    post(rulebook.url, hostile("user", "7", template))
    assert until(lambda: {"ada.example", "grace.example"} <= set(names(sandbox))), rulebook.said()[-3000:]
    assert until(lambda: rulebook.runs() > 0)
    time.sleep(5)
    read = {item["path"] for item in sandbox.authentik_requests() if "/core/" in item["path"]}
    assert read == {"/api/v3/core/users/6/", "/api/v3/core/users/7/"}
    assert not mark.exists()


class Controller:
    """A job template of automation controller, as ansible-rulebook asks for it, and what it was launched with."""

    def __init__(self, template: str) -> None:
        self.launched: list[dict] = []
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = urllib.parse.urlsplit(self.path).path
                found = {
                    "/api/v2/config/": {"version": "4.6.0"},
                    "/api/v2/unified_job_templates/": {"count": 1, "next": None, "results": [controller.template]},
                }
                jobs = [
                    {"id": number, "status": "successful", "created": "", "artifacts": {}, "type": "job"}
                    for number in range(1, len(controller.launched) + 1)
                ]
                self.answer(found.get(path, {"count": len(jobs), "next": None, "results": jobs}))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                controller.launched.append(body)
                number = len(controller.launched)
                self.answer({"id": number, "url": f"/api/v2/jobs/{number}/"})

            def answer(self, body):
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments):
                pass

        self.template = {
            "id": 1,
            "type": "job_template",
            "name": template,
            "summary_fields": {"organization": {"name": "Default"}},
            "related": {"launch": "/api/v2/job_templates/1/launch/"},
            **{f"ask_{what}_on_launch": what == "variables" for what in ("limit", "labels", "inventory", "variables")},
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def controlled(tmp_path_factory, sandboxes):
    controller = Controller("Sync to Google Workspace what changed")
    with sandboxes() as sandbox:
        rulebook = Rulebook(
            sandbox,
            tmp_path_factory.mktemp("controlled"),
            "resync_on_change_controller",
            ("--controller-url", controller.url, "--controller-token", "a-token"),
        )
        yield sandbox, rulebook, controller
        rulebook.end()
    controller.close()


def test_automation_controller_gets_primary_keys_and_nothing_else_of_the_event(controlled, tmp_path):
    sandbox, rulebook, controller = controlled
    notify(sandbox, rulebook.url)
    template = f"{{{{ lookup('pipe', 'touch {tmp_path / 'executed'}') }}}}"
    for kind, pk in WRONG_KEYS:
        post(rulebook.url, hostile(filled(kind, template), filled(pk, template), template))
    # A group whose digits could be read as a number.
    post(rulebook.url, hostile("group", "12345678901234567890123456789e12", template))
    save(sandbox, "PATCH", "core/users/6/", {"name": template})
    assert until(lambda: controller.launched), rulebook.said()[-3000:]
    time.sleep(5)
    (job,) = controller.launched
    entries = job["extra_vars"].pop("resync_objects").split()
    assert sorted(entries) == ["group:12345678901234567890123456789e12", "user:6"]
    assert job == {
        "limit": "localhost",
        "extra_vars": {
            "resync_provider_name": "gws",
            "resync_engine": "direct",
            "resync_membership": "add",
            "resync_members_limit": 500,
            "resync_retries": RETRIES,
            "resync_delay": 1,
        },
    }
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("path", sorted(RULEBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_rulebooks_keep_to_the_schema_of_ansible_rulebook(path):
    (schema,) = programs_of_events().parent.glob(
        "lib/python3*/site-packages/ansible_rulebook/schema/ruleset_schema.json"
    )
    rulesets = yaml.safe_load(path.read_text())
    jsonschema.validate(rulesets, json.loads(schema.read_text()))
    # The schema lets unknown keys of a rule pass where another kind of rule would fit.
    for ruleset in rulesets:
        for rule in ruleset["rules"]:
            assert set(rule) == {"name", "condition", "throttle", "action"}
