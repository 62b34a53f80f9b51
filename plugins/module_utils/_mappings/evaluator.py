# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records that authentik wants of many objects: mappings evaluated here where that is sure, by authentik elsewhere.

authentik's answer for one object and one mapping is one request, which for thousands of objects takes longer than the
whole rest. Evaluated here, a mapping costs no request; but authentik's own answer is what counts. So a mapping is
trusted only after it gave, for a sample of the objects, what authentik gives, and whatever cannot be evaluated with
certainty is asked for.
"""

from __future__ import annotations

import json
import typing as t

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .._common.kind import GROUP, USER, Kind
from .._common.masking import mask_text
from .._common.types import Json
from .desired import Answer, MappingProblem, ask, context_of, mapping_keys, put_together, result_of
from .local.inside import KEPT_PASSWORD
from .local.interpreter import Interpreter, MissingLibrary
from .sample import Subject, choose_sample

__all__ = ["MappingEvaluator", "choose_sample"]
Wanted = t.Tuple[Json, Json]
Map = t.Callable[[t.Callable[[t.Any], t.Any], t.Iterable[t.Any]], t.Iterable[t.Any]]
MODES = ("auto", "server", "local")
PAGE_OBJECTS = 200
# Objects differ in size: a page is full with so many characters, too.
PAGE_CHARS = 4 * 1024 * 1024

# The fields of authentik's lists that are sent to the interpreter: always, and where an expression names them.
_USER_FIELDS = ("pk", "username")
_NAMED_USER_FIELDS = (
    "name",
    "email",
    "is_active",
    "type",
    "path",
    "uid",
    "uuid",
    "is_superuser",
    "date_joined",
    "last_login",
    "last_updated",
    "password_change_date",
)
_GROUP_FIELDS = ("pk", "num_pk", "name", "is_superuser", "parent", "parents")
_MEMBER_FIELDS = ("users", "users_obj")
# What an expression names when it reads groups, members of one, or attributes; and what may name anything.
_GROUP_WORDS = frozenset(("ak_groups", "groups", "all_groups", "group_attributes", "ak_is_group_member", "is_member"))
_PARENT_WORDS = frozenset(("parent", "parents"))
_MEMBER_WORDS = frozenset(("users",))
_ATTRIBUTE_WORDS = frozenset(("attributes", "group_attributes", "locale", "values", "values_list"))
_ANY_WORDS = frozenset(("getattr", "hasattr"))
# What depends on the server's version.
_VERSION_WORDS = frozenset(("groups", "slugify", "getattr", "hasattr"))


class _Plan:
    """One mapping, and who evaluates it.

    Attributes:
        pk, name, expression: as authentik shows it; expression is None where it does not.
        here: bool, whether it is evaluated here.
        reason: str, why it is not, or what became of it.
        uses: the names that it uses, once compiled.
        asked: int, for how many objects authentik had to be asked although it is evaluated here.
    """

    def __init__(self, pk: str, name: str, expression: str | None) -> None:
        self.pk = pk
        self.name = name
        self.expression = expression
        self.here = False
        self.reason = ""
        self.uses: frozenset[str] = frozenset()
        self.asked = 0

    def give_up(self, reason: str) -> None:
        self.here = False
        self.reason = reason


class MappingEvaluator:
    """A provider's mappings of one kind, for many objects.

    Use it as a context manager, or close it: it has a process of its own.

    Args:
        authentik: the API.
        provider: the provider as authentik shows it.
        kind: Kind.
        mode: "server" (authentik evaluates: one request for each object and mapping), "local" (here, and authentik is
            asked for the mappings alone), or "auto" (here, where a mapping gave what authentik gives for a sample).
        groups: a group as authentik lists it, by its primary key: a mapping, or a callable that returns None for one
            that is not there. Without it only what ``groups_obj`` of a user shows is known of groups.
        pool_map: like ``map``; may do its work in several threads. Results come in the order of the items.
        seconds: the time that one evaluation may take.
        memory_mb: the memory that the evaluations may take.
        mappings: what Authentik.mappings() gives, where it is known already.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        kind: Kind,
        mode: str,
        groups: None | t.Mapping[str, Json] | t.Callable[[str], Json | None] = None,
        pool_map: Map = map,
        seconds: float = 2.0,
        memory_mb: int = 256,
        mappings: t.Sequence[Json] | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError("mode is one of %s" % ", ".join(MODES))
        self._authentik = authentik
        self._provider = provider
        self._kind = kind
        self._mode = mode
        self._groups = groups
        self._pool_map = pool_map
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._mappings = mappings
        self._names: dict[str, str] | None = None
        self._version: tuple[int, int] | None = None
        self._plans: list[_Plan] | None = None
        self._interpreter: Interpreter | None = None
        self._missing = ""
        self._requests = 0

    def __enter__(self) -> MappingEvaluator:
        return self

    def __exit__(self, *_what: t.Any) -> None:
        self.close()

    # -- for the engine -------------------------------------------------------------------------------------------------

    def prepare(self, sample: t.Sequence[Subject]) -> None:
        """Decide for each mapping who evaluates it.

        With mode "auto" it asks authentik once for each object of the sample and mapping that can be evaluated here; with
        an empty sample nothing can be compared, and authentik evaluates.

        Args:
            sample: objects as authentik lists them, each with what its connection calls it at Google (None: nothing).

        Raises:
            MissingLibrary: mode is "local", and the interpreter is not there; the text says what to install.
            AuthentikError: mode is "local", and the mappings cannot be listed.
        """
        self.close()
        self._plans = [_Plan(pk, pk, None) for pk in self._keys()]
        if not self._list_mappings() or self._mode == "server" or not self._plans:
            return
        try:
            self._interpreter = Interpreter(self._kind, self._seconds, self._memory_mb)
            for number, plan in enumerate(self._plans):
                self._compile(self._interpreter, number, plan)
        except MissingLibrary as exc:
            self.close()
            if self._mode == "local":
                raise
            self._missing = str(exc)
            for plan in self._plans:
                plan.give_up(self._missing)
            return
        if any(plan.here and plan.uses & _VERSION_WORDS for plan in self._plans):
            self._ask_version()
        if self._mode == "auto":
            self._compare(list(sample))

    def evaluate(self, subjects: t.Sequence[Subject]) -> list[Wanted | MappingProblem]:
        """The wanted records, in the order of the objects: for each what desired.evaluate returns, or raises.

        Where a mapping sends ``user.password`` and was evaluated here, the secret part has KEPT_PASSWORD for it, which is
        no hash that Google takes (passwords.given_hash gives None for it, as for Django's).

        Memory is bounded by the objects given: give them page by page.
        """
        if self._plans is None:
            self.prepare([])
        found: list[Wanted | MappingProblem] = []
        for page in _pages(subjects):
            found.extend(self._evaluate_page(page))
        return found

    def close(self) -> None:
        """End the process. May be called more than once."""
        if self._interpreter is not None:
            self._interpreter.close()
            self._interpreter = None

    @property
    def warning(self) -> str:
        """What it has cost so far that the interpreter is not there; empty where it is there or not wanted."""
        if not self._missing:
            return ""
        return "%s. Without it authentik evaluated the %s property mappings: %s more requests to authentik." % (
            self._missing,
            self._kind,
            f"{self._requests:,}",
        )

    @property
    def decisions(self) -> list[dict[str, str]]:
        """Who evaluates what, in the order of the mappings' names.

        Returns:
            For each mapping ``mapping`` (its name), ``evaluation`` ("local" or "server") and ``reason`` (why authentik
            evaluates it although mode is not "server", for which objects it was asked, or why it fails with "local";
            may be empty).
        """
        found = []
        for plan in sorted(self._plans or [], key=lambda item: item.name):
            reason = plan.reason
            if plan.here and plan.asked:
                reason = "authentik was asked for %d object%s: %s" % (plan.asked, "s" * (plan.asked != 1), reason)
            local = plan.here or self._mode == "local"
            found.append({"mapping": plan.name, "evaluation": "local" if local else "server", "reason": reason})
        return found

    # -- deciding -------------------------------------------------------------------------------------------------------

    def _keys(self) -> list[str]:
        try:
            return mapping_keys(self._provider, self._kind)
        except MappingProblem:
            return []

    def _list_mappings(self) -> bool:
        """Learn names and expressions; whether that was possible."""
        try:
            found = self._authentik.mappings() if self._mappings is None else self._mappings
        except AuthentikError as exc:
            if self._mode == "local":
                raise
            for plan in self._plans or []:
                # With "server" the names are only for texts, and asked for again where they decide.
                plan.reason = "" if self._mode == "server" else str(exc)
            return False
        listed = {str(item.get("pk")): item for item in found}
        self._names = {pk: str(item.get("name")) for pk, item in listed.items()}
        for plan in self._plans or []:
            item = listed.get(plan.pk, {})
            plan.name = str(item.get("name") or plan.pk)
            plan.expression = item["expression"] if isinstance(item.get("expression"), str) else None
        return True

    @staticmethod
    def _compile(interpreter: Interpreter, number: int, plan: _Plan) -> None:
        if plan.expression is None:
            plan.give_up("authentik's list of Google Workspace mappings does not show it")
            return
        compiled = interpreter.compile(number, plan.expression)
        plan.uses = compiled.uses
        if compiled.reason:
            plan.give_up(compiled.reason)
        else:
            plan.here = True

    def _ask_version(self) -> None:
        try:
            self._version = self._authentik.version().number
        except AuthentikError:
            # Then what depends on it is not evaluated here.
            self._version = None

    def _compare(self, sample: list[Subject]) -> None:
        """Give up the mappings that do not give what authentik gives."""
        plans = [plan for plan in self._plans or [] if plan.here]
        if not sample:
            for plan in plans:
                plan.give_up("there was no object to compare with authentik's answer")
            return
        own: dict[tuple[int, str], Answer] = {}
        offset = 0
        for page in _pages(sample):
            for (index, pk), answer in self._evaluate_here(page).items():
                own[offset + index, pk] = answer
            offset += len(page)
        wanted = [(index, plan) for plan in plans if plan.here for index in range(len(sample))]
        asked = self._pool_map(lambda item: self._ask(item[1].pk, sample[item[0]]), wanted)
        for (index, plan), theirs in zip(wanted, asked):
            if not plan.here:
                continue
            if isinstance(theirs, AuthentikError):
                plan.give_up(f"authentik could not be asked for a comparison: {theirs}")
                continue
            difference = _difference(own[index, plan.pk], theirs)
            if difference:
                plan.give_up(f"for {self._kind} {_name(sample[index][0])} {difference}")

    # -- evaluating -----------------------------------------------------------------------------------------------------

    def _evaluate_page(self, page: list[Subject]) -> list[Wanted | MappingProblem]:
        plans = self._plans or []
        here = self._evaluate_here(page)
        answers: dict[tuple[int, str], Answer | AuthentikError] = {}
        wanted = []
        for index in range(len(page)):
            for plan in plans:
                answer = here.get((index, plan.pk))
                if self._mode == "local":
                    answers[index, plan.pk] = answer or _NotHere(plan, plan.reason)
                elif plan.here and answer is not None and _is_certain(answer):
                    answers[index, plan.pk] = answer
                else:
                    if plan.here and answer is not None:
                        plan.asked += 1
                        plan.reason = plan.reason or _in_words(answer)
                    wanted.append((index, plan.pk))
        self._requests += len(wanted)
        found = self._pool_map(lambda item: self._ask(item[1], page[item[0]]), wanted)
        answers.update(zip(wanted, found))
        return [
            self._put_together(subject, [(plan.pk, answers[index, plan.pk]) for plan in plans])
            for index, subject in enumerate(page)
        ]

    def _put_together(
        self, subject: Subject, answers: list[tuple[str, Answer | AuthentikError]]
    ) -> Wanted | MappingProblem:
        try:
            # As desired.evaluate: without mappings there is nothing, and without an answer nothing is known.
            mapping_keys(self._provider, self._kind)
            for _pk, answer in answers:
                if isinstance(answer, AuthentikError):
                    raise answer
            return put_together(
                self._provider,
                self._kind,
                subject[0],
                t.cast(t.List[t.Tuple[str, Answer]], answers),
                self._mapping_names,
                self._names,
            )
        except MappingProblem as exc:
            return exc
        except AuthentikError as exc:
            return MappingProblem("unavailable", str(exc))

    def _mapping_names(self) -> dict[str, str]:
        if self._names is None:
            self._names = self._authentik.mapping_names()
        return self._names

    def _ask(self, pk: str, subject: Subject) -> Json | AuthentikError:
        target, google_id = subject
        try:
            return self._authentik.client.repeated(
                lambda: ask(self._authentik, pk, self._provider, self._kind, target, google_id)
            )
        except AuthentikError as exc:
            return exc

    def _evaluate_here(self, page: list[Subject]) -> dict[tuple[int, str], Answer]:
        """Evaluate every mapping that is evaluated here for each object.

        A mapping that takes too much is given up, and has no answers for the objects that come after.

        Returns:
            Answers by (index of the object, primary key of the mapping); a MappingProblem where there is no certain one.
        """
        plans = self._plans or []
        found: dict[tuple[int, str], Answer] = {}
        if self._interpreter is None:
            return found
        tasks = [(index, number) for index in range(len(page)) for number, plan in enumerate(plans) if plan.here]
        sent = self._page(page) if tasks else {}
        while tasks:
            answers = self._interpreter.run(sent, tasks)
            for (index, number), answer in zip(tasks, answers):
                plan = plans[number]
                if answer.kind == "exceeded":
                    plan.give_up(f"for {self._kind} {_name(page[index][0])} {answer.text}")
                elif answer.kind == "unsupported":
                    found[index, plan.pk] = _NotHere(plan, answer.text)
                else:
                    found[index, plan.pk] = {"successful": answer.kind == "ok", "result": answer.text}
            tasks = [task for task in tasks[len(answers) :] if plans[task[1]].here]
        return found

    def _page(self, page: list[Subject]) -> Json:
        """What the interpreter is given of some objects: no more than the mappings read."""
        uses: set[str] = set()
        for plan in self._plans or []:
            uses |= plan.uses if plan.here else set()
        anything = bool(uses & _ANY_WORDS)
        attributes = ("attributes",) if anything or uses & _ATTRIBUTE_WORDS else ()
        members = _MEMBER_FIELDS if anything or uses & _MEMBER_WORDS else ()
        group_fields = _GROUP_FIELDS + attributes + members
        # The groups that are read first; what authentik's list of users itself shows of them, if it does.
        starts: list[tuple[str, Json | None]] = []
        fields = group_fields
        if self._kind == GROUP and (anything or uses & _PARENT_WORDS):
            starts.extend((pk, None) for target, _google_id in page for pk in _parents(target))
        elif self._kind == USER:
            named = set(_NAMED_USER_FIELDS) if anything else uses | ({"is_superuser"} if "is_staff" in uses else set())
            fields = _USER_FIELDS + tuple(field for field in _NAMED_USER_FIELDS if field in named) + attributes
            if anything or uses & _GROUP_WORDS:
                fields = fields + ("groups",)
                for target, _google_id in page:
                    shown = {str(item.get("pk")): item for item in target.get("groups_obj") or []}
                    starts.extend((str(pk), shown.get(str(pk))) for pk in target.get("groups") or [])
        groups: dict[str, Json] = {}
        while starts:
            pk, data = starts.pop()
            if pk not in groups:
                data = self._group(pk) or data
                if data is not None:
                    groups[pk] = _only(data, group_fields)
                    starts.extend((above, None) for above in _parents(data))
        return {
            "subjects": [[_only(target, fields), context_of(self._provider, google_id)] for target, google_id in page],
            "groups": groups,
            "version": self._version,
        }

    def _group(self, pk: str) -> Json | None:
        if self._groups is None:
            return None
        return self._groups(pk) if callable(self._groups) else self._groups.get(pk)


