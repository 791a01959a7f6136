"""A download against mirrors that fail in every way one of them has been seen to."""

import hashlib
import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_cifar.data import download
from lightning_cifar.errors import UserError
from tests.data.mirror import Mirror
from tests.deadline import deadline

DATA = np.random.default_rng(0).bytes(300_000)

Start = Callable[..., Mirror]
Fetch = Callable[..., None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "archive.tar.gz"


@pytest.fixture
def fetch(target: Path) -> Fetch:
    """Download to `target`, with a limit that no mirror of these tests strikes by being slow."""
    md5 = hashlib.md5(DATA).hexdigest()
    return partial(download.download, target=target, md5=md5, size=len(DATA), timeout=deadline(5))


@pytest.fixture
def serve(mirror: Start) -> Start:
    return partial(mirror, DATA)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been printed."""
    lines: list[str] = []
    monkeypatch.setattr(download, "say", lines.append)
    return lines


@pytest.fixture
def part(target: Path) -> Path:
    """Where an unfinished download lies."""
    target.parent.mkdir()
    return target.with_name(target.name + ".part")


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("404", "answers 404"),
        ("wrong bytes", "wrong MD5"),
        ("other size", "offers 27 bytes"),
        ("drops", "dropped the connection after 150,000 of 300,000 bytes"),
    ],
)
def test_the_next_mirror_steps_in_and_the_failure_is_told(
    manner: str, reason: str, serve: Start, fetch: Fetch, target: Path, said: list[str]
) -> None:
    bad, good = serve(manner, "404" if manner == "drops" else manner), serve()
    fetch([bad.url, good.url])
    assert target.read_bytes() == DATA and [path.name for path in target.parent.iterdir()] == [target.name]
    assert any(bad.url in line and reason in line for line in said)


@pytest.mark.parametrize("manner", ["silent", "stalls"])
def test_a_mirror_that_falls_silent_is_given_up(manner: str, serve: Start, fetch: Fetch, target: Path) -> None:
    with pytest.raises(UserError, match=r"127.0.0.1: silent for 0.2 seconds"):
        fetch([serve(manner, "silent").url], timeout=0.2)
    assert not target.exists()


def test_a_mirror_that_sends_next_to_nothing_is_given_up(
    serve: Start, fetch: Fetch, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=100 * deadline(5))  # at every look much more time has passed than the limit allows
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(UserError, match="answers 404"):
        fetch([serve("well", "404").url])
    assert re.search("stalled after [0-9,]+ of 300,000 bytes", said[1])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "nonsense"])
def test_an_address_that_leads_nowhere_is_passed_over(url: str, serve: Start, fetch: Fetch, target: Path) -> None:
    fetch([url, serve().url])
    assert target.exists()


def test_a_mirror_that_drops_but_gets_further_is_asked_again_and_the_next_goes_on(
    serve: Start, fetch: Fetch, target: Path
) -> None:
    first, second = serve("drops", "drops", "404"), serve()
    fetch([first.url, second.url])
    assert target.read_bytes() == DATA
    assert first.ranges == [None, "bytes=150000-", "bytes=225000-"] and second.ranges == ["bytes=225000-"]


def test_a_mirror_that_cannot_resume_starts_over(serve: Start, fetch: Fetch, target: Path, part: Path) -> None:
    part.write_bytes(b"x" + DATA[1:1000])
    fetch([serve("ignores ranges").url])
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("extra", [-1000, 0, 1000])
def test_a_part_of_something_else_does_not_spoil_the_only_serve(
    extra: int, serve: Start, fetch: Fetch, target: Path, part: Path
) -> None:
    part.write_bytes(bytes(len(DATA) + extra))
    fetch([serve().url])
    assert target.read_bytes() == DATA
    assert list(target.parent.iterdir()) == [target]


def test_when_all_fail_one_line_says_how_and_what_next_and_the_part_is_kept(
    serve: Start, fetch: Fetch, target: Path, part: Path
) -> None:
    remedies = f"--data.mirrors, put the archive into {target.parent}, or .*--data.source FOLDER"
    with pytest.raises(UserError, match=rf"^cannot download [^\n]*answers 404[^\n]*{remedies}$"):
        fetch([serve("404").url, serve("drops", "404").url])
    assert not target.exists() and part.read_bytes() == DATA[: len(DATA) // 2]


def test_a_full_disk_is_one_line_and_the_download_continues_later(
    serve: Start, fetch: Fetch, target: Path, files_limited_to: Callable
) -> None:
    good = serve()
    with files_limited_to(100_000), pytest.raises(UserError, match=r"^cannot write .*data_dir.*kept"):
        fetch([good.url])
    assert not target.exists()
    fetch([good.url])
    assert good.ranges == [None, "bytes=100000-"]
    assert target.read_bytes() == DATA
