# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small directory with names that want to be more than text, drift of every kind in it, and the role that reports it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.sandbox.process import Sandbox

from .module import ModuleRun, reaching, run_module
from .playbook import run_playbook
from .tree import ROOT

PLAYBOOK = ROOT / "playbooks" / "drift_report.yml"
DOMAIN = "corp.example.com"
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    "javascript:alert(4)",
    "\u202egnp.exe\u2066",
    "{{ 7 * 191 }} {% raw %} @@SCRIPT@@",
    "&lt;b&gt; \u2028 <!--<script>",
    "'\"><svg onload=alert(5)>",
)
LONG = "long " * 100


def _user(name: str, number: int, **more: Any) -> dict[str, Any]:
    return {"username": name, "name": f"Person {number}", "email": f"person{number}@{DOMAIN}", **more}


def dataset() -> dict[str, Any]:
    """Twenty people with plain names, some with hostile ones, a person and a robot that cannot be synced, five groups."""
    users = [_user(f"person{number}", number) for number in range(20)]
    users += [_user(name, 100 + number) for number, name in enumerate((*HOSTILE, LONG))]
    users.append(_user("outsider", 0, email="outsider@elsewhere.test"))
    users.append(_user("robot", 50, type="service_account"))
    groups = [{"name": f"team{number}", "members": [f"person{number}", f"person{number + 1}"]} for number in range(4)]
    groups.append({"name": HOSTILE[0] + " team", "members": [HOSTILE[0], "outsider"]})
    return {
        "domain": DOMAIN,
        "users": users,
        "groups": groups,
        "provider": {"name": "gws <b>", "exclude_users_service_account": True, "user_delete_action": "suspend"},
    }


def in_sync(sandbox: Sandbox) -> None:
    """Bring Google in line, with all that can be synced."""
    sync(sandbox, check=False, user_creations_per_second=1000, queries_per_minute=1000000)


def sync(sandbox: Sandbox, check: bool = True, **options: Any) -> ModuleRun:
    """The module itself, as the role would run it in check mode."""
    params = {**reaching(sandbox), "membership": "exact", "fail_on_objects": False, **options}
    return run_module(params, module="google_workspace_sync", check=check)


def drift(sandbox: Sandbox) -> None:
    """Changes on both sides, one of every kind."""
    groups = {group["name"]: group["id"] for group in sandbox.google_state()["groups"]}
    change = sandbox.control
    change("PATCH", f"google/users/person1@{DOMAIN}", {"name": {"givenName": 'Changed & "here"', "familyName": "1"}})
    change("DELETE", f"google/users/person2@{DOMAIN}")
    change("PATCH", f"google/users/person4@{DOMAIN}", {"suspended": True})
    change("PATCH", "authentik/users/person5", {"is_active": False})
    change("PATCH", "authentik/users/person6", {"type": "service_account"})
    change("POST", f"google/groups/{groups['team0']}/members", {"email": f"person9@{DOMAIN}"})
    change("DELETE", f"google/groups/{groups['team3']}/members/person4@{DOMAIN}")
    change("PATCH", f"google/groups/{groups['team2']}", {"name": "</script> by hand"})
    for number in range(len(HOSTILE) + 1):
        change(
            "PATCH", f"google/users/person{100 + number}@{DOMAIN}", {"name": {"givenName": "By", "familyName": "Hand"}}
        )


def report(
    sandbox: Sandbox, path: Path, variables: Mapping[str, Any] | None = None, *arguments: str, playbook: Path = PLAYBOOK
) -> subprocess.CompletedProcess[str]:
    """The playbook with the role, which writes to a path."""
    environment = {
        "AUTHENTIK_URL": sandbox.authentik_url,
        "AUTHENTIK_TOKEN": sandbox.authentik_token,
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
        "TMPDIR": str(path.parent),
    }
    given = {"provider": str(sandbox.provider_id), "drift_report_path": str(path), **(variables or {})}
    return run_playbook(playbook, given, *arguments, environment=environment)


def document(path: Path) -> dict[str, Any]:
    """The JSON document beside a page."""
    return json.loads(path.with_suffix(".json").read_text())
