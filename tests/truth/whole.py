# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of google_workspace_sync against a sandbox, each held against all that is known of it from outside."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tests.sandbox.process import ControlError, Sandbox
from tests.support.clock import running_faster
from tests.support.module import ModuleRun, reaching, run_module
from tests.truth import directory_oracle, harm

MODULE = "google_workspace_sync"
DOMAIN = "corp.example.com"
# By the module's clock, which runs faster than the sandbox's.
FASTER = 50
LIMITS = {"request_timeout": 60, "google_wait": 60}
# A first run creates everybody: a test that is not about that has to allow it.
ROOM = {"creations": 1_000_000}
# The oracle knows what authentik does: it makes accounts of users who are not active, too.
AS_AUTHENTIK: dict[str, Any] = {"create_inactive": True}
# By authentik's own clock, with whose tasks the module waits.
LIMITS_OF_THE_SERVER = {"request_timeout": 60, "google_wait": 60, "sync_timeout": 1000}
UNHURRIED = {"queries_per_minute": 100_000, "user_creations_per_second": 10_000}

Json = dict[str, Any]


def organisation(people: int, groups: int, seed: int = 0) -> Json:
    """A dataset: people in groups of all sizes, one of them stopped work, one service account that is left out."""
    chosen = random.Random(seed)
    names = [f"person-{number:02}" for number in range(people)]
    users: list[Json] = [
        {"username": name, "name": f"{name.title()} Example", "email": f"{name}@{DOMAIN}"} for name in names
    ]
    users[-1]["is_active"] = False
    users.append({"username": "robot", "name": "Robot One", "email": f"robot@{DOMAIN}", "type": "service_account"})
    return {
        "domain": DOMAIN,
        "users": users,
        "groups": [
            {"name": f"Group {number:02}", "members": sorted(chosen.sample(names, min(people, number * number % 17)))}
            for number in range(groups)
        ],
        "provider": {"name": "gws", "exclude_users_service_account": True},
    }


class Whole:
    """A sandbox, and the runs against it.

    Args:
        sandbox: Sandbox.
        folder: where reports and journals are kept.

    Attributes:
        quiet: whether no fault, lag or missing permission is in force.
        secrets: texts that nobody may ever print.
        token: whom the runs are made by.
        safety_limits: of every run, unless it is given others.
    """

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.quiet = True
        self.token = sandbox.authentik_token
        self.safety_limits: Json = dict(ROOM)
        key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"]
        self.secrets = {self.token, *(line for line in key.splitlines() if len(line) > 30)}

    def fresh(self) -> Whole:
        """The sandbox as it was at its start, and an authentik that syncs nothing by itself."""
        self.sandbox.reset()
        self.quiet = True
        self.control("POST", "authentik/settings", {"signals": False})
        return self

    def control(self, method: str, path: str, body: Any = None) -> bool:
        """Change something; False where the sandbox says that it cannot be."""
        try:
            self.sandbox.control(method, path, body)
        except ControlError:
            return False
        return True

    def call(self, check: bool = False, **options: Any) -> ModuleRun:
        """Run, and hold nothing against it."""
        limits = LIMITS_OF_THE_SERVER if options.get("engine") == "server" else LIMITS
        everything = {
            **reaching(self.sandbox),
            "authentik_token": self.token,
            **limits,
            **UNHURRIED,
            **AS_AUTHENTIK,
            "safety_limits": self.safety_limits,
            **options,
        }
        with running_faster(FASTER):
            return run_module(everything, module=MODULE, check=check, diff=True)

    def sync(self, check: bool = False, **options: Any) -> ModuleRun:
        """Run, and hold the result against the evidence."""
        sandbox = self.sandbox
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            files = {"report_path": f"{folder}/report.jsonl", "journal": f"{folder}/journal.jsonl"}
            if options.get("engine") == "server":
                del files["journal"]
            before = sandbox.google_state()
            authentik = sandbox.control("GET", "authentik/state")
            sandbox.clear_requests()
            run = self.call(check, **files, **options)
            google_log, authentik_log = sandbox.google_requests(), sandbox.authentik_requests()
            after = sandbox.google_state()
            scene = self._scene(options, before, after, authentik)
            # Connections as they are after the run: by them it is known whose account is whose.
            authentik = dict(authentik, connections=sandbox.control("GET", "authentik/state")["connections"])
            evidence = directory_oracle.Evidence(
                {**reaching(sandbox), **options},
                check,
                run,
                before,
                after,
                authentik,
                google_log,
                authentik_log,
                self.quiet,
                lines_if_any(files["report_path"]),
                lines_if_any(f"{folder}/journal.jsonl"),
            )
        directory_oracle.check(evidence, self.secrets)
        if not evidence.by_server or (self.quiet and options.get("verify") in (None, "auto", "google")):
            harm.check(scene)
        if not evidence.by_server and not evidence.idle:
            harm.within_limits(scene, run.result)
        return run

    def _scene(self, options: Json, before: Json, after: Json, authentik: Json) -> harm.Scene:
        limits = {"safety_limits": self.safety_limits, "provider_id": self.sandbox.provider_id}
        asked = options.get("objects")
        names = None
        if asked is not None:
            wanted = {entry.partition(":")[2] or entry for entry in asked}
            fields = {"user": "username", "group": "name"}
            names = {
                (kind, str(item["pk"]))
                for kind, field in fields.items()
                for item in authentik[kind + "s"]
                if item[field] in wanted or str(item["pk"]) in wanted
            }
        return harm.Scene({**limits, **options}, before, after, authentik, names)

    def converged(self, **options: Any) -> ModuleRun:
        """A run that must bring everything in line, and one more, which must find it so; returns the first."""
        first = self.sync(**options)
        assert first.result["status"] in ("synced", "unchanged"), first.result
        again = self.sync(**options)
        assert not again.result["changed"], again.result["changes"]
        assert again.result["status"] == "unchanged", again.result
        return first

    def calm(self) -> None:
        """No more faults and lags."""
        for side in ("google", "authentik"):
            self.control("DELETE", f"{side}/faults")
        calm = {"lag_ms": 0, "rename_lag_ms": 0, "update_lag_ms": 0, "quota_per_minute": 0}
        self.control("POST", "google/settings", calm)
        self.quiet = True


def lines(path: str | Path) -> list[Json]:
    """The lines of a file of JSON Lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def lines_if_any(path: str | Path) -> list[Json] | None:
    """The lines of a file of JSON Lines; None if there is no such file."""
    return lines(path) if Path(path).exists() else None
