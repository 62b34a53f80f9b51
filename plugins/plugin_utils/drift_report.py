# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison of both directories found, in words: as a document, and as one page that needs nothing else.

Everything that comes from a directory is hostile until shown: it travels as JSON with all that could end or open a tag
escaped, and the page puts it in place as text. The page allows itself no other style and script than its own, by hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import typing as t

from ..module_utils._common.types import Json

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drift_page")
FORMAT = 1

# The keys of the module's result that the document takes over as they are.
KEPT = (
    "status",
    "code",
    "msg",
    "basis",
    "server_version",
    "counts",
    "changes_total",
    "failed_total",
    "safety_limits",
    "plan",
    "mapping_evaluation",
    "calls",
    "rate",
    "duration",
)
# What would become of an object, the most serious first, and how a heading calls it.
OUTCOMES = (
    ("failed", "cannot be synced"),
    ("unconfirmed", "could not be confirmed"),
    ("deleted", "would be deleted"),
    ("suspended", "would be suspended"),
    ("created", "would be created"),
    ("updated", "would be updated"),
    ("unlinked", "would be disconnected"),
    ("orphan", "no longer synced, and left as it is"),
    ("remark", "in sync, with a remark"),
)
LABELS = {
    "primaryEmail": "e-mail address",
    "email": "e-mail address",
    "emails": "further e-mail addresses",
    "aliases": "aliases",
    "name": "name",
    "name.givenName": "given name",
    "name.familyName": "family name",
    "name.displayName": "display name",
    "suspended": "suspended",
    "archived": "archived",
    "orgUnitPath": "organisational unit",
    "changePasswordAtNextLogin": "must change the password",
    "includeInGlobalAddressList": "shown in the address list",
    "ipWhitelisted": "address exempt",
    "recoveryEmail": "recovery e-mail",
    "recoveryPhone": "recovery phone",
    "externalIds": "external ids",
    "ims": "instant messengers",
    "organizations": "organisations",
    "posixAccounts": "POSIX accounts",
    "sshPublicKeys": "SSH keys",
    "description": "description",
    "members": "members",
    "id": "Google's id",
}
LABELS_SHOWN = 4


def build(result: Json, report: str, title: str) -> Json:
    """All that is known, as one document.

    Args:
        result: what google_workspace_sync returned in check mode, failed or not.
        report: the text of its report_path, JSON Lines; empty where it did not get that far.
        title: the page's.

    Returns:
        dict; its keys are described in docs/drift-report.md.
    """
    lines, unreadable = _lines(report)
    told = next((line for line in lines if line.get("kind") == "run"), {})
    ended = next((line for line in reversed(lines) if line.get("kind") == "summary"), {})
    provider = next((line for line in lines if line.get("kind") == "provider"), {})
    document: Json = {
        "format": FORMAT,
        "title": title,
        "started": told.get("time"),
        "ended": ended.get("time"),
        "authentik": told.get("authentik"),
        "provider": {"pk": provider.get("pk"), "name": provider.get("name")},
        "options": told.get("options") or {},
    }
    document.update({key: result.get(key) for key in KEPT})
    document["objects"] = [_object(line) for line in lines if line.get("kind") in ("object", "orphan")]
    document["warnings"] = [str(text) for text in result.get("warnings") or []]
    document["remarks"] = _remarks(document, unreadable)
    document.update(summary(result))
    return t.cast(Json, _plain(document))


def summary(result: Json) -> Json:
    """The numbers and what they come down to, from the module's result alone.

    Returns:
        dict with ``state``: "in_sync", "attention" (nothing would change, but something failed or is out of scope),
        "drift", "stopped" (a safety limit would stop the sync) or "incomplete" (the comparison did not come to its end);
        ``headline``, the same in words; ``complete`` and ``drift``, bool; and the numbers.
    """
    counts = result.get("counts") or {}
    limits = result.get("safety_limits") or []
    # The limit of one group stops that group alone, which is reported as failed.
    stopping = [
        limit for limit in limits if limit.get("exceeded") and not limit.get("overridden") and not limit.get("group")
    ]
    complete = _complete(result, stopping)
    changes = int(result.get("changes_total") or 0)
    failed = int(result.get("failed_total") or 0)
    orphans = sum(int(kind.get("orphans") or 0) for kind in counts.values())
    if not complete:
        state = "incomplete"
    elif stopping:
        state = "stopped"
    elif changes:
        state = "drift"
    else:
        state = "attention" if failed or orphans else "in_sync"
    found: Json = {
        "state": state,
        "complete": complete,
        "drift": complete and changes > 0,
        "changes_total": changes,
        "failed_total": failed,
        "orphans_total": orphans,
        "safety_limits_exceeded": [_limit_text(limit) for limit in stopping],
        "counts": counts,
        "status": result.get("status") or "failed",
        "code": result.get("code"),
        "msg": result.get("msg"),
    }
    found["headline"] = _headline(found)
    return t.cast(Json, _plain(found))


