"""Upload images to the workspace's datastore: `python -m scripts.upload_data FOLDER`, `make upload-data`.

What is already there with the same content is skipped, so an interrupted upload goes on where it was. With SDK v2 the
folder becomes a data asset as well: its version is made of its content, and each version has a folder of its own.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import track

from lightning_cifar.errors import UserError
from lightning_cifar.files import is_hidden
from scripts import console
from scripts.azure import snapshot, submitter, workspace
from scripts.azure.job import DatastorePath
from scripts.azure.preflight import ARCHIVE
from scripts.azure.submitter import Datastore

ROOT = Path(__file__).resolve().parent.parent

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
    sdk = args.sdk or workspace.SDKS[0]
    azure = submitter.connect(workspace.find(args, ROOT), args.auth, sdk)
    store = azure.datastore(args.datastore)
    if not store.is_blob_storage:
        raise UserError(f"datastore {store.name} is no blob storage; choose another with --datastore")
    if not azure.has_assets:
        upload(files, path, store)
        print(f"train on it: make submit DATA={store.name}:{path}")
        return 0
    version = content_version(files)
    place = DatastorePath(store.name, f"{path}/{version}")
    upload(files, place.path, store)
    print(f"train on it: make submit SDK={sdk} DATA={azure.make_asset(path.replace('/', '-'), version, place)}")
    return 0


def choose(folder: Path) -> dict[str, Path]:
    """List what is to be uploaded, name below the target and file; a UserError for neither images nor the archive."""
    if folder.name == ARCHIVE[0] and folder.is_file():
        return {folder.name: folder}
    for name in ARCHIVE:
        if (folder / name).exists():
            return dict(_below(folder, folder / name))
    if not folder.exists():
        raise UserError(f"{folder} does not exist; check DATA=FOLDER")
    files = {part: dict(_below(folder, folder / part)) for part in ("train", "test")}
    if missing := [part for part, found in files.items() if not found]:
        raise UserError(f"{folder} has no images in {' and '.join(missing)}; they lie in train/<class>, test/<class>")
    return files["train"] | files["test"]


def _below(root: Path, place: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted([place] if place.is_file() else place.rglob("*")):
        name = file.relative_to(root)
        if file.is_file() and not any(map(is_hidden, name.parts)):  # as training passes them over
            yield name.as_posix(), file


def content_version(files: dict[str, Path]) -> str:
    """Return a version that changes with the name or the content of any file, and with nothing else."""
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        with file.open("rb") as content:
            digest.update(f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def upload(files: dict[str, Path], path: str, store: Datastore) -> None:
    """Upload what is not there yet, several files at a time; what is up stays where the storage fails."""
    there = store.files(f"{path}/")

    def send(name: str) -> bool:
        content = files[name].read_bytes()
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        if there.get(f"{path}/{name}") == (len(content), digest):
            return False
        store.upload(f"{path}/{name}", content, digest)
        return True

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        new = list(track(pool.map(send, files), "uploading", total=len(files)))
    sent = [name for name, is_new in zip(files, new, strict=True) if is_new]
    size = sum(files[name].stat().st_size for name in sent)
    print(
        f"{store.name}:{path} holds {len(files)} files; "
        f"uploaded {len(sent)} ({snapshot.megabytes(size)}), {len(files) - len(sent)} were there already"
    )
    if strangers := there.keys() - {f"{path}/{name}" for name in files}:
        print(f"note: {len(strangers)} other files lie there too, for instance {min(strangers)}")


if __name__ == "__main__":
    console.run(main)
