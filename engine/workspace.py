"""The folder that holds everything: where each thing lies, and reading and writing it. Used by the host alone.

State is derived: a run with `result.json` is finished; one with `spec.json` alone was begun; what only waits has no
folder, and follows from the sweeps.
"""

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.files import make_folder, set_aside, write_atomically
from engine.formats import FORMAT
from engine.limits import sweep_problem
from engine.plan import Sweep
from engine.protocol import UNREADABLE, DataSet, EpochTime, Fleet, RunResult, Statement

Kind = TypeVar("Kind")

RUN_ID = re.compile(r"[0-9a-f]{12}")


class KnownData(msgspec.Struct, frozen=True):
    """A data set that was opened, and the size and modification time (ns) of its two files then."""

    data: DataSet
    stamps: tuple[tuple[int, int], ...]


class Order(msgspec.Struct, frozen=True):
    """What cannot be derived about the queue: its order, and which runs are held and why."""

    runs: tuple[str, ...] = ()
    held: dict[str, str] = {}


class Remembered(msgspec.Struct, frozen=True):
    """`host.json`: small things that the host keeps from one start to the next."""

    format: int = FORMAT
    data: str = ""
    """Fingerprint of the data set in use."""
    known: dict[str, KnownData] = {}
    order: Order = Order()
    choices: dict[str, str] = {}
    statements: dict[str, tuple[Statement, ...]] = {}
    times: tuple[EpochTime, ...] = ()
    fleet: Fleet = Fleet()
    """Where to train, as an earlier version kept it; not used, and not written: that is the user's choice."""


def stamps_of(paths: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return size and modification time (ns) of files as they are now; empty when one is gone.

    A folder stands for the files in it: an archive may have been unpacked into it.
    """
    try:
        files = [file for path in map(Path, paths) for file in (sorted(path.iterdir()) if path.is_dir() else (path,))]
        found = [file.stat() for file in files]
    except OSError:
        return ()
    return tuple((status.st_size, status.st_mtime_ns) for status in found)


class Workspace:
    """A workspace's folders."""

    def __init__(self, root: Path) -> None:
        """Make what is missing.

        Raises:
            OSError: the folder cannot be made or entered.
        """
        self.root = make_folder(root.expanduser()).resolve()
        self.runs = make_folder(self.root / "runs")
        self.sweeps = make_folder(self.root / "sweeps")
        self.trash = make_folder(self.root / "trash")
        self.complaints: list[str] = []
        """What was found damaged, in sentences for the user."""

    def demo_folder(self, train: int, test: int) -> Path:
        """Where demo data of these sizes is kept."""
        return self.root / f"demo-data-{train}-{test}"

    def run_folder(self, run_id: str) -> Path:
        """A run's folder.

        Raises:
            ValueError: the name is no run's; names come from outside and become paths.
        """
        if not RUN_ID.fullmatch(run_id):
            raise ValueError(f"{run_id[:40]!r} is no run: twelve hexadecimal digits name one.")
        return self.runs / run_id

    def finished(self) -> set[str]:
        """Return the ids of the runs that have a result."""
        return {path.name for path in self.runs.iterdir() if (path / "result.json").exists()}

    def result(self, run_id: str) -> RunResult | None:
        """Read a run's result; a damaged one is set aside, so that the run is trained again."""
        path = self.run_folder(run_id) / "result.json"
        return self._read(path, RunResult) if path.exists() else None

    def write_sweep(self, sweep: Sweep) -> None:
        """Keep what was asked for."""
        write_atomically(self.sweeps / f"{sweep.sweep_id}.json", msgspec.json.encode(sweep))

    def remove_sweep(self, sweep: Sweep) -> None:
        """Forget what was asked for."""
        (self.sweeps / f"{sweep.sweep_id}.json").unlink(missing_ok=True)

    def all_sweeps(self) -> Iterator[Sweep]:
        """Read the sweeps, the oldest first."""
        paths = sorted(self.sweeps.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for path in paths:
            sweep = self._read(path, Sweep)
            if sweep is not None and (problem := sweep_problem(sweep)):
                self._set_aside(path, problem)
            elif sweep is not None:
                yield sweep

    def remembered(self) -> Remembered:
        """Read `host.json`; a damaged one is set aside and begun anew."""
        path = self.root / "host.json"
        return (self._read(path, Remembered) if path.exists() else None) or Remembered()

    def remember(self, remembered: Remembered) -> None:
        """Write `host.json`."""
        write_atomically(self.root / "host.json", msgspec.json.encode(remembered))

    def discard(self, run_id: str) -> None:
        """Move a run to the trash; an older one of that name there is replaced."""
        folder = self.run_folder(run_id)
        if folder.exists():
            shutil.rmtree(self.trash / run_id, ignore_errors=True)
            folder.rename(self.trash / run_id)

    def restore(self, run_id: str) -> bool:
        """Bring a run back from the trash; say whether it was there."""
        folder, discarded = self.run_folder(run_id), self.trash / run_id
        if folder.exists() or not discarded.exists():
            return False
        discarded.rename(folder)
        return True

    def discarded(self) -> Iterator[RunResult]:
        """Read the finished runs in the trash, the newest first; damaged ones stay out."""
        paths = [path for path in self.trash.glob("*/result.json") if RUN_ID.fullmatch(path.parent.name)]
        for path in sorted(paths, key=lambda path: -path.parent.stat().st_mtime_ns):
            with contextlib.suppress(OSError, *UNREADABLE):
                yield msgspec.json.decode(path.read_bytes(), type=RunResult)

    def stamps(self, data: DataSet) -> tuple[tuple[int, int], ...]:
        """Size and modification time of the data's files as they are now; empty when one is gone."""
        return stamps_of((data.train_path, data.test_path))

    def _read(self, path: Path, kind: type[Kind]) -> Kind | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except UNREADABLE as error:
            self._set_aside(path, str(error))
            return None

    def _set_aside(self, path: Path, problem: str) -> None:
        aside = set_aside(path)
        self.complaints.append(f"{path} was damaged ({problem.rstrip('.')}); it was set aside as {aside.name}.")
