"""Checks who owns a workspace and who can write to it: its files decide what is started, so only its user may.

Whatever others can write counts as written by them. Who may read it is the user's choice and is not checked.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.machine.files import Folder, NotOurs
from engine.machine.system import user_name

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
NAMES = ("runs", "sweeps", "trash", "host.json", "runs.json", "host.lock", "host.log", "experiments.json")
"""What the program reads at a workspace's top."""
READ_ONLY_HELP = "--read-only shows its answers all the same"


def problem(root: Path) -> str:
    """Return why a workspace is not trusted, in a sentence that says what to do; empty where only its user can write.

    Args:
        root: the workspace, links resolved.

    Raises:
        OSError: it cannot be read.
    """
    is_open = bool(root.stat().st_mode & OTHERS_ENTER)
    for path in _paths(root, is_open=is_open):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # half-written files come and go while a host runs
        if status.st_uid != os.geteuid():
            owner, ours = user_name(status.st_uid), user_name(os.geteuid())
            return f"{path} belongs to {owner}, not to {ours}: nothing is started or changed there ({READ_ONLY_HELP})."
        is_reached = path == root or is_open
        if is_reached and status.st_mode & OTHERS_WRITE and not stat.S_ISLNK(status.st_mode):
            return (
                f"Others can write to {path}. If nobody else did: chmod -R go-w {shlex.quote(str(root))} "
                f"({READ_ONLY_HELP})."
            )
    return ""


def exposure(root: Path) -> str:
    """Return who else could replace this folder by another one, in a sentence; empty where nobody can.

    Args:
        root: the workspace, links resolved.
    """
    for folder in root.parents:
        status = folder.stat()
        if status.st_uid not in (0, os.geteuid()):
            return f"{folder} belongs to {user_name(status.st_uid)}, who can put another folder in the place of {root}."
        if status.st_mode & OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
            return f"Others can write to {folder} and so put another folder in the place of {root}."
    return ""


def is_ours_alone(folder: Path) -> bool:
    """Say whether this is a folder and not a link, belongs to the user, and cannot be entered by others."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def open_ours(path: Path, flags: int) -> int:
    """Open a file at the workspace's top; a link, a pipe or a file with a second name is refused.

    Raises:
        OSError: it cannot be opened, or is not such a file.
    """
    strange = FileExistsError(
        errno.EEXIST, "something else stands where svhn-tui keeps a file; move it away", str(path)
    )
    try:
        with Folder.at(path.parent) as folder:
            return folder.open_in_place(path.name, flags)
    except NotOurs:
        raise strange from None


def read_private(path: Path) -> bytes:
    """Return the content of a file that decides what is run: nobody else may be able to read or write it.

    Raises:
        OSError: it is not there, cannot be read, or others have access to it.
    """
    with os.fdopen(open_ours(path, os.O_RDONLY), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(errno.EPERM, "it is not yours alone: mode 0600", str(path))
        return file.read()


def _paths(root: Path, *, is_open: bool) -> Iterator[Path]:
    """Yield what is checked: the folder, the files read at its top, the sweeps, and the runs if others can enter."""
    yield root
    yield from (root / name for name in NAMES)
    for folder in (root / "sweeps", *((root / "runs",) if is_open else ())):
        if folder.is_dir() and not folder.is_symlink():
            yield from (Path(entry) for entry in os.scandir(folder))
