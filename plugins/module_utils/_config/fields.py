# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider's fields: since when there are which, how they compare, and what may be shown of them. Pure.

Sources: the models of the published clients 2024.8 to 2026.8, and authentik's model of the provider for ``credentials_ref``.
"""

from __future__ import annotations

import json
import typing as t

from .._common.types import Json

# Every writable field of the API, in the API's order, with the version that brought it.
SINCE: dict[str, tuple[int, int]] = {
    "name": (2024, 6),
    "property_mappings": (2024, 6),
    "property_mappings_group": (2024, 6),
    "delegated_subject": (2024, 6),
    "credentials": (2024, 6),
    "scopes": (2024, 6),
    "exclude_users_service_account": (2024, 6),
    "filter_group": (2024, 6),
    "user_delete_action": (2024, 6),
    "group_delete_action": (2024, 6),
    "default_group_email_domain": (2024, 6),
    "dry_run": (2025, 4),
    "sync_page_size": (2025, 12),
    "sync_page_timeout": (2025, 12),
    "discovery_enabled": (2026, 8),
    "credentials_ref": (2026, 10),
}
REQUIRED = ("delegated_subject", "default_group_email_domain")
# What the answer may lack although the server knows it.
HIDDEN = ("credentials",)
MANAGED = "goauthentik.io/providers/google_workspace/%s"
MASK = "********"
# What of a service account's key is no secret, so that a person can tell one from another.
SHOWN_OF_KEY = ("type", "project_id", "client_email", "client_id")


def unknown_fields(
    wanted: t.Iterable[str], provider: Json | None, version: t.Callable[[], tuple[int, int]]
) -> list[str]:
    """The wanted fields that this server does not know.

    Args:
        wanted: names of fields.
        provider: as the server shows it, whose keys decide; None when there is none yet, and then the version does.
        version: gives the version's first two numbers, for a request; asked only where it decides.
    """
    later = [name for name in wanted if SINCE[name] > (2024, 8)]
    if provider is not None:
        return [name for name in later if name not in provider]
    return [name for name in later if SINCE[name] > version()] if later else []


def unknown_text(names: t.Sequence[str], server: str) -> str:
    """The refusal of fields that the server does not know."""
    return "authentik %s does not know %s. Leave %s out, or update authentik. Nothing was sent." % (
        server,
        ", ".join("%s (since %d.%d)" % ((name,) + SINCE[name]) for name in names),
        "them" if len(names) > 1 else "it",
    )


def scopes_text(scopes: t.Sequence[str]) -> str:
    """Scopes in the form in which authentik keeps them."""
    return ",".join(item.strip() for item in scopes if item.strip())


def scopes_list(text: t.Any) -> list[str]:
    """The scopes of a provider."""
    return [item.strip() for item in str(text or "").split(",") if item.strip()]


def same(name: str, wanted: t.Any, observed: t.Any) -> bool:
    """Whether a field's two values mean the same. The order of mappings and scopes means nothing."""
    if name in ("property_mappings", "property_mappings_group"):
        return set(wanted or ()) == set(observed or ())
    if name == "scopes":
        return set(scopes_list(wanted)) == set(scopes_list(observed))
    if name == "credentials":
        return canonical(wanted) == canonical(observed)
    return bool((wanted or None) == (observed or None)) if name == "filter_group" else bool(wanted == observed)


def differing(wanted: Json, observed: Json) -> Json:
    """The wanted fields whose values differ from the observed ones; those that are not shown are not compared."""
    return {
        name: value
        for name, value in wanted.items()
        if not (name in HIDDEN and not shows_credentials(observed)) and not same(name, value, observed.get(name))
    }


def shows_credentials(provider: Json) -> bool:
    """Whether a server shows the service account that its provider holds."""
    return isinstance(provider.get("credentials"), dict)


def canonical(key: t.Any) -> str:
    """A service account's key, so that two of them compare."""
    return json.dumps(key, sort_keys=True)


def shown_key(key: t.Any, reference: t.Any = None) -> t.Any:
    """What may be shown of a service account's key."""
    if not isinstance(key, dict):
        return None if not reference else {"credentials_ref": str(reference)}
    return {name: key.get(name) for name in SHOWN_OF_KEY if key.get(name)}


def shown_difference(before: t.Any, after: t.Any) -> tuple[t.Any, t.Any]:
    """Two keys for a diff: what may be shown, and that they differ where nothing of that does."""
    shown = (shown_key(before), shown_key(after))
    if shown[0] == shown[1] and canonical(before) != canonical(after):
        return dict(shown[0] or {}, private_key=f"{MASK} (before)"), dict(shown[1] or {}, private_key=f"{MASK} (after)")
    return shown
