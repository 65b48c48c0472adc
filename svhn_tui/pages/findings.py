"""What a page's runs can tell apart, worked out beside the screen and kept for a while."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from textual.screen import Screen
from textual.worker import get_current_worker

from svhn_tui.analysis.comparison import AccuracySample, Findings, findings_of

MAX_FINDINGS = 32
"""So that going to a question and back works nothing out again."""


class FindingsCache:
    """Findings by what they are about; SciPy works them out in a thread, so that no key has to wait for it."""

    def __init__(self, page: Screen[Any], changed: Callable[[], None]) -> None:
        """Call `changed` when findings that were asked for are known, while the page is seen."""
        self._page, self._changed = page, changed
        self._asked_for: tuple[AccuracySample, ...] = ()
        self._known: dict[tuple[AccuracySample, ...], Findings] = {(): Findings()}
        """The latest last."""

    def of(self, groups: Sequence[AccuracySample]) -> Findings | None:
        """Return what named test accuracies say; what is not known yet is worked out from now on.

        Until then the same names' findings from a moment ago stand there, so that nothing jumps.
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
