"""The one chart: zoom, pan, log axis, smoothing and a cross-hair by key, redrawn only when something changed."""

from collections.abc import Sequence

import msgspec
from rich.console import Group
from rich.text import Text
from textual.widget import Widget

from svhn_tui import words
from svhn_tui.curves import with_smoothing
from svhn_tui.plot import Palette, Series, View, render
from svhn_tui.themes import dim_of

WEIGHTS = (0.0, 0.6, 0.9)
"""Weights of the moving average that `e` goes through."""


class Chart(Widget):
    """Draws series under a title line that also reads their values."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = "Chart { height: 1fr; min-height: 4; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = ""
        self._series: tuple[Series, ...] = ()
        self._view = View()
        self._weight = 0.0
        self._length: int | None = None

    def show(self, title: str, series: Sequence[Series], *, length: int | None = None) -> None:
        """Draw these series; `length` is the x that the axis goes to before it is zoomed."""
        found = (title, tuple(series), length)
        if found != (self._title, self._series, self._length):
            self._title, self._series, self._length = found
            self.refresh()

    def toggle_log(self) -> None:
        """Logarithmic or linear values."""
        self._change(log=not self._view.log)

    def cycle_smoothing(self) -> None:
        """No smoothing, some, much."""
        self._weight = WEIGHTS[(WEIGHTS.index(self._weight) + 1) % len(WEIGHTS)]
        self.refresh()

    def move_cross(self, steps: int) -> None:
        """Read values `steps` further; from the end to begin with."""
        last = self._last
        start = self._view.cross if self._view.cross is not None else last + (1 if steps < 0 else 0)
        self._change(cross=min(last, max(1, start + steps)))

    def zoom(self, factor: float) -> None:
        """Show `factor` times as many epochs, around the cross-hair or at the end."""
        first, last = self._view.first, self._view.last or self._last
        reach = max(4.0, (last - first) * factor)
        centre = self._view.cross if self._view.cross is not None else last
        end = min(float(self._last), max(centre + reach / 2, reach + 1))
        self._change(first=max(1.0, end - reach), last=end)

    def pan(self, share: float) -> None:
        """Move the view by a share of what it shows."""
        first, last = self._view.first, self._view.last or self._last
        shift = (last - first) * share
        shift = min(max(shift, 1 - first), self._last - last)
        self._change(first=first + shift, last=last + shift)

    def reset(self) -> None:
        """Show everything again."""
        self._change(first=1.0, last=None, cross=None)

    @property
    def _last(self) -> int:
        return max(self._length or 0, max((len(line.values) for line in self._series), default=1), 2)

    def _change(self, **changes: object) -> None:
        self._view = msgspec.structs.replace(self._view, **changes)
        self.refresh()

    def render(self) -> Group:
        """Draw the title and the chart."""
        width, height = self.content_size
        theme = self.app.current_theme
        dim = dim_of(theme)
        ground = theme.background or ("#000000" if theme.dark else "#ffffff")
        palette = Palette(ground, dim, "#3a4553" if theme.dark else "#b9c4d0")
        view = self._view
        if view.last is None and self._length:
            view = msgspec.structs.replace(view, last=float(self._length))
        series = with_smoothing(self._series, self._weight)
        title = Text.assemble((self._title, "bold"), (self._reading(), dim), no_wrap=True, overflow="ellipsis")
        return Group(title, *render(series, width, max(0, height - 1), palette, view))

    def _reading(self) -> str:
        notes = ["log" if self._view.log else "", f"smoothed {self._weight}" if self._weight else ""]
        text = "".join(f"  {note}" for note in notes if note)
        if self._view.cross is None:
            return text
        index = self._view.cross - 1
        known = [(line.name, line.values[index]) for line in self._series if index < len(line.values)]
        values = "".join(f"   {name} {words.number(value)}" for name, value in known)
        return f"{text}   epoch {self._view.cross}{values}"
