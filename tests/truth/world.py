# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two sides in the sandbox, changed step by step, and the steps written down so that a person can replay them."""

from __future__ import annotations

import atexit
import json
import os
import time
import urllib.parse
import zlib
from pathlib import Path
from typing import Any

import yaml

from tests.sandbox.process import ControlError, Sandbox
from tests.support.clock import running_faster
from tests.support.module import ModuleRun, reaching, run_module
from tests.support.playbook import run_task
from tests.support.tree import ROOT

DATASET = Path(__file__).parent / "dataset.json"
SYNC_OBJECT = "google_workspace_sync_object"
CONNECTION = "google_workspace_connection"
DIRECTORY = "google_workspace_sync"
# What bounds the waiting of each module; not every one has every option.
BOUNDS = {
    SYNC_OBJECT: ("request_timeout", "sync_timeout", "google_wait"),
    CONNECTION: ("request_timeout",),
    DIRECTORY: ("request_timeout", "sync_timeout", "google_wait"),
}
VERSIONS = ("2025.12.4", "2025.8.6", "2024.8.1")
# By the module's clock, which runs faster here than the sandbox's; sockets keep everybody's, so that a busy machine is no
# server that does not answer.
LIMITS = {"request_timeout": 15, "sync_timeout": 600, "google_wait": 4}
FASTER = 20
# One run in so many goes through a real ansible-playbook, whose clock is everybody's; 0: none does.
PLAYBOOK_SHARE = int(os.environ.get("TRUTH_PLAYBOOK_SHARE", "200"))
LIMITS_OF_A_PLAYBOOK = {"request_timeout": 15, "sync_timeout": 40, "google_wait": 1}
# A value that a playbook looks up at run time, and how it is found here.
KEY_FILE = "{{ sandbox.service_account_file }}"
KEY_CONTENTS = "{{ lookup('file', sandbox.service_account_file) }}"
SETTINGS = {"authentik": {"retry_ms": 5, "answer_ms": 1500}}
PERMISSIONS = (
    "authentik_providers_google_workspace.view_googleworkspaceprovider",
    "authentik_providers_google_workspace.add_googleworkspaceprovider",
    "authentik_providers_google_workspace.view_googleworkspaceprovideruser",
    "authentik_providers_google_workspace.add_googleworkspaceprovideruser",
    "authentik_providers_google_workspace.delete_googleworkspaceprovideruser",
    "authentik_providers_google_workspace.view_googleworkspaceprovidergroup",
    "authentik_providers_google_workspace.add_googleworkspaceprovidergroup",
    "authentik_providers_google_workspace.delete_googleworkspaceprovidergroup",
    "authentik_providers_google_workspace.view_googleworkspaceprovidermapping",
    "authentik_core.view_user",
    "authentik_core.view_group",
    "authentik_core.view_provider",
    "authentik_core.view_propertymapping",
    "authentik_core.add_propertymapping",
    "authentik_tasks.view_task",
)

_running: dict[str, Sandbox] = {}


def sandbox_of(version: str) -> Sandbox:
    """The sandbox of a version, which runs as long as this process."""
    if version not in _running:
        sandbox = Sandbox(dataset=DATASET, authentik_version=version)
        sandbox.__enter__()
        atexit.register(sandbox.__exit__, None, None, None)
        _running[version] = sandbox
    return _running[version]


