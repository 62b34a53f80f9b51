# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service accounts: the key, the token endpoint (JWT bearer grant, RFC 7523) and the tokens given out."""

from __future__ import annotations

import base64
import functools
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.sandbox import clock
from tests.sandbox.google.errors import ApiError
from tests.sandbox.google.settings import ACCOUNT, Settings

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_EMAIL = ACCOUNT
LONGEST_LIFE = 3600
CLOCK_SKEW = 300


class TokenError(Exception):
    """A refusal of the token endpoint, in the shape of OAuth."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description

    def body(self) -> dict:
        """Return ``{"error", "error_description"}``."""
        return {"error": self.error, "error_description": self.description}


@dataclass(frozen=True)
class Access:
    """What an access token allows: scopes, for this subject (None: the principal itself), until then."""

    subject: str | None
    scopes: frozenset[str]
    until: float
    principal: str = CLIENT_EMAIL


@functools.lru_cache(maxsize=1)
def _key() -> rsa.RSAPrivateKey:
    """Return the key of the service account, made once for the process."""
    # Reading a key costs the reader a check of its primes: 70 ms for one of 2048 bits, in every run and every sync, which
    # protects nothing on loopback.
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


class Tokens:
    """Gives out access tokens and knows which are good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._given: dict[str, Access] = {}
        # Google's own libraries name its public token endpoint, wherever the key says that it is.
        self._audiences: set[str] = {"https://oauth2.googleapis.com/token"}

    def service_account(self, base_url: str) -> dict[str, str]:
        """Return a service account's key file for the token endpoint below this address."""
        token_uri = base_url.rstrip("/") + "/token"
        self._audiences.add(token_uri)
        private_key = _key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "sandbox-project",
            "private_key_id": "5a6d0b0c",
            "private_key": private_key.decode(),
            "client_email": CLIENT_EMAIL,
            "client_id": "100000000000000000001",
            "auth_uri": base_url.rstrip("/") + "/auth",
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }

    def grant(self, form: dict[str, str], is_account: Any) -> dict:
        """Return the token endpoint's answer to a form; raises TokenError.

        ``is_account``: tells whether an address is an account of the directory.
        """
        if form.get("grant_type") != GRANT_TYPE:
            raise TokenError(400, "unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        claims = self._claims(form.get("assertion", ""))
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise TokenError(400, "invalid_scope", "Empty or missing scope not allowed.")
        subject = claims.get("sub")
        if subject is not None:
            if not is_account(str(subject)):
                raise TokenError(400, "invalid_grant", "Invalid email or User ID")
            if not scopes <= set(self._settings.delegated_scopes):
                raise TokenError(
                    401,
                    "unauthorized_client",
                    "Client is unauthorized to retrieve access tokens using this method, or client not authorized "
                    "for any of the scopes requested.",
                )
        return self.give(CLIENT_EMAIL, scopes, subject)

    def give(self, principal: str, scopes: Iterable[str], subject: str | None = None) -> dict[str, Any]:
        """Return a new access token of a principal, as the token endpoint answers with it."""
        token = "ya29.sandbox-" + secrets.token_urlsafe(24)
        lifetime = self._settings.token_lifetime_s
        self._given[token] = Access(subject, frozenset(scopes), clock.monotonic() + lifetime, principal)
        return {"access_token": token, "expires_in": int(lifetime), "token_type": "Bearer"}

    def sign(self, payload: bytes) -> bytes:
        """Return the signature that the service account's key at Google gives."""
        return _key().sign(payload, padding.PKCS1v15(), hashes.SHA256())

    def signed(self, claims: dict[str, Any]) -> str:
        """Return claims as a token with a header of Google's making."""
        header = {"alg": "RS256", "kid": "5a6d0b0c", "typ": "JWT"}
        parts = [_encoded(json.dumps(part).encode()) for part in (header, claims)]
        return ".".join([*parts, _encoded(self.sign(".".join(parts).encode()))])

    def access(self, authorization: str) -> Access:
        """Return what an Authorization header allows; raises ApiError 401."""
        scheme, _space, token = authorization.partition(" ")
        access = self._given.get(token.strip()) if scheme.lower() == "bearer" else None
        if access is None or clock.monotonic() >= access.until:
            raise ApiError(401, "authError", "Invalid Credentials")
        return access

    def _claims(self, assertion: str) -> dict[str, Any]:
        """Return the claims of a signed assertion after checking all but scope and subject."""
        try:
            header_part, claims_part, signature_part = assertion.split(".")
            header, claims = json.loads(_decoded(header_part)), json.loads(_decoded(claims_part))
            signature = _decoded(signature_part)
            issuer = claims["iss"]
            algorithm = header["alg"]
            audience, issued, expires = claims["aud"], float(claims["iat"]), float(claims["exp"])
        except (ValueError, TypeError, KeyError):
            raise _refused("Invalid JWT: the assertion is not a complete signed token.") from None
        if issuer != CLIENT_EMAIL:
            raise _refused("Invalid grant: account not found")
        signed = f"{header_part}.{claims_part}".encode()
        try:
            _key().public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise _refused("Invalid JWT Signature.") from None
        if algorithm != "RS256":
            raise _refused("Invalid JWT: the algorithm must be RS256.")
        if audience not in self._audiences:
            raise _refused("Invalid JWT: Failed audience check.")
        now = time.time()
        if expires < now - CLOCK_SKEW or issued > now + CLOCK_SKEW or not 0 < expires - issued <= LONGEST_LIFE:
            raise _refused("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
        return claims


def _refused(description: str) -> TokenError:
    return TokenError(400, "invalid_grant", description)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
