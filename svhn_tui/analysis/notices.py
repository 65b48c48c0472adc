"""What the user is told for a moment, over whatever page is open. Pure."""

from collections.abc import Iterable, Iterator

import msgspec
from textual.notifications import SeverityLevel

from engine import protocol as p
from svhn_tui.analysis.worker_status import fleet_text
from svhn_tui.client.state import State
from svhn_tui.words import clean


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Words without markup or anything that a terminal would obey."""

    text: str
    title: str = ""
    severity: SeverityLevel = "information"
    timeout: float | None = None
    """Seconds that it is shown; None: as long as any other."""


def notices_of(batch: Iterable[p.AnyEvent], before: State, after: State) -> Iterator[Notice]:
    """Return what to tell of a batch of events that led from one state to the next."""
    events = tuple(batch)
    for event in events:
        if (notice := notice_of(event, is_news=before.caught_up)) is not None:
            yield notice
    if before.caught_up:
        yield from divergences(before, after, events)


def divergences(before: State, after: State, batch: Iterable[p.AnyEvent]) -> Iterator[Notice]:
    """Say of runs in training that their loss is no number any more, each once: when it happens, in this batch."""
    told: set[str] = set()
    for event in batch:
        if not isinstance(event, p.EpochEnded) or (None not in event.loss and None not in event.test_loss):
            continue
        for lane, run_id in enumerate(event.runs):
            was, now = before.live.get(run_id), after.live.get(run_id) or after.results.get(run_id)
            is_known = run_id in told or (was is not None and was.history.diverged_at is not None)
            if now is not None and not is_known and None in (event.loss[lane], event.test_loss[lane]):
                told.add(run_id)
                name = f"{now.spec.configuration.label}, seed {now.spec.seed}"
                text = f"{name}: its loss is no number any more, at epoch {event.epoch}. S on Live (2) stops it."
                yield Notice(text=clean(text), title="A run diverged", severity="warning", timeout=20)


def notice_of(event: p.AnyEvent, *, is_news: bool) -> Notice | None:
    """Return what to tell of an event, if anything; one that is no news belongs to what was there before."""
    match event:
        case p.Refused():
            return Notice(text=clean(event.reason), title="Not done", severity="error")
        case p.Noticed():
            return Notice(text=clean(event.text), severity=event.severity)
        case p.FleetChanged() if is_news:
            return Notice(text=f"It trains {fleet_text(event.fleet)} from now on.")
        case p.RunFailed() if is_news:
            return Notice(text=clean(event.reason), title="A run failed", severity="error")
        case _:
            return None
