"""Checkpoints of a run: the newest two are kept, each written whole or not at all.

`checkpoint/` holds `epoch-N.npz` files and `latest.json`, which names the newest and the one before with their SHA-256.
A checkpoint exists once `latest.json` names it; one that does not match its hash is skipped for the one before.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.options import MAX_EPOCHS
from engine.machine.files import Folder, NotOurs
from engine.protocol import UNREADABLE, History
from engine.storage import checkpoint_index, npz, zip_check
from engine.storage.checkpoint_index import FOLDER

GROUPS = ("parameters", "others", "optimizer", "best")
CURVE = "told"
"""Name in the file of the epoch and the curve, as JSON; files of all versions have it."""
DAMAGES = (*zip_check.UNREADABLE, *UNREADABLE, KeyError, MemoryError)
"""Exceptions on reading a checkpoint that was damaged before it was hashed, on another machine."""


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that training continues from: arrays in the trainer's layout and order, and the curve so far."""

    epoch: int
    history: History
    parameters: list[NDArray[np.generic]]
    others: list[NDArray[np.generic]]
    optimizer: list[NDArray[np.generic]]
    trainer: str = "jax"
    """The trainer that wrote it; `native` and `jax` use the same layout, so that each can continue the other's."""
    best: list[NDArray[np.generic]] = []
    """Parameters and others of the best epoch so far, where they are to be restored."""


def save(run_folder: Path, snapshot: Snapshot) -> None:
    """Commit a checkpoint and drop all but the one before it.

    Raises:
        OSError: it could not be written; the checkpoints that were there are as they were.
    """
    content = _packed(snapshot)
    with Folder.at(run_folder) as run, run.folder(FOLDER, make=True) as folder:
        folder.write_atomically(checkpoint_index.file_of(snapshot.epoch), content)
    checkpoint_index.commit(run_folder, snapshot.epoch, hashlib.sha256(content).hexdigest())


def load(run_folder: Path, report: Callable[[str], object] = lambda sentence: None) -> Snapshot | None:
    """Return the newest checkpoint that is whole, or None; a damaged one is set aside and reported."""
    for entry in checkpoint_index.read(run_folder).entries:
        with contextlib.suppress(OSError), Folder.at(run_folder, FOLDER) as folder:
            with contextlib.suppress(NotOurs, *DAMAGES):
                content = folder.read(entry.file, checkpoint_index.MAX_BYTES)
                if hashlib.sha256(content).hexdigest() == entry.sha256:
                    return _unpacked(content)
            path, aside = folder.path / entry.file, folder.set_aside(entry.file)
            report(f"The checkpoint {path} was damaged; it was set aside as {aside}, and the one before is tried.")
    return None


def _packed(snapshot: Snapshot) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {
        f"{group}-{index}": array for group in GROUPS for index, array in enumerate(getattr(snapshot, group))
    }
    text = msgspec.json.encode((snapshot.epoch, snapshot.history))
    file = io.BytesIO()
    trainer = snapshot.trainer.encode()
    np.savez(file, allow_pickle=False, **{CURVE: _bytes(text)}, trainer=_bytes(trainer), **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> Snapshot:
    """Read a checkpoint, which may come from elsewhere: its arrays are checked before memory is allocated for them.

    Raises:
        DAMAGES: it is damaged.
    """
    headers = npz.check_arrays(io.BytesIO(content), "checkpoint")
    if sum(header.size for header in headers.values()) > len(content):
        raise ValueError("it unpacks to more than it holds")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    epoch, history = msgspec.json.decode(arrays[CURVE].tobytes(), type=tuple[int, History])
    if not 0 <= epoch <= MAX_EPOCHS or {len(column) for column in msgspec.structs.astuple(history)} - {0, epoch}:
        raise ValueError("its curve has another length than its epochs")
    groups = {
        group: [arrays[f"{group}-{index}"] for index in range(sum(name.startswith(f"{group}-") for name in arrays))]
        for group in GROUPS
    }
    trainer = (
        arrays["trainer"].tobytes().decode() if "trainer" in arrays else "jax"
    )  # files of versions with one trainer do not name it
    return Snapshot(epoch, history, **groups, trainer=trainer)


def _bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, dtype=np.uint8)
