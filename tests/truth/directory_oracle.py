# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person who sees both sides would say of a whole directory's sync. Knows nothing of the modules' code.

Everything is told apart by Google's immutable ids: what differs between the state before and the state after is what
happened, and the result, its report file and its journal are held against that.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

from tests.support.google import unvaried
from tests.support.module import ModuleRun
from tests.truth.oracle import GROUP_FIELDS, PERSON_FIELDS, SUCCESS, claim, flat, in_scope, wants

KINDS = {"user": ("primaryEmail", PERSON_FIELDS), "group": ("email", GROUP_FIELDS)}
OUTCOMES = ("unchanged", "created", "updated", "suspended", "out_of_scope", "skipped", "failed", "unconfirmed")
OF_ORPHANS = ("deleted", "unlinked")
_PATHS = (
    (re.compile(r"/groups/[^/]+/members/[^/]+$"), "member"),
    (re.compile(r"/groups/[^/]+/members$"), "member"),
    (re.compile(r"/users(/[^/]+)?$"), "user"),
    (re.compile(r"/groups(/[^/]+)?$"), "group"),
    (re.compile(r"/google_workspace_(users|groups)/"), "connection"),
)

Json = dict[str, Any]


class Evidence:
    """All that is known of one run from outside.

    Args:
        options, check: how the module was called.
        run: what it printed.
        before, after: Google's state, as the sandbox holds it.
        authentik: authentik's state at the run.
        google_log, authentik_log: the requests of the run.
        quiet: no fault, lag or missing permission was in force.
        report, journal: the lines of both files, or None.
    """

    def __init__(
        self,
        options: Json,
        check: bool,
        run: ModuleRun,
        before: Json,
        after: Json,
        authentik: Json,
        google_log: list[Json],
        authentik_log: list[Json],
        quiet: bool,
        report: list[Json] | None = None,
        journal: list[Json] | None = None,
    ) -> None:
        self.options, self.check, self.run, self.quiet = options, check, run, quiet
        self.before, self.after, self.authentik = before, after, authentik
        self.google_log, self.authentik_log = google_log, authentik_log
        self.report, self.journal = report, journal
        self.result = run.result
        self.models = options.get("models", ["user", "group"])
        self.by_server = options.get("engine") == "server"
        self.really_changed = unvaried(before) != unvaried(after)
        self.old = {kind: records(before, kind) for kind in KINDS}
        self.new = {kind: records(after, kind) for kind in KINDS}
        self.gone = set(self.old["user"]) - set(self.new["user"])
        self._real: dict[str, dict[str, Json]] = {}

    @functools.cached_property
    def accounts_after(self) -> dict[str, str]:
        """{address of an account, aliases included: its id}, after the run."""
        return {address: user["id"] for user in self.after["users"] for address in addresses(user)}

    @functools.cached_property
    def asked_of_members(self) -> set[tuple[str, str]]:
        """(group, member) of each request about a single member."""
        paths = (item["path"].rpartition("/groups/")[2] for item in self.google_log)
        return {(path.split("/")[0], path.rpartition("/")[2]) for path in paths if "/members/" in path}

    def real_changes(self, kind: str) -> dict[str, Json]:
        """What real_changes() finds, looked at once."""
        if kind not in self._real:
            self._real[kind] = real_changes(self, kind)
        return self._real[kind]

    @property
    def provider(self) -> Json:
        return next(item for item in self.authentik["providers"] if item["pk"] == self.options["provider_id"])

    @property
    def dry(self) -> bool:
        return bool(self.provider.get("dry_run")) and not self.options.get("override_dry_run")

    @property
    def idle(self) -> bool:
        """Whether nothing may be written."""
        return self.check or self.dry

    def mappings(self, kind: str) -> set[str]:
        pks = self.provider["property_mappings" if kind == "user" else "property_mappings_group"]
        return {item["name"] for item in self.authentik["mappings"] if item["pk"] in pks}

    def in_scope(self, kind: str, item: Json) -> bool:
        return in_scope(kind, item, self.provider, self.mappings(kind))

    def objects(self, kind: str) -> list[Json]:
        """What authentik lists of a kind (of this shard, where a test says which)."""
        found = [item for item in self.authentik[kind + "s"] if item.get("username") != "AnonymousUser"]
        only = self.options.get("objects")
        if only is not None:
            names = {item.partition(":")[2] if ":" in item else item for item in only}
            found = [item for item in found if item["username" if kind == "user" else "name"] in names]
        return found

    def wanted(self, kind: str, item: Json) -> Json:
        """What the assigned mappings want of an object's record, by path."""
        names = self.mappings(kind)
        if kind == "user":
            given, _blank, family = item["name"].partition(" ")
            fields: Json = {"primaryEmail": item["email"].lower()}
            if [name for name in names if not name.startswith("zz")]:
                fields.update(
                    {
                        "name.givenName": given.strip(),
                        "name.familyName": family.strip(),
                        "name.displayName": item["name"],
                        "suspended": not item["is_active"],
                    }
                )
            if "zz notes" in names:
                fields["notes.value"] = "from authentik"
            return fields
        fields = {"email": wants("group", item, self.provider["default_group_email_domain"])}
        if [name for name in names if not name.startswith("zz")]:
            fields["name"] = item["name"]
        if "zz description" in names:
            fields["description"] = "from authentik"
        return fields


