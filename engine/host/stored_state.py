"""The events that send the stored state to a new client, from the host or from the read-only reader."""

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
