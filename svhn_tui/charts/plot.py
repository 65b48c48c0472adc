"""Line charts of text cells. Pure: series in, lines of styled cells out.

Two by four dots of a Braille character make a cell. The band of a series is a tint of the cells' background under the
lines; its name and its mark are at the end of the line. Any values (none, one, infinite, not a number) and any
size, down to a few cells, give a valid chart.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from engine.core.results import Number
from svhn_tui.charts.axes import labels_of, ticks_between
from svhn_tui.charts.canvas import Canvas, ChartColors, blend, is_drawable, style_of

SMALLEST = (12, 4)
"""Columns and rows below which a chart is a single line of text."""
ROWS_WITH_TITLE = 16
"""Height in rows from which the x axis has a line of its own for its title."""
POINTS_A_COLUMN = 2
TINT, TRACE = 0.75, 0.55
"""Share of the background in a band's colour, and in that of a raw trace behind a smoothed line."""


class Series(msgspec.Struct, frozen=True):
    """A line: `values[i]` at `x[i]`, None where there is none; `low` and `high` bound its band, if it has one."""

    name: str
    values: tuple[Number, ...]
    color: str
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    faint: bool = False
    """Whether it is a raw trace behind a smoothed one, without a name at its end."""
    x: tuple[float, ...] = ()
    """Ascending x values; empty stands for 1, 2, 3, ..., the epochs."""
    mark: str = ""
    """A character that distinguishes the line without colours."""

    @property
    def xs(self) -> Sequence[float]:
        """The x of each value."""
        return self.x or range(1, len(self.values) + 1)


class View(msgspec.Struct, frozen=True):
    """The visible range: x from `first` to `last` (None: to the last value); `cross` is the x of the cross-hair."""

    first: float = 0
    last: float | None = None
    log: bool = False
    cross: float | None = None
    x_label: str = ""
    empty: str = "nothing to draw yet"
    """The text of a chart without points."""


class _Name(NamedTuple):
    """A line's name, with the row and the first column of its position."""

    row: int
    column: int
    text: str
    color: str


class Frame(msgspec.Struct, frozen=True):
    """The layout of a chart; `span` and `bounds` are the ends of x and of the (scaled) values."""

    left: int
    columns: int
    right: int
    lines: int
    span: tuple[float, float]
    bounds: tuple[float, float]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    has_title: bool

    def x_at(self, column: int) -> float:
        """Return the x at a column of the chart, the labels' columns included."""
        share = (column - self.left) / max(1, self.columns - 1)
        return self.span[0] + (self.span[1] - self.span[0]) * min(1.0, max(0.0, share))


def frame_of(series: Sequence[Series], width: int, height: int, view: View) -> Frame | None:
    """Lay the chart out; None if there is too little room, or nothing to draw."""
    bounds = _bounds(series, view)
    if bounds is None or width < SMALLEST[0] or height < SMALLEST[1]:
        return None
    has_title = bool(view.x_label) and height >= ROWS_WITH_TITLE
    lines = height - 2 if has_title else height - 1
    ticks = ticks_between(*bounds, max(2, lines // 3), log=view.log)
    labels = labels_of(ticks, log=view.log)
    left = max(len(label) for label in labels) + 1
    span = _span(series, view)
    right = _margin(series, width - left, span)
    columns = max(1, width - left - right)
    return Frame(left, columns, right, lines, span, bounds, tuple(ticks), tuple(labels), has_title)


def render(
    series: Sequence[Series], width: int, height: int, palette: ChartColors, view: View | None = None
) -> list[Strip]:
    """Draw the series into `height` lines of at most `width` columns."""
    view = view or View()
    if width <= 0 or height <= 0:
        return []
    style = style_of(palette.text)
    frame = frame_of(series, width, height, view)
    if frame is None:
        note = view.empty if _bounds(series, view) is None else "too small"
        return [Strip([Segment(note[:width], style)]), *(Strip([]) for _ in range(height - 1))]
    canvas = Canvas(frame.columns, frame.lines, frame.span, frame.bounds, palette)
    _draw(canvas, series, frame.ticks, view)
    for name in _names(series, canvas, view, frame.right):
        canvas.write(*name)
    at = {canvas.row(tick): label for tick, label in zip(frame.ticks, frame.labels, strict=True)}
    labels = (at.get(index, "").rjust(frame.left - 1) + " " for index in range(frame.lines))
    rows = [[Segment(label, style), *row] for label, row in zip(labels, canvas.rows(), strict=True)]
    rows.append([Segment(" " * frame.left + _x_axis(canvas), style)])
    if frame.has_title:
        rows.append([Segment(" " * frame.left + view.x_label.center(canvas.columns).rstrip(), style)])
    return [Strip(row).crop(0, width) for row in rows]


def _draw(canvas: Canvas, series: Sequence[Series], ticks: Sequence[float], view: View) -> None:
    for tick in ticks:
        canvas.grid_row(tick)
    for line in series:
        if line.low and line.high:
            low, high = _scaled(line.low, log=view.log), _scaled(line.high, log=view.log)
            canvas.band(line.xs, low, high, blend(line.color, canvas.palette.ground, TINT))
    for line in sorted(series, key=lambda line: not line.faint):
        color = blend(line.color, canvas.palette.ground, TRACE) if line.faint else line.color
        points = list(zip(line.xs, _scaled(line.values, log=view.log), strict=False))
        canvas.line(thinned(points, canvas.span, canvas.columns), color)
    for line in series:
        if line.mark and (end := _last_point(line, view, canvas.span)):
            canvas.mark(*end, line.mark, line.color)
    if view.cross is not None:
        canvas.cross(view.cross)


def thinned(
    points: Sequence[tuple[float, Number]], span: tuple[float, float], columns: int
) -> list[tuple[float, Number]]:
    """Return at most two points a column, its lowest and its highest, so that no peak is lost; gaps stay gaps."""
    first, last = span
    inside = [(x, value) for x, value in points if first <= x <= last]
    if len(inside) <= POINTS_A_COLUMN * columns:
        return inside
    buckets: dict[int, list[tuple[float, Number]]] = {}
    for x, value in inside:
        buckets.setdefault(int((x - first) / (last - first) * columns), []).append((x, value))
    drawn: list[tuple[float, Number]] = []
    for bucket in buckets.values():
        known = [(x, value) for x, value in bucket if is_drawable(value)]
        if not known:
            drawn.append((bucket[0][0], None))
            continue
        ends = {min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])}
        drawn.extend(sorted(ends))
    return drawn


