# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person who sees both sides would say of a result of google_workspace_connection. Knows nothing of the modules' code."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tests.support.google import unvaried
from tests.support.module import ModuleRun
from tests.truth.oracle import NEVER_PRINTED, SUCCESS, claim

Json = dict[str, Any]
ALWAYS = {"changed", "operations", "calls", "server_version", "duration"}
_CONNECTION = re.compile(r"/google_workspace_(users|groups)/")


class Evidence:
    """All that is known of one run from outside.

    Args:
        options, check: how the module was called.
        run: what it printed.
        before, after: both sides as the sandbox holds them: ``{"google": …, "authentik": …}``, each a state.
        google_log, authentik_log: the requests of the run.
        quiet: no fault, lag or missing permission was in force.
    """

    def __init__(
        self,
        options: Json,
        check: bool,
        run: ModuleRun,
        before: Json,
        after: Json,
        google_log: list[Json],
        authentik_log: list[Json],
        quiet: bool,
    ) -> None:
        self.options, self.check, self.run, self.quiet = options, check, run, quiet
        self.result = run.result
        self.google_before, self.google_after = before["google"], after["google"]
        self.authentik = before["authentik"]
        self.rows_before, self.rows_after = (connections(side["authentik"]) for side in (before, after))
        self.google_log, self.authentik_log = google_log, authentik_log
        self.state = options.get("state", "present")

    @property
    def kind(self) -> str:
        return self.options["sync_object_model"]

    @property
    def really_changed(self) -> bool:
        return self.rows_before != self.rows_after

    @property
    def blind(self) -> bool:
        """Whether a connection was made without a look at Google."""
        return self.options.get("verify") == "none" or any("could not be read" in text for text in self.run.warnings)

    def target(self) -> Json | None:
        """The object in authentik."""
        key = "username" if self.kind == "user" else "name"
        found = [item for item in self.authentik[self.kind + "s"] if self.options["sync_object_id"] == item[key]]
        return found[0] if found else None

    def own(self, rows: dict[str, Json]) -> list[Json]:
        """The connections of the object."""
        target = self.target()
        return [row for row in rows.values() if target and (row["kind"], row["obj"]) == (self.kind, target["pk"])]


def connections(authentik: Json) -> dict[str, Json]:
    """authentik's connections by their primary key."""
    return {str(row["id"]): row for row in authentik["connections"]}


def check(evidence: Evidence, secrets: set[str]) -> None:
    """Hold every claim of a result against the evidence; raises FalseClaim."""
    _forms(evidence)
    _secrets(evidence, secrets)
    _calls(evidence)
    _google(evidence)
    _changed(evidence)
    _operations(evidence)
    _strangers(evidence)
    if evidence.state == "repaired":
        _repaired(evidence)
    else:
        _connection(evidence)


def _forms(evidence: Evidence) -> None:
    result, run = evidence.result, evidence.run
    claim("Traceback" not in run.output, "a traceback was printed", run.output[-2000:])
    claim(set(result) >= ALWAYS, "keys that are always there are missing", ALWAYS - set(result))
    claim(0 <= result["duration"] < 600, "duration", result["duration"])
    if run.failed:
        claim(bool(result.get("msg")) and bool(result.get("code")), "a failure without msg or code", result)
        claim(result["code"] != "unexpected", "an error that nobody listed", result["msg"])
    else:
        claim("msg" not in result and "code" not in result, "no failure, and a reason for it", result)


def _secrets(evidence: Evidence, secrets: set[str]) -> None:
    for secret in (*secrets, *NEVER_PRINTED):
        claim(secret not in evidence.run.output, "a secret was printed", secret[:12])


def _calls(evidence: Evidence) -> None:
    told = evidence.result["calls"]["authentik"]
    count = len(evidence.authentik_log)
    claim(told == count or (not evidence.quiet and told > count), "calls.authentik", told, count)


def _google(evidence: Evidence) -> None:
    """Nothing is ever written at Google, by nobody."""
    writes = [item for item in evidence.google_log if item["method"] != "GET" and item["path"] != "/token"]
    claim(not writes, "a write at Google", writes[:3])
    claim(unvaried(evidence.google_before) == unvaried(evidence.google_after), "Google is another one than before")


