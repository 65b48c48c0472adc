"""Zips that nobody would write by mistake."""

import zipfile
from collections.abc import Iterable
from pathlib import Path


def share_first(archive: zipfile.ZipFile, name: str) -> None:
    """List another member of an open zip that has the bytes of the first one."""
    first = archive.infolist()[0]
    copied = zipfile.ZipInfo(name)
    copied.file_size, copied.compress_size, copied.CRC = first.file_size, first.compress_size, first.CRC
    copied.header_offset = first.header_offset
    archive.filelist.append(copied)
    archive.NameToInfo[name] = copied


def of_nothing(path: Path, names: Iterable[str]) -> Path:
    """Write a zip of empty members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return path