def _bounds(series: Sequence[Series], view: View) -> tuple[float, float] | None:
    first, last = _span(series, view)
    values = [
        value
        for line in series
        for column in (line.values, line.low, line.high)
        for x, value in zip(line.xs, _scaled(column, log=view.log), strict=False)
        if is_drawable(value) and first <= x <= last
    ]
    if not values:
        return None
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def _span(series: Sequence[Series], view: View) -> tuple[float, float]:
    longest = max((line.xs[-1] for line in series if line.xs), default=1.0)
    last = view.last if view.last is not None else longest
    return view.first, last if last > view.first else view.first + 1


def _scaled(values: Sequence[Number], *, log: bool) -> Sequence[Number]:
    if not log:
        return values
    return [math.log10(value) if value is not None and 0 < value < math.inf else None for value in values]


def _x_axis(canvas: Canvas) -> str:
    axis = [" "] * canvas.columns
    ticks = ticks_between(*canvas.span, max(1, canvas.columns // 12))
    for tick, label in zip(ticks, labels_of(ticks), strict=True):
        start = min(canvas.columns - len(label), max(0, canvas.column(tick) - len(label) // 2))
        if start >= 0 and all(cell == " " for cell in axis[max(0, start - 1) : start + len(label) + 1]):
            axis[start : start + len(label)] = label
    return "".join(axis)


def _last_point(line: Series, view: View, span: tuple[float, float]) -> tuple[float, float] | None:
    points = zip(line.xs, _scaled(line.values, log=view.log), strict=False)
    known = [(x, value) for x, value in points if is_drawable(value) and span[0] <= x <= span[1]]
    return known[-1] if known else None


def _titled(line: Series) -> str:
    return f"{line.mark} {line.name}" if line.mark else line.name


def _margin(series: Sequence[Series], room: int, span: tuple[float, float]) -> int:
    """Return the columns that names need beside the canvas: those of lines that end near its right edge."""
    named = [line for line in series if not line.faint and line.xs]
    longest = max((cell_len(_titled(line)) + 1 for line in named), default=0)
    reach = span[1] - span[0]
    ends = max((min(line.xs[-1], span[1]) for line in named), default=span[0])
    if (ends - span[0]) / reach * room + longest + 2 <= room:
        return 0
    return longest if room - longest >= 20 else 0


def _names(series: Sequence[Series], canvas: Canvas, view: View, margin: int) -> list[_Name]:
    """Put each name behind its line's end, or as near to it as other names and lines allow."""
    placed: list[_Name] = []
    ends = [(line, point) for line in series if not line.faint and (point := _last_point(line, view, canvas.span))]
    for line, (x, value) in sorted(ends, key=lambda end: -end[1][1]):
        wanted = canvas.row(value)
        behind = canvas.column(x) + 2
        columns = [behind, *([canvas.columns + 1] if margin else [])]
        spots = [(row, column) for row in range(canvas.lines) for column in columns]
        for row, column in sorted(spots, key=lambda spot: (abs(spot[0] - wanted), spot[1])):
            is_marked = (row, column) == (wanted, behind) and canvas.has_mark(row, column - 2, line.mark, line.color)
            text = line.name if is_marked else _titled(line)
            length = cell_len(text)
            fits = column + length <= canvas.columns + margin
            if fits and canvas.is_free(row, column, length) and not _overlaps(placed, row, column, length):
                placed.append(_Name(row, column, text, line.color))
                break
    return placed


def _overlaps(placed: Sequence[_Name], row: int, column: int, length: int) -> bool:
    return any(
        name.row == row and column <= name.column + cell_len(name.text) and name.column <= column + length
        for name in placed
    )
