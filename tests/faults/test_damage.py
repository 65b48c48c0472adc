"""Damaged files: the host starts, serves what is whole, says what it set aside; the doctor finds each and repairs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import protocol as p
from engine.storage import doctor
from tests.faults.conftest import a_run
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.scenes import BOOK

Q7 = BOOK.question("Q7")
ROW = "damaged files"
"""In the table of faults."""


def garbled(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(content) and None


def in_run(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: (a_run(root) / name).write_bytes(content) and None


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in a file's place."""
    path.unlink(missing_ok=True)
    make(path)


INDEX = {
    "empty": b"",
    "cut": b'{"runs": {"1": {"run_id": "',
    "garbage": b"\xff\x00garbage",
    "a list": b"[]",
    "names that are no numbers": b'{"runs": {"x": {"run_id": "1"}}, "notes": {"y": {}}}',
    "documents of another shape": b'{"runs": {"1": {"a": 1}}, "notes": {"1": {"b": []}}}',
    "documents that are lists": b'{"runs": {"1": []}}',
    "a version that is no number": b'{"about": {"1": {"version": "x"}}, "runs": {}}',
}


@pytest.mark.parametrize("what", INDEX)
def test_the_index_is_made_anew_from_the_runs(copied: Path, what: str):
    (copied / "runs.json").write_bytes(INDEX[what])
    with Bridge(copied, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert len(bridge.state.results) == 20
        bridge.end()
    kept = [path.read_bytes() for path in copied.iterdir() if path.name.startswith("runs.json.damaged-")]
    if kept:
        assert kept == [INDEX[what]], "what was there is set aside as it was"
        assert any("runs.json was damaged" in notice.text for notice in bridge.state.notices)
    indexed = json.loads((copied / "runs.json").read_bytes())["runs"].values()
    assert {path.name for path in (copied / "runs").iterdir()} <= {document.get("run_id") for document in indexed}


PIECES: dict[str, tuple[Callable[[Path], None], int]] = {
    "host.json": (garbled("host.json", b"{"), 20),
    "a sweep": (garbled("sweeps/0123456789ab.json", b"nonsense"), 20),
    "a result": (in_run("result.json", b'{"run_id": 1}'), 19),
    "a specification": (in_run("spec.json", b""), 20),
    "a journal": (in_run("journal.jsonl", b"\xff\n{}\n"), 20),
    "an unknown folder": (lambda root: (root / "runs" / "notes of mine").mkdir(), 20),
    "a half-written file": (in_run(".result.json.abcd.tmp", b"half"), 20),
    "no folder of sweeps": (lambda root: shutil.rmtree(root / "sweeps"), 20),
    "no folder of the trash": (lambda root: shutil.rmtree(root / "trash"), 20),
    "an index that may only be read": (lambda root: (root / "runs.json").chmod(0o400), 20),
    "a sweep that asks too much": (
        garbled("sweeps/0123456789ab.json", b'{"title":"x","data":"d","configurations":[{}],"seeds":[-1]}'),
        20,
    ),
    "small things nested without end": (garbled("host.json", b'{"x":' + b"[" * 100_000), 20),
}


@pytest.mark.parametrize("what", PIECES)
def test_one_damaged_piece_harms_nothing_else(copied: Path, what: str):
    damage, left = PIECES[what]
    damage(copied)
    with Bridge(copied, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert len(bridge.state.results) >= left
        assert bridge.state.notes, "the note is still there"
        bridge.end()


HARMLESS = {"a journal", "no folder of sweeps", "no folder of the trash", "an index that may only be read"}
"""The doctor has nothing to put aside there."""
DOCTORED: dict[str, Callable[[Path], None]] = {
    **{name: damage for name, (damage, _) in PIECES.items() if name not in HARMLESS},
    "the index": garbled("runs.json", b"[]"),
    "an index that is a folder": lambda root: instead(root / "runs.json", Path.mkdir),
    "an index that is a pipe": lambda root: instead(root / "runs.json", os.mkfifo),
    "a journal that is a folder": lambda root: instead(a_run(root) / "journal.jsonl", Path.mkdir),
    "a model that is a folder": lambda root: instead(a_run(root) / "model.keras", Path.mkdir),
    "a result that leads nowhere": lambda root: instead(
        a_run(root) / "result.json", lambda path: path.symlink_to("nowhere")
    ),
    "a model with a flipped bit": in_run("model.keras", b"flipped"),
    "a model that is gone": lambda root: (a_run(root) / "model.keras").unlink(),
    "a run under another's name": lambda root: (a_run(root)).rename(root / "runs" / ("0" * 12)) and None,
    "an import that was broken off": lambda root: (root / "importing").mkdir(),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_the_doctor_finds_it_and_a_repair_puts_it_aside_whole(copied: Path, what: str):
    DOCTORED[what](copied)
    before = {path.relative_to(copied): path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    findings = list(doctor.examine(copied))
    damaged = [finding for finding in findings if finding.level == "damaged"]
    assert len(damaged) >= 1
    assert all(finding.advice for finding in damaged)
    folder = doctor.repair(copied, findings)
    assert folder is not None
    assert not [finding for finding in doctor.examine(copied) if finding.level == "damaged"]
    lying = {path.relative_to(copied): path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    moved = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path, content in before.items():
        assert lying.get(path, moved.get(path)) == content, "nothing is lost: it lies in its place or aside"


def test_a_whole_workspace_has_nothing_to_repair_and_the_command_says_so(whole: Path):
    command = [sys.executable, "-c", "from svhn_tui.cli.main import main; main()", "doctor", "--workspace", str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 finished and 0 unfinished runs" in done.stdout
    assert "✗" not in done.stdout


def test_a_repair_waits_for_the_host_to_end(copied: Path):
    with Bridge(copied, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        (copied / "sweeps" / "0123456789ab.json").write_bytes(b"x")
        with pytest.raises(BlockingIOError):
            doctor.repair(copied, list(doctor.examine(copied)))
        bridge.end()


def test_what_a_newer_program_wrote_is_left_alone_and_an_unasked_run_is_named(copied: Path):
    (copied / "host.json").write_bytes(b'{"format": 99}')
    shutil.rmtree(copied / "sweeps")
    (a_run(copied) / "result.json").unlink()
    findings = {finding.text: finding for finding in doctor.examine(copied)}
    assert findings["host.json was written by a newer svhn-tui"].moved == ()
    assert any("that nothing asks for" in text for text in findings)
    assert doctor.repair(copied, list(findings.values())) is None
