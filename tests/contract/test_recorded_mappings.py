# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mappings give here is what a real authentik gave: every recorded answer of its mapping test, compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Version
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import Kind
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.evaluator import MappingEvaluator
from tests.sandbox.authentik.state import DEFAULT_MAPPINGS

HERE = Path(__file__).parent
VERSION = "2025.12.4"
RECORDED = json.loads((HERE / "recorded" / f"mappings-{VERSION}.json").read_text(encoding="utf-8"))
CORPUS = {
    entry["name"]: entry for entry in yaml.safe_load((HERE / "mappings" / "corpus.yml").read_text(encoding="utf-8"))
}
DEFAULTS = {model: expression for _name, model, expression in DEFAULT_MAPPINGS}
# A mapping that came into the corpus after the recording has no answers.
RECORDED_NAMES = sorted(set(RECORDED["answers"]) & set(CORPUS))


class Recorded:
    """Stands for the server that was recorded: it knows one mapping, and gives the answers that it gave."""

    def __init__(self, name: str, entry: dict) -> None:
        self.client = self
        self.name = name
        self.kind = Kind(entry.get("kind", "user"))
        self.expression = entry.get("expression") or DEFAULTS[entry["default"]]
        self.subjects = RECORDED["users" if self.kind == "user" else "groups"]
        self.names = {item["pk"]: item.get("username") or item["name"] for item in self.subjects}

    def repeated(self, call):
        return call()

    def mappings(self):
        return [{"pk": "pk", "name": self.name, "expression": self.expression}]

    def mapping_names(self):
        return {"pk": self.name}

    def version(self):
        return Version(VERSION)

    def test_mapping(self, _pk, subject, _context):
        successful, result = RECORDED["answers"][self.name][self.names[subject[self.kind]]]
        return {"successful": successful, "result": result}


def test_the_corpus_was_recorded():
    """At most the mappings that were added after the recording are missing."""
    assert len(RECORDED_NAMES) >= 75
    assert sum(map(len, RECORDED["answers"].values())) > 1500


@pytest.mark.parametrize("name", RECORDED_NAMES)
def test_here_as_on_the_real_server(name):
    entry = CORPUS[name]
    server = Recorded(name, entry)
    key = server.kind.mappings_field
    provider = {"pk": 1, "name": "gws", "default_group_email_domain": "example.com", key: ["pk"]}
    connections = RECORDED["connections"][server.kind]
    subjects = [
        (item, connections.get(server.names[item["pk"]]))
        for item in server.subjects
        if server.names[item["pk"]] in RECORDED["answers"][name]
    ]
    assert len(subjects) > 5
    groups = {item["pk"]: item for item in RECORDED["groups"]}
    with MappingEvaluator(cast(Any, server), provider, server.kind, "auto", groups=groups) as evaluator:
        evaluator.prepare(subjects)
        (decision,) = evaluator.decisions
    if "server" in entry:
        assert decision["evaluation"] == "server"
    else:
        assert (decision["evaluation"], decision["reason"]) == ("local", "")
