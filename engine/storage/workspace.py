"""The layout of a workspace, and reading and writing its files. Used by the host alone.

State is derived: a run with `result.json` is finished; one with `spec.json` alone was begun; one that only waits has no
folder, and follows from the sweeps.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.core.limits import sweep_problem
from engine.core.sweep import Sweep
from engine.machine.files import (
    DAMAGED,
    MAX_SMALL_BYTES,
    Folder,
    NotOurs,
    is_temporary,
    make_folder,
    shown,
    write_atomically,
)
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE, DataSet, EpochTime, Fleet, RunResult, Statement
from engine.storage import trash
from engine.storage.migrations import FORMAT, MAX_HOST_BYTES, SWEEPS
from engine.storage.run_check import RESULT
from engine.storage.run_folder import RUN_ID, RunFolder, WrongRun
from engine.storage.trash import DISCARDED, RUNS, TRASH

Decoded = TypeVar("Decoded")

SWEEP_FILE = re.compile(r"[0-9a-f]{12}\.json")
MAX_REPORTED = 10
"""Number of unknown files in a folder that are reported one by one."""


class KnownData(msgspec.Struct, frozen=True):
    """A data set that was opened, and the size and modification time (ns) of its two files then."""

    data: DataSet
    stamps: tuple[tuple[int, int], ...]


class QueueOrder(msgspec.Struct, frozen=True):
    """The part of the queue that cannot be derived: its order, and which runs are held and why."""

    runs: tuple[str, ...] = ()
    held: dict[str, str] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    """The runs that failed for each reason, which is a sentence."""
    groups: dict[str, str] = {}
    """The group in which each run trained side by side with others, by run_id."""
    model_names: dict[str, str] = {}
    """What the user calls model files, by their SHA-256."""


class HostState(msgspec.Struct, frozen=True):
    """`host.json`: what the host stores from one start to the next."""

    format: int = FORMAT
    data: str = ""
    """Fingerprint of the data set in use."""
    known: dict[str, KnownData] = {}
    order: QueueOrder = QueueOrder()
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}
    times: tuple[EpochTime, ...] = ()
    fleet: Fleet = Fleet()
    """Where to train, by an earlier version; neither used nor written, as it is the user's choice (`user_config`)."""


