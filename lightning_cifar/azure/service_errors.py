"""What an SDK's exception says about the service's answer, and asking again; no SDK is imported for it."""

import contextlib
import email.utils
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Answer = TypeVar("Answer")

_CODE = re.compile(r"(?:status.?code|code|error)\W{1,4}([45]\d\d)\b|too many ([45]\d\d) error", re.IGNORECASE)

_RETRY_AFTER = re.compile(r'"Retry-After": "([^"]+)"')
# A JSON Web Token, what stands after `Bearer`, and a signature of blob storage, as its addresses carry it.
_SECRET = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=Bearer )\S+|(?<=[?&]sig=)[^&\s'\")]+", re.IGNORECASE)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and everything that caused it, as Python, urllib3 and the SDKs keep it."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        link = todo.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [getattr(link, "inner_exception", None), getattr(link, "reason", None), link.__cause__]
        todo += [link.__context__, *link.args]


def http_status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an exception of an SDK, wherever that has put it; None where there is none."""
    for link in causes(error):
        for holder in (link, getattr(link, "response", None)):
            code = getattr(holder, "status_code", None)
            if isinstance(code, int) and code >= 400:
                return code
    for link in causes(error):
        if match := _CODE.search(str(link)):
            return int(match[1] or match[2])
    return None


def retry_after(error: BaseException | None) -> float:
    """Return the seconds for which a busy service (429, 503) asks to be left alone; 0: it does not say."""
    if http_status(error) not in (429, 503):
        return 0.0
    for link in causes(error):
        headers = getattr(getattr(link, "response", None), "headers", None) or {}
        in_text = _RETRY_AFTER.search(str(link))  # there SDK v1 has all headers of an answer
        said = str(headers.get("Retry-After") or (in_text[1] if in_text else ""))
        if said.isdecimal():
            return float(said)
        with contextlib.suppress(ValueError):
            return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    return 0.0


def one_line(error: BaseException) -> str:
    """Return an error as one line of at most 200 characters, without what signs in; the SDKs' go on for pages."""
    return " ".join(without_secrets(f"{type(error).__name__}: {error}").split())[:200]


def without_secrets(text: str) -> str:
    """Return a text without the tokens in it and the signatures of addresses, by which anybody could sign in."""
    return _SECRET.sub("…", text)


def retried(ask: Callable[[], Answer], is_passing: Callable[[Exception], bool], pauses: Iterable[float]) -> Answer:
    """Return what `ask` returns, asking once more after each pause (seconds) while it raises what may pass."""
    for pause in pauses:
        try:
            return ask()
        except Exception as error:
            if not is_passing(error):
                raise
        time.sleep(pause)
    return ask()
