"""What the tests of the sources share."""

import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lightning_cifar.data.archive import OFFICIAL
from lightning_cifar.data.cifar10 import CLASS_NAMES
from tests.data.look_alike import LookAlike, batch_of
from tests.data.misbehaving import Mirror


@pytest.fixture
def look_alike(tmp_path: Path) -> LookAlike:
    folder = tmp_path / "origin" / OFFICIAL.folder
    folder.mkdir(parents=True)
    for seed, name in enumerate([*OFFICIAL.train, *OFFICIAL.test]):
        (folder / name).write_bytes(pickle.dumps(batch_of(seed), protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASS_NAMES)}, protocol=2))
    path = folder.parent / OFFICIAL.file_name
    made = LookAlike(path, folder, OFFICIAL, b"")
    made.archive = made.pack(path)
    made.data = path.read_bytes()
    return made


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves anything in the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "lightning-cifar"


@pytest.fixture
def mirror(look_alike: LookAlike) -> Iterator[Callable[..., Mirror]]:
    """Start servers of the look-alike archive: `mirror("drops", "well")` drops once, then behaves."""
    running: list[tuple[Mirror, ThreadingHTTPServer]] = []

    def start(*manners: str) -> Mirror:
        made = Mirror(look_alike.data, list(manners or ("well",)))

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
        made.url = f"http://127.0.0.1:{server.server_port}/{look_alike.path.name}"
        running.append((made, server))
        return made

    yield start
    for made, server in running:
        made.done.set()
        server.shutdown()
        server.server_close()