def stamps_of(paths: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return size and modification time (ns) of files as they are now; empty when one is gone.

    Of a folder the files in it count: an archive may have been unpacked into it.
    """
    try:
        files = [file for path in map(Path, paths) for file in (sorted(path.iterdir()) if path.is_dir() else (path,))]
        stamps = [file.stat() for file in files]
    except OSError:
        return ()
    return tuple((status.st_size, status.st_mtime_ns) for status in stamps)


class Workspace:
    """A workspace's folders. Anything that svhn-tui did not write is skipped and reported once."""

    def __init__(self, root: Path) -> None:
        """Make the folders that are missing. The workspace may be reached through a link, the folders in it may not.

        Raises:
            OSError: the folder cannot be made or entered, or one in it is a link or a file.
        """
        self.root = make_folder(root.expanduser()).resolve()
        self.problems: list[str] = []
        """Which files were damaged or are not ours, in sentences for the user."""
        with Folder.at(self.root) as folder:
            for name in (RUNS, SWEEPS, TRASH):
                with folder.folder(name, make=True):
                    pass
        self.runs, self.sweeps, self.trash = (self.root / name for name in (RUNS, SWEEPS, TRASH))

    def demo_folder(self, train: int, test: int) -> Path:
        """Return the folder for demo data of these sizes."""
        return self.root / f"demo-data-{train}-{test}"

    def run(self, run_id: str) -> RunFolder:
        """Return a run's folder.

        Raises:
            ValueError: the name is not a run's; names come from outside and become paths.
        """
        return RunFolder(self.root, run_id)

    def run_folder(self, run_id: str) -> Path:
        """Return the path of a run's folder.

        Raises:
            ValueError: as `run`.
        """
        return self.run(run_id).path

    def finished(self) -> set[str]:
        """Return the ids of the runs that have a result."""
        with Folder.at(self.root, RUNS) as runs:
            kinds = runs.kinds()
            ours = {name for name, kind in kinds.items() if kind == "folder" and RUN_ID.fullmatch(name)}
            self._report_unknown([self.runs / name for name in kinds if name not in ours])
            return {name for name in ours if runs.kind(name, RESULT) == "file"}

    def result(self, run_id: str) -> RunResult | None:
        """Read a run's result; a damaged one is set aside, so that the run is trained again.

        One that cannot be read at present, or is in the folder of another run, is skipped.
        """
        run = self.run(run_id)
        try:
            return run.read_result()
        except FileNotFoundError:
            return None
        except WrongRun as error:
            self._report(f"{shown(run.path)} is ignored: {error}; `svhn-tui doctor --repair` puts it aside.")
        except (NotOurs, *UNREADABLE) as error:
            self._set_aside(run.path / RESULT, error)
        except OSError as error:
            self._report(f"{shown(run.path / RESULT)} cannot be read ({error.strerror}); it is ignored.")
        return None

    def write_sweep(self, sweep: Sweep) -> None:
        """Store a sweep."""
        with Folder.at(self.root, SWEEPS) as folder:
            folder.write_atomically(f"{sweep.sweep_id}.json", msgspec.json.encode(sweep))

    def remove_sweep(self, sweep: Sweep) -> None:
        """Delete a sweep."""
        with Folder.at(self.root, SWEEPS) as folder:
            folder.remove(f"{sweep.sweep_id}.json")

    def all_sweeps(self) -> Iterator[Sweep]:
        """Read the sweeps, the oldest first."""
        with Folder.at(self.root, SWEEPS) as folder:
            kinds = folder.kinds()
            ours = [name for name, kind in kinds.items() if kind == "file" and SWEEP_FILE.fullmatch(name)]
            known = {name for name in kinds if name in ours or is_temporary(name) or DAMAGED in name}
            self._report_unknown([folder.path / name for name in kinds if name not in known])
            ours.sort(key=lambda name: folder.status(name).st_mtime_ns)
        for name in ours:
            sweep = self._read(self.sweeps / name, Sweep)
            if sweep is not None and (problem := sweep_problem(sweep)):
                self._set_aside(self.sweeps / name, ValueError(problem))
            elif sweep is not None:
                yield sweep

    def host_state(self) -> HostState:
        """Read `host.json`; a damaged one is set aside, and the defaults are returned."""
        return self._read(self.root / "host.json", HostState, MAX_HOST_BYTES) or HostState()

    def write_host_state(self, state: HostState) -> None:
        """Write `host.json`."""
        write_atomically(self.root / "host.json", msgspec.json.encode(state))

    def discard(self, run_id: str) -> None:
        """Move a run to the trash; older ones of its name are kept."""
        trash.discard(self.root, self.run(run_id).run_id)

    def restore(self, run_id: str) -> bool:
        """Move the newest folder of a run back from the trash; return whether there was one."""
        return trash.restore(self.root, self.run(run_id).run_id)

    def discarded(self) -> Iterator[RunResult]:
        """Read the finished runs in the trash, newest first, the newest folder of each; damaged ones are skipped."""
        results: dict[str, tuple[int, RunResult]] = {}
        with Folder.at(self.root, TRASH) as folders:
            names = [(match[1], int(match[2] or 1), name) for name in folders.kinds()
                     if (match := DISCARDED.fullmatch(name))]  # fmt: skip
            for run_id, _, name in sorted(names):
                with contextlib.suppress(OSError, *UNREADABLE), folders.folder(name) as folder:
                    results[run_id] = (folders.status(name).st_mtime_ns, decoded(folder, RESULT, RunResult))
        for _, result in sorted(results.values(), key=lambda pair: -pair[0]):
            yield result

    def stamps(self, data: DataSet) -> tuple[tuple[int, int], ...]:
        """Return size and modification time (ns) of the data's files as they are now; empty when one is gone."""
        return stamps_of(data.paths)

    def _read(self, path: Path, kind: type[Decoded], most: int = MAX_SMALL_BYTES) -> Decoded | None:
        """Read a JSON file; one that cannot be read or decoded is set aside."""
        try:
            with Folder.at(path.parent) as folder:
                return decoded(folder, path.name, kind, most)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE) as error:
            self._set_aside(path, error)
            return None

    def _set_aside(self, path: Path, error: Exception) -> None:
        problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
        with Folder.at(path.parent) as folder:
            aside = folder.set_aside(path.name)
        self._report(f"{path} was damaged ({problem.rstrip('.')}); it was set aside as {aside}.")

    def _report_unknown(self, paths: list[Path]) -> None:
        """Report files that do not belong where they are, and leave them there."""
        for path in paths[:MAX_REPORTED]:
            self._report(f"{shown(path)} was not written by svhn-tui and is ignored; `svhn-tui doctor` says more.")
        if len(paths) > MAX_REPORTED:
            self._report(f"{len(paths) - MAX_REPORTED:,} more things in {paths[0].parent} are ignored.")

    def _report(self, sentence: str) -> None:
        if sentence not in self.problems:
            self.problems.append(sentence)
