"""The user's own folders, for settings and caches, also where there is no home."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from engine.machine.files import PRIVATE_FOLDER
from engine.machine.ownership import is_ours_alone

NAMES = 10
"""Names that are tried for a folder before a temporary one is made: others may own or enter the earlier ones."""


def config_folder() -> Path:
    """Return the folder of the user's settings: `$XDG_CONFIG_HOME/svhn-tui`, by default in `~/.config`.

    Raises:
        FileNotFoundError: there is no home.
    """
    return _base("XDG_CONFIG_HOME", ".config") / "svhn-tui"


def cache_folder(name: str) -> Path:
    """Return a private folder for files that can be made again, some of which are executed later.

    Raises:
        OSError: there is no home and no room for temporary files.
    """
    try:
        base = _base("XDG_CACHE_HOME", ".cache")
        base.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        return _private(_private(base, "svhn-tui"), name)
    except OSError:
        return _private(_private(Path(tempfile.gettempdir()), f"svhn-tui-cache-{os.getuid()}"), name)


def home() -> Path | None:
    """Return the user's home; None where neither HOME nor the system's list of users names one."""
    import pwd  # not on Windows, where the command line has to be importable

    with contextlib.suppress(KeyError):
        given = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
        return Path(given) if given.startswith("/") else None
    return None


def _base(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    if given.startswith("/"):  # any other is invalid, says the XDG specification
        return Path(given)
    folder = home()
    if folder is None:
        raise FileNotFoundError(errno.ENOENT, f"there is no home folder, and {variable} is not set", variable)
    return folder / default


def _private(parent: Path, name: str) -> Path:
    """Return a folder that only the user can enter, made if it is missing; another name where that one is not so.

    Raises:
        OSError: it cannot be made.
    """
    for number in range(NAMES):
        folder = parent / (f"{name}-{number}" if number else name)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_FOLDER)
        if is_ours_alone(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
