"""What a job writes is among its run's artifacts: while it runs, at its end, and whatever it deletes meanwhile."""

from pathlib import Path

import pytest

from scripts.emulator.node import Node
from scripts.emulator.records import Workspace
from scripts.emulator.state import State
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


class Job:
    """A run with two nodes, and what was uploaded of them."""

    def __init__(self, folder: Path) -> None:
        self._state = State(Workspace())
        self._run = self._state.add_run("run-1", "e")
        self.nodes = [Node(rank, folder / str(rank)) for rank in range(2)]
        for node in self.nodes:
            node.prepare({})
        self.uploader = Uploader(self._state, self._run, self.nodes)

    def artifacts(self) -> dict[str, bytes]:
        paths = self._state.artifacts.get(("ExperimentRun", self._run.container), [])
        return {path: self._state.blobs["azureml"][f"ExperimentRun/{self._run.container}/{path}"] for path in paths}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_a_file_is_taken_when_it_has_stopped_to_grow(job: Job) -> None:
    file = job.nodes[0].work / "outputs" / "a.txt"
    for content in ("h", "half"):
        file.write_text(content)
        job.uploader.scan(final=False)
        assert not job.artifacts()
    job.uploader.scan(final=False)
    assert job.artifacts() == {"outputs/a.txt": b"half"}
    file.write_text("whole")
    job.uploader.scan(final=True)
    assert job.artifacts() == {"outputs/a.txt": b"whole"}


def test_of_a_file_that_several_nodes_write_the_lowest_nodes_is_kept(job: Job) -> None:
    for node in job.nodes:
        (node.work / "outputs" / "same.txt").write_text(str(node.rank))
        (node.work / "outputs" / f"only-{node.rank}.txt").touch()
    job.uploader.scan(final=True)
    assert job.artifacts() == {"outputs/same.txt": b"0", "outputs/only-0.txt": b"", "outputs/only-1.txt": b""}


def test_a_folder_that_vanishes_during_a_scan_is_scanned_the_next_time(job: Job, monkeypatch) -> None:
    for folder in ("outputs", "logs"):
        (job.nodes[0].work / folder / "a.txt").touch()
    rglob = Path.rglob

    def vanishing(folder: Path, pattern: str):
        if folder.name == "outputs":
            raise FileNotFoundError(folder / "b")
        return rglob(folder, pattern)

    monkeypatch.setattr(Path, "rglob", vanishing)
    job.uploader.scan(final=True)
    assert set(job.artifacts()) == {"logs/a.txt"}
    monkeypatch.undo()
    (job.nodes[1].work / "logs").rmdir()
    job.uploader.scan(final=True)
    assert set(job.artifacts()) == {"logs/a.txt", "outputs/a.txt"}
