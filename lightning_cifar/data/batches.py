"""Read the pickled batches of the official archive without running anything that a pickle may hold.

Python's plain unpickler runs whatever a file names, and numpy's own array states can point anywhere in
memory. Here every name that numpy writes stands for a small class of this file, and any other name is
refused.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 3 * 32 * 32


class InvalidBatchError(Exception):
    """A file that is no batch of images; its text is the reason."""


def read_batch(path: Path, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch.

    Args:
        path: the pickled batch.
        classes: the number of classes; labels lie below it.

    Returns:
        Images (N, 3072) as uint8, red before green before blue, row by row; labels (N,) as int64.

    Raises:
        InvalidBatchError: it is no pickle, names code, or holds something else than images and labels.
        OSError: the file cannot be read.
    """
    batch = read_pickle(path)
    data, labels = (_plain(_entry(batch, name)) for name in ("data", "labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (PIXELS,) or not len(data):
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InvalidBatchError(f"its data is {found} instead of uint8 (N, {PIXELS})")
    try:
        numbers = np.asarray(labels)
    except ValueError:
        numbers = np.empty(0)
    if numbers.shape != (len(data),) or numbers.dtype.kind not in "iu":
        raise InvalidBatchError(f"its labels are not one whole number for each of the {len(data)} images")
    if numbers.min() < 0 or numbers.max() >= classes:
        raise InvalidBatchError(f"it has labels outside 0 to {classes - 1}")
    return data, numbers.astype(np.int64)


def read_label_names(path: Path) -> list[str]:
    """Read the class names from the file that goes with the batches.

    Raises:
        InvalidBatchError: it holds no such names.
        OSError: the file cannot be read.
    """
    names = _entry(read_pickle(path), "label_names")
    if not isinstance(names, list):
        raise InvalidBatchError("it holds no list of class names")
    return [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names]


def read_pickle(path: Path) -> object:
    """Read a pickle of plain values and numpy arrays, whichever protocol and numpy wrote it.

    Python 2's strings come as bytes, an array as an object whose `array` makes it.

    Raises:
        InvalidBatchError: it is no pickle, or names anything else.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        try:
            return _Unpickler(file, encoding="bytes").load()
        except OSError:
            raise
        except pickle.UnpicklingError as error:
            raise InvalidBatchError(str(error)) from error
        except Exception as error:  # a crafted or broken pickle can make any step fail in any way
            raise InvalidBatchError(f"it is no pickle of a batch ({type(error).__name__})") from error


def _entry(batch: object, name: str) -> object:
    if not isinstance(batch, Mapping):
        raise InvalidBatchError(f"it holds a {type(batch).__name__} instead of a dict")
    for key in (name, name.encode()):
        if key in batch:
            return batch[key]
    raise InvalidBatchError(f"it has no {name!r}")


def _plain(value: object) -> object:
    if not isinstance(value, _Array):
        return value
    try:
        return value.array()
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidBatchError("it holds a broken array") from error


class _DType:
    """Stands for `numpy.dtype` in a pickle: whole numbers only."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "="
        if self.code not in {"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"}:
            raise pickle.UnpicklingError(f"it holds an array of type {self.code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.order = order if order in {"<", ">"} else "="

    def dtype(self) -> "np.dtype[Any]":
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for `numpy.ndarray` in a pickle: bytes and what they mean, turned into an array at the end."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, Any, Any, Any] = (b"", _DType("u1"), (0,), False)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, raw = state
        self.state = (raw, dtype, shape, fortran)

    def array(self) -> NDArray[Any]:
        raw, dtype, shape, fortran = self.state
        flat = np.frombuffer(raw, dtype.dtype())
        return flat.reshape(shape, order="F" if fortran else "C")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.state = (raw, dtype, shape, order == "F")
    return array


def _scalar(dtype: Any, raw: Any) -> int:
    return int(np.frombuffer(raw, dtype.dtype())[0])


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


_NAMES = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
"""All that a pickled array refers to; `numpy.core` is called `numpy._core` since numpy 2."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _NAMES.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks to run {module}.{name}, which no batch of images needs")
        return known
