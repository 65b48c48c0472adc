"""The chart widget: zoom, pan, log axis, smoothing and a cross-hair, by key and mouse; drawn only if it changed."""

from bisect import bisect_left
from collections.abc import Sequence

import msgspec
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from svhn_tui.charts.canvas import ChartColors
from svhn_tui.charts.curves import with_smoothing
from svhn_tui.charts.plot import Series, View, frame_of, render
from svhn_tui.themes import dim_of
from svhn_tui.widgets.chart_head import end_of, head_of

WEIGHTS = (0.0, 0.6, 0.9)
"""Weights of the moving average, through which the key `e` cycles."""
SMALLEST_SHARE = 0.02
"""Smallest share of the x axis to which one can zoom in."""


class Chart(Widget):
    """Draws series under a title line that also shows their values, at the cross-hair or else at their ends."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = "Chart { width: 1fr; height: 1fr; min-height: 4; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._note, self._x_label = "", "", ""
        self._series: tuple[Series, ...] = ()
        self._view = View()
        self._empty = ""
        self._weight = 0.0
        self._length: float | None = None
        self._drawn: tuple[object, ...] = ()
        self._strips: list[Strip] = []

    def show(
        self, title: str, series: Sequence[Series], *, length: float | None = None, note: str = "", x_label: str = "",
        empty: str = "",
    ) -> None:  # fmt: skip
        """Draw these series.

        Args:
            title: of the chart.
            series: the lines.
            length: end of the x axis before it is zoomed, if it is not the longest line's end.
            note: a remark about the whole chart.
            empty: the text of a chart without points, if it is not the usual one.
            x_label: unit of the x axis, `epoch` or `seconds`; a change resets the zoom and the cross-hair.
        """
        new = (title, tuple(series), length, note, x_label, empty)
        if new == (self._title, self._series, self._length, self._note, self._x_label, self._empty):
            return
        if x_label != self._x_label:
            self._view = View(log=self._view.log)
        self._title, self._series, self._length, self._note, self._x_label, self._empty = new
        self.refresh()

    @property
    def is_empty(self) -> bool:
        """Whether there is no point to draw."""
        return not any(line.values for line in self._series)

    def toggle_log(self) -> None:
        """Switch between logarithmic and linear values."""
        self._change(log=not self._view.log)

    def cycle_smoothing(self) -> None:
        """Go to the next smoothing: none, weak, strong."""
        self._weight = WEIGHTS[(WEIGHTS.index(self._weight) + 1) % len(WEIGHTS)]
        self.refresh()

    def move_cross(self, steps: int) -> None:
        """Move the cross-hair by `steps` points; it begins at the last one."""
        xs = sorted({x for line in self._series for x in line.xs})
        if not xs:
            return
        cross = self._view.cross
        start = len(xs) if cross is None else bisect_left(xs, cross)
        self._change(cross=xs[min(len(xs) - 1, max(0, start + steps))])

    def zoom(self, factor: float) -> None:
        """Show `factor` times as much of the x axis, around the cross-hair or else the end of the curves."""
        first, last = self._view.first, self._view.last or self._end
        reach = min(self._end, max(self._end * SMALLEST_SHARE, (last - first) * factor))
        centre = self._view.cross if self._view.cross is not None else min(last, end_of(self._series))
        end = min(self._end, max(centre + reach / 2, reach))
        is_whole = reach >= self._end
        self._change(first=0.0 if is_whole else end - reach, last=None if is_whole else end)

    def pan(self, share: float) -> None:
        """Move the view by a share of what it shows."""
        first, last = self._view.first, self._view.last or self._end
        shift = min(max((last - first) * share, -first), self._end - last)
        if shift:
            self._change(first=first + shift, last=last + shift)

    def reset(self) -> None:
        """Show everything again."""
        self._change(first=0.0, last=None, cross=None)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in, with ctrl held, so that the wheel alone still scrolls the page."""
        if event.ctrl:
            event.stop()
            self.zoom(0.5)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out, with ctrl held."""
        if event.ctrl:
            event.stop()
            self.zoom(2.0)

    def on_click(self, event: events.Click) -> None:
        """Put the cross-hair at the clicked column."""
        width, height = self.content_size
        frame = frame_of(self._series, width, max(0, height - 1), self._seen)
        xs = sorted({x for line in self._series for x in line.xs})
        if frame is not None and xs:
            x = frame.x_at(event.x)
            self._change(cross=min(xs, key=lambda other: abs(other - x)))

    @property
    def _end(self) -> float:
        return float(self._length or end_of(self._series))

    @property
    def _seen(self) -> View:
        """The view, completed with values that follow from the series."""
        last = self._view.last if self._view.last is not None else self._length
        is_elsewhere = self._view.last is not None and not self.is_empty
        empty = self._empty or ("nothing in this part; esc shows all" if is_elsewhere else self._view.empty)
        return msgspec.structs.replace(self._view, last=last, x_label=self._x_label, empty=empty)

    def _change(self, **changes: object) -> None:
        self._view = msgspec.structs.replace(self._view, **changes)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one of the lines."""
        strips = self._strips_now
        return strips[y] if y < len(strips) else Strip([])

    @property
    def _strips_now(self) -> list[Strip]:
        """Return all lines, which are drawn once for each content and size."""
        words = (self._title, self._note, self._x_label, self._length)
        what = (self.content_size, self.app.current_theme.name, self._series, self._view, self._weight, words)
        if what != self._drawn:
            self._drawn, style = what, self.rich_style
            self._strips = [strip.apply_style(style) for strip in self._lines()]
        return self._strips

    def _lines(self) -> list[Strip]:
        """Draw the title and the chart."""
        width, height = self.content_size
        theme = self.app.current_theme
        ground = theme.background or ("#000000" if theme.dark else "#ffffff")
        palette = ChartColors(ground, dim_of(theme), "#3a4553" if theme.dark else "#b9c4d0")
        series = with_smoothing(self._series, self._weight)
        marks = ("log" if self._view.log else "", f"smoothed {self._weight}" if self._weight else "")
        head = head_of(self._title, self._note, marks, self._series, self._view.cross, width,
                       x_label=self._x_label, dim=dim_of(theme))  # fmt: skip
        head.end = ""
        title = Strip(head.render(self.app.console), head.cell_len)
        return [title, *render(series, width, max(0, height - 1), palette, self._seen)]
