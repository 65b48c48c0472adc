"""Recorded runs whose program has ended: they are finished from their journals.

A recorder writes its run's folder itself, as a worker does, and locks the journal until it ends. Where it is free, the
host finishes the run as a new attempt, so that a recorder that still runs changes nothing more.
"""

import contextlib
import time
from pathlib import Path

import msgspec

from engine.core import limits
from engine.core.recording import result_of
from engine.machine.files import Folder
from engine.protocol import RunResult
from engine.storage import claims, journal
from engine.storage.run_check import JOURNAL, RESULT
from engine.storage.run_folder import RUN_ID, RunFolder
from engine.storage.trash import RUNS


def complete(run: RunFolder) -> RunResult | None:
    """Return the result of a recorded run, made from its journal if no process writes there any more.

    None where it is still recorded, has no epoch, is not a recorded run, or cannot be written.
    """
    if run.is_finished:
        return run.result()
    spec = run.spec()
    if spec is None or spec.recording is None or limits.recording_problem(spec):
        return None
    if is_written(run):
        return None
    with contextlib.suppress(OSError):
        claims.claim(run.path, attempt := claims.new_attempt(run.path))
        history, _ = run.history()
        ended_at = min(time.time(), (run.path / JOURNAL).stat().st_mtime)
        result = result_of(spec, history.rows, ended_at, has_ended=False)
        if result is not None and finish(run, attempt, result):
            return result
    return None


def finish(run: RunFolder, attempt: str, result: RunResult) -> bool:
    """Write the result of a recorded run, which has no model; return False where another attempt has the run.

    Raises:
        OSError: it could not be written; it may be tried again.
    """
    if claims.is_superseded(run.path, attempt):
        return False
    run.put(RESULT, lambda file: file.write(msgspec.json.encode(result)))
    return True


def is_written(run: RunFolder) -> bool:
    """Say whether a run that is not finished is still being recorded, as far as locks show it."""
    with contextlib.suppress(OSError):
        return not run.is_finished and journal.is_written(run.path / JOURNAL)
    return False


def complete_all(root: Path) -> None:
    """Finish every recorded run of a workspace whose program has ended."""
    with contextlib.suppress(OSError), Folder.at(root, RUNS) as runs:
        names = [name for name, kind in runs.kinds().items() if kind == "folder" and RUN_ID.fullmatch(name)]
        unfinished = [run for name in names if not (run := RunFolder(root, name)).is_finished]
        for run in unfinished:
            complete(run)
