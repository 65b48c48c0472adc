"""Line charts of text cells. Pure: series in, lines of styled text out.

Two by four dots of a Braille character make a cell. The band of a series is a tint of the cells' background under the
lines, and its name stands at the line's right end. Whatever the values are (none, one, infinite, not a number) and
however small the space, something sensible comes out.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TypeGuard

import msgspec
from rich.color import Color
from rich.style import Style
from rich.text import Text

Value = float | None
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a Braille cell, by row and column (Unicode 15, block 2800)."""
SMALLEST = (12, 4)
"""Columns and rows below which there is room for a line of text only."""


class Series(msgspec.Struct, frozen=True):
    """A line: `values[i]` at x = i + 1, None where there is none; `low` and `high` bound its band, if it has one."""

    name: str
    values: tuple[Value, ...]
    color: str
    low: tuple[Value, ...] = ()
    high: tuple[Value, ...] = ()
    faint: bool = False
    """A raw trace behind a smoothed one: no name at its end."""


class View(msgspec.Struct, frozen=True):
    """How to look: x from `first` to `last` (None: to the last value), `cross` an x to read values at."""

    first: float = 1
    last: float | None = None
    log: bool = False
    cross: int | None = None


class Palette(msgspec.Struct, frozen=True):
    """Colours that the theme decides."""

    ground: str
    text: str
    grid: str


