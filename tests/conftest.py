"""What the tests share."""

from collections.abc import Iterator

import pytest

from scripts.standin import StandIn


@pytest.fixture
def azure() -> Iterator[StandIn]:
    """Yield a running loopback Azure ML; a request that it did not expect fails the test."""
    with StandIn() as service:
        yield service
        unexpected = service.unexpected
    assert not unexpected, f"requests that the stand-in did not expect: {unexpected}"
