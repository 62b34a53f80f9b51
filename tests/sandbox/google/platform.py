# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gives a program on Google Cloud, or of a federated platform, an identity without a key.

The metadata server (``/computeMetadata/v1/…``), the Security Token Service (``/v1/token``, RFC 8693), the IAM Service Account
Credentials API (``/v1/projects/-/serviceAccounts/…``), and another platform's endpoint that hands out identity tokens
(``/identity``). Paths and shapes are those of Google's documentation and of what google-auth sends.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.sandbox.google.errors import ApiError, RpcError

if TYPE_CHECKING:
    from tests.sandbox.google.auth import Tokens
    from tests.sandbox.google.settings import Settings

METADATA = "/computeMetadata/v1"
STS_PATH = "/v1/token"
IDENTITY_PATH = "/identity"
FLAVOR = {"Metadata-Flavor": "Google"}
# What the other platform's identity provider hands out, and the principal that Google makes of it.
SUBJECT_TOKEN = "sandbox.identity-token-of-the-platform.signature"  # noqa: S105
PRINCIPAL = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/runner"
IAM_SCOPES = {"https://www.googleapis.com/auth/iam", "https://www.googleapis.com/auth/cloud-platform"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
LONGEST_CLAIMS_S = 12 * 3600

_ACCOUNT = re.compile(r"^/v1/projects/-/serviceAccounts/([^/:]+):(signJwt|signBlob|generateAccessToken)$")
_IDENTITY = re.compile(rf"^{METADATA}/instance/service-accounts/([^/]+)/(token|email|scopes|)$")
_PERMISSIONS = {
    "signJwt": "iam.serviceAccounts.signJwt",
    "signBlob": "iam.serviceAccounts.signBlob",
    "generateAccessToken": "iam.serviceAccounts.getAccessToken",
}


class Platform:
    """Answers for the paths that are the platform's; None for any other."""

    def __init__(self, settings: Settings, tokens: Tokens) -> None:
        self._settings = settings
        self._tokens = tokens

    def answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Response | None:
        """Return the answer to a request, or None if it is for somebody else."""
        if method == "GET" and (
            path == METADATA or path.startswith(METADATA + "/") or (path == "/" and _asks(headers))
        ):
            return self._metadata(path, query, headers)
        if method == "GET" and path == IDENTITY_PATH:
            return JSONResponse({"value": SUBJECT_TOKEN})
        if method == "POST" and path == STS_PATH:
            return self._exchange(dict(parse_qsl(body.decode("utf-8", "replace"))))
        found = _ACCOUNT.match(path)
        if method == "POST" and found:
            try:
                return self._account(found.group(1), found.group(2), headers, body)
            except ApiError as exc:
                return JSONResponse(exc.body(), status_code=exc.status)
        return None

    def _metadata(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        settings = self._settings
        if not settings.metadata_account and path == "/":
            return PlainTextResponse("Not Found", 404)
        if not _asks(headers) or "x-forwarded-for" in headers:
            return PlainTextResponse("Your client does not have permission to get this URL.", 403)
        if path == "/":
            return _plain("computeMetadata/\n")
        if path == METADATA + "/project/project-id":
            return _plain("sandbox-project")
        if path == METADATA + "/universe/universe-domain":
            return _plain("googleapis.com")
        found = _IDENTITY.match(path)
        account = settings.metadata_account
        if not found or account in ("", "none") or found.group(1) not in ("default", account):
            return _plain("Not Found", 404)
        if found.group(2) == "token":
            # A virtual machine's own scopes hold, whatever is asked for.
            return JSONResponse(self._tokens.give(account, settings.metadata_scopes), headers=FLAVOR)
        if found.group(2):
            return _plain(account if found.group(2) == "email" else "\n".join(settings.metadata_scopes) + "\n")
        if query.get("recursive", "").lower() != "true":
            return _plain("aliases\nemail\nidentity\nscopes\ntoken\n")
        return JSONResponse(
            {"aliases": ["default"], "email": account, "scopes": settings.metadata_scopes}, headers=FLAVOR
        )

    def _exchange(self, form: dict[str, str]) -> Response:
        if form.get("grant_type") != EXCHANGE:
            return _oauth(400, "unsupported_grant_type", "grant_type must be a token exchange.")
        if "/workloadIdentityPools/" not in form.get("audience", ""):
            return _oauth(
                400, "invalid_target", 'The target service indicated by the "audience" parameters is invalid.'
            )
        if form.get("subject_token") != SUBJECT_TOKEN:
            return _oauth(400, "invalid_grant", "ID Token issued at a time that is not valid or by an unknown issuer.")
        scopes = form.get("scope", "").split()
        if not scopes:
            return _oauth(400, "invalid_request", "Missing scope.")
        given = self._tokens.give(PRINCIPAL, scopes)
        return JSONResponse({**given, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})

    def _account(self, account: str, what: str, headers: Mapping[str, str], body: bytes) -> Response:
        access = self._tokens.access(headers.get("authorization", ""))
        if not self._settings.iam_enabled:
            raise RpcError(
                403,
                "SERVICE_DISABLED",
                "IAM Service Account Credentials API has not been used in project 1 before or it is disabled.",
                {"service": "iamcredentials.googleapis.com"},
            )
        if not access.scopes & IAM_SCOPES:
            raise RpcError(
                403,
                "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "Request had insufficient authentication scopes.",
                {"service": "iamcredentials.googleapis.com"},
            )
        if account not in self._settings.iam_accounts:
            raise ApiError(404, "notFound", "Requested entity was not found.", rpc=True)
        if access.principal not in self._settings.iam_creators.get(account, ()):
            permission = _PERMISSIONS[what]
            raise RpcError(
                403,
                "IAM_PERMISSION_DENIED",
                f"Permission '{permission}' denied on resource (or it may not exist).",
                {"permission": permission},
            )
        sent = _object(body)
        if what == "generateAccessToken":
            return self._impersonate(account, sent)
        if what == "signBlob":
            try:
                payload = base64.b64decode(sent.get("payload", ""), validate=True)
            except (ValueError, TypeError):
                raise _argument("Invalid value at 'payload' (TYPE_BYTES)") from None
            signature = base64.b64encode(self._tokens.sign(payload)).decode()
            return JSONResponse({"keyId": "5a6d0b0c", "signedBlob": signature})
        return JSONResponse({"keyId": "5a6d0b0c", "signedJwt": self._tokens.signed(_claims(sent))})

    def _impersonate(self, account: str, sent: dict[str, Any]) -> Response:
        scopes = sent.get("scope")
        if not isinstance(scopes, list) or not scopes:
            raise _argument("Scope required.")
        token = self._tokens.give(account, scopes)
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + token["expires_in"]))
        return JSONResponse({"accessToken": token["access_token"], "expireTime": until})


