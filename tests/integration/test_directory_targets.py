# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The integration targets of google_workspace_sync: real ansible-playbook runs against the sandbox, for each server version."""

from __future__ import annotations

import pytest

from tests.integration.test_targets import TARGETS, VERSIONS, WRITES
from tests.support.playbook import run_playbook

DATASET = TARGETS / "directory.json"
PLAYBOOKS = sorted((TARGETS / "google_workspace_sync").glob("*.yml"))


@pytest.fixture(scope="module", params=VERSIONS)
def server(request, sandboxes):
    with sandboxes(dataset=DATASET, authentik_version=request.param) as sandbox:
        yield sandbox, request.param


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda item: item.stem)
def test_playbook(server, playbook, tmp_path):
    sandbox, version = server
    sandbox.reset()
    number = tuple(int(part) for part in version.split(".")[:2])
    variables = {
        "sandbox": sandbox.info,
        "scratch": str(tmp_path),
        # Whether a sync leaves connections in authentik.
        "linked": number >= (2025, 10),
        "has_dry_run": number >= (2025, 4),
        "has_tasks": number >= (2025, 8),
        "heals_rows": number >= (2025, 10),
    }
    checked = playbook.stem == "check_mode"
    done = run_playbook(playbook, variables, *(["--check", "--diff"] if checked else []))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert sandbox.authentik_token not in done.stdout + done.stderr
    if playbook.stem == "options":
        assert sandbox.authentik_requests() == []
        assert sandbox.google_requests() == []
    if checked:
        # Asking authentik to evaluate a mapping stores nothing; everything else that could write stays away.
        sent = [
            (item["method"], item["path"])
            for item in sandbox.authentik_requests()
            if item["method"] in WRITES and not item["path"].endswith("/test/")
        ]
        assert sent == []
        assert {item["path"] for item in sandbox.google_requests() if item["method"] in WRITES} == {"/token"}
