# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections between authentik's users or groups and Google's records: made, removed, and repaired."""

from __future__ import annotations

import re
import typing as t

from .._common.errors import Refused
from .._common.kind import GROUP, KINDS, MODELS, USER, Kind
from .._common.types import Json
from .._google.errors import GoogleError
from .._objects.connection import NOT, tie, tolerates_rows
from .._objects.contradictions import Contradiction, contradictions
from .._objects.difference import comparable
from .._objects.protection import Protected, Protection, check, protect_problem
from .._objects.record import address_of, held_text
from .._objects.target import LONGEST_NAME, Target, check_lookup, find, scope
from .discovery import can_discover, discover
from .names import need_provider
from .work import Work

if t.TYPE_CHECKING:
    pass
# An address, or an immutable id; it becomes a part of a path at Google.
_GOOGLE_ID = re.compile(r"^([\w.+-]+|[\w.+'-]+@[\w.-]+)$", re.ASCII)
WHY = {
    "attributes": "authentik's copy of Google's record is an old one",
    "volatile": "authentik's copy of Google's record is an old one (only in what changes by itself)",
    "other": "the address is another record's at Google by now",
    "renamed": "the record has another address at Google, and this one is its alias",
    "alias": "the address is an alias of somebody else's record at Google, which the next sync would overwrite",
    "shared": "another object is connected with the same record at Google, and both would write to it",
    "gone": "Google has no record with this address or id; the next sync creates it again",
}


def problem(options: Json) -> str | None:
    """What is wrong with the options by themselves, naming the option; None if nothing is."""
    if options.get("provider_id") is None and options.get("provider_name") is None:
        return "provider_id and provider_name are both null; give one of them."
    pk = options.get("provider_id")
    if pk is not None and not 0 < pk <= 2147483647:
        return "provider_id must be a positive integer (at most 2147483647), not %d." % pk
    empty = empty_option(options)
    if empty:
        return empty
    state = options["state"]
    given = [name for name in ("sync_object_model", "sync_object_id") if options.get(name)]
    if state != "repaired" and len(given) < 2:
        return f"state: {state} needs sync_object_model and sync_object_id."
    if options.get("sync_object_id") and not options.get("sync_object_model"):
        return "sync_object_id needs sync_object_model."
    if state == "present" and not (options.get("google_id") or "").strip():
        return "state: present needs google_id, the address or id of the account or group at Google."
    wrong = protect_problem(options["protect"])
    if wrong:
        return wrong
    if options["protect"] and options["verify"] == "none":
        return "protect needs Google to be read: use verify: auto or google."
    google_id = (options.get("google_id") or "").strip()
    if google_id and (len(google_id) > LONGEST_NAME or not _GOOGLE_ID.match(google_id)):
        return f"google_id must be an address or an id at Google, not '{google_id[:80]}'."
    if state == "repaired" and options.get("google_id"):
        return "google_id is not for state: repaired."
    if state == "repaired" and options["verify"] == "none":
        return "state: repaired looks at Google; verify: none cannot be."
    if options.get("sync_object_id"):
        return check_lookup(MODELS[options["sync_object_model"]], options["sync_object_id"], options["lookup"])
    return None


def empty_option(options: Json) -> str | None:
    """An option that is given and empty would stand for every object or connection; None if there is none."""
    for name in ("sync_object_id", "google_id"):
        if options.get(name) is not None and not options[name].strip():
            return f"{name} is empty; give a value, or leave the option out to mean every one."
    return None


