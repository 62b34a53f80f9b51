# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no run may have done: to a record that is not the object's own, to a protected account, or beyond a safety limit.

Told from the states of both sides alone, before and after a run; knows nothing of the modules' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.truth.oracle import claim, in_scope, wants

Json = dict[str, Any]

ADDRESS = {"user": "primaryEmail", "group": "email"}
# What nobody does to a protected account.
GUARDED = ("primaryEmail", "suspended", "archived", "recoveryEmail", "recoveryPhone", "orgUnitPath")
# What changes by itself, or with another record.
INCIDENTAL = ("etag", "lastLoginTime", "members", "directMembersCount")


@dataclass(frozen=True)
class Scene:
    """One run, seen from both sides.

    Attributes:
        options: how the module was called.
        before, after: Google's state.
        authentik: authentik's state, with the connections as they were before the run.
        names: the objects that the run is about, as (kind, primary key); None for all.
    """

    options: Json
    before: Json
    after: Json
    authentik: Json
    names: set[tuple[str, str]] | None

    @property
    def provider(self) -> Json:
        asked = self.options.get("provider_id", 1)
        return next(item for item in self.authentik["providers"] if item["pk"] == asked)

    def mappings(self, kind: str) -> set[str]:
        pks = self.provider["property_mappings" if kind == "user" else "property_mappings_group"]
        return {item["name"] for item in self.authentik["mappings"] if item["pk"] in pks}

    def in_scope(self, kind: str, item: Json) -> bool:
        return in_scope(kind, item, self.provider, self.mappings(kind))

    def address(self, kind: str, item: Json) -> str:
        """The address that an object wants at Google."""
        return wants(kind, item, self.provider["default_group_email_domain"])

    def wanting(self, kind: str, address: str) -> set[str]:
        """The primary keys of the objects in scope that want an address."""
        found = [item for item in self.authentik[kind + "s"] if self.in_scope(kind, item)]
        return {str(item["pk"]) for item in found if self.address(kind, item) == address.lower()}

    def synced(self, kind: str) -> set[str]:
        """The primary keys of the objects in scope."""
        return {str(item["pk"]) for item in self.authentik[kind + "s"] if self.in_scope(kind, item)}

    def connected(self, kind: str, record: Json) -> tuple[set[str], set[str]]:
        """The primary keys of the objects connected with a record: by its immutable id, and by its address alone."""
        by_id, by_address = set(), set()
        for row in self.authentik["connections"]:
            if row["kind"] != kind or row["provider"] != self.provider["pk"]:
                continue
            known = str((row["attributes"] or {}).get("id") or "")
            if (known or row["google_id"]) == record["id"]:
                by_id.add(str(row["obj"]))
            elif not known and row["google_id"].lower() in addresses(record):
                by_address.add(str(row["obj"]))
        return by_id, by_address

    def owners(self, kind: str, record: Json) -> set[str]:
        """The primary keys of whoever may write to a record: one, or nobody."""
        by_id, by_address = self.connected(kind, record)
        if by_id:
            return by_id if len(by_id) == 1 else set()
        wanting = self.wanting(kind, record[ADDRESS[kind]])
        if len(wanting) != 1 or (by_address and not wanting & by_address):
            return set()
        return wanting

    def name(self, kind: str, pks: set[str]) -> bool:
        """Whether the run is about one of these objects."""
        return any(self.names is None or (kind, pk) in self.names for pk in pks)


def addresses(record: Json) -> set[str]:
    own = record.get("primaryEmail") or record.get("email") or ""
    return {str(item).lower() for item in (own, *record.get("aliases", []))}


def check(scene: Scene) -> None:
    """Hold what a run did against what it may do; raises FalseClaim."""
    for kind in ADDRESS:
        for record, now in changed(scene, kind):
            owners = scene.owners(kind, record)
            claim(bool(owners), "a record was written that is nobody's", kind, record, now)
            claim(scene.name(kind, owners), "a record of an object that nobody named was written", kind, record, owners)
            ended = now is None or (bool(now.get("suspended")) and not record.get("suspended"))
            synced = owners & scene.synced(kind)
            claim(bool(synced) or ended, "a record of an object out of scope was written", kind, record, now, owners)
        _created(scene, kind)
    _protected(scene)


