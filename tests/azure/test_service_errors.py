"""What an SDK's exception says about the service's answer, and how often is asked again."""

import contextlib
from types import SimpleNamespace

import pytest
from urllib3.exceptions import MaxRetryError, ResponseError

from lightning_cifar.azure.service_errors import http_status, one_line, retried


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
