"""Files are verified in one process, or in one a model file; one at which it ends costs the others nothing."""

import sys
from pathlib import Path

import msgspec
import pytest

from engine.core.spec import Configuration, Network, OwnModel
from engine.machine import child_process
from engine.tools.verification import Requirement, Verification, VerifyOutcome, VerifyTask
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


def asked(model_file: str) -> Requirement:
    """Ask for what is built by a model file."""
    return Requirement(Configuration(Network(model=OwnModel(model_file, "build"))))


def test_a_file_at_which_the_process_ends_is_named_and_the_others_are_verified(uses: Path):
    own = {"one": "one.py", "aborts": "two.py", "two": "one.py", "three": "two.py"}
    names = ("a", "one", "kills", "b", "aborts", "two", "three")
    tasks = [VerifyTask(name, ("data",), asked=asked(own[name]) if name in own else None) for name in names]
    outcomes: dict[str, VerifyOutcome] = {}
    file_checks.check(tasks, lambda task, outcome: outcomes.update({task.file: outcome}))
    assert list(outcomes) == ["a", "kills", "b", "one", "two", "aborts", "three"], "as soon as each is done"
    problems = {name: outcomes.pop(name).problem for name in ("kills", "aborts")}
    assert "was ended by SIGKILL" in problems["kills"]
    assert problems["aborts"].endswith("the process ended with exit code 3: it is broken.")
    assert all(outcome == FOUND for outcome in outcomes.values())
    assert uses.read_text().splitlines() == ["a kills b", "b", "one two", "aborts three", "three"]


def test_no_process_is_started_for_nothing(uses: Path):
    file_checks.check([], lambda task, outcome: pytest.fail("nothing was to be verified"))
    assert not uses.exists()
