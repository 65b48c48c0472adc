"""The original SVHN files: `train_32x32.mat` and `test_32x32.mat`, with X (height, width, channels, N) and y.

In them the label 10 stands for the digit 0. What a file declares is read here, from a few bytes of each variable, and
checked; SciPy then reads the variables. Format: MATLAB's "MAT-File Format", version 5.
"""

import contextlib
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.data import labels as label_forms
from engine.data.part import Part, check_images, member_at
from engine.storage.npz import MAX_MEMBER_BYTES, MAX_RATIO, MODEST_BYTES, DataError, Header
from engine.storage.zip_check import ArchiveError, first_line, is_machine_error, open_regular, reason

LAYOUTS = ("HWCN", "HWN")
IMAGES, LABELS = "X", "y"
MATRIX, COMPRESSED = 14, 15
"""Types of a variable: as it is, or behind zlib."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
"""Bytes of a number, by the type that it is stored as."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Arrays of numbers, by MATLAB's class; cells, structures, text, objects and functions are others."""
START = 4_096
"""Bytes of a variable in which its header is complete."""
MAX_VARIABLES = 100
NEWER = "is a file of MATLAB 7.3 (HDF5), which is not read here; save it with -v7"
INSTALL = "install SciPy (pip install scipy), which reads .mat files"


class Variable(NamedTuple):
    """The header of a variable."""

    header: Header
    stored: int
    """Bytes of its numbers when unpacked."""
    packed: int
    """Bytes of it in the file."""


def suits(train: Path, test: Path) -> bool:
    """Say whether these may be the two files."""
    return train.suffix.lower() == test.suffix.lower() == ".mat"


@contextlib.contextmanager
def opened(train: Path, test: Path) -> Iterator[tuple[Part, Part]]:
    """Open the two files.

    Raises:
        DataError: they cannot be used.
    """
    yield _part(train), _part(test)


def _part(path: Path) -> Part:
    declared = _declared(path)
    missing = [name for name in (IMAGES, LABELS) if name not in declared]
    if missing:
        there = f"it holds {', '.join(map(ascii, declared))[:100]}" if declared else "it holds no array of numbers"
        raise DataError(f"{path} has no variable {missing[0]}; X and y are expected, and {there}.")
    images, labels = (_checked(declared[name], name, path) for name in (IMAGES, LABELS))
    images_at, labels_at = member_at(path, IMAGES), member_at(path, LABELS)
    check_images(images, images_at)
    values = _read(LABELS, path)
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)  # MATLAB's numbers are float64 by default
    label_forms.check(Header(values.shape, values.dtype), labels_at)
    if values.size != max(labels.shape):
        raise DataError(f"{labels_at}: the labels have the shape {labels.shape}; (N, 1) is expected.")
    values = values.reshape(-1)
    if set(np.unique(values).tolist()) <= set(range(1, 11)):
        values = np.where(values == 10, 0, values)
    return Part(path, images_at, labels_at, images, label_forms.read(values, labels_at), partial(_read, IMAGES, path))


def _checked(variable: Variable, name: str, path: Path) -> Header:
    """Check that a variable has the size that it declares, and one that fits into memory."""
    where, declared = f"{path}: {name}", variable.header
    if declared.size > MAX_MEMBER_BYTES or variable.stored > MAX_MEMBER_BYTES:
        limit = f"at most {MAX_MEMBER_BYTES // 2**20:,} MiB are read"
        raise DataError(f"{where} declares {max(declared.size, variable.stored):,} bytes and {limit}.")
    if variable.stored > MODEST_BYTES and variable.stored > MAX_RATIO * variable.packed:
        raise DataError(f"{where} unpacks to more than {MAX_RATIO} times its size, as no pictures do.")
    return declared


