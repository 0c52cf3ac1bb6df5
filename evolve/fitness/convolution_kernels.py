"""Kernels of :mod:`evolve.fitness.candidate_convolution`: LLVM vector code, and numba's loops.

How they get their speed
------------------------
*Images on the SIMD lanes.* The packed layout is ``(n_images / LANES, height, width, channels,
LANES)``: a vector register holds the same pixel of ``LANES`` images, and a weight is broadcast. So
no lane is lost where the number of candidates (18, say) is no multiple of the register width, and
every access is contiguous and aligned for any kernel, strides and pooling.

*One micro-kernel*, `_multiply`, does all products: a block of ``TILE`` positions by up to ``GROUP``
candidates is summed in registers, so 25 fused multiply-adds cost 10 loads. It is emitted as LLVM
vector code, which LLVM fits to the machine (AVX-512, AVX2, NEON).

*Winograd's F(2x2, 3x3)* [1]_ where it applies: under a 2x2 pooling of a 3x3 convolution at
stride 1, a pooling window is one tile, and takes 16 multiplications instead of 36. The input
transform is made for a block of tiles at a time and stays in the cache; all candidates share it.
The letters are those of [1]_: u are the transformed weights, v the transformed tiles, m their
products; x are the images.

Every result is a sum in a fixed order, which depends neither on the number of threads nor on the
other candidates of the batch: both leave it the same bit for bit.

All of it is one file, of more than 400 lines: numba's cache does not notice the edit of a function
in another file.

References
----------
.. [1] A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
   arXiv:1509.09308.
"""

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

_FEATURES = llvmlite.binding.get_host_cpu_features()
# Images per vector register, and candidates per block: TILE x GROUP sums, TILE or GROUP operands
# and one more must fit the 32 (AVX-512, NEON) or 16 (AVX2) registers.
LANES, GROUP = (16, 5) if _FEATURES.get("avx512f") else (8, 2) if _FEATURES.get("avx") else (4, 5)
TILE = 5
# Channels that lie together in a transformed tile. The 16 positions of a tile are then written
# side by side: far apart, each would need a page of its own, and few pages can be open for writing.
PAIR = 2
# Floats of such a pair, and a cache line: pairs a power of two apart would share few cache sets.
PAIR_STRIDE = 16 * PAIR * LANES + 16


# --------------------------------------------------------------------------------------------------
# Vector code: numba's loops know no vector registers.


class _Emitter:
    """Emits vector instructions into the function that numba is compiling.

    Parameters
    ----------
    context, builder, signature, args
        What numba hands to the code generator of an intrinsic.
    """

    lane = ir.FloatType()
    vector = ir.VectorType(lane, LANES)

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder = builder
        # Arrays become pointers to their first element, integers stay integers.
        self.args = [
            context.make_array(kind)(context, builder, arg).data
            if isinstance(kind, types.Array)
            else arg
            for kind, arg in zip(signature.args, args, strict=True)
        ]
        self.none = context.get_dummy_value()

    def index(self, *terms: Any) -> Any:
        """Sum integers; a tuple is a product."""
        total = ir.IntType(64)(0)
        for term in terms:
            factors = term if isinstance(term, tuple) else (term,)
            product = ir.IntType(64)(1)
            for factor in factors:
                value = ir.IntType(64)(factor) if isinstance(factor, int) else factor
                product = self.builder.mul(product, value)
            total = self.builder.add(total, product)
        return total

    def scalar(self, pointer: Any, index: Any) -> Any:
        """Load one element."""
        return self.builder.load(self.builder.gep(pointer, [index]))

    def _address(self, pointer: Any, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [index]), self.vector.as_pointer())

    def load(self, pointer: Any, index: Any) -> Any:
        """Load LANES consecutive floats."""
        value = self.builder.load(self._address(pointer, index))
        value.align = 4
        return value

    def store(self, value: Any, pointer: Any, index: Any) -> None:
        """Store LANES consecutive floats."""
        self.builder.store(value, self._address(pointer, index)).align = 4

    def broadcast(self, scalar: Any) -> Any:
        """Copy a scalar to all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a * b + c``, fused where the machine can."""
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, [a, b, c])

    def prefetch(self, pointer: Any, index: Any, write: bool = False) -> None:
        """Ask for a cache line: into the second level, or the first to be written."""
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, "llvm.prefetch.p0"
        )
        address = self.builder.bitcast(self.builder.gep(pointer, [index]), byte)
        self.builder.call(function, [address, flag(int(write)), flag(3 if write else 2), flag(1)])

    def larger(self, a: Any, b: Any) -> Any:
        """Return the larger value, lane by lane; NaN where either is."""
        larger = self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)
        return self.builder.select(self.builder.fcmp_unordered("uno", a, a), a, larger)


