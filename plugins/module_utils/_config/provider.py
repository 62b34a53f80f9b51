# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Google Workspace provider brought into the wanted form, with the application that carries it."""

from __future__ import annotations

import re
import typing as t

from .._authentik.errors import AuthentikError
from .._common.errors import Refused
from .._common.kind import GROUP, USER, Kind
from .._common.types import Json
from .._google import credentials as google_credentials
from .._google.errors import GoogleError
from .fields import (
    MANAGED,
    REQUIRED,
    SINCE,
    differing,
    scopes_text,
    shown_difference,
    shows_credentials,
    unknown_fields,
    unknown_text,
)
from .names import Names, find_provider
from .shown import options_of
from .work import Work

DELETE_ACTIONS = ("do_nothing", "delete", "suspend")
_PLAIN = (
    "delegated_subject",
    "exclude_users_service_account",
    "user_delete_action",
    "group_delete_action",
    "default_group_email_domain",
    "dry_run",
    "sync_page_size",
    "sync_page_timeout",
    "discovery_enabled",
    "credentials_ref",
)
_SLUG = re.compile(r"^[-a-zA-Z0-9_]+$")


def problem(options: Json) -> str | None:
    """What is wrong with the options by themselves, naming the option; None if nothing is."""
    if options.get("name") is None and options.get("provider_id") is None:
        return "name and provider_id are both null; give one of them."
    for name in ("name", "delegated_subject", "default_group_email_domain", "sync_page_timeout", "credentials_ref"):
        value = options.get(name)
        if value is not None and not value.strip():
            return f"{name} is empty; give a value, or leave it out."
    subject = options.get("delegated_subject")
    if subject is not None and not re.match(r"^[^@\s]+@[^@\s]+$", subject):
        return f"delegated_subject must be the e-mail address of a Google Workspace administrator, not '{subject}'."
    domain = options.get("default_group_email_domain")
    if domain is not None and ("@" in domain or "/" in domain or " " in domain):
        return f"default_group_email_domain must be a domain like example.com, not '{domain}'."
    size = options.get("sync_page_size")
    if size is not None and not 1 <= size <= 2147483647:
        return "sync_page_size must be at least 1 and at most 2147483647, not %d." % size
    pk = options.get("provider_id")
    if pk is not None and not 0 < pk <= 2147483647:
        return "provider_id must be a positive integer (at most 2147483647), not %d." % pk
    if options.get("scopes") == []:
        return "scopes is empty; give at least one scope, or leave it out."
    if (options.get("application_name") or options.get("create_application")) and not options.get("application"):
        return "application_name and create_application need application, the slug."
    if options.get("create_application") and not _SLUG.match(str(options["application"])):
        return (
            "application: '%s' cannot be a new application's slug, which consists of letters, digits, _ and -. Give the slug, and "
            "the name in application_name." % options["application"]
        )
    try:
        given_key(options)
    except GoogleError as exc:
        return str(exc)
    return None


def given_key(options: Json) -> Json | None:
    """The service account's key that the options give, or None. Raises GoogleError without quoting it."""
    origin = "credentials_file" if options.get("credentials_file") else "credentials"
    if not options.get(origin):
        return None
    if origin == "credentials_file":
        info = google_credentials.read_key_file(options[origin], origin)
    else:
        info = google_credentials.parse_key(options[origin], origin)
    google_credentials.Credentials(info, "unused", [], origin)
    return info


