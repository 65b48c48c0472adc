"""What the user likes, kept on the machine that the screen runs on, beside the settings of other programs."""

import errno
import os
import stat
from pathlib import Path

import msgspec

from engine.machine import json_file
from engine.machine.files import make_folder
from engine.machine.user_folders import config_folder, home

WORKSPACE = Path("svhn-workspace")
"""Of who names none: a folder here."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered from one start to the next. Unknown names in the file are left out of account."""

    theme: str = ""
    """A theme's name; empty for the program's own choice."""
    columns: tuple[str, ...] = ()
    """Columns of the Runs page; empty for those that it comes with."""
    group_columns: tuple[str, ...] = ()
    """The same where a line is a configuration."""
    alerts: bool = True
    """A bell and a notice of the desktop when a question is complete, or something failed or diverged."""


def settings_file() -> Path:
    """Return where they are kept: `$XDG_CONFIG_HOME/svhn-tui/settings.json`, by default in `~/.config`.

    Who has no home keeps them in a temporary folder.
    """
    try:
        return config_folder() / "settings.json"
    except FileNotFoundError:
        return temporary_home() / "settings.json"


def temporary_home() -> Path:
    """Return a folder for who has no home; others may have made one of this name."""
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"svhn-tui-settings-{os.getuid()}"


def homeless() -> str:
    """Say in a sentence where settings are kept without a home; empty where there is one."""
    if os.environ.get("XDG_CONFIG_HOME", "").startswith("/") or home() is not None:
        return ""
    return f"There is no home folder (set HOME): settings are kept in {temporary_home()}, as long as that is there."


def load() -> Settings:
    """Read them; what cannot be read is as if it had never been set."""
    try:
        file = settings_file()
        _check_owner(file.parent)
        return json_file.read(file, Settings) or Settings()
    except OSError:
        return Settings()


def save(**changes: object) -> None:
    """Change some of them.

    Raises:
        OSError: they cannot be written; the old ones are whole.
    """
    file = settings_file()
    own_folder()
    json_file.write(file, msgspec.structs.replace(load(), **changes))


def own_folder() -> Path:
    """Make the folder that settings are kept in, and return it.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder = make_folder(settings_file().parent)
    _check_owner(folder)
    return folder


def _check_owner(folder: Path) -> None:
    """See that a folder is the user's own: a temporary one may be somebody else's.

    Raises:
        PermissionError: it is another user's, or a link.
    """
    status = folder.lstat()
    if folder == temporary_home() and (status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode)):
        raise PermissionError(errno.EACCES, "another user's", str(folder))
