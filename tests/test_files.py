"""Whole files or none, hidden files, and the newest of several runs' files."""

import os
from pathlib import Path, PurePosixPath

import pytest

from lightning_cifar.files import atomic_write, is_hidden, newest, user_cache_folder


class Killed(BaseException):
    pass


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("error", [OSError, Killed])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, before, error):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the n")
        file.flush()
        raise error
    assert (path.read_bytes() if path.exists() else None) == before
    assert [left.name for left in tmp_path.iterdir()] == (["file"] if before else [])


def test_until_the_end_the_old_content_is_read_and_then_the_new(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    with atomic_write(path) as file:
        file.write(b"first")
    with atomic_write(path) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"first"
        (unfinished,) = (left for left in path.parent.iterdir() if left != path)
        assert is_hidden(unfinished.name)
    assert path.read_bytes() == b"second" and list(path.parent.iterdir()) == [path]


def test_each_data_folder_has_its_own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = (user_cache_folder(Path(place)) for place in ("/data/birds", "/old/birds"))
    assert one != other and one.parent == other.parent == tmp_path / "lightning-cifar"
    assert one.name.startswith("birds-") and one == user_cache_folder(Path("/data/../data/birds").resolve())


@pytest.mark.parametrize("of_this_machine", [True, False])
def test_versions_are_compared_as_numbers(tmp_path, of_this_machine):
    names = ["version_9/last.ckpt", "version_10/last.ckpt", "best.ckpt", "version_2/last.ckpt"]
    paths = [tmp_path / name if of_this_machine else PurePosixPath(name) for name in names]
    for age, path in enumerate(paths if of_this_machine else []):
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))  # the highest version is not the last one changed
    assert newest(paths) == paths[1]
    assert newest([*paths[2:3]]) == paths[2]
    assert newest([]) is None
