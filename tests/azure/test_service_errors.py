"""What an SDK's exception says about the service's answer, and how often is asked again."""

import contextlib
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from urllib3.exceptions import MaxRetryError, ResponseError

from lightning_cifar.azure.service_errors import http_status, one_line, retried, retry_after


class SDKError(Exception):
    """As the SDKs' exceptions: the HTTP answer, or the exception behind it, is an attribute."""

    def __init__(self, message="", **attributes):
        super().__init__(message)
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SDKError(status_code=404), 404),
        (SDKError(response=SimpleNamespace(status_code=503)), 503),
        (SDKError("wrapped", inner_exception=SDKError(status_code=409)), 409),
        (SDKError("wrapped", __cause__=SDKError(status_code=429)), 429),
        (RuntimeError("wrapped", SDKError(status_code=500)), 500),
        (MaxRetryError(None, "/", ResponseError("too many 503 error responses")), 503),
        (RuntimeError("Received bad response. Response Code: 403\nHeaders"), 403),
        (RuntimeError("HTTP status code=412"), 412),
        (SDKError("in text: code 500", status_code=404), 404),
        (SDKError(status_code=200), None),
        (RuntimeError("500 images at step 404"), None),
        (ConnectionResetError("reset"), None),
        (None, None),
    ],
)
def test_the_status_is_found_wherever_the_sdk_has_put_it(error, status):
    assert http_status(error) == status


def answer(status, retry_after):
    """As `requests` has it, whose headers know no case."""
    return SDKError(response=SimpleNamespace(status_code=status, headers={"Retry-After": retry_after}))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (answer(429, "7"), 7),
        (SDKError("wrapped", inner_exception=answer(503, "7")), 7),
        (RuntimeError('Code: 429 Headers: {\n    "Date": "x",\n    "Retry-After": "7"\n}'), 7),
        (lambda: answer(429, formatdate(time.time() + 3600, usegmt=True)), 3600),  # an hour from the test's time on
        (lambda: answer(429, formatdate(time.time() - 3600, usegmt=True)), 0),
        (answer(429, "soon"), 0),
        (answer(500, "7"), 0),
        (SDKError(status_code=429), 0),
        (None, 0),
    ],
)
def test_how_long_a_busy_service_asks_to_be_left_alone(error, seconds):
    assert retry_after(error() if callable(error) else error) == pytest.approx(seconds, abs=60)
    assert seconds != 7 or retry_after(error) == 7


@pytest.mark.parametrize(
    ("errors", "asked", "raises"),
    [([], 1, None), (["passing"] * 2, 3, None), (["passing"] * 3, 3, "passing"), (["for good"], 1, "for good")],
)
def test_what_may_pass_is_asked_for_again_after_each_pause_and_nothing_else_is(errors, asked, raises):
    calls = []

    def ask():
        calls.append(1)
        if len(calls) <= len(errors):
            raise RuntimeError(errors[len(calls) - 1])
        return "answer"

    with pytest.raises(RuntimeError, match=raises) if raises else contextlib.nullcontext():
        assert retried(ask, lambda error: "passing" in str(error), [0.0, 0.0]) == "answer"
    assert len(calls) == asked


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "Max retries exceeded with url: /a/b.png?sv=2019&sig=Zm9v%2BYmFy%3D&se=1 (timed out)",
            "sig=…&se=1 (timed out)",
        ),
        ("address 'https://a/b?sig=Zm9v'", "address 'https://a/b?sig=…'"),
        ("{'Authorization': 'Bearer abc.def-ghi'}", "{'Authorization': 'Bearer …"),
        ("token eyJhbGciOi.eyJydW4iOi.c2lnbmVk refused", "token … refused"),
    ],
)
def test_no_secret_of_an_error_is_kept(said, kept):
    line = one_line(RuntimeError(said))
    assert kept in line
    assert not any(secret in line for secret in ("Zm9v", "abc", "eyJ", "c2lnbmVk"))
