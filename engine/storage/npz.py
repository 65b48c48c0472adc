"""Reads the members of an `.npz` file from outside; headers are checked before the content is read.

A folder with the members as files is accepted too: Kaggle and some browsers unpack archives.
"""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from engine.storage.zip_check import (
    UNREADABLE,
    Archive,
    ArchiveError,
    MachineError,
    OpenFolder,
    first_line,
    is_machine_error,
    open_zip,
    reason,
    zip_of,
)
from engine.storage.zip_structure import ALL_METHODS

MAX_MEMBER_BYTES = 2**30
"""Largest member, in bytes; the assignment's largest has 154 MB."""
MODEST_BYTES = 2**24
MAX_RATIO = 100
"""Ratio of unpacked to packed size above which a large member is refused: photographs shrink to a half."""
MAX_HEADER_BYTES = 4096
MAX_DIRECTORY_BYTES = 2**18
"""Largest table of contents of a zip, which is read whole; an entry takes about 60 bytes."""

HEADER = re.compile(
    r"\{ *'descr': *'([|<>=](?:[biufcOSUV][0-9]{1,7}|[mM]8(?:\[[0-9]{0,9}[a-zA-Z]{1,7}\])?|O))', *"
    r"'fortran_order': *(?:True|False), *'shape': *\(([-0-9, ]{0,80})\),? *\}[ \n]*"
)
"""The header that `np.save` writes for a plain array. NumPy itself would evaluate any Python literal there."""
RECORDS = re.compile(rb"\x93NUMPY.{4,6}\{ *'descr': *\[", re.DOTALL)
"""The beginning of an array of records, each of several columns."""


class DataError(ValueError):
    """A data file cannot be used; the message is one sentence: which file, what is wrong, what to do."""