def check(evidence: Evidence, secrets: set[str]) -> None:
    """Hold every claim of a result against the evidence; raises FalseClaim."""
    _forms(evidence)
    _secrets(evidence, secrets)
    _calls(evidence)
    if evidence.by_server:
        _by_server(evidence)
        return
    _nothing_written(evidence)
    _changed(evidence)
    _counts(evidence)
    if evidence.report is not None:
        _lines(evidence)
    if evidence.journal is not None:
        _journal(evidence)
    _holds_what_is_wanted(evidence)


def _forms(evidence: Evidence) -> None:
    result = evidence.result
    claim("Traceback" not in evidence.run.output, "a traceback was printed", evidence.run.output[-2000:])
    known = ("synced", "unchanged", "dry_run", "failed", *(["unconfirmed"] if evidence.by_server else []))
    claim(result.get("status") in known, "status", result.get("status"))
    claim(result["engine"] == ("server" if evidence.by_server else "direct"), "engine", result["engine"])
    if evidence.run.failed:
        claim(bool(result.get("msg")) and bool(result.get("code")), "a failure without msg or code", result)
        claim(result["status"] == "failed", "failed, and the status is another", result["status"])
        claim(result["code"] != "unexpected", "an error that nobody listed", result["msg"])
    if result["status"] == "failed" and evidence.options.get("fail_on_objects", True):
        claim(evidence.run.failed, "status failed, and the task did not fail", result)
    limit = evidence.options.get("result_limit", 100)
    for name in ("changes", "failed_objects", "orphans"):
        claim(len(result[name]) <= limit, "more than result_limit", name)
    claim(len(result["changes"]) == min(limit, result["changes_total"]), "changes_total", result["changes_total"])
    claim(len(result["failed_objects"]) == min(limit, result["failed_total"]), "failed_total", result["failed_total"])
    for item in result["failed_objects"]:
        claim(bool(item["msg"]) and bool(item["code"]), "a failed object without a reason", item)


def _secrets(evidence: Evidence, secrets: set[str]) -> None:
    found = set(secrets)
    for item in evidence.google_log:
        if isinstance(item["body"], dict) and item["body"].get("password"):
            found.add(item["body"]["password"])
    texts = {"output": evidence.run.output, "report": repr(evidence.report), "journal": repr(evidence.journal)}
    for where, text in texts.items():
        for secret in found:
            claim(secret not in text, "a secret is in the " + where, secret[:12])
        claim("pbkdf2_sha256$" not in text, "a password's hash is in the " + where)


