"""What a job finds on its nodes: its snapshot and its data, and nothing of other nodes or of the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.emulator import isolation
from scripts.emulator.node import Node
from tests.deadline import deadline, wait_until
from tests.emulator.conftest import pytorch

STORE = {"dataStoreName": "workspaceblobstore"}


@pytest.mark.parametrize("method", [isolation.method(), isolation.RANDOM_PATHS])
def test_a_node_finds_nothing_of_another(azure, submit, monkeypatch, method: str) -> None:
    if method == isolation.RANDOM_PATHS:
        monkeypatch.setattr(isolation, "_unshare", lambda: None)
    code = """
        import os, pathlib, time
        rank = os.environ["RANK"]
        pathlib.Path("mine.txt").write_text(rank)
        print("written", flush=True)
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        print(rank, pathlib.Path("mine.txt").read_text(), len(list(pathlib.Path("../..").glob("*/wd/mine.txt"))))
    """
    job = azure.start_job(submit({"say.py": code}, script="say.py", **pytorch(2, 2)))
    wait_until(lambda: job.log.count("written") == 2)
    for folder in job.folders:
        (folder / "go").touch()
    assert job.wait(deadline(3)) == "Completed"
    # Without namespaces nothing is hidden from a process that searches, but every node has its own folder.
    found = "1" if method == isolation.NAMESPACES else "2"
    assert job.log.split() == ["written", "0", "0", found, "written", "1", "1", found]
    assert len({folder.parent for folder in job.folders}) == 2
    assert all(folder.parent.stat().st_mode & 0o777 == 0o700 for folder in job.folders)


def test_mounted_data_can_be_read_and_not_written(azure, submit, tmp_path) -> None:
    (tmp_path / "cat.png").write_text("meow")
    azure.mount("cifar", tmp_path)
    code = """
        import pathlib, sys
        print(pathlib.Path(sys.argv[1], "cat.png").read_text())
        try:
            pathlib.Path(sys.argv[1], "new").touch()
        except OSError as error:
            print(error.strerror)
    """
    data, arguments = (
        {"images": STORE | {"pathOnDataStore": "cifar", "mode": "mount"}},
        ["$AZUREML_DATAREFERENCE_images"],
    )
    run_id = submit({"say.py": code}, script="say.py", arguments=arguments, dataReferences=data)
    assert azure.start_job(run_id).wait(deadline(3)) == "Completed"
    printed = azure.job(run_id).log.splitlines()
    if isolation.method() == isolation.NAMESPACES:
        assert printed == ["meow", "Read-only file system"] and not (tmp_path / "new").exists()
    assert printed[0] == "meow"


def test_an_editable_installation_does_not_reach_into_a_job(tmp_path: Path) -> None:
    # What `pip install --editable` leaves in an interpreter: an entry of a .pth file, or a finder of its own.
    node = Node(0, tmp_path / "node")
    node.prepare({})
    code = """if True:
        import runpy, sys, types
        class Finder: pass
        Finder.__module__ = "__editable___project_finder"
        sys.meta_path.append(Finder)
        sys.path[:0] = [sys.argv[1] + "/checkout", sys.argv[1] + "/node/wd"]
        before = len(sys.path)
        runpy.run_path(sys.argv[1] + "/node/site/sitecustomize.py")
        print(before - len(sys.path), Finder in sys.meta_path, sys.path[0].endswith("wd"))
    """
    command = [sys.executable, "-I", "-c", code, str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == "1 False True\n"
