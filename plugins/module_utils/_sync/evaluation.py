# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The records that authentik wants of many objects: mappings evaluated here where that is sure, by authentik elsewhere."""

from __future__ import annotations

import typing as t

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .desired import MappingProblem, ask, mapping_keys, put_together

Json = t.Dict[str, t.Any]
Subject = t.Tuple[Json, t.Optional[str]]
Wanted = t.Tuple[Json, Json]
Map = t.Callable[[t.Callable[[t.Any], t.Any], t.Iterable[t.Any]], t.Iterable[t.Any]]
MODES = ("auto", "server", "local")


class MappingEvaluator:
    """A provider's mappings of one kind, for many objects.

    Args:
        authentik: the API.
        provider: the provider as authentik shows it.
        kind: "user" or "group".
        mode: "server" (authentik evaluates: one request for each object and mapping), "local" (here, and nobody is
            asked), or "auto" (here, for each mapping that gave what authentik gives for a sample of the objects).
        groups: a group as authentik lists it, by its primary key, as a mapping or a callable; only for users.
        pool_map: like ``map``; may do its work in several threads. Results come in the order of the items.
        seconds: what one evaluation may take.
        memory_mb: what one evaluation may take of memory.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        kind: str,
        mode: str,
        groups: t.Any = None,
        pool_map: Map = map,
        seconds: float = 2.0,
        memory_mb: int = 256,
    ) -> None:
        self._authentik = authentik
        self._provider = provider
        self._kind = kind
        self._mode = mode
        self._groups = groups
        self._pool_map = pool_map
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._names: t.Optional[t.Dict[str, str]] = None

    def __enter__(self) -> MappingEvaluator:
        return self

    def __exit__(self, *_what: t.Any) -> None:
        self.close()

    def prepare(self, sample: t.Sequence[Subject]) -> None:
        """Decide for each mapping who evaluates it.

        Args:
            sample: objects as authentik lists them, each with what its connection calls it at Google (None: nothing).

        Raises:
            AuthentikError: the mappings cannot be listed.
        """

    def evaluate(self, subjects: t.Sequence[Subject]) -> t.List[t.Union[Wanted, MappingProblem]]:
        """The wanted records, in the order of the objects: for each what desired.evaluate returns or raises."""
        return list(self._pool_map(self._evaluate_one, subjects))

    def close(self) -> None:
        """End what was started. May be called more than once."""

    @property
    def decisions(self) -> t.List[t.Dict[str, str]]:
        """For each mapping ``mapping`` (its name), ``evaluation`` ("local" or "server") and ``reason`` (may be empty)."""
        names = self._mapping_names()
        return [
            {"mapping": names.get(pk, pk), "evaluation": "server", "reason": ""}
            for pk in mapping_keys(self._provider, self._kind)
        ]

    def _mapping_names(self) -> t.Dict[str, str]:
        if self._names is None:
            self._names = self._authentik.mapping_names()
        return self._names

    def _evaluate_one(self, subject: Subject) -> t.Union[Wanted, MappingProblem]:
        target, google_id = subject
        try:
            answers = [
                (pk, ask(self._authentik, pk, self._provider, self._kind, target, google_id))
                for pk in mapping_keys(self._provider, self._kind)
            ]
            return put_together(self._provider, self._kind, target, answers, self._mapping_names)
        except MappingProblem as exc:
            return exc
        except AuthentikError as exc:
            return MappingProblem("unavailable", str(exc))


def choose_sample(subjects: t.Sequence[Subject], size: int) -> t.List[Subject]:
    """Objects to try the mappings with: at most ``size``, spread over the list. Pure."""
    if size >= len(subjects):
        return list(subjects)
    return [subjects[index * len(subjects) // size] for index in range(size)]
