# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example that the documentation shows is run, as it stands there, against the sandbox."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.sandbox.google.settings import ACCOUNT
from tests.sandbox.process import Sandbox
from tests.support.playbook import interpreter, run_playbook
from tests.support.tree import ROOT

DATASET = {
    "domain": "example.com",
    "users": [
        {"username": "ada.lovelace", "name": "Ada Lovelace", "email": "ada.lovelace@example.com"},
        {"username": "grace.hopper", "name": "Grace Hopper", "email": "grace.hopper@example.com"},
        {
            "username": "backup-robot",
            "name": "Backup Robot",
            "email": "backup-robot@example.com",
            "type": "service_account",
        },
    ],
    "groups": [{"name": "engineering", "members": ["ada.lovelace", "grace.hopper"]}],
    "provider": {"name": "Google Workspace"},
    "mappings": [
        {
            "name": "Everybody in the directory",
            "model": "user",
            "expression": 'return {"includeInGlobalAddressList": True}',
            "assigned": False,
        }
    ],
    "google": {
        "users": [{"primaryEmail": "countess@example.com", "name": {"givenName": "Ada", "familyName": "Byron"}}],
    },
}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
# tests/packaging/test_tutorial.py follows the tutorial, step by step.
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "tutorial.md")]
PAGES += sorted(ROOT.glob("roles/*/README.md"))
# Filters and lookups.
PLUGINS = [
    (kind, path.stem) for kind in ("filter", "lookup") for path in sorted((ROOT / "plugins" / kind).glob("*.py"))
]
# Whoever syncs is done when Ada is there; the others configure, or only look.
SYNCS = re.compile(r"google_workspace_sync(_object)?:")


def blocks():
    """Yield (name, YAML text) of each example."""
    for name in MODULES:
        yield name, importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{name}").EXAMPLES
    for kind, name in PLUGINS:
        source = importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.{kind}.{name}")
        yield f"{kind}-{name}", source.EXAMPLES
    for page in PAGES:
        for number, text in enumerate(
            re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE), 1
        ):
            if "dirsync.authentik." in text:
                yield f"{page.relative_to(ROOT).as_posix().replace('/', '-')}-{number}".removeprefix("docs-"), text


def commands():
    """Yield (name, command) of each line for a terminal that calls a module."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for number, line in enumerate(re.findall(r"^    (ansible localhost .*)$", text, re.MULTILINE), 1):
            yield f"{page.name}-{number}", line


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, sandboxes):
    path = tmp_path_factory.mktemp("examples") / "dataset.json"
    path.write_text(json.dumps(DATASET))
    with sandboxes(dataset=path) as running:
        yield running


def environment(sandbox: Sandbox) -> dict[str, str]:
    """The sandbox's Google is also the metadata server, for the examples without a key."""
    address = sandbox.google_api_endpoint.removeprefix("http://")
    return {
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        "CLOUDSDK_CONFIG": str(ROOT / "none"),
    }


@pytest.mark.parametrize(("name", "text"), [pytest.param(*item, id=item[0]) for item in blocks()])
def test_playbooks(sandbox, tmp_path: Path, name, text):
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"licensed": True})
    sandbox.control("POST", "google/settings", {"metadata_account": ACCOUNT})
    assert "https://authentik.example.com" in text
    document = yaml.safe_load(text.replace("https://authentik.example.com", sandbox.authentik_url))
    if "hosts" not in document[0]:
        document = [{"name": name, "hosts": "localhost", "gather_facts": False, "tasks": document}]
    playbook = tmp_path / "example.yml"
    playbook.write_text(yaml.safe_dump(document, sort_keys=False))
    variables = {
        "vault_authentik_token": sandbox.authentik_token,
        "vault_google_service_account": json.loads(Path(sandbox.service_account_file).read_text()),
        # What a rulebook passes on: Ada.
        "resync_objects": "user:6",
    }
    done = run_playbook(playbook, variables, environment=environment(sandbox))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    # A role passes over what its variables do not ask for.
    skipped = r"\d+" if "include_role" in text else "0"
    assert re.search(r"ok=[1-9]\d* .*skipped=%s .*ignored=0" % skipped, done.stdout)
    if not SYNCS.search(text) or "check_mode: true\n" in text:
        return
    assert [user for user in sandbox.google_state()["users"] if user["primaryEmail"] == "ada.lovelace@example.com"]


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in commands()])
def test_commands(sandbox, line):
    program, *arguments = shlex.split(line)
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **environment(sandbox),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"),
            "AUTHENTIK_URL": sandbox.authentik_url,
            "AUTHENTIK_TOKEN": sandbox.authentik_token,
            "ANSIBLE_PYTHON_INTERPRETER": interpreter(),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "localhost | " in done.stdout


def test_both_engines_have_examples():
    found = dict(blocks())
    for name in ("README.md-1", "google_workspace_sync_object"):
        assert "dirsync.authentik.google_workspace_sync_object" in found[name]
    assert "engine: direct" in found["google_workspace_sync_object"]
    assert [name for name, text in found.items() if name.startswith("README.md") and "engine: direct" in text]
