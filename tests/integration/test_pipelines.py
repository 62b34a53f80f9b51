# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example pipelines: each step of their jobs is executed, as it stands there, in a repository of its own.

What a runner would do is done for it: the repository is checked out, Python is there, and the secrets are in the environment.
The collection is installed from a build of this checkout, by the repository's requirements.yml.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.test_targets import WRITES
from tests.sandbox.process import Sandbox
from tests.support.module import PREFIXES
from tests.support.playbook import interpreter
from tests.support.tree import ROOT, copy_collection

EXAMPLES = ROOT / "docs" / "examples"
DATASET = {
    "domain": "example.com",
    "users": [
        {"username": "ada.lovelace", "name": "Ada Lovelace", "email": "ada.lovelace@example.com"},
        {"username": "grace.hopper", "name": "Grace Hopper", "email": "grace.hopper@example.com"},
    ],
    "groups": [{"name": "engineering", "members": ["ada.lovelace", "grace.hopper"]}],
}
SECRETS = ("AUTHENTIK_TOKEN", "GCP_SERVICE_ACCOUNT_CONTENTS")


def gitlab(job: str) -> list[str]:
    """The lines of a GitLab job, in order; each is a step."""
    pipeline = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
    return [*pipeline["default"]["before_script"], *pipeline[job]["script"]]


def github(job: str) -> list[str]:
    """The steps of a GitHub job, in order; what ``uses`` an action is the runner's."""
    steps = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())["jobs"][job]["steps"]
    assert {step["uses"].partition("@")[0] for step in steps if "uses" in step} == {
        "actions/checkout",
        "actions/setup-python",
    }
    return [step["run"] for step in steps if "run" in step]


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """This checkout as the archive that a registry would give."""
    folder = tmp_path_factory.mktemp("build")
    collection = copy_collection(folder / "tree")
    program = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run(
        [program, "collection", "build", "--output-path", folder], cwd=collection, check=True, capture_output=True
    )
    return next(folder.glob("*.tar.gz"))


class Runner:
    """Runs the steps of jobs, as a runner's shell does."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith((*PREFIXES, "ANSIBLE_"))}
        self.secrets = {
            "AUTHENTIK_TOKEN": sandbox.authentik_token,
            "GCP_SERVICE_ACCOUNT_CONTENTS": Path(sandbox.service_account_file).read_text(),
        }
        self.environment = {
            **kept,
            **self.secrets,
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
            "AUTHENTIK_URL": sandbox.authentik_url,
            "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
            "ANSIBLE_COLLECTIONS_PATH": str(folder / ".collections"),
            "ANSIBLE_HOME": str(folder / ".ansible"),
            "ANSIBLE_PYTHON_INTERPRETER": interpreter(),
            "CI_PROJECT_DIR": str(folder),
        }

    def run(self, steps: list[str]) -> list[str]:
        """Execute the steps one by one; returns what each printed."""
        printed = []
        for step in steps:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            output = done.stdout + done.stderr
            assert done.returncode == 0, f"{step}\n{output[-5000:]}"
            assert self.secrets["AUTHENTIK_TOKEN"] not in output
            key = json.loads(self.secrets["GCP_SERVICE_ACCOUNT_CONTENTS"])["private_key"]
            assert key.splitlines()[3] not in output
            printed.append(output)
        return printed


@pytest.mark.parametrize(
    ("steps", "version"), [(gitlab, "2025.12.4"), pytest.param(github, "2024.8.1", marks=pytest.mark.everything)]
)
def test_every_step(steps, version, build, tmp_path, sandboxes):
    dataset = tmp_path / "dataset.json"
    dataset.write_text(json.dumps(DATASET))
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("google_workspace.yml", "sync.yml"):
        shutil.copy(EXAMPLES / name, repository)
    requirements = yaml.safe_load((EXAMPLES / "requirements.yml").read_text())
    assert requirements == {"collections": [{"name": "dirsync.authentik"}]}
    requirements["collections"][0] = {"name": str(build), "type": "file"}
    (repository / "requirements.yml").write_text(yaml.safe_dump(requirements))
    with sandboxes(dataset=dataset, authentik_version=version) as sandbox:
        sandbox.control("POST", "authentik/settings", {"licensed": True})
        sandbox.control("DELETE", "authentik/providers/1")
        sandbox.control("DELETE", "authentik/applications/gws")
        sandbox.clear_requests()
        runner = Runner(repository, sandbox)

        planned = runner.run(steps("plan"))
        assert '+    "delegated_subject": "admin@example.com"' in planned[-1]
        assert re.search(r"changed=2 ", planned[-1])
        assert [item["path"] for item in sandbox.authentik_requests() if item["method"] in WRITES] == []

        runner.run(steps("apply"))
        for name in ("second-setup.txt", "second-sync.txt"):
            assert re.search(r"changed=0 .*failed=0", (repository / name).read_text())
        google = sandbox.google_state()
        people = {user["primaryEmail"]: user for user in google["users"]}
        assert people["ada.lovelace@example.com"]["notes"]["value"] == "Managed in authentik as ada.lovelace"
        (group,) = [item for item in google["groups"] if item["name"] == "engineering"]
        assert len(group["members"]) == 2

        # Another merge request, now that there is a provider: the plan finds nothing to do.
        assert re.search(r"changed=0 ", runner.run(steps("plan"))[-1])


def test_the_guides_name_every_file_and_secret():
    guide = (ROOT / "docs" / "pipelines.md").read_text()
    guides = guide + (ROOT / "docs" / "awx.md").read_text()
    for path in EXAMPLES.iterdir():
        assert f"examples/{path.name}" in guides
    for name in SECRETS:
        assert f"`{name}`" in guide
        assert name in (EXAMPLES / "github-actions.yml").read_text()
        assert name in (EXAMPLES / "gitlab-ci.yml").read_text()
