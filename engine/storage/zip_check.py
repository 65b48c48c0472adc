"""Checks files from outside: regular files only, private copies, zip archives checked before zipfile reads them.

A folder that a zip was unpacked into is accepted too.
"""

import contextlib
import hashlib
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Self

import msgspec

from engine.machine import os_errors
from engine.storage import zip_structure
from engine.storage.zip_structure import PLAIN_METHODS

CHUNK = 2**20
UNREADABLE = (
    ValueError, OSError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""Exceptions of zipfile and decompressors on members that are damaged, encrypted, or of an unknown compression."""


class ArchiveError(ValueError):
    """A file is not a zip that can be opened; the message says why, after the file's name."""


class MachineError(ArchiveError):
    """The machine failed while the file was read: no room, no permission, a bad disk. The file may be valid."""


class Content(msgspec.Struct, frozen=True):
    """Size of a copied file in bytes, and its SHA-256."""

    bytes: int
    sha256: str


class OpenFolder:
    """A folder that an archive was unpacked into, as Kaggle and some browsers do, with the interface of `ZipFile`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        """Nothing is open."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""

    def namelist(self) -> list[str]:
        """Return the names of the files in it, without hidden ones."""
        paths = (path.relative_to(self._folder) for path in self._folder.rglob("*") if not path.is_dir())
        return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))

    def infolist(self) -> list[zipfile.ZipInfo]:
        """Return the files as members."""
        return [self.getinfo(name) for name in self.namelist()]

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        """Return a file as a member that is stored as it is; a link to another file has that one's size."""
        path, member = self._folder / name, zipfile.ZipInfo(name)
        member.file_size = member.compress_size = path.stat().st_size
        member.external_attr = path.lstat().st_mode << 16
        return member

    def open(self, name: str) -> IO[bytes]:
        """Open a regular file."""
        return open_regular(self._folder / name)


Archive = zipfile.ZipFile | OpenFolder


def open_zip(path: Path, kind: str, *, most: int, methods: tuple[int, ...] = PLAIN_METHODS) -> zipfile.ZipFile:
    """Open a zip of some kind whose table of contents has at most so many bytes; an entry takes 46 and its name.

    Raises:
        FileNotFoundError: it is not there.
        MachineError: it could not be read.
        ArchiveError: it is not a regular file or not a zip, has more members, or contradicts itself.
    """
    file = open_regular(path)
    try:
        return zip_of(file, kind, most=most, methods=methods)
    except ArchiveError:
        file.close()
        raise


def zip_of(file: BinaryIO, kind: str, *, most: int, methods: tuple[int, ...] = PLAIN_METHODS) -> zipfile.ZipFile:
    """Return the zip in an open file, as `open_zip` does.

    Raises:
        MachineError, ArchiveError: as there.
    """
    try:
        zip_structure.check(file, most, methods)
        return zipfile.ZipFile(file)
    except UNREADABLE as error:
        if is_machine_error(error):
            raise MachineError(f"cannot be read ({reason(error)})") from error
        raise ArchiveError(f"is not a {kind} file ({first_line(error)})") from error


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        FileNotFoundError: it is not there.
        MachineError: it cannot be read.
        ArchiveError: it is a folder, a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for its writer
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        kind = MachineError if is_machine_error(error) else ArchiveError
        raise kind(f"cannot be opened ({reason(error)})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArchiveError("is not a regular file")
    return os.fdopen(descriptor, "rb")


def copy_private(path: Path, target: Path, *, most: int) -> Content:
    """Copy a file to a new one that only the user can open, so that later changes of the original have no effect.

    Raises:
        FileNotFoundError: it is not there.
        MachineError: it cannot be read, or the copy cannot be written.
        ArchiveError: it is not a regular file, or has more bytes than `most`.
    """
    size, digest = 0, hashlib.sha256()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_regular(path))
        with machine_errors(f"cannot be copied to {target.parent}"):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            copy = stack.enter_context(os.fdopen(descriptor, "wb", buffering=0))
        while True:
            if max(size, os.fstat(source.fileno()).st_size) > most:
                raise ArchiveError(f"is larger than {most // 2**20} MiB")
            with machine_errors("cannot be read"):
                chunk = source.read(CHUNK)
            if not chunk:
                return Content(size, digest.hexdigest())
            with machine_errors(f"cannot be copied to {target.parent}"):
                write_whole(copy, chunk)
            size += len(chunk)
            digest.update(chunk)


def write_whole(file: BinaryIO, chunk: bytes) -> None:
    """Write all of it to an unbuffered file."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def machine_errors(what: str) -> Iterator[None]:
    """Turn any error of the operating system into a `MachineError` that says what could not be done."""
    try:
        yield
    except (OSError, MemoryError) as error:
        raise MachineError(f"{what} ({reason(error)})") from error


def is_machine_error(error: BaseException) -> bool:
    """Say whether an error is the machine's, so that the file that was being read may be valid."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in os_errors.MEANINGS)


def reason(error: BaseException) -> str:
    """Return the operating system's message for an error, or else its first line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
