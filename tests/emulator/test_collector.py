"""What a job writes comes back as artifacts, whatever it deletes meanwhile."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.emulator.collector import ORIGIN, Collector
from scripts.emulator.records import Workspace
from scripts.emulator.state import State


def test_a_folder_that_vanishes_while_it_is_looked_through_ends_nothing(tmp_path: Path, monkeypatch) -> None:
    for folder in ("outputs", "logs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").touch()
    state = State(Workspace())
    run = state.add_run("run-1", "e")
    collector = Collector(state, run, [SimpleNamespace(work=tmp_path)])  # type: ignore[list-item]
    rglob = Path.rglob

    def vanishing(folder: Path, pattern: str):
        if folder.name == "outputs":
            raise FileNotFoundError(folder / "b")
        return rglob(folder, pattern)

    monkeypatch.setattr(Path, "rglob", vanishing)
    collector._scan(final=True)
    assert state.artifacts[ORIGIN, run.container] == ["logs/a.txt"]
    monkeypatch.undo()
    collector._scan(final=True)
    assert sorted(state.artifacts[ORIGIN, run.container]) == ["logs/a.txt", "outputs/a.txt"]


@pytest.mark.parametrize("folder", ["outputs", "logs"])
def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    state = State(Workspace())
    Collector(state, state.add_run("run-1", "e"), [SimpleNamespace(work=tmp_path)])._scan(final=True)
