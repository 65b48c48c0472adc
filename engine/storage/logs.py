"""The logs of a run's training, read in parts, as text without control sequences.

A worker prints into the `engine.log` of the first run of its group; before it has a group, into `host.log`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine import protocol as p
from engine.machine.control_sequences import without_controls
from engine.machine.files import Folder
from engine.storage.journal import last_group
from engine.storage.run_folder import LOG, RUN_ID
from engine.storage.trash import RUNS

HOST_LOG = "host.log"
PART_BYTES = 256 * 2**10
"""Bytes that are read at once; of a longer log its end."""


class LogPart(NamedTuple):
    """Some whole lines of a log."""

    file: str
    """The log's path below the workspace."""
    begins: int
    ends: int
    """`begins` and `ends` are offsets in the file, in bytes."""
    text: str


def read(workspace: Path, run_id: str, *, file: str = "", begins: int = 0) -> LogPart:
    """Read the end of what was printed for a run; of the log that was read before, what was added since.

    Args:
        workspace: its folder.
        run_id: the run.
        file: the log that was read before, if any; where another one is the run's by now, its end is read.
        begins: from where on that one is read.

    Raises:
        ValueError: the name is not a run's.
        OSError: the log cannot be read, or is reached through a link.
    """
    if not RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id[:40]!r} is not a run: twelve hexadecimal digits name one.")
    for name in _candidates(workspace, run_id):
        part = _read(workspace, name, begins if name == file else None)
        if part.ends:
            return part
    return LogPart("", 0, 0, "")


def _candidates(workspace: Path, run_id: str) -> Iterator[str]:
    """Yield the files that may hold a run's log, the likeliest first."""
    group = last_group(workspace / RUNS / run_id / "journal.jsonl")
    first = group.rpartition("-")[2]  # the name of a group is that of its worker and of its first run
    if RUN_ID.fullmatch(first) and first != run_id:
        yield f"{RUNS}/{first}/{LOG}"
    yield f"{RUNS}/{run_id}/{LOG}"
    yield HOST_LOG


def _read(workspace: Path, name: str, begins: int | None) -> LogPart:
    *above, last = name.split("/")
    try:
        with Folder.at(workspace, *above) as folder:
            file = folder.open_to_read(last)
    except FileNotFoundError:
        return LogPart(name, 0, 0, "")
    with file:
        size = os.fstat(file.fileno()).st_size
        is_end = (
            begins is None or not size - PART_BYTES <= begins <= size
        )  # it was truncated meanwhile, or has grown a lot
        start = max(0, size - PART_BYTES) if is_end or begins is None else begins
        file.seek(start)
        content = file.read(min(PART_BYTES, size - start))
    if is_end and start and (line_end := content.find(b"\n")) >= 0:
        start, content = start + line_end + 1, content[line_end + 1 :]
    whole = content[: content.rfind(b"\n") + 1] if not is_end else content
    return LogPart(name, start, start + len(whole), shown(whole))


def shown(content: bytes) -> str:
    """Return a log as lines; a progress bar that overwrote itself becomes several lines."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return without_controls(lines).decode(errors="replace")


def answer(workspace: Path, command: p.ReadLog) -> p.LogRead:
    """Answer `ReadLog`."""
    run_id, request = command.run_id, command.request
    try:
        part = read(workspace, run_id, file=command.file, begins=command.begins)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror or error}"
        return p.LogRead(run_id=run_id, problem=problem, request=request)
    return p.LogRead(run_id=run_id, file=part.file, begins=part.begins, ends=part.ends, text=part.text, request=request)