class World:
    """One sequence.

    Attributes:
        steps: what was done, as data: ["control", method, path, body] or ["run", options, check, whether as the user
            who lacks a permission, module].
        results: what each run returned, in order.
        faults: whether a fault or a lag is or was in force, so that less is known of what must succeed.
        lacking: the permission that the token's user lacks, or "".
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.number = tuple(int(part) for part in version.split(".")[:2])
        self.sandbox = sandbox_of(version)
        self.sandbox.reset()
        self.steps: list[list[Any]] = []
        self.results: list[dict[str, Any]] = []
        self.faults = False
        self.lacking = ""
        self.token = self.sandbox.authentik_token
        self.secrets = {self.token, *self._key_lines()}
        for side, settings in SETTINGS.items():
            self.control("POST", f"{side}/settings", settings)

    def _key_lines(self) -> list[str]:
        key = json.loads(Path(self.sandbox.service_account_file).read_text())["private_key"]
        return [line for line in key.splitlines() if len(line) > 30]

    def control(self, method: str, path: str, body: Any = None) -> bool:
        """Change something; False where the sandbox says that it cannot be."""
        try:
            self.sandbox.control(method, path, body)
        except ControlError:
            return False
        self.steps.append(["control", method, path, body])
        return True

    def fault(self, side: str, **fault: Any) -> None:
        self.faults = True
        self.control("POST", f"{side}/faults", fault)

    def lag(self, settings: dict[str, float]) -> None:
        """Let Google's reads or writes trail behind."""
        self.faults = True
        self.control("POST", "google/settings", settings)

    def calm(self) -> None:
        """No more faults, lags and missing permissions."""
        for side in ("google", "authentik"):
            self.control("DELETE", f"{side}/faults")
        self.control("POST", "google/settings", {"lag_ms": 0, "rename_lag_ms": 0, "update_lag_ms": 0})
        self.faults = False
        self.lacking = ""
        self.token = self.sandbox.authentik_token

    def lack(self, permission: str) -> None:
        """From now on the token's user lacks one permission."""
        body = {"username": "clerk", "permissions": [item for item in PERMISSIONS if item != permission]}
        self.token = self.sandbox.control("POST", "authentik/tokens", body)["token"]
        self.steps.append(["control", "POST", "authentik/tokens", body])
        self.secrets.add(self.token)
        self.lacking = permission

    def state(self) -> dict[str, Any]:
        return self.sandbox.control("GET", "authentik/state")

    def settled(self, seen: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until authentik's worker has nothing to do; returns what the sandbox then observes of both sides.

        Args:
            seen: what it observed a moment ago.
        """
        seen = seen or self.sandbox.observed()
        for _turn in range(3000):
            if all(task["state"] in ("done", "rejected", "error") for task in seen["authentik"]["state"]["tasks"]):
                break
            time.sleep(0.02)
            seen = self.sandbox.observed()
        return seen

    def run(self, options: dict[str, Any], check: bool, module: str = SYNC_OBJECT) -> ModuleRun:
        """Run a module in this process, or the share of runs that is due by a real ansible-playbook."""
        self.note_run(options, check, module)
        found = self._run(options, check, module)
        self.results.append(found.result)
        return found

    def note_run(self, options: dict[str, Any], check: bool, module: str) -> None:
        """Write down that a module runs."""
        self.steps.append(["run", options, check, bool(self.lacking), module])

    def _run(self, options: dict[str, Any], check: bool, module: str) -> ModuleRun:
        bounds = BOUNDS[module]
        limits = {name: value for name, value in LIMITS.items() if name in bounds}
        as_authentik = {"create_inactive": True} if module != CONNECTION else {}
        everything = {**reaching(self.sandbox), "authentik_token": self.token, **limits, **as_authentik, **options}
        if everything.get("service_account_file") == KEY_FILE:
            everything["service_account_file"] = self.sandbox.service_account_file
        if everything.get("service_account_contents") == KEY_CONTENTS:
            everything["service_account_contents"] = Path(self.sandbox.service_account_file).read_text()
        if self._is_due():
            slower = {name: value for name, value in LIMITS_OF_A_PLAYBOOK.items() if name in bounds}
            return run_task({**everything, **slower}, module=module, check=check)
        with running_faster(FASTER):
            return run_module(everything, module=module, check=check, diff=True)

    def _is_due(self) -> bool:
        """Whether this run goes through ansible-playbook: by what was done so far, so that a replay does the same."""
        if not PLAYBOOK_SHARE:
            return False
        return zlib.crc32(json.dumps([self.version, self.steps]).encode()) % PLAYBOOK_SHARE == 0

    def script(self, folder: str = "tests/output") -> str:
        """The sequence as a playbook, with the commands on top that replay it in a checkout.

        Args:
            folder: where the commands look for the playbook, replay.yml, and keep what the sandbox says of itself.
        """
        tasks: list[dict[str, Any]] = []
        for number, (kind, *rest) in enumerate(self.steps, 1):
            tasks.append(_control_task(number, *rest) if kind == "control" else _run_task(number, *rest))
        play = [{"name": "Replay", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        commands = [
            f".venv/bin/python -m tests.sandbox --authentik-version {self.version} --dataset {DATASET.relative_to(ROOT)} "
            f"> {folder}/sandbox.json &",
            f"until [ -s {folder}/sandbox.json ]; do sleep 0.2; done",
            f'.venv/bin/ansible-playbook -v -e "{{\\"sandbox\\": $(cat {folder}/sandbox.json)}}" {folder}/replay.yml',
            "kill %1",
        ]
        return "".join(f"# {line}\n" for line in commands) + yaml.safe_dump(play, sort_keys=False, width=120)


def _control_task(number: int, method: str, path: str, body: Any) -> dict[str, Any]:
    uri = {
        "url": "{{ sandbox.control_url }}/" + urllib.parse.quote(path, safe="/?=&@%"),
        "method": method,
        "status_code": [200, 201, 204],
    }
    if body is not None:
        uri.update(body_format="json", body=body)
    task: dict[str, Any] = {"name": f"{number} {method} {path}", "ansible.builtin.uri": uri}
    if path == "authentik/tokens":
        task["register"] = "clerk"
    return task


def _run_task(number: int, options: dict[str, Any], check: bool, as_clerk: bool, module: str) -> dict[str, Any]:
    limits = {name: value for name, value in LIMITS.items() if name in BOUNDS[module]}
    connection = {
        "authentik_url": "{{ sandbox.authentik_url }}",
        "authentik_token": "{{ clerk.json.token }}" if as_clerk else "{{ sandbox.authentik_token }}",
        "google_api_endpoint": "{{ sandbox.google_api_endpoint }}",
        "provider_id": "{{ sandbox.provider_id }}",
    }
    return {
        "name": f"{number} Sync" if module == SYNC_OBJECT else f"{number} {module}",
        f"dirsync.authentik.{module}": {**connection, **limits, **options},
        "check_mode": check,
        "diff": True,
        "ignore_errors": True,
    }
