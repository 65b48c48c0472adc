"""What names a run's checkpoints: `checkpoint/latest.json`. Light, so that the host can use it too."""

import shutil
from pathlib import Path

import msgspec

from engine.files import DAMAGED, write_atomically
from engine.protocol import UNREADABLE

FOLDER = "checkpoint"
POINTER = "latest.json"


class Entry(msgspec.Struct, frozen=True):
    """A checkpoint that is there whole."""

    file: str
    sha256: str
    epoch: int


class Pointer(msgspec.Struct, frozen=True):
    """The newest first."""

    entries: tuple[Entry, ...] = ()

    @property
    def epoch(self) -> int:
        """Epochs that the newest goes on from; 0 without one."""
        return self.entries[0].epoch if self.entries else 0


def read(run_folder: Path) -> Pointer:
    """Read a run's pointer; without a readable one there is no checkpoint."""
    try:
        return msgspec.json.decode((run_folder / FOLDER / POINTER).read_bytes(), type=Pointer)
    except (OSError, *UNREADABLE):
        return Pointer()


def file_of(epoch: int) -> str:
    """Return the name of the checkpoint after this epoch."""
    return f"epoch-{epoch}.npz"


def commit(run_folder: Path, epoch: int, sha256: str) -> None:
    """Name a checkpoint, whose file lies there whole, as the newest, and drop all but the one before it.

    Raises:
        OSError: it could not be written; the checkpoints that were named are as they were.
    """
    folder, name = run_folder / FOLDER, file_of(epoch)
    before = tuple(known for known in read(run_folder).entries if known.file != name)[:1]
    write_atomically(folder / POINTER, msgspec.json.encode(Pointer((Entry(name, sha256, epoch), *before))))
    kept = {POINTER, name, *(known.file for known in before)}
    for path in folder.iterdir():
        if path.name not in kept and DAMAGED not in path.name:
            path.unlink(missing_ok=True)


def remove(run_folder: Path) -> None:
    """Drop a finished run's checkpoints."""
    shutil.rmtree(run_folder / FOLDER, ignore_errors=True)
