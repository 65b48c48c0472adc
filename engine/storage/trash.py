"""The trash of a workspace: folders of deleted runs, several of one run if it was trained again in between."""

import re
from pathlib import Path

from engine.machine.files import Folder

RUNS, TRASH = "runs", "trash"
"""Folders of a workspace that hold folders of runs."""
DISCARDED = re.compile(r"([0-9a-f]{12})(?:\.(\d{1,9}))?")
"""Name of a folder in the trash; the later ones of a run are numbered from 2."""


def discard(workspace: Path, run_id: str) -> None:
    """Move a run's folder to the trash, if it exists; older ones of its name stay there.

    Raises:
        OSError: it cannot be moved.
    """
    with Folder.at(workspace, RUNS) as runs, Folder.at(workspace, TRASH, make=True) as trash:
        if runs.kind(run_id) != "nothing":
            number = max(_numbers(trash, run_id), default=0) + 1
            runs.move(run_id, trash, _name(run_id, number))


def restore(workspace: Path, run_id: str) -> bool:
    """Move the newest folder of a run back from the trash; return whether there was one.

    Raises:
        OSError: it cannot be moved.
    """
    with Folder.at(workspace, TRASH) as trash, Folder.at(workspace, RUNS) as runs:
        numbers = [number for number in _numbers(trash, run_id) if trash.kind(_name(run_id, number)) == "folder"]
        if not numbers or runs.kind(run_id) != "nothing":
            return False
        trash.move(_name(run_id, max(numbers)), runs, run_id)
    return True


def _name(run_id: str, number: int) -> str:
    return run_id if number == 1 else f"{run_id}.{number}"


def _numbers(trash: Folder, run_id: str) -> list[int]:
    matches = [match for name in trash.kinds() if (match := DISCARDED.fullmatch(name))]
    return [int(match[2] or 1) for match in matches if match[1] == run_id]
