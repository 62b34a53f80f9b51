# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run authentik's full sync through the collection's engine in this process, over real HTTP, as a module would."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Authentik
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.client import Client
from ansible_collections.dirsync.authentik.plugins.module_utils._google.credentials import Credentials
from ansible_collections.dirsync.authentik.plugins.module_utils._google.directory import Directory
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.full_sync import FullServerSync
from tests.support.module import ModuleRun

DEFAULTS = {
    "provider_id": None,
    "provider_name": None,
    "override_dry_run": False,
    "verify": "auto",
    "fail_on": ["critical", "exception", "error", "warning", "warn"],
    "sync_timeout": 600.0,
    "google_wait": 20.0,
    "result_limit": 100,
    "fail_on_objects": True,
}


def run_full_sync(params: dict[str, Any], *, check: bool = False) -> ModuleRun:
    """Run it with a module's parameters."""
    values = {**DEFAULTS, **params, "check_mode": check}
    request = SimpleNamespace(**{key: values[key] for key in (*DEFAULTS, "check_mode")})
    timeout = values.get("request_timeout", 30.0)
    warnings: list[str] = []

    def open_directory(provider: dict[str, Any]) -> Directory:
        found = Credentials(
            provider["credentials"], provider["delegated_subject"], provider["scopes"].split(","), "the provider"
        )
        return Directory(found, values["google_api_endpoint"], timeout=timeout)

    def warn(text: str) -> None:
        if text not in warnings:
            warnings.append(text)

    authentik = Authentik(Client(values["authentik_url"], values["authentik_token"], timeout=timeout))
    outcome = FullServerSync(authentik, request, open_directory, warn, lambda values: None).run()
    text = json.dumps({**outcome.result(False), "warnings": warnings})
    result = json.loads(text)
    del result["warnings"]
    return ModuleRun(result, text, outcome.fails_task, warnings)
