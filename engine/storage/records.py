"""What a workspace stores beside its run folders: the index, notes, verdicts, choices and data sets."""

import time
from collections.abc import Callable, Collection, Container, Iterable

import msgspec

from engine import protocol as p
from engine.core.checks import name_problem, note_problem, statement_problem
from engine.storage import recordings
from engine.storage.index import RunIndex
from engine.storage.manifest import Remarks
from engine.storage.workspace import HostState, KnownData, QueueOrder, Workspace

PATIENCE = 50
"""Pause between two writes of the index, in multiples of how long writing it takes: with 100,000 runs
every half a minute instead of every second."""
MAX_QUESTIONS = 1_000
"""Largest number of questions with a choice or statements."""


class Records:
    """The records in memory and on disk; `save` writes what changed. `publish` sends an event to all clients."""

    def __init__(self, workspace: Workspace, publish: Callable[[p.AnyEvent], None]) -> None:
        """Read them; damaged files are set aside, and `problems` says so.

        Raises:
            OSError: the workspace cannot be read.
        """
        self.stored = workspace.host_state()
        """The content of `host.json` when the host started."""
        self.known = dict(self.stored.known)
        """Data sets that were opened, by fingerprint."""
        self.choices = dict(self.stored.choices)
        self.statements = dict(self.stored.statements)
        self.data = self.known[self.stored.data].data if self.stored.data in self.known else None
        """The data set in use."""
        self._workspace = workspace
        self._publish = publish
        self._index = RunIndex(workspace.root / "runs.json")
        self.notes = self._index.notes()
        self.is_changed = bool(self._index.problem) or not self.stored.fleet.is_local
        """Something changed that cannot be derived from the run folders; it is saved within a second."""
        self.has_progressed = False
        """Something changed that the run folders hold too; it is saved more rarely."""
        self._is_annotated = self.is_changed
        self._due = 0.0

    @property
    def problems(self) -> list[str]:
        """Which files were damaged, in sentences for the user."""
        return [text for text in (self._index.problem, *self._workspace.problems) if text]

    def results(self) -> dict[str, p.RunResult]:
        """Return all finished runs: the index, corrected by the run folders, which are authoritative."""
        recordings.complete_all(self._workspace.root)
        indexed, on_disk = self._index.results(), self._workspace.finished()
        missing = set(indexed) - on_disk
        if missing:
            self.remove(missing)
        read = {run_id: self._workspace.result(run_id) for run_id in on_disk - set(indexed)}
        results = {run_id: result for run_id, result in read.items() if result is not None}
        if results:
            self.add(results.values())
        return {run_id: result for run_id, result in indexed.items() if run_id in on_disk} | results

    def add(self, results: Iterable[p.RunResult]) -> None:
        """Add finished runs to the index."""
        self._index.add(results)
        self.has_progressed = True

    def remove(self, run_ids: set[str]) -> None:
        """Remove runs from the index."""
        self._index.remove(run_ids)
        self.has_progressed = True

    def use(self, data: p.DataSet, *, is_beside: bool = False) -> None:
        """Record this data set, and make it the one in use unless it is opened beside that."""
        self.known.pop(data.fingerprint, None)
        self.known[data.fingerprint] = KnownData(data, self._workspace.stamps(data))
        if not is_beside or self.data is None or self.data.fingerprint == data.fingerprint:
            self.data = data
        self.is_changed = True

    def named(self, data: p.DataSet, name: str) -> p.DataSet:
        """Return the data set under a new name, with its earlier names, which questions may use."""
        known = self.known.get(data.fingerprint)
        names = {known.data.name, *known.data.other_names} - {name} if known else set()
        return msgspec.structs.replace(data, name=name, other_names=tuple(sorted(names)))

    def trainable(self) -> dict[str, p.DataSet]:
        """Return the known data sets whose files exist; runs on others wait until those are opened."""
        return {name: known.data for name, known in self.known.items() if self._workspace.stamps(known.data)}

    def unchanged_data(self) -> p.DataSet | None:
        """Return the data in use, if its files have not changed since they were read."""
        if self.data is None or self.known[self.data.fingerprint].stamps != self._workspace.stamps(self.data):
            return None
        return self.data

    def unchanged(self, name: str, paths: tuple[str, ...], layout: str) -> p.DataSet | None:
        """Return the data set of this name, if it was read from these files and they have not changed since."""
        for known in self.known.values():
            data = known.data
            if (data.name, data.paths, data.layout) == (name, paths, layout):
                return data if known.stamps == self._workspace.stamps(data) else None
        return None

    def annotate(self, note: p.Note) -> None:
        """Replace a run's note.

        Raises:
            ValueError: its run does not exist here, or it is too long.
        """
        is_here = self._workspace.run_folder(note.run_id).exists()
        _refuse(note_problem(note) if is_here else f"{note.run_id} is not a run of this workspace.")
        self.notes[note.run_id] = note
        self._index.annotate(note)
        self.is_changed = self._is_annotated = True
        self._publish(p.NoteChanged(note=note))

    def choose(self, question: str, run_id: str | None) -> None:
        """Store the run whose file a question hands in; None removes the choice.

        Raises:
            ValueError: that is not a question.
        """
        _refuse(name_problem(question) or _count_problem(self.choices, question))
        self.choices.pop(question, None)
        if run_id is not None:
            self.choices[question] = run_id
        self.is_changed = True
        self._publish(p.ChoiceChanged(question=question, run_id=run_id))

    def judge(self, command: p.Judge) -> None:
        """Add, replace or remove a statement of a question.

        Raises:
            ValueError: the statement is empty or too long, or there are too many.
        """
        known, statement = self.statements.get(command.question, ()), command.statement
        _refuse(name_problem(command.question) or _count_problem(self.statements, command.question))
        if statement is not None:
            _refuse(statement_problem(statement, len(known) + 1))
        new = (statement,) if statement is not None else ()
        index = next((index for index, some in enumerate(known) if some.text == command.replaces), len(known))
        self.statements[command.question] = (*known[:index], *new, *known[index + 1 :])
        self.is_changed = True
        self._publish(p.Judged(question=command.question, statements=self.statements[command.question]))

    def merge(self, remarks: Remarks, finished: Container[str]) -> None:
        """Add notes, choices and verdicts from another machine; those of this one take precedence."""
        for note in remarks.notes:
            if note.run_id not in self.notes:
                self.annotate(note)
        for question, run_id in remarks.choices.items():
            if question not in self.choices and run_id in finished:
                self.choose(question, run_id)
        for question, statements in remarks.statements.items():
            known_here = {statement.text for statement in self.statements.get(question, ())}
            for statement in statements:
                if statement.text not in known_here:
                    self.judge(p.Judge(question=question, statement=statement))

    def save(self, order: Callable[[], QueueOrder], times: tuple[p.EpochTime, ...], *, is_last: bool = False) -> None:
        """Write what changed; the index, which may be long, when a note is new, its pause is over, or at the end.

        Raises:
            OSError: it could not be written; what was there is whole, and the change is kept for the next time.
        """
        began = time.monotonic()
        includes_index = self._is_annotated or (self.has_progressed and (is_last or began >= self._due))
        if not self.is_changed and not includes_index:
            return
        if includes_index:
            self._index.flush()
        state = HostState(
            data=self.data.fingerprint if self.data else "",
            known=self.known,
            order=order(),
            choices=self.choices,
            statements=self.statements,
            times=times,
        )
        self._workspace.write_host_state(state)
        self.is_changed = False
        if includes_index:
            self._is_annotated = self.has_progressed = False
            self._due = time.monotonic() + PATIENCE * (time.monotonic() - began)


def _count_problem(known: Collection[str], question: str) -> str:
    return f"There are {MAX_QUESTIONS:,} questions already." if len({*known, question}) > MAX_QUESTIONS else ""


def _refuse(problem: str) -> None:
    if problem:
        raise ValueError(problem)