def _calls(evidence: Evidence) -> None:
    seen = {
        "authentik": len(evidence.authentik_log),
        "google": len([item for item in evidence.google_log if item["path"] != "/token" and not _is_authentik_s(item)]),
    }
    if evidence.by_server:
        # authentik's own requests to Google are in the same log.
        del seen["google"]
    for side, count in seen.items():
        told = evidence.result["calls"][side]
        # A request into a connection that a fault, or the server for idleness, has just closed was made and never seen.
        lost = sum(1 for line in evidence.result["messages"] if "out of reach" in line["event"])
        claim(count <= told <= count + lost or (not evidence.quiet and told > count), f"calls.{side}", told, count)


def _lists(request: Json) -> bool:
    """Whether it lets authentik list what is at Google: a sync of an object that does not exist, which writes nothing there."""
    body = request["body"] if isinstance(request["body"], dict) else {}
    return request["path"].endswith("/sync/object/") and body.get("sync_object_id") == "2147483647"


def _is_authentik_s(request: Json) -> bool:
    """Whether authentik sent it, while it lists what is there: it asks for all fields, and we never do."""
    return (
        request["method"] == "GET"
        and "fields" not in request["query"]
        and request["path"].endswith(("/users", "/domains"))
    )


def _writes(log: list[Json]) -> list[Json]:
    return [
        item
        for item in log
        if item["method"] != "GET"
        and item["path"] != "/token"
        and not item["path"].endswith("/test/")
        and not _lists(item)
    ]


def _nothing_written(evidence: Evidence) -> None:
    if evidence.idle or evidence.result.get("code") in ("guard", "invalid_option", "given_up_early"):
        claim(not evidence.really_changed, "Google changed though nothing may be written")
        claim(not _writes(evidence.google_log), "a write at Google", _writes(evidence.google_log)[:3])
        claim(not _writes(evidence.authentik_log), "a write at authentik", _writes(evidence.authentik_log)[:3])


def _changed(evidence: Evidence) -> None:
    result = evidence.result
    if evidence.idle:
        claim(evidence.check or not result["changed"], "a dry run that says it changed something")
        return
    if result["basis"] == "assumed":
        return
    claim(result["changed"] == evidence.really_changed, "changed", result["changed"], evidence.really_changed)
    claim(not (result["status"] == "unchanged" and result["changed"]), "unchanged, and changed")
    claim(not (result["status"] == "synced" and not result["changed"]), "synced, and nothing changed")


# authentik's own full sync


def _by_server(evidence: Evidence) -> None:
    """What the result says of a sync that authentik performed."""
    result = evidence.result
    sent = [item for item in _writes(evidence.authentik_log) if item["status"] in SUCCESS]
    if evidence.check or result["basis"] == "nothing_sent":
        claim(not sent, "nothing may be sent, and something was", sent[:3])
        claim(not evidence.really_changed, "Google changed though nothing was sent")
        claim(evidence.check or not result["changed"], "nothing was sent, and changed is true", result["basis"])
    if evidence.check:
        return
    if not sent:
        unknown = not evidence.quiet and result["basis"] == "assumed"
        claim(unknown or result["basis"] == "nothing_sent", "nothing was sent, and the basis is", result["basis"])
    starts = [item for item in sent if "/google_workspace" not in item["path"]]
    claim(len(starts) <= 3, "a full sync was started again and again", starts)
    if result["basis"] == "assumed":
        claim(bool(evidence.run.warnings) or evidence.run.failed, "assumed without a word", result)
    if result["basis"] == "google":
        claim(
            result["changed"] == evidence.really_changed
            or (not evidence.quiet and result["changed"] >= evidence.really_changed),
            "changed",
            result["changed"],
            evidence.really_changed,
        )
    counts = result["counts"]
    failed = sum(counts[kind][name] for kind in counts for name in ("failed", "unconfirmed"))
    # A page of objects that failed as a whole is an entry of its own.
    pages = sum(1 for line in evidence.report or [] if line["kind"] == "page")
    claim(result["failed_total"] <= failed + pages, "failed_total", result["failed_total"], counts, pages)
    if counts["users"]["failed"] + counts["groups"]["failed"]:
        claim(result["status"] == "failed", "objects failed, and the status is", result["status"])
    if result["status"] in ("synced", "unchanged"):
        claim(not failed, "objects failed, and the status is", result["status"], counts)
        for kind in ("user", "group"):
            found = counts[kind + "s"]
            claim(found["total"] == len(evidence.objects(kind)), "total of", kind, found)
            claim(found["total"] == sum(found[name] for name in OUTCOMES), "total", kind, found)
        claim((result["status"] == "synced") == result["changed"], "status and changed", result["status"])
    if result["basis"] != "google" or not evidence.quiet or evidence.report is None:
        return
    for line in evidence.report:
        if line["kind"] != "object" or not line["changes"] or line["basis"] == "assumed":
            continue
        pk = _record_of(evidence, line)
        real = evidence.real_changes(_kind(line))
        claim(pk in real, "a change of a record that did not change", line)
        _told_is_real(evidence, _kind(line), str(pk), line, real[str(pk)])
    told = sum(1 for line in evidence.report if line["kind"] == "object" and line["changes"])
    claim(told == result["changes_total"], "changes_total", told, result["changes_total"])
    if result["status"] in ("synced", "unchanged"):
        _holds_what_is_wanted(evidence)


