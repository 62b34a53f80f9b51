# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible edge: shared arguments, clients from parameters, and the one place where a result leaves the module."""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ._authentik.api import Authentik
from ._authentik.client import Client, normalise_url
from ._authentik.errors import AuthentikError
from ._common.endings import UNEXPECTED, unexpected_text
from ._common.json_lines import Lines
from ._common.listing import MAX_OBJECTS
from ._common.signals import stoppable
from ._common.texts import forms, leaving, shown
from ._common.types import Json
from ._config.report import Report
from ._config.work import Work
from ._google import addresses
from ._google import credentials as google_credentials
from ._google.errors import GoogleError
from ._sync.outcome import BaseOutcome

if t.TYPE_CHECKING:
    from ._google.directory import Directory
    from ._sync.engine import Engine
Result = t.Union[BaseOutcome, Report]
LONGEST_TIMEOUT_S = 86400
SHORTEST_SECRET = 8
# Options that hold texts of many lines, or values to compare with whatever they are.
MANY_LINES = frozenset(("expression", "service_account_contents", "credentials", "expect"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _insecure_inverted(*names: str) -> bool:
    """validate_certs from AUTHENTIK_INSECURE, which means the opposite."""
    value = str(env_fallback(*names)).strip().lower()
    # Anything else leaves the check on: the safe reading of a value that is no boolean.
    return value not in ("1", "true", "yes", "on", "y", "t")


def _passwords(url: str) -> list[str]:
    """What stands for a password in a URL, which is refused and must not be printed all the same."""
    return re.findall(r"//[^/?#@]*:([^/?#@]+)@", url)


def authentik_arguments() -> Json:
    """The connection to authentik; doc fragment dirsync.authentik.authentik."""
    return {
        "authentik_url": {"type": "str", "required": True, "fallback": (env_fallback, ["AUTHENTIK_URL"])},
        "authentik_token": {
            "type": "str",
            "required": True,
            "no_log": True,
            "fallback": (env_fallback, ["AUTHENTIK_TOKEN"]),
        },
        "validate_certs": {"type": "bool", "default": True, "fallback": (_insecure_inverted, ["AUTHENTIK_INSECURE"])},
        "ca_path": {"type": "path", "fallback": (env_fallback, ["AUTHENTIK_CA_PATH"])},
        "request_timeout": {"type": "float", "default": 30.0},
    }


def provider_arguments() -> Json:
    """Which provider; exactly one of the two. Doc fragment dirsync.authentik.provider."""
    return {
        "provider_id": {"type": "int", "aliases": ["id"]},
        "provider_name": {"type": "str"},
    }


def protection_arguments() -> Json:
    """Who is protected; doc fragment dirsync.authentik.protection."""
    return {
        "protect": {"type": "list", "elements": "str", "default": []},
        "allow_admins": {"type": "bool", "default": False},
    }


def ownership_arguments() -> Json:
    """Whose record is whose, for the modules that sync; doc fragment dirsync.authentik.ownership."""
    return {
        "ownership": {"type": "str", "default": "connection", "choices": ["connection", "external_id"]},
        "adopt": {"type": "str", "default": "always", "choices": ["always", "never"]},
        "reactivate": {"type": "bool", "default": False},
        "create_inactive": {"type": "bool", "default": False},
    }


def google_arguments() -> Json:
    """The credentials for Google; doc fragment dirsync.authentik.google."""
    return {
        "google_auth": {
            "type": "str",
            "choices": ["key", "application_default"],
            "default": "key",
            "fallback": (env_fallback, ["GOOGLE_WORKSPACE_AUTH"]),
        },
        "service_account_email": {
            "type": "str",
            "fallback": (env_fallback, ["GOOGLE_WORKSPACE_SERVICE_ACCOUNT_EMAIL"]),
        },
        "service_account_file": {"type": "path", "fallback": (env_fallback, ["GCP_SERVICE_ACCOUNT_FILE"])},
        "service_account_contents": {
            "type": "jsonarg",
            "no_log": True,
            "fallback": (env_fallback, ["GCP_SERVICE_ACCOUNT_CONTENTS"]),
        },
        "delegated_subject": {"type": "str", "fallback": (env_fallback, ["GOOGLE_WORKSPACE_DELEGATED_SUBJECT"])},
        "google_scopes": {"type": "list", "elements": "str", "fallback": (env_fallback, ["GCP_SCOPES"])},
        "google_api_endpoint": {
            "type": "str",
            "default": "https://admin.googleapis.com",
            "fallback": (env_fallback, ["GOOGLE_WORKSPACE_API_ENDPOINT"]),
        },
    }


def _unsent(outcome: Result) -> Json:
    """The return values of a run that sent nothing."""
    outcome.calls = {"authentik": 0, "google": 0, "google_token": 0}
    return outcome.result(False)


class Module(AnsibleModule):
    """AnsibleModule, whose own refusals print no secret: it prints the parameters before it knows what is secret in them."""

    def __init__(self, **about: t.Any) -> None:
        try:
            super().__init__(**about)
        except TypeError:
            # ansible-core looks for suboptions in whatever was given.
            for name, spec in about["argument_spec"].items():
                if spec.get("type") == "dict" and not isinstance(self.params.get(name), (dict, type(None))):
                    self.fail_json(
                        f"{name} must be a dictionary; see the documentation of the module for its suboptions."
                    )
            raise

    def fail_json(self, msg: str, **more: t.Any) -> t.NoReturn:
        for name, about in self.argument_spec.items():
            value = str(self.params.get(name) or "")
            if about.get("no_log") and value:
                self.no_log_values.add(value)
            for password in _passwords(value):
                if len(password) >= SHORTEST_SECRET:
                    self.no_log_values.update(forms(password))
        t.cast(t.Callable[..., t.NoReturn], super().fail_json)(msg, **more)


class SyncModule(Module):
    """For modules that sync. A result in their form also says why ansible-core itself refused an option.

    Args:
        outcome: callable taking "server" or "direct", the empty result of a run of that engine.
        about: as AnsibleModule takes them.
    """

    def __init__(self, outcome: t.Callable[[str], BaseOutcome], **about: t.Any) -> None:
        self._outcome = outcome
        self._accepted = False
        super().__init__(**about)
        self._accepted = True

    def refused(self, message: str, code: str) -> BaseOutcome:
        """The result of a run that ended because of an option, before anything was sent."""
        engine = self.argument_spec["engine"]
        chosen = self.params.get("engine")
        outcome = self._outcome(chosen if chosen in engine["choices"] else engine["default"])
        outcome.fail(message, code)
        return outcome

    def fail_json(self, msg: str, **more: t.Any) -> t.NoReturn:
        if not self._accepted:
            more = dict(_unsent(self.refused(msg, "invalid_option")), **more)
            del more["msg"]
        super().fail_json(msg, **more)


class ModuleRunner:
    """An Ansible module's parameters turned into clients, and results turned into its exit.

    Args:
        module: the module; a SyncModule if it syncs, whose refusals then have that form.
        work: the class of the work of a module that configures or informs, whose refusals then have the form of its report.
    """

    def __init__(self, module: AnsibleModule, work: type[Work] = Work) -> None:
        self.module = module
        self._work = work
        self._fail: t.Callable[..., t.NoReturn] = module.fail_json
        self._exit: t.Callable[..., t.NoReturn] = module.exit_json
        self.warnings: list[str] = []
        # Ansible knows the values as they were given; these are the forms that they have here and in the invocation.
        for name in ("service_account_contents", "credentials"):
            self._uncover_key(str(module.params.get(name) or ""))
        for name in ("authentik_token", "service_account_contents", "credentials"):
            self.keep_secret([str(module.params.get(name) or "")])
        for name in ("authentik_url", "google_api_endpoint"):
            self.keep_secret(_passwords(str(module.params.get(name) or "")))
        for name, value in sorted(module.params.items()):
            if name not in MANY_LINES:
                self._refuse_control_characters(name, value)

    def keep_secret(self, values: t.Iterable[str]) -> None:
        """Texts that Ansible masks in everything this module prints."""
        for value in values:
            if len(value) < SHORTEST_SECRET:
                # Masking a letter or two would only garble the output.
                continue
            self.module.no_log_values.update(forms(value))

    def _uncover_key(self, text: str) -> None:
        """Of a key given as a dictionary Ansible masks every value, wherever it stands: "googleapis.com" in every scope."""
        try:
            key = json.loads(text)
        except (ValueError, RecursionError):
            return
        for name, value in key.items() if isinstance(key, dict) else ():
            if name in ("private_key", "private_key_id"):
                self.keep_secret([str(value)])
            else:
                self.module.no_log_values.discard(str(value))

    def warn(self, text: str) -> None:
        """Warn once per text."""
        text = shown(text)
        if text not in self.warnings:
            self.warnings.append(text)
            self.module.warn(text)

    def refuse(self, message: str, code: str = "invalid_option") -> t.NoReturn:
        """End because of an option, before anything was sent."""
        outcome: Result
        if isinstance(self.module, SyncModule):
            outcome = self.module.refused(message, code)
        else:
            outcome = self._work.new_report()
            outcome.fail(message, code)
        self._fail(**leaving(_unsent(outcome)))

    @contextlib.contextmanager
    def guarded(self) -> t.Iterator[None]:
        """What is raised before an engine has begun ends in the module's result, too."""
        what = "sync" if isinstance(self.module, SyncModule) else "module"
        try:
            yield
        except Exception as exc:  # noqa: BLE001
            self.refuse(unexpected_text(exc, what), UNEXPECTED)

    def authentik(self) -> Authentik:
        """The API client."""
        params = self.module.params
        token = params["authentik_token"].strip()
        if not token or not re.match(r"^[\x21-\x7e]+$", token):
            self.refuse("authentik_token is empty or contains characters that no token has; set it or AUTHENTIK_TOKEN.")
        self._check_seconds("request_timeout")
        ca_path = params["ca_path"]
        if ca_path and not os.path.isfile(ca_path):
            self.refuse(f"ca_path {ca_path} is not a file on this host; give a PEM file with the authority to trust.")
        try:
            url = normalise_url(params["authentik_url"])
        except AuthentikError as exc:
            self.refuse(str(exc))
        parts = urlsplit(url)
        if parts.scheme == "http" and not addresses.is_loopback(parts.hostname or ""):
            self.warn(
                f"authentik_url begins with http://: the token travels unencrypted to {parts.hostname}, and whoever can read "
                "the network on the way can use it. Give an https:// URL in authentik_url."
            )
        client = Client(
            url,
            token,
            timeout=params["request_timeout"],
            validate_certs=params["validate_certs"],
            ca_path=ca_path,
        )
        client.max_objects = params.get("max_objects") or MAX_OBJECTS
        return Authentik(client)

    def open_directory(self, provider: Json) -> Directory:
        """Google's directory, opened with the operator's own credentials or else with the provider's.

        Raises:
            GoogleError: kinds ``libraries``, ``credentials``, ``subject``.
        """
        params = self.module.params
        found = google_credentials.choose(params, provider)
        self.keep_secret(found.secrets())
        # Google's libraries take longer to import than a sync takes: only where Google is looked at.
        from ._google.directory import Directory as directory

        opened = directory(found, params["google_api_endpoint"], timeout=params["request_timeout"])
        opened.max_objects = params.get("max_objects") or MAX_OBJECTS
        return opened

    def check_google_options(self) -> None:
        """Refuse Google options that cannot work, before anything is sent."""
        params = self.module.params
        endpoint = params["google_api_endpoint"]
        # Not only a warning over http, as for authentik: an access token opens the whole directory, and nobody runs Google's API
        # without TLS but a test.
        if addresses.problem(endpoint):
            self.refuse(
                "google_api_endpoint must be an https:// URL (http:// for a loopback address only), without user name, query "
                "or fragment."
            )
        try:
            google_credentials.of_options(params)
        except GoogleError as exc:
            self.refuse(str(exc))

    def configure(self, problem: t.Callable[[Json], str | None], reads_google: bool = False) -> t.NoReturn:
        """Do a module's work that configures or tells, until a signal comes, and end the module with its report.

        Args:
            problem: callable taking the options and returning what is wrong with them, or None.
            reads_google: whether the options have credentials for Google.
        """
        module = self.module
        with self.guarded():
            wrong = problem(module.params)
            if wrong:
                self.refuse(wrong)
            if reads_google:
                self.check_google_options()
            job = self._work(
                self.authentik(), module.params, module.check_mode, self.warn, self.keep_secret, self.open_directory
            )
        with stoppable():
            report = job.run()
        self.exit(report)

    def check_seconds(self, *names: str) -> None:
        """Refuse time-outs that are not a positive, finite number of seconds."""
        for name in names:
            self._check_seconds(name)

    def progress_writer(self, option: str) -> t.Callable[[Json], None] | None:
        """What writes the progress into the file that an option names; None without one."""
        path = self.module.params[option]
        if not path:
            return None
        try:
            lines = Lines(path, append=False, sync=True)
        except (OSError, ValueError) as exc:
            self.refuse(
                "%s %s cannot be written: %s. Give a file in a folder that exists on the host that the module runs on."
                % (option, path, getattr(exc, "strerror", None) or exc)
            )
        return lambda line: lines.write(line, through=False)

    def sync(self, run: Engine) -> t.NoReturn:
        """Run an engine to its end, or until a signal comes, and end the module with its outcome."""
        with stoppable():
            outcome = run.run()
        self.exit(outcome)

    def exit(self, outcome: Result) -> t.NoReturn:
        """End the module with its one result."""
        try:
            result = leaving(outcome.result(diff=bool(self.module._diff)))
        except Exception as exc:  # noqa: BLE001
            if isinstance(outcome, BaseOutcome):
                outcome.fail_unexpectedly(exc)
                result = leaving(BaseOutcome.result(outcome, False))
            else:
                outcome.fail(unexpected_text(exc, "module"), UNEXPECTED)
                result = leaving(outcome.without_values())
        if outcome.fails_task:
            self._fail(**result)
        self._exit(**result)

    def _refuse_control_characters(self, where: str, value: t.Any) -> None:
        if isinstance(value, str) and _CONTROL.search(value):
            self.refuse(f"{where} contains control characters. Give it without them.")
        if isinstance(value, list):
            for number, item in enumerate(value):
                self._refuse_control_characters("%s[%d]" % (where, number), item)
        if isinstance(value, dict):
            for key, item in value.items():
                if key not in MANY_LINES:
                    self._refuse_control_characters(f"{where}.{key}", item)

    def _check_seconds(self, name: str) -> None:
        value = self.module.params[name]
        if not 0 < value <= LONGEST_TIMEOUT_S:
            self.refuse("%s must be more than 0 and at most %d seconds, not %g." % (name, LONGEST_TIMEOUT_S, value))
