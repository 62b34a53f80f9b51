# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider in the form of its module's options, with names for primary keys and nothing of its secrets."""

from __future__ import annotations

from .._common.types import Json
from .fields import SINCE, scopes_list
from .names import Names


def options_of(provider: Json, names: Names) -> Json:
    """What, given to google_workspace_provider, makes exactly this provider: everything but its service account."""
    found: Json = {}
    for name in SINCE:
        if name == "credentials" or name not in provider:
            continue
        value = provider[name]
        if name in ("property_mappings", "property_mappings_group"):
            value = sorted(names.mapping_label(str(pk)) for pk in value or [])
        elif name == "scopes":
            value = scopes_list(value)
        elif name == "filter_group":
            value = names.group_label(value)
        elif name == "credentials_ref" and not value:
            continue
        found[name] = value
    found["application"] = str(provider.get("assigned_backchannel_application_slug") or "")
    return found
