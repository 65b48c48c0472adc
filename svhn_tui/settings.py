"""What the user likes, kept on the machine that the screen runs on, beside the settings of other programs."""

from pathlib import Path

import msgspec

from engine.files import make_folder, write_atomically
from engine.user_folders import config_folder


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered from one start to the next. Unknown names in the file are left out of account."""

    theme: str = ""
    """A theme's name; empty for the program's own choice."""
    columns: tuple[str, ...] = ()
    """Columns of the Runs page; empty for those that it comes with."""
    group_columns: tuple[str, ...] = ()
    """The same where a line is a configuration."""


def settings_file() -> Path:
    """Return where they are kept: `$XDG_CONFIG_HOME/svhn-tui/settings.json`, by default in `~/.config`.

    Raises:
        FileNotFoundError: there is no home.
    """
    return config_folder() / "settings.json"


def load() -> Settings:
    """Read them; what cannot be read is as if it had never been set."""
    try:
        return msgspec.json.decode(settings_file().read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):  # no file, no home, no sense
        return Settings()


def keep(**changes: object) -> None:
    """Change some of them.

    Raises:
        OSError: they cannot be written; the old ones are whole.
    """
    file = settings_file()
    make_folder(file.parent)
    write_atomically(file, msgspec.json.encode(msgspec.structs.replace(load(), **changes)) + b"\n")
