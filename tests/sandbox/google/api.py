# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The methods of the Directory API, over the state. Each takes its parameters and body, and returns the resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sandbox import clock
from tests.sandbox.google import checks, listing
from tests.sandbox.google.errors import ApiError, forbidden, invalid, malformed, not_found
from tests.sandbox.google.state import CUSTOMER_ID, Directory, Entry, Group, User, with_etag

MOST_USERS = 500
MOST_GROUPS = 200

_USER_TERMS = frozenset(
    {
        "email",
        "name",
        "givenName",
        "familyName",
        "isSuspended",
        "isArchived",
        "isAdmin",
        "isDelegatedAdmin",
        "orgUnitPath",
    }
)
_USER_FLAGS = {
    "isSuspended": "suspended",
    "isArchived": "archived",
    "isAdmin": "isAdmin",
    "isDelegatedAdmin": "isDelegatedAdmin",
}
_GROUP_TERMS = frozenset({"email", "name", "memberKey"})


class Api:
    """The API's methods by their ids in the discovery document."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.methods: dict[str, Callable[[dict, dict], dict | None]] = {
            "directory.users.list": self._users_list,
            "directory.users.get": self._users_get,
            "directory.users.insert": self._users_insert,
            "directory.users.update": self._users_update,
            "directory.users.patch": self._users_patch,
            "directory.users.delete": self._users_delete,
            "directory.users.undelete": self._users_undelete,
            "directory.users.aliases.list": self._user_aliases_list,
            "directory.users.aliases.insert": self._user_aliases_insert,
            "directory.users.aliases.delete": self._user_aliases_delete,
            "directory.groups.list": self._groups_list,
            "directory.groups.get": self._groups_get,
            "directory.groups.insert": self._groups_insert,
            "directory.groups.update": self._groups_update,
            "directory.groups.patch": self._groups_update,
            "directory.groups.delete": self._groups_delete,
            "directory.groups.aliases.list": self._group_aliases_list,
            "directory.groups.aliases.insert": self._group_aliases_insert,
            "directory.groups.aliases.delete": self._group_aliases_delete,
            "directory.members.list": self._members_list,
            "directory.members.get": self._members_get,
            "directory.members.insert": self._members_insert,
            "directory.members.update": self._members_update,
            "directory.members.patch": self._members_update,
            "directory.members.delete": self._members_delete,
            "directory.members.hasMember": self._members_has_member,
            "directory.domains.list": self._domains_list,
            "directory.domains.get": self._domains_get,
        }

    def call(self, method_id: str, parameters: dict, body: dict) -> dict | None:
        """Run a method; returns its resource, or None for an empty answer; raises ApiError."""
        method = self.methods.get(method_id)
        if method is None:
            raise ApiError(501, "notImplemented", f"The sandbox does not implement {method_id}")
        return method(parameters, body)

    def domains(self) -> list[dict]:
        """Return the workspace's domains as resources."""
        return [
            with_etag(
                {
                    "kind": "admin#directory#domain",
                    "domainName": name,
                    "isPrimary": index == 0,
                    "verified": True,
                    "creationTime": "1700000000000",
                }
            )
            for index, name in enumerate(self.directory.domains)
        ]

    # Accounts

    def _users_list(self, parameters: dict, _body: dict) -> dict:
        directory = self.directory
        domain = self._scope(parameters)
        terms = listing.parse(parameters.get("query", ""), _USER_TERMS)
        deleted = str(parameters.get("showDeleted", "false")).lower() == "true"
        order = parameters.get("orderBy", "email")
        entries = directory.deleted if deleted else directory.users
        keys: list = directory.user_order
        if deleted or order != "email":
            keys = sorted(
                (str(user.address if order == "email" else user.fields["name"][order]).lower(), user.id)
                for user in entries.values()
            )

        def item(key: Any) -> dict | None:
            user = directory.at(key) if keys is directory.user_order else entries[key[1]]
            if directory.is_fresh(user) or (domain and not user.address.endswith("@" + domain)):
                return None
            resource = directory.shown(user)
            return self._projected(resource, parameters) if _user_matches(resource, terms) else None

        return self._listing("users", keys, item, parameters, limit=MOST_USERS)

    def _users_get(self, parameters: dict, _body: dict) -> dict:
        user = self.directory.user(parameters["userKey"])
        self._refuse_id_while_fresh(user, parameters["userKey"], "userKey")
        return self._projected(self.directory.shown(user), parameters)

    def _users_insert(self, _parameters: dict, body: dict) -> dict:
        return self.directory.create_user(body).resource

    def _users_update(self, parameters: dict, body: dict) -> dict:
        user = self.directory.user(parameters["userKey"])
        self.directory.update_user(user, body)
        return user.resource

    def _users_patch(self, parameters: dict, body: dict) -> dict:
        user = self.directory.user(parameters["userKey"])
        self.directory.update_user(user, body, keep_lists=True)
        return user.resource

    def _users_delete(self, parameters: dict, _body: dict) -> None:
        self.directory.delete_user(self.directory.user(parameters["userKey"]))

    def _users_undelete(self, parameters: dict, body: dict) -> None:
        self.directory.undelete_user(parameters["userKey"], body.get("orgUnitPath"))

    def _user_aliases_list(self, parameters: dict, _body: dict) -> dict:
        return _aliases(self.directory.user(parameters["userKey"]))

    def _user_aliases_insert(self, parameters: dict, body: dict) -> dict:
        user = self.directory.user(parameters["userKey"])
        return _alias(user, self.directory.add_alias(user, body.get("alias")))

    def _user_aliases_delete(self, parameters: dict, _body: dict) -> None:
        self.directory.remove_alias(self.directory.user(parameters["userKey"]), parameters["alias"])

    # Groups

    def _groups_list(self, parameters: dict, _body: dict) -> dict:
        directory = self.directory
        domain = self._scope(parameters, alternative="userKey")
        terms = listing.parse(parameters.get("query", ""), _GROUP_TERMS)
        wanted = [value for name, _operator, value in terms if name == "memberKey"]
        if "userKey" in parameters:
            wanted.append(parameters["userKey"])
        holding = [directory.groups_with(key) for key in wanted]

        def item(key: str) -> dict | None:
            group = directory.at(key)
            if directory.is_fresh(group) or (domain and not group.address.endswith("@" + domain)):
                return None
            if not all(group.id in groups for groups in holding):
                return None
            resource = directory.shown(group)
            return resource if _group_matches(resource, terms) else None

        return self._listing("groups", directory.group_order, item, parameters, limit=MOST_GROUPS)

    def _groups_get(self, parameters: dict, _body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        self._refuse_id_while_fresh(group, parameters["groupKey"], "groupKey")
        return self.directory.shown(group)

    def _groups_insert(self, _parameters: dict, body: dict) -> dict:
        return self.directory.create_group(body).resource

    def _groups_update(self, parameters: dict, body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        self.directory.update_group(group, body)
        return group.resource

    def _groups_delete(self, parameters: dict, _body: dict) -> None:
        self.directory.delete_group(self.directory.group(parameters["groupKey"]))

    def _group_aliases_list(self, parameters: dict, _body: dict) -> dict:
        return _aliases(self.directory.group(parameters["groupKey"]))

    def _group_aliases_insert(self, parameters: dict, body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        return _alias(group, self.directory.add_alias(group, body.get("alias")))

    def _group_aliases_delete(self, parameters: dict, _body: dict) -> None:
        self.directory.remove_alias(self.directory.group(parameters["groupKey"]), parameters["alias"])

    # Memberships

    def _members_list(self, parameters: dict, _body: dict) -> dict:
        directory = self.directory
        group = directory.group(parameters["groupKey"])
        self._refuse_id_while_fresh(group, parameters["groupKey"], "groupKey")
        roles = {role.strip().upper() for role in parameters.get("roles", "").split(",") if role.strip()}
        if not roles <= set(checks.ROLES):
            raise invalid("Invalid Input: roles")
        members = directory.shown_members(group)
        if parameters.get("includeDerivedMembership"):
            members = {member.id: member for member in directory.derived_members(group)}

        def item(key: str) -> dict | None:
            member = members[key]
            return None if roles and member.role not in roles else directory.member_resource(member, settings=False)

        return self._listing("members", sorted(members), item, parameters, limit=MOST_GROUPS)

    def _members_get(self, parameters: dict, _body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        return self.directory.member_resource(self.directory.member(group, parameters["memberKey"], shown=True))

    def _members_insert(self, parameters: dict, body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        if self.directory.is_fresh(group):
            raise not_found("groupKey")
        return self.directory.member_resource(self.directory.add_member(group, body))

    def _members_update(self, parameters: dict, body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        member = self.directory.member(group, parameters["memberKey"])
        return self.directory.member_resource(self.directory.update_member(group, member, body))

    def _members_delete(self, parameters: dict, _body: dict) -> None:
        group = self.directory.group(parameters["groupKey"])
        self.directory.remove_member(group, self.directory.member(group, parameters["memberKey"]))

    def _members_has_member(self, parameters: dict, _body: dict) -> dict:
        group = self.directory.group(parameters["groupKey"])
        key = parameters["memberKey"]
        if "@" in key and not checks.is_inside(key, self.directory.domains):
            raise invalid("Invalid Input: memberKey")
        return {"isMember": self.directory.reaches(group, self.directory.user(key).id)}

    # Domains

    def _domains_list(self, parameters: dict, _body: dict) -> dict:
        self._check_customer(parameters["customer"])
        return with_etag({"kind": "admin#directory#domains", "domains": self.domains()})

    def _domains_get(self, parameters: dict, _body: dict) -> dict:
        self._check_customer(parameters["customer"])
        for domain in self.domains():
            if domain["domainName"] == parameters["domainName"].lower():
                return domain
        raise not_found("domain")

    # Inside

    def _scope(self, parameters: dict, alternative: str = "customer") -> str | None:
        """Check what a listing is about, which must be said; returns the domain that it is limited to."""
        if not {"customer", "domain", alternative} & set(parameters):
            raise malformed("Bad Request")
        if "customer" in parameters:
            self._check_customer(parameters["customer"])
        domain = parameters.get("domain", "").lower()
        if domain and domain not in self.directory.domains:
            raise forbidden()
        return domain or None

    def _check_customer(self, customer: str) -> None:
        if customer not in ("my_customer", CUSTOMER_ID):
            raise forbidden()

    def _refuse_id_while_fresh(self, entry: Entry, key: str, what: str) -> None:
        if key == entry.id and self.directory.is_fresh(entry):
            raise not_found(what)

    def _projected(self, resource: dict, parameters: dict) -> dict:
        projection = parameters.get("projection", "basic")
        if projection == "full" or "customSchemas" not in resource:
            return resource
        wanted = set()
        if projection == "custom":
            mask = parameters.get("customFieldMask", "")
            if not mask:
                raise invalid("Invalid Input: customFieldMask")
            wanted = {name.strip() for name in mask.split(",")}
        shown = {name: value for name, value in resource["customSchemas"].items() if name in wanted}
        rest = {key: value for key, value in resource.items() if key != "customSchemas"}
        return {**rest, "customSchemas": shown} if shown else rest

    def _listing(self, name: str, keys: list, item: Callable, parameters: dict, *, limit: int) -> dict:
        same = {key: value for key, value in parameters.items() if key not in ("pageToken", "maxResults", "fields")}
        found, token = listing.page(
            keys,
            item,
            limit=min(parameters["maxResults"], limit),
            token=parameters.get("pageToken"),
            descending=parameters.get("sortOrder") == "DESCENDING",
            same=sorted(same.items()),
        )
        # The etags of the entries stand for their content.
        etag = with_etag({"entries": [entry["etag"] for entry in found], "next": token})["etag"]
        answer: dict[str, Any] = {"kind": f"admin#directory#{name}", "etag": etag}
        if found:
            answer[name] = found
        if token:
            answer["nextPageToken"] = token
        return answer


class Quota:
    """Counts calls over the last minute."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def take(self, per_minute: int) -> bool:
        """Count one call if there is room for it, and tell whether there was."""
        now = clock.monotonic()
        self._times = [moment for moment in self._times if moment > now - 60] if per_minute else []
        if not per_minute:
            return True
        if len(self._times) >= per_minute:
            return False
        self._times.append(now)
        return True


def _user_matches(resource: dict, terms: list[listing.Term]) -> bool:
    for name, operator, value in terms:
        if name in _USER_FLAGS:
            if str(bool(resource[_USER_FLAGS[name]])).lower() != value.lower():
                return False
            continue
        texts = {
            "email": lambda: [resource["primaryEmail"], *resource.get("aliases", ())],
            "name": lambda: [resource["name"]["fullName"]],
            "givenName": lambda: [resource["name"]["givenName"]],
            "familyName": lambda: [resource["name"]["familyName"]],
            "orgUnitPath": lambda: [resource["orgUnitPath"]],
        }[name]()
        if not listing.text_matches(operator, value, texts):
            return False
    return True


def _group_matches(resource: dict, terms: list[listing.Term]) -> bool:
    for name, operator, value in terms:
        texts = [resource["name"]] if name == "name" else [resource["email"], *resource.get("aliases", ())]
        if name != "memberKey" and not listing.text_matches(operator, value, texts):
            return False
    return True


def _alias(entry: User | Group, alias: str) -> dict:
    return with_etag(
        {"kind": "admin#directory#alias", "id": entry.id, "primaryEmail": entry.address, "alias": alias},
    )


def _aliases(entry: User | Group) -> dict:
    answer: dict[str, Any] = {"kind": "admin#directory#aliases"}
    if entry.aliases:
        answer["aliases"] = [_alias(entry, alias) for alias in entry.aliases]
    return with_etag(answer)
