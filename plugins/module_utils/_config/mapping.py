# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A property mapping brought into the wanted form, and tried before it is saved."""

from __future__ import annotations

import textwrap
import typing as t
import uuid

from .._authentik.errors import AuthentikError
from .._common.errors import Refused
from .._common.masking import mask
from .._common.types import Json
from .mapping_tests import MappingTest, evaluate, find_subject, judge, subject_problem
from .names import Names
from .work import Work

OWN = "goauthentik.io/"


def problem(options: Json) -> str | None:
    """What is wrong with the options by themselves, naming the option; None if nothing is."""
    if options.get("name") is None and options.get("mapping_id") is None:
        return "name and mapping_id are both null; give one of them."
    if options.get("name") is not None and not options["name"].strip():
        return "name is empty; give the property mapping's name."
    if options.get("expression") is not None and not options["expression"].strip():
        return "expression is empty; give the Python of the property mapping."
    for number, case in enumerate(options.get("test_against") or []):
        where = "test_against[%d]" % number
        wrong = subject_problem(where, case)
        if wrong:
            return wrong
        if case["outcome"] != "yields" and case.get("expect"):
            return f"{where}: expect is for outcome: yields."
    return None


class MappingWork(Work):
    """``state: present`` or ``absent`` for one property mapping."""

    def _work(self) -> None:
        options = self.options
        self.names = Names(self)
        mapping = self._find()
        self.report.header = "property mapping %s" % (options.get("name") or (mapping or {}).get("name"))
        self.report.before = _state(mapping)
        self.report.after = {} if options["state"] == "absent" else self.report.before
        self.report.values.update(mapping={}, tests=[])
        if options["state"] == "absent":
            if mapping is not None:
                self._remove(mapping)
            return
        wanted = {name: options[name] for name in ("name", "expression") if options.get(name) is not None}
        if options.get("managed") is not None:
            wanted["managed"] = options["managed"] or None
        if mapping is None and not options.get("expression"):
            raise Refused(
                "There is no property mapping '%s' yet, and a new one needs expression." % options.get("name"),
                "invalid_option",
            )
        changes = (
            wanted
            if mapping is None
            else {key: value for key, value in wanted.items() if _plain(mapping.get(key)) != _plain(value)}
        )
        # The targets are looked up before anything is written, so that a wrong name costs nothing.
        cases = self._cases()
        if mapping is not None:
            self._show(mapping)
        self._test(mapping, changes, cases)
        if changes:
            self._save(mapping, changes)

    def _find(self) -> Json | None:
        pk = self.options.get("mapping_id")
        if pk is None:
            found = [item for item in self.names.mappings() if item.get("name") == self.options["name"]]
        else:
            found = [item for item in self.names.mappings() if pk in (item.get("pk"), item.get("managed"))]
            if not found and self.options["state"] == "present":
                raise Refused(
                    f"mapping_id: authentik has no Google Workspace property mapping '{pk}' (by primary key or managed id).",
                    "not_found",
                )
        return found[0] if found else None

    def _remove(self, mapping: Json) -> None:
        pk = str(mapping["pk"])
        users = [str(item.get("name")) for item in self.api.mapping_users(pk)]
        if users:
            self.warn(
                "The property mapping '%s' is taken away from %s; a provider without one for users or groups stops syncing them."
                % (mapping.get("name"), ", ".join(users))
            )
        self.write("DELETE", "mapping", str(mapping.get("name")), lambda: self.api.delete_mapping(pk))

    def _save(self, mapping: Json | None, changes: Json) -> None:
        if mapping is None:
            answer = self.write("POST", "mapping", str(changes["name"]), lambda: self.api.create_mapping(changes))
            saved = dict({"pk": None, "managed": None}, **changes) if answer is None else answer
        else:
            if str(mapping.get("managed") or "").startswith(OWN) and "expression" in changes:
                self.warn(
                    "The property mapping '%s' is authentik's own (%s): an update of authentik may put its expression back."
                    % (mapping.get("name"), mapping.get("managed"))
                )
            pk = str(mapping["pk"])
            answer = self.write(
                "PATCH", "mapping", str(mapping.get("name")), lambda: self.api.change_mapping(pk, changes)
            )
            saved = dict(mapping, **changes) if answer is None else answer
        # authentik strips white space at both ends.
        lost = [name for name, value in changes.items() if _plain(saved.get(name)) != _plain(value)]
        if lost:
            self.report.fail(
                "authentik accepted the property mapping, but these fields do not have the expected values: %s."
                % ", ".join(lost),
                "not_taken",
            )
        self.report.after = _state(saved)
        self._show(saved)

    # Tests

    def _cases(self) -> list[MappingTest]:
        cases = []
        for item in self.options.get("test_against") or []:
            target = find_subject(self.authentik, item)
            cases.append(
                MappingTest(target, item["outcome"], item.get("expect") or {}, item["exactly"], item["creating"])
            )
        return cases

    def _test(self, mapping: Json | None, changes: Json, cases: list[MappingTest]) -> None:
        """Evaluate what is to be saved. Raises Refused when it is not as expected: then nothing is saved."""
        if not cases:
            return
        if mapping is not None and "expression" not in changes:
            self._judge(str(mapping["pk"]), cases)
            return
        if self.check_mode:
            wrong = _syntax_error(changes["expression"])
            self.warn(
                "The expression was not tried, since authentik only evaluates what it has stored and check mode stores nothing.%s"
                % (f" By this host's Python its syntax is wrong: {wrong}." if wrong else "")
            )
            self.report.values["tests"] = [_tested(case, "unknown", None, []) for case in cases]
            return
        # authentik evaluates stored mappings alone: this one belongs to no provider and is gone again at once.
        name = "%s (trial %s)" % (self.options.get("name") or (mapping or {}).get("name"), uuid.uuid4().hex[:8])
        with self.sending():
            trial = str(self.api.create_mapping({"name": name, "expression": changes["expression"]})["pk"])
        # Until it is gone, authentik is not as it was.
        self.unread = True
        try:
            self._judge(trial, cases)
        finally:
            try:
                self.api.delete_mapping(trial)
                self.unread = False
            except AuthentikError as exc:
                self.warn(
                    f"The property mapping '{name}', made for a trial, could not be removed: remove it by hand. {exc}"
                )

    def _judge(self, pk: str, cases: list[MappingTest]) -> None:
        name = str(self.options.get("name") or pk)
        provider = {"pk": None, "name": None}
        wrong: list[str] = []
        for case in cases:
            outcome, result = evaluate(self.authentik, pk, name, case, provider)
            found = judge(case, outcome, result)
            self.report.values["tests"].append(_tested(case, outcome, result, found))
            wrong.extend(f"for {case.target} {text}" for text in found)
        if wrong:
            raise Refused(
                "The property mapping '%s' does not yield what is expected, and was not saved: %s."
                % (name, "; ".join(wrong)),
                "test_failed",
            )

    def _show(self, mapping: Json) -> None:
        self.report.values["mapping"] = {key: mapping.get(key) for key in ("pk", "name", "managed")}


def _tested(case: MappingTest, outcome: str, result: t.Any, wrong: list[str]) -> Json:
    return {
        case.target.kind: case.target.name,
        "outcome": outcome,
        "result": mask(result),
        "unexpected": wrong,
    }


def _state(mapping: Json | None) -> Json:
    return {} if mapping is None else {key: mapping.get(key) for key in ("name", "managed", "expression")}


def _plain(value: t.Any) -> t.Any:
    return value.strip() if isinstance(value, str) else value


def _syntax_error(expression: str) -> str:
    """What Python says of an expression's syntax, which authentik makes the body of a function; empty if nothing."""
    try:
        compile("def handler():\n%s\n" % textwrap.indent(expression, "    "), "<expression>", "exec")
    except (SyntaxError, ValueError) as exc:
        return str(exc)
    return ""
