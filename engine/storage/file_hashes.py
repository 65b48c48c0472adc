"""Hashes of the model files of finished runs as they are now, or why a file cannot be hashed."""

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from engine import protocol as p


def checked(files: Mapping[str, Path]) -> p.FilesChecked:
    """Hash files, by the run whose they are; what is wrong with one says nothing about the others."""
    found: dict[str, str | None] = {}
    unreadable: dict[str, str] = {}
    for run_id, path in files.items():
        try:
            found[run_id] = sha256(path)
        except FileNotFoundError:
            found[run_id] = None
        except OSError as error:
            unreadable[run_id] = error.strerror or str(error)
    return p.FilesChecked(found=found, unreadable=unreadable)


def sha256(path: Path) -> str:
    """Return a file's hash in hexadecimal.

    Raises:
        OSError: it cannot be read, or is a link, a folder, a pipe or another thing that is no file.
    """
    refuse_no_file(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        _refuse(os.fstat(file.fileno()), path)
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_no_file(path: Path) -> None:
    """See to it that something is a file, before it is opened: a pipe would be waited for, and never ends.

    Raises:
        OSError: it is not there, cannot be looked at, or is no file.
    """
    _refuse(path.lstat(), path)


def _refuse(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
