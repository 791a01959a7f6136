"""A record from somebody else: it runs no code, sends no file of this machine, and signs in nowhere unasked."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_cifar.azure import replay
from lightning_cifar.azure.outbox import FORMAT, Outbox, Progress, entry_line, files_folder, sent_file
from lightning_cifar.azure.run import RunAddress
from lightning_cifar.azure.sharing import shared_file
from lightning_cifar.errors import UserError
from tests.azure.conftest import FAKE, write_record
from tests.azure.memory_service import MemoryService
from tests.deadline import deadline

ADDRESS = RunAddress("run-1", "e", "w", "g", "s")
SECRET = b"this user's own key"
FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def send(record: Path) -> list[bytes]:
    """Send a record within this process; return the contents of the files that were sent."""
    return MemoryService().send(record)


def write(folder: Path, *entries: Any) -> Path:
    """Write a record of these entries, and its folder with one file, `a.txt`."""
    path = folder / "outputs" / "r-media.jsonl"
    for old in (path, sent_file(path)):
        old.unlink(missing_ok=True)
    outbox = Outbox(path, ADDRESS, FAKE)
    outbox.append("".join(map(entry_line, entries)))
    outbox.close()
    files_folder(path).mkdir(exist_ok=True)
    (files_folder(path) / "a.txt").write_bytes(b"own")
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file of this user's that is none of a record's."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id").write_bytes(SECRET)
    return tmp_path / ".ssh" / "id"


def link(folder: Path, name: str, target: Path) -> None:
    (folder / name).symlink_to(target)


HIDDEN_WAYS = {
    "absolute": ("{key}", lambda folder, key: None),
    "upwards": ("../../.ssh/id", lambda folder, key: None),
    "down and upwards": ("x/../../../.ssh/id", lambda folder, key: (folder / "x").mkdir()),
    "a link": ("id", lambda folder, key: link(folder, "id", key)),
    "through a linked folder": ("x/id", lambda folder, key: link(folder, "x", key.parent)),
    "the folder itself is a link": (
        "id",
        lambda folder, key: (folder.rename(f"{folder}-"), folder.symlink_to(key.parent)),
    ),
}


@pytest.mark.parametrize("kind", ["file", "image"])
@pytest.mark.parametrize(("path", "prepare"), HIDDEN_WAYS.values(), ids=HIDDEN_WAYS)
def test_no_file_but_those_beside_the_record_is_sent_or_deleted(tmp_path, key, path, prepare, kind):
    path = path.format(key=key)
    record = write(tmp_path, {kind: "id.txt", "path": path}, {"file": path, "path": path})
    prepare(files_folder(record), key)
    assert send(record) == []
    assert key.read_bytes() == SECRET
    assert sum(Progress.read(record).dropped.values()) == 2 and Progress.read(record).offset == record.stat().st_size


def test_its_own_files_are_sent_and_removed_also_below_a_linked_folder(tmp_path):
    record = write(tmp_path, {"file": "texts/a.txt", "path": "a.txt"})
    (tmp_path / "elsewhere").symlink_to(record.parent)
    assert send(tmp_path / "elsewhere" / record.name) == [b"own"]
    assert not list(files_folder(record).iterdir())


def test_replay_says_what_it_did_not_send_and_steers_no_terminal(fake, tmp_path, key, monkeypatch, capsys):
    name = "\x1b]0;owned\x07\ud800"
    entries = {"file": "k.txt", "path": "../../.ssh/id"}, {"file": "a.txt", "path": "a.txt"}, {"metric": name}
    record = write(tmp_path, *entries, {"confusion_matrix": name, "value": 1})
    monkeypatch.setattr("sys.argv", ["replay", str(record)])
    with pytest.raises(SystemExit) as ended:
        replay.main()
    said = "".join(capsys.readouterr())
    assert ended.value.code == 0 and "3 entries were not sent (no entry of AzureMLLogger's)" in said, said
    assert fake.read("artifacts") == [["a.txt", "own"]] and key.exists()
    assert said.removesuffix("\n").isprintable()


HEADERS = {
    "code": ({}, "os:system", "would run the code 'os:system': name it with --backend"),
    "a server": ({"tracking_uri": "http://evil.example"}, FAKE, "'http://evil.example', which would get your sign-in"),
    "not Azure's": ({"tracking_uri": "azureml://evil.example/x.azureml.ms/"}, FAKE, "which would get your sign-in"),
    "a trick": ({"tracking_uri": "azureml://evil.example\\.api.azureml.ms/w"}, FAKE, "which would get your sign-in"),
    "a user": ({"tracking_uri": "azureml://a.api.azureml.ms@evil.example/w"}, FAKE, "which would get your sign-in"),
    "a folder": ({"tracking_uri": "file:///home"}, FAKE, "which would get your sign-in"),
    "a path": ({"run_id": "../../x"}, FAKE, "calls its run or workspace '../../x': "),
    "dots": ({"workspace": ".."}, FAKE, "calls its run or workspace '..': "),
    "a query": ({"resource_group": "g?x=1"}, FAKE, "calls its run or workspace 'g\\?x=1': "),
    "a number": ({"run_id": 5}, FAKE, "names no run in its first line"),
    "a list": ({"interactive": []}, FAKE, "names no run in its first line"),
}


@pytest.mark.parametrize(("changes", "backend", "message"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_names_code_a_server_or_no_run_is_refused_before_anything_is_run(
    fake, tmp_path, changes, backend, message, monkeypatch
):
    monkeypatch.setattr("lightning_cifar.azure.replay.start_relay", lambda *_, **__: pytest.fail("it was sent"))
    record = write_record(tmp_path / "a.jsonl", 1, RunAddress(**{**asdict(ADDRESS), **changes}), backend)
    with pytest.raises(UserError, match=message.replace("\\.", "..")) as raised:
        replay.replay(record, deadline(1))
    assert len(str(raised.value).splitlines()) == 1


def test_no_log_is_written_through_a_link(fake, record, key):
    link(record.parent, f"{record.name}.log", key)
    with pytest.raises(UserError, match=r"\.log is a link, and would be written to: remove it"):
        replay.replay(record, deadline(1))
    assert key.read_bytes() == SECRET


def test_a_run_called_like_a_path_shares_no_file_elsewhere():
    address = RunAddress("../../x/run", "e", "w", "g", "s")
    assert shared_file(address, "token").parent == shared_file(ADDRESS, "token").parent


@pytest.mark.parametrize(
    "uri",
    [
        "http://server.example:5000",
        "azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/s/resourceGroups/g(1)/providers/"
        "Microsoft.MachineLearningServices/workspaces/w",
        "azureml://chinaeast2.api.ml.azure.cn/mlflow/v1.0/subscriptions/s/workspaces/w",
    ],
)
def test_azures_own_hosts_and_the_server_that_the_user_names_are_sent_to(fake, tmp_path, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server.example:5000/")
    address = RunAddress("run-1", "e", "w", "g", "s", tracking_uri=uri)
    assert "has everything" in replay.replay(write_record(tmp_path / "a.jsonl", 1, address), deadline(30))


texts = st.sampled_from(["a.txt", "../../.ssh/id", "id", "", ".", "/", "x/..", "\0", "a" * 300, "\ud800"]) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("metric", "value", "step", "time", "table", "columns", "rows", "image", "path", "file", "tags", "end")
MORE_FIELDS = ("reason", "skip", "confusion_matrix")
entries = st.dictionaries(st.sampled_from(FIELDS + MORE_FIELDS) | texts, values, max_size=6) | st.one_of(
    st.fixed_dictionaries({"metric": values, "value": values, "step": values, "time": values}),
    st.fixed_dictionaries({"table": values, "columns": values, "rows": values}),
    st.fixed_dictionaries({"file": texts, "path": texts}),
    st.fixed_dictionaries({"image": texts, "path": texts}),
    st.fixed_dictionaries({"end": st.sampled_from(["Completed", "Lost"]) | values, "reason": values}),
    st.fixed_dictionaries({"tags": values}),
)


@FUZZ
@given(st.lists(entries, min_size=1, max_size=5))
def test_fuzz_record_any_entries_are_sent_or_dropped_and_no_other_file_is_touched(emptied, entries):
    folder = emptied()
    (folder / ".ssh").mkdir()
    key = folder / ".ssh" / "id"
    key.write_bytes(SECRET)
    record = write(folder, *entries)
    link(files_folder(record), "id", key)
    assert SECRET not in send(record)
    assert key.read_bytes() == SECRET and Progress.read(record).offset == record.stat().st_size


headers = st.one_of(
    values,
    st.fixed_dictionaries(
        {"format": st.just(FORMAT) | values},
        optional={
            "backend": st.just(FAKE) | values,
            "run": values | st.fixed_dictionaries(dict.fromkeys(asdict(ADDRESS), texts | values)),
        },
    ),
)
progress = st.fixed_dictionaries({}, optional=dict.fromkeys(asdict(Progress()), values)) | values
GOOD = {"format": FORMAT, "backend": FAKE, "run": asdict(ADDRESS)}


@FUZZ
@given(
    st.just(GOOD) | headers,
    st.binary() | st.lists(entries).map(lambda all_: "".join(map(entry_line, all_)).encode()),
    progress,
)
def test_fuzz_replay_any_file_is_sent_or_refused_in_one_line(emptied, header, content, sent):
    record = emptied() / "r.jsonl"
    record.write_bytes(entry_line(header).encode() + content)
    sent_file(record).write_text(json.dumps(sent, default=str))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(replay.backends._BACKENDS, FAKE, FAKE)
        patch.setattr(replay, "_send", lambda file, whole, until: send(file))
        try:
            replay._printable(replay.replay(record)).encode()
        except UserError as error:
            with contextlib.suppress(UnicodeEncodeError):
                replay._printable(str(error)).encode("ascii")
