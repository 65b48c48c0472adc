"""A run's folder; the only module that writes or checks its contents.

    spec.json       what is trained, written before anything is
    model.py        the file that builds it, of an own model
    attempt         the attempt that has the run (`claims`)
    journal.jsonl   its events (`journal`)
    checkpoint/     where it continues from (`checkpoint_index`, `checkpoint`)
    engine.log      what libraries printed
    model.keras     once it is trained
    result.json     last of all: a run that has it is finished

A worker opens its run's folder to train there; the host, the doctor, packing and importing read folders and move them.
No link in one is followed, and only files of these names are deleted.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.core.spec import RunSpec
from engine.machine.files import FileKind, Folder, NotOurs, is_temporary
from engine.machine.json_file import decoded
from engine.protocol import UNREADABLE, History, RunResult
from engine.storage import checkpoint_index, claims, journal, trash
from engine.storage.journal import Journal
from engine.storage.run_check import (
    JOURNAL,
    MODEL,
    RESULT,
    RIGHTS,
    SOURCE,
    SPEC,
    Problem,
    checkpoint_problems,
    journal_problems,
    run_problems,
)
from engine.storage.trash import RUNS

RUN_ID = re.compile(r"[0-9a-f]{12}")
STAGING = "importing"
"""The folder of a workspace in which imported runs are assembled."""
LOG = "engine.log"


class WrongRun(ValueError):
    """A folder is named after one run and holds another."""


class RunFolder:
    """One run's folder. Each operation opens it again, because the workspace may be moved in between."""

    def __init__(self, workspace: Path, run_id: str, parent: str = RUNS) -> None:
        """Check the name; nothing is opened yet.

        Raises:
            ValueError: the name is not a run's; names come from outside and become paths.
        """
        if not RUN_ID.fullmatch(run_id):
            raise ValueError(f"{run_id[:40]!r} is not a run: twelve hexadecimal digits name one.")
        self.run_id = run_id
        self.path = workspace / parent / run_id
        self.workspace = workspace
        self._parent = parent

    # --- training ----------------------------------------------------------------------------------------------------

    def begin(self, spec: RunSpec, attempt: str = "", source: str = "") -> Journal:
        """Open the folder for training, after a worker that lost its host has stopped writing there.

        Args:
            spec: what is trained.
            attempt: this one's name.
            source: the text of the model file, of an own model.

        Raises:
            NotOurs: a link, a file or another run has its name.
            OSError: it cannot be written or read.
        """
        with Folder.at(self.workspace, self._parent) as runs, runs.folder(self.run_id, make=True) as folder:
            known = None
            try:
                known = decoded(folder, SPEC, RunSpec)
            except FileNotFoundError:
                pass
            except (NotOurs, *UNREADABLE):
                folder.set_aside(SPEC)
            if known is None:  # the specification is on disk before anything is trained
                folder.write_atomically(SPEC, msgspec.json.encode(spec))
            elif known.run_id != self.run_id:
                raise NotOurs(0, f"it is another run's, {known.run_id}; `svhn-tui doctor --repair` puts it aside",
                              str(folder.path / SPEC))  # fmt: skip
            if source:
                folder.write_atomically(SOURCE, source.encode())
        opened = Journal(self.path / JOURNAL)
        claims.claim(self.path, attempt)
        return opened

    def open_log(self) -> int:
        """Open the log for what libraries print; return a descriptor that appends.

        Raises:
            OSError: there is none.
        """
        with self._open() as folder:
            return folder.open_own(LOG, os.O_WRONLY | os.O_APPEND)

    def finish(
        self,
        attempt: str,
        save: Callable[[Path], int],
        outcome: Callable[[Path, int], RunResult],
        record: Callable[[RunResult], object],
    ) -> RunResult | None:
        """Write the model, then the result; those of a superseded attempt are set aside, and None is returned.

        Args:
            attempt: this one's name.
            save: writes the model to a path and returns its trainable parameters.
            outcome: makes the result from the written file and its number of parameters.
            record: adds the result to the journal, before it counts.

        Raises:
            OSError: something could not be written; it may be tried again.
        """
        aside = f".superseded-{attempt}" if claims.is_superseded(self.path, attempt) else ""
        temporary = f".model.{secrets.token_hex(4)}.keras"  # Keras chooses the format by the suffix
        with self._open() as folder:
            try:
                parameters = save(self.path / temporary)
                folder.publish(temporary, f"model{aside}.keras")
            finally:
                folder.remove(temporary)
            result = outcome(self.path / f"model{aside}.keras", parameters)
            if aside or claims.is_superseded(self.path, attempt):
                folder.write_atomically(f"result.superseded-{attempt}.json", msgspec.json.encode(result))
                return None
            record(result)
            folder.write_atomically(RESULT, msgspec.json.encode(result))
        checkpoint_index.remove(self.path)
        return result

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """The folder exists; a link to one does not count."""
        return self._kind() == "folder"

    @property
    def is_finished(self) -> bool:
        """It has a result."""
        return self._kind(RESULT) == "file"

    @property
    def epoch(self) -> int:
        """Epochs of its newest checkpoint."""
        return checkpoint_index.read(self.path).epoch if self.is_there else 0

    def result(self) -> RunResult | None:
        """Return the result, if there is one that can be read."""
        try:
            return self.read_result()
        except (OSError, WrongRun, *UNREADABLE):
            return None

    def spec(self) -> RunSpec | None:
        """Return the run's specification, if it can be read and is this run's."""
        try:
            with self._open() as folder:
                spec = decoded(folder, SPEC, RunSpec)
        except (OSError, *UNREADABLE):
            return None
        return spec if spec.run_id == self.run_id else None

    def read_result(self) -> RunResult:
        """Return the result.

        Raises:
            OSError: it is not there or cannot be read.
            WrongRun: it is another run's.
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it is damaged.
        """
        with self._open() as folder:
            result = decoded(folder, RESULT, RunResult)
        if result.run_id != self.run_id:
            raise WrongRun(f"it holds the result of {result.run_id[:40]}")
        return result

    def history(self) -> tuple[History, int]:
        """Return the run's rows and the number of damaged lines; a journal that cannot be read counts as one."""
        try:
            return journal.history(self.path / JOURNAL) if self.is_there else (History(), 0)
        except OSError:
            return History(), 1

    def open_model(self) -> BinaryIO:
        """Open its model.

        Raises:
            OSError: there is none that can be read.
        """
        with self._open() as folder:
            return folder.open_to_read(MODEL)

    def contents(self) -> Iterator[tuple[str, BinaryIO]]:
        """Open the run's files one by one: result and model when it is finished, else what it continues from.

        Raises:
            OSError: a file cannot be read to its end; what cannot be opened, or is gone meanwhile, is left out.
        """
        newest = [f"{checkpoint_index.FOLDER}/{entry.file}" for entry in checkpoint_index.read(self.path).entries[:1]]
        unfinished = (*newest, f"{checkpoint_index.FOLDER}/{checkpoint_index.INDEX}")
        for name in (SPEC, SOURCE, JOURNAL, *((MODEL, RESULT) if self.is_finished else unfinished)):
            *above, last = name.split("/")
            try:
                if name == JOURNAL and not journal.has_lines(self.path / name):
                    continue  # a hard link may be another name of a private file
                with Folder.at(self.workspace, self._parent, self.run_id, *above) as folder:
                    file = folder.open_to_read(last)
            except OSError:
                continue
            with file:
                yield name, file

    def problems(self) -> Iterator[Problem]:
        """Say what is wrong with it, the worst first; nothing is changed."""
        try:
            with self._open() as folder:
                yield from run_problems(folder, self.run_id)
                if folder.kind(RESULT) == "nothing":
                    yield from checkpoint_problems(folder)
                yield from journal_problems(folder)
        except NotOurs as error:
            yield Problem(f"it is not a run's folder: {error.strerror}", "It is put aside.", ("",))
        except OSError as error:
            yield Problem(f"it cannot be read: {error.strerror}", RIGHTS)

    def defect(self) -> str:
        """Return why it cannot be used elsewhere: its specification or outcome is wrong; empty when it can."""
        try:
            with self._open() as folder:
                return next((problem.text.rstrip(".") for problem in run_problems(folder, self.run_id)), "")
        except OSError as error:
            return f"it cannot be read: {error.strerror}"

    # --- moving ------------------------------------------------------------------------------------------------------

    def put(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Write a file of a run that is being assembled, such as `spec.json` or `checkpoint/latest.json`.

        Raises:
            OSError: it cannot be written.
        """
        *above, last = name.split("/")
        with Folder.at(self.workspace, self._parent, self.run_id, *above, make=True) as folder:
            folder.write_atomically_with(last, write)

    def publish(self) -> None:
        """Move an assembled run into the runs of the workspace; a run of this name there goes to the trash.

        Raises:
            OSError: it cannot be moved.
        """
        trash.discard(self.workspace, self.run_id)
        with Folder.at(self.workspace, self._parent) as here, Folder.at(self.workspace, RUNS, make=True) as runs:
            here.move(self.run_id, runs, self.run_id)

    def remove(self) -> None:
        """Delete the files of an assembled run, and the folder if nothing else is in it.

        Raises:
            OSError: they cannot be deleted.
        """
        with Folder.at(self.workspace, self._parent) as runs:
            with runs.folder(self.run_id) as folder:
                for name in folder.kinds():
                    if name in (SPEC, SOURCE, JOURNAL, MODEL, RESULT) or is_temporary(name):
                        folder.remove(name)
            checkpoint_index.remove(self.path)
            runs.remove_folder(self.run_id)

    def _open(self) -> Folder:
        return Folder.at(self.workspace, self._parent, self.run_id)

    def _kind(self, *name: str) -> FileKind:
        """Return the kind of the folder itself or of a name in it; "nothing" where it cannot be examined."""
        *above, last = (self._parent, self.run_id, *name)
        try:
            with Folder.at(self.workspace, *above) as folder:
                return folder.kind(str(last))
        except OSError:
            return "nothing"
