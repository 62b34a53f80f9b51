# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory: accounts, groups, memberships and addresses, and every change that can be made to them.

A change by hand (``by_hand=True``, from the control side or the dataset) skips what only the API asks for, may write
read-only fields, and is visible at once. Resources are replaced, never changed in place, so that what a read has in
its hands stays what it was.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tests.sandbox import clock
from tests.sandbox.google import checks
from tests.sandbox.google.errors import duplicate, invalid, not_found, not_yet
from tests.sandbox.google.settings import Settings

CUSTOMER_ID = "C01sandbox"
LONG_AGO = float("-inf")

_USER_DEFAULTS: dict[str, Any] = {
    "isAdmin": False,
    "isDelegatedAdmin": False,
    "suspended": False,
    "archived": False,
    "agreedToTerms": False,
    "changePasswordAtNextLogin": False,
    "ipWhitelisted": False,
    "isMailboxSetup": False,
    "includeInGlobalAddressList": True,
    "orgUnitPath": "/",
}
# Fields that are not simply kept as they were sent.
_USER_SPECIAL = frozenset(
    {"kind", "id", "etag", "primaryEmail", "name", "emails", "aliases", "customSchemas", "password", "hashFunction"}
)
_GROUP_WRITABLE = frozenset({"name", "description", "externalIds"})


@dataclass
class Member:
    """One membership. ``address`` is set for outsiders only: the others are shown with their present address."""

    id: str
    kind: str
    role: str
    address: str | None = None
    delivery: str | None = None


@dataclass
class Entry:
    """What accounts and groups have in common.

    ``created`` is the clock at creation; ``changed`` that at the last change, and ``earlier`` what reads showed before it.
    """

    id: str
    address: str
    created: float
    renamed: float = LONG_AGO
    aliases: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    earlier: tuple[dict[str, Any], dict[str, Member]] | None = None
    changed: float = LONG_AGO


@dataclass
class User(Entry):
    """An account. ``emails`` are the entries that were sent, without those that the server makes."""

    emails: list[dict] = field(default_factory=list)


@dataclass
class Group(Entry):
    """A group."""


