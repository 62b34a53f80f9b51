# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two sides in the sandbox, changed step by step, and the steps written down so that a person can replay them."""

from __future__ import annotations

import atexit
import json
import time
from pathlib import Path
from typing import Any

import yaml

from tests.sandbox.process import ControlError, Sandbox
from tests.support.clock import running_faster
from tests.support.module import ModuleRun, run_module

DATASET = Path(__file__).parent / "dataset.json"
VERSIONS = ("2025.12.4", "2025.8.6", "2024.8.1")
# By the module's clock, which runs faster here than the sandbox's.
LIMITS = {"request_timeout": 4, "sync_timeout": 40, "google_wait": 4}
FASTER = 20
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
        steps: what was done, as data: ["control", method, path, body] or ["run", options, check].
        faults: whether a fault or a lag is or was in force, so that less is known of what must succeed.
        lacking: the permission that the token's user lacks, or "".
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.number = tuple(int(part) for part in version.split(".")[:2])
        self.sandbox = sandbox_of(version)
        self.sandbox.reset()
        self.steps: list[list[Any]] = []
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

    def settle(self) -> None:
        """Wait until authentik's worker has nothing to do."""
        for _turn in range(200):
            if all(task["state"] in ("done", "rejected", "error") for task in self.state()["tasks"]):
                return
            time.sleep(0.02)

    def run(self, options: dict[str, Any], check: bool) -> ModuleRun:
        self.steps.append(["run", options, check])
        everything = {
            "authentik_url": self.sandbox.authentik_url,
            "authentik_token": self.token,
            "google_api_endpoint": self.sandbox.google_api_endpoint,
            "provider_id": self.sandbox.provider_id,
            **LIMITS,
            **options,
        }
        with running_faster(FASTER):
            return run_module(everything, check=check, diff=True)

    def script(self) -> str:
        """The sequence as a sandbox command and a playbook."""
        tasks: list[dict[str, Any]] = []
        for number, (kind, *rest) in enumerate(self.steps, 1):
            if kind == "control":
                method, path, body = rest
                uri = {"url": "{{ sandbox.control_url }}/" + path, "method": method, "status_code": [200, 201, 204]}
                if body is not None:
                    uri.update(body_format="json", body=body)
                task: dict[str, Any] = {"name": f"{number} {method} {path}", "ansible.builtin.uri": uri}
                if path == "authentik/tokens":
                    task["register"] = "clerk"
                tasks.append(task)
            else:
                options, check = rest
                tasks.append(
                    {
                        "name": f"{number} Sync",
                        "dirsync.authentik.google_workspace_sync_object": {
                            "authentik_url": "{{ sandbox.authentik_url }}",
                            "authentik_token": "{{ (clerk.json | default({})).token | default(sandbox.authentik_token) }}",
                            "google_api_endpoint": "{{ sandbox.google_api_endpoint }}",
                            "provider_id": "{{ sandbox.provider_id }}",
                            **LIMITS,
                            **options,
                        },
                        "check_mode": check,
                        "diff": True,
                        "ignore_errors": True,
                    }
                )
        play = [{"name": "Replay", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        return (
            f"# make sandbox SANDBOX='--authentik-version {self.version} --dataset tests/truth/dataset.json' > sandbox.json &\n"
            '# .venv/bin/ansible-playbook -v -e "{\\"sandbox\\": $(head -1 sandbox.json)}" replay.yml\n'
            + yaml.safe_dump(play, sort_keys=False, width=120)
        )
