"""Blob storage: what the SDK's storage client needs of it."""

import base64
import hashlib
import re
import uuid
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape

from scripts.emulator.messages import RefusalError, Request, Response
from scripts.emulator.routing import Routes
from scripts.emulator.state import State

_PAGE = 5_000
_XML = {"Content-Type": "application/xml"}

# Requests carry a signature instead of a token; it is not checked.
routes = Routes("blobs", r".*\.blob\.core\.windows\.net", public=True)


class BlobRefusalError(RefusalError):
    """An error in blob storage's form: XML, with the code in a header, too."""

    def response(self) -> Response:
        """Return it as an answer."""
        text = f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        content = f'<?xml version="1.0" encoding="utf-8"?>{text}'.encode()
        return Response(self.status, content, _headers(x_ms_error_code=self.code) | _XML)


def _headers(**more: str) -> dict[str, str]:
    stamp = formatdate(usegmt=True)
    return {
        "ETag": '"0x8D0000000000000"',
        "Last-Modified": stamp,
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": "2019-02-02",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def read(state: State, container: str, path: str) -> bytes:
    """Return a blob's content, from what was sent or from a mounted folder; refuse (404) if there is neither."""
    with state.lock:
        content = state.blobs.get(container, {}).get(path)
        mounts = dict(state.mounts.get(container, {}))
    for prefix, folder in mounts.items():
        if content is None and path.startswith(prefix + "/") and (folder / path[len(prefix) + 1 :]).is_file():
            content = folder / path[len(prefix) + 1 :]
    if content is None:
        raise BlobRefusalError(404, "BlobNotFound", "The specified blob does not exist.")
    return content.read_bytes() if isinstance(content, Path) else content


def names(state: State, container: str) -> list[str]:
    """Return the paths of all blobs of a container, in order, including those of mounted folders."""
    with state.lock:
        found, mounts = set(state.blobs.get(container, {})), dict(state.mounts.get(container, {}))
    for prefix, folder in mounts.items():
        found |= {f"{prefix}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*") if file.is_file()}
    return sorted(found)


@routes("PUT", "/{container}/{path:path}")
def put(state: State, request: Request, container: str, path: str) -> Response:
    """Store a whole blob, one block of one, or the list that makes blocks a blob."""
    blobs = state.blobs.setdefault(container, {})
    part = request.query.get("comp")
    if part == "block":
        blocks = state.blocks.setdefault((container, path), {})
        blocks[request.query["blockid"]] = request.body
    elif part == "blocklist":
        blocks = state.blocks.pop((container, path), {})
        wanted = re.findall(r"<(?:Latest|Uncommitted|Committed)>([^<]+)<", request.body.decode())
        blobs[path] = b"".join(blocks[unquote(name)] for name in wanted)
    elif blobs.get(path) and request.headers.get("if-none-match") == "*":
        # An artifact's blob is there, and empty, before its content comes.
        raise BlobRefusalError(409, "BlobAlreadyExists", "The specified blob already exists.")
    else:
        blobs[path] = request.body
    return Response(201, headers=_headers(x_ms_request_server_encrypted="true", Content_MD5=_md5(request.body)))


@routes("GET", "/{container}/{path:path}")
@routes("HEAD", "/{container}/{path:path}")
def get(state: State, request: Request, container: str, path: str) -> Response:
    """Return a blob or a range of it."""
    content = read(state, container, path)
    headers = _headers(Accept_Ranges="bytes", Content_Type="application/octet-stream", x_ms_blob_type="BlockBlob")
    wanted = request.headers.get("x-ms-range") or request.headers.get("range")
    if request.method == "HEAD":
        return Response(200, headers=headers | {"Content-Length": str(len(content)), "Content-MD5": _md5(content)})
    if wanted and (match := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
        first = int(match[1])
        if first >= len(content):
            raise BlobRefusalError(416, "InvalidRange", "The range is invalid for the current size of the resource.")
        last = min(int(match[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Response(206, content[first : last + 1], headers)
    return Response(200, content, headers)


@routes("GET", "/{container}")
def container_list(state: State, request: Request, container: str) -> Response:
    """List the blobs of a container below a prefix, a page at a time."""
    prefix, first = request.query.get("prefix", ""), int(request.query.get("marker") or 0)
    found = [name for name in names(state, container) if name.startswith(prefix)]
    size = min(int(request.query.get("maxresults") or _PAGE), _PAGE)
    more = str(first + size) if first + size < len(found) else ""
    entries = "".join(_entry(state, container, name) for name in found[first : first + size])
    content = (
        f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{escape(container)}">'
        f"<Prefix>{escape(prefix)}</Prefix><Blobs>{entries}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>"
    )
    return Response(200, content.encode(), _headers() | _XML)


def _entry(state: State, container: str, name: str) -> str:
    content = read(state, container, name)
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{formatdate(usegmt=True)}</Last-Modified>"
        f"<Etag>0x8D0000000000000</Etag><Content-Length>{len(content)}</Content-Length>"
        f"<Content-Type>application/octet-stream</Content-Type><Content-MD5>{_md5(content)}</Content-MD5>"
        f"<BlobType>BlockBlob</BlobType></Properties></Blob>"
    )
