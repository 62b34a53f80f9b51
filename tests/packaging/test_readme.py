# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and documentation list is what there is: contents, sections, environment variables, the picture of the demo."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from tests.support.tree import ROOT

README = (ROOT / "README.md").read_text()
CONTENTS = {
    "module": {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")},
    "role": {path.parent.name for path in (ROOT / "roles").glob("*/tasks")},
    "playbook": {path.stem for path in (ROOT / "playbooks").glob("*.yml")},
    "filter": {path.stem for path in (ROOT / "plugins" / "filter").glob("*.py")},
    "lookup": {path.stem for path in (ROOT / "plugins" / "lookup").glob("*.py")},
    "rulebook": {path.stem for path in (ROOT / "extensions" / "eda" / "rulebooks").glob("*.yml")},
}
# Folders of plugins that users do not name, or that go with a module of the same name.
SILENT = {"action", "doc_fragments", "module_utils", "plugin_utils"}


def table(text: str, head: str) -> list[list[str]]:
    """The rows of the table whose first column has the given heading."""
    found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"no table with the heading {head!r}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def names(rows: list[list[str]]) -> list[str]:
    """What the first cells name, without the collection's name."""
    return [re.findall(r"`(?:dirsync\.authentik\.)?(\w+)`", row[0])[0] for row in rows]


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_tables_list_everything_once(kind):
    assert sorted(names(table(README, kind))) == sorted(CONTENTS[kind])
    assert all(len(row) == 2 and row[1] for row in table(README, kind))


def test_every_kind_of_plugin_has_a_table():
    folders = {path.name for path in (ROOT / "plugins").iterdir() if any(path.glob("*.py"))}
    listed = {"modules", "filter", "lookup"}
    assert folders - SILENT == listed, "a kind of plugin that README has no table for"


def test_readme_has_the_sections_that_certification_asks_for():
    sections = re.findall(r"^## (.+)$", README, re.MULTILINE)
    expected = ["Requirements", "Installation", "Use cases", "Testing", "Support", "Release notes", "Licence"]
    assert [section for section in sections if section in expected] == expected
    assert sections[:2] == ["Three commands", "Start here"]


def test_readme_says_what_it_is_in_three_sentences():
    first = README.split("# dirsync.authentik\n")[1].split("![")[0]
    assert len(re.findall(r"\.(?:\s|$)", first)) == 3


def test_the_page_of_environment_variables_is_complete():
    page = (ROOT / "docs" / "environment-variables.md").read_text()
    expected: dict[str, tuple[str, set[str]]] = {}
    for name in CONTENTS["module"]:
        module = importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{name}")
        for option, entry in module.argument_spec().items():
            for variable in entry["fallback"][1] if "fallback" in entry else []:
                expected.setdefault(variable, (option, set()))[1].add(name)
    rows = table(page, "variable")
    assert sorted(names(rows)) == sorted(expected)
    reading = set(re.findall(r"`(google_workspace_\w+)`", page.split("Those that read Google:")[1].split("\n\n")[0]))
    groups = {"all": CONTENTS["module"], "those that read Google": reading}
    for (variable,), (_name, meaning, modules) in zip(map(names, ([row] for row in rows)), rows, strict=True):
        option, having = expected[variable]
        assert meaning.startswith(f"`{option}`"), variable
        assert groups.get(modules, set(re.findall(r"`(\w+)`", modules))) == having, variable


def test_the_variables_of_playbooks_are_listed_with_their_playbooks():
    page = (ROOT / "docs" / "environment-variables.md").read_text().split("The playbooks read these")[1]
    expected: dict[str, set[str]] = {}
    for path in (ROOT / "playbooks").glob("*.yml"):
        for variable in re.findall(r"'(DIRSYNC_\w+)'", path.read_text()):
            expected.setdefault(variable, set()).add(path.stem)
    rows = table(page, "variable")
    assert {name: set(re.findall(r"`(\w+)`", row[2])) for name, row in zip(names(rows), rows, strict=True)} == expected


def tasks(block: list[dict]) -> list[str]:
    """The names of tasks, also of those in blocks; a block has no line of its own in the output."""
    found: list[str] = []
    for task in block:
        inner = [item for part in ("block", "rescue", "always") for item in task.get(part, [])]
        found += tasks(inner) if inner else [task["name"]]
    return found


def test_the_picture_shows_the_demo_as_it_is():
    picture = ElementTree.parse(ROOT / "docs" / "demo.svg")
    text = "\n".join("".join(item.itertext()) for item in picture.iter("{http://www.w3.org/2000/svg}text"))
    (play,) = yaml.safe_load((ROOT / "playbooks" / "demo.yml").read_text())
    drawn = re.findall(r"^TASK \[(.+?)\]", text, re.MULTILINE)
    assert drawn == tasks(play["tasks"]), "the demo has changed: run make picture"
    assert re.search(r"failed=0 ", text) and "At Google after:" in text
    for path in (str(ROOT), str(Path.home())):
        assert path not in text