@intrinsic(prefer_literal=True)
def _multiply_group(
    typingctx: Any, x: Any, offsets: Any, row_stride: Any, u: Any, u_start: Any, u_stride: Any,
    m: Any, blocks: Any, rows: Any, run: Any, group: Any, ahead: Any, ahead_start: Any, lines: Any
) -> Any:  # fmt: skip
    """Compute what `_multiply` says for a number of candidates known at compile time."""
    if not isinstance(group, types.IntegerLiteral):
        return None
    candidates = range(group.literal_value)
    width = len(candidates)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, _ = emit.args[:11]
        ahead, ahead_start, lines = emit.args[11:]
        # Stack slots that LLVM turns into registers: they are only read and written, by name.
        zero = ir.Constant(emit.vector, [0.0] * LANES)
        sums = [
            [cgutils.alloca_once(builder, emit.vector) for _ in candidates] for _ in range(TILE)
        ]
        with cgutils.for_range(builder, blocks) as block:
            first = emit.index((block.index, TILE))
            inputs = [
                builder.gep(x, [emit.scalar(offsets, emit.index(first, t))]) for t in range(TILE)
            ]
            with cgutils.for_range(builder, lines) as line:
                place = emit.index((block.index, lines, LANES), (line.index, LANES))
                emit.prefetch(ahead, emit.index(ahead_start, place))
            for slot in [slot for slots in sums for slot in slots]:
                builder.store(zero, slot)
            with cgutils.for_range(builder, rows) as row:
                at_row = emit.index((row.index, row_stride))
                u_row = emit.index(u_start, (block.index, u_stride), (row.index, run, width))
                with cgutils.for_range(builder, run) as step:
                    at = emit.index(at_row, (step.index, LANES))
                    u_at = emit.index(u_row, (step.index, width))
                    weights = [
                        emit.broadcast(emit.scalar(u, emit.index(u_at, c))) for c in candidates
                    ]
                    for pointer, slots in zip(inputs, sums, strict=True):
                        value = emit.load(pointer, at)
                        for weight, slot in zip(weights, slots, strict=True):
                            builder.store(emit.fma(value, weight, builder.load(slot)), slot)
            for t, slots in enumerate(sums):
                for c, slot in enumerate(slots):
                    place = emit.index((first, width * LANES), (t * width + c) * LANES)
                    emit.store(builder.load(slot), m, place)
        return emit.none

    n = types.intp
    return types.void(x, offsets, n, u, n, n, m, n, n, n, group, ahead, n, n), generate


