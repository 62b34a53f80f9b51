# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of a change on the terminal: words with -v, on standard error, unless no_log is set."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.playbook import run_playbook

WORDS = "user ada.example{}: name.displayName set to Ada Example; name.familyName set to Example"

OPTIONS: dict[str, dict[str, Any]] = {"no_log": {"no_log": True}, "async": {"async": 60, "poll": 1}}


def task(sandbox, **options):
    return {
        "dirsync.authentik.google_workspace_sync_object": {
            "authentik_url": sandbox.authentik_url,
            "authentik_token": sandbox.authentik_token,
            "google_api_endpoint": sandbox.google_api_endpoint,
            "provider_id": 1,
            "sync_object_model": "user",
            "sync_object_id": "ada.example",
            "engine": "direct",
        },
        **options,
    }


def play(tmp_path, *tasks):
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    return path


@pytest.mark.parametrize("how", ["check", "quiet", "no_log", "json", "async"])
def test_words(how, tmp_path, sandboxes):
    with sandboxes() as sandbox:
        options = OPTIONS.get(how, {})
        environment = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
        arguments = {"check": ["-v", "--check"], "quiet": []}.get(how, ["-v"])
        done = run_playbook(play(tmp_path, task(sandbox, **options)), {}, *arguments, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "changed=1" in done.stdout
        told = WORDS.format(" would change" if how == "check" else "") in done.stderr
        assert told is (how in ("check", "json"))
        assert WORDS.format("") not in done.stdout
        if how == "json":
            line = next(line for line in done.stdout.splitlines() if line.startswith("changed: "))
            assert json.loads(line.partition("=> ")[2])["status"] == "synced"
        if how == "quiet":
            assert len(done.stdout.splitlines()) < 10
