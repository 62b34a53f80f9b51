# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drift report: what it says, and that whatever a directory holds stays text in the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.modules import google_workspace_sync as module
from ansible_collections.dirsync.authentik.plugins.plugin_utils.drift_report import (
    OUTCOMES,
    as_json,
    as_page,
    build,
    label,
    summary,
)
from tests.support.tree import ROOT

ROLE = ROOT / "roles" / "drift_report"
# What the role decides itself, or what means nothing in check mode or for one run over everything.
NOT_IN_THE_ROLE = {
    "engine",
    "fail_on",
    "fail_on_objects",
    "google_wait",
    "journal",
    "override_dry_run",
    "progress_path",
    "report_path",
    "result_limit",
    "shard_count",
    "shard_index",
    "sync_timeout",
    "user_creations_per_second",
    "verify",
}
USER, GROUP = "authentik.core.models.User", "authentik.core.models.Group"


def line(**fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"kind": "object", "model": USER, "pk": "7", "name": "ada", "google_id": "ada@example.com"}
    given.update(status="synced", action="updated", changes=[], operations=[])
    return {**given, **fields}


def result(**fields):
    counts = {"users": {"total": 3, "unchanged": 2, "out_of_scope": 0, "orphans": 0}}
    return {"status": "synced", "counts": counts, "changes_total": 1, "failed_total": 0, "safety_limits": [], **fields}


def document(*lines, **fields):
    return build(result(**fields), "\n".join(map(json.dumps, lines)), "Title")


