"""The disk fills up, fails, or loses power at any moment: what was there, or what was to come, is there whole."""

import contextlib
import errno
import functools
import itertools
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from tinydb import TinyDB
from tinydb.storages import JSONStorage

from engine import protocol as p
from engine.core.spec import Configuration, RunSpec
from engine.core.sweep import Sweep
from engine.machine.files import Folder, write_atomically
from engine.storage import archive, checkpoint, checkpoint_index, journal, manifest
from engine.storage.index import Store
from engine.storage.run_folder import RunFolder
from engine.storage.workspace import Remembered, Workspace
from engine.training import training_loop
from engine.training.outcome import failed
from svhn_tui.client.state import State
from svhn_tui.export.export import export
from tests.assignment.test_answers import BOOK, finished, state_of
from tests.assignment.test_answers import runs as assigned
from tests.export.test_export import placed
from tests.faults.conftest import Tally
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
    store = Store(root / "runs.json")
    store.add(RESULTS[version - 1 : version])
    store.flush()


def read_index(root: Path) -> int:
    store = Store(root / "runs.json")
    assert not store.complaint
    return len(store.results())


def snapshot(epoch: int) -> checkpoint.Snapshot:
    return checkpoint.Snapshot(epoch, p.History(), [np.full(50, epoch, np.float32)], [], [])


def write_checkpoint(root: Path, version: int) -> None:
    (root / "run").mkdir(exist_ok=True)
    checkpoint.save(root / "run", snapshot(version))


def read_checkpoint(root: Path) -> int:
    found = checkpoint.load(root / "run")
    assert found is None or (found.parameters[0] == found.epoch).all()
    return found.epoch if found else 0


def write_remembered(root: Path, version: int) -> None:
    Workspace(root).remember(Remembered(data="x" * version))


def read_remembered(root: Path) -> int:
    workspace = Workspace(root)
    found = len(workspace.remembered().data)
    assert not workspace.complaints
    return found


def write_sweep(root: Path, version: int) -> None:
    Workspace(root).write_sweep(Sweep(f"sweep {version}", "data", (Configuration(),), (0,)))


def read_sweeps(root: Path) -> int:
    workspace = Workspace(root)
    found = len(list(workspace.all_sweeps()))
    assert not workspace.complaints
    return found


def epoch_in(folder: Path) -> int:
    """Return the epoch that a run's checkpoint is of, whole."""
    named = checkpoint_index.read(folder).epoch
    found = checkpoint.load(folder)
    assert found is not None
    assert found.epoch == named
    return found.epoch


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
    found = versions_in(root)
    assert 1 in found, "an older run of the name is never lost"
    return max(found)


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


# --- power -----------------------------------------------------------------------------------------------------------


Change = tuple[str, Path, Path | bytes | None]
Names = dict[Path, bytes | None]
"""What a name stands for after a cut: a file's content, or None for a folder."""


