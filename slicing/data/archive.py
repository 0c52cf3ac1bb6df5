"""Unpack an archive of images, zip or tar, whoever made it: nothing but files, within bounds."""

import bz2
import errno
import gzip
import importlib
import lzma
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, Self

from slicing.data.image_file import is_left_by_system
from slicing.errors import InputError
from slicing.files import open_regular

SUFFIXES = {".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst"}
"""The endings of archives' names."""

MAX_FILES = 1_000_000
"""Files and folders in an archive."""

MAX_GIGABYTES = 20.0
"""What an archive may unpack to where nothing else is said, in thousands of millions of bytes."""

# How many times its own size an archive may unpack to, and how many bytes any may beside them.
# Photos shrink little, drawings in BMP to a fiftieth.
_RATIO, _ANY = 100, 2**26
_ARCHIVES = SUFFIXES | {".7z", ".rar"}
_ZIP, _ZSTANDARD = (b"PK\3\4", b"PK\5\6"), b"\x28\xb5\x2f\xfd"
_OPEN: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_TAR, _TAR_AT = b"ustar", 257
_CHUNK = 2**20
# What may come before a file in a tar archive, long names among it; and bytes that it may have.
_BEFORE_FILES = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}
_MAX_HEADER = 2**20
# Folders above a file: a single name could make thousands.
_MAX_DEPTH = 50
# The flag of a zip archive that a name is UTF-8, and that its file is encrypted.
_UTF8, _ENCRYPTED = 0x800, 1


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name or by its content."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with suppress(OSError), open_regular(path) as file:
        start = file.read(_TAR_AT + len(_TAR))
        return start.startswith((*_ZIP, *_OPEN, _ZSTANDARD)) or start[_TAR_AT:] == _TAR
    return False


def unpack(archive: Path, folder: Path, max_gigabytes: float) -> None:
    """Unpack an archive into an empty folder, a megabyte at a time.

    Parameters
    ----------
    archive : Path
        Names in a zip archive that are not said to be UTF-8 are taken for it where they can be,
        else for code page 437.
    folder : Path
    max_gigabytes : float
        What it may unpack to, in thousands of millions of bytes.

    Raises
    ------
    InputError
        Where it is encrypted, damaged or too large, where it holds links, devices, other archives,
        or a path out of the folder. What was unpacked until then is left.
    OSError
        Where the folder cannot be written.
    """
    try:
        with open_regular(archive) as file:
            start = file.read(_TAR_AT)
            file.seek(0)
            budget = _Budget(archive, max_gigabytes, archive.stat().st_size)
            files = _in_zip if start.startswith(_ZIP) else _in_tar
            for number, (name, content) in enumerate(files(file, start, budget)):
                if number >= MAX_FILES:
                    raise _refused(archive, f"more than {MAX_FILES:,} files", "divide it")
                _write(archive, folder, name, content)
    except InputError:
        raise
    except Exception as error:
        # Decoders raise errors of all kinds; only those of the system have numbers. A place before
        # the file's beginning is the archive's fault, too.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (str(error).splitlines() or ["it ends too early"])[0].rstrip(".")
        raise InputError(
            f"{archive} is damaged, or no zip or tar archive ({reason}): give an intact copy."
        ) from error


@dataclass
class _Budget:
    """Counts the bytes that are unpacked, and ends it where they are too many."""

    archive: Path
    max_gigabytes: float
    size: int
    spent: int = 0

    def spend(self, n_bytes: int) -> None:
        self.spent += n_bytes
        if self.spent > self.max_gigabytes * 1e9:
            raise InputError(
                f"max_gigabytes={self.max_gigabytes:g} is fewer than {self.archive} unpacks to: "
                "raise it if that is no mistake and there is room.",
                "max_gigabytes",
            )
        if self.spent > _ANY + _RATIO * self.size:
            raise InputError(
                f"{self.archive} unpacks to more than {_RATIO} times its size, which photos do "
                "not: give one that you trust, or unpack it and give the folder."
            )


@dataclass
class _Counted:
    """A stream whose bytes are counted as they are read."""

    stream: IO[bytes]
    budget: _Budget

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.budget.spend(len(content))
        return content


class _Content(NamedTuple):
    """What is in an archive under a name: something to be read, or None for a folder."""

    name: str
    stream: _Counted | IO[bytes] | None


def _in_zip(file: BinaryIO, start: bytes, budget: _Budget) -> Iterator[_Content]:
    with zipfile.ZipFile(file) as members:
        for member in members.infolist():
            name = member.filename
            if not member.flag_bits & _UTF8:
                with suppress(UnicodeError):
                    name = name.encode("cp437").decode()
            name = name.replace("\\", "/")  # as some programs for Windows write it
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_file(budget.archive, name, stat.S_ISLNK(member.external_attr >> 16))
            if member.flag_bits & _ENCRYPTED:
                raise _refused(budget.archive, f"{name}, which is encrypted", "pack it without")
            if name.endswith("/"):
                yield _Content(name, None)
            else:
                with members.open(member) as stream:
                    yield _Content(name, _Counted(stream, budget))


class _Header(tarfile.TarInfo):
    """What comes before a file in a tar archive; only a block of zeros is the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:  # tarfile itself would end there, without a word
            raise tarfile.ReadError(str(error)) from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _BEFORE_FILES and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header says that its size is {header.size:,}")
        return header


def _in_tar(file: BinaryIO, start: bytes, budget: _Budget) -> Iterator[_Content]:
    decompress = next((each for magic, each in _OPEN.items() if start.startswith(magic)), None)
    if start.startswith(_ZSTANDARD):
        try:
            decompress = importlib.import_module("compression.zstd").open
        except ImportError as error:
            raise InputError(
                f"{budget.archive} is packed by Zstandard, which Python reads from 3.14 on: unpack "
                "it and give the folder."
            ) from error
    # tarfile reads from it, and nothing else.
    whole: Any = _Counted(decompress(file) if decompress else file, budget)
    with tarfile.open(fileobj=whole, mode="r|", tarinfo=_Header) as members:
        while (member := members.next()) is not None:
            members.members = []  # type: ignore[attr-defined]  # it would keep all
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise _no_file(budget.archive, member.name, member.islnk() or member.issym())
            yield _Content(member.name, members.extractfile(member))
    # The checksum is behind the last byte.
    while whole.read(_CHUNK):
        pass


def _no_file(archive: Path, name: str, is_link: bool) -> InputError:
    what = "a link" if is_link else "a device or the like"
    return _refused(archive, f"{what}, {name}", "pack the images themselves")


def _refused(archive: Path, what: str, way_out: str) -> InputError:
    return InputError(f"{archive} holds {what}: {way_out}, or unpack it and give the folder.")


def _write(archive: Path, folder: Path, name: str, content: Any) -> None:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InputError(
            f"{archive} holds a path out of its folder, {name}: give one that you trust."
        )
    if len(parts) > _MAX_DEPTH:
        raise _refused(archive, f"more than {_MAX_DEPTH} folders in each other", "move them")
    path = folder.joinpath(*parts)
    try:
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        is_meant = not any(is_left_by_system(Path(part)) for part in parts)
        if is_meant and path.suffix.lower() in _ARCHIVES:
            raise _refused(archive, f"another archive, {name}", "pack the images themselves")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(archive, f"{name} twice", "keep one") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        begins = f"{name[:40]}…"
        raise _refused(archive, f"a name that is too long, {begins}", "shorten it") from error