def changed(scene: Scene, kind: str) -> list[tuple[Json, Json | None]]:
    """The records that were there before and are other ones after: (before, after or None)."""
    now = {item["id"]: item for item in scene.after[kind + "s"]}
    gone = {item["id"] for item in scene.before["users"]} - {item["id"] for item in scene.after["users"]}

    def own(record: Json) -> tuple[Json, set[str]]:
        fields = {key: value for key, value in record.items() if key not in INCIDENTAL}
        return fields, {item["id"] for item in record.get("members", [])} - gone

    return [
        (record, now.get(record["id"]))
        for record in scene.before[kind + "s"]
        if record["id"] not in now or own(record) != own(now[record["id"]])
    ]


def created(scene: Scene, kind: str) -> list[Json]:
    """The records that were not there before."""
    old = {item["id"] for item in scene.before[kind + "s"]}
    return [item for item in scene.after[kind + "s"] if item["id"] not in old]


def _created(scene: Scene, kind: str) -> None:
    """Each new record is of one object that wants it."""
    for record in created(scene, kind):
        wanting = scene.wanting(kind, record[ADDRESS[kind]])
        claim(bool(wanting), "a record was created that nobody wants", kind, record)
        claim(scene.name(kind, wanting), "a record of an object that nobody named was created", kind, record)
        both = {pk for pk in wanting if scene.names is None or (kind, pk) in scene.names}
        claim(len(both) == 1, "two objects want the record that was created", kind, record, both)


def protected(scene: Scene, record: Json) -> bool:
    """Whether an account is protected: the one that the run acts as, an administrator's, or one that protect names."""
    subjects = {scene.options.get("delegated_subject") or "", scene.provider["delegated_subject"]}
    if addresses(record) & {address.lower() for address in subjects}:
        return True
    if {entry.lower() for entry in scene.options.get("protect") or []} & addresses(record):
        return True
    administers = bool(record.get("isAdmin") or record.get("isDelegatedAdmin"))
    return administers and not scene.options.get("allow_admins")


def _protected(scene: Scene) -> None:
    """Protected accounts stay theirs and usable, whatever authentik holds."""
    now = {item["id"]: item for item in scene.after["users"]}
    for record in scene.before["users"]:
        if not protected(scene, record):
            continue
        after = now.get(record["id"])
        claim(after is not None, "a protected account was deleted", record)
        for field in GUARDED:
            claim((after or {}).get(field) == record.get(field), f"a protected account's {field}", record, after)
        if after != record:
            own = scene.owners("user", record)
            by_id, _by_address = scene.connected("user", record)
            wanted = scene.wanting("user", record["primaryEmail"])
            claim(own <= by_id or bool(wanted & _by_address), "a protected account was taken over", record, after)


# Safety limits

COUNTED = ("suspensions", "deletions", "creations", "renames", "reactivations", "removals")


def effects(scene: Scene) -> dict[tuple[str, str], int]:
    """What a run did, as numbers: {(effect, kind): how many}; removals are of groups."""
    found = {(name, kind): 0 for name in COUNTED for kind in ADDRESS}
    gone = {item["id"] for item in scene.before["users"]} - {item["id"] for item in scene.after["users"]}
    for kind, key in ADDRESS.items():
        found["creations", kind] = len(created(scene, kind))
        for record, now in changed(scene, kind):
            if now is None:
                found["deletions", kind] += 1
                continue
            found["renames", kind] += record[key].lower() != now[key].lower()
            turned = [(bool(record.get(name)), bool(now.get(name))) for name in ("suspended", "archived")]
            suspended = kind == "user" and (False, True) in turned
            found["suspensions", kind] += suspended
            found["reactivations", kind] += kind == "user" and (True, False) in turned and not suspended
            left = {item["id"] for item in record.get("members", [])} - {item["id"] for item in now.get("members", [])}
            found["removals", kind] += len(left - gone)
    return found


def within_limits(scene: Scene, result: Json) -> None:
    """No run does more than a limit allows that it was given as a number, and what was planned is what was done."""
    done = effects(scene)
    for name, limit in (scene.options.get("safety_limits") or {}).items():
        if name not in COUNTED or scene.options.get("force"):
            continue
        allowed = int(str(limit).rstrip("%")) if str(limit) == "0%" or not str(limit).endswith("%") else None
        for kind in ADDRESS:
            claim(
                allowed is None or done[name, kind] <= allowed,
                "more than a safety limit allows",
                name,
                kind,
                done[name, kind],
                limit,
            )
    if result["status"] not in ("synced", "unchanged"):
        return
    for item in result["safety_limits"]:
        kind = "group" if "group" in item["what"] else "user"
        if item["option"] in COUNTED and not item.get("group"):
            number = done[item["option"], kind]
            claim(item["planned"] == number, "planned, and done", item["option"], kind, item["planned"], number)
