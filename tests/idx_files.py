"""Small files in MNIST's format, for the tests of the data room."""

import gzip
import struct

import numpy as np


def idx_bytes(array, dtype_code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, dtype_code, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(path, array, **options):
    content = idx_bytes(array, **options)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_mnist(folder, n_train=60, n_test=30, suffix=".gz", classes=10):
    """Write the four files; labels go round the classes, so that image i has label i % classes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 28, 28))
        arrays[f"{part}-labels-idx1-ubyte"] = np.arange(n) % classes
    for name, array in arrays.items():
        write_idx(folder / (name + suffix), array)
    return arrays