def records(state: Json, kind: str) -> dict[str, Json]:
    return {item["id"]: item for item in state[kind + "s"]}


def members(record: Json | None) -> dict[str, Json]:
    return {item["id"]: item for item in (record or {}).get("members", [])}


def addresses(record: Json) -> set[str]:
    own = record.get("primaryEmail") or record.get("email") or ""
    return {str(item).lower() for item in (own, *record.get("aliases", []))}


def real_members(evidence: Evidence, pk: str) -> tuple[set[str], set[str]]:
    """The ids that came into a group and that left it, without those who left it with their account."""
    if pk not in evidence.new["group"]:
        return set(), set()
    was, now = set(members(evidence.old["group"].get(pk))), set(members(evidence.new["group"][pk]))
    gone = {member for member in evidence.gone if (pk, member) not in evidence.asked_of_members}
    return now - was, was - now - gone


def real_changes(evidence: Evidence, kind: str) -> dict[str, Json]:
    """{id: {path: (before, after)}} of every record that is another one than before; members by "members"."""
    _key, fields = KINDS[kind]
    old, new = evidence.old[kind], evidence.new[kind]
    found = {}
    for pk in set(old) | set(new):
        before, after = flat(old.get(pk), fields), flat(new.get(pk), fields)
        real = {path: (before[path], after[path]) for path in before if not same(path, before[path], after[path])}
        if kind == "group":
            added, removed = real_members(evidence, pk)
            if added or removed:
                real["members"] = (added, removed)
        if real or (pk in old) != (pk in new):
            found[pk] = real
    return found


def same(path: str, one: Any, other: Any) -> bool:
    def nothing(value: Any) -> bool:
        return value in (None, "", False) or (path == "orgUnitPath" and value == "/")

    return one == other or (nothing(one) and nothing(other))