def _declared(path: Path) -> Mapping[str, Variable]:
    """Return what the arrays of numbers in a file declare, without unpacking them.

    Raises:
        DataError: it is not such a file.
    """
    try:
        with open_regular(path) as file:
            return _variables(file)
    except FileNotFoundError:
        raise DataError(
            f"{path} is not there; give the folder that holds train_32x32.mat and test_32x32.mat."
        ) from None
    except (ArchiveError, ValueError, OSError, struct.error, zlib.error, KeyError) as error:
        if is_machine_error(error):
            raise DataError(f"{path} cannot be read ({reason(error)}).") from error
        problem = str(error) if isinstance(error, ArchiveError) else f"is damaged or no .mat file ({first_line(error)})"
        advice = "" if problem == NEWER else "; download it again"
        raise DataError(f"{path} {problem}{advice}.") from error


def _variables(file: BinaryIO) -> dict[str, Variable]:
    head = file.read(128)
    if head.startswith((b"\x89HDF", b"MATLAB 7.3")):
        raise ArchiveError(NEWER)
    orders = {b"IM": "<", b"MI": ">"}
    if len(head) < 128 or head[126:] not in orders:
        raise ArchiveError("is not a .mat file of MATLAB 5 to 7")
    order, variables = orders[head[126:]], dict[str, Variable]()
    end = file.seek(0, 2)
    offset = 128
    for _ in range(MAX_VARIABLES):
        if offset == end:
            return variables
        file.seek(offset)
        kind, size = struct.unpack(f"{order}II", _whole(file.read(8), 8))
        if offset + 8 + size > end:
            raise ValueError("it is cut off")
        start = file.read(min(size, START))
        if kind == COMPRESSED:
            start = zlib.decompressobj().decompress(start, START)
        elif kind == MATRIX:
            start = struct.pack(f"{order}II", kind, size) + start
        if kind in (MATRIX, COMPRESSED) and (variable := _variable(start, order, size)) is not None:
            variables[variable[0]] = variable[1]
        offset += 8 + size
    raise ValueError(f"it has more than {MAX_VARIABLES} variables")


def _variable(start: bytes, order: str, packed: int) -> tuple[str, Variable] | None:
    """Return name and header of an array of numbers; None for whatever else is there."""
    kind, whole = struct.unpack_from(f"{order}II", start)
    flags = struct.unpack_from(f"{order}IIII", start, 8)[2]
    if kind != MATRIX or flags & 0xFF not in CLASSES or flags & 0x800:  # 0x800: complex numbers
        return None
    sides, offset = _element(start, 24, order)
    shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
    name, offset = _element(start, offset, order)
    numbers, stored = struct.unpack_from(f"{order}II", start, offset)
    if numbers >> 16:  # at most four bytes follow their type directly
        numbers, stored = numbers & 0xFFFF, numbers >> 16
    if any(side < 0 for side in shape):
        raise ValueError(f"it declares a negative size {shape}")
    if math.prod(shape) * SIZES[numbers] != stored or stored > whole:
        raise ValueError("a variable does not have the size that it declares")
    return name.decode("latin-1"), Variable(Header(shape, np.dtype(CLASSES[flags & 0xFF])), stored, packed)


def _element(start: bytes, offset: int, order: str) -> tuple[bytes, int]:
    """Return the bytes of an element of a header, and where the next one begins."""
    kind, size = struct.unpack_from(f"{order}II", start, offset)
    if kind >> 16:
        return _whole(start[offset + 4 :][: kind >> 16], kind >> 16), offset + 8
    if size > START:
        raise ValueError("a name or a shape is too long")
    return _whole(start[offset + 8 :][:size], size), offset + 8 + -(-size // 8) * 8


def _whole(content: bytes, size: int) -> bytes:
    if len(content) < size:
        raise ValueError("it is cut off")
    return content


def _read(name: str, path: Path) -> NDArray[Any]:
    """Read a variable whose header was checked.

    Raises:
        DataError: it is damaged, or there is no SciPy.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f"{path}: {INSTALL}.") from error
    try:
        with open_regular(path) as file:
            values: NDArray[Any] = loadmat(file, variable_names=(name,))[name]
    except Exception as error:
        if is_machine_error(error):
            raise DataError(f"{path} cannot be read ({reason(error)}).") from error
        raise DataError(f"{path}: {name} is damaged ({first_line(error)}); download it again.") from error
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: {name} holds {values.dtype} and no numbers.")
    return values
