"""The IDX format of MNIST: a big-endian header, then one byte a pixel or label.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, "File formats".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError

UNSIGNED_BYTE = 0x08
# Enough of a gzip file to unpack the longest header (16 bytes) of an IDX file.
GZIP_START = 4096


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
        with path.open("rb") as file:
            size = path.stat().st_size
            if path.suffix != ".gz":
                start = file.read(_header_size(item_shape))
            else:
                # Unpacks only the header; the last four bytes are the unpacked size.
                unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                start = unpacker.decompress(file.read(GZIP_START), _header_size(item_shape))
                file.seek(max(0, size - 4))
                size = int.from_bytes(file.read(4), "little")
    except (OSError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return _count(path, item_shape, start, size)


def read(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file.

    Parameters
    ----------
    path, item_shape
        As for `count`.

    Returns
    -------
    ndarray of shape (n, *item_shape), uint8
        Read-only.

    Raises
    ------
    InputError
        If the file cannot be read or is not such a file.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    n = _count(path, item_shape, content, len(content))
    items = np.frombuffer(content, np.uint8, offset=_header_size(item_shape))
    return items.reshape(n, *item_shape)


def damaged(path: Path, fault: str) -> InputError:
    """Make the error about a file that cannot be used."""
    return InputError(
        f"{path} {fault}: replace it with an intact copy, or delete it if it was downloaded."
    )


def _header_size(item_shape: tuple[int, ...]) -> int:
    return 4 * (2 + len(item_shape))


def _count(path: Path, item_shape: tuple[int, ...], start: bytes, size: int) -> int:
    kind = "images" if item_shape else "labels"
    header_size = _header_size(item_shape)
    magic = bytes((0, 0, UNSIGNED_BYTE, 1 + len(item_shape)))
    if len(start) < header_size:
        raise damaged(path, "is empty" if size == 0 else "is truncated within its header")
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
    expected = header_size + n * math.prod(item_shape)
    if size != expected:
        raise damaged(
            path,
            f"is {'truncated' if size < expected else 'corrupt'} (unpacked it should be {expected} "
            f"bytes for its {n} {kind}, and is {size})",
        )
    return n


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return damaged(path, f"cannot be read ({reason})")
