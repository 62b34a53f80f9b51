# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik's algorithm for bringing users and groups to Google, step by step as recorded."""

from __future__ import annotations

import copy
import time
import uuid
from dataclasses import replace
from typing import Callable

from tests.sandbox.authentik import expressions
from tests.sandbox.authentik.directory import Directory
from tests.sandbox.authentik.errors import (
    BadRequestSyncException,
    DoesNotExist,
    DryRunRejected,
    IntegrityError,
    NotFoundSyncException,
    ObjectExistsSyncException,
    PropertyMappingExpressionException,
    StopSync,
    TransientSyncException,
    UniqueViolation,
    ValidationError,
    chain,
)
from tests.sandbox.authentik.objects import World
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.state import Connection, Group, Provider, State, User

# log(level, event, attributes)
Log = Callable[[str, str, dict], None]

MODELS = {"authentik.core.models.User": "user", "authentik.core.models.Group": "group"}
# What one linked account in a listing costs, when a sync costs anything.
LINKED_ACCOUNT_SECONDS = 0.003
UNIQUE = {
    "user": ("authentik_providers_goog_google_id_user_id_provid_7f502ce1_uniq", "GoogleWorkspaceProviderUser"),
    "group": ("authentik_providers_goog_google_id_group_id_provi_58b1a8c4_uniq", "GoogleWorkspaceProviderGroup"),
}


