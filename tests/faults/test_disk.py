"""The disk fills up, fails, or loses power at any moment: what was there, or what was to come, is there whole."""

import contextlib
import errno
import itertools
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tinydb import TinyDB
from tinydb.storages import JSONStorage

from engine import protocol as p
from engine.machine.files import Folder, temporary_name, write_atomically, write_atomically_with
from engine.storage import journal
from engine.training import training_loop
from engine.training.outcome import failed
from tests.faults.conftest import Tally
from tests.faults.kept_pieces import PIECES, Piece, prepare
from tests.faults.power_cuts import Disk

# --- power -----------------------------------------------------------------------------------------------------------


def survives_power_cuts(piece: Piece, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Write version 2 over version 1 and read what each cut leaves; return the number of cuts that were tried."""
    root = tmp_path / "w"
    root.mkdir()
    prepare(2)
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
    prepare(2)
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


def test_what_a_killed_process_left_of_a_file_is_gone_once_it_is_written_again(tmp_path: Path):
    names = [temporary_name("p.zip"), temporary_name("p.zip"), temporary_name("q.zip")]
    for name in (*names, ".p.zip.tmp", "p.zip"):
        (tmp_path / name).write_bytes(b"half")
    for name in (names[0], names[2], ".p.zip.tmp"):
        os.utime(tmp_path / name, (0, 0))
    write_atomically_with(tmp_path / "p.zip", lambda file: file.write(b"whole"))
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], ".p.zip.tmp", "p.zip"}
    assert (tmp_path / "p.zip").read_bytes() == b"whole"


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
        errors = [writer.append(event) for event in events[10:50]]
        assert all(isinstance(error, OSError) for error in errors[1:])
    assert writer.append(events[50]) is None
    for event in events[51:]:
        writer.append(event)
    writer.close()
    read = journal.read(path)
    row.injected += sum(isinstance(error, OSError) for error in errors)
    row.expect_none(lost=len(events) - len(read.events), wrong=(list(read.events) != events) + read.damaged_lines)
