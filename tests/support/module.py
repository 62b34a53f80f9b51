# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of the collection in this process, through the entry point that Ansible uses.

The module's real output on standard output is what is read: it proves that results serialise and that no_log masks.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from ansible.module_utils import basic
from ansible.module_utils.common import warnings as ansible_warnings
from cryptography.hazmat.primitives import serialization

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.18

    def patch_module_args(args: dict[str, Any]) -> Any:
        """Hand parameters to a module in the form of ansible-core 2.18."""
        given = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
        return mock.patch.object(basic, "_ANSIBLE_ARGS", given)


PACKAGE = "ansible_collections.dirsync.authentik.plugins.modules"
UTILS = "ansible_collections.dirsync.authentik.plugins.module_utils"
# What the modules read from the environment: a test sees only what it sets itself.
PREFIXES = ("AUTHENTIK_", "DIRSYNC_", "GCP_", "GOOGLE_WORKSPACE_")


def reaching(sandbox: Any) -> dict[str, Any]:
    """The options that reach both sides of a sandbox and its provider."""
    return {
        "authentik_url": sandbox.authentik_url,
        "authentik_token": sandbox.authentik_token,
        "google_api_endpoint": sandbox.google_api_endpoint,
        "provider_id": sandbox.provider_id,
    }


@dataclass
class ModuleRun:
    """What one run printed.

    Attributes:
        result: the module's JSON, as a dict.
        output: the raw text that it came from.
        failed: whether the module failed.
        warnings: its warnings, as texts.
    """

    result: dict[str, Any]
    output: str
    failed: bool
    warnings: list[str] = field(default_factory=list)


def run_module(
    params: Mapping[str, Any],
    *,
    module: str = "google_workspace_sync_object",
    check: bool = False,
    diff: bool = False,
    env: Mapping[str, str] | None = None,
) -> ModuleRun:
    """Run a module with parameters, as ansible-core would on a managed host."""
    args = dict(params, _ansible_check_mode=check, _ansible_diff=diff, _ansible_remote_tmp="/tmp")
    entry = importlib.import_module(f"{PACKAGE}.{module}")
    out = io.StringIO()
    with _environment(env or {}), _as_on_a_target(), patch_module_args(args), _constants(), contextlib.redirect_stdout(
        out
    ):
        _forget_warnings()
        with contextlib.suppress(SystemExit):
            entry.main()
    text = out.getvalue().strip()
    result = json.loads(text.splitlines()[-1])
    return module_run(result, text, bool(result.get("failed")))


def module_run(result: dict[str, Any], output: str, failed: bool) -> ModuleRun:
    """A result in its parts: the warnings apart, and without what was asked."""
    kept = {key: value for key, value in result.items() if key not in ("invocation", "warnings")}
    return ModuleRun(kept, output, failed, _texts(result.get("warnings", [])))


@contextlib.contextmanager
def _constants() -> Iterator[None]:
    """What is the same in each run, and takes a third of it, is made once: keys, whose primes are checked, and Google's API."""
    # The collection is importable where tests run, and not where only a playbook is run.
    session = importlib.import_module(f"{UTILS}._google.session").Session
    made_of = session.collections

    def collections(self: Any, endpoint: str) -> Any:
        if endpoint not in _collections:
            _collections[endpoint] = made_of(self, endpoint)
        return _collections[endpoint]

    keys = mock.patch.object(serialization, "load_pem_private_key", _read_key)
    with keys, mock.patch.object(session, "collections", collections):
        yield


_read_key = functools.lru_cache(maxsize=16)(serialization.load_pem_private_key)
# By endpoint.
_collections: dict[str, Any] = {}


@contextlib.contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
    with mock.patch.dict(os.environ, {**kept, **env}, clear=True):
        yield


@contextlib.contextmanager
def _as_on_a_target() -> Iterator[None]:
    """A test that imports Ansible's own plugins makes this process a controller, where warnings go to the terminal."""
    internal = sys.modules.get("ansible.module_utils._internal")
    if internal is None or not hasattr(internal, "is_controller"):
        yield
        return
    with mock.patch.object(internal, "is_controller", False):
        yield


def _forget_warnings() -> None:
    """Warnings outlive a run in the same process; a run must only show its own."""
    for name in ("_global_warnings", "_global_deprecations"):
        store = getattr(ansible_warnings, name, None)
        if store is not None:
            store.clear()
    basic._PARSED_MODULE_ARGS = {}


def _texts(found: Any) -> list[str]:
    return [item if isinstance(item, str) else str(item.get("event", {}).get("msg", item)) for item in found]
