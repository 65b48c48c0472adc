"""The records of a zip file, checked for contradictions before zipfile uses them."""

import os
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import msgspec

END_RECORD = struct.Struct("<4s4H2LH")
"""The zip's last 22 bytes: signature, four counts, size and offset of the table of contents, length of a comment."""
LONG_LOCATOR = struct.Struct("<4sLQL")
"""Precedes the end record of a large zip: signature, disk, offset of the long end record, number of disks."""
LONG_RECORD = struct.Struct("<4sQ2H2L4Q")
"""Precedes that: signature, own size, versions, disks, two counts, size and offset of the table of contents."""
ENTRY = struct.Struct("<4s6H3L5H2L")
"""An entry of the table of contents, before its name, its extra fields and its comment."""
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
"""The header before a member's bytes, without its name and extra fields."""
LONG_FIELD = 1
"""Id of the extra field that holds the sizes and the offset that do not fit into 32 bits."""
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Versions of the zip format that Keras, NumPy and this program write."""
ALL_METHODS = (*PLAIN_METHODS, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
OTHER_KINDS = (
    (b"\x89HDF", "it is an HDF5 file"),
    (b"\x93NUMPY", "it is a single NumPy array"),
    (b"\x1f\x8b", "it is a gzip file"),
    (b"Rar!", "it is a RAR file"),
    (b"7z\xbc\xaf", "it is a 7-Zip file"),
    (b"book\0\0\0\0mark\0\0\0\0", "it is an alias of the Finder: give the file that it leads to"),
    (b"version https://git-lfs", "it is a pointer of Git LFS: `git lfs pull` brings the file"),
    (b"<!doctype html", "it is a web page, such as one that asks to sign in"),
    (b"<html", "it is a web page, such as one that asks to sign in"),
    *((bytes((0x80, version)), "it is a Python pickle") for version in range(2, 6)),
)
"""First bytes of files that are mistaken for a zip, text in small letters, and what such a file is."""
MAX_DICTIONARY_BYTES = 2**24
"""Largest dictionary of an LZMA member: unpacking allocates it, and a header may claim gigabytes."""


class _Directory(msgspec.Struct, frozen=True):
    """Where the table of contents is, as the end record says."""

    entries: int
    size: int
    offset: int


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A member, as the table of contents describes it."""

    name: bytes
    method: int
    packed: int
    offset: int

    @property
    def least_end(self) -> int:
        """Where the member ends if its header has no extra fields."""
        return self.offset + LOCAL_HEADER.size + len(self.name) + self.packed


def check(file: BinaryIO, most: int, methods: tuple[int, ...]) -> None:
    """Refuse a zip whose records contradict each other: zipfile would read other members than those that were checked.

    Raises:
        ValueError: it is not a zip, or not the plain kind; the message says in what.
    """
    directory, end = _end_record(file)
    if directory.size > most or directory.entries * ENTRY.size > most:
        raise ValueError("it has thousands of members where few are expected")
    if directory.offset + directory.size != end:
        raise ValueError("its table of contents is not where its end record says")
    text = _read(file, directory.offset, directory.size)
    _refuse_overlaps([(entry.offset, entry.least_end) for entry in _entries(text, directory.entries, methods)])
    _refuse_overlaps(
        [(entry.offset, _end_of(file, entry, directory)) for entry in _entries(text, directory.entries, methods)]
    )


def _refuse_overlaps(extents: list[tuple[int, int]]) -> None:
    """Refuse members that share bytes with another one, and bytes before the first.

    Raises:
        ValueError: there are some.
    """
    extents.sort()
    if extents and extents[0][0] != 0:
        raise ValueError("something stands before its first member")
    if any(start < end for (_, end), (start, _) in pairwise(extents)):
        raise ValueError("its members overlap: it declares more than it holds")


