"""Zip files from outside, looked at before zipfile reads their table of contents whole; or what they unpacked into."""

import lzma
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, Self

END_RECORD = struct.Struct("<4s4H2LH")
"""The zip's last 22 bytes: signature, four counts, size and place of the table of contents, length of a comment."""
LONG_LOCATOR = struct.Struct("<4sLQL")
"""Before the end record of a large zip: signature, disk, place of the long end record, number of disks."""
LONG_RECORD = struct.Struct("<4sQ2H2L4Q")
"""Its end record: the last but one number is the size of the table of contents."""
UNREADABLE = (
    ValueError, OSError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What zipfile and the decompressors raise on damaged or encrypted members, or ones packed in a way not known here."""


class ArchiveError(ValueError):
    """A file is no zip that can be opened; the message says why, after the file's name."""


class OpenFolder:
    """A folder that an archive was unpacked into, as Kaggle and some browsers do: what a `ZipFile` answers, it does."""

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
        """Return the names of the files in it, but for hidden ones."""
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
        """Open a file, and nothing that only looks like one."""
        return open_regular(self._folder / name)


Archive = zipfile.ZipFile | OpenFolder


def open_zip(path: Path, kind: str, *, most: int) -> zipfile.ZipFile:
    """Open a zip of some kind whose table of contents has at most so many bytes; an entry takes 46 and its name.

    Raises:
        FileNotFoundError: it is not there.
        ArchiveError: it is no regular file, no zip, or has more members.
    """
    file = open_regular(path)
    try:
        if _directory_bytes(file) > most:
            raise ValueError("it has thousands of members where few are expected")
        return zipfile.ZipFile(file)
    except UNREADABLE as error:
        file.close()
        raise ArchiveError(f"is no {kind} file ({first_line(error)})") from error


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, and nothing that only looks like one.

    Raises:
        FileNotFoundError: it is not there.
        ArchiveError: it is a folder, a pipe or a device, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for its writer
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ArchiveError(f"cannot be opened ({first_line(error)})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArchiveError("is not a regular file")
    return os.fdopen(descriptor, "rb")


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _directory_bytes(file: BinaryIO) -> int:
    """Return the size of the table of contents: a million empty members would cost a gigabyte.

    Raises:
        ValueError: the file does not end as a zip without a comment ends.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_RECORD.size - LONG_LOCATOR.size))
    tail = file.read()
    end, before = tail[-END_RECORD.size :], tail[: -END_RECORD.size]
    if len(end) < END_RECORD.size or not end.startswith(b"PK\5\6") or not end.endswith(b"\0\0"):
        raise ValueError("it does not end like a zip")
    if not before.startswith(b"PK\6\7"):
        return int(END_RECORD.unpack(end)[5])
    file.seek(LONG_LOCATOR.unpack(before)[2])
    return int(LONG_RECORD.unpack(file.read(LONG_RECORD.size))[8])
