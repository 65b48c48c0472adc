"""Files are verified in one process; one at which it ends costs the others nothing."""

import sys
from pathlib import Path

import msgspec
import pytest

from engine.machine import child_process
from engine.tools.verification import Verification, VerifyOutcome, VerifyTask
from svhn_tui.export import file_checks

FOUND = VerifyOutcome(Verification("", "", 0, 0, 1, 2, 0.5, False, {}, ()))
STAND_IN = """
import os, signal, sys, msgspec
from pathlib import Path
names = [Path(task["file"]).name for task in msgspec.json.decode(sys.stdin.buffer.read())]
with open(sys.argv[1], "a") as uses:
    uses.write(" ".join(names) + chr(10))
for name in names:
    if name.startswith("kills"):
        print("half a line", end="", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("aborts"):
        print("it is broken", file=sys.stderr, flush=True)
        os._exit(3)
    print(sys.argv[2], flush=True)
"""


@pytest.fixture
def uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a stand-in verify; return the file with a line a process: the files that it was given."""
    command = (sys.executable, "-c", STAND_IN, str(tmp_path / "uses"), msgspec.json.encode(FOUND).decode())
    described = child_process.tool("engine.tools.verify")
    monkeypatch.setattr(child_process, "tool", lambda module: described._replace(argv=command))
    return tmp_path / "uses"


def test_a_file_at_which_the_process_ends_is_named_and_the_others_are_verified(uses: Path):
    names = ("a", "kills", "b", "own 1", "aborts", "c", "own 2")
    tasks = [VerifyTask(name, ("data",), model_file="model.py" if "own" in name else None) for name in names]
    outcomes = dict(zip(names, file_checks.outcomes_of(tasks), strict=True))
    problems = {name: outcomes.pop(name).problem for name in ("kills", "aborts")}
    assert "was ended by SIGKILL" in problems["kills"]
    assert problems["aborts"].endswith("ended with code 3. it is broken")
    assert all(outcome == FOUND for outcome in outcomes.values())
    assert uses.read_text().splitlines() == ["a kills b aborts c", "b aborts c", "c", "own 1", "own 2"]


def test_no_process_is_started_for_nothing(uses: Path):
    assert file_checks.outcomes_of([]) == ()
    assert not uses.exists()
