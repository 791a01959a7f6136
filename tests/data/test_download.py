"""A download against mirrors that fail in every way one of them has been seen to."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from lightning_cifar.data.download import any_answers, download
from lightning_cifar.errors import UserError
from tests.data.look_alike import LookAlike
from tests.data.misbehaving import Mirror

Start = Callable[..., Mirror]
Fetch = Callable[..., None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "archive.tar.gz"


@pytest.fixture
def fetch(look_alike: LookAlike, target: Path) -> Fetch:
    archive = look_alike.archive
    return partial(download, target=target, md5=archive.md5, size=archive.size, timeout=0.4)


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_good_mirror_delivers_under_the_final_name_alone(
    mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    fetch([mirror().url])
    assert target.read_bytes() == look_alike.data
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("404", "answers 404"),
        ("503", "answers 503"),
        ("416", "answers 416"),
        ("wrong bytes", "wrong MD5"),
        ("other size", "offers 27 bytes"),
        ("silent", "silent for 0.4 seconds"),
        ("stalls", "silent for 0.4 seconds"),
        ("trickles", "stalled after"),
    ],
)
def test_the_next_mirror_steps_in_and_the_failure_is_told(
    manner: str,
    reason: str,
    mirror: Start,
    fetch: Fetch,
    target: Path,
    look_alike: LookAlike,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad, good = mirror(manner), mirror()
    fetch([bad.url, good.url])
    assert target.read_bytes() == look_alike.data
    told = [line for line in capsys.readouterr().err.splitlines() if bad.url in line]
    assert told
    assert all(reason in line for line in told)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "ftp://example.invalid/x", "nonsense", "http://[bad/x"])
def test_an_address_that_leads_nowhere_is_passed_over(url: str, mirror: Start, fetch: Fetch, target: Path) -> None:
    fetch([url, mirror().url])
    assert target.exists()


def test_a_dropped_download_goes_on_where_it_stopped_at_another_mirror(
    mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    half = look_alike.archive.size // 2
    part_of(target).parent.mkdir()
    part_of(target).write_bytes(look_alike.data[:half])
    good = mirror()
    fetch([mirror("404").url, good.url])
    assert good.ranges == [f"bytes={half}-"]
    assert target.read_bytes() == look_alike.data


def test_a_mirror_that_drops_but_gets_further_is_asked_again(
    mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    only = mirror("drops", "drops", "well")
    fetch([only.url])
    assert target.read_bytes() == look_alike.data
    size = look_alike.archive.size
    assert only.ranges == [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"]


@pytest.mark.parametrize("manner", ["ignores ranges", "416"])
def test_a_mirror_that_cannot_resume_starts_over(
    manner: str, mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    part_of(target).parent.mkdir()
    part_of(target).write_bytes(b"x" + look_alike.data[1:1000])
    fetch([mirror(manner, "ignores ranges").url])
    assert target.read_bytes() == look_alike.data


@pytest.mark.parametrize("extra", [-1000, 0, 1000])
def test_a_part_of_something_else_does_not_spoil_the_only_mirror(
    extra: int, mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    part_of(target).parent.mkdir()
    part_of(target).write_bytes(bytes(look_alike.archive.size + extra))
    fetch([mirror().url])
    assert target.read_bytes() == look_alike.data


def test_when_all_fail_one_line_says_how_and_what_next_and_the_part_is_kept(
    mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    with pytest.raises(UserError) as caught:
        fetch([mirror("404").url, mirror("drops", "404").url])
    message = str(caught.value)
    assert "\n" not in message
    for words in ("answers 404", "--data.mirrors", "--data.source FOLDER", str(target.parent)):
        assert words in message
    assert not target.exists()
    assert part_of(target).read_bytes() == look_alike.data[: look_alike.archive.size // 2]


def test_wrong_bytes_leave_nothing_behind(mirror: Start, fetch: Fetch, target: Path) -> None:
    with pytest.raises(UserError, match="wrong MD5"):
        fetch([mirror("wrong bytes").url])
    assert list(target.parent.iterdir()) == []


def test_a_slow_host_has_the_remedies_named_once(
    mirror: Start, fetch: Fetch, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch([mirror("slow").url], timeout=5, slow_after=0.15, slow_rate=50e6)
    told = capsys.readouterr().err
    assert told.count("is slow") == 1
    assert "--data.mirrors" in told
    assert target.exists()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """As on a full disk, a file takes what fits, and the rest is an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_the_download_continues_later(
    mirror: Start, fetch: Fetch, target: Path, look_alike: LookAlike
) -> None:
    good = mirror()
    with files_limited_to(100_000), pytest.raises(UserError, match=r"^cannot write .*data_dir.*kept"):
        fetch([good.url])
    assert not target.exists()
    fetch([good.url])
    assert good.ranges == [None, "bytes=100000-"]
    assert target.read_bytes() == look_alike.data


def test_a_target_folder_that_is_a_file_is_one_line(mirror: Start, fetch: Fetch, target: Path) -> None:
    target.parent.write_text("in the way")
    with pytest.raises(UserError, match=r"^cannot write [^\n]*$"):
        fetch([mirror().url])


@pytest.mark.parametrize(
    ("manners", "answer"),
    [
        (["silent", "well"], True),
        (["404", "slow"], True),
        (["silent", "404"], False),
        (["other size"], False),
        ([], False),
    ],
)
def test_the_probe_answers_in_time_and_takes_no_login_page_for_the_archive(
    manners: list[str], answer: bool, mirror: Start, look_alike: LookAlike
) -> None:
    begun = time.monotonic()
    urls = [mirror(manner).url for manner in manners]
    assert any_answers(urls, look_alike.archive.size, seconds=1.0) is answer
    assert time.monotonic() - begun < 1.8