def _pages(subjects: t.Sequence[Subject]) -> t.Iterator[list[Subject]]:
    """Objects in portions that a message may have."""
    page: list[Subject] = []
    size = 0
    for subject in subjects:
        # A rough measure: what fills a record is its attributes.
        length = len(repr(subject[0].get("attributes")))
        if page and (len(page) >= PAGE_OBJECTS or size + length > PAGE_CHARS):
            yield page
            page, size = [], 0
        page.append(subject)
        size += length
    if page:
        yield page


def _only(data: Json, fields: t.Sequence[str]) -> Json:
    """Some fields of an object, with what an expression may change as JSON, so that each evaluation has its own."""
    found = {field: data[field] for field in fields if field in data}
    if "attributes" in found:
        found["attributes"] = json.dumps(found["attributes"], ensure_ascii=False)
    if found.get("users_obj") is not None:
        found["users_obj"] = [_only(row, list(row)) for row in found["users_obj"]]
    return found


def _parents(data: Json) -> list[str]:
    found = data.get("parents") if "parents" in data else [data.get("parent")]
    return [str(pk) for pk in found or [] if pk is not None]


def _name(target: Json) -> str:
    return str(target.get("username") or target.get("name") or target.get("pk"))


class _NotHere(MappingProblem):
    """A mapping that cannot be evaluated here for an object; reason says why."""

    def __init__(self, plan: _Plan, reason: str) -> None:
        super().__init__(
            "unpredictable",
            f"property mapping '{plan.name}' cannot be evaluated here: {reason}. Set mapping_evaluation: auto or server, so that authentik "
            "evaluates it",
        )
        self.reason = reason


