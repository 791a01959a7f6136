"""Put images into the workspace's datastore: `python -m scripts.upload_data FOLDER`, `make upload-data`.

What is already there with the same content is skipped, so an interrupted upload goes on where it was.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cifar.errors import UserError
from scripts import console
from scripts.azure import snapshot, workspace

if TYPE_CHECKING:
    from azureml.core import Workspace

ROOT = Path(__file__).resolve().parent.parent

ARCHIVE = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
"""The official CIFAR-10, packed and unpacked."""

_CONNECTIONS = 16
"""Uploads at a time: images of a few kB wait for the network, not for this machine."""


def main(arguments: Sequence[str]) -> int:
    """Upload a folder of images or the official archive."""
    parser = console.Parser("upload_data", usage="python -m scripts.upload_data FOLDER [FLAGS]", description=__doc__)
    parser.add_argument("folder", help="train/<class>/* and test/<class>/*, or the official CIFAR-10 archive")
    parser.add_argument("--datastore", metavar="NAME", help="default: the workspace's own")
    parser.add_argument("--to", metavar="PATH", help="in the datastore (default: the folder's name)")
    workspace.add_flags(parser)
    args = parser.parse_args(arguments)
    if not args.folder:  # `make upload-data` without DATA=
        raise UserError("no folder given: make upload-data DATA=FOLDER")
    folder = Path(args.folder)
    files = choose(folder)
    path = args.to.strip("/") if args.to else re.sub(r"[^\w.-]+", "-", folder.resolve().name.split(".tar")[0])
    azure = workspace.connect(workspace.find(args, ROOT), args.auth)
    datastore = find_datastore(azure, args.datastore)
    upload(files, path, datastore)
    console.say(f"train on it: make submit DATA={datastore.name}:{path}")
    return 0


def choose(folder: Path) -> dict[str, Path]:
    """List what is to be uploaded: the name below the target, and the file.

    Raises:
        UserError: it is neither a folder of images nor the official archive.
    """
    if folder.name == ARCHIVE[0] and folder.is_file():
        return {folder.name: folder}
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give one with train/<class>/* and test/<class>/*, or {ARCHIVE[0]}")
    for name in ARCHIVE:
        if (folder / name).exists():
            return dict(_below(folder, folder / name))
    parts = [folder / part for part in ("train", "test")]
    missing = [part.name for part in parts if not part.is_dir()]
    if missing:
        raise UserError(f"{folder} has no {' and no '.join(missing)} folder; images lie in train/<class>, test/<class>")
    files = dict(pair for part in parts for pair in _below(folder, part))
    if not files:
        raise UserError(f"{folder} holds no files; images lie in train/<class> and test/<class>")
    return files


def _below(root: Path, place: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted([place] if place.is_file() else place.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            yield file.relative_to(root).as_posix(), file


def find_datastore(azure: "Workspace", name: str | None) -> Any:
    """Open a datastore.

    Raises:
        UserError: there is none of that name, or it is no blob storage.
    """
    from scripts.azure import sdk_v1

    datastore = sdk_v1.find_datastore(azure, name)
    if not hasattr(datastore, "blob_service"):
        raise UserError(f"datastore {datastore.name} is no blob storage; choose another with --datastore")
    return datastore


def upload(files: dict[str, Path], path: str, datastore: Any) -> None:
    """Upload what is not there yet, several files at a time.

    Raises:
        UserError: the storage refuses or cannot be reached; what is up already stays.
    """
    from azureml._vendor.azure_storage.blob import ContentSettings

    from scripts.azure.service_errors import explained

    container = datastore.blob_service.get_container_client(datastore.container_name)
    with explained(f"the content of {datastore.name}:{path}"):
        there = {blob.name: blob for blob in container.list_blobs(name_starts_with=f"{path}/")}

    def send(name: str) -> bool:
        target, file = f"{path}/{name}", files[name]
        content = file.read_bytes()
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        old = there.get(target)
        if old is not None and old.size == len(content) and _digest(old) == digest:
            return False
        # The digest is stored with the blob, since the service itself knows none for what comes in blocks.
        settings = ContentSettings(content_type="application/octet-stream", content_md5=bytearray(digest))
        container.upload_blob(target, content, overwrite=True, content_settings=settings)
        return True

    with explained(f"the upload to {datastore.name}:{path}; call it again to go on"):
        sent = [name for name, new in zip(files, _with_progress(send, files), strict=True) if new]
    size = sum(files[name].stat().st_size for name in sent)
    console.say(
        f"{datastore.name}:{path} holds {len(files)} files; "
        f"uploaded {len(sent)} ({snapshot.megabytes(size)}), {len(files) - len(sent)} were there already"
    )
    strangers = there.keys() - {f"{path}/{name}" for name in files}
    if strangers:
        console.say(f"note: {len(strangers)} other files lie there too, for instance {min(strangers)}")


def _with_progress(send: Any, files: dict[str, Path]) -> Iterator[bool]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(_CONNECTIONS) as pool:
        try:
            yield from progress.track(pool.map(send, files), total=len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _digest(blob: Any) -> bytes | None:
    md5 = blob.content_settings.content_md5
    return base64.b64decode(md5) if isinstance(md5, str) else bytes(md5) if md5 else None


if __name__ == "__main__":
    console.run(main)
