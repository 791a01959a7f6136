"""What an SDK raises, in words for a user."""

import pytest

from lightning_cifar.errors import UserError
from scripts.azure.service_errors import explained, explanation, may_pass


@pytest.mark.parametrize(
    ("text", "says", "passes"),
    [
        ("Error retrieving the environment definition. Code: 404\n: {}", "not found: it", False),
        ("Operation returned an invalid status code '429'", "Azure ML answered 429 for it", True),
        ("too many 503 error responses", "Azure ML answered 503 for it", True),
        ("status code 403", "not allowed: it (403", False),
        ('{"error": {"message": "the \\"quota\\" is used up"}}', 'it: the \\"quota\\" is used up', False),
        ("run cifar10_1795481038_404 is 500 s old", "it: run", False),
        ("AADSTS7000215: no such secret", "sign-in refused for it", False),
    ],
)
def test_what_happened_and_what_next(text: str, says: str, passes: bool) -> None:
    error = Exception(text)

    assert explanation(error, "it").startswith(says)
    assert may_pass(error) == passes


def test_a_silent_host_is_named_and_asked_again() -> None:
    error = ConnectionError("HTTPSConnectionPool(host='eastus.api.azureml.ms', port=443): Max retries exceeded")

    assert explanation(error, "it").startswith("cannot reach Azure ML for it (no answer from eastus.api.azureml.ms);")
    assert may_pass(error)


def test_an_explanation_holds_no_signature_of_an_address() -> None:
    with pytest.raises(UserError) as raised, explained("the upload"):
        raise OSError("PUT https://a.blob.core.windows.net/c/b?sv=1&sig=s3cret%3D failed")

    assert "sig=…" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_mistake_of_this_program_is_not_dressed_up() -> None:
    with pytest.raises(TypeError), explained("the upload"):
        raise TypeError("a bug")
