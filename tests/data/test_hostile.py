"""Images and archives from somebody else: each is read, or named in one line; none takes the machine's memory."""

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path
from threading import Semaphore

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5

from lightning_cifar.data import cifar10, decode
from lightning_cifar.data.cifar10 import Cifar10Source
from lightning_cifar.data.decode import read_files
from lightning_cifar.data.folder import CACHE_FOLDER
from lightning_cifar.errors import UserError
from tests.data.conftest import picture, prepared
from tests.data.stand_in import StandIn, publish

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG that claims a size, with so much of the pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(%pipe%touch marker) (w) file\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(10_000, 9_000), "10000x9000 pixels are more than 89 million: make it smaller"),
        (png(60_000, 60_000), "3600000000 pixels"),
        (EPS, "EPS is a program that draws, no image"),
    ],
    ids=["over the limit", "a bomb", "a program"],
)
def test_an_image_that_would_take_too_much_or_run_is_one_line_with_file_and_remedy(folder, content, why):
    (folder / "train" / "cat" / "2.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read 1 of 12 train images: .*cat/2\.png \(.*{why}.*\); remove or"):
        prepared(folder)
    assert not Path("marker").exists()


def test_a_photo_of_100_megapixels_is_read_at_a_fraction_of_its_size(tmp_path):
    Image.new("RGB", (12_000, 8_400), (10, 200, 30)).save(tmp_path / "x.jpg")
    with pytest.warns(UserWarning, match="1 of 1 train images were resized"):
        (pixels,) = read_files([str(tmp_path / "x.jpg")], "train")
    assert np.abs(pixels.mean((0, 1)) - (10, 200, 30)).max() < 3


def test_large_images_are_decoded_one_after_the_other(folder, monkeypatch):
    at_work, most, to_rgb = Semaphore(100), [], decode._to_rgb

    def count(image: Image.Image) -> np.ndarray:
        with at_work:
            most.append(100 - at_work._value)
            return to_rgb(image)

    monkeypatch.setattr(decode, "_BLOCK", 1)
    monkeypatch.setattr(decode, "_LARGE", 100)
    monkeypatch.setattr(decode, "_to_rgb", count)
    prepared(folder)
    assert most == [1] * 18


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp"])
def test_broken_exif_costs_no_image(tmp_path, exif, name):
    Image.new("RGB", (32, 32), (10, 200, 30)).save(tmp_path / name, exif=exif)
    (pixels,) = read_files([str(tmp_path / name)], "train")
    assert np.abs(pixels.mean((0, 1)) - (10, 200, 30)).max() < 3


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tiff"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (32, 32), (shade, shade, shade)) for shade in (250, 0, 120)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    (pixels,) = read_files([str(tmp_path / name)], "train")
    assert pixels.mean() > 245


def test_a_pipe_among_the_images_is_named_and_not_waited_for(folder):
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    with pytest.raises(UserError, match=r"cat/pipe\.png is a pipe or a device, no image: remove it"):
        prepared(folder)


def cache_file(folder: Path) -> Path:
    return folder / CACHE_FOLDER / "train.npz"


def test_a_cache_that_somebody_else_packed_is_made_anew(folder, decoded):
    prepared(folder)
    with np.load(cache_file(folder)) as file:
        key = file["key"]
    np.savez_compressed(cache_file(folder), key=key, images=np.zeros((2**28,), np.uint8), labels=np.zeros(12, np.int64))
    assert len(prepared(folder).load("train").labels) == 12
    np.savez(cache_file(folder), key=key, images=np.zeros((12, 32, 32, 3), np.uint8), labels=np.zeros(11, np.int64))
    assert np.array_equal(prepared(folder).load("train").images[0].permute(1, 2, 0).numpy(), np.asarray(picture(0)))


def samples() -> list[bytes]:
    """Return one small image of each of many formats."""
    found, exif = [], Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "DDS", "SGI"):
        file = io.BytesIO()
        picture(0, (40, 24)).convert("P" if kind == "GIF" else "RGB").save(file, kind, exif=exif)
        found.append(file.getvalue())
    for mode in ("I;16", "LA", "1", "CMYK"):
        file = io.BytesIO()
        Image.new(mode, (40, 24)).save(file, "TIFF" if mode == "CMYK" else "PNG")
        found.append(file.getvalue())
    return found


