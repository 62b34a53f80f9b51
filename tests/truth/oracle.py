# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person who sees both sides would say of a result. Knows nothing of the modules' code."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import datetime
from typing import Any

from tests.support.google import unvaried
from tests.support.module import ModuleRun

DOMAIN = "corp.example.com"
SERVICE_ACCOUNTS = ("service_account", "internal_service_account")
SUCCESS = range(200, 300)
# Fields of a person that the sandbox's people can differ in, by path.
PERSON_FIELDS = (
    ("primaryEmail",),
    ("name", "givenName"),
    ("name", "familyName"),
    ("name", "displayName"),
    ("suspended",),
    ("orgUnitPath",),
    ("notes", "value"),
)
GROUP_FIELDS = (("email",), ("name",), ("description",))
LEVELS = ("critical", "exception", "error", "warning", "warn", "info", "debug", "notset")
# What must never be printed, wherever it comes from: password hashes of both kinds, Google's access tokens, a signed
# assertion.
NEVER_PRINTED = ("pbkdf2_sha256$", "5f4dcc3b5aa765d61d8327deb882cf99", "ya29.", "eyJhbGciOi")
# Whom membership: exact leaves alone unless told otherwise.
KEPT = ("owner", "manager", "group", "customer")


class FalseClaim(AssertionError):
    """The result says what is not so."""


def claim(holds: bool, text: str, *facts: Any) -> None:
    if not holds:
        raise FalseClaim(": ".join([text, *(repr(fact) for fact in facts)]))


