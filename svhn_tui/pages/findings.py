"""Significant differences between a page's runs, computed in a thread and cached."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from textual.screen import Screen
from textual.worker import get_current_worker

from svhn_tui.analysis.comparison import AccuracySample, Findings, findings_of

MAX_FINDINGS = 32
"""Size of the cache: returning to a question computes nothing again."""


class FindingsCache:
    """Findings by the samples that they compare; SciPy computes them in a thread, so that keys do not wait."""

    def __init__(self, page: Screen[Any], changed: Callable[[], None]) -> None:
        """Call `changed` when requested findings are known and the page is shown."""
        self._page, self._changed = page, changed
        self._asked_for: tuple[AccuracySample, ...] = ()
        self._known: dict[tuple[AccuracySample, ...], Findings] = {(): Findings()}
        """The findings by samples, the latest last."""

    def of(self, groups: Sequence[AccuracySample]) -> Findings | None:
        """Return the findings about named test accuracies; unknown ones are computed from now on.

        Until then the previous findings about the same names are returned, so that the layout does not jump.
        """
        asked = tuple(groups)
        if asked in self._known:
            return self._known[asked]
        if asked != self._asked_for:
            self._asked_for = asked
            self._page.run_worker(partial(self._find, asked), thread=True, exclusive=True, group="statistics")
        names = [group.name for group in asked]
        before = (known for known in reversed(self._known) if [group.name for group in known] == names)
        return self._known.get(next(before, asked))

    def _find(self, groups: tuple[AccuracySample, ...]) -> None:
        findings = findings_of(groups)
        if not get_current_worker().is_cancelled:
            self._page.app.call_from_thread(self._enter, groups, findings)

    def _enter(self, groups: tuple[AccuracySample, ...], findings: Findings) -> None:
        self._known[groups] = findings
        if len(self._known) > MAX_FINDINGS:
            del self._known[next(iter(self._known))]
        if self._page.is_current:
            self._changed()