class Header(msgspec.Struct, frozen=True):
    """The shape and type that a member declares for its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Size of the array, in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


def open_archive(path: Path, members: Sequence[str]) -> Archive:
    """Open a zip, or a folder that it was unpacked into, that holds each member once; others in it are ignored.

    Raises:
        DataError: it is neither, or a member is missing or doubled.
    """
    try:
        archive: Archive = (
            OpenFolder(path)
            if path.is_dir() and (not members or _holds(path, members))
            else open_zip(path, ".npz", most=MAX_DIRECTORY_BYTES, methods=ALL_METHODS)
        )
    except FileNotFoundError:
        raise DataError(f"{path} is not there; give the folder that holds the assignment's two .npz files.") from None
    except MachineError as error:
        raise DataError(f"{path!s:.500} {error}.") from error
    except ArchiveError as error:
        raise DataError(f"{path!s:.500} {error}; give the assignment's own .npz file, or download it again.") from error
    names = archive.namelist()
    for member in members:
        count = names.count(member)
        if count != 1:
            problem = "has no" if count == 0 else f"has {count} members"
            expected = f"{', '.join(members[:-1])} and {members[-1]}, once each"
            there = f"; it holds {', '.join(map(ascii, names))[:100]}" if count == 0 and names else ""
            _refuse(archive, f"{path} {problem} {member}; expected are {expected}{there}.")
    return archive


def names_in(path: Path) -> frozenset[str]:
    """Return the names of the members of a zip or of the folder that it was unpacked into; none where it is neither."""
    try:
        with open_archive(path, ()) as archive:
            return frozenset(archive.namelist())
    except DataError:
        return frozenset()


def _holds(path: Path, members: Sequence[str]) -> bool:
    """Say whether this is a folder with one of the members in it."""
    return any((path / member).exists() for member in members)


def read_header(archive: Archive, member: str, path: Path) -> Header:
    """Read what a member declares, and check it against its size in the zip.

    Raises:
        DataError: the header cannot be read, pickled objects are declared, or the sizes do not agree.
    """
    where = f"{path}: {member}"
    try:
        return _header_of(archive, member)
    except MachineError as error:
        raise DataError(f"{path} {error}.") from error
    except ValueError as error:
        raise DataError(f"{where} {error}.") from error


def check_arrays(file: BinaryIO, kind: str) -> dict[str, Header]:
    """Return what every member of an `.npz` file declares, before NumPy makes room for any of it.

    No member holds pickled objects, and each has the size in the zip that its header asks for.

    Args:
        file: open for reading; its position changes.
        kind: of the file, for messages, such as `.npz`.

    Raises:
        MachineError: it could not be read.
        ValueError: it cannot be loaded; the message says why, after the file's name.
    """
    archive = zip_of(file, kind, most=MAX_DIRECTORY_BYTES)
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ValueError("has two members of the same name")
    headers = {}
    for name in names:
        try:
            headers[name] = _header_of(archive, name)
        except MachineError:
            raise
        except ValueError as error:
            raise ValueError(f"is damaged: {name[:60]!r} {error}") from error
    return headers


def _header_of(archive: Archive, member: str) -> Header:
    """Read what a member declares, and check it against its size in the zip.

    Raises:
        MachineError: it could not be read.
        ValueError: it is not a plain array of that size; the message says why, after the member's name.
    """
    start = b""
    try:
        with archive.open(member) as file:
            start = file.read(MAX_HEADER_BYTES)
        header, offset = _parsed(start)
    except (*UNREADABLE, TypeError) as error:  # TypeError: no such dtype
        if is_machine_error(error):
            raise MachineError(f"cannot be read ({reason(error)})") from error
        if RECORDS.match(start):
            raise ValueError("holds records of several columns; save a column as an array of its own") from error
        raise ValueError(f"has no readable NumPy header ({first_line(error)}); download it again") from error
    if header.dtype.hasobject:
        raise ValueError("holds pickled Python objects, which could run code; save it as plain arrays")
    if any(side < 0 for side in header.shape):
        raise ValueError(f"declares a negative size {header.shape}; download it again")
    if header.size > MAX_MEMBER_BYTES:
        limit = f"at most {MAX_MEMBER_BYTES // 2**20:,} MiB are read"
        raise ValueError(
            f"declares {header.size:,} bytes and {limit}; save it as uint8 or float32, or give the right file"
        )
    packed = archive.getinfo(member)
    if packed.file_size != offset + header.size:
        raise ValueError("does not have the size that it declares; download it again")
    if packed.file_size > MODEST_BYTES and packed.file_size > MAX_RATIO * packed.compress_size:
        raise ValueError(f"unpacks to more than {MAX_RATIO} times its size, as no pictures do; is it the right file?")
    return header


def read_array(archive: Archive, member: str, path: Path) -> NDArray[Any]:
    """Read a member whose header was checked.

    Raises:
        DataError: its bytes are damaged.
    """
    try:
        with archive.open(member) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except UNREADABLE as error:
        if is_machine_error(error):
            raise DataError(f"{path} cannot be read ({reason(error)}).") from error
        raise DataError(f"{path}: {member} is damaged ({first_line(error)}); download it again.") from error


def _parsed(start: bytes) -> tuple[Header, int]:
    """Return the header at the start of a member and the number of bytes that it takes.

    Raises:
        ValueError, TypeError: it is not a header of a plain array.
    """
    version = npy.read_magic(io.BytesIO(start))
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"format version {version}")
    begins, length = (10, start[8:10]) if version == (1, 0) else (12, start[8:12])
    end = begins + int.from_bytes(length, "little")
    if end > len(start):
        raise ValueError("it is cut off or too long")
    match = HEADER.fullmatch(start[begins:end].decode("latin-1"))
    if match is None:
        raise ValueError("it describes no plain array")
    descr, sides = match.groups()
    shape = tuple(int(side) for side in sides.split(",") if side.strip())
    return Header(shape, np.dtype(descr)), end


def _refuse(archive: Archive, sentence: str) -> NoReturn:
    archive.close()
    raise DataError(sentence)
