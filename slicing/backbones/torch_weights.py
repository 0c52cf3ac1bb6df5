"""Weights from a file of PyTorch, without PyTorch: the format that it wrote before version 1.6.

The file (``torch/serialization.py``, ``_legacy_save``) is five pickles, of a magic number, the
version, the machine, the dict of tensors and the keys of their storages, and then the numbers of
each storage. A pickle can call whatever it names. Here it may name what makes tensors, and nothing
else: for these names stand functions of this module, made for each file.
"""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.files import open_regular

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def read_torch(path: Path, option: str) -> dict[str, NDArray[Any]]:
    """Read the tensors of a state dict.

    Parameters
    ----------
    path : Path
    option : str
        What gave the path, for the message.

    Returns
    -------
    dict of str to ndarray
        In the file's order.

    Raises
    ------
    InputError
        Where it is no such file, is cut short, or names anything but tensors.
    """
    try:
        with open_regular(path) as file:
            return _read(file)
    except OSError as error:
        raise InputError(
            f"{option}={path} cannot be read: {error.strerror or error}.", option
        ) from error
    except Exception as error:  # what a foreign pickle raises is open-ended
        raise InputError(
            f"{option}={path} is no file of tensors alone as PyTorch wrote them before version "
            f"1.6 ({type(error).__name__}): give an intact copy of one.",
            option,
        ) from error


class _Tensor(NamedTuple):
    """Where the numbers of a tensor lie: known before they are read."""

    key: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storages: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        numbers = storages[self.key]
        last = self.start + sum(
            (length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)
        )
        if (
            min((self.start, *self.shape, *self.strides)) < 0
            or last >= len(numbers)
            or prod(self.shape) > len(numbers)
        ):
            raise ValueError("a tensor beyond its numbers")
        steps = [stride * numbers.itemsize for stride in self.strides]
        return as_strided(numbers[self.start :], self.shape, steps, writeable=False).copy()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[str, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for a name, or refuse it."""
        allowed: dict[tuple[str, str], Callable[..., Any] | str] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Tensor(*parts[:4]),
        }
        allowed |= {("torch", storage): kind for storage, kind in _TYPES.items()}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> str:
        """Note the type and length of a storage; give its key."""
        _, kind, key, _, length, view = pid
        if kind not in _TYPES.values() or not isinstance(key, str) or view is not None:
            raise pickle.UnpicklingError("a storage of another kind")
        self.storages[key] = kind, int(length)
        return key


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    head = [_Unpickler(file).load() for _ in range(3)]
    if head[:2] != [_MAGIC, _VERSION] or head[2]["little_endian"] is not True:
        raise ValueError("another format")
    unpickler = _Unpickler(file)
    tensors = dict(unpickler.load())
    end = os.fstat(file.fileno()).st_size
    keys = _Unpickler(file).load()
    arrays = {}
    for key in keys:
        kind, length = unpickler.storages[key]
        size = 8 + length * np.dtype(kind).itemsize
        # What is not there takes no memory.
        content = file.read(min(size, end))
        if len(content) != size or int.from_bytes(content[:8], "little") != length:
            raise ValueError("cut short")
        arrays[key] = np.frombuffer(content, kind, offset=8)
    return {name: _Tensor.of(tensor, arrays) for name, tensor in tensors.items()}
