"""Explain in one line, and with a remedy, what an SDK raised; no SDK is imported for it."""

import re

from lightning_cifar.azure.service_errors import causes, http_status

PAUSES = [1.0, 2.0, 4.0]
"""Seconds before a question is asked once more."""

_BUSY = (408, 429, 500, 502, 503, 504)
_UNREACHABLE = re.compile(
    "ConnectionError|NewConnectionError|ConnectTimeout|ReadTimeout|Timeout|ProxyError|SSLError|MaxRetryError|"
    "ClientRequestError|ServiceRequestError|ServiceResponseError"
)
"""Names of the exceptions of requests, urllib3, msrest and azure-core that stand for a missing answer."""

_LONGEST = 300


def explanation(error: BaseException, what: str) -> str:
    """Return what happened to `what` and what to do next, in one line."""
    code, message = http_status(error), _message(error)
    if _refused(error):
        return f"sign-in refused for {what}: {message}; check the account, or choose another way with --auth"
    if "have access to" in message and "subscription" in message:
        return f"not found: the subscription of {what}, among those of this account; check its id in config.json"
    if code in (401, 403):
        return f"not allowed: {what} ({code}: {message}); ask its owner for the role AzureML Data Scientist"
    if code == 404 or re.search(r"not ?found|does ?n[o']t exist|could not be found", message, re.IGNORECASE):
        return f"not found: {what} ({message}); check the names"
    if code in _BUSY:
        return f"Azure ML answered {code} for {what}, several times over; try again in some minutes ({message})"
    if _unreachable(error):
        host = re.search(r"host='([\w.-]+)'", " ".join(map(str, causes(error))))
        silent = f"no answer from {host[1]}" if host else "no connection"
        return f"cannot reach Azure ML for {what} ({silent}); check the network, the VPN and HTTPS_PROXY"
    return f"{what}: {message}"


def may_pass(error: BaseException) -> bool:
    """Return whether asking once more can help."""
    return http_status(error) in _BUSY or _unreachable(error)


def _refused(error: BaseException) -> bool:
    return any(
        type(cause).__name__ in ("AuthenticationException", "AuthenticationError")
        or "AADSTS" in str(cause)
        or "invalid_client" in str(cause)
        for cause in causes(error)
    )


def _unreachable(error: BaseException) -> bool:
    return any(_UNREACHABLE.fullmatch(type(cause).__name__) for cause in causes(error))


def _message(error: BaseException) -> str:
    """Return an exception's own words: without JSON, rules of `=`, and keys, as signed addresses hold them."""
    text = str(getattr(error, "message", None) or error)
    if found := re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', text):
        text = found[1]
    text = re.sub(r"\b(sig|token|code)=[^&\s'\"]+", r"\1=…", text)
    text = " ".join(re.sub(r"={3,}", " ", text).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
