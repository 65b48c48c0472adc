"""A host that cannot start, whatever keeps it: the user reads why at once, in a sentence, and host.log has the rest."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.support.customised import customise
from tests.support.terminal import PROGRAM

AT_ONCE = 15.0
"""Seconds, on a busy machine: two interpreters start. Nobody waits for the 20 that a host may be out of reach."""

DEFECTS = {
    "an error nobody thought of": ('raise KeyError("odd thing")', "KeyError: 'odd thing'", True),
    "several lines": ('raise RuntimeError("one\\ntwo")', "RuntimeError: one two", True),
    "memory": ("raise MemoryError", "MemoryError", True),
    "recursion": ("raise RecursionError('too deep')", "RecursionError: too deep", True),
    "a disk's error": ("raise OSError(5, 'Input/output error', '/data/x')", "/data/x: Input/output error", True),
    "an error without a number": ("raise PermissionError('not today')", "not today", True),
    "a lock held elsewhere": ("raise BlockingIOError(11, 'busy', 'y')", "y: busy", True),
    "a signal": ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL before it listened", False),
    "an exit": ("import os; os._exit(4)", "says nothing", False),
    "a broken installation": ("import_error", "ModuleNotFoundError: No module named 'gone'", True),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_whatever_keeps_a_host_from_starting_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
):
    row = tally("a host that fails or dies while it starts")
    statement, sentence, has_trace = DEFECTS[name]
    hook = f"""
    import sys
    if "engine.host.main" in sys.orig_argv:
        def broken(*arguments, **named):
            {statement if statement != "import_error" else "pass"}
        if {statement == "import_error"}:
            class Finder:
                def find_spec(self, name, path=None, target=None):
                    if name == "engine.host.service":
                        import gone
            sys.meta_path.insert(0, Finder())
        else:
            import engine.host.service
            engine.host.service.Service.__init__ = broken
    """
    customise(monkeypatch, tmp_path / "python", hook)
    workspace = tmp_path / "w"
    workspace.mkdir()
    began = time.monotonic()
    done = subprocess.run([*PROGRAM, "status", "-w", str(workspace)], capture_output=True, text=True, check=False)
    assert time.monotonic() - began < AT_ONCE
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert sentence in done.stderr
    assert ("Traceback" in (workspace / "host.log").read_text()) == has_trace
    row.injected += 1