def _counts(evidence: Evidence) -> None:
    result = evidence.result
    counts = result["counts"]
    failed = sum(counts[kind][name] for kind in counts for name in ("failed", "unconfirmed"))
    claim(result["failed_total"] == failed, "failed_total", result["failed_total"], counts)
    if failed and result.get("code") != "guard":
        claim(result["status"] == "failed", "objects failed, and the status is", result["status"])
    if result["status"] != "failed" or result.get("code") == "objects":
        # The run came to its end.
        for kind in evidence.models:
            found = counts[kind + "s"]
            # What was done about orphans counts besides, under the same names.
            claim(found["total"] <= sum(found[name] for name in OUTCOMES), "total", kind, found)
            if not found["orphans"]:
                claim(found["total"] == sum(found[name] for name in OUTCOMES), "total", kind, found)
                claim(not any(found[name] for name in OF_ORPHANS), "deleted nobody's", kind, found)
            if not evidence.options.get("shard_count"):
                nobody = [item for item in result["failed_objects"] if not item["pk"]]
                unknown = len([item for item in nobody if _kind(item) == kind])
                claim(found["total"] == len(evidence.objects(kind)) + unknown, "total of", kind, found)
    if evidence.idle or result["basis"] == "assumed":
        return
    for kind in ("user", "group"):
        old, new = evidence.old[kind], evidence.new[kind]
        found = counts[kind + "s"]
        real = evidence.real_changes(kind)
        made, gone = set(new) - set(old), set(old) - set(new)
        # One that was made and whose members then failed counts as failed.
        claim(found["created"] <= len(made), "created", kind, found["created"], len(made))
        claim(found["deleted"] <= len(gone), "deleted", kind, found["deleted"], len(gone))
        if evidence.quiet and not found["failed"] + found["unconfirmed"]:
            claim(found["created"] == len(made), "created", kind, found["created"], len(made))
            claim(found["deleted"] == len(gone), "deleted", kind, found["deleted"], len(gone))
            touched = len(set(real) - made - gone)
            claim(found["updated"] + found["suspended"] == touched, "updated", kind, found, touched)
    claim(
        result["changes_total"] == sum(len(evidence.real_changes(kind)) for kind in KINDS),
        "changes_total",
        result["changes_total"],
        {kind: sorted(evidence.real_changes(kind)) for kind in KINDS},
    )
    pairs = [real_members(evidence, pk) for pk in evidence.new["group"]]
    for name, number in (("members_added", 0), ("members_removed", 1)):
        real_number = sum(len(pair[number]) for pair in pairs)
        claim(counts["groups"][name] == real_number, name, counts["groups"][name], real_number)


def _kind(line: Json) -> str:
    return "user" if line["model"].endswith("User") else "group"


def _record_of(evidence: Evidence, line: Json) -> str | None:
    """The id of the record that a line of the report is about."""
    kind = _kind(line)
    key = KINDS[kind][0]
    told = {item["path"]: item for item in line["changes"]}
    names = [line.get("google_id") or "", *(told.get(key, {}).get(when) or "" for when in ("before", "after"))]
    for found in (evidence.old[kind], evidence.new[kind]):
        for name in names:
            if name in found:
                return str(name)
        for name in names:
            for pk, record in found.items():
                if name and name.lower() in addresses(record):
                    return pk
    return None


def _lines(evidence: Evidence) -> None:
    """Each line of the report against the real difference of its record, and each difference against the lines."""
    result = evidence.result
    report = evidence.report or [{"kind": "nothing"}]
    lines = [line for line in report if line["kind"] == "object"]
    claim(report[0]["kind"] == "run" and report[-1]["kind"] == "summary", "the report's frame")
    summary = report[-1]
    for name in ("changed", "status", "counts"):
        claim(summary[name] == result[name], "the report's summary", name, summary[name], result[name])
    claim(summary["msg"] == (result.get("msg") or summary["msg"]), "the report's summary", summary["msg"])
    claim(
        len({(line["model"], line["pk"]) for line in lines if line["pk"]})
        == len([line for line in lines if line["pk"]]),
        "an object twice in the report",
    )
    claim(sum(1 for line in lines if line["changes"]) == result["changes_total"], "lines with an action", result)
    brief = [
        {key: line[key] for key in ("model", "pk", "name", "google_id", "action", "changes")}
        for line in lines
        if line["changes"]
    ]
    for item in result["changes"]:
        claim(item in brief, "a change that the report does not have", item)
    _operations(evidence, lines)
    if evidence.idle:
        return
    told: dict[str, set[str]] = {"user": set(), "group": set()}
    for line in lines:
        kind = _kind(line)
        if line["basis"] == "assumed":
            told[kind].add(_record_of(evidence, line) or "")
            continue
        claim(line["changed"] == bool(line["changes"]), "changed and changes of a line", line)
        if not line["changes"]:
            continue
        pk = _record_of(evidence, line)
        real = evidence.real_changes(kind)
        claim(pk in real, "a change of a record that did not change", line)
        claim(pk not in told[kind], "two lines about one record", line)
        told[kind].add(str(pk))
        _told_is_real(evidence, kind, str(pk), line, real[str(pk)])
    if result["basis"] != "assumed":
        for kind in KINDS:
            untold = set(evidence.real_changes(kind)) - told[kind]
            claim(not untold, "a change that no line tells", kind, [evidence.real_changes(kind)[pk] for pk in untold])


