# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The integration targets of the modules that configure or tell: real ansible-playbook runs, for each server version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.test_targets import DATASET, TARGETS, WRITES
from tests.support.playbook import run_playbook

TOLD = ("provider", "mapping", "connection")
MODULES = [f"google_workspace_{name}" for name in (*TOLD, *(f"{name}_info" for name in (*TOLD, "sync")))]
VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4", "2026.8.5")
PLAYBOOKS = sorted(path for name in MODULES for path in (TARGETS / name).glob("*.yml"))


@pytest.fixture(scope="module", params=VERSIONS)
def server(request, sandboxes):
    with sandboxes(dataset=DATASET, authentik_version=request.param, answer_ms=2000) as sandbox:
        yield sandbox, request.param


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_playbook(server, playbook: Path):
    sandbox, version = server
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"licensed": True, "retry_ms": 20, "answer_ms": 2000})
    number = tuple(int(part) for part in version.split(".")[:2])
    variables = {
        "sandbox": sandbox.info,
        "server_version": version,
        "has_dry_run": number >= (2025, 4),
        "has_page_settings": number >= (2025, 12),
        "has_discovery_setting": number >= (2026, 8),
        "tolerates_rows": number >= (2025, 10),
    }
    checked = playbook.stem == "check_mode"
    done = run_playbook(playbook, variables, *(["--check", "--diff"] if checked else ["--diff", "-v"]))
    printed = done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    key = json.loads(Path(sandbox.service_account_file).read_text())
    assert key["private_key"].splitlines()[3] not in printed
    assert sandbox.authentik_token not in printed
    assert "pbkdf2_sha256$" not in printed
    if checked or playbook.parent.name.endswith("_info"):
        # Asking authentik to evaluate a mapping stores nothing; everything else that could write stays away.
        sent = [
            (item["method"], item["path"])
            for item in sandbox.authentik_requests()
            if item["method"] in WRITES and not item["path"].endswith("/test/")
        ]
        assert sent == []
        assert {item["path"] for item in sandbox.google_requests() if item["method"] in WRITES} <= {"/token"}