class Syncer:
    """One task's work for one provider."""

    def __init__(
        self,
        state: State,
        release: Release,
        endpoint: str,
        provider: Provider,
        log: Log,
        *,
        override_dry_run: bool = False,
        own_seconds: float = 0.0,
    ) -> None:
        self.state = state
        self.release = release
        self.provider = provider
        self.log = log
        self._own_seconds = own_seconds
        self._started = time.monotonic()
        self._linked = 0
        generation = state.generation
        self.google = Directory(
            provider,
            endpoint,
            provider.dry_run and not override_dry_run,
            wanted=lambda: state.generation == generation,
        )

    # -- what a task does ---------------------------------------------------------------------------------------

    def single(self, kind: str, object_id: str) -> None:
        """Sync one object, as the endpoint asks for it."""
        key = parse_pk(kind, object_id)
        # Newer servers list Google once for a full sync, and not at all for one object.
        self._begin(kind, 1, lists=not self.release.discovery_setting)
        self.page([obj for obj in self.scope(kind) if obj.pk == key])

    def numbered(self, kind: str, number: int, size: int) -> None:
        """Sync one page of everything in scope, as a full sync asks for it; each page lists the whole directory."""
        self._begin(kind, number)
        self.page(self.scope(kind)[(number - 1) * size : number * size])

    def _begin(self, kind: str, number: int, lists: bool = True) -> None:
        if lists:
            self.discover(kind)
        self.log("info", "Syncing page %d or %ss" % (number, kind.capitalize()), {})

    def page(self, objects: list[User | Group]) -> None:
        self._take_own_time()
        for obj in objects:
            try:
                self.write(obj)
            except expressions.SkipObjectException:
                continue
            except DryRunRejected as exc:
                self.log(
                    "info",
                    "Dropping mutating request due to dry run",
                    {"obj": described(obj), "url": exc.url, "body": exc.body, "method": exc.method},
                )
            except BadRequestSyncException as exc:
                self._warn(obj, "Failed to sync %s due to error: %s", exc, {"arguments": list(exc.args[1:])})
            except TransientSyncException as exc:
                self._warn(obj, "Failed to sync %s due to transient error: %s", exc, {})
            except StopSync as exc:
                self.log("warning", "Stopping sync due to error: " + exc.detail(), {"obj": described(obj)})
                return

    def write(self, obj: User | Group) -> None:
        """Create or update one object, and insert a group's members."""
        kind = kind_of(obj)
        row = self._row(obj)
        if row is None:
            row = self.create(obj)
        else:
            try:
                self.update(obj, row)
            except NotFoundSyncException:
                with self.state.lock:
                    self.state.remove_connection(row)
                try:
                    row = self.create(obj)
                except IntegrityError:
                    # Another row of the same object stands in the way, and authentik drops the first one once more.
                    raise ValueError(
                        "%s object can't be deleted because its id attribute is set to None." % UNIQUE[kind][1]
                    )
        if isinstance(obj, Group):
            self.insert_members(row, obj.users)

    def direct(self, obj: User | Group) -> None:
        """What saving an object starts: no listing, and errors end it silently but for the log."""
        self.page([each for each in self.scope(kind_of(obj)) if each.pk == obj.pk])

    def members_changed(self, group: Group, users: list[int], added: bool) -> None:
        row = self._row(group)
        if row is None:
            self.log("warning", "could not sync group membership, group does not exist", {})
            return
        if added:
            self.insert_members(row, users)
            return
        for member in self._member_rows(users):
            try:
                self.google.send(self.google.members.delete(groupKey=row.google_id, memberKey=member.google_id))
            except NotFoundSyncException:
                continue

    def delete(self, kind: str, rows: list[Connection]) -> None:
        """What deleting an object does at Google; its rows are gone already."""
        action = self.provider.user_delete_action if kind == "user" else self.provider.group_delete_action
        for row in rows:
            try:
                if kind == "user" and action == "suspend":
                    self.google.send(self.google.users.update(userKey=row.google_id, body={"suspended": True}))
                elif action == "delete":
                    request = (
                        self.google.users.delete(userKey=row.google_id)
                        if kind == "user"
                        else self.google.groups.delete(groupKey=row.google_id)
                    )
                    self.google.send(request)
            except (NotFoundSyncException, DryRunRejected):
                continue

    # -- discovery ----------------------------------------------------------------------------------------------

    def discover(self, kind: str) -> None:
        """Link what stands at Google already: users by e-mail, groups by name."""
        by_key: dict[str, int | str]
        if kind == "user":
            with self.state.lock:
                by_key = {user.email: user.pk for user in reversed(self.state.users_in_scope(self.provider))}
            listing, key, google_id = self.google.listing(self.google.users, "users"), "primaryEmail", "primaryEmail"
        else:
            with self.state.lock:
                by_key = {group.name: group.pk for group in self.scope(kind)}
            listing, key, google_id = self.google.listing(self.google.groups, "groups"), "name", "id"
        for entry in listing:
            pk = by_key.get(entry[key])
            if pk is not None:
                self._linked += 1
                self._link(kind, pk, entry[google_id], entry)

    def _link(self, kind: str, pk: int | str, google_id: str, attributes: dict) -> None:
        with self.state.lock:
            row = self.state.row(kind, self.provider.pk, pk, google_id)
            if row is None:
                self.state.add_connection(kind, self.provider.pk, pk, google_id, attributes)
            elif self.release.discovery_updates:
                row.attributes = attributes
            elif row.attributes != attributes:
                # The look-up asked for these very attributes, so it missed the row that the insert then meets.
                try:
                    raise DoesNotExist("%s matching query does not exist." % UNIQUE[kind][1])
                except DoesNotExist:
                    raise_duplicate(kind, google_id, pk, self.provider.pk)

    # -- one object ---------------------------------------------------------------------------------------------

    def scope(self, kind: str) -> list[User | Group]:
        with self.state.lock:
            if kind == "user":
                return [replace(user) for user in self.state.users_in_scope(self.provider)]
            return [copy.deepcopy(group) for group in sorted(self.state.groups.values(), key=lambda item: item.pk)]

    def body(self, obj: User | Group, row: Connection | None) -> dict:
        """The resource that the mappings make of an object."""
        kind = kind_of(obj)
        with self.state.lock:
            mappings = self.state.mappings_of(self.provider, kind)
            # There is no request behind a group's sync; mappings of users reach theirs as request.user too.
            world = World(self.state, self.release)
            variables = expressions.variables_for(
                world.user(obj) if isinstance(obj, User) else None,
                world.group(obj) if isinstance(obj, Group) else None,
                {"provider": self.provider, "connection": copy.copy(row)},
            )
            try:
                body = expressions.evaluate(mappings, variables, self.release)
            except PropertyMappingExpressionException as exc:
                raise StopSync(exc, obj, exc.mapping) from exc
        if not body:
            raise StopSync(ValueError("No mappings configured"), obj)
        if isinstance(obj, User):
            body.setdefault("primaryEmail", obj.email)
            body = {key: value for key, value in body.items() if value is not None}
            addresses = [body["primaryEmail"]] + [entry["address"] for entry in body.get("emails", [])]
        else:
            body.setdefault("email", "%s@%s" % (expressions.slug(obj.name), self.provider.default_group_email_domain))
            addresses = [body["email"]]
        self.google.check_domains(*addresses)
        return body

    def create(self, obj: User | Group) -> Connection:
        kind = kind_of(obj)
        body = self.body(obj, None)
        try:
            if kind == "user":
                answer = self.google.send(self.google.users.insert(body=body))
                google_id = answer["primaryEmail"]
            else:
                answer = self.google.send(self.google.groups.insert(body=body))
                google_id = answer["id"]
        except ObjectExistsSyncException:
            return self._adopt(obj, body)
        with self.state.lock:
            row = self.state.row(kind, self.provider.pk, obj.pk, google_id)
            if row is None:
                return self.state.add_connection(kind, self.provider.pk, obj.pk, google_id, answer)
            if row.attributes:
                raise_duplicate(kind, google_id, obj.pk, self.provider.pk)
            # A call at the same time met the account that this one had just made, and adopted it.
            if self.release.discovery_updates:
                row.attributes = answer
            return row

    def _adopt(self, obj: User | Group, body: dict) -> Connection:
        """The address is taken: tie the object to whatever holds it, and change nothing there now."""
        kind = kind_of(obj)
        if isinstance(obj, User):
            google_id, attributes = obj.email, {}
        else:
            attributes = self.google.send(self.google.groups.get(groupKey=body["email"]))
            google_id = attributes["id"]
        with self.state.lock:
            row = self.state.row(kind, self.provider.pk, obj.pk, google_id)
            if row is not None:
                return row
            return self.state.add_connection(kind, self.provider.pk, obj.pk, google_id, attributes)

    def update(self, obj: User | Group, row: Connection) -> None:
        body = self.body(obj, row)
        if row.kind == "user":
            answer = self.google.send(self.google.users.update(userKey=row.google_id, body=body))
        else:
            answer = self.google.send(self.google.groups.update(groupKey=row.google_id, body=body))
        with self.state.lock:
            row.attributes = answer

    def insert_members(self, row: Connection, users: list[int]) -> None:
        """Every member that has a row, every time; a 409 means that it was there."""
        for member in self._member_rows(users):
            try:
                self.google.send(self.google.members.insert(groupKey=row.google_id, body={"email": member.google_id}))
            except ObjectExistsSyncException:
                continue

    # -- helpers ------------------------------------------------------------------------------------------------

    def _row(self, obj: User | Group) -> Connection | None:
        with self.state.lock:
            rows = self.state.rows(kind_of(obj), self.provider.pk, obj.pk)
        return rows[0] if rows else None

    def _member_rows(self, users: list[int]) -> list[Connection]:
        with self.state.lock:
            return [copy.copy(row) for pk in users for row in self.state.rows("user", self.provider.pk, pk)]

    def _warn(self, obj: User | Group, text: str, exc: Exception, attributes: dict) -> None:
        name = "%s %s" % (kind_of(obj).capitalize(), obj) if self.release.model_in_warning else str(obj)
        attributes = {"obj": described(obj), **attributes}
        if self.release.tasks_api:
            attributes["exception"] = chain(exc)
        self.log("warning", text % (name, exc), attributes)

    def _take_own_time(self) -> None:
        """Make the work take the time that was asked for, Google's share not counted."""
        if not self._own_seconds:
            return
        due = self._own_seconds + LINKED_ACCOUNT_SECONDS * self._linked
        spent = time.monotonic() - self._started - self.google.waited
        time.sleep(max(0.0, due - spent))