class ConnectionWork(Work):
    """``state: present``, ``absent`` or ``repaired``."""

    def _work(self) -> None:
        options = self.options
        self.provider = need_provider(self)
        self.pk = int(self.provider["pk"])
        state = options["state"]
        if state == "repaired":
            self._repair()
            return
        self.kind = MODELS[options["sync_object_model"]]
        self.target = find(self.authentik, self.kind, options["sync_object_id"], options["lookup"])
        self.report.header = f"connections of {self.target}"
        rows = self.authentik.connections(self.kind, self.pk, self.target.pk)
        self.report.before = {"google_id": sorted(str(row.get("google_id")) for row in rows)}
        self.report.after = dict(self.report.before)
        self.report.values["connection"] = {}
        if state == "absent":
            self._remove(rows)
        else:
            self._link(rows)

    # Absent

    def _remove(self, rows: list[Json]) -> None:
        only = (self.options.get("google_id") or "").lower()
        for row in rows:
            if only and str(row.get("google_id")).lower() != only:
                continue
            self._delete(row)
        self._note([row for row in rows if only and str(row.get("google_id")).lower() != only])

    def _delete(self, row: Json) -> None:
        kind = USER if "user" in row else GROUP
        self.write(
            "DELETE",
            "connection",
            str(row.get("google_id")),
            lambda: self.authentik.delete_connection(kind, str(row["id"])),
        )

    # Present

    def _link(self, rows: list[Json]) -> None:
        rule = scope(self.provider, self.target)
        if rule is not None:
            self.warn(f"{self.target.title} is not synced: {rule}. The connection has no effect.")
        record = self._look()
        wanted = self._wanted_id(record)
        self._refuse_taken(wanted, record)
        self._refuse_protected(wanted, record, rows)
        kept = [row for row in rows if str(row.get("google_id")) == wanted]
        others = [row for row in rows if str(row.get("google_id")) != wanted]
        if tolerates_rows(self.provider, lambda: self.version.number):
            self._link_by_api(wanted, kept, others, record)
        else:
            self._link_by_discovery(wanted, kept, others, record)

    def _look(self) -> Json | None:
        """Google's record, or None where Google is not looked at. Raises Refused where it is no good."""
        how = self.options["verify"]
        if how == "none":
            return None
        key = self.options["google_id"].strip()
        try:
            self.directory = t.cast(t.Any, self.open_directory)(self.provider)
            directory = t.cast(t.Any, self.directory)
            record = directory.get(self.kind, key)
        except GoogleError as exc:
            if how == "google" or self.options["protect"]:
                raise
            self.warn(
                f"Google could not be read, so it is not known whether {key} exists there and belongs to no other object. {exc}"
            )
            return None
        if record is None:
            raise Refused(
                f"There is no {self.kind} {key} at Google. Check google_id; a record that does not exist yet is created by a "
                "sync, without a connection.",
                "not_at_google",
            )
        if key.lower() not in (str(record.get("id")).lower(), address_of(record).lower()):
            raise Refused(held_text(key, f"another {self.kind}", record), "conflict")
        return t.cast(t.Optional[Json], record)

    def _wanted_id(self, record: Json | None) -> str:
        """What authentik calls the record: a user's address, a group's id.

        An account that was named by its immutable id, and that has not the user's e-mail, is called by that id: its address would
        not show that it is the user's.
        """
        given = str(self.options["google_id"]).strip()
        if record is not None:
            by_id = given == str(record.get("id")) and not self._recognised(record)
            return given if by_id else self.kind.google_id(record)
        if ("@" in given) != (self.kind == USER):
            raise Refused(
                "google_id: authentik knows a %s by its %s, which cannot be looked up without Google; give that."
                % (self.kind, "address" if self.kind == USER else "id at Google"),
                "invalid_option",
            )
        return given

    def _refuse_taken(self, wanted: str, record: Json | None) -> None:
        """Nobody else may be linked to the record: both would write to it."""
        for row in self.authentik.all_connections(self.kind, self.pk):
            by_name = str(row.get("google_id")).lower() == wanted.lower()
            if (by_name or tie(row, record) != NOT) and str(row.get(self.kind)) != self.target.pk:
                obj = row.get(f"{self.kind}_obj")
                name = (obj or {}).get(self.kind.name_field) if isinstance(obj, dict) else None
                raise Refused(
                    f"{wanted} is connected with another {self.kind} of authentik, {name or row.get(self.kind)}. Two would "
                    "write to one record, so nothing was connected. Only if it belongs to the other one no longer, remove that "
                    "connection first (state: absent).",
                    "conflict",
                )

    def _refuse_protected(self, wanted: str, record: Json | None, rows: t.Sequence[Json]) -> None:
        """An administrator's account is only linked by its immutable id, the one that the run acts as not at all."""
        if self.kind != USER or any(str(row.get("google_id")).lower() == wanted.lower() for row in rows):
            return
        directory = self.directory
        protection = Protection(
            self.provider.get("delegated_subject"),
            directory.session.credentials.subject if directory else None,
            protect=self.options["protect"],
            allow_admins=self.options["allow_admins"],
            members_of=lambda group: None if directory is None else directory.members(group),
        )
        account = {"primaryEmail": wanted} if record is None else record
        by_id = str(self.options["google_id"]).strip() == str(account.get("id"))
        try:
            check(USER, account, {}, protection, takes_over=protection.is_account(account) or not by_id)
        except Protected as exc:
            raise Refused(exc.text(f"{self.target.title} was not connected"), "protected") from None
        if record is None:
            self.warn(f"Whether {wanted} is an administrator's account is not known, since Google was not read.")

    def _link_by_api(self, wanted: str, kept: list[Json], others: list[Json], record: Json | None) -> None:
        # authentik uses the first row that it finds, and a full sync stumbles over a second one.
        for row in others:
            self._delete(row)
        if not kept:
            self.write(
                "POST",
                "connection",
                wanted,
                lambda: self.authentik.create_connection(self.kind, self.pk, self.target.pk, wanted),
            )
            if not self.check_mode:
                kept = self._rows_to(wanted)
        in_step = self._in_step(kept, record)
        if record is not None and not in_step and self.options["refresh_attributes"] and self._recognised(record):
            reason = can_discover(self, self.provider)
            if not reason:
                in_step = self._refresh(wanted, kept, record)
        self._note(kept or [{"google_id": wanted}], in_step)

    def _link_by_discovery(self, wanted: str, kept: list[Json], others: list[Json], record: Json | None) -> None:
        """On servers up to 2025.8 a row made by the API stops every sync: authentik has to link the record itself."""
        if record is None:
            raise Refused(
                f"authentik {self.version} stops every sync of {self.kind}s as soon as one connection is not exactly as "
                "Google's record, and one made by the API never is. Without a look at Google nothing can be linked there. Make "
                "Google readable, or update authentik to 2025.10 or later.",
                "version",
            )
        listed = [item for item in kept if item.get("attributes") and self._in_step([item], record)]
        if listed and not others:
            self._note(listed, True)
            return
        reason = can_discover(self, self.provider)
        if not self._recognised(record) or reason:
            raise Refused(
                "authentik %s cannot be given this connection: one made by the API would stop every sync of %ss through this "
                "provider, and authentik does not link the record by itself (%s). Update authentik to 2025.10 or later."
                % (
                    self.version,
                    self.kind,
                    reason or "it links people by their e-mail and groups by their name, and this one has another",
                ),
                "version",
            )
        for row in kept + others:
            self._delete(row)
        if self.check_mode:
            self.report.operations.append(_linking(wanted))
            self._note([{"google_id": wanted}], True)
            return
        discover(self, self.provider, self.kind)
        rows = self._rows_again()
        made = [row for row in rows if str(row.get("google_id")) == wanted]
        if not made:
            self.report.fail(
                f"authentik did not link {self.target} with {wanted}. See that its worker runs and that no other connection "
                "stops its syncs (google_workspace_sync_info, state: repaired).",
                "not_linked",
            )
        else:
            self.report.operations.append(_linking(wanted))
        self._note(rows, self._in_step(made, record))

    def _recognised(self, record: Json) -> bool:
        """Whether authentik's own listing ties the record to the object."""
        return _is_recognised(self.kind, record, self.target.data)

    def _in_step(self, rows: list[Json], record: Json | None) -> bool | None:
        """Whether the row's copy is Google's record, as far as that does not change by itself; None for unknown."""
        if record is None:
            return None
        shown = rows[0].get("attributes") if rows else None
        if not isinstance(shown, dict) or not shown:
            return False
        # A listing shows no custom schemas.
        mine, theirs = (
            {key: value for key, value in item.items() if key != "customSchemas"} for item in (shown, record)
        )
        return comparable(self.kind, mine) == comparable(self.kind, theirs)

    def _refresh(self, wanted: str, kept: list[Json], record: Json) -> bool | None:
        if self.check_mode:
            self.report.operations.append(_linking(wanted))
            return True
        discover(self, self.provider, self.kind)
        rows = [row for row in self._rows_again() if str(row.get("google_id")) == wanted]
        if rows and (not kept or rows[0].get("attributes") != kept[0].get("attributes")):
            self.report.operations.append(_linking(wanted))
        kept[:] = rows or kept
        return self._in_step(rows, record)

    def _rows_again(self) -> list[Json]:
        """The object's connections once authentik has linked by its listing."""
        rows = self.authentik.connections(self.kind, self.pk, self.target.pk)
        self.unread = False
        return rows

    def _rows_to(self, wanted: str) -> list[Json]:
        rows = self.authentik.connections(self.kind, self.pk, self.target.pk)
        return [row for row in rows if str(row.get("google_id")) == wanted]

    def _note(self, rows: list[Json], in_step: bool | None = None) -> None:
        self.report.after = {"google_id": sorted(str(row.get("google_id")) for row in rows)}
        if self.options["state"] == "present" and rows:
            self.report.values["connection"] = {
                "id": rows[0].get("id"),
                "google_id": rows[0].get("google_id"),
                "attributes_in_step": in_step,
            }

    # Repaired

    def _repair(self) -> None:
        options = self.options
        kinds = [MODELS[options["sync_object_model"]]] if options.get("sync_object_model") else list(KINDS)
        only: Target | None = None
        if options.get("sync_object_id"):
            only = find(self.authentik, kinds[0], options["sync_object_id"], options["lookup"])
        self.directory = t.cast(t.Any, self.open_directory)(self.provider)
        self.report.header = "connections of provider %s that contradict Google" % self.provider.get("name")
        shown: list[Json] = []
        self.report.values["contradictions"] = shown
        tolerant = tolerates_rows(self.provider, lambda: self.version.number)
        for kind in kinds:
            found = [
                item
                for item in contradictions(self.authentik, t.cast(t.Any, self.directory), self.pk, kind)
                if (only is None or str(item.row.get(kind)) == only.pk)
                # What changes by itself stops a sync on old servers, and is of no interest on others.
                and (item.why != "volatile" or not tolerant)
            ]
            self._confirm_gone(kind, found)
            shown.extend(described(kind, item, tolerant) for item in found)
            if not tolerant:
                self._renew(kind, [item for item in found if item.stops], shown)
        self.report.before = {"connections": [_line(item) for item in shown]}
        self.report.after = {"connections": [_line(item) for item in shown if item["action"] != "renewed"]}
        left = [item for item in shown if item["action"] == "removed"]
        if left:
            self.warn(
                "Removed, but authentik did not create it again: %s. It links users by their e-mail and groups by their name; the next "
                "sync of the object tries again." % ", ".join(_line(item) for item in left)
            )

    def _confirm_gone(self, kind: Kind, found: list[Contradiction]) -> None:
        """A listing trails behind: what is not in it may be there all the same."""
        directory = t.cast(t.Any, self.directory)
        for item in list(found):
            if item.why == "gone":
                key = str(item.row.get("google_id"))
                if directory.get(kind, key) is not None:
                    found.remove(item)

    def _renew(self, kind: Kind, stopping: list[Contradiction], shown: list[Json]) -> None:
        """Remove the rows that stop every sync, and let authentik make them anew by its own listing."""
        for item in stopping:
            self._delete(item.row)
        ids = {str(item.row["id"]): str(item.row.get("google_id")) for item in stopping}
        reason = can_discover(self, self.provider)
        mine = [item for item in shown if item["id"] in ids]
        for entry in mine:
            entry["action"] = "removed" if reason else "renewed"
        if reason and mine:
            self.warn(f"authentik was not asked to create the connections again: {reason}.")
        if not mine or reason:
            return
        if self.check_mode:
            linked = {str(item.row["id"]) for item in stopping if _is_linked(kind, item)}
            for entry in mine:
                if entry["id"] in linked:
                    self.report.operations.append(_linking(entry["google_id"]))
                else:
                    entry["action"] = "removed"
            return
        discover(self, self.provider, kind)
        made = {str(row.get("google_id")) for row in self.authentik.all_connections(kind, self.pk)}
        self.unread = False
        for entry in mine:
            if entry["google_id"] in made:
                self.report.operations.append(_linking(entry["google_id"]))
            else:
                entry["action"] = "removed"


