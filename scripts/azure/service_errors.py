"""Explain an SDK's exception in one line with a remedy; retry what may pass. No SDK is imported for it."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lightning_cifar.azure.service_errors import causes, http_status, retried
from lightning_cifar.errors import UserError

Answer = TypeVar("Answer")

PAUSES = [1.0, 2.0, 4.0]
"""Seconds before a question is asked once more."""

PATIENCE = 30.0
"""Seconds after which a question is not asked once more: with one that no answer comes to, it ends within a minute."""

_SDKS = ("azure", "azureml", "msrest")
_BUSY = (408, 429, 500, 502, 503, 504)
_REFUSED = re.compile("^(Authentication(Error|Exception)|CredentialUnavailableError):|AADSTS|invalid_client")
_UNREACHABLE = re.compile(
    r"^\w*(ConnectionError|Timeout(Error)?|ProxyError|SSLError|MaxRetryError|ClientRequestError|Service(Request|Response)Error):"
)
"""Exceptions of requests, urllib3, msrest and azure-core that stand for a missing answer."""

_LONGEST = 300


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise a UserError about `what` instead of anything that an SDK raises; mistakes of this program stay."""
    try:
        yield
    except Exception as error:
        if not _of_the_sdk(error):
            raise
        raise UserError(explanation(error, what)) from error


def ask(what: str, question: Callable[[], Answer]) -> Answer:
    """Return the service's answer, or what `explained` raises; ask again where the SDK does not do so itself."""
    until = time.monotonic() + PATIENCE

    def passes(error: Exception) -> bool:
        return _of_the_sdk(error) and may_pass(error) and time.monotonic() < until

    with explained(what):
        return retried(question, passes, PAUSES)


def find(what: str, question: Callable[[], Answer]) -> Answer | None:
    """Return the service's answer, or what `explained` raises; None where the service knows no such thing."""

    def found() -> Answer | None:
        try:
            return question()
        except Exception as error:
            if http_status(error) != 404 and not re.search(
                "not (be )?f(ind|ound)|not exist", str(error), re.IGNORECASE
            ):
                raise
            return None

    return ask(what, found)


def explanation(error: BaseException, what: str) -> str:
    """Return what happened to `what` and what to do next, in one line."""
    code, message = http_status(error), _message(error)
    if _is(error, _REFUSED):
        return f"sign-in refused for {what}: {message}; check the account, or choose another way with --auth"
    if "have access to" in message and "subscription" in message:
        return f"not found: the subscription of {what}, among those of this account; check its id in config.json"
    if code in (401, 403):
        return f"not allowed: {what} ({code}: {message}); ask its owner for the role AzureML Data Scientist"
    if code == 404 or re.search(r"not ?found|does ?n[o']t exist|could not be found", message, re.IGNORECASE):
        return f"not found: {what} ({message}); check the names"
    if code in _BUSY:
        return f"Azure ML answered {code} for {what}, several times over; try again in some minutes ({message})"
    if _is(error, _UNREACHABLE):
        host = re.search(r"host='([\w.-]+)'", " ".join(map(str, causes(error))))
        silent = f"no answer from {host[1]}" if host else "no connection"
        return f"cannot reach Azure ML for {what} ({silent}); check the network, the VPN and HTTPS_PROXY"
    return f"{what}: {message}"


def may_pass(error: BaseException) -> bool:
    """Return whether asking once more can help."""
    return http_status(error) in _BUSY or _is(error, _UNREACHABLE)


def answer_was_lost(error: BaseException) -> bool:
    """Return whether the service may have done all the same what it was asked for."""
    return may_pass(error) and http_status(error) != 429


def _of_the_sdk(error: BaseException) -> bool:
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    # The SDK raises bare `Exception` as well; those of requests are OSErrors.
    return isinstance(error, OSError) or type(error) is Exception or not packages.isdisjoint(_SDKS)


def _is(error: BaseException, kind: re.Pattern[str]) -> bool:
    return any(kind.search(f"{type(cause).__name__}: {cause}") for cause in causes(error))


def _message(error: BaseException) -> str:
    """Return an exception's own words: without JSON, rules of `=`, and keys, as signed addresses hold them."""
    text = str(getattr(error, "message", None) or error)
    if found := re.search(r"\(x\) (.+)|\((?:\w+)\) (.+)\nCode: ", text):  # SDK v2's lists of faults, Resource Manager's
        text = found[1] or found[2]
    if found := re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', text):
        text = found[1]
    text = re.sub(r"\b(sig|token|code)=[^&\s'\"]+", r"\1=…", text)
    text = " ".join(re.sub(r"={3,}", " ", text).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
