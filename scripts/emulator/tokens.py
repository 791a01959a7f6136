"""Tokens that look like Azure's: three parts, an expiry date, and a signature nobody checks."""

import base64
import json
import time
from typing import Any

from scripts.emulator.state import PRINCIPAL, TENANT


def jwt(seconds: float, **claims: Any) -> str:
    """Return a JSON Web Token that expires in so many seconds."""
    now = int(time.time())
    content = {"iat": now, "nbf": now, "exp": int(now + seconds), "tid": TENANT, "oid": PRINCIPAL, **claims}
    header = {"alg": "HS256", "typ": "JWT"}
    return ".".join([*(_encode(json.dumps(part).encode()) for part in (header, content)), _encode(b"emulator")])


def job_token(run_id: str, seconds: float) -> str:
    """Return the token that a job's environment carries."""
    return jwt(seconds, runid=run_id, role="Contributor")


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
