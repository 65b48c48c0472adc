"""The index of a run's checkpoints, `checkpoint/latest.json`; imports no NumPy, so that the host can use it."""

import contextlib
import re
from pathlib import Path

import msgspec

from engine.machine.files import DAMAGED, Folder, is_temporary
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE

FOLDER = "checkpoint"
INDEX = "latest.json"
FILE = re.compile(r"epoch-\d{1,9}\.npz")
MAX_BYTES = 2**31
"""Largest checkpoint, in bytes."""


class SavedCheckpoint(msgspec.Struct, frozen=True):
    """A complete checkpoint."""

    file: str
    sha256: str
    epoch: int


class CheckpointIndex(msgspec.Struct, frozen=True):
    """A run's complete checkpoints, the newest first."""

    entries: tuple[SavedCheckpoint, ...] = ()

    @property
    def epoch(self) -> int:
        """Epochs of the newest checkpoint; 0 without one."""
        return self.entries[0].epoch if self.entries else 0


def read(run_folder: Path) -> CheckpointIndex:
    """Read a run's index; without a readable one there is no checkpoint. Names of other files are left out."""
    try:
        with Folder.at(run_folder, FOLDER) as folder:
            index = decoded(folder, INDEX, CheckpointIndex)
    except (OSError, *UNREADABLE):
        return CheckpointIndex()
    return CheckpointIndex(tuple(entry for entry in index.entries if FILE.fullmatch(entry.file)))


def file_of(epoch: int) -> str:
    """Return the name of the checkpoint after this epoch."""
    return f"epoch-{epoch}.npz"


def commit(run_folder: Path, epoch: int, sha256: str) -> None:
    """Name a checkpoint, whose file is complete, as the newest, and delete all but the one before it.

    Raises:
        OSError: it could not be written; the checkpoints that were named are as they were.
    """
    name = file_of(epoch)
    before = tuple(known for known in read(run_folder).entries if known.file != name)[:1]
    needed = {name, *(known.file for known in before)}
    with Folder.at(run_folder, FOLDER) as folder:
        folder.write_atomically(
            INDEX, msgspec.json.encode(CheckpointIndex((SavedCheckpoint(name, sha256, epoch), *before)))
        )
        for other in folder.kinds():
            if other not in needed and (FILE.fullmatch(other) or is_temporary(other)):
                folder.remove(other)


def remove(run_folder: Path) -> None:
    """Delete a finished run's checkpoints, and their folder if nothing else is in it."""
    with contextlib.suppress(OSError), Folder.at(run_folder) as run:
        with run.folder(FOLDER) as folder:
            for name in folder.kinds():
                if FILE.fullmatch(name.partition(DAMAGED)[0]) or name == INDEX or is_temporary(name):
                    folder.remove(name)
        run.remove_folder(FOLDER)
