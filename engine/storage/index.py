"""The index of finished runs, in TinyDB: fast to read at a start; of notes alone it is the only copy.

TinyDB's own JSONStorage leaves an unreadable file on a full disk (measured); ours writes whole files atomically, and
only when `flush` is called. TinyDB goes through a whole table to insert one document (37 ms where 100,000 are there,
measured), so finished runs are handed to it together, by `flush` too.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from tinydb import TinyDB, where
from tinydb.storages import Storage

from engine.machine.files import Folder, write_atomically
from engine.protocol import UNREADABLE, Note, RunResult
from engine.storage.migrations import INDEX_FORMAT, MAX_INDEX_BYTES, refuse_newer

Tables = dict[str, dict[str, Any]]


class AtomicStorage(Storage):
    """All tables in memory; the file is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables: Tables | None = None
        self.is_changed = False
        self.problem = ""
        self._load()

    def read(self) -> Tables | None:
        """Return the tables, as TinyDB asks for them."""
        return self._tables

    def write(self, data: Tables) -> None:
        """Replace the tables; `flush` writes them to disk."""
        self._tables = data
        self.is_changed = True

    def flush(self) -> None:
        """Write the file if anything changed.

        Raises:
            OSError: it could not be written; the previous one is intact and the change is kept for the next time.
        """
        if self.is_changed:
            write_atomically(self._path, msgspec.json.encode(self._tables))
            self.is_changed = False

    def _load(self) -> None:
        try:
            with Folder.at(self._path.parent) as folder:
                content = folder.read(self._path.name, MAX_INDEX_BYTES)
            tables = msgspec.json.decode(content, type=dict[str, dict[int, dict[str, Any]]])
            versions = [document.get("version", 0) for document in tables.get("about", {}).values()]
            refuse_newer(
                self._path, max((msgspec.convert(version, int) for version in versions), default=0), INDEX_FORMAT
            )
            self._tables = msgspec.json.decode(content)  # TinyDB wants the numbers as text
        except FileNotFoundError:
            return
        except (OSError, *UNREADABLE) as error:
            self._tables = None
            with Folder.at(self._path.parent) as folder:
                aside = folder.set_aside(self._path.name)
            problem = error.strerror if isinstance(error, OSError) else error
            self.problem = f"{self._path} was damaged ({problem}); it was set aside as {aside} and made again."


class RunIndex:
    """Summaries of finished runs, notes and tags."""

    def __init__(self, path: Path) -> None:
        """Open the index; a damaged one is set aside.

        Raises:
            NewerFormat: a newer program wrote it.
            OSError: it cannot be read.
        """
        self._storage = AtomicStorage(path)
        self._base = TinyDB(storage=lambda: self._storage)
        self._runs = self._base.table("runs")
        self._notes = self._base.table("notes")
        self._new: dict[str, RunResult] = {}
        """Results that TinyDB does not have yet."""
        if not self._base.table("about").all():
            self._base.table("about").insert({"version": INDEX_FORMAT})
        self.problem = self._storage.problem

    def results(self) -> dict[str, RunResult]:
        """Return the results; invalid ones are skipped, and read from their run folders again."""
        results = {}
        for document in self._runs.all():
            try:
                result = msgspec.convert(dict(document), RunResult)
            except msgspec.ValidationError:
                continue
            results[result.run_id] = result
        return results

    def notes(self) -> dict[str, Note]:
        """Return the notes by run; invalid ones are skipped and stay in the file."""
        notes = {}
        for document in self._notes.all():
            with contextlib.suppress(msgspec.ValidationError):
                note = msgspec.convert(dict(document), Note)
                notes[note.run_id] = note
        return notes

    def add(self, results: Iterable[RunResult]) -> None:
        """Add new runs; the next `flush` puts them into the index."""
        self._new |= {result.run_id: result for result in results}

    def remove(self, run_ids: set[str]) -> None:
        """Remove runs from the index."""
        self._new = {run_id: result for run_id, result in self._new.items() if run_id not in run_ids}
        self._runs.remove(where("run_id").test(lambda run_id: run_id in run_ids))

    def annotate(self, note: Note) -> None:
        """Replace a run's note."""
        self._notes.upsert(msgspec.to_builtins(note), where("run_id") == note.run_id)

    def flush(self) -> None:
        """Write what changed.

        Raises:
            OSError: as `AtomicStorage.flush`.
        """
        if self._new:
            self._runs.insert_multiple([msgspec.to_builtins(result) for result in self._new.values()])
            self._new = {}
        self._storage.flush()