def _told_is_real(evidence: Evidence, kind: str, pk: str, line: Json, real: Json) -> None:
    old, new = evidence.old[kind], evidence.new[kind]
    actions = {(False, True): ("created",), (True, False): ("deleted",)}
    expected = actions.get((pk in old, pk in new), ("updated", "suspended"))
    claim(line["action"] in expected, "action", line["action"], expected, line)
    if line["action"] == "suspended":
        claim(bool(new[pk].get("suspended")) and not old[pk].get("suspended"), "suspended", line)
    told = {item["path"]: (item.get("before"), item.get("after")) for item in line["changes"] if "after" in item}
    for path, (was, now) in real.items():
        if path == "members":
            continue
        claim(path in told, "a difference is missing", path, was, now, line)
        claim(
            same(path, told[path][0], was) and same(path, told[path][1], now),
            "a difference is told wrongly",
            path,
            told[path],
            was,
            now,
        )
    for path in told:
        # Aliases and entries of emails come and go with the address.
        claim(
            path in real or path in ("id", "aliases", "emails") or path.endswith(".role"),
            "a difference that is none",
            path,
            told[path],
        )
    if kind == "group" and pk in new:
        entries = [item for item in line["changes"] if item["path"] == "members"]
        found = [
            {_member_id(evidence, name) for name in (entries[0][which] if entries else [])}
            for which in ("added", "removed")
        ]
        claim(tuple(found) == real.get("members", (set(), set())), "members", entries, real.get("members"))


def _member_id(evidence: Evidence, name: str) -> str:
    for state in (evidence.after, evidence.before):
        for record in [*state["users"], *state["groups"]]:
            if name in addresses(record) or name == record["id"]:
                return record["id"]
        for group in state["groups"]:
            for member in group["members"]:
                if name == str(member.get("email")).lower() or name == member["id"]:
                    return member["id"]
    return "nobody " + name


def _resource(path: str) -> str:
    return next((name for pattern, name in _PATHS if pattern.search(path)), "?")


def _operations(evidence: Evidence, lines: list[Json]) -> None:
    """What the lines say was written, against what was asked for and what was performed."""
    if evidence.idle:
        return
    performed: Counter[tuple[str, str]] = Counter()
    attempted: Counter[tuple[str, str]] = Counter()
    for item in _writes(evidence.google_log) + _writes(evidence.authentik_log):
        attempted[item["method"], _resource(item["path"])] += 1
        if item["status"] in SUCCESS:
            performed[item["method"], _resource(item["path"])] += 1
    told = Counter((item["method"], item["resource"]) for line in lines for item in line["operations"])
    claim(not told - attempted, "operations that nobody asked for", told - attempted)
    if evidence.quiet:
        # Connections that were only made, with nothing to tell of their object, are in no line.
        here = Counter({key: number for key, number in told.items() if key[1] != "connection"})
        there = Counter({key: number for key, number in performed.items() if key[1] != "connection"})
        claim(here == there, "operations", here - there, there - here)


def _journal(evidence: Evidence) -> None:
    """Every write is in the journal, before and after, as often as it was sent."""
    lines = evidence.journal or []
    sent = Counter((line["method"], line["path"]) for line in lines if line["event"] == "sent")
    answered = Counter((line["method"], line["path"]) for line in lines if line["event"] == "answered")
    log = Counter((item["method"], item["path"]) for item in _writes(evidence.google_log))
    log.update((item["method"], item["path"].removeprefix("/api/v3/")) for item in _writes(evidence.authentik_log))
    claim(not log - sent, "a write that is not in the journal", log - sent)
    claim(not evidence.quiet or sent == log, "the journal", sent - log)
    claim(sent == answered, "a write without an answer in the journal", sent - answered)
    claim(not lines or lines[-1]["event"] == "end", "the journal's end", lines[-1:])


