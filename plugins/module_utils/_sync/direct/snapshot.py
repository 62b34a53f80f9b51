# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listing both sides of a whole directory, once. Reads only; a listing that fails raises and so ends the run."""

from __future__ import annotations

import functools
import typing as t

from ..._authentik.api import Authentik
from ..._common.kind import GROUP, KINDS, USER, Kind
from ..._common.threads import Pool
from ..._common.types import Json
from ..._objects.index import Pages
from ..progress import Progress
from .listed_reader import ListedReader


class Snapshot:
    """What was listed, and what came of it.

    Attributes:
        kept: {kind: primary keys of the objects that the provider syncs, of all shards}.
        left_out: {kind: primary keys of those of them that a property mapping leaves out}.
        claimed: {kind: ids at Google of the records that belong to the others}.
        found: {kind: int, how many records Google listed}.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        reader: ListedReader,
        pool: Pool,
        asking: Pool,
        progress: Progress,
    ) -> None:
        self._authentik = authentik
        self._provider = int(provider["pk"])
        self._reader = reader
        self._pool = pool
        self._asking = asking
        self._progress = progress
        self._pages = {USER: Pages(), GROUP: Pages()}
        self._groups: dict[str, Json] | None = None
        self._people: dict[t.Any, tuple[str, str]] = {}
        self.found = {USER: 0, GROUP: 0}
        self.kept: dict[Kind, set[str]] = {USER: set(), GROUP: set()}
        reader.pages = self.pages
        self.left_out: dict[Kind, set[str]] = {USER: set(), GROUP: set()}
        self.claimed: dict[Kind, set[str]] = {USER: set(), GROUP: set()}

    def list_all(self, models: t.Sequence[str], with_groups: bool) -> None:
        """List Google's records, authentik's objects and its connections.

        Args:
            models: the kinds of the run.
            with_groups: whether authentik's groups are wanted though the run is about users, for what mappings ask.

        Raises:
            AuthentikError, GoogleError.
        """
        reader = self._reader
        jobs: list[tuple[str, t.Callable[[], None]]] = []
        # Members are looked up among the users, whatever the run is about.
        for kind in KINDS:
            if kind == GROUP and GROUP not in models:
                continue
            jobs.append((f"Google's {kind}s", functools.partial(self._list_google, kind)))
            jobs.append(("authentik's connections", functools.partial(self._list_rows, kind)))
        wanted = [kind for kind in (GROUP, USER) if kind in models or kind == USER or with_groups]
        jobs.extend((f"authentik's {kind}s", functools.partial(self._list_authentik, kind)) for kind in wanted)
        self._progress.begin("list both sides", len(jobs))
        # One after the other on authentik's side (its pages come in parallel), all at once with Google's.
        google = [job for name, job in jobs if name.startswith("Google")]
        others = [job for name, job in jobs if not name.startswith("Google")]

        def run(job: t.Callable[[], None]) -> None:
            job()
            self._progress.step()

        def rest(_nothing: None) -> None:
            for job in others:
                run(job)

        with Pool(len(google) + 1) as pool:
            pool.each(lambda job: job(), [lambda: rest(None), *[lambda job=job: run(job) for job in google]])
        reader.listed.add(USER)
        if GROUP in models:
            reader.listed.add(GROUP)
        self.found = {USER: len(reader.users), GROUP: len(reader.groups)}

    def pages(self, kind: Kind) -> t.Iterator[list[Json]]:
        """The objects of a kind as authentik lists them."""
        return iter(self._pages[kind])

    def count(self, kind: Kind) -> int:
        """How many objects of a kind authentik lists."""
        return len(self._pages[kind])

    def has(self, kind: Kind, pk: str) -> bool:
        """Whether authentik lists an object."""
        return (int(pk) if kind == USER and pk.isdigit() else pk) in self._pages[kind]

    def group(self, pk: str) -> Json | None:
        """A group as authentik lists it; None if it does not."""
        if self._groups is None:
            if not self.count(GROUP):
                for page in self._authentik.listed(GROUP, self._asking.map):
                    self._pages[GROUP].add(page)
            self._groups = {
                str(item["pk"]): {key: value for key, value in item.items() if key not in ("users", "users_obj")}
                for page in self._pages[GROUP]
                for item in page
            }
        return self._groups.get(pk)

    def fill_members(self, group: Json) -> None:
        """Give a listed group its members as authentik shows them with a single group."""
        group["users_obj"] = [
            {"pk": pk, "username": self._people[pk][0], "email": self._people[pk][1]}
            for pk in group.get("users") or []
            if pk in self._people
        ]

    def _list_google(self, kind: Kind) -> None:
        index = self._reader.index(kind)
        for page in self._reader.directory.listed(kind, partly=True):
            for record in page:
                index.add(record)

    def _list_rows(self, kind: Kind) -> None:
        rows = self._reader.rows[kind]
        for row in self._authentik.all_connections(kind, self._provider, self._asking.map):
            rows.add(row)

    def _list_authentik(self, kind: Kind) -> None:
        members: set[t.Any] = set()
        if kind == USER:
            members = {pk for page in self._pages[GROUP] for group in page for pk in group.get("users") or []}
        for page in self._authentik.listed(kind, self._asking.map):
            self._pages[kind].add(page)
            for item in page if kind == USER else ():
                if item.get("pk") in members:
                    self._people[item["pk"]] = (str(item.get("username") or ""), str(item.get("email") or ""))
