"""The user's preferences, stored on the machine of the screen, beside the settings of other programs."""

import errno
import os
import stat
from pathlib import Path

import msgspec

from engine.machine import json_file
from engine.machine.files import make_folder
from engine.machine.user_folders import config_folder, home

WORKSPACE = Path("svhn-workspace")
"""The default workspace: a folder in the current one."""


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The preferences that are stored between starts. Unknown names in the file are ignored."""

    theme: str = ""
    """A theme's name; empty for the program's own choice."""
    columns: tuple[str, ...] = ()
    """Columns of the Runs page; empty for the default ones."""
    group_columns: tuple[str, ...] = ()
    """Columns where the Runs page groups runs by configuration; empty for the default ones."""
    alerts: bool = True
    """Whether the bell and a desktop notification report a complete question, a failure or a divergence."""


def settings_file() -> Path:
    """Return the path of the settings: `$XDG_CONFIG_HOME/svhn-tui/settings.json`, by default in `~/.config`.

    Without a home folder it is in a temporary one.
    """
    try:
        return config_folder() / "settings.json"
    except FileNotFoundError:
        return temporary_home() / "settings.json"


def temporary_home() -> Path:
    """Return the folder that is used without a home folder; another user may have made one of this name."""
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"svhn-tui-settings-{os.getuid()}"


def homeless() -> str:
    """Say in a sentence where settings are stored without a home folder; empty if there is one."""
    if os.environ.get("XDG_CONFIG_HOME", "").startswith("/") or home() is not None:
        return ""
    return f"There is no home folder (set HOME): settings are kept in {temporary_home()}, as long as that is there."


def load() -> Settings:
    """Read the settings; values that cannot be read are at their defaults."""
    try:
        file = settings_file()
        _check_owner(file.parent)
        return json_file.read(file, Settings) or Settings()
    except OSError:
        return Settings()


def save(**changes: object) -> None:
    """Change some of the settings.

    Raises:
        OSError: they cannot be written; the old ones are intact.
    """
    file = settings_file()
    own_folder()
    json_file.write(file, msgspec.structs.replace(load(), **changes))


def own_folder() -> Path:
    """Make the folder of the settings, and return it.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    folder = make_folder(settings_file().parent)
    _check_owner(folder)
    return folder


def _check_owner(folder: Path) -> None:
    """Check that a folder is the user's own: a temporary one may belong to another user.

    Raises:
        PermissionError: it belongs to another user, or is a link.
    """
    status = folder.lstat()
    if folder == temporary_home() and (status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode)):
        raise PermissionError(errno.EACCES, "another user's", str(folder))