def _holds_what_is_wanted(evidence: Evidence) -> None:
    """Whoever is not reported holds what authentik wants."""
    result = evidence.result
    whole = result["status"] in ("synced", "unchanged") or result.get("code") == "objects"
    if evidence.idle or not whole:
        return
    if result["failed_total"] > len(result["failed_objects"]):
        return
    failed = {(_kind(item), item["pk"]) for item in result["failed_objects"]}
    if result["counts"]["groups"]["skipped"]:
        failed.update(("group", str(item["pk"])) for item in evidence.authentik["groups"])
    for kind in evidence.models:
        key, fields = KINDS[kind]
        by_address = {record[key].lower(): record for record in evidence.after[kind + "s"]}
        for item in evidence.objects(kind):
            if (kind, str(item["pk"])) in failed or not evidence.in_scope(kind, item):
                continue
            wanted = evidence.wanted(kind, item)
            if not wanted:
                continue
            record = by_address.get(wanted[key])
            claim(record is not None, "in sync, and Google has no such record", kind, wanted)
            found = flat(record, fields)
            for path, value in wanted.items():
                claim(same(path, found[path], value), "in sync, and Google does not hold", path, value, found[path])
            if kind == "group" and evidence.options.get("membership") != "ignore":
                _members(evidence, item, record or {})


def _members(evidence: Evidence, item: Json, record: Json) -> None:
    accounts = {user["primaryEmail"].lower(): user["id"] for user in evidence.after["users"]}
    members_here = set(item["users"])
    people = [person for person in evidence.authentik["users"] if person["pk"] in members_here]
    there = members(record)
    for person in people:
        own = accounts.get(person["email"].lower())
        claim(own is None or own in there, "in sync, and a member is missing", item["name"], person["username"])
    if evidence.options.get("membership") == "exact":
        keep = set(evidence.options.get("keep_members", ["owner", "manager", "group", "customer"]))
        belong = {accounts.get(person["email"].lower()) for person in people}
        rows = [row for row in evidence.authentik["connections"] if row["kind"] == "user"]
        for row in rows:
            if row["obj"] in [person["pk"] for person in people]:
                belong.add(evidence.accounts_after.get(row["google_id"].lower()))
                belong.add((row["attributes"] or {}).get("id"))
        for pk, member in there.items():
            kept = member["role"].lower() in keep or member["type"].lower() in keep
            claim(pk in belong or kept, "exact, and somebody is still a member", item["name"], member)


def same_prediction(predicted: Json, real: Json) -> None:
    """A check-mode result against what a real run from the same state then did; raises FalseClaim."""
    stopped = real.get("code") == "guard"
    claim(predicted.get("code") == real.get("code"), "predicted code", predicted.get("code"), real.get("code"))
    # A run that its safety limits stop has done nothing; check mode shows what they stopped.
    claim(stopped or predicted["counts"] == real["counts"], "predicted counts", predicted["counts"], real["counts"])
    claim(predicted["changed"] == real["changed"], "predicted changed", predicted["changed"], real["changed"])
    claim(predicted["status"] == real["status"], "predicted status", predicted["status"], real["status"])
    for key in ("safety_limits", "plan"):
        claim(predicted[key] == real[key], f"predicted {key}", predicted[key], real[key])
    if stopped:
        return
    claim(predicted["orphans"] == real["orphans"], "predicted orphans", predicted["orphans"], real["orphans"])

    def brief(result: Json) -> Any:
        return sorted(
            (
                item["model"],
                item["pk"],
                item["action"],
                sorted(
                    (change["path"], change.get("added"), change.get("removed"))
                    for change in item["changes"]
                    if change["path"] not in ("aliases", "id", "emails", "name.displayName")
                ),
            )
            for item in result["changes"]
        )

    claim(brief(predicted) == brief(real), "predicted changes", brief(predicted), brief(real))
