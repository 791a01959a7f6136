"""The record on disk: whole entries only, whatever happened to the disk or to the file."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_cifar.azure.lines import entry_line, is_header
from lightning_cifar.azure.outbox import Outbox, Progress, pending, read_entries, read_header, whole_size
from lightning_cifar.azure.run import RunAddress

ADDRESS = RunAddress("run-1", "e", "w", "g", "s")
ANY_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
entries = st.dictionaries(st.text(), json_values, max_size=4)


def write(folder, calls):
    """Append each list of entries by one call, to a new record."""
    path = folder / "a.jsonl"
    path.unlink(missing_ok=True)
    outbox = Outbox(path, ADDRESS, "v1")
    for call in calls:
        outbox.append("".join(map(entry_line, call)))
    outbox.close()
    return path


def read(path):
    return [entry for entry, _ in read_entries(path) if not is_header(entry)]


@ANY_FOLDER
@given(st.lists(st.lists(entries, min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_was_appended_is_read_back_in_order(tmp_path, calls):
    path = write(tmp_path, calls)
    assert read(path) == [entry for call in calls for entry in call]
    assert read_header(path)[:2] == (ADDRESS, "v1")
    assert list(read_entries(path))[-1][1] == whole_size(path) == path.stat().st_size


@ANY_FOLDER
@given(st.lists(entries, min_size=1, max_size=4), st.data())
def test_of_a_torn_record_every_whole_entry_is_read(tmp_path, appended, data):
    path = write(tmp_path, [appended])
    ends = [end for entry, end in read_entries(path) if not is_header(entry)]
    cut = data.draw(st.integers(0, path.stat().st_size))
    path.write_bytes(path.read_bytes()[:cut])
    assert read(path) == appended[: sum(end <= cut for end in ends)]
    assert whole_size(path) == max((end for _, end in read_entries(path)), default=0)


def test_an_end_that_was_not_sent_counts_as_pending_and_what_is_marked_does_not(tmp_path):
    path = write(tmp_path, [[{"metric": "a"}, {"metric": "b", "skip": "not finite"}, {"end": "Completed"}]])
    assert pending(path) == 2
    Progress(offset=next(end for entry, end in read_entries(path) if "skip" in entry)).write(path)
    assert pending(path) == 1


@pytest.mark.parametrize("room", [0, 10], ids=["nothing", "part of an entry"])
@pytest.mark.parametrize("written", [0, 1], ids=["at the first entry", "later"])
def test_what_is_logged_after_a_full_disk_can_be_read(tmp_path, files_limited_to, room, written):
    outbox = Outbox(tmp_path / "a.jsonl", ADDRESS, "v1")
    for _ in range(written):
        outbox.append(entry_line({"step": 0}))
    with files_limited_to(outbox.size + room):
        for step in (1, 2):
            with pytest.raises(OSError, match="no space"):
                outbox.append(entry_line({"step": step}))
    outbox.append(entry_line({"step": 3}))
    assert [entry["step"] for entry in read(outbox.path)] == [0] * written + [3]
    assert read_header(outbox.path).address == ADDRESS and outbox.size == outbox.path.stat().st_size