def _posts(evidence: Evidence) -> list[Json]:
    return [item for item in evidence.authentik_log if item["method"] != "GET"]


def _changed(evidence: Evidence) -> None:
    result, really = evidence.result, evidence.really_changed
    if evidence.check:
        claim(not really, "check mode changed connections")
        claim(not _posts(evidence), "check mode wrote", _posts(evidence)[:3])
        return
    if really:
        claim(result["changed"], "connections changed, and changed is false", _brief(evidence), result)
    elif result["changed"]:
        # A write of which nobody knows what became.
        unknown = evidence.run.failed and not evidence.quiet
        claim(unknown, "changed is true, and the connections are as before", _brief(evidence), result)


def _brief(evidence: Evidence) -> tuple[list[Any], list[Any]]:
    before, after = (
        sorted((row["kind"], str(row["obj"]), row["google_id"]) for row in rows.values())
        for rows in (evidence.rows_before, evidence.rows_after)
    )
    return before, after


def _operations(evidence: Evidence) -> None:
    """What the module says that it wrote, against authentik's log; what authentik did, against its connections."""
    operations = evidence.result["operations"]
    claim(all(item["resource"] == "connection" for item in operations), "an operation of another kind", operations)
    if evidence.check:
        return
    claim(evidence.result["changed"] or not operations, "operations, and changed is false", operations)
    sent = [item for item in _posts(evidence) if _CONNECTION.search(item["path"])]
    performed = Counter(item["method"] for item in sent if item["status"] in SUCCESS)
    told = Counter(item["method"] for item in operations if item["by"] == "module")
    claim(not told - Counter(item["method"] for item in sent), "operations that nobody asked for", told, sent)
    claim(told == performed or not evidence.quiet, "operations", told, performed)
    fresh = {row["google_id"] for pk, row in evidence.rows_after.items() if evidence.rows_before.get(pk) != row}
    for item in operations:
        if item["by"] == "authentik":
            claim(item["key"] in fresh, "authentik is said to have linked, and did not", item, sorted(fresh))


def _strangers(evidence: Evidence) -> None:
    """The module itself touches connections of nobody but the object; no record gets a second object."""
    target = None if evidence.state == "repaired" else evidence.target()
    for pk, row in evidence.rows_before.items():
        if evidence.state != "repaired" and pk not in evidence.rows_after:
            mine = target is not None and (row["kind"], row["obj"]) == (evidence.kind, target["pk"])
            claim(mine, "another object's connection was removed", row)
    for pk, row in evidence.rows_after.items():
        if pk in evidence.rows_before:
            continue
        others = [
            item
            for item in evidence.rows_before.values()
            if item["id"] in evidence.rows_after
            and item["kind"] == row["kind"]
            and item["obj"] != row["obj"]
            and item["google_id"].lower() == row["google_id"].lower()
        ]
        claim(not others, "a record got a second object", row, others)


def _connection(evidence: Evidence) -> None:
    """present and absent: what is left, and what the result says of it."""
    result, state = evidence.result, evidence.state
    target = evidence.target()
    if target is None:
        claim(evidence.run.failed, "an object that is not there", result)
        return
    if evidence.run.failed:
        return
    before = sorted(row["google_id"] for row in evidence.own(evidence.rows_before))
    left = sorted(row["google_id"] for row in evidence.own(evidence.rows_after))
    asked = evidence.options.get("google_id")
    if "diff" in result:
        claim(result["diff"]["before"] == {"google_id": before}, "diff.before", result["diff"], before)
        after = {"google_id": left}
        claim(evidence.check or result["diff"]["after"] == after, "diff.after", result["diff"], after)
    if state == "absent":
        gone = [name for name in before if not asked or name.lower() == asked.lower()]
        claim(result["changed"] == bool(gone), "changed of absent", result["changed"], gone)
        if not evidence.check:
            claim(sorted([*left, *gone]) == before, "absent, and what is left is", left, before, gone)
        return
    _present(evidence, left, str(asked))


