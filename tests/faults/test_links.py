"""Links, pipes and folders in the place of what we write: what they lead to is not packed, changed or lost."""

import contextlib
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import protocol as p
from engine.core.spec import RunSpec
from engine.core.sweep import Sweep
from engine.machine.files import Folder, NotOurs
from engine.storage import archive as pack
from engine.storage import checkpoint, checkpoint_index, claims, doctor, file_hashes, manifest
from engine.storage.records import Records
from engine.storage.run_folder import RunFolder
from engine.storage.workspace import QueueOrder, Workspace
from engine.workers import process
from svhn_tui.export.export import export
from svhn_tui.terminal import clipboard
from tests.assignment.test_answers import DATA, runs, state_of
from tests.faults.conftest import Tally
from tests.support.fake_worker import result_of
from tests.support.scenes import BOOK

SECRET = b"the only copy of a thesis, and a private key\n"
DONE, BEGUN = runs("Q2")[0], runs("Q5")[0]
SWEEP = Sweep("links", DATA.fingerprint, (BEGUN.configuration,), (0,))
AT_TOP = ("host.lock", "host.json", "runs.json", "host.log", "copied.txt")
FOLDERS = ("runs", "sweeps", "trash", "importing", "set-aside", "exports", "backups", f"runs/{BEGUN.run_id}",
           f"runs/{DONE.run_id}", f"runs/{BEGUN.run_id}/checkpoint", f"trash/{DONE.run_id}")  # fmt: skip
OF_BEGUN = ("spec.json", "attempt", "journal.jsonl", "engine.log", "model.keras", "result.json",
            "checkpoint/latest.json", "checkpoint/epoch-1.npz", "checkpoint/epoch-2.npz")  # fmt: skip
OF_DONE = ("spec.json", "journal.jsonl", "model.keras", "result.json")
FILES = (
    *AT_TOP,
    f"sweeps/{SWEEP.sweep_id}.json",
    *(f"runs/{BEGUN.run_id}/{name}" for name in OF_BEGUN),
    *(f"runs/{DONE.run_id}/{name}" for name in OF_DONE),
    *(f"exports/now/{name}" for name in ("answers.md", "answers.json", "Q2.keras", "Q1.py", "runs.csv")),
)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """End what waits for a pipe."""

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"it hangs for more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(epoch: int) -> checkpoint.Snapshot:
    return checkpoint.Snapshot(epoch, p.History(), [np.full(3, epoch, np.float32)], [], [])


def begin(root: Path, epoch: int) -> None:
    """Train a run up to an epoch, as a worker does."""
    run = RunFolder(root, BEGUN.run_id)
    written = run.begin(BEGUN, claims.new_attempt(run.path))
    try:
        with os.fdopen(run.open_log(), "ab") as log:
            log.write(b"said by a library\n")
        written.append(p.CheckpointSaved(runs=(BEGUN.run_id,), epoch=epoch), durable=True)
        checkpoint.save(run.path, snapshot(epoch))
        assert checkpoint.load(run.path) is not None
    finally:
        written.close()


def finish(root: Path) -> None:
    """Write a run's outcome."""
    run = RunFolder(root, BEGUN.run_id)

    def save(path: Path) -> int:
        path.write_bytes(BEGUN.run_id.encode())
        return 1

    run.finish(claims.new_attempt(run.path), save, lambda model, parameters: outcome_of(BEGUN, model.parent), repr)


def outcome_of(spec: RunSpec, folder: Path) -> p.RunResult:
    return result_of(spec, DATA, 0.5, folder)


def serve(root: Path) -> None:
    """Do what a host does."""
    with Folder.at(root) as folder:
        os.close(folder.open_in_place("host.lock", os.O_RDWR | os.O_CREAT))
    workspace = Workspace(root)
    records = Records(workspace, lambda event: None)
    records.results()
    list(workspace.all_sweeps())
    workspace.write_sweep(SWEEP)
    records.add([])
    records.save(QueueOrder, (), is_last=True)
    with process._opened(root / "host.log") as log:
        log.write(b"said by a worker\n")
    workspace.discard(DONE.run_id)
    list(workspace.discarded())
    workspace.restore(DONE.run_id)
    file_hashes.checked({DONE.run_id: workspace.run_folder(DONE.run_id) / "model.keras"})
    workspace.run(DONE.run_id).history()


def hand_in(root: Path) -> None:
    state = state_of(outcome_of(DONE, root.parent), workspace=str(root))
    export(root / "exports" / "now", BOOK, state, force=True)


def repair(root: Path) -> None:
    doctor.repair(root, list(doctor.examine(root)))


def exchange(root: Path) -> None:
    """Pack, and take in what is newer than what is here."""
    target = root.parent / "out.zip"
    target.unlink(missing_ok=True)
    pack.pack(root, target, manifest.Remarks())
    with zipfile.ZipFile(target) as archive:
        assert not [name for name in archive.namelist() if SECRET in archive.read(name)], "the secret is packed"
    pack.unpack(root, root.parent / "newer.zip", busy=frozenset())


