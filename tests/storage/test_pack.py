"""What was packed on one machine comes in on another: whole, once, and only if it is what it says."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.storage.archive import unpack
from engine.storage.manifest import PackError
from tests.cli.test_program import PROGRAM, as_json, svhn_tui
from tests.support.shared import made_once


@pytest.fixture(scope="module")
def packed(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A workspace with a finished and an unfinished run, and its packed file."""

    def make(folder: Path) -> None:
        workspace, data = folder / "w", str(demo_folder)
        svhn_tui("run", "Q2", "--data", data, "--epochs", "3", workspace=workspace)
        stopped_while_training(workspace)
        svhn_tui("pack", str(folder / "runs.zip"), workspace=workspace)
        svhn_tui("stop", workspace=workspace)

    folder = made_once(tmp_path_factory, "packed", make)
    return folder / "w", folder / "runs.zip"


def stopped_while_training(workspace: Path) -> None:
    """Begin a long run and stop it once it has trained an epoch."""
    wish = ("run", "Q2", "--epochs", "90000", "--on-interrupt", "stop", "--json", "--workspace", str(workspace))
    running = subprocess.Popen([*PROGRAM, *wish], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if json.loads(line)["kind"] == "EpochEnded":
            running.send_signal(signal.SIGINT)
            break
    running.stdout.read()
    assert running.wait() == 130


def test_the_answers_are_the_same_at_home_even_after_a_kill(
    packed: tuple[Path, Path], demo_folder: Path, tmp_path: Path
):
    workspace, file = packed
    home = tmp_path / "home"
    importing = subprocess.Popen([*PROGRAM, "import", str(file), "--workspace", str(home)], stderr=subprocess.DEVNULL)
    os.kill(host_of(home), signal.SIGKILL)
    importing.wait()
    output = svhn_tui("import", str(file), workspace=home).stdout
    again = svhn_tui("import", str(file), workspace=home).stdout
    assert "0 finished runs taken in, 0 unfinished, 2 were here already" in again, output
    svhn_tui("run", "Q2", "--data", str(demo_folder), "--epochs", "3", workspace=home)
    svhn_tui("stop", workspace=home)
    one, other = (as_json("answers", workspace=where)["Q3"] for where in (workspace, home))
    assert one == other
    (run,) = as_json("runs", workspace=home)
    checkpoints = [path.parent.parent.name for path in (home / "runs").glob("*/checkpoint/latest.json")]
    assert len(checkpoints) == 1
    assert checkpoints[0] != run["run_id"]
    for root in (workspace, home):
        svhn_tui("stop", workspace=root)


def host_of(workspace: Path) -> int:
    """The host's pid, from its first word on a connection."""
    command = [sys.executable, "-m", "engine", "--workspace", str(workspace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bridge:
        assert bridge.stdin is not None and bridge.stdout is not None
        pid = int(json.loads(bridge.stdout.readline())["host_pid"])
        bridge.stdin.close()
    return pid


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            for member, content in change(name, before.read(name)):
                after.writestr(member, content)
    return target


def flip(name: str, content: bytes) -> list[tuple[str, bytes]]:
    turned = content[:100] + bytes([content[100] ^ 1]) + content[101:] if name.endswith("model.keras") else content
    return [(name, turned)]


def climb(name: str, content: bytes) -> list[tuple[str, bytes]]:
    return [(name, content), ("runs/../../evil", b"x")] if name == "manifest.json" else [(name, content)]


def garble(name: str, content: bytes) -> list[tuple[str, bytes]]:
    return [(name, b"[" * 10_000 if name == "manifest.json" else content)]


def drop(name: str, content: bytes) -> list[tuple[str, bytes]]:
    return [] if name.endswith("spec.json") else [(name, content)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "does not match its SHA-256"),
        (climb, "does not write"),
        (garble, "cannot be understood"),
        (drop, "not those of its manifest"),
    ],
)
def test_what_is_not_as_it_was_packed_is_refused(
    packed: tuple[Path, Path], tmp_path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], message: str
):
    file, root = rewritten(packed[1], tmp_path / "bad.zip", change), tmp_path / "w"
    (root / "runs").mkdir(parents=True)
    with pytest.raises(PackError, match=message):
        unpack(root, file, busy=frozenset())
    assert not list(root.glob("runs/*/result.json")) or change is flip
    assert not (root / "importing").exists()
    assert not (tmp_path / "evil").exists()


def test_a_packed_file_that_was_unpacked_comes_in_as_well(packed: tuple[Path, Path], tmp_path: Path):
    """Kaggle unpacks what is uploaded: the finished run is taken in, the other where its checkpoint is whole."""
    folder = tmp_path / "input" / "runs"
    with zipfile.ZipFile(packed[1]) as archive:
        archive.extractall(folder)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "notes.txt").write_text("mine")
    for name in (folder, folder.parent):
        output = svhn_tui("import", str(name), workspace=tmp_path / name.name).stdout
        assert "1 finished run taken in, 1 unfinished" in output
    (checkpoint,) = folder.glob("runs/*/checkpoint/*.npz")
    with zipfile.ZipFile(checkpoint) as archive:
        archive.extractall(checkpoint.with_suffix(""))
    checkpoint.unlink()
    (tmp_path / "c" / "runs").mkdir(parents=True)
    unpacked = unpack(tmp_path / "c", folder, busy=frozenset())
    assert (len(unpacked.finished), unpacked.unfinished) == (1, ())
    (model,) = folder.glob("runs/*/model.keras")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    (tmp_path / "d" / "runs").mkdir(parents=True)
    with pytest.raises(PackError, match="does not match its SHA-256"):
        unpack(tmp_path / "d", folder, busy=frozenset())
    model.unlink()
    model.symlink_to("/etc/passwd")
    with pytest.raises(PackError, match="is a link"):
        unpack(tmp_path / "d", folder, busy=frozenset())
    model.unlink()
    with pytest.raises(PackError, match="give the packed"):
        unpack(tmp_path / "d", folder, busy=frozenset())
    for name in (folder, folder.parent):
        svhn_tui("stop", workspace=tmp_path / name.name)
