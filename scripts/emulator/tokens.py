"""Tokens that look like Azure's: JSON Web Tokens with an expiry date; the signature is not checked."""

import time
from typing import Any

import jwt as pyjwt

from scripts.emulator.messages import RefusalError
from scripts.emulator.state import PRINCIPAL, TENANT

_KEY = "the emulator's key, which is no secret"


def jwt(seconds: float, **claims: Any) -> str:
    """Return a token that expires in so many seconds."""
    now = int(time.time())
    content = {"iat": now, "nbf": now, "exp": int(now + seconds), "tid": TENANT, "oid": PRINCIPAL, **claims}
    return pyjwt.encode(content, _KEY)


def check_token(authorization: str) -> None:
    """Refuse (401) a request whose Authorization header holds no token that is still valid."""
    checks = {"verify_signature": False, "verify_exp": True, "require": ["exp"]}
    try:
        pyjwt.decode(authorization.removeprefix("Bearer "), options=checks)  # type: ignore[arg-type]
    except pyjwt.ExpiredSignatureError as error:
        raise RefusalError(401, "ExpiredAuthenticationToken", "The access token has expired.") from error
    except pyjwt.InvalidTokenError as error:
        raise RefusalError(401, "InvalidAuthenticationToken", "The access token is missing or invalid.") from error
