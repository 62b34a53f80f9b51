# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo``: run the demo playbook on the embedded sandbox, and show Google's side before and after."""

from __future__ import annotations

import json
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.sandbox.process import Sandbox

from .playbook import empty_configuration, run_playbook
from .tree import ROOT

ORGANISATION = ROOT / "tests" / "sandbox" / "data" / "organisation.json"
EXTRA_USERS = (
    {"username": "visiting.contractor", "name": "Visiting Contractor", "email": "contractor@elsewhere.test"},
    {"username": "backup-robot", "name": "Backup Robot", "email": "robot@corp.example.com", "type": "service_account"},
)


def dataset() -> dict[str, Any]:
    """The organisation, with an outsider and a service account that the provider leaves out."""
    data = json.loads(ORGANISATION.read_text())
    data["users"] = [*data["users"], *EXTRA_USERS]
    data["provider"] = {**data.get("provider", {}), "name": "gws", "exclude_users_service_account": True}
    return data


def width(text: str) -> int:
    """Columns that a text takes on a terminal: marks take none, wide characters two."""
    return sum(
        0
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a ruled head, aligned for a terminal."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(width(line[column]) for line in lines) for column in range(len(head))]

    def drawn(line: Sequence[str]) -> str:
        cells = [cell + " " * (size - width(cell)) for cell, size in zip(line, widths, strict=True)]
        return "  " + "  ".join(cells).rstrip()

    return "\n".join([drawn(lines[0]), "  " + "  ".join("─" * size for size in widths), *map(drawn, lines[1:])])


def shown(state: dict[str, Any], administrators: set[str]) -> str:
    """The users and groups at Google, as tables."""
    users = [
        (user["primaryEmail"], user["name"].get("fullName", ""), "suspended" if user.get("suspended") else "active")
        for user in state["users"]
        if user["primaryEmail"] not in administrators
    ]
    groups = [
        (group["email"], group["name"], ", ".join(sorted(member["email"] for member in group["members"])) or "nobody")
        for group in state["groups"]
    ]
    parts = [
        table(("user", "name", "state"), users) if users else "  no users",
        table(("group", "name", "members"), groups) if groups else "  no groups",
    ]
    return "\n\n".join(parts)


def main(collections: Path | None = None) -> int:
    """Return 0 only if everything was as the playbook expects.

    Args:
        collections: a folder with the installed collection, to run its demo instead of this checkout's.
    """
    playbook = ROOT / "playbooks" / "demo.yml"
    installed = {}
    if collections:
        playbook = Path("dirsync.authentik.demo")
        installed = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_CONFIG": str(empty_configuration())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dataset.json")
        path.write_text(json.dumps(dataset()))
        with Sandbox(dataset=path, sync_ms=0) as sandbox:
            before = sandbox.google_state()
            # The workspace's own administrator is no part of the demo.
            administrators = {user["primaryEmail"] for user in before["users"]}
            print("At Google before:\n\n" + shown(before, administrators) + "\n", flush=True)
            environment = {
                "AUTHENTIK_URL": sandbox.authentik_url,
                "AUTHENTIK_TOKEN": sandbox.authentik_token,
                "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                **installed,
            }
            done = run_playbook(playbook, {}, environment=environment, capture=False)
            after = sandbox.google_state()
            print("\nAt Google after:\n\n" + shown(after, administrators) + "\n", flush=True)
    if done.returncode == 0 and not reached(after):
        print("The playbook succeeded, but Google does not have the expected users and members.", file=sys.stderr)
        return 1
    return done.returncode


def reached(state: dict[str, Any]) -> bool:
    """Whether Google has what the playbook claims, by the sandbox's own state."""
    names = {user["primaryEmail"]: user["name"]["fullName"] for user in state["users"]}
    members = {group["name"]: {member["email"] for member in group["members"]} for group in state["groups"]}
    return (
        names.get("adam.bell@corp.example.com") == "Adam Bell-Example"
        and bool(members.get("about-api-admins"))
        and members["about-api-admins"] <= set(names)
        and not {"robot@corp.example.com", "contractor@elsewhere.test"} & set(names)
    )


if __name__ == "__main__":
    sys.exit(main())
