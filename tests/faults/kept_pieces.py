"""Everything that a workspace keeps: how its version 1, 2, ... is written, and which version is read afterwards."""

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine import protocol as p
from engine.core.spec import Configuration, RunSpec
from engine.core.sweep import Sweep
from engine.storage import archive, checkpoint, checkpoint_index, manifest
from engine.storage.index import RunIndex
from engine.storage.run_folder import RunFolder
from engine.storage.workspace import HostState, Workspace
from svhn_tui.client.state import State
from svhn_tui.export.export import export
from tests.assignment.test_answers import BOOK, finished, state_of
from tests.assignment.test_answers import runs as assigned
from tests.export.test_export import placed
from tests.support.scenes import relu, result, specs_of

SPEC = RunSpec(Configuration(), 0, "data")
RESULTS = [result(spec, 0.5) for spec in specs_of(relu(256), 6)]


class Piece(NamedTuple):
    """Something that is kept: how its version 1, 2, ... is written, and which version is read (0: none)."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], int]
    syncs: int = 20
    """It makes fewer than these."""
    refused_leaves: tuple[int, ...] = (1,)
    """What is read when version 2 could not be written: of several files each is the old or the new."""


def write_index(root: Path, version: int) -> None:
    store = RunIndex(root / "runs.json")
    store.add(RESULTS[version - 1 : version])
    store.flush()


def read_index(root: Path) -> int:
    store = RunIndex(root / "runs.json")
    assert not store.problem
    return len(store.results())


def snapshot(epoch: int) -> checkpoint.Snapshot:
    return checkpoint.Snapshot(epoch, p.History(), [np.full(50, epoch, np.float32)], [], [])


def write_checkpoint(root: Path, version: int) -> None:
    (root / "run").mkdir(exist_ok=True)
    checkpoint.save(root / "run", snapshot(version))


def read_checkpoint(root: Path) -> int:
    snapshot = checkpoint.load(root / "run")
    assert snapshot is None or (snapshot.parameters[0] == snapshot.epoch).all()
    return snapshot.epoch if snapshot else 0


def write_remembered(root: Path, version: int) -> None:
    Workspace(root).write_host_state(HostState(data="x" * version))


def read_remembered(root: Path) -> int:
    workspace = Workspace(root)
    count = len(workspace.host_state().data)
    assert not workspace.problems
    return count


def write_sweep(root: Path, version: int) -> None:
    Workspace(root).write_sweep(Sweep(f"sweep {version}", "data", (Configuration(),), (0,)))


def read_sweeps(root: Path) -> int:
    workspace = Workspace(root)
    count = len(list(workspace.all_sweeps()))
    assert not workspace.problems
    return count


def epoch_in(folder: Path) -> int:
    """Return the epoch that a run's checkpoint is of, whole."""
    named = checkpoint_index.read(folder).epoch
    snapshot = checkpoint.load(folder)
    assert snapshot is not None
    assert snapshot.epoch == named
    return snapshot.epoch


@functools.cache
def packed(version: int) -> Path:
    """A packed file with a run that is so many epochs along."""
    folder = Path(tempfile.mkdtemp())
    Workspace(folder / "w")
    run = RunFolder(folder / "w", SPEC.run_id)
    run.begin(SPEC).close()
    checkpoint.save(run.path, snapshot(version))
    archive.pack(folder / "w", folder / "runs.zip", manifest.Remarks())
    return folder / "runs.zip"


def write_import(root: Path, version: int) -> None:
    Workspace(root)
    try:
        archive.unpack(root, packed(version), busy=frozenset())
    except manifest.PackError as error:
        assert isinstance(error.__cause__, OSError)
        raise error.__cause__ from None


def read_import(root: Path) -> int:
    """Nothing is lost: what was there before is in its place, or in the trash."""
    folders = [*root.glob(f"runs/{SPEC.run_id}"), *root.glob(f"trash/{SPEC.run_id}*")]
    return max(map(epoch_in, folders), default=0)


MARK = "a run, in its version "


def versions_in(root: Path) -> set[int]:
    texts = [path.read_text() for path in (*root.glob("runs/*/spec.json"), *root.glob("trash/*/spec.json"))]
    assert all(text.startswith(MARK) for text in texts)
    return {int(text.removeprefix(MARK)) for text in texts}


def write_trash(root: Path, version: int) -> None:
    Workspace(root)
    run = RunFolder(root, SPEC.run_id)
    run.put("spec.json", lambda file: file.write(f"{MARK}{version:04}".encode()))
    Workspace(root).discard(SPEC.run_id)


def write_restored(root: Path, version: int) -> None:
    Workspace(root).discard(SPEC.run_id)
    write_trash(root, version)
    assert Workspace(root).restore(SPEC.run_id)


def read_trash(root: Path) -> int:
    versions = versions_in(root)
    assert 1 in versions, "an older run of the name is never lost"
    return max(versions)


TRAINED = {number: finished(assigned("Q2")[0], 0.3 + number / 100) for number in (1, 2, 3)}


@functools.cache
def exported_from(version: int) -> State:
    workspace = Path(tempfile.mkdtemp())
    return state_of(placed(workspace, TRAINED[version], f"{version}" * 1_000), workspace=str(workspace))


def write_export(root: Path, version: int) -> None:
    export(root / "out", BOOK, exported_from(version))


def read_export(root: Path) -> int:
    content = (root / "out" / "Q2.keras").read_bytes()
    assert content in [f"{version}".encode() * 1_000 for version in TRAINED]
    json.loads((root / "out" / "answers.json").read_bytes())
    return int(content[:1])


PIECES = {
    "import": Piece(write_import, read_import, syncs=40),
    "trash": Piece(write_trash, read_trash),
    "restore": Piece(write_restored, read_trash),
    "export": Piece(write_export, read_export, syncs=40, refused_leaves=(1, 2)),
    "index": Piece(write_index, read_index),
    "checkpoint": Piece(write_checkpoint, read_checkpoint),
    "host.json": Piece(write_remembered, read_remembered),
    "sweeps": Piece(write_sweep, read_sweeps),
}


def prepare(version: int) -> None:
    """Make ready what a version is made from, so that writing it writes nothing else."""
    packed(version), exported_from(version)