def _present(evidence: Evidence, left: list[str], asked: str) -> None:
    result = evidence.result
    said = result["connection"]
    if not evidence.check:
        claim(left == [said["google_id"]], "present, and the connections are", left, said)
        rows = evidence.own(evidence.rows_after)
        claim(said["id"] == str(rows[0]["id"]), "connection.id", said, rows)
        if said["attributes_in_step"] and evidence.quiet:
            mine = record(evidence.google_after, evidence.kind, said["google_id"])
            same = mine is not None and (rows[0]["attributes"] or {}).get("id") == mine["id"]
            claim(same, "in step, and the copy is another record's", rows[0]["attributes"], mine)
    if evidence.blind:
        claim(said["google_id"].lower() == asked.lower(), "connected with something else", said, asked)
        return
    if evidence.quiet:
        there = record(evidence.google_after, evidence.kind, asked)
        claim(there is not None, "connected with a record that is not there", asked)
        names = (there["id"], str(there.get("primaryEmail") or there.get("email"))) if there else ()
        claim(asked.lower() in [name.lower() for name in names], "connected by an alias", asked, names)
        claim(said["google_id"] in names, "connected with another record", said, names)


def record(google: Json, kind: str, key: str) -> Json | None:
    """The record that Google gives for an address, an alias or an id."""
    name = "primaryEmail" if kind == "user" else "email"
    for item in google[kind + "s"]:
        if key.lower() in [str(text).lower() for text in (item["id"], item[name], *item.get("aliases", []))]:
            return item
    return None


def _repaired(evidence: Evidence) -> None:
    result = evidence.result
    if evidence.run.failed:
        return
    shown = {item["id"]: item for item in result["contradictions"]}
    strange = set(shown) - set(evidence.rows_before)
    claim(not strange, "contradictions of connections that are not there", strange)
    if evidence.check:
        acting = [item for item in shown.values() if item["action"] != "reported"]
        claim(result["changed"] == bool(acting), "changed", result["changed"], acting)
        return
    for pk, item in shown.items():
        gone = pk not in evidence.rows_after
        claim(gone == (item["action"] != "reported"), "a contradiction's action", item, gone)
        again = any(
            (row["kind"], row["google_id"]) == (evidence.rows_before[pk]["kind"], item["google_id"])
            for key, row in evidence.rows_after.items()
            if key not in evidence.rows_before
        )
        claim(again == (item["action"] == "renewed") or not gone, "a connection that was created again", item, again)
    removed = set(evidence.rows_before) - set(evidence.rows_after)
    claim(removed <= set(shown), "a connection was removed that contradicts nothing", removed - set(shown))


def same_prediction(predicted: ModuleRun, real: ModuleRun) -> None:
    """A check-mode result against what a real run from the same state then did; raises FalseClaim."""
    claim(predicted.failed == real.failed, "predicted failure", predicted.result, real.result)
    if real.failed:
        claim(predicted.result["code"] == real.result["code"], "predicted code", predicted.result, real.result)
        return
    first, second = predicted.result, real.result
    claim(first["changed"] == second["changed"], "predicted changed", first, second)

    def brief(result: Json) -> Any:
        return sorted((item["method"], item["key"].lower(), item["by"]) for item in result["operations"])

    claim(brief(first) == brief(second), "predicted operations", brief(first), brief(second))
    claim(first.get("diff") == second.get("diff"), "predicted diff", first.get("diff"), second.get("diff"))


def whose(evidence: Evidence, before: Json, after: Json) -> None:
    """A sync that follows writes to nobody else's record because of a connection that this run made without a look.

    Args:
        before, after: Google's states around that sync.
    """
    target = evidence.target()
    assert target
    asked = str(evidence.options["google_id"]).lower()
    name = "primaryEmail" if evidence.kind == "user" else "email"
    after_by_id = {item["id"]: item for item in after[evidence.kind + "s"]}
    for item in before[evidence.kind + "s"]:
        now = after_by_id.get(item["id"])
        if now is not None and unvaried({"users": [now], "groups": []}) == unvaried({"users": [item], "groups": []}):
            continue
        own = asked in (item["id"].lower(), item[name].lower())
        wanted = str(target.get("email") or "").lower()
        fine = own or evidence.kind == "group" or item[name].lower() == wanted
        claim(fine, "a guessed connection led to somebody else's record", asked, item)
        claim(not item.get("isAdmin"), "a guessed connection led to an administrator's account", asked, item)