def _is_certain(answer: Answer) -> bool:
    """Whether an answer from here needs no other: a value, or the wish to leave the object out."""
    if isinstance(answer, MappingProblem):
        return False
    return bool(answer["successful"]) or _outcome(answer)[0] == "skip"


def _in_words(answer: Answer) -> str:
    if isinstance(answer, MappingProblem):
        return answer.reason if isinstance(answer, _NotHere) else str(answer)
    return mask_text(str(answer["result"]).splitlines()[-1])


def _outcome(answer: Answer) -> tuple[str, t.Any]:
    """(``value``, the value) or (the kind of a problem, its text)."""
    try:
        return "value", result_of(answer, "")
    except MappingProblem as exc:
        return exc.kind, str(exc)


_KINDS = {
    "value": "gives a record",
    "skip": "leaves the object out",
    "failed": "fails",
    "unpredictable": "gives nothing that can be used",
}


def _difference(own: Answer, theirs: Json) -> str:
    """In which way an answer from here is not authentik's, in words without values; empty where it is."""
    if isinstance(own, MappingProblem):
        return _in_words(own)
    kind, value = _outcome(own)
    their_kind, their_value = _outcome(theirs)
    if kind != their_kind:
        return f"the mapping {_KINDS[kind]} here, and {_KINDS[their_kind]} in authentik"
    if kind != "value":
        return ""
    if isinstance(value, dict) and isinstance(their_value, dict) and value.get("password") == KEPT_PASSWORD:
        # The hash is not known here, and authentik's is not to be compared with anything.
        if not isinstance(their_value.get("password"), str):
            return "the mapping gives another value here: password"
        their_value = dict(their_value, password=KEPT_PASSWORD)
    path = _first_difference(value, their_value, "")
    return "" if path is None else "the mapping gives another value here%s" % (": " + path if path else "")


def _first_difference(one: t.Any, other: t.Any, path: str) -> str | None:
    """The path of the first difference of two JSON values; None where they are the same, types and all."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            below = f"{path}.{key}" if path else key
            if key not in one or key not in other:
                return below
            found = _first_difference(one[key], other[key], below)
            if found is not None:
                return found
        return None
    return None if json.dumps(one) == json.dumps(other) else path
