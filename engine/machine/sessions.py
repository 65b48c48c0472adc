"""What systemd does to training when its user logs out, from logind's settings."""

import configparser
import os
from collections.abc import Iterator
from pathlib import Path

from engine.core.finding import Finding
from engine.machine.system import user_name

ROOT = Path("/")
SETTINGS = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
"""Where `logind.conf` and `logind.conf.d` are looked for; an earlier one hides files of the same name in later ones."""
KILLS = "killuserprocesses"
YES = {"1", "yes", "y", "true", "t", "on"}
ADVICE = (
    "Training then ends when you log out, and continues from its checkpoints at the next start. To keep it: "
    "`loginctl enable-linger` once, then start with `systemd-run --user --scope svhn-tui`."
)


def examine(root: Path = ROOT) -> Iterator[Finding]:
    """Say whether training continues after logging out; nothing where systemd-logind does not run.

    Args:
        root: of the file system.
    """
    if not (root / "run/systemd/seats").is_dir():
        return
    user = user_name(os.geteuid())
    lingers = (root / "var/lib/systemd/linger" / user).exists()
    linger = f"linger is {'on' if lingers else 'off'} for {user}"
    settings = _settings(root)
    if _kills(settings, user):
        yield Finding("note", f"logind's KillUserProcesses is yes, {linger}", ADVICE)
    else:
        text = settings.get(KILLS) or "not set"
        yield Finding("fine", f"training continues after logging out: logind's KillUserProcesses is {text}, {linger}")


def _kills(settings: dict[str, str], user: str) -> bool:
    """Say whether logind ends a user's processes at logout (logind.conf(5))."""
    spared, meant = (settings.get(name, "").split() for name in ("killexcludeusers", "killonlyusers"))
    is_spared = user in (spared or ["root"])
    return settings.get(KILLS, "").lower() in YES and not is_spared and (not meant or user in meant)


def _settings(root: Path) -> dict[str, str]:
    """Return logind's settings by their names in lower case, with the built-in values of those that are not set."""
    folders = [root / name for name in SETTINGS]
    files = [path for folder in folders if (path := folder / "logind.conf").is_file()][:1]
    added: dict[str, Path] = {}
    for folder in reversed(folders):
        added |= {path.name: path for path in (folder / "logind.conf.d").glob("*.conf")}
    settings: dict[str, str] = {}
    for path in (*files, *(added[name] for name in sorted(added))):
        settings |= _read(path)
    return settings


def _read(path: Path) -> dict[str, str]:
    """Return a file's settings. Its comments hold the built-in values, which differ between distributions."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    built_in = [line[1:] for line in lines if line.startswith("#Kill") and "=" in line]
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string("\n".join(["[Login]", *built_in, *lines]))
    except configparser.Error:
        return {}
    return {name: value or "" for name, value in parser["Login"].items()}
