"""Hashes of the model files of finished runs as they are now, or why a file cannot be hashed."""

import errno
import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path

from engine import protocol as p
from engine.machine.files import Folder, NotOurs


def checked(files: Mapping[str, Path]) -> p.FilesChecked:
    """Hash files by their runs; a file that cannot be read does not affect the others."""
    hashes: dict[str, str | None] = {}
    unreadable: dict[str, str] = {}
    for run_id, path in files.items():
        try:
            hashes[run_id] = sha256(path)
        except FileNotFoundError:
            hashes[run_id] = None
        except OSError as error:
            unreadable[run_id] = error.strerror or str(error)
    return p.FilesChecked(hashes=hashes, unreadable=unreadable)


def sha256(path: Path) -> str:
    """Return a file's hash in hexadecimal.

    Raises:
        OSError: it cannot be read, or is a link, a folder, a pipe or another thing that is not a file.
    """
    try:
        with Folder.at(path.parent) as folder:
            return sha256_of(folder, path.name)
    except NotOurs as error:
        raise _no_file(path) from error


def sha256_of(folder: Folder, name: str) -> str:
    """Return the hash of a file of a folder in hexadecimal.

    Raises:
        NotOurs: it is not a regular file.
        OSError: it cannot be read.
    """
    with folder.open_to_read(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_no_file(path: Path) -> None:
    """Check that something is a file, before it is opened: opening a pipe waits for a writer.

    Raises:
        OSError: it does not exist, cannot be examined, or is not a file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _no_file(path)


def _no_file(path: Path) -> OSError:
    return OSError(errno.EINVAL, "it is not a file", str(path))