class Evidence:
    """All that is known of one run from outside.

    Args:
        options, check: how the module was called.
        run: what it printed.
        before, after: Google's state, as the sandbox holds it.
        authentik: authentik's state at the run.
        google_log, authentik_log: the requests of the run.
        quiet: no fault, lag or missing permission was in force.
        version: authentik's.
    """

    def __init__(
        self,
        options: dict[str, Any],
        check: bool,
        run: ModuleRun,
        before: dict[str, Any],
        after: dict[str, Any],
        authentik: dict[str, Any],
        google_log: list[dict[str, Any]],
        authentik_log: list[dict[str, Any]],
        quiet: bool,
        version: str,
    ) -> None:
        self.options, self.check, self.run, self.quiet = options, check, run, quiet
        self.before, self.after, self.authentik = before, after, authentik
        self.google_log, self.authentik_log = google_log, authentik_log
        self.result = run.result
        self.kind = options["sync_object_model"]
        self.direct = options.get("engine") == "direct"
        self.version = version
        self.really_changed = unvaried(before) != unvaried(after)

    def target(self) -> dict[str, Any] | None:
        """The object in authentik."""
        found = self.targets()
        return found[0] if len(found) == 1 else None

    def targets(self) -> list[dict[str, Any]]:
        """The objects that the identifier fits: only one of them can be meant."""
        key = "username" if self.kind == "user" else "name"
        asked = self.options["sync_object_id"]
        return [item for item in self.authentik[self.kind + "s"] if asked in (item[key], str(item["pk"]))]

    def was_denied(self) -> bool:
        """Whether authentik answered the request for this one object that there is none: a fault, for it is there.

        A primary key may be that of an object which was deleted, and nothing else can tell the direct engine.
        """
        target = self.target()
        path = f"/core/{self.kind}s/{target['pk']}/" if target else ""
        asked = [item for item in self.authentik_log if item["method"] == "GET" and item["path"].endswith(path)]
        return bool(path) and bool(asked) and asked[-1]["status"] == 404

    def saw_the_past(self) -> bool:
        """Whether Google's own reads showed a state before the last one, before this run wrote anything."""
        users = {item["id"]: item for item in self.before["users"]}
        groups = {item["id"]: item for item in self.before["groups"]}
        for entry in self.google_log:
            if entry in _writes([entry]):
                return False
            reply = entry["reply"]
            if entry["method"] != "GET" or entry["status"] != 200 or not isinstance(reply, dict):
                continue
            members = re.search(r"/groups/([^/]+)/members$", entry["path"])
            if members:
                key = members.group(1).lower()
                there = [item for item in groups.values() if key in (item["id"].lower(), item["email"])]
                shown = {item["id"] for item in reply.get("members", [])}
                if there and shown != {item["id"] for item in there[0]["members"]}:
                    return True
            now = {**users, **groups}.get(str(reply.get("id")))
            if now is not None and any(reply.get(key) != now.get(key) for key in {*reply, *now} - {"etag", "members"}):
                return True
        return False

    def provider(self) -> dict[str, Any]:
        return self.authentik["providers"][0]

    def mappings(self) -> set[str]:
        pks = self.provider()["property_mappings" if self.kind == "user" else "property_mappings_group"]
        return {item["name"] for item in self.authentik["mappings"] if item["pk"] in pks}

    def wanted(self) -> dict[str, Any]:
        """What the assigned mappings want of the object's record, by path."""
        target = self.target()
        assert target, "nothing is wanted of what is not there"
        names = self.mappings()
        fields: dict[str, Any] = {}
        if self.kind == "user":
            given, _blank, family = target["name"].partition(" ")
            # authentik gives the address itself, whatever the mappings say.
            fields = {"primaryEmail": target["email"].lower()}
            if any("zz" not in name for name in names):
                fields = {
                    **fields,
                    "name.givenName": given.strip(),
                    "name.familyName": family.strip(),
                    "name.displayName": target["name"],
                    "suspended": not target["is_active"],
                }
            if "zz notes" in names:
                fields["notes.value"] = "from authentik"
        else:
            fields = {"email": wants("group", target)}
            if any("zz" not in name for name in names):
                fields["name"] = target["name"]
            if "zz description" in names:
                fields["description"] = "from authentik"
        return fields

    def record(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """The record at Google that the result is about: by the address that is wanted."""
        key = "primaryEmail" if self.kind == "user" else "email"
        address = self.wanted()[key]
        found = [item for item in state[self.kind + "s"] if item[key].lower() == address]
        return found[0] if found else None


def in_scope(kind: str, item: dict[str, Any], provider: dict[str, Any], mappings: set[str]) -> bool:
    """Whether a provider with these mappings, by name, syncs an object."""
    if kind == "group":
        return "zz group skip" not in mappings
    if item["username"] == "AnonymousUser" or {"zz skip", f"zz skip {item['username']}"} & mappings:
        return False
    if provider["exclude_users_service_account"] and item["type"] in SERVICE_ACCOUNTS:
        return False
    wanted = provider["filter_group"]
    return not wanted or wanted in [str(pk) for pk in item["groups"]]


def wants(kind: str, item: dict[str, Any], domain: str = DOMAIN) -> str:
    """The address that an object wants at Google, unless a property mapping gives another."""
    if kind == "user":
        return str(item["email"]).lower()
    plain = unicodedata.normalize("NFKD", item["name"]).encode("ascii", "ignore").decode().lower()
    return "{}@{}".format(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-_"), domain)


def flat(record: dict[str, Any] | None, fields: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    found = {}
    for path in fields:
        value: Any = record or {}
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        found[".".join(path)] = value
    return found


def check(evidence: Evidence, secrets: set[str], messages: list[dict[str, Any]] | None) -> None:
    """Hold every claim of a result against the evidence; raises FalseClaim."""
    _forms(evidence)
    _object(evidence)
    _secrets(evidence, secrets)
    _calls(evidence)
    _changed(evidence)
    _operations(evidence)
    _status(evidence)
    _messages(evidence, messages)


def _forms(evidence: Evidence) -> None:
    result = evidence.result
    known = ("synced", "unchanged", "out_of_scope", "dry_run", "unconfirmed", "failed")
    claim(result.get("status") in known, "status is none of those documented", result)
    claim("Traceback" not in evidence.run.output, "a traceback was printed", evidence.run.output[-2000:])
    if evidence.run.failed:
        claim(bool(result.get("msg")) and bool(result.get("code")), "a failure without msg or code", result)
    if result["status"] == "failed" and "fail_on" not in evidence.options:
        claim(evidence.run.failed, "status failed, and the task did not fail", result)
    if not evidence.run.failed and result["status"] == "failed":
        claim(bool(evidence.run.warnings), "status failed, and neither a failure nor a warning", result)
    claim(result["engine"] == evidence.options.get("engine", "server"), "engine", result["engine"])
    claim(result["server_version"] in (None, evidence.version), "server_version", result["server_version"])
    claim(0 <= result["duration"] < 600, "duration", result["duration"])
    for line in result["messages"]:
        claim(line["log_level"] in LEVELS and bool(line["event"]) and bool(line["logger"]), "a message's form", line)
        claim(isinstance(line["attributes"], dict), "a message's attributes", line)
        try:
            datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))
        except ValueError:
            claim(False, "a message's timestamp", line)


def _object(evidence: Evidence) -> None:
    """Who is meant, and what it is called at Google."""
    said, target, result = evidence.result["object"], evidence.target(), evidence.result
    if target is None or not said:
        return
    name = target["username" if evidence.kind == "user" else "name"]
    if said["name"] is None and evidence.was_denied():
        # Its key is all that is known of it then.
        name = None
    claim((said["pk"], said["name"]) == (str(target["pk"]), name), "object", said, target["pk"], name)
    if result["basis"] == "google" and result["status"] in ("synced", "unchanged") and not evidence.check:
        known = [
            {item["id"], item.get("primaryEmail"), item.get("email"), *item.get("aliases", [])}
            for item in evidence.after[evidence.kind + "s"]
        ]
        claim(any(said["google_id"] in names for names in known), "object.google_id", said)


def _secrets(evidence: Evidence, secrets: set[str]) -> None:
    found = set(secrets)
    for item in evidence.google_log:
        if isinstance(item["body"], dict) and item["body"].get("password"):
            found.add(item["body"]["password"])
    for secret in found:
        claim(secret not in evidence.run.output, "a secret was printed", secret[:12])
    for text in NEVER_PRINTED:
        claim(text not in evidence.run.output, "a secret was printed", text)


def _calls(evidence: Evidence) -> None:
    calls = evidence.result["calls"]
    seen = {"authentik": len(evidence.authentik_log)}
    if evidence.direct:
        seen["google"] = len([item for item in evidence.google_log if item["path"] != "/token"])
    for side, count in seen.items():
        # A request into a connection that a fault has just closed was made and never seen.
        claim(calls[side] == count or (not evidence.quiet and calls[side] > count), f"calls.{side}", calls, count)


def _writes(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in log if item["method"] != "GET" and item["path"] != "/token"]


def _changed(evidence: Evidence) -> None:
    result = evidence.result
    really = evidence.really_changed
    if evidence.check:
        claim(not really, "check mode changed Google")
        claim(not _writes(evidence.google_log), "check mode wrote at Google", _writes(evidence.google_log))
        sent = [item for item in _writes(evidence.authentik_log) if not item["path"].endswith("/test/")]
        if not (evidence.provider().get("dry_run") and not evidence.direct):
            claim(not sent, "check mode wrote at authentik", sent)
        return
    basis = result["basis"]
    if basis == "assumed":
        claim(bool(evidence.run.warnings) or evidence.run.failed, "assumed without a warning", result)
        return
    if basis == "connection":
        # As far as authentik's own record shows: a drift that it repaired is not visible in it, and the docs say so.
        return
    if basis == "nothing_sent":
        claim(not really and not result["changed"], "nothing_sent, and Google is another one", result)
        return
    if not evidence.quiet and evidence.saw_the_past():
        # What Google itself still shows cannot be known better; that something was changed must be told all the same.
        claim(result["changed"] or not really, "a change is kept silent", result)
        return
    claim(result["changed"] == really, "changed", result["changed"], really, result)
    if result["status"] == "dry_run":
        # Its changes and operations are those that would have been.
        return
    claim(bool(result["changes"]) == really, "changes without a change, or the other way round", result["changes"])
    _differences(evidence)


def _differences(evidence: Evidence) -> None:
    """changes and diff against the real differences of the one object that differs."""
    result = evidence.result
    key, fields = ("primaryEmail", PERSON_FIELDS) if evidence.kind == "user" else ("email", GROUP_FIELDS)
    old = {item["id"]: item for item in evidence.before[evidence.kind + "s"]}
    new = {item["id"]: item for item in evidence.after[evidence.kind + "s"]}
    touched = [pk for pk in set(old) | set(new) if old.get(pk) != new.get(pk)]
    claim(len(touched) <= 1, "more than one object was touched", touched)
    if not touched:
        return
    pk = touched[0]
    before, after = flat(old.get(pk), fields), flat(new.get(pk), fields)

    def says_nothing(value: Any, path: str) -> bool:
        return value in (None, "", False) or (path == "orgUnitPath" and value == "/")

    real = {
        path: (before[path], after[path])
        for path in before
        if before[path] != after[path] and not (says_nothing(before[path], path) and says_nothing(after[path], path))
    }
    told = {item["path"]: (item.get("before"), item.get("after")) for item in result["changes"] if "after" in item}
    for path, (was, now) in real.items():
        claim(path in told, "a difference is missing from changes", path, was, now, result["changes"])
        claim(
            told[path] == (was, now) or says_nothing(was, path),
            "a difference is told wrongly",
            path,
            told[path],
            was,
            now,
        )
        claim(told[path][1] == now, "a difference is told wrongly", path, told[path], now)
    for path in told:
        claim(path in real or path in ("id", "aliases", "emails"), "a difference that is none", path, told[path])
    if "diff" in result and key in after:
        claim(result["diff"]["after"].get(key) == after[key].lower(), "diff.after", result["diff"]["after"], after)
    if evidence.kind == "group" and evidence.options.get("membership") != "ignore":
        was = {_member(item) for item in (old.get(pk) or {"members": []})["members"]}
        now = {_member(item) for item in (new.get(pk) or {"members": []})["members"]}
        members = [item for item in result["changes"] if item["path"] == "members"]
        added = set(members[0]["added"]) if members else set()
        removed = set(members[0]["removed"]) if members else set()
        claim((added, removed) == (now - was, was - now), "members", members, now - was, was - now)


def _member(item: dict[str, Any]) -> str:
    """How a member is called: by its address, or by its id where it has none (a whole customer)."""
    return str(item.get("email") or item["id"]).lower()


_PATHS = (
    (re.compile(r"/groups/[^/]+/members/[^/]+$"), "member"),
    (re.compile(r"/groups/[^/]+/members$"), "member"),
    (re.compile(r"/users(/[^/]+)?$"), "user"),
    (re.compile(r"/groups(/[^/]+)?$"), "group"),
)


def _operations(evidence: Evidence) -> None:
    if evidence.check or evidence.result["status"] == "dry_run":
        return
    performed: Counter[tuple[str, str]] = Counter()
    attempted: Counter[tuple[str, str]] = Counter()
    for item in _writes(evidence.google_log):
        resource = next((name for pattern, name in _PATHS if pattern.search(item["path"])), "?")
        attempted[item["method"], resource] += 1
        if item["status"] in SUCCESS:
            performed[item["method"], resource] += 1
    told = Counter(
        (item["method"], item["resource"])
        for item in evidence.result["operations"]
        if item["resource"] != "connection" and item["method"]
    )
    # What authentik wrote is told from two looks: where Google showed the past in the first one, by an earlier write.
    past = not evidence.direct and not evidence.quiet and evidence.saw_the_past()
    claim(past or not told - attempted, "operations that nobody asked Google for", told, attempted)
    if evidence.direct and evidence.quiet:
        claim(told == performed, "operations", told, performed)
        made = Counter(
            str(item["body"].get("primaryEmail") or item["body"]["email"]).lower()
            for item in _writes(evidence.google_log)
            if item["method"] == "POST" and item["status"] in SUCCESS
        )
        named = Counter(
            str(item["key"]).lower()
            for item in evidence.result["operations"]
            if item["resource"] != "connection" and item["method"] == "POST"
        )
        claim(made == named, "what operations made", named, made)
    if evidence.quiet:
        claim(not told - performed, "operations that Google did not perform", told, performed)
    if evidence.direct and evidence.quiet:
        rows = Counter(
            item["method"]
            for item in _writes(evidence.authentik_log)
            if "/google_workspace_" in item["path"] and item["status"] in SUCCESS
        )
        said = Counter(item["method"] for item in evidence.result["operations"] if item["resource"] == "connection")
        claim(said == rows, "operations on connections", said, rows)


def _status(evidence: Evidence) -> None:
    result, options = evidence.result, evidence.options
    status, target = result["status"], evidence.target()
    if target is None:
        known = ("failed",) if evidence.targets() else ("failed", "out_of_scope")
        claim(status in known, "an object that is not there, or one of two", status)
        return
    out = _out_of_scope(evidence, target)
    if status == "out_of_scope":
        if evidence.was_denied():
            told = [*evidence.run.warnings, str(result.get("msg"))]
            quiet = options.get("out_of_scope") == "ignore"
            claim(quiet or any("authentik has no" in text for text in told), "denied by authentik, and untold", told)
            claim(result["basis"] == "nothing_sent", "basis of what authentik denies", result)
        else:
            claim(out, "out_of_scope, and it is in scope", target)
        return
    if status == "dry_run":
        claim(bool(evidence.provider().get("dry_run")), "dry_run, and the provider is not")
        claim(not evidence.really_changed and not result["changed"], "a dry run that changed something", result)
        return
    if status in ("synced", "unchanged"):
        claim(result["basis"] != "nothing_sent", "in sync, and nothing was looked at", result)
        claim(not out, "synced, and it is out of scope", target)
        claim(not evidence.run.failed, "synced and failed", result)
        if not evidence.check and result["basis"] == "google":
            claim(result["changed"] == (status == "synced"), "status and changed", status, result["changed"])
            if evidence.quiet or not evidence.saw_the_past():
                _holds_what_is_wanted(evidence)
        elif not evidence.check and evidence.quiet:
            # Whatever the result rests on: in sync is in sync.
            _holds_what_is_wanted(evidence)
    if evidence.quiet and not out and not options.get("override_dry_run"):
        _must_succeed(evidence, target)


def _out_of_scope(evidence: Evidence, target: dict[str, Any]) -> bool:
    return not in_scope(evidence.kind, target, evidence.provider(), evidence.mappings())


def _holds_what_is_wanted(evidence: Evidence) -> None:
    record = evidence.record(evidence.after)
    wanted = evidence.wanted()
    claim(record is not None, "synced, and Google has no such record", wanted)
    target = evidence.target()
    assert record and target
    fields = PERSON_FIELDS if evidence.kind == "user" else GROUP_FIELDS
    found = flat(record, fields)
    for path, value in wanted.items():
        same = found[path] == value or (not found[path] and not value)
        claim(same, "synced, and Google does not hold", path, value, found[path])
    looked_at_members = evidence.options.get("membership") != "ignore" and evidence.result["basis"] == "google"
    if evidence.kind == "group" and looked_at_members:
        there = {_member(item) for item in record["members"]}
        people = {item["username"]: item for item in target["users_obj"]}
        accounts = {item["primaryEmail"] for item in evidence.after["users"]}
        for name, person in people.items():
            skipped = name in evidence.result["skipped_members"]
            if not skipped and person["email"].lower() in accounts:
                claim(person["email"].lower() in there, "synced, and a member is missing", name, there)
            if skipped and evidence.direct and evidence.quiet:
                claim(person["email"].lower() not in accounts, "skipped, and there is an account", name)
        strangers = set(evidence.result["skipped_members"]) - set(people)
        claim(not strangers, "skipped_members that are no members", strangers)
        if evidence.options.get("membership") == "exact":
            known = {person["email"].lower() for person in people.values()}
            ids = {
                str((row["attributes"] or {}).get("id"))
                for row in evidence.authentik["connections"]
                if row["kind"] == "user"
            }
            google_ids = {row["google_id"] for row in evidence.authentik["connections"] if row["kind"] == "user"}
            kept = evidence.options.get("keep_members", KEPT)
            for member in record["members"]:
                if member["role"].lower() not in kept and member["type"].lower() not in kept:
                    address = str(member.get("email")).lower()
                    fine = address in known or member["id"] in ids or address in google_ids
                    claim(fine, "exact, and somebody is still a member", member)


def _must_succeed(evidence: Evidence, target: dict[str, Any]) -> None:
    """Nothing stands against this sync, so that it must have succeeded; only where that is beyond doubt."""
    if not evidence.direct or evidence.options.get("verify") not in (None, "auto", "google"):
        return
    names = evidence.mappings()
    if (
        {"zz fail", "zz group fail"} & names
        or not [name for name in names if "zz" not in name]
        or evidence.provider().get("dry_run")
    ):
        return
    wanted = evidence.wanted()
    key = "primaryEmail" if evidence.kind == "user" else "email"
    address = wanted[key]
    if not address.endswith("@" + DOMAIN) or address.startswith("@"):
        return
    if evidence.kind == "user" and not (wanted["name.givenName"] and wanted["name.familyName"]):
        return
    same = [
        item
        for item in evidence.authentik[evidence.kind + "s"]
        if item["pk"] != target["pk"] and wants(evidence.kind, item) == address
    ]
    if same or any(item.get("isAdmin") or item.get("isDelegatedAdmin") for item in evidence.before["users"][1:]):
        # Two want one record, or an administrator's is among them: see harm.py.
        return
    # Somebody else may hold the address, or have it as an alias, or a connection may lead to somebody else.
    holders = [
        item
        for item in [*evidence.before["users"], *evidence.before["groups"]]
        if address in (item.get("primaryEmail"), item.get("email"), *item.get("aliases", []))
    ]
    own = [item for item in holders if item.get(key) == address]
    rows = [
        row for row in evidence.authentik["connections"] if row["kind"] == evidence.kind and row["obj"] == target["pk"]
    ]
    if (
        len(holders) > len(own)
        or rows
        and any(row["google_id"] not in (address, (own or [{}])[0].get("id")) for row in rows)
    ):
        return
    claim(
        evidence.result["status"] in ("synced", "unchanged"),
        "nothing stood against it",
        evidence.result["status"],
        evidence.result.get("msg"),
        evidence.run.warnings,
    )


def _messages(evidence: Evidence, tasks: list[dict[str, Any]] | None) -> None:
    """messages against where they say that they come from."""
    result = evidence.result
    told = [item["timestamp"] for item in result["messages"]]
    if result["messages_source"] == "task_log" and tasks:
        newest = max(tasks, key=lambda item: item["mtime"])
        lines = sorted(newest.get("previous_logs", []) + newest.get("logs", []), key=lambda line: line["timestamp"])
        claim(told == [line["timestamp"] for line in lines][: len(told)] and bool(told), "messages", told, lines)
    if result["messages_source"] == "response":
        answers = [item["reply"] for item in evidence.authentik_log if item["path"].endswith("/sync/object/")]
        lines = answers[-1]["messages"]
        claim(len(lines) == len(result["messages"]), "messages", result["messages"], lines)
        for line, item in zip(sorted(lines, key=lambda entry: entry["timestamp"]), result["messages"], strict=True):
            # authentik's own text may hold a password, which must not be repeated.
            same = line["event"] == item["event"] or "password" in line["event"]
            claim(same and line["log_level"] == item["log_level"], "messages", item, line)
    if result["messages_source"] == "unavailable" and _posted(evidence) and not evidence.direct:
        claim(bool(evidence.run.warnings) or evidence.run.failed, "no messages, and no word about it", result)
    if evidence.direct:
        _own_log(evidence)


def _posted(evidence: Evidence) -> bool:
    return any(item["path"].endswith("/sync/object/") for item in evidence.authentik_log)


def _own_log(evidence: Evidence) -> None:
    """The direct engine's log tells each write at Google, and the failure."""
    result = evidence.result
    events = [line["event"] for line in result["messages"]]
    claim(result["messages_source"] == "engine", "messages_source", result["messages_source"])
    if not evidence.check and result["status"] != "dry_run":
        for item in result["operations"]:
            if item["resource"] != "connection":
                claim(any(item["key"] in event for event in events), "a write without a message", item, events)
    if evidence.run.failed and result["object"]:
        levels = [line["log_level"] for line in result["messages"]]
        claim("error" in levels, "a failure without a message", result["msg"], events)


def same_prediction(predicted: dict[str, Any], real: dict[str, Any]) -> None:
    """A check-mode result against what a real run from the same state then did; raises FalseClaim."""
    if predicted["basis"] != "google" or real["basis"] not in ("google", "nothing_sent"):
        return
    if "unconfirmed" in (predicted["status"], real["status"]):
        return
    if real["engine"] == "server" and "from Google's record" in real.get("msg", ""):
        # Servers before 2025.10 stop at connections of other objects, which a prediction would have to list all to see.
        return
    claim(
        predicted["status"] == real["status"], "predicted status", predicted["status"], real["status"], real.get("msg")
    )
    claim(predicted["changed"] == real["changed"], "predicted changed", predicted["changed"], real["changed"])
    if predicted["status"] == "failed":
        return
    # A name that no mapping gives to a new group is Google's to choose.
    made = any(item["method"] == "POST" and item["resource"] == "group" for item in predicted["operations"])
    unnamed = made and not any(item["path"] == "name" for item in predicted["changes"])
    ignored = ("members", "aliases", "id", "name.displayName", "emails", *(["name"] if unnamed else []))

    def brief(result: dict[str, Any]) -> Any:
        members = [item for item in result["changes"] if item["path"] == "members"]
        paths = {item["path"] for item in result["changes"] if item["path"] not in ignored}
        operations = Counter(
            (item["method"], item["resource"], item["key"], item.get("group"))
            for item in result["operations"]
            if item["resource"] != "connection"
        )
        return paths, members, operations

    claim(brief(predicted) == brief(real), "prediction", brief(predicted), brief(real))
    if "diff" in predicted and "diff" in real:
        claim(predicted["diff"]["before"] == real["diff"]["before"], "predicted diff", predicted["diff"], real["diff"])
        after, really = predicted["diff"]["after"], real["diff"]["after"]
        for key in ("primaryEmail", "name.givenName", "name.familyName", "suspended", "name", "email", "members"):
            same = after.get(key) == really.get(key)
            claim(same or (unnamed and key == "name"), "predicted diff", key, after, really)
