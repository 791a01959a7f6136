"""Turn what the SDK raises when Azure ML says no, or says nothing, into one line that a user can act on."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lightning_cifar.errors import UserError

Answer = TypeVar("Answer")

_CODE = re.compile(r"(?:status.?code|code|error)\W{1,4}([45]\d\d)\b", re.IGNORECASE)
_CONNECTION = (
    *("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "Timeout"),
    *(
        "MaxRetryError",
        "NewConnectionError",
        "ClientRequestError",
        "ServiceRequestError",
        "ServiceResponseError",
    ),
)
_BUSY = (408, 429, 500, 502, 503, 504)
_TRIES = 4
_LONGEST = 300


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Run what talks to Azure ML; `what` names the thing that is asked for or done.

    Raises:
        UserError: instead of anything that the SDK or the layers below it raise.
    """
    try:
        yield
    except Exception as error:
        if not _of_the_sdk(error):
            raise
        raise UserError(explanation(error, what)) from error


def retried(ask: Callable[[], Answer]) -> Answer:
    """Ask again where the SDK does not do so itself: up to four times in all, after 1, 2 and 4 seconds."""
    for attempt in range(_TRIES - 1):
        try:
            return ask()
        except Exception as error:
            if not _of_the_sdk(error) or (status(error) not in _BUSY and not _unreachable(error)):
                raise
        time.sleep(2**attempt)
    return ask()


def explanation(error: BaseException, what: str) -> str:
    """Say in one line what happened and what to do next."""
    code = status(error)
    said = _words(error)
    if _refused(error):
        return f"sign-in refused for {what}: {said}; check the account, or choose another way with --auth"
    if "have access to" in said and "subscription" in said:
        return f"not found: the subscription of {what}, among those of this account; check its id in config.json"
    if code in (401, 403):
        return f"not allowed: {what} ({code}: {said}); ask its owner for the role AzureML Data Scientist"
    if code == 404 or re.search(r"not ?found|does ?n[o']t exist|could not be found", said, re.IGNORECASE):
        return f"not found: {what} ({said}); check the names"
    if code in _BUSY:
        return f"Azure ML answered {code} for {what}, several times over; try again in some minutes ({said})"
    if _unreachable(error):
        return f"cannot reach Azure ML for {what} ({_host(error)}); check the network, the VPN and HTTPS_PROXY"
    return f"{what}: {said}"


def status(error: BaseException) -> int | None:
    """Find the HTTP status behind an exception, wherever the SDK has put it; None where there is none."""
    for link in _chain(error):
        for holder in (link, getattr(link, "response", None)):
            code = getattr(holder, "status_code", None)
            if isinstance(code, int) and code >= 400:
                return code
    for link in _chain(error):
        match = _CODE.search(str(link))
        if match:
            return int(match[1])
        if re.search(r"too many (429|500|503) error", str(link)):
            return int(re.findall(r"too many (\d+) error", str(link))[0])
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, as Python and as the SDK keep it."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        link = todo.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [
            getattr(link, "inner_exception", None),
            getattr(link, "reason", None),
            link.__cause__,
            link.__context__,
        ]
        todo += [argument for argument in link.args if isinstance(argument, BaseException)]


def _of_the_sdk(error: BaseException) -> bool:
    """Tell the SDK's errors from mistakes of this program; the SDK raises bare `Exception` as well."""
    from azureml._restclient.exceptions import AzureMLRestClientException
    from azureml.exceptions import AzureMLException
    from msrest.exceptions import ClientException
    from requests import RequestException

    from azure.core.exceptions import AzureError

    known = (
        AzureMLException,
        AzureMLRestClientException,
        AzureError,
        ClientException,
        RequestException,
        OSError,
    )
    return isinstance(error, known) or type(error) is Exception


def _refused(error: BaseException) -> bool:
    return any(
        type(link).__name__ in ("AuthenticationException", "AuthenticationError") for link in _chain(error)
    ) or any("AADSTS" in str(link) or "invalid_client" in str(link) for link in _chain(error))


def _unreachable(error: BaseException) -> bool:
    return any(type(link).__name__ in _CONNECTION for link in _chain(error))


def _host(error: BaseException) -> str:
    """Whom one could not reach; what urllib3 says of it in full means little to a user."""
    found = re.search(r"host='([\w.-]+)'", " ".join(map(str, _chain(error))))
    return f"no answer from {found[1]}" if found else "no connection"


def _words(error: BaseException) -> str:
    """The message of an exception without the SDK's decoration."""
    text = str(getattr(error, "message", None) or error)
    found = re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
    text = found[1] if found else text
    text = re.sub(r"\b(sig|token|code)=[^&\s'\"]+", r"\1=…", text)  # signed addresses are keys
    text = " ".join(re.sub(r"={3,}", " ", text).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
