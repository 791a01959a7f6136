"""What the tests of the sources share."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.data.mirror import Mirror
from tests.data.pictures import picture
from tests.data.stand_in import StandIn, publish


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves anything in the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "lightning-cifar"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A small archive that counts as the published one."""
    return publish(tmp_path / "origin", monkeypatch)


@pytest.fixture
def mirror() -> Iterator[Callable[..., Mirror]]:
    """Start servers of some bytes: `mirror(data, "drops", "well")` drops once, then behaves."""
    running: list[tuple[Mirror, ThreadingHTTPServer]] = []

    def start(data: bytes, *manners: str) -> Mirror:
        made = Mirror(data, list(manners or ("well",)))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                made.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # the other side hanging up is part of the tests

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/archive"
        running.append((made, server))
        return made

    yield start
    for made, server in running:
        made.done.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, four training images and two test images each, as lossless files; and hidden ones."""
    root = tmp_path / "pets"
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("cat", "dog", "newt")):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture(label * 100 + i + (50 if split == "test" else 0)).save(root / split / name / f"{i}.png")
    (root / ".complete").touch()
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "cat" / ".DS_Store").write_text("no image")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each decoding was asked for."""
    from lightning_cifar.data import folder

    counts: list[int] = []
    read_files = folder.read_files

    def counting(paths: list[str], what: str) -> np.ndarray:
        counts.append(len(paths))
        return read_files(paths, what)

    monkeypatch.setattr(folder, "read_files", counting)
    return counts
