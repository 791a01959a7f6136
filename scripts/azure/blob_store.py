"""Blob storage, as both SDKs hand it out: a datastore's container, and single blobs by an address with a signature."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import requests

from lightning_cifar.files import atomic_write
from scripts.azure.service_errors import ask, explained

_SECONDS = (10, 30)  # for a connection, and between two parts of an answer
_PART = 1 << 20


class BlobStore:
    """A datastore of the workspace; see `scripts.azure.submitter.Datastore`.

    Args:
        name: the datastore's.
        container: azure-storage-blob's client, whichever copy of it an SDK brings; None: no blob storage.
        settings: `ContentSettings` of the same copy.
    """

    def __init__(self, name: str, container: Any, settings: Any) -> None:
        self.name, self.is_blob_storage = name, container is not None
        self._container, self._settings = container, settings

    def holds(self, prefix: str) -> bool:
        """Return whether the path of any file begins with `prefix`."""
        with explained(f"the content of {self.name}:{prefix}"):
            return any(True for _ in self._container.list_blobs(name_starts_with=prefix, results_per_page=1))

    def files(self, prefix: str) -> dict[str, tuple[int, bytes | None]]:
        """Return the files whose path begins with `prefix`: size in bytes, and MD5 where one is stored."""
        with explained(f"the content of {self.name}:{prefix}"):
            blobs = list(self._container.list_blobs(name_starts_with=prefix))
        return {blob.name: (blob.size, _md5(blob)) for blob in blobs}

    def upload(self, path: str, content: bytes, md5: bytes) -> None:
        """Write a file, over an existing one, and its MD5."""
        # With its MD5: the service computes none of what comes in blocks.
        settings = self._settings(content_type="application/octet-stream", content_md5=bytearray(md5))
        with explained(f"the upload to {self.name}:{path}; call it again to go on"):
            self._container.upload_blob(path, content, overwrite=True, content_settings=settings)


def read_signed(what: str, address: str, offset: int = 0) -> bytes:
    """Return a blob from byte `offset` on; empty where a growing one has nothing new, or is not there yet."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    answer = ask(what, partial(requests.get, address, headers=headers, timeout=_SECONDS))
    if answer.status_code == 206:
        return answer.content
    return answer.content[offset:] if answer.ok else b""


def save_signed(what: str, address: str, file: Path) -> None:
    """Copy a blob into a file, which is there as a whole or not at all."""

    def save() -> None:
        with requests.get(address, timeout=_SECONDS, stream=True) as answer, atomic_write(file) as target:
            answer.raise_for_status()
            for part in answer.iter_content(_PART):
                target.write(part)

    ask(what, save)


def _md5(blob: Any) -> bytes | None:
    md5 = blob.content_settings.content_md5
    return base64.b64decode(md5) if isinstance(md5, str) else bytes(md5) if md5 else None
