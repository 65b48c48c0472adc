"""Notices, which are shown over the open page for a few seconds. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

import msgspec
from textual.notifications import SeverityLevel

from engine import protocol as p
from engine.core.spec import Configuration
from svhn_tui.analysis.progress import progress_of
from svhn_tui.analysis.worker_status import fleet_text
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question
from svhn_tui.words import clean, on_one_line, plural


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A message without markup and control sequences."""

    text: str
    title: str = ""
    severity: SeverityLevel = "information"
    timeout: float | None = None
    """Seconds for which it is shown; None: the default."""
    calls: bool = False
    """Whether the terminal alerts the user."""


def divergences(batch: Iterable[p.AnyEvent], state: State) -> Iterator[Notice]:
    """Report once of each run in training that its loss is not finite any more, at the first such epoch.

    Args:
        batch: new events, not those replayed while attaching.
        state: after them.
    """
    for event in batch:
        if not isinstance(event, p.EpochEnded):
            continue
        for run_id, row in zip(event.runs, event.rows, strict=True):
            if not row.is_diverged:
                continue
            known = state.live.get(run_id) or state.results.get(run_id)
            if known is not None and state.history(run_id).diverged_at == event.epoch:
                name = f"{known.spec.configuration.label}, seed {known.spec.seed}"
                text = f"{name}: its loss is not a number any more, at epoch {event.epoch}. S on Live (2) stops it."
                yield Notice(text=clean(text), title="A run diverged", severity="warning", timeout=20, calls=True)


def notice_of(event: p.AnyEvent, *, is_news: bool) -> Notice | None:
    """Return the notice of an event, if any; events replayed while attaching produce none."""
    match event:
        case p.Refused():
            return Notice(text=clean(event.reason), title="Not done", severity="error")
        case p.Noticed():
            return Notice(text=clean(event.text), severity=event.severity)
        case p.FleetChanged() if is_news:
            return Notice(text=f"It trains {fleet_text(event.fleet)} from now on.")
        case p.RunFailed() if is_news:
            return Notice(text=clean(on_one_line(event.reason)), title="A run failed", severity="error", calls=True)
        case _:
            return None


class Milestones:
    """The questions that are complete, so that each is reported once, when it becomes so."""

    def __init__(self, questions: Iterable[Question], book: Presets) -> None:
        self._trained = tuple(question for question in questions if question.networks and question.seeds)
        self._book = book
        self._data = ""
        self._is_busy = False
        self._complete: frozenset[str] = frozenset()

    def reached(self, batch: Iterable[p.AnyEvent], state: State) -> Iterator[Notice]:
        """Report the questions that became complete since the previous batch; the whole assignment in one sentence.

        Args:
            batch: events, of which only some can complete a question.
            state: after them, caught up. What is complete on data that was not in use before is not news.
        """
        was_busy, self._is_busy = self._is_busy, bool(state.running or state.assigned or state.waiting)
        data = state.data.fingerprint if state.data is not None else ""
        is_same, self._data = data == self._data, data
        changes = [event for event in batch if isinstance(event, CHANGES)]
        if is_same and not changes:
            return
        before = self._complete if is_same else None
        if not is_same or any(map(self._is_about_question, changes)):
            complete = (question for question in self._trained if _is_complete(question, self._book, state))
            self._complete = frozenset(question.id for question in complete)
        new = [question for question in self._trained
               if before is not None and question.id in self._complete - before]  # fmt: skip
        whole = [question for question in self._trained if not question.own] or list(self._trained)
        if not new:
            if was_busy and not self._is_busy:
                yield Notice(text="Nothing is left to train.", title="Complete", timeout=20, calls=True)
        elif len(whole) > 1 and all(question.id in self._complete for question in whole):
            yield Notice(text=f"All is trained: {_names(whole)}.", title="Complete", timeout=20, calls=True)
        else:
            yield Notice(text=f"{_names(new)}: every run is trained.", title="Complete", timeout=20, calls=True)

    def _is_about_question(self, event: p.AnyEvent) -> bool:
        """Say whether the event can make a question complete or incomplete."""
        if not isinstance(event, p.RunFinished):
            return True
        spec = event.result.spec
        return spec.seed in self._asked.get(spec.configuration, ())

    @cached_property
    def _asked(self) -> Mapping[Configuration, Collection[int]]:
        """The seeds that questions ask for, by configuration; of finalists those of the second stage too."""
        seeds: dict[Configuration, set[int]] = {}
        for question in self._trained:
            for configuration in self._book.configurations(question):
                more = question.finalists.seeds if question.finalists is not None else ()
                seeds.setdefault(configuration, set()).update(question.seeds, more)
        return seeds


class Notices:
    """Derives notices from events, each once."""

    def __init__(self, book: Presets) -> None:
        self._milestones = Milestones(book.questions, book)

    def of(self, batch: Iterable[p.AnyEvent], before: State, after: State) -> tuple[Notice, ...]:
        """Return the notices of a batch of events that led from one state to the next."""
        events = tuple(batch)
        notices = [notice for event in events if (notice := notice_of(event, is_news=before.caught_up)) is not None]
        if before.caught_up:
            notices += divergences(events, after)
        if after.caught_up:
            notices += self._milestones.reached(events, after)
        return tuple(notices)


CHANGES = (p.RunFinished, p.RunDeleted, p.RunsRead, p.DataOpened, p.SweepSubmitted)
"""Events that can complete a question."""


def _is_complete(question: Question, book: Presets, state: State) -> bool:
    progress = progress_of(question, book, state)
    return bool(progress.needed) and progress.done == progress.needed and not progress.missing


def _names(questions: Iterable[Question]) -> str:
    return ", ".join(clean(question.id) for question in questions)


def call_text(notices: Iterable[Notice]) -> str:
    """Return the text that alerts the user: the first notice and the number of others; empty without any."""
    calling = [notice for notice in notices if notice.calls]
    if not calling:
        return ""
    first, more = calling[0], len(calling) - 1
    text = f"{first.title}: {first.text}" if first.title else first.text
    return f"{text} And {plural(more, 'more notice')}." if more else text