class Directory:
    """All of a workspace, with indexes by id and by address (primary or alias, of accounts and groups)."""

    def __init__(self, domains: list[str], settings: Settings, read_only: frozenset[str]) -> None:
        """Start empty. ``read_only`` are the fields of an account that the API ignores when they are sent."""
        self.domains = [domain.lower() for domain in domains]
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.deleted: dict[str, User] = {}
        self.user_order: list[str] = []
        self.group_order: list[str] = []
        self._settings = settings
        self._read_only = read_only
        self._addresses: dict[str, User | Group] = {}
        self._blocked: dict[str, float] = {}
        self._groups_of: defaultdict[str, set[str]] = defaultdict(set)
        self._counter = 0

    # Looking things up

    def user(self, key: str) -> User:
        """Return the account with this id, address or alias; raises ApiError 404."""
        entry = self.users.get(key) or self._addresses.get(key.lower())
        if not isinstance(entry, User):
            raise not_found("userKey")
        return entry

    def group(self, key: str) -> Group:
        """Return the group with this id, address or alias; raises ApiError 404."""
        entry = self.groups.get(key) or self._addresses.get(key.lower())
        if not isinstance(entry, Group):
            raise not_found("groupKey")
        return entry

    def at(self, address: str) -> User | Group:
        """Return what holds an address that is known to be held."""
        return self._addresses[address]

    def is_fresh(self, entry: Entry) -> bool:
        """Tell whether an entry was created so shortly ago that it is not fully there."""
        return clock.monotonic() < entry.created + self._settings.lag_ms / 1000

    def shown(self, entry: Entry) -> dict[str, Any]:
        """Return the resource that reads show at present."""
        return entry.earlier[0] if entry.earlier and self._trails(entry) else entry.resource

    def shown_members(self, group: Group) -> dict[str, Member]:
        """Return the memberships that reads show at present, by member id."""
        return group.earlier[1] if group.earlier and self._trails(group) else group.members

    def groups_with(self, key: str) -> set[str]:
        """Return the ids of the groups that a member, by id or any address, belongs to directly."""
        return self._groups_of.get(self._member_id(key) or key.lower(), set())

    def member(self, group: Group, key: str, *, shown: bool = False) -> Member:
        """Return a membership by the member's id, address or alias; raises ApiError 404."""
        members = self.shown_members(group) if shown else group.members
        found = members.get(self._member_id(key) or key) or members.get(_outsider_id(key))
        if found is None:
            raise not_found("memberKey")
        return found

    def reaches(self, group: Group, member_id: str) -> bool:
        """Tell whether somebody is a member of a group directly or through groups in it."""
        return any(member.id == member_id for member in self.derived_members(group))

    def derived_members(self, group: Group) -> Iterator[Member]:
        """Yield the members of a group and of the groups in it, each once, however deep."""
        seen = {group.id}
        waiting = [group]
        while waiting:
            for member in waiting.pop().members.values():
                if member.id not in seen:
                    seen.add(member.id)
                    yield member
                    if member.id in self.groups:
                        waiting.append(self.groups[member.id])

    def member_resource(self, member: Member, *, settings: bool = True) -> dict[str, Any]:
        """Return a membership as the API shows it; ``settings`` adds what listings leave out."""
        resource = {"kind": "admin#directory#member", "id": member.id, "role": member.role, "type": member.kind}
        entry = self.users.get(member.id) or self.groups.get(member.id)
        address = entry.address if entry else member.address
        if address:
            resource["email"] = address
        if member.kind != "CUSTOMER":
            suspended = isinstance(entry, User) and entry.fields["suspended"]
            resource["status"] = "SUSPENDED" if suspended else "ACTIVE"
        if settings and member.delivery:
            resource["delivery_settings"] = member.delivery
        return with_etag(resource)

    # Accounts

    def create_user(self, body: dict, *, by_hand: bool = False) -> User:
        """Add an account; raises ApiError."""
        needed = ("primaryEmail", "name.givenName", "name.familyName", "password")
        checks.required(body, *(needed[:1] if by_hand else needed))
        checks.password(body)
        address = self._free(body["primaryEmail"], "primary_user_email")
        user = User(id=self._next("1{:020d}"), address=address, created=LONG_AGO if by_hand else clock.monotonic())
        user.fields = {**_USER_DEFAULTS, "customerId": CUSTOMER_ID, "creationTime": now()}
        self._set_user_fields(user, body, by_hand=by_hand)
        self.users[user.id] = user
        self._addresses[address] = user
        insort(self.user_order, address)
        self._compose_user(user)
        return user

    def update_user(self, user: User, body: dict, *, keep_lists: bool = False, by_hand: bool = False) -> None:
        """Change an account: absent fields stay, null clears, arrays are replaced; raises ApiError.

        ``keep_lists``: an empty or null array clears nothing, as with PATCH.
        """
        if keep_lists:
            body = {key: value for key, value in body.items() if not self._would_clear(user, key, value)}
        checks.password(body)
        self._refuse_while_renaming(user, by_hand=by_hand)
        address = user.address
        if "primaryEmail" in body:
            address = self._free(body["primaryEmail"], "primary_user_email", owner=user)
        before = self._before(user)
        self._set_user_fields(user, body, by_hand=by_hand)
        self._rename(user, address, self.user_order)
        self._compose_user(user)
        self._changed(user, before, by_hand=by_hand)

    def delete_user(self, user: User, *, by_hand: bool = False) -> None:
        """Delete an account, which leaves its groups and can be brought back by its id."""
        if self.is_fresh(user) and not by_hand:
            raise not_yet("User creation is not complete.")
        self._leave_all(user.id)
        self._give_up(user, self.user_order)
        del self.users[user.id]
        user.resource = with_etag({**user.resource, "deletionTime": now()})
        user.earlier = None
        self.deleted[user.id] = user

    def undelete_user(self, user_id: str, org_unit: str | None) -> None:
        """Bring a deleted account back; aliases that somebody else holds by now are lost."""
        user = self.deleted.get(user_id)
        if user is None:
            raise not_found("userKey")
        self._free(user.address, "primary_user_email")
        del self.deleted[user_id]
        user.aliases = [alias for alias in user.aliases if alias not in self._addresses]
        user.fields["orgUnitPath"] = org_unit or user.fields["orgUnitPath"]
        self.users[user_id] = user
        for address in (user.address, *user.aliases):
            self._addresses[address] = user
        insort(self.user_order, user.address)
        self._compose_user(user)

    # Groups

    def create_group(self, body: dict, *, by_hand: bool = False) -> Group:
        """Add a group; raises ApiError."""
        checks.required(body, "email")
        address = self._free(body["email"], "email")
        group = Group(id=self._next("01sandbox{:06d}"), address=address, created=clock.monotonic())
        if by_hand:
            group.created = LONG_AGO
        group.fields = {"name": address.partition("@")[0], "description": ""}
        self._set_group_fields(group, body)
        self.groups[group.id] = group
        self._addresses[address] = group
        insort(self.group_order, address)
        self._compose_group(group)
        return group

    def update_group(self, group: Group, body: dict, *, by_hand: bool = False) -> None:
        """Change a group: absent fields stay; raises ApiError."""
        self._refuse_while_renaming(group, by_hand=by_hand)
        address = self._free(body["email"], "email", owner=group) if "email" in body else group.address
        before = self._before(group)
        self._set_group_fields(group, body)
        self._rename(group, address, self.group_order)
        self._compose_group(group)
        self._changed(group, before, by_hand=by_hand)

    def delete_group(self, group: Group, *, by_hand: bool = False) -> None:
        """Delete a group for good; its addresses stay blocked for as long as new ones are not fully there."""
        self._leave_all(group.id)
        for member_id in group.members:
            self._groups_of[member_id].discard(group.id)
        self._give_up(group, self.group_order)
        del self.groups[group.id]
        if not by_hand and self._settings.lag_ms:
            until = clock.monotonic() + self._settings.lag_ms / 1000
            self._blocked.update(dict.fromkeys((group.address, *group.aliases), until))

    # Memberships

    def add_member(self, group: Group, body: dict, *, by_hand: bool = False) -> Member:
        """Add a member; raises ApiError."""
        member = self._new_member(body)
        if member.id in group.members:
            raise duplicate("Member already exists.")
        if member.id in self.groups:
            if member.role != "MEMBER":
                raise invalid("Invalid Input: role")
            if member.id == group.id or self.reaches(self.groups[member.id], group.id):
                raise not_yet("Cyclic memberships not allowed")
        before = self._before(group)
        group.members[member.id] = member
        self._groups_of[member.id].add(group.id)
        self._compose_group(group)
        self._changed(group, before, by_hand=by_hand)
        return member

    def update_member(self, group: Group, member: Member, body: dict) -> Member:
        """Change role or delivery of a member; raises ApiError."""
        role = checks.one_of(body.get("role") or member.role, checks.ROLES, "role")
        if member.id in self.groups and role != "MEMBER":
            raise invalid("Invalid Input: role")
        before = self._before(group)
        delivery = body.get("delivery_settings", member.delivery)
        changed = Member(member.id, member.kind, role, member.address, delivery)
        group.members[member.id] = changed
        self._changed(group, before, by_hand=False)
        return changed

    def remove_member(self, group: Group, member: Member, *, by_hand: bool = False) -> None:
        """Take a member out of a group."""
        before = self._before(group)
        del group.members[member.id]
        self._groups_of[member.id].discard(group.id)
        self._compose_group(group)
        self._changed(group, before, by_hand=by_hand)

    # Aliases

    def add_alias(self, entry: User | Group, alias: object, *, by_hand: bool = False) -> str:
        """Add an alias to an account or a group and return it as it is kept; raises ApiError."""
        address = self._free(alias, "alias")
        before = self._before(entry)
        entry.aliases = [*entry.aliases, address]
        self._addresses[address] = entry
        self._compose(entry)
        self._changed(entry, before, by_hand=by_hand)
        return address

    def remove_alias(self, entry: User | Group, alias: str, *, by_hand: bool = False) -> None:
        """Remove an alias; raises ApiError 404 when the entry does not have it."""
        address = alias.lower()
        if address not in entry.aliases:
            raise not_found("alias")
        before = self._before(entry)
        entry.aliases = [item for item in entry.aliases if item != address]
        del self._addresses[address]
        self._compose(entry)
        self._changed(entry, before, by_hand=by_hand)

    # Inside

    def _next(self, form: str) -> str:
        self._counter += 1
        return form.format(self._counter)

    def _free(self, value: object, what: str, owner: Entry | None = None) -> str:
        """Return an address in lower case if nobody else than the owner holds it."""
        address = checks.address(value, self.domains, what)
        holder = self._addresses.get(address)
        if (holder is not None and holder is not owner) or clock.monotonic() < self._blocked.get(address, LONG_AGO):
            raise duplicate()
        return address

    def _rename(self, entry: User | Group, address: str, order: list[str]) -> None:
        if address == entry.address:
            return
        entry.renamed = clock.monotonic()
        del order[bisect_left(order, entry.address)]
        entry.aliases = [*(alias for alias in entry.aliases if alias != address), entry.address]
        entry.address = address
        self._addresses[address] = entry
        insort(order, address)

    def _refuse_while_renaming(self, entry: Entry, *, by_hand: bool) -> None:
        """For a minute or more after a rename, further writes to an entry are refused as if something held its address."""
        if not by_hand and clock.monotonic() < entry.renamed + self._settings.rename_lag_ms / 1000:
            raise duplicate()

    def _give_up(self, entry: User | Group, order: list[str]) -> None:
        for address in (entry.address, *entry.aliases):
            del self._addresses[address]
        del order[bisect_left(order, entry.address)]

    def _leave_all(self, member_id: str) -> None:
        for group_id in self._groups_of.pop(member_id, set()):
            group = self.groups[group_id]
            del group.members[member_id]
            self._compose_group(group)

    def _before(self, entry: Entry) -> tuple[dict[str, Any], dict[str, Member]] | None:
        """Return what reads show now, to be shown for a while longer, where changes are set to trail."""
        if not self._settings.update_lag_ms:
            return None
        return self.shown(entry), dict(self.shown_members(entry)) if isinstance(entry, Group) else {}

    def _changed(self, entry: Entry, before: tuple | None, *, by_hand: bool) -> None:
        entry.earlier = None if by_hand else before
        entry.changed = clock.monotonic()

    def _trails(self, entry: Entry) -> bool:
        """Tell whether reads do not show the last change yet."""
        return clock.monotonic() < entry.changed + self._settings.update_lag_ms / 1000

    def _would_clear(self, user: User, key: str, value: Any) -> bool:
        present = user.emails if key == "emails" else user.fields.get(key)
        return not value and isinstance(present, list)

    def _set_user_fields(self, user: User, body: dict, *, by_hand: bool) -> None:
        if not by_hand:
            body = {key: value for key, value in body.items() if key not in self._read_only}
        # Everything that may be refused comes first, so that a refused change has changed nothing.
        name = self._name(user, body, by_hand=by_hand)
        emails = checks.list_of_objects(body, "emails") if "emails" in body else user.emails
        if not str(body.get("orgUnitPath") or "/").startswith("/"):
            raise invalid("Invalid Input: INVALID_OU_ID")
        fields = {**user.fields, "name": name}
        for key, value in body.items():
            if key in _USER_SPECIAL:
                continue
            if value is not None:
                fields[key] = value
            elif key in _USER_DEFAULTS:
                fields[key] = _USER_DEFAULTS[key]
            else:
                fields.pop(key, None)
        if "customSchemas" in body:
            fields["customSchemas"] = _merged_schemas(fields.get("customSchemas", {}), body["customSchemas"])
        user.fields = {key: value for key, value in fields.items() if value not in ([], {})}
        user.emails = emails

    def _name(self, user: User, body: dict, *, by_hand: bool) -> dict[str, str]:
        present = user.fields.get("name", {})
        sent = {key: value or "" for key, value in (body.get("name") or {}).items()}
        name = {"familyName": "", "givenName": "", **present, **sent}
        strict = self._settings.strict_names and not by_hand
        for part, field_name in (("GivenName", "givenName"), ("FamilyName", "familyName")):
            if field_name in sent or not present:
                checks.person_name(part, name[field_name], strict=strict)
        full_name = f"{name['givenName']} {name['familyName']}".strip()
        if "displayName" not in sent and present.get("displayName") in (None, present.get("fullName")):
            name["displayName"] = full_name
        return {
            "familyName": name["familyName"],
            "givenName": name["givenName"],
            "displayName": name["displayName"] or full_name,
            "fullName": full_name,
        }

    def _set_group_fields(self, group: Group, body: dict) -> None:
        fields = {**group.fields}
        for key in _GROUP_WRITABLE & set(body):
            fields[key] = body[key] or ([] if key == "externalIds" else "")
        if len(fields["name"]) > checks.LONGEST_GROUP_NAME:
            raise invalid("Invalid Input: name")
        group.fields = {key: value for key, value in fields.items() if value != []}

    def _compose(self, entry: User | Group) -> None:
        if isinstance(entry, User):
            self._compose_user(entry)
        else:
            self._compose_group(entry)

    def _compose_user(self, user: User) -> None:
        own = {user.address, *user.aliases}
        emails = [item for item in user.emails if str(item.get("address", "")).lower() not in own]
        emails.append({"address": user.address, "primary": True})
        emails.extend({"address": alias} for alias in user.aliases)
        resource = {
            "kind": "admin#directory#user",
            "id": user.id,
            **user.fields,
            "emails": emails,
            "primaryEmail": user.address,
        }
        if user.aliases:
            resource["aliases"] = list(user.aliases)
        user.resource = with_etag(resource)

    def _compose_group(self, group: Group) -> None:
        resource = {
            "kind": "admin#directory#group",
            "id": group.id,
            "email": group.address,
            **group.fields,
            "adminCreated": True,
            "directMembersCount": str(len(group.members)),
        }
        if group.aliases:
            resource["aliases"] = list(group.aliases)
        group.resource = with_etag(resource)

    def _member_id(self, key: str) -> str | None:
        """Return the id of an account or a group of this workspace, by id, address or alias."""
        if key in self.users or key in self.groups or key == CUSTOMER_ID:
            return key
        entry = self._addresses.get(key.lower())
        return entry.id if entry else None

    def _new_member(self, body: dict) -> Member:
        role = checks.one_of(body.get("role") or "MEMBER", checks.ROLES, "role")
        kind = checks.one_of(body.get("type") or "USER", checks.MEMBER_TYPES, "type")
        delivery = body.get("delivery_settings")
        if kind == "CUSTOMER":
            return Member(CUSTOMER_ID, kind, role, delivery=delivery)
        key = body.get("email") or body.get("id")
        if not key:
            raise invalid("Invalid Input: memberKey")
        member_id = self._member_id(key)
        if member_id in self.groups:
            return Member(member_id, "GROUP", role, delivery=delivery)
        if member_id is not None:
            return Member(member_id, "USER", role, delivery=delivery)
        if "@" not in key or checks.is_inside(key, self.domains):
            raise not_found("memberKey")
        address = checks.outside_address(key)
        return Member(_outsider_id(address), "USER", role, address=address, delivery=delivery)


def _outsider_id(address: str) -> str:
    """Return the id of somebody outside of the workspace: the same for the same address, in whatever group."""
    return "2" + str(int(hashlib.sha1(address.lower().encode()).hexdigest()[:15], 16)).rjust(20, "0")


def _merged_schemas(present: dict, sent: dict | None) -> dict:
    """Return custom schemas with what was sent merged in: by schema and field, null clears, numbers become text."""
    merged = {} if sent is None else dict(present)
    for schema, values in (sent or {}).items():
        if values is None:
            merged.pop(schema, None)
            continue
        fields = {**merged.get(schema, {}), **{key: _as_text(value) for key, value in values.items()}}
        merged[schema] = {key: value for key, value in fields.items() if value is not None}
    return merged


def _as_text(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return value


def with_etag(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a resource with an ``etag`` that changes with its content."""
    content = {key: value for key, value in resource.items() if key != "etag"}
    digest = hashlib.sha1(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {**content, "etag": f'"sandbox/{digest[:20]}"'}


def now() -> str:
    """Return the present time as Google writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