def _asks(headers: Mapping[str, str]) -> bool:
    return headers.get("metadata-flavor", "") == "Google"


def _plain(text: str, status: int = 200) -> Response:
    return Response(text, status, FLAVOR, "application/text")


def _oauth(status: int, error: str, description: str) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)


def _argument(message: str) -> ApiError:
    return ApiError(400, "badRequest", message, rpc=True)


def _object(body: bytes) -> dict[str, Any]:
    try:
        sent = json.loads(body)
    except ValueError:
        raise _argument("Invalid JSON payload received.") from None
    if not isinstance(sent, dict):
        raise _argument("Invalid JSON payload received.")
    return sent


def _claims(sent: dict[str, Any]) -> dict[str, Any]:
    unknown = set(sent) - {"payload", "delegates"}
    if unknown:
        raise _argument(f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.')
    try:
        claims = json.loads(sent.get("payload", ""))
    except (ValueError, TypeError):
        raise _argument("payload must be a JSON-encoded object.") from None
    until = claims.get("exp") if isinstance(claims, dict) else None
    if not isinstance(until, int) or not time.time() < until <= time.time() + LONGEST_CLAIMS_S:
        raise _argument(
            "Claim exp must be an integer timestamp that is not in the past and no more than 12 hours ahead."
        )
    return claims
