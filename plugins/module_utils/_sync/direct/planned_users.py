# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object of a whole directory's sync, and those that something is to be done about, small in memory.

The whole plan is known before anything is written, and a first run plans something for everybody: a hundred thousand
planned users must fit. Each is kept as packed text then, and taken out again when its turn has come.
"""

from __future__ import annotations

import json
import typing as t
import zlib

from ..._common.kind import USER, Kind
from ..._common.masking import MASK
from ..._common.types import Json
from ..._objects.target import Target
from ..outcome import Outcome
from .log import EngineLog
from .object import DirectContext, DirectObject, Evaluated


class Item:
    """One object of the run.

    Attributes:
        target: Target; outcome: Outcome; obj: DirectObject.
        warnings: list of str.
        secrets: list of str, that must never be printed.
        asked: the question that its observation waits with, in a tuple, or None.
        going: bool, whether nothing has settled the matter yet.
    """

    def __init__(self, run: DirectContext, target: Target, row: t.Optional[Json]) -> None:
        self.target = target
        self.outcome = Outcome("direct")
        self.outcome.object = target.described(True)
        self.warnings: t.List[str] = []
        self.secrets: t.List[str] = []
        self.obj = DirectObject(run, target, row, self.outcome, EngineLog(), self.warn, self.secrets.extend)
        self.asked: t.Optional[t.Tuple[t.Optional[str]]] = None
        self.going = True
        self._looking = self.obj.observe()

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def look(self, given: t.Optional[Evaluated]) -> None:
        """Observe until the next question, or to the end."""
        self.asked = None

        def move() -> None:
            try:
                self.asked = (self._looking.send(t.cast(Evaluated, given)),)
            except StopIteration:
                pass

        self.attempt(move)

    def give_up(self, why: str) -> None:
        """Not tried, or not any further, because the run is given up."""
        if self.going:
            self.finish("Not synced as a whole, since the run was given up: %s" % why, "not_tried")

    def finish(self, why: str, code: str) -> None:
        """It fails for a reason that lies outside of it."""
        self.outcome.fail(why, code)
        self.going = False

    def masked(self) -> None:
        """Take passwords out of all that may be told; too many runs through here for Ansible to look for each in the end."""
        for secret in self.secrets:
            if not secret:
                continue
            self.outcome.failure = self.outcome.failure.replace(secret, MASK)
            self.warnings = [text.replace(secret, MASK) for text in self.warnings]
            for line in self.obj.log.lines:
                line["event"] = line["event"].replace(secret, MASK)

    def attempt(self, *steps: t.Callable[[], t.Any]) -> bool:
        """Run steps if nothing has settled the matter; whether it still is not."""
        self.going = self.going and self.obj.attempt(*steps)
        return self.going

    # Packed

    def pack(self) -> bytes:
        """A planned user as text, without what was only needed to plan."""
        blank = vars(Outcome("direct"))
        state = {
            "data": {name: self.target.data.get(name) for name in ("pk", "username", "email")},
            "row": self.obj.row,
            "outcome": {name: value for name, value in vars(self.outcome).items() if value != blank[name]},
            "warnings": self.warnings,
            "secrets": self.secrets,
            "going": self.going,
            "log": self.obj.log.lines,
            "obj": self.obj.planned(),
        }
        return zlib.compress(json.dumps(state, separators=(",", ":")).encode("ascii"), 1)

    @classmethod
    def unpack(cls, run: DirectContext, kind: Kind, packed: bytes) -> Item:
        """What pack() made, as it was."""
        state = json.loads(zlib.decompress(packed).decode("ascii"))
        item = cls(run, Target(kind, state["data"]), state["row"])
        vars(item.outcome).update(state["outcome"])
        item.warnings.extend(state["warnings"])
        item.secrets.extend(state["secrets"])
        item.going = state["going"]
        item.obj.log.lines.extend(state["log"])
        item.obj.take_planned(state["obj"])
        return item


class PlannedUsers(t.MutableMapping[str, Item]):
    """Planned users by their primary key, in the order of their planning; each access to one gives a fresh Item."""

    def __init__(self, run: DirectContext) -> None:
        self._run = run
        self._packed: t.Dict[str, bytes] = {}

    def __getitem__(self, pk: str) -> Item:
        return Item.unpack(self._run, USER, self._packed[pk])

    def __setitem__(self, pk: str, item: Item) -> None:
        self._packed[pk] = item.pack()

    def __delitem__(self, pk: str) -> None:
        del self._packed[pk]

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
