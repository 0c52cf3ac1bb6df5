"""The IDX format of MNIST: a big-endian header, then one byte a pixel or label.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, "File formats".
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.files import open_regular

UNSIGNED_BYTE = 0x08
# Enough of a gzip file to unpack the longest header (16 bytes) of an IDX file.
GZIP_START = 4096
# Bytes into which deflate unpacks one, at most: 258 from two bits, and a block's header.
GZIP_RATIO = 1040
# Items that are unpacked at a time.
CHUNK = 4096


def count(path: Path, item_shape: tuple[int, ...]) -> int:
    """Count the items of an IDX file from its header and its size.

    Parameters
    ----------
    path : Path
        An IDX file of unsigned bytes, compressed with gzip if its name ends in ``.gz``.
    item_shape : tuple of int
        ``(height, width)`` for images, ``()`` for labels.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    InputError
        If the file cannot be read, is not such a file, or its size does not fit its header. Other
        damage is found by `read`.
    """
    try:
        with open_regular(path) as file:
            size = most = os.fstat(file.fileno()).st_size
            if path.suffix != ".gz":
                start = file.read(_header_size(item_shape))
            else:
                # Unpacks only the header; the last four bytes are the unpacked size.
                unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                start = unpacker.decompress(file.read(GZIP_START), _header_size(item_shape))
                most = GZIP_RATIO * size
                file.seek(max(0, size - 4))
                size = int.from_bytes(file.read(4), "little")
    except (OSError, zlib.error) as error:
        raise _unreadable(path, error) from error
    n = _promised(path, item_shape, start, most)
    _require_size(path, item_shape, n, size)
    return n


def read(
    path: Path, item_shape: tuple[int, ...], index: NDArray[np.intp] | None = None
) -> NDArray[np.uint8]:
    """Read items of an IDX file.

    It is unpacked piece by piece: memory is taken for the items that are asked for, and the rest
    is only checked.

    Parameters
    ----------
    path, item_shape
        As for `count`.
    index : ndarray of int, optional
        Which items, in any order; by default all.

    Returns
    -------
    ndarray of shape (n, *item_shape), uint8

    Raises
    ------
    InputError
        If the file cannot be read or is not such a file.
    """
    try:
        with open_regular(path) as packed:
            most = os.fstat(packed.fileno()).st_size
            file: BinaryIO = packed
            if path.suffix == ".gz":
                file = cast(BinaryIO, gzip.GzipFile(fileobj=packed))
                most *= GZIP_RATIO
            start = file.read(_header_size(item_shape))
            n = _promised(path, item_shape, start, most)
            index = np.arange(n) if index is None else index
            items = np.empty((len(index), *item_shape), np.uint8)
            size, item_size = len(start), math.prod(item_shape)
            for first in range(0, n, CHUNK):
                content = file.read(min(CHUNK, n - first) * item_size)
                size += len(content)
                n_whole = len(content) // item_size
                chunk = np.frombuffer(content, np.uint8, n_whole * item_size)
                chunk = chunk.reshape(n_whole, *item_shape)
                (chosen,) = np.nonzero((first <= index) & (index < first + len(chunk)))
                items[chosen] = chunk[index[chosen] - first]
            # More than one byte: a file that goes on for gigabytes is not read to its end.
            size += len(file.read(1))
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    _require_size(path, item_shape, n, size)
    return items


def damaged(path: Path, fault: str) -> InputError:
    """Make the error about a file that cannot be used."""
    return InputError(
        f"{path} {fault}: replace it with an intact copy, or delete it if it was downloaded."
    )


def _header_size(item_shape: tuple[int, ...]) -> int:
    return 4 * (2 + len(item_shape))


def _promised(path: Path, item_shape: tuple[int, ...], start: bytes, most: int) -> int:
    """Read from the header how many items there are; the file holds at most ``most`` bytes."""
    kind = "images" if item_shape else "labels"
    header_size = _header_size(item_shape)
    magic = bytes((0, 0, UNSIGNED_BYTE, 1 + len(item_shape)))
    if len(start) < header_size:
        raise damaged(path, "is truncated within its header" if start else "is empty")
    if start[:4] != magic:
        raise damaged(
            path,
            f"does not hold {kind} in IDX format (it starts with {start[:4].hex()}, not with "
            f"{magic.hex()})",
        )
    n: int
    n, *shape = struct.unpack(f">{1 + len(item_shape)}I", start[4:header_size])
    if tuple(shape) != item_shape:
        found, wanted = ("x".join(map(str, dims)) for dims in (shape, item_shape))
        raise damaged(path, f"holds images of {found} pixels instead of {wanted}")
    if n == 0:
        raise damaged(path, f"holds no {kind}")
    if _whole_size(item_shape, n) > most:
        _require_size(path, item_shape, n, most)
    return n


def _whole_size(item_shape: tuple[int, ...], n: int) -> int:
    return _header_size(item_shape) + n * math.prod(item_shape)


def _require_size(path: Path, item_shape: tuple[int, ...], n: int, size: int) -> None:
    expected = _whole_size(item_shape, n)
    if size != expected:
        kind = "images" if item_shape else "labels"
        raise damaged(
            path,
            f"is {'truncated' if size < expected else 'corrupt'} (unpacked it should be {expected} "
            f"bytes for its {n} {kind}, and is {'less' if size < expected else 'more'})",
        )


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.strerror:
        return InputError(
            f"{path} cannot be read ({error.strerror}): make it readable, or name another folder."
        )
    return damaged(path, f"cannot be read ({error})")
