"""A run's folder, as the worker that is to write there opens it."""

from pathlib import Path

import msgspec

from engine.files import PRIVATE_FOLDER, write_atomically
from engine.journal import Journal
from engine.protocol import UNREADABLE, RunResult
from engine.spec import RunSpec


def begin(workspace: Path, spec: RunSpec) -> tuple[Path, Journal]:
    """Open a run's folder and journal, once whoever wrote there before, and has lost its host, writes no more.

    Raises:
        OSError: they cannot be written or read.
    """
    folder = workspace / "runs" / spec.run_id
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)  # not its parents: the workspace may have been moved away
    if not (folder / "spec.json").exists():  # what a run is to train is said before anything is trained
        write_atomically(folder / "spec.json", msgspec.json.encode(spec))
    return folder, Journal(folder / "journal.jsonl")


def result_in(folder: Path) -> RunResult | None:
    """Return the result that is there: of a worker that came to the end after its host had died."""
    try:
        return msgspec.json.decode((folder / "result.json").read_bytes(), type=RunResult)
    except (OSError, *UNREADABLE):
        return None
