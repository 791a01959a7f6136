"""A pytest plugin for tests of programs that use azureml-core: `pytest -p scripts.emulator.pytest_plugin`.

README.md in this folder has an example.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.emulator.service import Emulator


@contextmanager
def strict_emulator(run_jobs: bool = False) -> Iterator[Emulator]:
    """Run an emulator for a block; fail at its end if a request was not expected."""
    with Emulator(run_jobs=run_jobs) as emulator:
        yield emulator
        unexpected = emulator.unexpected
    assert not unexpected, f"requests that the emulator did not expect: {unexpected}"


@pytest.fixture
def azureml() -> Iterator[Emulator]:
    """Yield a running emulator of Azure ML, a fresh one for each test.

    A request that the emulator does not know fails the test at its end: to an unknown host, to an unknown path, or one
    that it could not answer. `Emulator.forgive` excuses requests that a test provokes.
    """
    with strict_emulator() as emulator:
        yield emulator