class ProviderWork(Work):
    """``state: present`` or ``absent`` for one provider."""

    def _work(self) -> None:
        self.names = Names(self)
        try:
            self.provider = find_provider(self)
        except AuthentikError as exc:
            if exc.kind != "not_found" or self.options["state"] != "absent":
                raise
            self.provider = None
        self.report.header = "provider %s" % (self.options.get("name") or (self.provider or {}).get("name"))
        if self.options["state"] == "absent":
            self._remove()
        else:
            self._bring_about()

    # Absent

    def _remove(self) -> None:
        provider = self.provider
        self.report.values["provider"] = {}
        self.report.before = self._state(provider)
        self.report.after = {}
        if provider is None:
            return
        pk = int(provider["pk"])
        self.write("DELETE", "provider", str(provider.get("name")), lambda: self.api.delete_provider(pk))

    # Present

    def _bring_about(self) -> None:
        options = self.options
        observed = self.provider
        key = given_key(options)
        if key is not None:
            self.keep_secret([str(key.get("private_key")), str(key.get("private_key_id") or "")])
        given = [name for name in SINCE if options.get(name) is not None and name != "credentials"]
        unknown = unknown_fields(given, observed, lambda: self.version.number)
        if unknown:
            raise Refused(unknown_text(unknown, str(self.version)), "version")
        wanted = self._wanted(key)
        application = self._observe_application()
        if observed is None:
            self._demand_complete(wanted)
            self._create(wanted, application)
        else:
            self._change(observed, wanted, application)

    def _wanted(self, key: Json | None) -> Json:
        """The fields to have, with primary keys for names."""
        options = self.options
        wanted: Json = {name: options[name] for name in _PLAIN if options.get(name) is not None}
        if options.get("name") is not None:
            wanted["name"] = options["name"]
        for name, kind in (("property_mappings", USER), ("property_mappings_group", GROUP)):
            if options.get(name) is not None:
                wanted[name] = [str(self.names.mapping(item, name)["pk"]) for item in options[name]]
            elif self.provider is None:
                wanted[name] = self._default_mappings(name, kind)
        if options.get("scopes") is not None:
            wanted["scopes"] = scopes_text(options["scopes"])
        if options.get("filter_group") is not None:
            wanted["filter_group"] = (
                self.names.group(options["filter_group"], "filter_group") if options["filter_group"] else None
            )
        if key is not None:
            wanted["credentials"] = key
        return wanted

    def _default_mappings(self, name: str, kind: Kind) -> list[str]:
        """authentik's own mapping, which its admin interface chooses for a new provider, too."""
        found = [str(item["pk"]) for item in self.names.mappings() if item.get("managed") == MANAGED % kind]
        if not found:
            self.warn(
                f"authentik has no default {kind} property mapping, and {name} names none: without one every sync of {kind}s stops."
            )
        return found

    def _demand_complete(self, wanted: Json) -> None:
        missing = [name for name in ("name",) + REQUIRED if name not in wanted]
        if "credentials" not in wanted and "credentials_ref" not in wanted:
            missing.append("credentials (or credentials_file)")
        if missing:
            raise Refused(
                "There is no provider '%s' yet, and a new one needs %s."
                % (self.options.get("name"), ", ".join(missing)),
                "invalid_option",
            )

    def _create(self, wanted: Json, application: Json | None) -> None:
        self.demand_licence()
        made = self.write("POST", "provider", str(wanted["name"]), lambda: self.api.create_provider(wanted))
        if made is None:
            made = dict(wanted, pk=None)
        else:
            self._check_taken(wanted, made)
        self.hide(made)
        self.provider = made
        self.report.before = {}
        self._show(made)
        self._attach(made, application)
        self.report.after = self._state(made)
        if "credentials" in wanted:
            self.report.after["credentials"] = shown_difference(None, wanted["credentials"])[1]

    def _change(self, observed: Json, wanted: Json, application: Json | None) -> None:
        changes = differing(wanted, observed)
        how = self.options["update_credentials"]
        if "credentials" in wanted and (how == "on_create" or not shows_credentials(observed)):
            changes.pop("credentials", None)
            if how == "always":
                changes["credentials"] = wanted["credentials"]
            elif how == "on_difference":
                self.warn(
                    "This authentik does not show the provider's service account, so whether it is the given one cannot be seen, "
                    "and it was left alone. update_credentials: always sends it every time (and reports a change every time); "
                    "on_create says that this is what you want."
                )
        self.report.before = self._state(observed)
        self.report.after = dict(self.report.before)
        answer = observed
        if changes:
            self.demand_licence()
            pk = int(observed["pk"])
            written = self.write(
                "PATCH", "provider", str(observed.get("name")), lambda: self.api.change_provider(pk, changes)
            )
            answer = dict(observed, **changes) if written is None else written
            if written is not None:
                self._check_taken(changes, written)
            self.hide(answer)
        self._show(answer)
        self._attach(answer, application)
        self.report.after = self._state(answer)
        if "credentials" in changes:
            shown = shown_difference(observed.get("credentials"), changes["credentials"])
            self.report.before["credentials"], self.report.after["credentials"] = shown

    def _check_taken(self, wanted: Json, answer: Json) -> None:
        """authentik ignores what it does not know: what its answer does not hold was not taken."""
        lost = sorted(differing(wanted, answer))
        if lost:
            self.report.fail(
                "authentik accepted the change of the provider, but these fields do not have the expected values: %s."
                % ", ".join(lost),
                "not_taken",
            )

    # The application

    def _observe_application(self) -> Json | None:
        """The wanted application, or None where none is wanted or it is still to be made. Raises Refused."""
        wanted = self.options.get("application")
        if not wanted:
            return None
        found = self.api.application(wanted) if _SLUG.match(wanted) else None
        if found is None:
            named = self.api.applications_named(wanted)
            if len(named) > 1:
                raise Refused(
                    "application: more than one application is named '%s': %s. Give the slug."
                    % (wanted, ", ".join(str(item.get("slug")) for item in named)),
                    "ambiguous",
                )
            found = named[0] if named else None
        if found is None and not self.options["create_application"]:
            raise Refused(
                f"application: authentik has no application '{wanted}' (by slug or name; the case counts). Create it first, or set "
                "create_application. authentik also answers so when the token's user may not see the application.",
                "not_found",
            )
        return found

    def _attach(self, provider: Json, application: Json | None) -> None:
        """Let the wanted application carry the provider, and leave its other providers as they are."""
        wanted = self.options.get("application")
        if wanted is None:
            return
        current = str(provider.get("assigned_backchannel_application_slug") or "")
        slug = str(application["slug"]) if application else str(wanted)
        if current == slug:
            return
        pk = provider.get("pk")
        if not wanted:
            self._detach(provider, current)
        elif application is None:
            body = {"name": self.options.get("application_name") or slug, "slug": slug, "backchannel_providers": [pk]}
            self.write("POST", "application", slug, lambda: self.api.create_application(body))
        else:
            if pk is not None and application.get("provider") == pk:
                raise Refused(
                    f"application: {slug} has this provider as its main one; take it off there first.", "conflict"
                )
            others = [item for item in application.get("backchannel_providers") or [] if item != pk]
            self._set_backchannel(slug, others + [pk])
        provider["assigned_backchannel_application_slug"] = slug
        self._show(provider)

    def _detach(self, provider: Json, current: str) -> None:
        application = self.api.application(current)
        others = [item for item in (application or {}).get("backchannel_providers") or [] if item != provider.get("pk")]
        self._set_backchannel(current, others)

    def _set_backchannel(self, slug: str, providers: list[t.Any]) -> None:
        answer = self.write(
            "PATCH",
            "application",
            slug,
            lambda: self.api.change_application(slug, {"backchannel_providers": providers}),
        )
        if answer is not None and set(answer.get("backchannel_providers") or []) != set(providers):
            raise AuthentikError("status", f"authentik took the change of application {slug}, but does not hold it.")

    # Report

    def _show(self, provider: Json) -> None:
        """Keep what the result tells of the provider, whatever comes after."""
        self.report.values["provider"] = {
            "pk": provider.get("pk"),
            "name": provider.get("name"),
            "application": str(provider.get("assigned_backchannel_application_slug") or "") or None,
        }

    def _state(self, provider: Json | None) -> Json:
        """A provider's state for the diff: by names, without secrets."""
        return {} if provider is None else options_of(provider, self.names)