def as_json(document: Json) -> str:
    """The document as JSON, one object of the directories a line, so that tools for lines can be of use, too."""
    head = json.dumps({key: value for key, value in document.items() if key != "objects"}, indent=2)
    objects = ",\n".join("    %s" % json.dumps(item) for item in document["objects"])
    return '%s,\n  "objects": [%s]\n}\n' % (head[: head.rindex("\n")], "\n%s\n  " % objects if objects else "")


def as_page(document: Json) -> str:
    """The page."""
    style, script = _part("page.css"), _part("page.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    data = dict(document, objects=[_row(item) for item in document["objects"]], outcomes=OUTCOMES)
    pieces = {
        "POLICY": html.escape(policy, quote=True).replace("&#x27;", "'"),
        "TITLE": html.escape(str(document["title"])),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _harmless(json.dumps(data, separators=(",", ":"))),
        "PLAIN": _without_script(document),
    }
    # In one pass: what is put in may look like a place to put something.
    return re.sub(r"@@([A-Z]+)@@", lambda found: pieces[found.group(1)], _part("page.html"))


def _lines(report: str) -> tuple[list[Json], int]:
    """The lines of a report, and how many could not be read (the last one of a run that was killed)."""
    found, unreadable = [], 0
    for text in report.split("\n"):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            found.append(line)
        else:
            unreadable += 1
    return found, unreadable


def _complete(result: Json, stopping: t.Sequence[Json]) -> bool:
    """Whether everything was compared: a safety limit that stops a sync may stop it before or after that."""
    code = result.get("code")
    if not result.get("msg"):
        return bool(result.get("counts"))
    if code == "guard":
        # A listing that looks too short ends the run before anything is compared.
        return bool(stopping) and all(limit.get("option") != "missing" for limit in stopping)
    return code == "objects"


def _headline(found: Json) -> str:
    counts = found["counts"]
    compared = {
        kind: int(numbers.get("total") or 0) - int(numbers.get("out_of_scope") or 0) for kind, numbers in counts.items()
    }
    compared_text = _and([_count(compared.get("users", 0), "user"), _count(compared.get("groups", 0), "group")])
    if found["state"] == "incomplete":
        return "The comparison did not finish, so it is not known what differs."
    parts = []
    if found["changes_total"]:
        parts.append("%s would change." % _count(found["changes_total"], "object"))
    else:
        parts.append("Nothing would change.")
    parts.append(f"{compared_text} compared.")
    if found["failed_total"]:
        parts.append("%s cannot be synced." % _count(found["failed_total"], "object"))
    if found["orphans_total"]:
        parts.append("%s no longer synced." % _count(found["orphans_total"], "connected object", be=True))
    if found["state"] == "stopped":
        parts.append("A sync would stop before the first write, because of a safety limit.")
    return " ".join(parts)


def _count(number: int, one: str, many: str = "", be: bool = False) -> str:
    word = one if number == 1 else many or one + "s"
    return "%s %s%s" % (format(number, ","), word, (" is" if number == 1 else " are") if be else "")


def _and(parts: t.Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else "%s and %s" % (", ".join(parts[:-1]), parts[-1])


def _limit_text(limit: Json) -> str:
    return "%s %s (of %s), more than safety_limits.%s: %s allows (%s)" % tuple(
        limit.get(key) for key in ("planned", "what", "of", "option", "limit", "allowed")
    )


def _remarks(document: Json, unreadable: int) -> list[str]:
    """What a reader must know about the document itself."""
    found = []
    if unreadable:
        found.append("%s of the report could not be read and are missing here." % _count(unreadable, "line"))
    here = sum(1 for item in document["objects"] if item.get("action") and item["kind"] == "object")
    counted = document["changes_total"]
    if counted is not None and here != counted:
        found.append("%d changes are listed here, and the run counted %d." % (here, counted))
    return found


# An object in words


def _object(line: Json) -> Json:
    """A line of the report with what a person wants to know of it."""
    kind = "group" if str(line.get("model") or "").endswith("Group") else "user"
    found = {key: value for key, value in line.items() if key != "kind"}
    return dict({"kind": line["kind"], "type": kind}, **dict(found, address=_address(line, kind), **_told(line, kind)))


def _told(line: Json, kind: str) -> Json:
    """``outcome``, one of OUTCOMES, and ``words``."""
    outcome = _outcome(line)
    words = dict(OUTCOMES)[outcome]
    # Only those whose object is out of scope have it.
    gone = line.get("why")
    why = {
        "failed": _reason(line, kind),
        "unconfirmed": _reason(line, kind),
        "deleted": gone,
        "suspended": gone or _why_suspended(line.get("changes") or []),
        "created": "Google has no such %s yet" % ("account" if kind == "user" else "group"),
        "updated": _differences(line.get("changes") or []),
        "unlinked": "%s; Google's side stays as it is" % (gone or "it is no longer synced"),
        "orphan": gone,
    }.get(outcome)
    return {"outcome": outcome, "words": f"{words}: {why}" if why else words}


def _why_suspended(found: t.Sequence[Json]) -> str:
    if any(change.get("path") == "suspended" and change.get("after") for change in found):
        return "deactivated in authentik (as its property mappings give it)"
    return "archived by its property mappings"


def _outcome(line: Json) -> str:
    if line["kind"] == "orphan":
        return "orphan"
    if line.get("status") == "unconfirmed":
        return "unconfirmed"
    if line.get("status") == "failed" or line.get("msg"):
        return "failed"
    return str(line.get("action") or "remark")


def _reason(line: Json, kind: str) -> str:
    """Why an object failed, without what the row says anyway."""
    text, name = str(line.get("msg") or ""), "%s %s" % (kind, line.get("name"))
    for start in (
        f"Could not sync {name}: ",
        f"{name.capitalize()} was not synced: ",
        f"{name[:1].upper()}{name[1:]} was not synced: ",
    ):
        if text.startswith(start):
            return text[len(start) :]
    return text


def _differences(found: t.Sequence[Json]) -> str:
    """What differs, in a few words."""
    parts, fields = [], []
    for change in found:
        path = change.get("path")
        if path == "members":
            added, removed = len(change.get("added") or ()), len(change.get("removed") or ())
            if added:
                parts.append("%s would be added" % _count(added, "member"))
            if removed:
                parts.append("%s would be removed" % _count(removed, "member"))
        elif path == "suspended" and not change.get("after"):
            parts.append("would be reactivated")
        else:
            fields.append(label(str(path)))
    differ = "differs" if len(fields) == 1 else "differ"
    if len(fields) > LABELS_SHOWN:
        fields[LABELS_SHOWN - 1 :] = ["%d more" % (len(fields) - LABELS_SHOWN + 1)]
    return "; ".join(parts + ([f"{_and(fields)} {differ}"] if fields else []))


def label(path: str) -> str:
    """What people call a field of Google's."""
    if path in LABELS:
        return LABELS[path]
    if path.startswith("customSchemas."):
        return "custom field %s" % path.partition(".")[2]
    if path.startswith("members.") and path.endswith(".role"):
        return "role of %s" % path[len("members.") : -len(".role")]
    return path


def _address(line: Json, kind: str) -> str | None:
    """The address at Google, as far as the line tells."""
    google_id = line.get("google_id")
    if kind == "user" and google_id and "@" in str(google_id):
        return str(google_id)
    for change in line.get("changes") or []:
        if change.get("path") in ("primaryEmail", "email") and (change.get("before") or change.get("after")):
            return str(change.get("before") or change.get("after"))
    for done in line.get("operations") or []:
        found = done.get("group") or (done.get("key") if done.get("resource") == kind else None)
        if found:
            return str(found)
    return str(google_id) if google_id else None


# The page


def _row(item: Json) -> Json:
    """What the page needs of an object; short keys, as there may be many thousands."""
    row: Json = {
        "k": item["type"],
        "n": item.get("name"),
        "a": item["address"],
        "p": item.get("pk"),
        "o": item["outcome"],
        "w": item["words"],
        "c": [_change(change) for change in item.get("changes") or []],
    }
    if item.get("warnings"):
        row["r"] = item["warnings"]
    return row


def _change(change: Json) -> Json:
    path = str(change.get("path"))
    if path == "members":
        return {"l": label(path), "add": change.get("added") or [], "rem": change.get("removed") or []}
    return {"l": label(path), "b": change.get("before"), "a": change.get("after")}


def _harmless(text: str) -> str:
    """JSON that ends no element and starts none; json.dumps has left nothing but ASCII."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _part(name: str) -> str:
    with open(os.path.join(PARTS, name), encoding="utf-8") as file:
        return file.read()


def _without_script(document: Json) -> str:
    """The numbers for viewers that run no script, as HTML."""
    rows = []
    for kind, numbers in (document.get("counts") or {}).items():
        cells = "; ".join(
            "%s: %s" % (name.replace("_", " "), format(int(number), ",")) for name, number in numbers.items()
        )
        rows.append("<li>%s: %s</li>" % (html.escape(str(kind)), html.escape(cells)))
    reason = "<p>%s</p>" % html.escape(str(document["msg"])) if document.get("msg") else ""
    return "<h1>%s</h1><p>%s</p>%s<ul>%s</ul>" % (
        html.escape(str(document["title"])),
        html.escape(str(document["headline"])),
        reason,
        "".join(rows),
    )


def _plain(value: t.Any) -> t.Any:
    """Values without what Ansible attaches to them, which JSON encoders handle in different ways."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value)
