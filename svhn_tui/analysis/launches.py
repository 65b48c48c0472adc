"""Launching a question: the command, the notice, and launches that wait until data is open."""

from typing import NamedTuple

from engine import protocol as p
from svhn_tui import words
from svhn_tui.analysis.progress import Overrides, progress_of, sweep_for
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question


class Launch(NamedTuple):
    """A question that is to be trained."""

    question: Question
    overrides: Overrides = Overrides()

    def needs_data(self, book: Presets, state: State) -> bool:
        """Say whether the launch has to wait until the data is open."""
        is_open = state.data_is_open and state.on(book.data_of(self.question)).data is not None
        return not is_open and book.sweep(self.question, "") is not None

    def command(self, book: Presets, state: State) -> tuple[p.Submit | None, str]:
        """Return the command that trains all missing runs, if there are any, and a sentence for the user."""
        sweep = sweep_for(self.question, book, state, self.overrides)
        if sweep is None:
            return None, "This question needs no training."
        missing = progress_of(self.question, book, state, self.overrides).missing
        if not missing:
            return None, "All of its runs are done."
        text = f"{words.plural(len(missing), 'run')} to train. 2 shows them live; q leaves and they continue."
        return book.submit(sweep), text


class DeferredLaunches:
    """Launches that wait until the data is open, the latest of each question."""

    def __init__(self) -> None:
        self._launches: dict[str, Launch] = {}

    def add(self, launch: Launch) -> None:
        """Add a launch, which replaces an earlier one of its question."""
        self._launches[launch.question.id] = launch

    def due(self, book: Presets, state: State) -> tuple[Launch, ...]:
        """Remove and return the launches that are possible now."""
        due = tuple(launch for launch in self._launches.values() if not launch.needs_data(book, state))
        for launch in due:
            del self._launches[launch.question.id]
        return due
