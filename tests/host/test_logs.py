"""The log of a run, asked of a real host: of a worker that trains, and of one that died before its first run."""

import sys
import time
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.host.reader import ReadOnlyWorkspace
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.scenes import BOOK

DIES = "import sys; sys.stderr.write('\\x1b[31mImportError: no jax\\x1b[0m\\n'); sys.exit(3)"


def log_until(bridge: Bridge, run_id: str, text: str) -> p.LogRead:
    """Ask for the log until it holds a text."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        bridge.send(p.ReadLog(run_id=run_id, request="log"))
        event = bridge.until(lambda state, event: isinstance(event, p.LogRead))
        assert isinstance(event, p.LogRead) and event.request == "log" and bridge.state.log is not None
        if text in event.text:
            return event
    raise AssertionError(f"{text!r} never stood in the log")


def test_a_worker_that_dies_before_its_first_run_is_read_in_the_hosts_log(demo_folder: Path, tmp_path: Path):
    command = f'{sys.executable} -c "{DIES}"'
    with Bridge(tmp_path, SVHN_TUI_WORKER=command) as bridge:
        data = bridge.open(demo_folder)
        sweep = BOOK.sweep(BOOK.question("Q2"), data.fingerprint)
        assert sweep is not None
        bridge.send(p.Submit(sweep=sweep))
        run_id = bridge.until_kind(p.RunsQueued).waiting[0].run_id
        log = log_until(bridge, run_id, "ImportError: no jax\n")
        assert log.file == "host.log" and "\x1b" not in log.text
        bridge.send(p.ReadLog(run_id="../../etc", request="bad"))
        refused = bridge.until_kind(p.Refused)
        assert refused.request == "bad" and "is not a run" in refused.reason
        bridge.end()


def test_what_a_worker_prints_is_followed_and_read_of_a_workspace_that_is_only_read(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path) as bridge:
        data = bridge.open(demo_folder)
        sweep = BOOK.sweep(BOOK.question("Q2"), data.fingerprint)
        assert sweep is not None
        bridge.send(p.Submit(sweep=msgspec.structs.replace(sweep, seeds=(0,))))
        event = bridge.until_kind(p.RunStarted)
        run_id = event.runs[0]
        log = tmp_path / "runs" / run_id / "engine.log"
        with log.open("ab") as file:
            file.write(b"a library says\x07 this\r50%\n")
        first = log_until(bridge, run_id, "a library says this\n50%\n")
        with log.open("ab") as file:
            file.write(b"and that\n")
        bridge.send(p.ReadLog(run_id=run_id, file=first.file, begins=first.ends))
        assert bridge.until_kind(p.LogRead).text == "and that\n"
        assert bridge.state.log is not None and bridge.state.log.text.endswith("50%\nand that\n")
        bridge.end()
    workspace = ReadOnlyWorkspace(tmp_path)
    read = workspace.log(p.ReadLog(run_id=run_id))
    assert isinstance(read, p.LogRead) and read.text.endswith("and that\n")
    assert isinstance(workspace.log(p.ReadLog(run_id="..")), p.Refused)
