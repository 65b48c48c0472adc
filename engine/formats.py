"""Workspaces that other versions of the program wrote: older ones are brought up to date, newer ones are left alone."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.files import make_folder
from engine.protocol import UNREADABLE

FORMAT = 1
"""Of the workspace as a whole, as `host.json` says it."""
INDEX_FORMAT = 1
"""Of the index, as `runs.json` says it."""
STEPS: dict[int, Callable[[Path], None]] = {}
"""What brings a workspace of a format to the next one; there is none older yet. A step may be cut off and repeated."""
KEPT = ("host.json", "runs.json", "sweeps")
"""What is copied before the first step; the folders of runs are only ever added to."""


class NewerFormat(Exception):
    """A newer program wrote this; the message says what to do."""


class _Stated(msgspec.Struct):
    format: int = FORMAT


def bring_up(root: Path) -> str:
    """Bring a workspace to this program's format, after a backup; return what was done, or nothing.

    Raises:
        NewerFormat: it is of a later one. Nothing was changed.
        OSError: it cannot be read or written; nothing that was there is lost.
    """
    try:
        stated = msgspec.json.decode((root / "host.json").read_bytes(), type=_Stated).format
    except (FileNotFoundError, *UNREADABLE):
        return ""  # new, or damaged: who reads it says so
    refuse_newer(root / "host.json", stated, FORMAT)
    if stated == FORMAT:
        return ""
    backup = root / "backups" / f"format-{stated}"
    _copy(root, backup)
    for step in range(stated, FORMAT):
        STEPS[step](root)
    return f"The workspace was brought from format {stated} to {FORMAT}; what it was is in {backup}."


def refuse_newer(path: Path, found: int, known: int) -> None:
    """Check a file's format.

    Raises:
        NewerFormat: it is a later one.
    """
    if found > known:
        raise NewerFormat(
            f"{path} was written by a newer svhn-tui (its format is {found}, this one knows {known}): "
            "update this one, or use another --workspace. Nothing was changed."
        )


def _copy(root: Path, backup: Path) -> None:
    """Copy what the steps change; a copy that is there is from before a step that was cut off, and stays."""
    if backup.exists():
        return
    half = backup.with_name(f".{backup.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    make_folder(half)
    for path in (root / name for name in KEPT):
        if path.is_dir():
            shutil.copytree(path, half / path.name)
        elif path.exists():
            shutil.copy2(path, half / path.name)
    half.rename(backup)
