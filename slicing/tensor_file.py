"""A file of named arrays and settings: safetensors with a checksum.

The format (https://github.com/huggingface/safetensors) is a JSON header and raw numbers: reading
it executes nothing, and there are readers in many languages.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from slicing.errors import InputError
from slicing.files import open_regular, replacing
from slicing.memory import TooLargeError, demand

# What reading a header raises that is none.
_UNREADABLE = (
    SafetensorError, ValueError, LookupError, TypeError, AttributeError, RecursionError
)  # fmt: skip
# As safetensors itself has it, in bytes.
_LONGEST_HEADER = 100_000_000

Arrays = Mapping[str, NDArray[Any]]


def pack(kind: str, settings: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Pack settings and arrays into the bytes of a file.

    Parameters
    ----------
    kind : str
        Name and version of the content: other files are refused.
    settings : mapping
        Values that JSON can express.
    arrays : mapping of str to ndarray
    """
    text = json.dumps(settings, separators=(",", ":"))
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # One entry: the library writes several in random order, and equal engines must be equal bytes.
    return bytes(save(contiguous, {kind: f"{_checksum(text, contiguous)} {text}"}))


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path, durable=True) as file:
        file.write(content)


def read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the settings and arrays of a file.

    It takes about twice the memory of the file, more where int8 becomes float32, and none to speak
    of where it is of another kind.

    Raises
    ------
    InputError
        Where the file does not exist, is of another kind, cut short, damaged, or needs more than
        the memory or its bound, see :mod:`slicing.memory`.
    """
    what = f"a file of a {kind.rpartition(' ')[0]}"
    try:
        with open_regular(path) as file:
            start, metadata, unpacked = _header(file)
            if kind in metadata:
                size = os.fstat(file.fileno()).st_size
                way_out = "give a smaller one, or take a larger machine"
                demand(size + unpacked, f"{path} takes", way_out)
            arrays = load(start + file.read()) if kind in metadata else {}
    except TooLargeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else []
        give = inside[0] if len(inside) == 1 else what
        raise InputError(f"{path} cannot be read ({reason}): give {give}.") from error
    except MemoryError as error:
        sentence = f"{path} is larger than the memory that is free: give {what}."
        raise TooLargeError(sentence) from error
    except _UNREADABLE as error:
        raise InputError(f"{path} is not {what}, or is cut short: give a whole one.") from error
    if kind not in metadata:
        raise InputError(f"{path} is not {what}: give one that this version has written.")
    checksum, _, text = metadata[kind].partition(" ")
    if checksum != _checksum(text, arrays):
        raise InputError(f"{path} is damaged, its checksum does not match: make it again.")
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise InputError(f"{path} holds no settings: give one that this version has written.")
    return settings, arrays


def holds(path: Path, kind: str) -> bool:
    """Whether a file is there and says that it is of this kind; nothing else of it is read."""
    try:
        with open_regular(path) as file:
            return kind in _header(file)[1]
    except (OSError, MemoryError, *_UNREADABLE):
        return False


def _header(file: BinaryIO) -> tuple[bytes, dict[str, str], int]:
    """Read the header, and see that the file is as large as it promises, before the rest is read.

    Returns
    -------
    start : bytes
        All that was read.
    metadata : dict of str to str
    unpacked : int
        Bytes of all arrays, when levels in int8 have become float32.
    """
    start, size = file.read(8), os.fstat(file.fileno()).st_size
    length = int.from_bytes(start, "little")
    if 8 + length > min(size, _LONGEST_HEADER):
        raise ValueError("The header is longer than the file, or than any.")
    start += file.read(length)
    entries = json.loads(start[8:])
    metadata = entries.pop("__metadata__", None) or {}
    places = [entry["data_offsets"] for entry in entries.values()]
    if size != 8 + length + max((end for _, end in places), default=0):
        raise ValueError("The size is not the one that the header gives.")
    factors = [4 if entry["dtype"] == "I8" else 1 for entry in entries.values()]
    unpacked = sum(n * (end - begin) for n, (begin, end) in zip(factors, places, strict=True))
    return start, metadata, unpacked


def _checksum(text: str, arrays: Arrays) -> str:
    """CRC-32 of everything: the settings, the names, types and shapes, and the numbers."""
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        value = zlib.crc32(f"{name}{array.dtype.str}{array.shape}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
