"""Parts of the scans of short lists: the k nearest so far, in no order, and prefetching.

Most of the first entries of a sorted list stay among the k nearest, so a plain array with its
largest distance beats a heap. Numba's cache does not notice an edit here: delete ``__pycache__``
in ``evolve`` after one.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


@njit(cache=True)
def largest(values):  # type: ignore[no-untyped-def]
    """Find the largest value; four at a time, so that comparisons need not wait for each other."""
    a = b = c = d = -np.inf
    n = len(values)
    for s in range(0, n - 3, 4):
        a = values[s] if values[s] > a else a
        b = values[s + 1] if values[s + 1] > b else b
        c = values[s + 2] if values[s + 2] > c else c
        d = values[s + 3] if values[s + 3] > d else d
    for s in range(n - n % 4, n):
        a = values[s] if values[s] > a else a
    return max(max(a, b), max(c, d))


@njit(cache=True)
def replace_farthest(distance, index, distances, indices, kth):  # type: ignore[no-untyped-def]
    """Replace the farthest entry, of distance ``kth``; return the new largest distance.

    Of equally far entries, the one of the highest index is the farthest.
    """
    farthest = -1
    for s in range(len(distances)):
        if distances[s] == kth and (farthest < 0 or indices[s] > indices[farthest]):
            farthest = s
    if distance < kth or index < indices[farthest]:
        distances[farthest], indices[farthest] = distance, index
    return largest(distances)


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of an element of a contiguous array that will be read soon."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]),
            "llvm.prefetch.p0",
        )
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