def kind_of(obj: User | Group) -> str:
    return "user" if isinstance(obj, User) else "group"


def described(obj: User | Group) -> dict:
    """An object as it stands in a log line."""
    if isinstance(obj, User):
        return {"pk": obj.pk, "email": obj.email, "username": obj.username}
    return {"pk": obj.pk.replace("-", ""), "app": "authentik_core", "name": obj.name, "model_name": "group"}


def parse_pk(kind: str, text: str) -> int | str:
    """A primary key as the database wants it, or the error that it gives for anything else."""
    if kind == "user":
        try:
            return int(text)
        except ValueError as exc:
            raise ValueError("Field 'id' expected a number but got %r." % text) from exc
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValidationError("['“%s” is not a valid UUID.']" % text)


def raise_duplicate(kind: str, google_id: str, pk: int | str, provider: int) -> None:
    text = (
        'duplicate key value violates unique constraint "%s"\n'
        "DETAIL:  Key (google_id, %s_id, provider_id)=(%s, %s, %s) already exists."
    ) % (UNIQUE[kind][0], kind, google_id, pk, provider)
    try:
        raise UniqueViolation(text)
    except UniqueViolation as exc:
        raise IntegrityError(text) from exc


def snapshot(state: State, pk: int) -> Provider | None:
    """A provider as it is now; a running task does not see later changes."""
    with state.lock:
        provider = state.providers.get(pk)
        return copy.deepcopy(provider) if provider is not None else None
