# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates in every place where authentik and Google have texts. Whoever evaluates one makes a file, which says the place."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

DOMAIN = "corp.example.com"
# Without spaces, since a display name is divided at the first one, and without < and >, which Google refuses in names.
FORMS = {
    "print": "{{{{lookup('pipe','touch${{IFS}}{mark}')}}}}",
    "statement": "{{%if(lookup('pipe','touch${{IFS}}{mark}'))%}}{{%endif%}}",
    "nested": "{{{{'{{{{'}}}}lookup('pipe','touch${{IFS}}{mark}'){{{{'}}}}'}}}}{{{{lookup('pipe','touch${{IFS}}{mark}')}}}}",
    "tagged": "!unsafe{{{{lookup('pipe','touch${{IFS}}{mark}')}}}}",
    # What a condition would evaluate without braces.
    "expression": "lookup('pipe','touch${{IFS}}{mark}')==''",
    # What makes other marks the marks of templates, on the first line of a template.
    "header": "#jinja2:variable_start_string:'<<',variable_end_string:'>>'\n<<lookup('pipe','touch${{IFS}}{mark}')>>",
}
LINE_FORMS = tuple(form for form in FORMS if form != "header")
# What fits into a name at Google.
SHORT_FORMS = ("print", "statement", "expression")


def _short_folder() -> Path:
    """A new folder with a path so short that a text with it can be a name at Google."""
    while True:
        folder = Path("/tmp", f"c{secrets.token_hex(2)}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder


class Canary:
    """A folder for the marks, as a context manager, and the texts that make them."""

    def __init__(self) -> None:
        self.folder = _short_folder()
        self._places: list[str] = []

    def __enter__(self) -> Canary:
        return self

    def __exit__(self, *_exc: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def text(self, place: str, form: str = "print") -> str:
        """A text in one of the forms for a place."""
        self._places.append(f"{place} ({form})")
        return FORMS[form].format(mark=self.folder / str(len(self._places)))

    def evaluated(self) -> list[str]:
        """The places whose text was evaluated."""
        return [self._places[int(path.name) - 1] for path in sorted(self.folder.iterdir())]

    def structure(self, place: str) -> dict[str, Any]:
        """All forms as values, as keys and further inside."""
        return {
            self.text(f"{place}, key", form): {self.text(f"{place}, inner key", form): [self.text(place, form)]}
            for form in FORMS
        }

    def dataset(self) -> dict[str, Any]:
        """What stands on both sides: texts of each form in everything that has a name, and in attributes.

        The users have the primary keys 6 to 10, one for each form; 11 has a text as address, 12 is left out by the provider, and the
        mapping fails for 13.
        """
        users = [self._user(form, number) for number, form in enumerate(LINE_FORMS)]
        users.append({**self._user("print", 90), "email": self.text("address")})
        users.append({**self._user("print", 91), "type": "service_account"})
        users.append({**self._user("print", 92), "attributes": {"fails": self.text("error of a mapping")}})
        names = [user["username"] for user in users]
        groups = [
            {
                "name": self.text("group", form),
                "members": names[: 2 + number],
                "attributes": self.structure("attributes of a group"),
            }
            for number, form in enumerate(LINE_FORMS)
        ]
        yields = "{name!r}: {value!r}"
        notes = yields.format(name="notes", value={"value": self.text("notes", "header"), "contentType": "text_plain"})
        titles = [{"title": self.text("title", form), "department": self.text("department", form)} for form in FORMS]
        expression = (
            "if user.attributes.get('fails'):\n    raise ValueError(user.attributes['fails'])\n"
            f"return {{{notes}, 'organizations': {titles!r}}}"
        )
        return {
            "domain": DOMAIN,
            "users": users,
            "groups": groups,
            "provider": {
                "name": self.text("provider"),
                "exclude_users_service_account": True,
                "user_delete_action": "suspend",
            },
            "mappings": [
                {"name": self.text("mapping"), "expression": expression, "model": "user", "assigned": True},
                {
                    "name": self.text("unused mapping", "statement"),
                    "expression": f"# {self.text('comment')}\nreturn {{'description': {self.text('description')!r}}}",
                    "model": "group",
                    "assigned": True,
                },
            ],
            "google": {
                "users": [
                    {
                        "primaryEmail": f"canary{number}@{DOMAIN}",
                        "name": {"givenName": self.text("given name", form), "familyName": self.text("family", form)},
                    }
                    for number, form in enumerate(SHORT_FORMS)
                ],
                "groups": [
                    {
                        "email": f"foreign{number}@{DOMAIN}",
                        "name": self.text("group at Google", form),
                        "description": self.text("description at Google", form),
                        "members": [{"email": f"canary0@{DOMAIN}"}],
                    }
                    for number, form in enumerate(SHORT_FORMS)
                ],
            },
        }

    def _user(self, form: str, number: int) -> dict[str, Any]:
        return {
            "username": self.text("username", form),
            # In two parts, as Google wants a name.
            "name": f"{self.text('given name', form)} {self.text('family name', form)}",
            "email": f"canary{number}@{DOMAIN}",
            "attributes": self.structure("attributes of a user"),
            "path": self.text("path", form),
        }

    def authentik_error(self, status: int, **which: Any) -> dict[str, Any]:
        """A fault for authentik's side: an error with texts in all of its body."""
        body = {
            "detail": self.text("detail"),
            "non_field_errors": [self.text("field error", form) for form in FORMS],
            "name": [{self.text("inner error key"): self.text("inner error")}],
            "code": self.text("code"),
            **self.structure("error"),
        }
        return {"path": ".*", "status": status, "body": body, "times": -1, **which}

    def google_error(self, status: int, **which: Any) -> dict[str, Any]:
        """A fault for Google's side, with texts in all of its body."""
        texts = {name: self.text(f"Google's {name}") for name in ("reason", "message", "domain")}
        return {"path": "/admin/.*", "status": status, "times": -1, **texts, **which}

    def event(self, kind: str, pk: Any) -> dict[str, Any]:
        """An event as ansible-rulebook hands it over, with texts in all of it but what is given."""
        model = {"app": "authentik_core", "model_name": kind, "pk": pk, "name": self.text("event's name")}
        return {
            "payload": {
                "action": "model_updated",
                "model": {**model, **self.structure("event's model")},
                "user": {"username": self.text("event's actor"), **self.structure("event's user")},
                "former_members": [self.text("former member", form) for form in FORMS],
                **self.structure("event's payload"),
            },
            "meta": {"headers": self.structure("event's headers"), "uuid": self.text("event's uuid")},
            **self.structure("event"),
        }
