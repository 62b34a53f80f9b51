# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and documentation name exists: commands, files, modules, roles, playbooks, options, variables, tests."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.tree import ROOT, known_files

PAGES = [name for name in known_files() if name.endswith(".md") and name != "CHANGELOG.md"]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
LOOKUPS = sorted(path.stem for path in (ROOT / "plugins" / "lookup").glob("*.py"))
RULEBOOKS = sorted(path.stem for path in (ROOT / "extensions" / "eda" / "rulebooks").glob("*.yml"))
FOLDERS = sorted({name.split("/")[0] for name in known_files() if "/" in name})
PARTS = {"authentik", "google"}


def module(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{name}")


def options(name: str) -> set[str]:
    spec = module(name).argument_spec()
    return set(spec) | {alias for entry in spec.values() for alias in entry.get("aliases", [])}


def role_options(name: str) -> set[str]:
    document = yaml.safe_load((ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text())
    return {option for entry in document["argument_specs"].values() for option in entry.get("options", {})}


def code(page: str) -> str:
    """The parts of a page that are commands, names or files: indented and fenced blocks, and spans."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^(?: {4}|\t).*$", text, re.MULTILINE)
    return "\n".join([*blocks, *indented, *spans(page)])


def spans(page: str) -> list[str]:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def yaml_blocks(page: str) -> list[Any]:
    found = re.findall(r"^ *```ya?ml\n(.*?)^ *```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [item for text in found for item in yaml.safe_load_all(text)]


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(item)


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|[\s`(])make ([a-z]+)\b", code(page), re.MULTILINE))
    assert named <= targets, sorted(named - targets)


@pytest.mark.parametrize("page", PAGES)
def test_files_exist(page):
    place = (ROOT / page).parent
    for span in spans(page):
        name = span.split("::")[0].rstrip("/")
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", name) and name.split("/")[0] in FOLDERS:
            assert (ROOT / name).exists() or (place / name).exists(), span
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", (ROOT / page).read_text()):
        # The reference is generated with the site (make docs).
        assert (place / target).exists() or target.startswith("reference/"), target


@pytest.mark.parametrize("page", PAGES)
def test_tests_and_programs_exist(page):
    for name in re.findall(r"python -m (tests[\w.]*)", code(page)):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


@pytest.mark.parametrize("page", PAGES)
def test_what_belongs_to_the_collection_exists(page):
    text = (ROOT / page).read_text()
    for name in re.findall(r"\bdirsync\.authentik\.(\w+)", text):
        assert name in [*MODULES, *ROLES, *PLAYBOOKS, *LOOKUPS, *RULEBOOKS, *PARTS, "git"], name
    for span in spans(page):
        if re.fullmatch(r"google_workspace_\w+", span):
            variable = any(span.startswith(f"{role}_") for role in ROLES)
            assert variable or span in MODULES or span in ROLES or span in API_FIELDS, span


# Names of authentik's API that look like modules of ours.
API_FIELDS = {"google_workspace_users", "google_workspace_groups"}


@pytest.mark.parametrize("page", PAGES)
def test_options_in_examples_exist(page):
    for block in yaml_blocks(page):
        for mapping in mappings(block):
            for key, value in mapping.items():
                name = str(key).removeprefix("dirsync.authentik.")
                if name != key and name in MODULES and isinstance(value, dict):
                    assert set(value) <= options(name), name
                if key == "group/dirsync.authentik.authentik":
                    assert set(value) <= set().union(*map(options, MODULES))
            role = str(mapping.get("role") or (mapping.get("ansible.builtin.include_role") or {}).get("name") or "")
            if role.startswith("dirsync.authentik."):
                given = set(mapping.get("vars") or {}) | (set(mapping) - {"role", "vars", "name", "tags", "when"})
                known = role_options(role.rsplit(".", 1)[1])
                assert {item for item in given if "." not in item} <= known, role


# Ansible's own, of plays and tasks.
KEYWORDS = {"hosts", "connection", "no_log", "check_mode", "diff"}


def known_keys() -> set[str]:
    """Options of all modules and roles, and the keys of all results."""
    found = set().union(*map(options, MODULES), *map(role_options, ROLES))
    for name in MODULES:
        for mapping in mappings(yaml.safe_load(module(name).RETURN)):
            found |= set(mapping)
            found |= set(mapping.get("contains") or {})
    return found


@pytest.mark.parametrize("page", PAGES)
def test_options_and_results_in_sentences_exist(page):
    keys = known_keys()
    for span in spans(page):
        found = re.fullmatch(r"([a-z][a-z_]+): [\w.\[\]-]+", span)
        if found:
            assert found[1] in keys | KEYWORDS, span


@pytest.mark.parametrize("page", PAGES)
def test_variables_of_the_environment_exist(page):
    known = {
        variable
        for name in MODULES
        for entry in module(name).argument_spec().values()
        if "fallback" in entry
        for variable in entry["fallback"][1]
    }
    named = set(re.findall(r"\b((?:AUTHENTIK|GCP|GOOGLE_WORKSPACE)_[A-Z_]+)\b", (ROOT / page).read_text()))
    assert named <= known, sorted(named - known)
