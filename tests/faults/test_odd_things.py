"""Whatever stands in a workspace and is not ours is passed over and told once: the host serves what is whole."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.machine.control_sequences import without_controls
from engine.machine.files import Folder
from engine.storage import checkpoint, doctor
from engine.storage.workspace import Workspace
from tests.faults.conftest import a_run
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE

ROW = "odd things in a workspace"


def listening(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)  # a socket's own path could be too long


ODD: dict[str, Callable[[Path], object]] = {
    "a copy of a run": lambda root: shutil.copytree(a_run(root), root / "runs" / f"{a_run(root).name} copy"),
    "a run under a second name": lambda root: shutil.copytree(a_run(root), root / "runs" / ("0" * 11 + "1")),
    "a pipe in sweeps": lambda root: os.mkfifo(root / "sweeps" / "0123456789ab.json"),
    "a socket in sweeps": lambda root: listening(root / "sweeps" / "0123456789ac.json"),
    "a pipe in runs": lambda root: os.mkfifo(root / "runs" / ("0" * 11 + "2")),
    "a file in runs": lambda root: (root / "runs" / ".DS_Store").write_bytes(b"x"),
    "a link in runs": lambda root: (root / "runs" / ("0" * 11 + "3")).symlink_to(root.parent),
    "a folder named result.json": lambda root: (root / "runs" / ("0" * 11 + "4") / "result.json").mkdir(parents=True),
    "a name that is no text": lambda root: (root / "runs" / os.fsdecode(b"\xff\xfe")).mkdir(),
    "a sweep that leads nowhere": lambda root: (root / "sweeps" / "0123456789ad.json").symlink_to("nowhere"),
    "a file that is in the way": lambda root: (root / "importing").write_bytes(b"x"),
    "a pipe for a journal": lambda root: swap(a_run(root) / "journal.jsonl"),
}  # fmt: skip


def swap(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def notices(bridge: Bridge) -> list[str]:
    return [event.text for event in bridge.events if isinstance(event, p.Noticed)]


@pytest.mark.parametrize("what", [*ODD, "all of them"])
def test_the_host_serves_what_is_whole(copied: Path, what: str):
    for name, make in ODD.items():
        if what in (name, "all of them"):
            make(copied)
    with Bridge(copied, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert len(bridge.state.results) == 20
        problems = notices(bridge)
        assert len(problems) == len(set(problems)), "each is told once"
        runs = tuple(bridge.state.results)
        bridge.send(p.CheckFiles(runs=runs))
        checked = bridge.until_kind(p.FilesChecked).hashes
        assert all(checked[run_id] for run_id in runs)
        bridge.send(p.Watch(runs=runs))
        bridge.until(lambda state, event: isinstance(event, p.HistoryRead) and event.run_id == runs[-1])
        host = psutil.Process(bridge.events[0].host_pid)
        bridge.end()
    host.wait(PATIENCE)
    findings = list(doctor.examine(copied))
    doctor.repair(copied, findings)
    assert not [finding for finding in doctor.examine(copied) if finding.level == "damaged"]
    assert len(Workspace(copied).finished()) == 20


def test_all_commands_that_look_come_to_an_end(copied: Path, tmp_path: Path):
    for make in ODD.values():
        make(copied)
    for command in (["status"], ["answers"], ["runs"], ["pack", str(tmp_path / "out.zip")], ["doctor"], ["stop"]):
        whole_command = [sys.executable, "-c", "from svhn_tui.cli.main import main; main()", *command]
        done = subprocess.run([*whole_command, "--workspace", str(copied)], capture_output=True, text=True, check=False,
                              timeout=PATIENCE)  # fmt: skip
        assert done.returncode == (command == ["doctor"]), (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert ("is ignored" in done.stdout) == (command == ["status"])


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names whose files give an I/O error."""
    names: set[str] = set()
    open_to_read = Folder.open_to_read

    def broken(folder: Folder, name: str):
        if f"{folder.path.name}/{name}" in names:
            raise OSError(5, os.strerror(5), str(folder.path / name))
        return open_to_read(folder, name)

    monkeypatch.setattr(Folder, "open_to_read", broken)
    yield names


def test_a_result_that_gives_an_io_error_closes_nothing(copied: Path, unreadable: set[str]):
    run_id = a_run(copied).name
    unreadable |= {f"{run_id}/result.json", f"{run_id}/journal.jsonl"}
    workspace = Workspace(copied)
    results = {name: workspace.result(name) for name in workspace.finished()}
    assert [name for name, result in results.items() if result is None] == [run_id]
    assert "cannot be read (Input/output error); it is ignored" in workspace.problems[0]
    assert workspace.run(run_id).history() == (p.History(), 1)
    assert (copied / "runs" / run_id / "result.json").exists(), "it may be read another day"


def test_the_trash_keeps_both_runs_of_a_name_and_gives_back_the_newest(copied: Path):
    workspace, folder = Workspace(copied), a_run(copied)
    for version in ("first", "second"):
        folder.mkdir(exist_ok=True)
        (folder / "mark").write_text(version)
        workspace.discard(folder.name)
    assert len(list(workspace.discarded())) == 0 or (copied / "trash" / folder.name / "result.json").exists()
    assert workspace.restore(folder.name)
    assert (folder / "mark").read_text() == "second"
    workspace.discard(folder.name)
    assert workspace.restore(folder.name)
    assert (copied / "trash" / folder.name / "mark").read_text() == "first"


def test_a_log_obeys_nobody():
    raw = b"\x1b]0;title\x07red \x1b[31malert\x1b[0m\x1bc\r\x08\xc2\x9b2J done\n\tM\xc3\xbcde\n"
    assert without_controls(raw).decode() == "red alert2J done\n\tMüde\n"


def test_a_checkpoint_with_a_curve_that_has_no_end_is_passed_over(tmp_path: Path):
    checkpoint.save(tmp_path, checkpoint.Snapshot(3, p.History((1.0,) * 4, (), (), (), ()), [], [], []))
    warnings: list[str] = []
    assert checkpoint.load(tmp_path, warnings.append) is None
    assert "was damaged" in warnings[0]