def render(series: Sequence[Series], width: int, height: int, palette: Palette, view: View | None = None) -> list[Text]:
    """Draw the series into `height` lines of `width` columns."""
    view = view or View()
    if width <= 0 or height <= 0:
        return []
    bounds = _bounds(series, view)
    if bounds is None or width < SMALLEST[0] or height < SMALLEST[1]:
        note = "nothing to draw yet" if bounds is None else "too small"
        return [Text(note[:width], style=palette.text), *(Text("") for _ in range(height - 1))]
    low, high = bounds
    ticks = ticks_between(low, high, max(2, (height - 1) // 3), log=view.log)
    labels = [_label(_lifted(tick, view.log), ticks) for tick in ticks]
    left = max(len(label) for label in labels) + 1
    right = _name_width(series, width - left)
    canvas = _Canvas(width - left - right, height - 1, low, high, _span(series, view), palette)
    for tick in ticks:
        canvas.grid_row(tick)
    for line in series:
        canvas.band(_scaled(line.low, view.log), _scaled(line.high, view.log), line.color)
    for line in sorted(series, key=lambda line: not line.faint):
        canvas.line(_scaled(line.values, view.log), line.color, faint=line.faint)
    if view.cross is not None:
        canvas.cross(view.cross)
    rows = canvas.rows()
    names = _names(series, canvas, view, right)
    at = {canvas.row(tick): label for tick, label in zip(ticks, labels, strict=True)}
    drawn = [
        Text.assemble((at.get(index, "").rjust(left - 1) + " ", palette.text), row, names.get(index, ""))
        for index, row in enumerate(rows)
    ]
    return [*drawn, Text(" " * left + canvas.x_axis(), style=palette.text)]


class _Canvas:
    """Cells of dots; y grows upwards in values and downwards in rows."""

    def __init__(
        self, columns: int, lines: int, low: float, high: float, span: tuple[float, float], palette: Palette
    ) -> None:
        self.columns, self.lines = max(1, columns), max(1, lines)
        self._low, self._high = low, high
        self._first, self._last = span
        self._palette = palette
        self._bits = [[0] * self.columns for _ in range(self.lines)]
        self._colors: list[list[str | None]] = [[None] * self.columns for _ in range(self.lines)]
        self._tints: list[list[str | None]] = [[None] * self.columns for _ in range(self.lines)]
        self._grid: set[int] = set()
        self._cross: int | None = None

    def row(self, value: float) -> int:
        """The line of cells that a value falls into."""
        return self._dot_row(value) // 4

    def grid_row(self, value: float) -> None:
        """Draw a dotted line behind everything."""
        self._grid.add(self.row(value))

    def cross(self, x: int) -> None:
        """Draw an upright line."""
        self._cross = min(self.columns - 1, max(0, self._dot_column(x) // 2))

    def line(self, values: Sequence[Value], color: str, *, faint: bool) -> None:
        """Join the values; a gap stays a gap."""
        shade = blend(color, self._palette.ground, 0.55) if faint else color
        before: tuple[int, int] | None = None
        for index, value in enumerate(values):
            x = index + 1
            if not is_drawable(value) or not self._first <= x <= self._last:
                before = None
                continue
            here = (self._dot_column(x), self._dot_row(value))
            self._join(before or here, here, shade)
            before = here

    def band(self, low: Sequence[Value], high: Sequence[Value], color: str) -> None:
        """Tint the cells between two curves."""
        tint = blend(color, self._palette.ground, 0.75)
        for column in range(self.columns):
            x = self._first + (self._last - self._first) * (column + 0.5) / self.columns
            index = min(len(low), len(high), max(1, round(x))) - 1
            if index < 0 or round(x) - 1 > index:
                continue
            bottom, top = low[index], high[index]
            if not is_drawable(bottom) or not is_drawable(top):
                continue
            for line in range(self.row(top), self.row(bottom) + 1):
                self._tints[line][column] = tint

    def _join(self, start: tuple[int, int], end: tuple[int, int], color: str) -> None:
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            x = start[0] + (end[0] - start[0]) * step // steps
            y = start[1] + (end[1] - start[1]) * step // steps
            line, column = y // 4, x // 2
            self._bits[line][column] |= DOTS[y % 4][x % 2]
            self._colors[line][column] = color

    def _dot_column(self, x: float) -> int:
        reach = self._last - self._first
        share = (x - self._first) / reach if reach else 0.0
        return round(min(1.0, max(0.0, share)) * (self.columns * 2 - 1))

    def _dot_row(self, value: float) -> int:
        reach = self._high - self._low
        share = (value - self._low) / reach if reach else 0.5
        return round((1 - min(1.0, max(0.0, share))) * (self.lines * 4 - 1))

    def rows(self) -> list[Text]:
        """Return the cells as lines of text."""
        drawn = []
        for line in range(self.lines):
            cells = [self._cell(line, column) for column in range(self.columns)]
            text = Text()
            for style, alike in groupby(cells, key=lambda cell: cell[1:]):
                text.append("".join(character for character, *_ in alike), _style(*style))
            drawn.append(text)
        return drawn

    def _cell(self, line: int, column: int) -> tuple[str, str | None, str | None]:
        """Return a cell's character, colour and tint."""
        bits, tint = self._bits[line][column], self._tints[line][column]
        if bits:
            return chr(0x2800 + bits), self._colors[line][column], tint
        if column == self._cross:
            return "│", self._palette.text, tint
        if line in self._grid and column % 2 == 0:
            return "·", self._palette.grid, tint
        return " ", None, tint

    def x_axis(self) -> str:
        """Return the labels under the chart."""
        axis = [" "] * self.columns
        for tick in ticks_between(self._first, self._last, max(1, self.columns // 12)):
            label = f"{tick:g}"
            start = min(self.columns - len(label), max(0, self._dot_column(tick) // 2 - len(label) // 2))
            if start >= 0 and all(cell == " " for cell in axis[max(0, start - 1) : start + len(label) + 1]):
                axis[start : start + len(label)] = label
        return "".join(axis)


def ticks_between(low: float, high: float, most: int, *, log: bool = False) -> list[float]:
    """Return round numbers between the bounds, 1, 2 or 5 times a power of ten apart; log bounds are exponents."""
    reach = high - low
    if reach <= 0:
        return [low]
    rough = reach / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), 10 * power)
    if log and step < 1:
        step = max(step, reach / max(1, most))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)] or [low]


def is_drawable(value: Value) -> TypeGuard[float]:
    """Say whether a value has a place on an axis; beyond 1e150 differences would overflow."""
    return value is not None and abs(value) < 1e150  # false for nan too


def blend(color: str, ground: str, share: float) -> str:
    """Mix `share` of the ground into a colour."""
    one, other = (Color.parse(name).get_truecolor() for name in (color, ground))
    mixed = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _style(color: str | None, tint: str | None) -> Style:
    return Style(color=color, bgcolor=tint)


def _bounds(series: Sequence[Series], view: View) -> tuple[float, float] | None:
    first, last = _span(series, view)
    found = [
        value
        for line in series
        for column in (line.values, line.low, line.high)
        for index, value in enumerate(_scaled(column, view.log))
        if is_drawable(value) and first <= index + 1 <= last
    ]
    if not found:
        return None
    low, high = min(found), max(found)
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def _span(series: Sequence[Series], view: View) -> tuple[float, float]:
    longest = max((len(line.values) for line in series), default=1)
    return view.first, max(view.first + 1, view.last if view.last is not None else longest)


def _scaled(values: Sequence[Value], log: bool) -> list[Value]:
    if not log:
        return list(values)
    return [math.log10(value) if value is not None and value > 0 else None for value in values]


def _lifted(tick: float, log: bool) -> float:
    return 10**tick if log and tick < 300 else tick


def _label(value: float, ticks: Sequence[float]) -> str:
    reach = abs(ticks[-1] - ticks[0]) if len(ticks) > 1 else abs(value)
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}"
    decimals = max(0, min(4, 1 - math.floor(math.log10(reach)))) if reach else 2
    text = f"{value:.{decimals}f}"
    return (
        text.rstrip("0").rstrip(".") if "." in text and float(text) == round(float(text), 1) and decimals > 1 else text
    )


def _name_width(series: Sequence[Series], room: int) -> int:
    longest = max((len(line.name) + 1 for line in series if not line.faint), default=0)
    return longest if room - longest >= 20 else 0


def _names(series: Sequence[Series], canvas: _Canvas, view: View, width: int) -> dict[int, Text]:
    """Return each name at the row in which its line ends, moved up or down where another stands there."""
    placed: dict[int, Text] = {}
    if not width:
        return placed
    for line in series:
        values = [value for value in _scaled(line.values, view.log) if is_drawable(value)]
        if line.faint or not values:
            continue
        wanted = canvas.row(values[-1])
        free = [row for row in range(canvas.lines) if row not in placed]
        if free:
            row = min(free, key=lambda row: (abs(row - wanted), row))
            placed[row] = Text(f" {line.name}"[:width], style=Style(color=line.color, bold=True))
    return placed
