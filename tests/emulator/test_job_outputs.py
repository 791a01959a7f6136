"""What a job writes is among its run's artifacts: while it runs, at its end, and whatever it deletes meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from scripts.emulator.node import Node
from scripts.emulator.uploader import Uploader
from tests.deadline import deadline, wait_until


def test_logs_and_outputs_can_be_read_while_the_job_runs(azure, submit) -> None:
    code = """
        import pathlib, time
        print("under way", flush=True)
        pathlib.Path("outputs/early.txt").write_text("early")
        while not pathlib.Path("stop").exists():
            time.sleep(0.01)
    """
    run_id = submit({"say.py": code}, script="say.py")
    job = azure.start_job(run_id)
    wait_until(lambda: "outputs/early.txt" in azure.artifacts(run_id))
    assert azure.artifacts(run_id)["outputs/early.txt"] == b"early"
    assert azure.artifacts(run_id)["user_logs/std_log.txt"] == b"under way\n"
    assert azure.run(run_id).status == "Running"
    (job.folders[0] / "stop").touch()
    assert job.wait(deadline(3)) == "Completed"


@pytest.fixture
def nodes(tmp_path: Path) -> list[Node]:
    """Two nodes of a run."""
    nodes = [Node(rank, tmp_path / str(rank)) for rank in range(2)]
    for node in nodes:
        node.prepare({})
    return nodes


@pytest.fixture
def scan(azure: Emulator, nodes: list[Node]) -> Callable[[bool], dict[str, bytes]]:
    """Look once for what the nodes have written, and return what has been uploaded by now."""
    uploader = Uploader(azure.state, azure.state.add_run("run-1", "e"), nodes)

    def scan(final: bool) -> dict[str, bytes]:
        uploader.scan(final)
        return azure.artifacts("run-1")

    return scan


def test_a_file_is_taken_when_it_has_stopped_to_grow(nodes, scan) -> None:
    file = nodes[0].work / "outputs" / "a.txt"
    for content in ("h", "half"):
        file.write_text(content)
        assert not scan(False)
    assert scan(False) == {"outputs/a.txt": b"half"}
    file.write_text("whole")
    assert scan(True) == {"outputs/a.txt": b"whole"}


def test_of_a_file_that_several_nodes_write_the_lowest_nodes_is_kept(nodes, scan) -> None:
    for node in nodes:
        (node.work / "outputs" / "same.txt").write_text(str(node.rank))
        (node.work / "outputs" / f"only-{node.rank}.txt").touch()
    assert scan(True) == {"outputs/same.txt": b"0", "outputs/only-0.txt": b"", "outputs/only-1.txt": b""}


def test_a_folder_that_vanishes_during_a_scan_is_scanned_the_next_time(nodes, scan, monkeypatch) -> None:
    for folder in ("outputs", "logs"):
        (nodes[0].work / folder / "a.txt").touch()
    rglob = Path.rglob

    def vanishing(folder: Path, pattern: str):
        if folder.name == "outputs":
            raise FileNotFoundError(folder / "b")
        return rglob(folder, pattern)

    monkeypatch.setattr(Path, "rglob", vanishing)
    assert set(scan(True)) == {"logs/a.txt"}
    monkeypatch.undo()
    (nodes[1].work / "logs").rmdir()
    assert set(scan(True)) == {"logs/a.txt", "outputs/a.txt"}