DEEDS: tuple[Callable[[Path], None], ...] = (
    serve, lambda root: begin(root, 3), exchange, hand_in, lambda root: clipboard.save("copied", root) and None,
    finish, exchange, repair, serve, lambda root: begin(root, 4), finish, hand_in,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace of a finished and an unfinished run, and a pack that is an epoch ahead of it."""
    folder = tmp_path_factory.mktemp("made")
    root = folder / "w"
    Workspace(root).write_sweep(SWEEP)
    done = RunFolder(root, DONE.run_id)
    done.begin(DONE, claims.new_attempt()).close()
    result = outcome_of(DONE, done.path)
    done.finish("", lambda path: path.write_bytes(DONE.run_id.encode()), lambda path, parameters: result, repr)
    for epoch in (1, 2, 20):
        if epoch == 20:
            shutil.copytree(root, folder / "ahead")
        begin(folder / "ahead" if epoch == 20 else root, epoch)
    pack.pack(folder / "ahead", folder / "newer.zip", manifest.Remarks())
    hand_in(root)
    serve(root)
    return folder


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    victim = tmp_path / "victim"
    (victim / ".ssh").mkdir(parents=True)
    for name in ("thesis.tex", ".ssh/id_ed25519", ".notes.md.0123abcd.tmp", "epoch-9.npz", "latest.json", "spec.json"):
        (victim / name).write_bytes(SECRET)
    return tmp_path / "w"


def tree(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path.relative_to(folder): (path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
            for path in folder.rglob("*")}  # fmt: skip


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


def filled(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_bytes(SECRET)


ODD: dict[str, tuple[tuple[str, ...], Callable[[Path, Path], object]]] = {
    "a link to a file": ((*FILES, *FOLDERS), lambda path, victim: path.symlink_to(victim / "thesis.tex")),
    "a link to a folder": ((*FILES, *FOLDERS), lambda path, victim: path.symlink_to(victim)),
    "a link that leads nowhere": ((*FILES, *FOLDERS), lambda path, victim: path.symlink_to(victim / "new")),
    "a second name": (FILES, lambda path, victim: path.hardlink_to(victim / "thesis.tex")),
    "a pipe": ((*FILES, *FOLDERS), lambda path, victim: os.mkfifo(path)),
    "a device": (FILES, lambda path, victim: path.symlink_to("/dev/zero")),
    "a folder": (FILES, lambda path, victim: filled(path)),
    "a file": (FOLDERS, lambda path, victim: path.write_bytes(SECRET)),
}
CASES = [(kind, name) for kind, (names, _) in ODD.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_it_leads_to_is_as_it_was_whatever_is_done(root: Path, kind: str, name: str, tally: Tally):
    row = tally("a link, a pipe or a folder in the place of a file, and the other way round")
    victim = root.parent / "victim"
    instead(root / name, lambda path: ODD[kind][1](path, victim))
    before = tree(victim)
    for deed in DEEDS:
        with at_most(20), contextlib.suppress(OSError, ValueError):
            deed(root)
    row.injected += 1
    row.expect_none(lost=len(before.keys() - tree(victim).keys()), wrong=tree(victim) != before)
    kept = [path for path in root.rglob("mine.txt") if path.read_bytes() == SECRET]
    assert len(kept) == (kind == "a folder"), "a folder of the user's is passed over or moved aside, never emptied"
    findings = list(doctor.examine(root))
    doctor.repair(root, findings)
    assert not [finding for finding in doctor.examine(root) if finding.level == "damaged" and finding.moved]


def test_the_folder_itself_may_be_reached_through_a_link(root: Path):
    linked = root.parent / "linked"
    linked.symlink_to(root)
    assert Workspace(linked).finished() == {DONE.run_id}
    serve(linked)
    hand_in(linked)


@pytest.mark.parametrize("name", ["runs", "sweeps", "trash"])
def test_a_folder_that_is_a_link_is_refused_in_a_sentence(root: Path, name: str):
    instead(root / name, lambda path: path.symlink_to(root.parent / "victim"))
    with pytest.raises(NotOurs) as refused:
        Workspace(root)
    assert (refused.value.filename, "links are not followed" in str(refused.value.strerror)) == (str(root / name), True)


def test_a_backup_by_hard_links_stays_as_it_was(root: Path):
    """`cp -al`: both names are one file until one of them is written."""
    backup = root.parent / "backup"
    shutil.copytree(root, backup, copy_function=os.link)
    before = tree(backup)
    begin(root, 3)
    finish(root)
    assert tree(backup) == before
    assert (
        (root / "runs" / BEGUN.run_id / "journal.jsonl")
        .read_bytes()
        .startswith((backup / "runs" / BEGUN.run_id / "journal.jsonl").read_bytes())
    ), "and the curve goes on"


def test_only_checkpoints_are_dropped_from_a_checkpoint_folder(root: Path):
    folder = root / "runs" / BEGUN.run_id / checkpoint_index.FOLDER
    for name in ("thesis.tex", "epoch-1.npz.mine", "epoch-.npz"):
        (folder / name).write_bytes(SECRET)
    begin(root, 3)
    finish(root)
    assert {path.name for path in folder.iterdir()} == {"thesis.tex", "epoch-1.npz.mine", "epoch-.npz"}
