"""Migrates workspaces of older versions; those of newer versions are refused and left unchanged."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from engine.machine.files import Folder
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE

FORMAT = 1
"""Format of the workspace, in `host.json`."""
INDEX_FORMAT = 1
"""Format of the index, in `runs.json`."""
STEPS: dict[int, Callable[[Path], None]] = {}
"""Migrations from a format to the next one; there is no older one yet. A step may be interrupted and repeated."""
BACKED_UP = ("host.json", "runs.json")
"""Files that are copied before the first step, besides the sweeps; migrations only add to run folders."""
SWEEPS, BACKUPS = "sweeps", "backups"
MAX_HOST_BYTES = 2**28
"""Largest `host.json`, in bytes; a hundred thousand waiting runs take some megabytes."""
MAX_INDEX_BYTES = 2**31
"""Largest `runs.json`, in bytes; a hundred thousand runs take a hundred MB."""


class NewerFormat(Exception):
    """A newer program wrote this; the message says what to do."""


class _Stated(msgspec.Struct):
    format: int = FORMAT


def bring_up(root: Path) -> str:
    """Migrate a workspace to this program's format, after a backup; return a sentence about it, or an empty text.

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
    """Return the format of a workspace; this program's where it is new or damaged, which its reader reports.

    Raises:
        NewerFormat: it is a later one.
    """
    try:
        with Folder.at(root) as folder:
            stated = decoded(folder, "host.json", _Stated, MAX_HOST_BYTES).format
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
    """Copy what the steps change; an existing backup comes from an interrupted migration and is kept."""
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
