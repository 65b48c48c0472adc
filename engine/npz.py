"""Reading the members of an `.npz` file that we did not write, checked before anything is read whole."""

import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_MEMBER_BYTES = 2**30
"""The assignment's largest member has 154 MB."""
MAX_LABEL_BYTES = 64
MAX_HEADER_BYTES = 4096
MAX_MEMBERS = 1_000


class DataError(ValueError):
    """A data file cannot be used; the message is one sentence: which file, what is wrong, what to do."""


class Header(msgspec.Struct, frozen=True):
    """What a member declares about its array."""

    shape: tuple[int, ...]
    dtype: Any
    offset: int
    """Bytes before the first element."""


def open_archive(path: Path, members: Sequence[str]) -> zipfile.ZipFile:
    """Open a zip that holds each of the members once; others in it are ignored.

    Raises:
        DataError: it is no regular file, no zip, or a member is missing or doubled.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for its writer
    except FileNotFoundError:
        raise DataError(f"{path} is not there; give the folder that holds the assignment's two .npz files.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path} is not a regular file; give the assignment's .npz file itself.")
    file = os.fdopen(descriptor, "rb")
    try:
        archive = zipfile.ZipFile(file)
        names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        file.close()
        raise DataError(f"{path} is no .npz file ({error}); download it again.") from error
    if len(names) > MAX_MEMBERS:
        _refuse(archive, f"{path} has {len(names):,} members; the assignment's files have two.")
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
            version = npy.read_magic(file)
            reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"format version {version}")
            shape, _, dtype = reader(file, max_header_size=MAX_HEADER_BYTES)
            offset = file.tell()
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, SyntaxError) as error:
        raise DataError(f"{where} has no readable NumPy header ({_first_line(error)}); download it again.") from error
    if dtype.hasobject:
        raise DataError(f"{where} holds pickled Python objects, which could run code; save it as plain arrays.")
    if any(side < 0 for side in shape):
        raise DataError(f"{where} declares a negative size {shape}; download it again.")
    declared = dtype.itemsize
    for side in shape:
        declared *= int(side)
    if declared > MAX_MEMBER_BYTES:
        limit = MAX_MEMBER_BYTES // 2**20
        raise DataError(f"{where} declares {declared:,} bytes; at most {limit:,} MiB are read. Is it the right file?")
    if archive.getinfo(member).file_size != offset + declared:
        raise DataError(f"{where} does not have the size that it declares; download it again.")
    return Header(tuple(int(side) for side in shape), dtype, offset)


def read_array(archive: zipfile.ZipFile, member: str, path: Path) -> NDArray[Any]:
    """Read a member whose header was found good.

    Raises:
        DataError: its bytes are damaged.
    """
    try:
        with archive.open(member) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: {member} is damaged ({_first_line(error)}); download it again.") from error


def _refuse(archive: zipfile.ZipFile, sentence: str) -> NoReturn:
    archive.close()
    raise DataError(sentence)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