def spoilt(content: bytes, changes: list[tuple[int, bytes]], length: int) -> bytes:
    """Return bytes with some overwritten, and cut."""
    data = bytearray(content)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    return bytes(data[: length or None])


edits = st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=8)), max_size=8)
images = st.builds(spoilt, st.sampled_from(samples()) | st.just(EPS), edits, st.integers(0, 4000)) | st.binary()


@FUZZ
@given(st.lists(images, min_size=1, max_size=3))
def test_fuzz_images_each_is_read_or_named_in_one_line(emptied, contents):
    folder = emptied()
    paths = [folder / f"{number}.png" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # that some were resized
        patch.setattr("lightning_cifar.data.decode.say", lambda line: None)
        try:
            assert read_files([str(path) for path in paths], "train").shape == (len(paths), 32, 32, 3)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


@pytest.fixture(scope="module")
def cached(tmp_path_factory) -> tuple[Path, bytes]:
    """A folder of images that has been decoded, and the bytes of its cache."""
    root = tmp_path_factory.mktemp("cached")
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (root / place).mkdir(parents=True)
        picture(1).save(root / place / "1.png")
    prepared(root)
    return root, cache_file(root).read_bytes()


@FUZZ
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), max_size=8),
    cut=st.integers(0, 9000),
)
def test_fuzz_folder_a_spoilt_cache_is_made_anew(cached, edits, cut):
    folder, whole = cached
    cache_file(folder).write_bytes(spoilt(whole, edits, cut))
    source = prepared(folder)
    assert source.load("train").images.shape == (2, 3, 32, 32)
    assert len(source.load("test").labels) == 2


@FUZZ
@given(edits, st.integers(0, 200_000))
def test_fuzz_archive_any_but_the_published_one_is_refused_and_nothing_is_unpacked(
    tmp_path_factory, emptied, edits, length
):
    folder = emptied()
    with pytest.MonkeyPatch.context() as patch:
        published = publish_once(tmp_path_factory, patch)
        content = published.archive.read_bytes()
        altered = spoilt(content, edits, length)
        (folder / CIFAR10.filename).write_bytes(altered)
        source = Cifar10Source(folder, mirrors=())
        if altered == content:
            source.prepare()
        else:
            with pytest.raises(UserError, match="is truncated or not the published archive"):
                source.prepare()
            assert {path.name for path in folder.iterdir()} <= {CIFAR10.filename, f".{CIFAR10.filename}.lock"}


_PUBLISHED: list[tuple[StandIn, type]] = []


def publish_once(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> StandIn:
    """Let a small archive count as the published one; made once."""
    if not _PUBLISHED:
        stand_in = publish(tmp_path_factory.mktemp("origin"), patch)
        _PUBLISHED.append((stand_in, cifar10.CIFAR10))
    stand_in, names = _PUBLISHED[0]
    patch.setattr(cifar10, "CIFAR10", names)
    return stand_in


@pytest.mark.parametrize(
    ("name", "target"), [("../evil", None), ("/tmp/evil", None), ("evil", "../../x"), ("evil", "/etc/passwd")]
)
def test_even_an_archive_with_the_right_sum_writes_nowhere_else(tmp_path, monkeypatch, name, target):
    published = publish(tmp_path / "origin", monkeypatch)
    member = tarfile.TarInfo(name)
    if target:
        member.type, member.linkname = tarfile.SYMTYPE, target
    with tarfile.open(published.archive, "w:gz") as tar:
        tar.addfile(member)
    monkeypatch.setattr(cifar10.CIFAR10, "tgz_md5", calculate_md5(published.archive))
    with pytest.raises((tarfile.FilterError, UserError)):
        Cifar10Source(published.put_archive(tmp_path / "data").parent, mirrors=()).prepare()
    assert not (tmp_path / "evil").exists() and not Path("/tmp/evil").exists()
