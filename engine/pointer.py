"""What names a run's checkpoints: `checkpoint/latest.json`. Light, so that the host can read it too."""

from pathlib import Path

import msgspec

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
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return Pointer()
