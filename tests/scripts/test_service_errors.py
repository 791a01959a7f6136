"""What the SDK raises, in words for a user."""

import pytest

from lightning_cifar.errors import UserError
from scripts.azure.service_errors import explained, status


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Error retrieving the environment definition. Code: 404\n: {}", 404),
        ("Operation returned an invalid status code '429'", 429),
        ("too many 503 error responses", 503),
        ("run cifar10_1795481038_404 is 500 s old", None),
    ],
)
def test_the_status_is_found_in_what_the_sdk_only_says(text: str, code: int | None) -> None:
    assert status(Exception(text)) == code


def test_an_explanation_holds_no_signature_of_an_address() -> None:
    with pytest.raises(UserError) as raised, explained("the upload"):
        raise OSError("PUT https://a.blob.core.windows.net/c/b?sv=1&sig=s3cret%3D failed")

    assert "sig=…" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_mistake_of_this_program_is_not_dressed_up() -> None:
    with pytest.raises(TypeError), explained("the upload"):
        raise TypeError("a bug")