class Page(HTMLParser):
    """The elements of a page, its data, and the texts of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes, self._open = [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attrs)
        self._open = (tag, dict(attrs).get("type"))

    def handle_data(self, data):
        if self._open and self._open[0] in ("script", "style"):
            self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag):
        self._open = None

    @property
    def data(self):
        return json.loads(self.texts[("script", "application/json")])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": "created"}, "would be created: Google has no such account yet"),
        ({"action": "created", "model": GROUP}, "would be created: Google has no such group yet"),
        (
            {"action": "updated", "changes": [{"path": "name.givenName", "before": "A", "after": "B"}]},
            "would be updated: given name differs",
        ),
        (
            {"action": "updated", "changes": [{"path": "suspended", "before": True, "after": False}]},
            "would be updated: would be reactivated",
        ),
        (
            {"model": GROUP, "changes": [{"path": "members", "added": ["a", "b"], "removed": ["c"]}]},
            "would be updated: 2 members would be added; 1 member would be removed",
        ),
        (
            {"action": "suspended", "changes": [{"path": "suspended", "before": False, "after": True}]},
            "would be suspended: deactivated in authentik (as its property mappings give it)",
        ),
        (
            {"action": "suspended", "status": "out_of_scope", "why": "it left the group"},
            "would be suspended: it left the group",
        ),
        (
            {"action": "deleted", "status": "out_of_scope", "why": "authentik no longer has it"},
            "would be deleted: authentik no longer has it",
        ),
        (
            {"action": "unlinked", "status": "out_of_scope", "why": "it is gone"},
            "would be disconnected: it is gone; Google's side stays as it is",
        ),
        ({"kind": "orphan", "why": "it is gone"}, "no longer synced, and left as it is: it is gone"),
        (
            {"action": None, "status": "failed", "msg": "Could not sync user ada: no e-mail."},
            "cannot be synced: no e-mail.",
        ),
        ({"action": None, "status": "failed", "msg": "Google said no."}, "cannot be synced: Google said no."),
        ({"action": None, "status": "unchanged", "warnings": ["a remark"]}, "in sync, with a remark"),
    ],
)
def test_words(fields, words):
    assert document(line(**fields))["objects"][0]["words"] == words


def test_many_differences_are_summed_up():
    paths = ["name.givenName", "name.familyName", "orgUnitPath", "phones", "customSchemas.hr.grade"]
    found = document(line(changes=[{"path": path, "before": None, "after": "x"} for path in paths]))
    assert found["objects"][0]["words"].endswith("given name, family name, organisational unit and 2 more differ")
    assert label("customSchemas.hr.grade") == "custom field hr.grade"
    assert label("somethingNew") == "somethingNew"


@pytest.mark.parametrize(
    ("fields", "state", "complete", "drift"),
    [
        ({}, "drift", True, True),
        ({"changes_total": 0}, "in_sync", True, False),
        ({"changes_total": 0, "failed_total": 1, "msg": "1 failed", "code": "objects"}, "attention", True, False),
        ({"msg": "1 failed", "code": "objects", "failed_total": 1}, "drift", True, True),
        (
            {"msg": "Stopped", "code": "guard", "safety_limits": [{"option": "deletions", "exceeded": True}]},
            "stopped",
            True,
            True,
        ),
        ({"safety_limits": [{"option": "deletions", "exceeded": True, "overridden": True}]}, "drift", True, True),
        (
            {"msg": "Stopped", "code": "guard", "safety_limits": [{"option": "missing", "exceeded": True}]},
            "incomplete",
            False,
            False,
        ),
        ({"msg": "Google lists no user at all", "code": "guard"}, "incomplete", False, False),
        ({"msg": "Google does not answer", "code": "google_unreachable"}, "incomplete", False, False),
        ({"msg": "crashed", "counts": None, "code": None}, "incomplete", False, False),
        ({"counts": None}, "incomplete", False, False),
    ],
)
def test_what_it_comes_down_to(fields, state, complete, drift):
    found = summary(result(**fields))
    assert (found["state"], found["complete"], found["drift"]) == (state, complete, drift)
    assert ("not known" in found["headline"]) == (not complete)


def test_connected_objects_out_of_scope_want_attention():
    counts = {"users": {"total": 3, "unchanged": 3, "orphans": 1}}
    assert summary(result(changes_total=0, counts=counts))["state"] == "attention"


def test_what_is_missing_in_the_report_is_said():
    found = build(result(changes_total=2), json.dumps(line()) + '\n{"kind": "obj', "Title")
    assert found["remarks"] == [
        "1 line of the report could not be read and are missing here.",
        "1 changes are listed here, and the run counted 2.",
    ]
    assert document(line())["remarks"] == []


def test_the_json_document_is_json_with_an_object_a_line():
    found = document(line(name="ada"), line(name="grace", action=None), changes_total=1)
    text = as_json(found)
    assert json.loads(text) == found
    assert [
        json.loads(item.strip().rstrip(","))["name"] for item in text.splitlines() if '"kind": "object"' in item
    ] == [
        "ada",
        "grace",
    ]
    empty = document(changes_total=0)
    assert json.loads(as_json(empty)) == empty


def test_the_page_allows_only_its_own_style_and_script():
    page = Page(as_page(document(line())))
    policy = next(value for _tag, name, value in page.attributes if name == "content" and "default-src" in value)
    hashes = {
        kind: "sha256-" + base64.b64encode(hashlib.sha256(page.texts[(kind, None)].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy == (
        f"default-src 'none'; style-src '{hashes['style']}'; script-src '{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )
    # Nothing that could lead elsewhere: the one link leads into the page.
    assert [value for _tag, name, value in page.attributes if name in ("src", "href", "action", "style")] == ["#list"]
    assert not [name for _tag, name, _value in page.attributes if name.startswith("on")]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", page.texts[("script", None)])


PLAIN_TAGS = Page(as_page(document(line()))).tags


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.sampled_from(
        [
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "]]>",
            "@@SCRIPT@@ @@DATA@@ \\1 \\g<0>",
            "&lt;script&gt;",
            "\u2028\u2029\u202e\ud800",
        ]
    )
)
def test_whatever_a_directory_holds_stays_text(text):
    changes = [{"path": text, "before": text, "after": {text: [text]}}]
    found = build(
        result(msg=text, code="objects", failed_total=1, warnings=[text]),
        json.dumps(line(name=text, google_id=text, changes=changes, warnings=[text])),
        text,
    )
    page = Page(as_page(found))
    assert sorted(page.tags) == sorted(PLAIN_TAGS + (["p"] if text else []))
    assert page.data["objects"][0]["n"] == text
    assert page.data["title"] == text
    written = as_page(found)
    written.encode("ascii", "strict") if text.isascii() else written.encode("utf-8", "surrogatepass")
    raw = written.split('id="data">')[1].split("</script>")[0]
    assert raw.isascii()
    assert "<" not in raw and "&" not in raw


def test_every_outcome_has_its_colour_in_the_page():
    script = (ROOT / "plugins" / "plugin_utils" / "drift_page" / "page.js").read_text()
    tones = re.findall(r"TONES = \{(.*?)\}", script, re.DOTALL)
    assert {name for name, _words in OUTCOMES} == set(re.findall(r"(\w+): \"", tones[0]))


def test_the_role_passes_on_what_the_module_takes():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    own = {"path", "json_path", "title", "mode", "fail_on_drift", "fail_on_objects"}
    passed = {name.removeprefix("drift_report_"): entry for name, entry in spec.items()}
    expected = {name: entry for name, entry in module.argument_spec().items() if name not in NOT_IN_THE_ROLE}
    assert set(passed) == set(expected) | own
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())
    arguments = next(
        task["dirsync.authentik.google_workspace_sync"]
        for task in tasks[0]["block"]
        if "dirsync.authentik.google_workspace_sync" in task
    )
    for name, entry in expected.items():
        assert arguments[name] == "{{ drift_report_%s | default(omit) }}" % name
        assert passed[name]["type"] == entry["type"], name
        assert passed[name].get("elements") == entry.get("elements"), name
        assert passed[name].get("choices") == entry.get("choices"), name
        assert passed[name].get("no_log", False) == entry.get("no_log", False), name
        assert "default" not in passed[name], name
    assert set(arguments) == set(expected) | {"engine", "report_path", "fail_on_objects"}


def test_defaults_of_the_role_are_documented():
    spec = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    written = {name: entry["default"] for name, entry in spec.items() if "default" in entry}
    assert written == {name: value for name, value in defaults.items() if name != "drift_report_json_path"}
