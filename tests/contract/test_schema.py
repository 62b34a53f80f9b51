# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every writable field of the published client's models, the oldest and the newest, is an option, or left out for a reason."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import authentik_client.models as newest
import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._config import fields

OLDEST = json.loads(Path(__file__).with_name("published_fields.json").read_text())
MODULES = "ansible_collections.dirsync.authentik.plugins.modules."

# The module, and by which option a field is given where it is not the field's own name.
COVERED = {
    "GoogleWorkspaceProviderRequest": ("google_workspace_provider", {}),
    "GoogleWorkspaceProviderMappingRequest": ("google_workspace_mapping", {}),
    "GoogleWorkspaceProviderUserRequest": (
        "google_workspace_connection",
        {"user": "sync_object_id", "provider": "provider_id"},
    ),
    "GoogleWorkspaceProviderGroupRequest": (
        "google_workspace_connection",
        {"group": "sync_object_id", "provider": "provider_id"},
    ),
    "ApplicationRequest": ("google_workspace_provider", {"slug": "application", "name": "application_name"}),
}
THEIRS = (
    "the application itself is not this collection's: it is only made where there is none, and carries the provider"
)
LEFT_OUT = {
    "ApplicationRequest": {
        "provider": "the application's main provider is of another kind",
        "backchannel_providers": "kept in step by the option application, which leaves other providers alone",
        **dict.fromkeys(
            (
                "open_in_new_tab",
                "meta_launch_url",
                "meta_icon",
                "meta_description",
                "meta_publisher",
                "policy_engine_mode",
                "group",
                "meta_hide",
            ),
            THEIRS,
        ),
    }
}


def options(module: str) -> set[str]:
    return set(importlib.import_module(MODULES + module).argument_spec())


def published(model: str, age: str) -> list[str]:
    return OLDEST[model] if age == "oldest" else list(getattr(newest, model).model_fields)


@pytest.mark.parametrize("age", ["oldest", "newest"])
@pytest.mark.parametrize("model", COVERED)
def test_every_writable_field_is_an_option_or_left_out_for_a_reason(model, age):
    module, names = COVERED[model]
    known = options(module)
    for field in published(model, age):
        reason = LEFT_OUT.get(model, {}).get(field)
        assert reason or names.get(field, field) in known, field


def test_nothing_is_left_out_that_is_not_there():
    for model, reasons in LEFT_OUT.items():
        assert set(reasons) <= {*published(model, "oldest"), *published(model, "newest")}


def test_the_table_of_fields_agrees_with_the_published_models():
    """The versions in which a field came: what the oldest model has not, came later; the newest has all up to 2026.8."""
    oldest = set(published("GoogleWorkspaceProviderRequest", "oldest"))
    latest = set(published("GoogleWorkspaceProviderRequest", "newest"))
    assert {name for name, since in fields.SINCE.items() if since <= (2024, 8)} == oldest
    assert {name for name, since in fields.SINCE.items() if since <= (2026, 8)} == latest


def test_every_field_of_the_table_is_an_option():
    assert set(fields.SINCE) <= options("google_workspace_provider")
