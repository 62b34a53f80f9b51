# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The integration targets: real ansible-playbook runs against the sandbox, for each server version."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.process import Sandbox
from tests.support.playbook import run_playbook
from tests.support.tree import ROOT

TARGETS = ROOT / "tests" / "integration" / "targets"
DATASET = TARGETS / "dataset.json"
VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
ENGINES = ("server", "direct")
# Those that are about one engine only name it; the others run with both, and with the same expectations.
# Refusals and options with each engine are in tests/contract, too; one engine is enough for a push.
OF_EITHER = ("errors", "options")
PLAYBOOKS = [
    pytest.param(
        *(playbook, engine),
        marks=[pytest.mark.everything] if playbook.stem in OF_EITHER and engine == "direct" else [],
    )
    for playbook in sorted(TARGETS.glob("google_workspace_sync_object/*.yml"))
    for engine in ENGINES
    if engine == "direct" or not playbook.stem.startswith("direct")
]
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module", params=VERSIONS)
def server(request, sandboxes):
    with sandboxes(dataset=DATASET, authentik_version=request.param, answer_ms=1000) as sandbox:
        yield sandbox, request.param


def run(
    playbook: Path, sandbox: Sandbox, version: str, engine: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    number = tuple(int(part) for part in version.split(".")[:2])
    variables = {
        "sandbox": sandbox.info,
        "server_version": version,
        "engine": engine,
        "writer": "authentik" if engine == "server" else "module",
        "heals_drift": number >= (2025, 10) or engine == "direct",
        "heals_rows": number >= (2025, 10),
        # Whether a sync leaves a connection in authentik.
        "linked": number >= (2025, 10) or engine == "server",
        "has_dry_run": number >= (2025, 4),
    }
    return run_playbook(playbook, variables, *arguments)


@pytest.mark.parametrize(("playbook", "engine"), PLAYBOOKS, ids=lambda item: getattr(item, "stem", item))
def test_playbook(server, playbook, engine):
    sandbox, version = server
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"retry_ms": 20, "answer_ms": 1000})
    checked = playbook.stem == "check_mode"
    done = run(playbook, sandbox, version, engine, *(["--check", "--diff"] if checked else []))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert sandbox.authentik_token not in done.stdout + done.stderr
    if checked:
        # Asking authentik to evaluate a mapping stores nothing; everything else that could write stays away.
        sent = [
            (item["method"], item["path"])
            for item in sandbox.authentik_requests()
            if item["method"] in WRITES and not item["path"].endswith("/test/")
        ]
        assert sent == []
        written = {item["path"] for item in sandbox.google_requests() if item["method"] in WRITES}
        assert written == {"/token"}


@pytest.mark.parametrize("engine", ENGINES)
def test_secrets_stay_hidden_with_every_verbosity(server, engine):
    sandbox, version = server
    sandbox.reset()
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"]
    done = run(TARGETS / "google_workspace_sync_object" / "options.yml", sandbox, version, engine, "-vvvv")
    assert done.returncode == 0, done.stdout[-6000:]
    printed = done.stdout + done.stderr
    assert key.splitlines()[3] not in printed
    assert "pbkdf2_sha256$" not in printed
    bodies = [
        item["body"]
        for item in sandbox.google_requests()
        if item["method"] == "POST" and item["path"].endswith("/users")
    ]
    passwords = [body["password"] for body in bodies]
    assert passwords
    assert not [password for password in passwords if password in printed]
    # The direct engine's first account gets a random password; authentik itself sends Django's hash in clear.
    assert passwords[0].startswith("pbkdf2_sha256$") == (engine == "server")
