# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Google's errors: as an exception, and as the bodies in which they travel."""

from __future__ import annotations

import json
from typing import Any

from tests.sandbox.wire import reason_phrase

# What Google says when a fault names the status only: reason and message.
_USUAL = {
    400: ("badRequest", "Bad Request"),
    401: ("authError", "Invalid Credentials"),
    403: ("forbidden", "Not Authorized to access this resource/api"),
    404: ("notFound", "Resource Not Found"),
    409: ("duplicate", "Entity already exists."),
    412: ("conditionNotMet", "Precondition Failed"),
    429: ("rateLimitExceeded", "Rate Limit Exceeded"),
    500: ("backendError", "Internal error encountered."),
    503: ("backendError", "The service is currently unavailable."),
}
_RPC_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class ApiError(Exception):
    """An answer of the Directory API other than success."""

    def __init__(self, status: int, reason: str, message: str, *, domain: str = "global", rpc: bool = False) -> None:
        """``rpc``: the newer front end's addition of a status text, as Google shows it for malformed requests."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.domain = domain
        self.rpc = rpc

    def body(self) -> dict:
        """Return the body: ``{"error": {"code", "message", "errors": [{"message", "domain", "reason"}]}}``."""
        error = {
            "code": self.status,
            "message": self.message,
            "errors": [{"message": self.message, "domain": self.domain, "reason": self.reason}],
        }
        if self.rpc:
            error["status"] = _RPC_CODES.get(self.status, "UNKNOWN")
        return {"error": error}


class ScopeError(ApiError):
    """The token is valid, but none of its scopes covers the method."""

    def __init__(self, method_id: str) -> None:
        super().__init__(403, "insufficientPermissions", "Request had insufficient authentication scopes.", rpc=True)
        self.method_id = method_id

    def body(self) -> dict:
        """Return the body, which here carries both of Google's shapes at once."""
        body = super().body()
        body["error"]["errors"][0]["message"] = "Insufficient Permission"
        body["error"]["details"] = [
            _error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", {"method": self.method_id})
        ]
        return body


def invalid(message: str) -> ApiError:
    """Return the 400 for a value that Google does not take."""
    return ApiError(400, "invalid", message)


def malformed(message: str) -> ApiError:
    """Return the 400 for a request that does not fit the API at all."""
    return ApiError(400, "badRequest", message, rpc=True)


def not_found(what: str) -> ApiError:
    """Return the 404 for a key in the address or the body: ``userKey``, ``groupKey``, ``memberKey``, ``domain``."""
    return ApiError(404, "notFound", f"Resource Not Found: {what}")


def duplicate(message: str = "Entity already exists.") -> ApiError:
    """Return the 409 for an address that is taken."""
    return ApiError(409, "duplicate", message)


def not_yet(message: str) -> ApiError:
    """Return the 412 for a condition that does not hold, or not yet."""
    return ApiError(412, "conditionNotMet", message)


def forbidden() -> ApiError:
    """Return the 403 for something that belongs to others, or a subject without rights."""
    return ApiError(403, *_USUAL[403])


def fault_body(status: int, fault: dict) -> tuple[bytes, str]:
    """Give a fault the body of a Google error in the shape that it asks for; returns body and content type.

    ``shape``: ``errors`` (default), ``details`` (google.rpc.ErrorInfo) or ``oauth`` (the token endpoint's).
    """
    reason, message = _USUAL.get(status, ("unknown", reason_phrase(status)))
    shape = fault.get("shape", "errors")
    message = fault.get("message", message)
    if shape == "oauth":
        body = {"error": fault.get("reason", "invalid_grant"), "error_description": message}
    elif shape == "details":
        info = _error_info(fault.get("reason", reason), fault.get("domain", "googleapis.com"), {})
        code = _RPC_CODES.get(status, "UNKNOWN")
        body = {"error": {"code": status, "message": message, "status": code, "details": [info]}}
    else:
        domain = fault.get("domain", "global")
        body = ApiError(status, fault.get("reason", reason), message, domain=domain).body()
    return json.dumps(body).encode(), "application/json; charset=UTF-8"


def _error_info(reason: str, domain: str, metadata: dict) -> dict:
    info: dict[str, Any] = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain}
    if metadata:
        info["metadata"] = {"service": "admin.googleapis.com", **metadata}
    return info


class RpcError(ApiError):
    """An error of an API that has google.rpc.ErrorInfo alone."""

    def __init__(self, status: int, reason: str, message: str, metadata: dict) -> None:
        super().__init__(status, reason, message, rpc=True)
        self._metadata = metadata

    def body(self) -> dict:
        """Return the body in its one shape."""
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason,
            "domain": "iam.googleapis.com" if "permission" in self._metadata else "googleapis.com",
            "metadata": self._metadata,
        }
        code = _RPC_CODES.get(self.status, "UNKNOWN")
        return {"error": {"code": self.status, "message": self.message, "status": code, "details": [info]}}
