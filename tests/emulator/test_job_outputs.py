"""What a job writes is among its run's artifacts, while it runs and at its end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.emulator import Emulator
from scripts.emulator.node import Node
from scripts.emulator.uploader import Uploader


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
