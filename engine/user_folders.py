"""The user's own folders: where settings and caches lie, also where there is no home."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from engine.files import PRIVATE_FOLDER

NAMES = 10
"""Caches that are not ours alone, or cannot be made, before a new temporary one is taken."""


def config_folder() -> Path:
    """Return the folder of the user's settings: `$XDG_CONFIG_HOME/svhn-tui`, by default in `~/.config`.

    Raises:
        FileNotFoundError: there is no home.
    """
    return _base("XDG_CONFIG_HOME", ".config") / "svhn-tui"


def cache_folder(name: str) -> Path:
    """Return a folder for what can be made again; nobody else reads it, or writes what is later run from it.

    Raises:
        OSError: there is no home and no room for temporary files.
    """
    try:
        base = _base("XDG_CACHE_HOME", ".cache")
        base.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        return _private(_private(base, "svhn-tui"), name)
    except OSError:
        return _private(_private(Path(tempfile.gettempdir()), f"svhn-tui-cache-{os.getuid()}"), name)


def _base(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    if given.startswith("/"):  # any other is invalid, says the XDG specification
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise FileNotFoundError(2, f"There is no home folder, and {variable} is not set", variable)
    return home / default


def _private(parent: Path, name: str) -> Path:
    """Return a folder that is ours alone, made if it is missing; where one is another's, it gets another name.

    Raises:
        OSError: none can be made here.
    """
    for number in range(NAMES):
        folder = parent / (f"{name}-{number}" if number else name)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_FOLDER)
        if is_ours_alone(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))


def is_ours_alone(path: Path) -> bool:
    """Say whether a folder or file is the user's and nobody else's; a link is not."""
    try:
        status = path.lstat()
    except OSError:
        return False
    is_kind = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    return is_kind and status.st_uid == os.getuid() and not status.st_mode & 0o077