class Disk:
    """Records what a program does to files, and says what a power cut after any of it may leave."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._start: Names = {path.relative_to(root): path.read_bytes() if path.is_file() else None
                              for path in root.rglob("*")}  # fmt: skip
        self.log: list[Change] = []
        fsync, move = os.fsync, os.rename

        def at(name: str | Path, folder: int | None) -> Path:
            return (Path(f"/proc/self/fd/{folder}").readlink() / name if folder else Path(name)).relative_to(root)

        def note_fsync(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.log.append(("sync", path.relative_to(root), None if path.is_dir() else path.read_bytes()))

        def note_move(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            places = at(source, src_dir_fd), at(target, dst_dir_fd)
            move(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            self.log.append(("moved" if (root / places[1]).is_dir() else "name", *places))

        def noting(kind: str, call: Callable[..., None]) -> Callable[..., None]:
            def note(name: str, *rest: int, dir_fd: int | None = None) -> None:
                call(name, *rest, dir_fd=dir_fd)
                self.log.append((kind, at(name, dir_fd), None))

            return note

        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr(os, "rename", note_move)
        monkeypatch.setattr(os, "replace", note_move)
        for kind, call in (("gone", os.unlink), ("gone", os.rmdir), ("made", os.mkdir)):
            monkeypatch.setattr(os, call.__name__, noting(kind, call))

    def after_cuts(self) -> Iterator[Names]:
        """Return what may be found after a cut at any point: names in doubt are old or new, unsynced files empty."""
        for length in range(len(self.log) + 1):
            synced: dict[Path, bytes] = {}
            names = dict(self._start)
            doubtful: list[Change] = []
            for kind, path, more in self.log[:length]:
                if kind == "sync" and isinstance(more, bytes):
                    synced[path] = more
                elif kind == "sync":
                    for change in [some for some in doubtful if _place(some).parent == path]:
                        names = _changed(names, change, synced)
                        doubtful.remove(change)
                else:
                    doubtful.append((kind, path, more))
            for done in itertools.product((False, True), repeat=len(doubtful)):
                found = dict(names)
                for change, is_done in zip(doubtful, done, strict=True):
                    found = _changed(found, change, synced) if is_done else found
                yield {path: content for path, content in found.items() if set(path.parents) - {Path()} <= set(found)}


def _place(change: Change) -> Path:
    return change[2] if isinstance(change[2], Path) else change[1]


def _changed(names: Names, change: Change, synced: dict[Path, bytes]) -> Names:
    kind, path, target = change
    if kind == "made":
        return {**names, path: None}
    if kind == "gone":
        return {name: content for name, content in names.items() if name != path}
    assert isinstance(target, Path)
    if kind == "name":
        rest = {name: content for name, content in names.items() if name != path}
        return {**rest, target: synced.get(path, names.get(path) or b"")}
    inside = {name: content for name, content in names.items() if name == path or path in name.parents}
    rest = {name: content for name, content in names.items() if name not in inside}
    return {**rest, **{target / name.relative_to(path): content for name, content in inside.items()}}


def survives_power_cuts(piece: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write version 2 over version 1 and read what each cut leaves; return the number of cuts that were tried."""
    root = tmp_path / "w"
    root.mkdir()
    packed(2), exported_from(2)
    piece.write(root, 1)
    with monkeypatch.context() as patched:
        disk = Disk(root, patched)
        piece.write(root, 2)
    tried = 0
    for tried, files in enumerate(disk.after_cuts(), 1):
        after = tmp_path / f"after-{tried}"
        for path, content in files.items():
            (after / path if content is None else (after / path).parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                (after / path).write_bytes(content)
        assert piece.read(after) in (1, 2)
    assert piece.read(root) == 2
    return tried


@pytest.mark.parametrize("name", PIECES)
def test_a_power_cut_leaves_the_old_or_the_new(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
):
    row = tally("power cut after any step, unsynced writes dropped")
    tried = survives_power_cuts(PIECES[name], tmp_path, monkeypatch)
    assert tried >= 4
    row.injected += tried


@pytest.mark.parametrize("name", PIECES)
def test_control_without_syncing_before_the_name_a_cut_is_seen(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def careless(folder: Folder, temporary: str, name: str) -> None:
        os.replace(temporary, name, src_dir_fd=folder._descriptor, dst_dir_fd=folder._descriptor)
        folder.sync()

    monkeypatch.setattr(Folder, "publish", careless)
    with pytest.raises(AssertionError):
        survives_power_cuts(PIECES[name], tmp_path, monkeypatch)


# --- no room ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond this: writes fail in the middle, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("name", PIECES)
def test_a_full_disk_at_any_byte_leaves_what_was_there_and_no_litter(name: str, tmp_path: Path, tally: Tally):
    row = tally("disk full in the middle of a write")
    piece, refused = PIECES[name], 0
    packed(2), exported_from(2)  # what is written there is ready
    piece.write(tmp_path, 1)
    largest = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    for size in range(0, 3 * largest, max(1, largest // 40)):
        try:
            with room_for(size):
                piece.write(tmp_path, 2)
        except OSError as error:
            assert error.errno == errno.EFBIG
            refused += 1
            assert piece.read(tmp_path) in piece.refused_leaves
        else:
            assert piece.read(tmp_path) == 2
            break
        assert not list(tmp_path.rglob("*.tmp"))
    assert refused >= 10
    row.injected += refused
    piece.write(tmp_path, 3)
    assert piece.read(tmp_path) == 3, "and when there is room again all is as if nothing had happened"


@pytest.mark.parametrize("name", PIECES)
def test_an_error_at_the_nth_call_leaves_what_was_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
):
    row = tally("I/O error at the n-th sync")
    piece = PIECES[name]
    piece.write(tmp_path, 1)
    fsync = os.fsync
    for failing in range(1, piece.syncs):
        calls = itertools.count(1)

        def broken(descriptor: int, calls: Iterator[int] = calls, failing: int = failing) -> None:
            if next(calls) == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", broken)
        with contextlib.suppress(OSError):
            piece.write(tmp_path, 2)
        monkeypatch.setattr(os, "fsync", fsync)
        assert piece.read(tmp_path) in (1, 2)
        assert not list(tmp_path.rglob("*.tmp"))
        if next(calls) <= failing:
            return  # all of its calls were tried
        row.injected += 1
    pytest.fail(f"it syncs {piece.syncs} times and more")


def test_a_run_whose_file_may_never_grow_fails_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training_loop, "LASTING_SECONDS", 0.0)
    attempts = training_loop.Attempts("w", cast("Any", None), lambda event: None, lambda run_id: None)
    with attempts, room_for(1), pytest.raises(OSError) as caught:
        attempts._insist("It", "a run", lambda: write_atomically(tmp_path / "x", b"two"))
    reason = failed("a run", caught.value).reason
    assert reason == f"{tmp_path / 'x'}: no file may become that large here; raise the limit with `ulimit -f`."


def test_control_tinydbs_own_storage_loses_its_file_on_a_full_disk(tmp_path: Path):
    path = tmp_path / "db.json"
    base = TinyDB(path, storage=JSONStorage)
    base.insert({"run_id": "a" * 1_000})
    whole = path.read_bytes()
    with room_for(len(whole) + 100), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        base.insert({"run_id": "b" * 1_000})
        base.close()
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra"):
        TinyDB(path, storage=JSONStorage).all()


def test_control_two_writers_with_tinydbs_own_storage_lose_a_run(tmp_path: Path):
    one, other = (TinyDB(tmp_path / "db.json", storage=JSONStorage).storage for _ in range(2))
    known = [storage.read() or {"runs": {}} for storage in (one, other)]
    for number, (storage, tables) in enumerate(zip((one, other), known, strict=True)):
        storage.write({"runs": {**tables["runs"], str(number): {"run_id": str(number)}}})
    assert len(one.read()["runs"]) == 1, "the first writer's run is gone: hence one host a workspace"


def test_a_journal_keeps_in_memory_what_has_no_room_and_writes_it_later(tmp_path: Path, tally: Tally):
    row = tally("disk full while a journal is written")
    path = tmp_path / "journal.jsonl"
    writer = journal.Journal(path)
    events = [p.CheckpointSaved(runs=("a" * 40,), epoch=epoch) for epoch in range(60)]
    for event in events[:10]:
        assert writer.append(event) is None
    with room_for(path.stat().st_size + 77):
        told = [writer.append(event) for event in events[10:50]]
        assert all(isinstance(error, OSError) for error in told[1:])
    assert writer.append(events[50]) is None
    for event in events[51:]:
        writer.append(event)
    writer.close()
    read = journal.read(path)
    row.injected += sum(isinstance(error, OSError) for error in told)
    row.found(lost=len(events) - len(read.events), wrong=(list(read.events) != events) + read.damaged_lines)
