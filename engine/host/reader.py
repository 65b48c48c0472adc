"""Read-only access to a workspace (somebody else's, or on a read-only disk): the bridge serves it without a host.

It sends what is on disk and answers what needs only reading. Nothing is started, no file or folder is made,
moved or set aside, and links are not followed: the files may be another user's.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine import protocol as p
from engine.core.forecast import EpochTimes
from engine.core.limits import sweep_problem
from engine.core.sweep import Sweep
from engine.host import stored_state
from engine.machine.files import Folder
from engine.machine.json_file import decoded
from engine.machine.system import version
from engine.storage import file_hashes, journal, logs
from engine.storage.run_folder import RUN_ID
from engine.storage.workspace import HostState

Decoded = TypeVar("Decoded")

MOST_BYTES = 256 * 2**20
"""Largest file that is read as a whole, in bytes; the index of 100,000 runs is smaller."""


def serve(root: Path, reason: str) -> int:
    """Send what a workspace holds, then answer commands from stdin until it ends.

    Args:
        root: the workspace, links resolved.
        reason: why it is only read.

    Raises:
        OSError: the folder cannot be read.
    """
    workspace = ReadOnlyWorkspace(root)
    refusal = f"{root} is open read-only ({reason}): nothing is trained or changed."
    _send(*workspace.events(), p.Noticed(text=refusal, severity="warning"), p.CaughtUp())
    for line in sys.stdin.buffer:
        try:
            command = p.decode_command(line)
        except p.UNREADABLE as error:
            _send(p.Refused(command="", reason=f"Not a command: {str(error)[:200]}."))
            continue
        if isinstance(command, p.Shutdown):
            _send(p.HostEnded(reason=refusal))
            break
        _send(*_answers(workspace, command, refusal))
    return 0


class ReadOnlyWorkspace:
    """The contents of a workspace's folder, as far as they can be read and decoded."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unreadable = 0
        self.host_state = self._read(root / "host.json", HostState) or HostState()

    @property
    def data(self) -> p.DataSet | None:
        """The data set that was in use last."""
        known = self.host_state.known.get(self.host_state.data)
        return known.data if known else None

    def run_folder(self, run_id: str) -> Path | None:
        """Return the path of a run's folder; None where there is no folder of this name."""
        folder = self._root / "runs" / run_id
        return folder if RUN_ID.fullmatch(run_id) and _is_folder(folder.parent) and _is_folder(folder) else None

    def results(self, within: str = "runs") -> tuple[p.RunResult, ...]:
        """Return the finished runs, from their folders."""
        folders = _folders(self._root / within)
        named = ((folder.name, self._read(folder / "result.json", p.RunResult)) for folder in folders)
        return tuple(result for name, result in named if result is not None and result.run_id == name)

    def history(self, run_id: str) -> tuple[p.History, int]:
        """Return a run's rows and the number of damaged lines; none where there is no journal."""
        folder = self.run_folder(run_id)
        with contextlib.suppress(OSError):
            if folder is not None and stat.S_ISREG((folder / "journal.jsonl").lstat().st_mode):
                return journal.history(folder / "journal.jsonl")
        return p.History(), 0

    def log(self, command: p.ReadLog) -> p.AnyEvent:
        """Return a part of a run's log."""
        try:
            return logs.answer(self._root, command)
        except ValueError as error:
            return p.Refused(command="ReadLog", reason=str(error), request=command.request)

    def model_sha256(self, run_id: str) -> str | None:
        """Return the checksum of a run's file; None where there is none to read."""
        folder = self.run_folder(run_id)
        with contextlib.suppress(OSError):
            if folder is not None:
                return file_hashes.sha256(folder / "model.keras")
        return None

    def events(self) -> Iterator[p.AnyEvent]:
        """Return the whole state as events, as a host sends it to a new client."""
        results = self.results()
        attached = p.Attached(
            workspace=str(self._root),
            host_pid=os.getpid(),
            versions={"svhn-tui": version()},
            data=self.data,
            known=tuple(known.data for known in self.host_state.known.values()),
            results=len(results),
            choices=self.host_state.choices,
            statements=self.host_state.statements,
        )
        yield from stored_state.events(attached, results, self._notes(), self._sweeps())
        yield p.Timed(times=EpochTimes(self.host_state.times).medians)
        if self._unreadable:
            yield p.Noticed(text=f"Files that cannot be read or understood: {self._unreadable}.", severity="warning")

    def _notes(self) -> Iterator[p.Note]:
        index = self._read(self._root / "runs.json", dict[str, Any]) or {}
        notes = index.get("notes")
        for document in notes.values() if isinstance(notes, dict) else ():
            with contextlib.suppress(msgspec.ValidationError):
                yield msgspec.convert(document, p.Note)

    def _sweeps(self) -> Iterator[Sweep]:
        if not _is_folder(self._root / "sweeps"):
            return
        for path in sorted((self._root / "sweeps").glob("*.json")):
            sweep = self._read(path, Sweep)
            if sweep is not None and not sweep_problem(sweep):
                yield sweep

    def _read(self, path: Path, kind: type[Decoded]) -> Decoded | None:
        try:
            with Folder.at(path.parent) as folder:
                return decoded(folder, path.name, kind, MOST_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, *p.UNREADABLE):
            self._unreadable += 1
            return None


def _answers(workspace: ReadOnlyWorkspace, command: p.AnyCommand, refusal: str) -> Iterator[p.AnyEvent]:
    match command:
        case p.OpenData(source=()) if workspace.data is not None:
            yield p.DataOpened(data=workspace.data, request=command.request)
        case p.Watch():
            for run_id in command.runs:
                history, damaged = workspace.history(run_id)
                yield p.HistoryRead(run_id=run_id, history=history, damaged_lines=damaged)
        case p.ReadLog():
            yield workspace.log(command)
        case p.CheckFiles():
            yield p.FilesChecked(hashes={run_id: workspace.model_sha256(run_id) for run_id in command.runs})
        case p.ReadTrash():
            yield p.TrashRead(results=workspace.results("trash"))
        case _:
            yield p.Refused(command=type(command).__name__, reason=refusal, request=command.request)


def _send(*events: p.AnyEvent) -> None:
    for event in events:
        sys.stdout.buffer.write(p.encode(event))
    sys.stdout.buffer.flush()


def _folders(parent: Path) -> Iterator[Path]:
    """Yield the run folders in the order of their names, and nothing else that is there."""
    if _is_folder(parent):
        with os.scandir(parent) as entries:
            named = [entry for entry in entries if RUN_ID.fullmatch(entry.name)]
        yield from (Path(entry) for entry in sorted(named, key=lambda entry: entry.name) if _is_folder(Path(entry)))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
