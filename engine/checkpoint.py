"""Checkpoints of a run: the newest two, each whole or not there.

`checkpoint/` holds `epoch-N.npz` files and `latest.json`, which names the newest and the one before with their SHA-256.
A checkpoint exists once `latest.json` names it; one that does not match its hash is passed over for the one before.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import archives, pointer
from engine.files import PRIVATE_FOLDER, set_aside, write_atomically
from engine.pointer import FOLDER
from engine.protocol import UNREADABLE, History

GROUPS = ("parameters", "others", "optimizer")
DAMAGES = (*archives.UNREADABLE, *UNREADABLE, KeyError, MemoryError)
"""What reading one raises that came damaged from elsewhere, its hash being right."""


class Snapshot(msgspec.Struct, frozen=True):
    """All that training goes on from: arrays in the trainer's own layout and order, and the curve so far."""

    epoch: int
    history: History
    parameters: list[NDArray[np.generic]]
    others: list[NDArray[np.generic]]
    optimizer: list[NDArray[np.generic]]
    trainer: str = "jax"
    """What wrote it; `native` and `jax` keep the same layout, so that each can go on from the other's."""


def save(run_folder: Path, snapshot: Snapshot) -> None:
    """Commit a checkpoint and drop all but the one before it.

    Raises:
        OSError: it could not be written; the checkpoints that were there are as they were.
    """
    folder = run_folder / FOLDER
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)  # not its parents: the workspace may have been moved away
    content = _packed(snapshot)
    write_atomically(folder / pointer.file_of(snapshot.epoch), content)
    pointer.commit(run_folder, snapshot.epoch, hashlib.sha256(content).hexdigest())


def load(run_folder: Path, told: Callable[[str], object] = lambda sentence: None) -> Snapshot | None:
    """Return the newest checkpoint that is whole, or None; a damaged one is set aside, and `told` hears of it."""
    for entry in pointer.read(run_folder).entries:
        path = run_folder / FOLDER / Path(entry.file).name
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            with contextlib.suppress(*DAMAGES):
                if hashlib.sha256(content).hexdigest() == entry.sha256:
                    return _unpacked(content)
            aside = set_aside(path)
            told(f"The checkpoint {path} was damaged; it was set aside as {aside.name}, and the one before is tried.")
    return None


def _packed(snapshot: Snapshot) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {
        f"{group}-{index}": array for group in GROUPS for index, array in enumerate(getattr(snapshot, group))
    }
    told = msgspec.json.encode((snapshot.epoch, snapshot.history))
    file = io.BytesIO()
    trainer = snapshot.trainer.encode()
    np.savez(file, allow_pickle=False, told=_bytes(told), trainer=_bytes(trainer), **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> Snapshot:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        epoch, history = msgspec.json.decode(file["told"].tobytes(), type=tuple[int, History])
        trainer = file["trainer"].tobytes().decode() if "trainer" in file else "jax"  # alone until there was another
        groups = {
            group: [file[f"{group}-{index}"] for index in range(sum(name.startswith(f"{group}-") for name in file))]
            for group in GROUPS
        }
    return Snapshot(epoch, history, **groups, trainer=trainer)


def _bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
