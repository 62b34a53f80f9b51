# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is: providers, property mappings and connections, told in the form of the modules' options. Writes nothing."""

from __future__ import annotations

import typing as t

from .._common.kind import KINDS, MODELS, Kind
from .._common.masking import mask
from .._common.types import Json
from .._objects.contradictions import compare_rows
from .._objects.target import check_lookup, find
from .connection import WHY, empty_option
from .fields import shown_key, shows_credentials
from .mapping_tests import MappingTest, evaluate, find_subject, subject_problem
from .names import Names, find_provider, need_provider
from .shown import options_of
from .work import Work


class InfoWork(Work):
    """What an info module does: it reads."""

    writes = False


class ProviderInfo(InfoWork):
    """The providers, or one of them."""

    always = {"providers": list}

    def _work(self) -> None:
        names = Names(self)
        if self.options.get("name") or self.options.get("provider_id") is not None:
            found = find_provider(self)
            providers = [] if found is None else [found]
        else:
            providers = self.api.providers()
        for provider in providers:
            self.hide(provider)
        self.report.values["providers"] = [
            {
                "pk": provider.get("pk"),
                "name": provider.get("name"),
                "application": str(provider.get("assigned_backchannel_application_slug") or "") or None,
                "service_account": shown_key(provider.get("credentials"), provider.get("credentials_ref")),
                "service_account_shown": shows_credentials(provider),
                "options": options_of(provider, names),
            }
            for provider in providers
        ]


class MappingInfo(InfoWork):
    """The property mappings, or one of them, with what they yield."""

    always = {"mappings": list}

    def _work(self) -> None:
        options = self.options
        names = Names(self)
        found = [
            item
            for item in names.mappings()
            if (options.get("name") is None or item.get("name") == options["name"])
            and (options.get("mapping_id") is None or options["mapping_id"] in (item.get("pk"), item.get("managed")))
        ]
        cases = []
        for item in options.get("evaluate_for") or []:
            cases.append(MappingTest(find_subject(self.authentik, item), "yields", {}, False, item["creating"]))
        for item in found:
            shown = {
                "pk": item.get("pk"),
                "name": item.get("name"),
                "managed": item.get("managed"),
                "used_by": [str(user.get("name")) for user in self.api.mapping_users(str(item["pk"]))],
                "results": [self._result(item, case) for case in cases],
                "options": {
                    "mapping_id": item.get("pk"),
                    "name": item.get("name"),
                    "expression": item.get("expression"),
                    "managed": item.get("managed") or "",
                },
            }
            self.report.values["mappings"].append(shown)

    def _result(self, mapping: Json, case: MappingTest) -> Json:
        outcome, result = evaluate(
            self.authentik, str(mapping["pk"]), str(mapping.get("name")), case, {"pk": None, "name": None}
        )
        return {case.target.kind: case.target.name, "outcome": outcome, "result": mask(result)}


class ConnectionInfo(InfoWork):
    """The connections of a provider, or of one object, held against Google where that is asked for."""

    always = {"connections": list}

    def _work(self) -> None:
        options = self.options
        provider = need_provider(self)
        pk = int(provider["pk"])
        model = options.get("sync_object_model")
        wrong: dict[str, tuple[str, str]] = {}
        rows: list[tuple[Kind, Json]] = []
        if options["compare"]:
            self.directory = t.cast(t.Any, self.open_directory)(provider)
        for kind in [MODELS[model]] if model else list(KINDS):
            if options.get("sync_object_id"):
                target = find(self.authentik, kind, options["sync_object_id"], options["lookup"])
                found = self.authentik.connections(kind, pk, target.pk)
            else:
                found = list(self.authentik.all_connections(kind, pk))
            rows.extend((kind, row) for row in found)
            if options["compare"] and found:
                listed = [record for page in t.cast(t.Any, self.directory).listed(kind) for record in page]
                wrong.update(
                    (str(item.row["id"]), (item.why, WHY[item.why]))
                    for item in reversed(compare_rows(kind, found, listed))
                )
        self.report.values["connections"] = [
            self._shown(pk, kind, row, wrong.get(str(row["id"]))) for kind, row in rows
        ]

    def _shown(self, pk: int, kind: Kind, row: Json, wrong: tuple[str, str] | None) -> Json:
        obj = row.get(f"{kind}_obj") if isinstance(row.get(f"{kind}_obj"), dict) else {}
        shown: Json = {
            "id": row.get("id"),
            "model": kind.model,
            "pk": str(row.get(kind)),
            "name": t.cast(Json, obj).get(kind.name_field),
            "google_id": row.get("google_id"),
            "attributes": mask(row.get("attributes")),
            "contradiction": None,
            "options": {
                "provider_id": pk,
                "sync_object_model": kind,
                "sync_object_id": str(row.get(kind)),
                "google_id": row.get("google_id"),
            },
        }
        if wrong is not None:
            shown["contradiction"] = {"code": wrong[0], "why": wrong[1]}
        return shown


def connection_problem(options: Json) -> str | None:
    """What is wrong with the options of google_workspace_connection_info; None if nothing is."""
    empty = empty_option(options)
    if empty:
        return empty
    if options.get("sync_object_id"):
        if not options.get("sync_object_model"):
            return "sync_object_id needs sync_object_model."
        return check_lookup(MODELS[options["sync_object_model"]], options["sync_object_id"], options["lookup"])
    return None


def provider_problem(options: Json) -> str | None:
    """What is wrong with the options of google_workspace_provider_info; None if nothing is."""
    pk = options.get("provider_id")
    if pk is not None and not 0 < pk <= 2147483647:
        return "provider_id must be a positive integer (at most 2147483647), not %d." % pk
    return None


def mapping_problem(options: Json) -> str | None:
    """What is wrong with the options of google_workspace_mapping_info; None if nothing is."""
    for number, item in enumerate(options.get("evaluate_for") or []):
        wrong = subject_problem("evaluate_for[%d]" % number, item)
        if wrong:
            return wrong
    return None
