"""The events with which what is on disk is sent to a new client, by the host or by the read-only reader."""

from collections.abc import Iterable, Iterator

from engine import protocol as p
from engine.core.sweep import Sweep

RESULTS_AT_ONCE = 500
"""Finished runs in one event, so that a screen stays responsive while it catches up."""


def events(
    attached: p.Attached, results: tuple[p.RunResult, ...], notes: Iterable[p.Note], sweeps: Iterable[Sweep]
) -> Iterator[p.AnyEvent]:
    """Yield `attached`, then the results in parts, all notes, and each sweep."""
    yield attached
    for start in range(0, len(results), RESULTS_AT_ONCE):
        yield p.RunsRead(results=results[start : start + RESULTS_AT_ONCE])
    yield p.RunsRead(notes=tuple(notes))
    for sweep in sweeps:
        yield p.SweepSubmitted(sweep=sweep, missing=())