def _end_record(file: BinaryIO) -> tuple[_Directory, int]:
    """Return the table of contents' location by the end record, and where it has to end.

    Raises:
        ValueError: the file does not end as a zip without a comment ends.
    """
    size = file.seek(0, os.SEEK_END)
    end = size - END_RECORD.size
    if end < 0:
        raise ValueError(_what_else(file))
    signature, _, _, here, entries, length, offset, comment = END_RECORD.unpack(_read(file, end, END_RECORD.size))
    if signature != b"PK\5\6" or comment:
        raise ValueError(_what_else(file))
    short = _Directory(entries, length, offset)
    locator_at = end - LONG_LOCATOR.size
    if locator_at < 0 or not _read(file, locator_at, 4).startswith(b"PK\6\7"):
        if here != entries:
            raise ValueError("it is one of several parts")
        return short, end
    record_at = locator_at - LONG_RECORD.size
    if LONG_LOCATOR.unpack(_read(file, locator_at, LONG_LOCATOR.size))[2] != record_at or record_at < 0:
        raise ValueError("its second end record is not where it says")
    signature, own_size, *_, here, entries, length, offset = LONG_RECORD.unpack(
        _read(file, record_at, LONG_RECORD.size)
    )
    long = _Directory(entries, length, offset)
    pairs = zip(msgspec.structs.astuple(short), msgspec.structs.astuple(long), (2**16, 2**32, 2**32), strict=True)
    if signature != b"PK\6\6" or own_size != LONG_RECORD.size - 12 or here != entries:
        raise ValueError("its second end record is damaged")
    if any(little not in (large, limit - 1) for little, large, limit in pairs):
        raise ValueError("its two end records contradict each other")
    return long, record_at


def _what_else(file: BinaryIO) -> str:
    """Say what a file without a zip's end record seems to be, by its first bytes."""
    file.seek(0)
    start = file.read(64)
    if not start:
        return "it is empty"
    if start.startswith(b"PK\3\4"):
        return "it does not end like a zip: it was cut off, or something was added to it"
    text = start.lstrip().lower()
    kinds = (kind for beginning, kind in OTHER_KINDS if start.startswith(beginning) or text.startswith(beginning))
    return next(kinds, "it does not end like a zip")


def _entries(text: bytes, expected: int, methods: tuple[int, ...]) -> Iterator[_Entry]:
    """Yield the entries of a table of contents.

    Raises:
        ValueError: it is damaged, there are more or fewer than expected, or a member is packed in another way.
    """
    at = count = 0
    while at < len(text):
        if len(text) - at < ENTRY.size:
            raise ValueError("its table of contents is cut off")
        entry = ENTRY.unpack_from(text, at)
        signature, flags, method, lengths = entry[0], entry[3], entry[4], entry[10:13]
        name_at = at + ENTRY.size
        extra_at = name_at + lengths[0]
        name, extra = text[name_at:extra_at], text[extra_at : extra_at + lengths[1]]
        if signature != b"PK\1\2":
            raise ValueError("its table of contents is damaged")
        if b"\0" in name:
            raise ValueError("a member's name holds a NUL")
        if method not in methods or flags & 1:
            raise ValueError("a member is encrypted or packed in a way that is not read here")
        _, packed, offset = _long_sizes(extra, entry[9], entry[8], entry[16])
        yield _Entry(name, method, packed, offset)
        at += ENTRY.size + sum(lengths)
        count += 1
    if at != len(text) or count != expected:
        raise ValueError("its table of contents does not have the entries that its end record counts")


def _end_of(file: BinaryIO, entry: _Entry, directory: _Directory) -> int:
    """Check a member against its entry, and return where it ends.

    Raises:
        ValueError: they contradict each other.
    """
    header = LOCAL_HEADER.unpack(_read(file, entry.offset, LOCAL_HEADER.size))
    signature, method, name_length, extra_length = header[0], header[3], header[9], header[10]
    name_at = entry.offset + LOCAL_HEADER.size
    if signature != b"PK\3\4" or method != entry.method or _read(file, name_at, name_length) != entry.name:
        raise ValueError("a member is not the one that its table of contents names")
    start: int = name_at + name_length + extra_length
    end = start + entry.packed
    if end > directory.offset:
        raise ValueError("a member reaches beyond its end: it declares more than it holds")
    if method == zipfile.ZIP_LZMA and struct.unpack("<5xL", _read(file, start, 9))[0] > MAX_DICTIONARY_BYTES:
        raise ValueError(f"a member needs more than {MAX_DICTIONARY_BYTES // 2**20} MiB to be unpacked")
    return end


def _long_sizes(extra: bytes, *values: int) -> list[int]:
    """Return sizes and offset, those that do not fit into 32 bits from the extra field that holds them.

    Raises:
        ValueError: the field is not there or too short.
    """
    long: list[int] = []
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == LONG_FIELD:
            field = extra[4 : 4 + length]
            long += struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8])
        extra = extra[4 + length :]
    sizes = []
    for value in values:
        if value == 2**32 - 1 and not long:
            raise ValueError("a member's size is missing")
        sizes.append(long.pop(0) if value == 2**32 - 1 else value)
    return sizes


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    content = file.read(length)
    if len(content) < length:
        raise ValueError("it is cut off")
    return content
