# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of a sync, and the way authentik puts an exception into a log line."""

from __future__ import annotations

from typing import Any


class SyncError(Exception):
    """Common ground of what can go wrong with one object."""


class BadRequestSyncException(SyncError):
    """Google (or the check before it) refused the resource; the arguments after the first are shown in the log."""


class NotFoundSyncException(SyncError):
    """Google does not know the object."""


class ObjectExistsSyncException(SyncError):
    """Google holds the address already."""


class TransientSyncException(SyncError):
    """Everything that could work another time."""


class DryRunRejected(SyncError):
    """A request that would have changed something, held back by the provider's dry run."""

    def __init__(self, url: str, method: str, body: str) -> None:
        super().__init__(method, url)
        self.url = url
        self.method = method
        self.body = body


class StopSync(SyncError):
    """An error after which going on with other objects makes no sense."""

    def __init__(self, cause: Exception, obj: Any = None, mapping: Any = None) -> None:
        super().__init__(str(cause))
        self.obj = obj
        self.mapping = mapping

    def detail(self) -> str:
        text = "Error %s, caused by %s" % (self, self.obj)
        if self.mapping is not None:
            text += " (mapping Google Workspace Provider Mapping %s)" % self.mapping.name
        return text


class AbandonedError(Exception):
    """The sandbox was reset under a sync: it ends here. Real servers know nothing of the kind."""


class ResultFailure(Exception):
    """What a task that waits for another one raises when that one was given up."""


class PropertyMappingExpressionException(Exception):
    """A mapping's code failed; the text is empty on real servers, the reason hangs on as its cause."""

    def __init__(self, mapping: Any) -> None:
        super().__init__()
        self.mapping = mapping


class ValidationError(Exception):
    """A value that is no UUID where one is needed."""


class IntegrityError(Exception):
    """The database refused a row."""


class UniqueViolation(Exception):
    """Why it refused it."""


class DoesNotExist(Exception):
    """The look-up before the insert found nothing."""


def chain(exc: BaseException | None) -> list[dict]:
    """Describe an exception and what led to it, outermost first."""
    described = []
    is_cause = False
    while exc is not None:
        described.append(
            {
                "frames": [],
                "exc_type": type(exc).__name__,
                "is_cause": is_cause,
                "is_group": False,
                "exc_notes": [],
                "exc_value": str(exc),
                "exceptions": [],
                "syntax_error": None,
            }
        )
        if exc.__cause__ is not None:
            exc, is_cause = exc.__cause__, True
        elif exc.__context__ is not None and not exc.__suppress_context__:
            exc, is_cause = exc.__context__, False
        else:
            break
    return described
