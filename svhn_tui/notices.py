"""What the user is told for a moment, over whatever page is open. Pure."""

import msgspec
from textual.notifications import SeverityLevel

from engine import protocol as p
from svhn_tui.crew import fleet_text
from svhn_tui.words import clean


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Words without markup or anything that a terminal would obey."""

    text: str
    title: str = ""
    severity: SeverityLevel = "information"
    timeout: float | None = None
    """Seconds that it is shown; None: as long as any other."""


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