def described(kind: Kind, item: Contradiction, tolerant: bool) -> Json:
    """A contradiction as the result shows it."""
    obj = item.row.get(f"{kind}_obj")
    name = (obj or {}).get(kind.name_field) if isinstance(obj, dict) else None
    return {
        "id": str(item.row.get("id")),
        "model": kind.model,
        "pk": str(item.row.get(kind)),
        "name": name,
        "google_id": str(item.row.get("google_id")),
        "holder": address_of(item.record) or None,
        "code": item.why,
        "why": WHY[item.why],
        "stops_syncs": item.stops and not tolerant,
        "action": "reported",
    }


def _is_linked(kind: Kind, item: Contradiction) -> bool:
    """Whether authentik's own listing ties the record to the object again."""
    obj = item.row.get(f"{kind}_obj")
    return isinstance(obj, dict) and item.record is not None and _is_recognised(kind, item.record, obj)


def _is_recognised(kind: Kind, record: Json, obj: Json) -> bool:
    """Whether authentik's own listing ties a record to an object: it knows users by their e-mail and groups by their name."""
    return bool(address_of(record) == obj.get("email") if kind == USER else record.get("name") == obj.get("name"))


def _line(item: Json) -> str:
    return "%s of %s (%s)" % (item["google_id"], item["name"] or item["pk"], item["code"])


def _linking(google_id: str) -> Json:
    """The row that authentik made or renewed by its listing."""
    return {"method": "POST", "resource": "connection", "key": google_id, "by": "authentik"}