@intrinsic
def _transform_input(
    typingctx: Any, x: Any, starts: Any, count: Any, row_stride: Any, column_stride: Any, v: Any
) -> Any:  # fmt: skip
    """Write the Winograd transform B' d B of 4x4 input tiles, for all channels and lanes.

    ``x`` holds tile t < count at ``starts[t]``, pixels ``row_stride`` and ``column_stride`` apart;
    ``v[t, channel // PAIR, 4 i + j, channel % PAIR]`` receives position (i, j) of the transform,
    with PAIR_STRIDE floats from pair to pair.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        x, starts, count, row_stride, column_stride, v = emit.args

        def transform(d: list[Any]) -> list[Any]:
            return [
                builder.fsub(d[0], d[2]),
                builder.fadd(d[1], d[2]),
                builder.fsub(d[2], d[1]),
                builder.fsub(d[1], d[3]),
            ]

        pairs = builder.sdiv(column_stride, ir.IntType(64)(PAIR * LANES))
        # Channels outside, tiles inside: neighbors share half of their pixels, in the cache.
        with (
            cgutils.for_range(builder, pairs) as pair,
            cgutils.for_range(builder, count) as tile,
            cgutils.for_range(builder, ir.IntType(64)(PAIR)) as channel,
        ):
            place = emit.index(
                (tile.index, pairs, PAIR_STRIDE),
                (pair.index, PAIR_STRIDE),
                (channel.index, LANES),
            )
            for position in range(16):
                # The next pair, so that its writing need not wait for its lines.
                emit.prefetch(v, emit.index(place, (16 + position) * PAIR * LANES), write=True)
            at = emit.index(
                emit.scalar(starts, tile.index),
                (pair.index, PAIR * LANES),
                (channel.index, LANES),
            )
            columns = [
                transform(
                    [
                        emit.load(x, emit.index(at, (i, row_stride), (j, column_stride)))
                        for i in range(4)
                    ]
                )
                for j in range(4)
            ]
            for i in range(4):
                for j, value in enumerate(transform([column[i] for column in columns])):
                    emit.store(value, v, emit.index(place, (4 * i + j) * PAIR * LANES))
        return emit.none

    n = types.intp
    return types.void(x, starts, n, n, n, v), generate


@intrinsic
def _transform_output(
    typingctx: Any, m: Any, start: Any, stride: Any, group: Any, bias: Any, bias_start: Any,
    least: Any, pooled: Any, pooled_start: Any
) -> Any:  # fmt: skip
    """Turn the products of one tile into pooled features, for ``group`` candidates.

    ``m[start + (4 i + j) stride:]`` holds position (i, j) of the products. The four outputs
    A' m A of the tile are one pooling window: their maximum, the bias and the rectifier (the
    larger of it and ``least``) follow at once. Bias and rectifier are monotone, so they may come
    after the maximum.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        m, start, stride, group, bias, bias_start, least, pooled, pooled_start = emit.args

        def transform(d: list[Any]) -> list[Any]:
            return [
                builder.fadd(builder.fadd(d[0], d[1]), d[2]),
                builder.fsub(builder.fsub(d[1], d[2]), d[3]),
            ]

        with cgutils.for_range(builder, group) as candidate:
            at = emit.index(start, (candidate.index, LANES))
            columns = [
                transform([emit.load(m, emit.index(at, (4 * i + j, stride))) for i in range(4)])
                for j in range(4)
            ]
            a, b, c, d = (
                value for i in range(2) for value in transform([column[i] for column in columns])
            )
            peak = emit.larger(emit.larger(a, b), emit.larger(c, d))
            shift = emit.broadcast(emit.scalar(bias, emit.index(bias_start, candidate.index)))
            value = emit.larger(emit.broadcast(least), builder.fadd(peak, shift))
            emit.store(value, pooled, emit.index(pooled_start, (candidate.index, LANES)))
        return emit.none

    n = types.intp
    return types.void(m, n, n, n, bias, n, types.float32, pooled, n), generate


