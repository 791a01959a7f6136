"""Tell the errors of SDK v1 (azureml-core) from mistakes of this program, and ask it again what may pass."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from azureml._restclient.exceptions import AzureMLRestClientException
from azureml.exceptions import AzureMLException
from msrest.exceptions import ClientException
from requests import RequestException

from azure.core.exceptions import AzureError
from lightning_cifar.azure.service_errors import http_status, retried
from lightning_cifar.errors import UserError
from scripts.azure.service_errors import PAUSES, explanation, may_pass

Answer = TypeVar("Answer")

_KNOWN = (AzureMLException, AzureMLRestClientException, AzureError, ClientException, RequestException, OSError)


def _of_the_sdk(error: BaseException) -> bool:
    return isinstance(error, _KNOWN) or type(error) is Exception  # the SDK raises bare `Exception` as well


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


def find(what: str, question: Callable[[], Answer]) -> Answer | None:
    """Return the service's answer; None where it knows no such thing.

    Raises:
        UserError: as `explained`.
    """

    def found() -> Answer | None:
        try:
            return question()
        except Exception as error:
            if http_status(error) != 404 and not re.search("not (be )?f(ind|ound)", str(error), re.IGNORECASE):
                raise
            return None

    return ask(what, found)


def ask(what: str, question: Callable[[], Answer]) -> Answer:
    """Return the service's answer; ask again where the SDK does not do so itself.

    Raises:
        UserError: as `explained`.
    """
    with explained(what):
        return retried(question, lambda error: _of_the_sdk(error) and may_pass(error), PAUSES)
