# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be set on the Google side while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

SCOPE = "https://www.googleapis.com/auth/"
ACCOUNT = "sandbox@sandbox-project.iam.gserviceaccount.com"
# What authentik asks for by default, and what somebody who only reads would ask for instead.
DELEGATED = (
    "admin.directory.user",
    "admin.directory.user.readonly",
    "admin.directory.group",
    "admin.directory.group.readonly",
    "admin.directory.group.member",
    "admin.directory.group.member.readonly",
    "admin.directory.domain.readonly",
)


@dataclass
class Settings:
    """Settings by their names at ``google/settings``.

    ``latency_ms``: added to every answer. ``lag_ms``: how long a new user or group is not fully there.
    ``rename_lag_ms``: how long a renamed one refuses further writes. ``update_lag_ms``: how long reads show what stood
    there before a change. ``quota_per_minute``: calls to the API,
    0 for no limit. ``delegated_scopes``: full addresses of the scopes that domain-wide delegation allows.
    ``token_lifetime_s``: of access tokens. ``strict_names``: refuse empty given and family names as Google does.
    ``metadata_account``: the service account of the machine, which the metadata server tells of; empty for no such server, ``none``
    for one without an account. ``metadata_scopes``: of the machine. ``iam_enabled``: the IAM Service Account Credentials API.
    ``iam_accounts``: the service accounts that exist. ``iam_creators``: for each, who may sign as it.
    """

    latency_ms: float = 0
    lag_ms: float = 0
    rename_lag_ms: float = 0
    update_lag_ms: float = 0
    quota_per_minute: int = 0
    token_lifetime_s: float = 3600
    strict_names: bool = True
    delegated_scopes: list[str] = field(default_factory=lambda: [SCOPE + name for name in DELEGATED])
    metadata_account: str = ""
    metadata_scopes: list[str] = field(default_factory=lambda: [SCOPE + "cloud-platform"])
    iam_enabled: bool = True
    iam_accounts: list[str] = field(default_factory=lambda: [ACCOUNT])
    iam_creators: dict[str, list[str]] = field(default_factory=lambda: {ACCOUNT: [ACCOUNT]})

    def update(self, values: object) -> None:
        """Take over some settings; raises ValueError naming what is wrong, and then changes nothing."""
        if not isinstance(values, dict):
            raise ValueError("settings are an object")
        known = {entry.name for entry in fields(self)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        for key, value in values.items():
            if not _fits(key, value):
                raise ValueError(f"{key}: wrong value {value!r}")
        for key, value in values.items():
            setattr(self, key, value)

    def as_dict(self) -> dict:
        """Return all settings."""
        return asdict(self)


def _fits(key: str, value: object) -> bool:
    if key in ("delegated_scopes", "metadata_scopes", "iam_accounts"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if key == "metadata_account":
        return isinstance(value, str)
    if key == "iam_creators":
        return isinstance(value, dict) and all(isinstance(item, list) for item in value.values())
    if key in ("strict_names", "iam_enabled"):
        return isinstance(value, bool)
    numbers = (int,) if key == "quota_per_minute" else (int, float)
    return isinstance(value, numbers) and not isinstance(value, bool) and value >= 0