@intrinsic
def _pool_window(
    typingctx: Any, m: Any, start: Any, stride: Any, height: Any, width: Any, group: Any,
    bias: Any, bias_start: Any, least: Any, average: Any, pooled: Any, pooled_start: Any
) -> Any:  # fmt: skip
    """Add the bias to the products of one pooling window, activate and pool, for ``group``.

    Product (i, j) of candidate c is at ``m[start + ((i stride + j) group + c) LANES:]``. The mean
    is taken where ``average`` is true, else the maximum; NaN stays NaN.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        m, start, stride, height, width, group, bias, bias_start, least = emit.args[:9]
        average, pooled, pooled_start = emit.args[9:]
        count = builder.sitofp(emit.index((height, width)), emit.lane)
        count = builder.select(average, count, emit.lane(1.0))
        first = builder.select(average, emit.lane(0.0), emit.lane(-np.inf))
        least, count, first = (emit.broadcast(value) for value in (least, count, first))
        slot = cgutils.alloca_once(builder, emit.vector)
        with cgutils.for_range(builder, group) as candidate:
            shift = emit.broadcast(emit.scalar(bias, emit.index(bias_start, candidate.index)))
            builder.store(first, slot)
            with (
                cgutils.for_range(builder, height) as row,
                cgutils.for_range(builder, width) as column,
            ):
                place = emit.index((row.index, stride), column.index)
                at = emit.index(start, (place, group, LANES), (candidate.index, LANES))
                value = emit.larger(least, builder.fadd(emit.load(m, at), shift))
                known = builder.load(slot)
                larger = emit.larger(known, value)
                builder.store(builder.select(average, builder.fadd(known, value), larger), slot)
            value = builder.fdiv(builder.load(slot), count)
            emit.store(value, pooled, emit.index(pooled_start, (candidate.index, LANES)))
        return emit.none

    n = types.intp
    signature = (m, n, n, n, n, n, bias, n, types.float32, types.boolean, pooled, n)
    return types.void(*signature), generate


# --------------------------------------------------------------------------------------------------
# Loops around them.


@njit(cache=True)
def _multiply(
    x: NDArray[np.float32],
    offsets: NDArray[np.int64],
    row_stride: int,
    u: NDArray[np.float32],
    u_start: int,
    u_stride: int,
    m: NDArray[np.float32],
    blocks: int,
    rows: int,
    run: int,
    group: int,
    ahead: NDArray[np.float32],
    ahead_start: int,
    lines: int,
) -> None:
    """Multiply blocks of positions with a group of candidates.

    ``m[b, t, c, lane] = sum over r, k of x[offsets[b, t] + r row_stride + k LANES + lane]
    u[u_start + b u_stride + (r run + k) group + c]``, summed in the order of r and k.

    Parameters
    ----------
    x : ndarray, float32
        Packed images or their transform, flat.
    offsets : ndarray of shape (blocks * TILE,)
    row_stride : int
    u : ndarray, float32
        Weights, flat.
    u_start, u_stride : int
    m : ndarray of at least blocks * TILE * group * LANES elements, float32
        Receives the products.
    blocks, rows, run : int
        Ranges of b, r and k.
    group : int
        Number of candidates, at most GROUP.
    ahead : ndarray, float32
        What will be read next: each block fetches ``lines`` vectors of it, from ``ahead_start``
        on, while memory has nothing else to do.
    ahead_start, lines : int
    """
    # The literal number of candidates makes each call a kernel of its own.
    if group == 5:
        _multiply_group(
            x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, 5, ahead,
            ahead_start, lines,
        )  # fmt: skip
    elif group == 4:
        _multiply_group(
            x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, 4, ahead,
            ahead_start, lines,
        )  # fmt: skip
    elif group == 3:
        _multiply_group(
            x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, 3, ahead,
            ahead_start, lines,
        )  # fmt: skip
    elif group == 2:
        _multiply_group(
            x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, 2, ahead,
            ahead_start, lines,
        )  # fmt: skip
    else:
        _multiply_group(
            x, offsets, row_stride, u, u_start, u_stride, m, blocks, rows, run, 1, ahead,
            ahead_start, lines,
        )  # fmt: skip


@njit(cache=True)
def _unpack(pooled: NDArray[np.float32], out: NDArray[np.float32], first: int) -> None:
    """Move pooled features (windows, candidates, LANES) to out[:, first : first + LANES]."""
    candidates, images, windows = out.shape
    for candidate in range(candidates):
        for lane in range(min(LANES, images - first)):
            target = out[candidate, first + lane]
            source = pooled[candidate * LANES + lane :: candidates * LANES]
            for window in range(windows):
                target[window] = source[window]


@njit(cache=True, parallel=True)
def winograd_convolve(
    packed: NDArray[np.float32],
    starts: NDArray[np.int64],
    row_stride: int,
    column_stride: int,
    u: NDArray[np.float32],
    bias: NDArray[np.float32],
    least: float,
    v: NDArray[np.float32],
    m: NDArray[np.float32],
    pooled: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Convolve, activate and pool by F(2x2, 3x3): one pooling window is one tile.

    Parameters
    ----------
    packed : ndarray of shape (packs, height * width * channels * LANES), float32
    starts : ndarray of shape (tiles,)
        Where the tiles start in a pack.
    row_stride, column_stride : int
        From one pixel of a pack to its neighbors.
    u : ndarray of shape (n * 16 * channels,), float32
        Transformed weights, as `group_weights` writes them.
    bias : ndarray of shape (n,), float32
    least : float
        The activation's lower bound: 0 for a rectifier, minus infinity for none.
    v, m, pooled : ndarray of shape (threads, ...), float32
        Work space: transformed tiles (TILE, channels / PAIR, 16, PAIR, LANES), products (16, TILE,
        GROUP, LANES) and pooled features (tiles, n, LANES).
    out : ndarray of shape (n, images, tiles), float32
    """
    packs, tiles, candidates = len(packed), len(starts), len(bias)
    channels = column_stride // LANES
    groups = (candidates + GROUP - 1) // GROUP
    # Where each position of each tile starts in v.
    offsets = np.empty(16 * TILE, np.int64)
    for position in range(16):
        for t in range(TILE):
            offsets[position * TILE + t] = (
                t * channels // PAIR * PAIR_STRIDE + position * PAIR * LANES
            )
    # The next pack is fetched piece by piece during the products, if there are enough of them.
    calls = (tiles + TILE - 1) // TILE * groups
    lines = packed.shape[1] // LANES // (calls * 16) + 1 if groups > 1 else 0
    parts = len(v)
    for part in prange(parts):
        for pack in range(part * packs // parts, (part + 1) * packs // parts):
            for tile in range(0, tiles, TILE):
                count = min(TILE, tiles - tile)
                _transform_input(
                    packed[pack], starts[tile:], count, row_stride, column_stride, v[part]
                )
                for g in range(groups):
                    first = g * candidates // groups
                    group = (g + 1) * candidates // groups - first
                    _multiply(
                        v[part], offsets, PAIR_STRIDE, u, first * 16 * channels,
                        group * channels, m[part], 16, channels // PAIR, PAIR, group,
                        packed[min(pack + 1, packs - 1)],
                        (tile // TILE * groups + g) * 16 * lines * LANES, lines,
                    )  # fmt: skip
                    for t in range(count):
                        _transform_output(
                            m[part], t * group * LANES, TILE * group * LANES, group, bias, first,
                            least, pooled[part], ((tile + t) * candidates + first) * LANES,
                        )  # fmt: skip
            _unpack(pooled[part], out, pack * LANES)


@njit(cache=True, parallel=True)
def direct_convolve(
    packed: NDArray[np.float32],
    starts: NDArray[np.int64],
    row_stride: int,
    rows: int,
    run: int,
    u: NDArray[np.float32],
    bias: NDArray[np.float32],
    least: float,
    windows: NDArray[np.int64],
    average: bool,
    m: NDArray[np.float32],
    pooled: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Convolve, activate and pool for any shapes.

    Parameters
    ----------
    packed : ndarray of shape (packs, height * width * channels * LANES), float32
    starts : ndarray of shape (positions rounded up to a multiple of TILE,)
        Where the patches start in a pack.
    row_stride : int
        From one row of a patch to the next.
    rows, run : int
        Rows of a kernel, and columns times channels.
    u : ndarray of shape (n * rows * run,), float32
        Weights, as `group_weights` writes them.
    bias, least
        As in `winograd_convolve`.
    windows : ndarray of shape (windows, 2, 2)
        The first position of each pooling window, the distance of its rows, and its extent.
    average : bool
        Whether the windows are averaged; otherwise their maximum is taken.
    m, pooled : ndarray of shape (threads, ...), float32
        Work space: products (positions, GROUP, LANES) and pooled features (windows, n, LANES).
    out : ndarray of shape (n, images, windows), float32
    """
    packs, candidates = len(packed), len(bias)
    groups = (candidates + GROUP - 1) // GROUP
    blocks = len(starts) // TILE
    parts = len(m)
    for part in prange(parts):
        for pack in range(part * packs // parts, (part + 1) * packs // parts):
            for g in range(groups):
                first = g * candidates // groups
                group = (g + 1) * candidates // groups - first
                _multiply(
                    packed[pack], starts, row_stride, u, first * rows * run, 0, m[part],
                    blocks, rows, run, group, packed[pack], 0, 0,
                )  # fmt: skip
                for window in range(len(windows)):
                    corner, stride = windows[window, 0]
                    height, width = windows[window, 1]
                    _pool_window(
                        m[part], corner * group * LANES, stride, height, width, group, bias, first,
                        least, average, pooled[part], (window * candidates + first) * LANES,
                    )  # fmt: skip
            _unpack(pooled[part], out, pack * LANES)


@njit(cache=True)
def group_weights(weights: NDArray[np.float32], winograd: bool, u: NDArray[np.float32]) -> None:
    """Lay out the weights in the order in which `_multiply` reads them.

    Parameters
    ----------
    weights : ndarray of shape (n, kernel_height, kernel_width, channels), float32
    winograd : bool
        Whether to transform 3x3 kernels to the 4x4 positions G g G'.
    u : ndarray of shape (n * positions * channels,), float32
        Receives, group by group of candidates, (positions, channels, group).
    """
    candidates, height, width, channels = weights.shape
    groups = (candidates + GROUP - 1) // GROUP
    positions = 16 if winograd else height * width
    transform = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
    for g in range(groups):
        first = g * candidates // groups
        group = (g + 1) * candidates // groups - first
        target = u[first * positions * channels :]
        for c in range(group):
            kernel = weights[first + c]
            for channel in range(channels):
                for position in range(positions):
                    if winograd:
                        a = transform[position // 4]
                        b = transform[position % 4]
                        value = 0.0
                        for i in range(3):
                            for j in range(3):
                                value += a[i] * kernel[i, j, channel] * b[j]
                    else:
                        value = kernel[position // width, position % width, channel]
                    target[(position * channels + channel) * group + c] = value


@njit(cache=True, parallel=True)
def pack_images(
    images: NDArray[np.float32], first: int, corner: tuple[int, int], packed: NDArray[np.float32]
) -> None:
    """Copy images to packed[pack, row, column, channel, lane], image `first` onwards.

    Pixel ``corner`` of the pack is pixel (0, 0) of the images; what lies outside is left out.
    """
    n, height, width, channels = images.shape
    _, packed_height, packed_width, _, _ = packed.shape
    top, left = corner
    for image in prange(n):
        target = packed[(first + image) // LANES]
        lane = (first + image) % LANES
        for row in range(min(height, packed_height - top)):
            for column in range(min(width, packed_width - left)):
                for channel in range(channels):
                    target[top + row, left + column, channel, lane] = images[
                        image, row, column, channel
                    ]
