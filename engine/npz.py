"""Reading the members of an `.npz` file that we did not write, checked before anything is read whole."""

import io
import lzma
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_MEMBER_BYTES = 2**30
"""The assignment's largest member has 154 MB."""
MAX_HEADER_BYTES = 4096
MAX_DIRECTORY_BYTES = 2**18
"""Of the zip's table of contents, which is read whole; an entry takes about 60 bytes."""

END_RECORD = struct.Struct("<4s4H2LH")
"""The zip's last 22 bytes: signature, four counts, size and place of the table of contents, length of a comment."""
ZIP64_LOCATOR_BYTES = 20
HEADER = re.compile(
    r"\{ *'descr': *'([|<>=][biufcOSUVMm][0-9]{1,7}|[|<>=]O)', *'fortran_order': *(?:True|False), *"
    r"'shape': *\(([-0-9, ]{0,80})\),? *\}[ \n]*"
)
"""What `np.save` writes for a plain array. NumPy itself would evaluate any Python literal that stands there."""
UNREADABLE = (
    ValueError, OSError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What zipfile and the decompressors raise on damaged or encrypted members, or ones packed in a way not known here."""


class DataError(ValueError):
    """A data file cannot be used; the message is one sentence: which file, what is wrong, what to do."""


class Header(msgspec.Struct, frozen=True):
    """What a member declares about its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return self.dtype.itemsize * math.prod(self.shape)


def open_archive(path: Path, members: Sequence[str]) -> zipfile.ZipFile:
    """Open a zip that holds each of the members once; others in it are ignored.

    Raises:
        DataError: it is no regular file, no zip, or a member is missing or doubled.
    """
    file = _open_regular(path)
    try:
        _check_directory(file)
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
    except UNREADABLE as error:
        file.close()
        raise DataError(f"{path} is no .npz file ({_first_line(error)}); download it again.") from error
    for member in members:
        count = names.count(member)
        if count != 1:
            problem = "has no" if count == 0 else f"has {count} members"
            _refuse(archive, f"{path} {problem} {member}; expected are {' and '.join(members)}, once each.")
    return archive


def read_header(archive: zipfile.ZipFile, member: str, path: Path) -> Header:
    """Read what a member declares, and check it against its size in the zip.

    Raises:
        DataError: the header cannot be read, pickled objects are declared, or the sizes do not agree.
    """
    where = f"{path}: {member}"
    try:
        with archive.open(member) as file:
            start = file.read(MAX_HEADER_BYTES)
        header, offset = _parsed(start)
    except (*UNREADABLE, TypeError) as error:  # TypeError: no such dtype
        raise DataError(f"{where} has no readable NumPy header ({_first_line(error)}); download it again.") from error
    if header.dtype.hasobject:
        raise DataError(f"{where} holds pickled Python objects, which could run code; save it as plain arrays.")
    if any(side < 0 for side in header.shape):
        raise DataError(f"{where} declares a negative size {header.shape}; download it again.")
    if header.size > MAX_MEMBER_BYTES:
        limit = f"at most {MAX_MEMBER_BYTES // 2**20:,} MiB are read"
        raise DataError(f"{where} declares {header.size:,} bytes and {limit}; give the assignment's own file.")
    if archive.getinfo(member).file_size != offset + header.size:
        raise DataError(f"{where} does not have the size that it declares; download it again.")
    return header


def read_array(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    """Read a member whose header was found good.

    Raises:
        DataError: its bytes are damaged.
    """
    try:
        with archive.open(member) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except UNREADABLE as error:
        raise DataError(f"{path}: {member} is damaged ({_first_line(error)}); download it again.") from error


def _open_regular(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for its writer
    except FileNotFoundError:
        raise DataError(f"{path} is not there; give the folder that holds the assignment's two .npz files.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path!s:.200} cannot be opened ({error}); check its name and permissions.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path} is not a regular file; give the assignment's .npz file itself.")
    return os.fdopen(descriptor, "rb")


def _check_directory(file: BinaryIO) -> None:
    """Bound the table of contents, which zipfile reads whole: a million empty members would cost a gigabyte.

    Raises:
        ValueError: the file does not end as `np.savez` ends it, or the table is too large.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_RECORD.size - ZIP64_LOCATOR_BYTES))
    tail = file.read()
    end = tail[-END_RECORD.size :]
    if len(end) < END_RECORD.size or not end.startswith(b"PK\5\6") or not end.endswith(b"\0\0"):
        raise ValueError("it does not end like a zip")
    if tail[: -END_RECORD.size].startswith(b"PK\6\7"):
        raise ValueError("it has thousands of members, or more than 4 GiB")
    if END_RECORD.unpack(end)[5] > MAX_DIRECTORY_BYTES:
        raise ValueError("it has thousands of members where two are expected")


def _parsed(start: bytes) -> tuple[Header, int]:
    """Return the header at the start of a member and the number of bytes that it takes.

    Raises:
        ValueError, TypeError: it is no header of a plain array.
    """
    version = npy.read_magic(io.BytesIO(start))
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"format version {version}")
    place, length = (10, start[8:10]) if version == (1, 0) else (12, start[8:12])
    end = place + int.from_bytes(length, "little")
    if end > len(start):
        raise ValueError("it is cut off or too long")
    found = HEADER.fullmatch(start[place:end].decode("latin-1"))
    if found is None:
        raise ValueError("it describes no plain array")
    descr, sides = found.groups()
    shape = tuple(int(side) for side in sides.split(",") if side.strip())
    return Header(shape, np.dtype(descr)), end


def _refuse(archive: zipfile.ZipFile, sentence: str) -> NoReturn:
    archive.close()
    raise DataError(sentence)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
