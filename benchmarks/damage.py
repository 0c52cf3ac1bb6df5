"""Damaged and hostile files: what disks, transfers and attackers make of good ones."""

import gzip
import io
import pickle
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

EXECUTED = "executed"
"""Name of the file that hostile content would write where it is executed."""


class _Hostile:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (EXECUTED, "w")


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _bits(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(min(len(found), rng.choice((1, 1, 8, 64)))):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def _noise(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    size = rng.choice((1, 16, 512, 4096))
    return content[:start] + rng.randbytes(size) + content[start + size :]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    size = min(rng.choice((4, 512, 1 << 20)), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def _twice(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:stop] + content[start:stop] + content[stop:]


def _start(content: bytes, rng: random.Random) -> bytes:
    """Damage the first bytes, where the formats say how large all is."""
    found = bytearray(content)
    for _ in range(min(len(found), 4)):
        found[rng.randrange(min(len(found), 64))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(found)


def _numbers(content: bytes, rng: random.Random) -> bytes:
    """Replace a written number by one that is too large, negative, or none."""
    places = [*re.finditer(rb"\d+", content[:65536])]
    if not places:
        return _start(content, rng)
    place = rng.choice(places)
    number = rng.choice((b"-1", b"0", b"4294967296", b"9" * 30, b"1e400", b"NaN", b"null", b'"x"'))
    return content[: place.start()] + number + content[place.end() :]


def _other(content: bytes, rng: random.Random) -> bytes:
    """Put something else under the name."""
    formula = f"=cmd|'/c touch {EXECUTED}'!A1\n".encode() * 20
    return rng.choice((*_others(), b"\xff\xfe" + rng.randbytes(1000), formula))


@cache
def _others() -> tuple[bytes, ...]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("../../" + EXECUTED), "x")
        file.writestr(zipfile.ZipInfo("config.json"), "[" * 100_000)
    hostile = pickle.dumps(_Hostile())
    return (
        b"",
        hostile,
        # A state of an earlier version.
        b"knn-slicing state 1\n" + zlib.crc32(hostile).to_bytes(4, "big") + hostile,
        archive.getvalue(),
        gzip.compress(bytes(50_000_000), mtime=0),
        b"[" * 100_000,
    )


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut short": _cut,
    "bits flipped": _bits,
    "noise": _noise,
    "zeros": _zeros,
    "a part twice": _twice,
    "first bytes": _start,
    "numbers": _numbers,
    "something else": _other,
}
"""What may become of a file's content, by name."""
