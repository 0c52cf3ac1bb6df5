"""Files as PyTorch wrote them before version 1.6, without PyTorch."""

import io
import pickle
import sys
from collections import OrderedDict
from contextlib import contextmanager
from types import ModuleType

import numpy as np

STORAGES = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage"}


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class Tensor:
    """What is pickled as a tensor: a storage, and where in it the numbers lie."""

    def __init__(self, storage, start, shape, strides):
        self.parts = storage, start, shape, strides, False, OrderedDict()

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts


@contextmanager
def names():
    """Let the names that such a pickle holds be importable, as pickling demands."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        raise AssertionError

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield torch
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def written(content, storages):
    """Write a file of a pickled content and the numbers of its storages."""
    file = io.BytesIO()
    machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    with names() as torch:
        for head in (0x1950A86A20F9469CFC6C, 1001, machine):
            pickle.dump(head, file, protocol=2)
        pickler = pickle.Pickler(file, protocol=2)

        def persistent_id(value):
            if not isinstance(value, Storage):
                return None
            kind = getattr(torch, STORAGES[value.array.dtype.name])
            return "storage", kind, value.key, "cpu", value.array.size, None

        pickler.persistent_id = persistent_id
        pickler.dump(content)
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(storage.array.size.to_bytes(8, "little") + storage.array.tobytes())
    return file.getvalue()


def state_dict(arrays):
    """Write arrays as a state dict."""
    storages = [Storage(str(n), np.ravel(array)) for n, array in enumerate(arrays.values())]
    tensors = OrderedDict()
    for storage, (name, array) in zip(storages, arrays.items(), strict=True):
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        tensors[name] = Tensor(storage, 0, array.shape, strides if array.ndim else ())
    tensors._metadata = OrderedDict(version=1)
    return written(tensors, storages)
