"""Migrates workspaces of older versions; those of newer versions are refused and left unchanged."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from engine.machine.files import Folder
from engine.protocol import UNREADABLE

FORMAT = 1
"""Of the workspace as a whole, as `host.json` says it."""
INDEX_FORMAT = 1
"""Of the index, as `runs.json` says it."""
STEPS: dict[int, Callable[[Path], None]] = {}
"""What brings a workspace of a format to the next one; there is none older yet. A step may be cut off and repeated."""
BACKED_UP = ("host.json", "runs.json")
"""What is copied before the first step, and the sweeps; the folders of runs are only ever added to."""
SWEEPS, BACKUPS = "sweeps", "backups"
MAX_HOST_BYTES = 2**28
"""Of `host.json`: a hundred thousand waiting runs take some megabytes."""
MAX_INDEX_BYTES = 2**31
"""Of `runs.json`: a hundred thousand runs take a hundred MB."""


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
    stated = refuse_newer_workspace(root)
    if stated == FORMAT:
        return ""
    backup = root / BACKUPS / f"format-{stated}"
    _copy(root, backup.name)
    for step in range(stated, FORMAT):
        STEPS[step](root)
    return f"The workspace was brought from format {stated} to {FORMAT}; what it was is in {backup}."


def refuse_newer_workspace(root: Path) -> int:
    """Return the format of a workspace; ours where it is new, or damaged: who reads it says so.

    Raises:
        NewerFormat: it is a later one.
    """
    try:
        with Folder.at(root) as folder:
            stated = msgspec.json.decode(folder.read("host.json", MAX_HOST_BYTES), type=_Stated).format
    except (OSError, *UNREADABLE):
        return FORMAT
    refuse_newer(root / "host.json", stated, FORMAT)
    return stated


def refuse_newer(path: Path, version: int, known: int) -> None:
    """Check a file's format.

    Raises:
        NewerFormat: it is a later one.
    """
    if version > known:
        raise NewerFormat(
            f"{path} was written by a newer svhn-tui (its format is {version}, this one knows {known}): "
            "update this one, or use another --workspace. Nothing was changed."
        )


def _copy(root: Path, name: str) -> None:
    """Copy what the steps change; a copy that is there is from before a step that was cut off, and stays."""
    half = f".{name}.half"
    with Folder.at(root) as folder, folder.folder(BACKUPS, make=True) as backups:
        if backups.kind(name) == "folder":
            return
        if backups.kind(half) != "nothing":
            backups.set_aside(half)  # of a copy that was cut off
        with backups.folder(half, make=True) as backup:
            _copy_files(folder, backup, [name for name in BACKED_UP if folder.kind(name) == "file"])
            if folder.kind(SWEEPS) == "folder":
                with folder.folder(SWEEPS) as sweeps, backup.folder(SWEEPS, make=True) as copied:
                    _copy_files(sweeps, copied, [name for name, kind in sweeps.kinds().items() if kind == "file"])
        backups.move(half, backups, name)


def _copy_files(source: Folder, target: Folder, names: list[str]) -> None:
    for name in names:
        with source.open_to_read(name) as file:
            target.write_atomically_with(name, partial(shutil.copyfileobj, file))
