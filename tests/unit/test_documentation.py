# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written about the modules agrees with what they are."""

from __future__ import annotations

import importlib

import pytest
import yaml

from tests.support.tree import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def documented_options(name):
    module = importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{name}")
    document = yaml.safe_load(module.DOCUMENTATION)
    options = dict(document.get("options") or {})
    for fragment in document["extends_documentation_fragment"]:
        file, _, part = fragment.removeprefix("dirsync.authentik.").partition(".")
        source = importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.doc_fragments.{file}")
        text = getattr(source.ModuleDocFragment, part.upper() or "DOCUMENTATION")
        options.update(yaml.safe_load(text).get("options") or {})
    return module, options


@pytest.mark.parametrize("name", MODULES)
def test_options_and_argument_spec_agree(name):
    module, options = documented_options(name)
    spec = module.argument_spec()
    assert set(options) == set(spec)
    for option, entry in spec.items():
        written = options[option]
        assert written["type"] == entry["type"], option
        assert written.get("required", False) == entry.get("required", False), option
        assert written.get("default") == entry.get("default"), option
        assert written.get("choices") == entry.get("choices"), option
        assert written.get("aliases") == entry.get("aliases"), option


@pytest.mark.parametrize("name", MODULES)
def test_environment_variables_are_documented(name):
    module, options = documented_options(name)
    for option, entry in module.argument_spec().items():
        for variable in entry["fallback"][1] if "fallback" in entry else []:
            assert f"E({variable})" in " ".join(options[option]["description"]), option


def test_every_module_is_in_the_action_group_and_has_its_tests():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["authentik"]
    assert sorted(group) == MODULES
    for name in MODULES:
        assert list((ROOT / "tests" / "integration" / "targets" / name).glob("*.yml")), name
