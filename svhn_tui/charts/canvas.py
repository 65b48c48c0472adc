"""Terminal cells of Braille dots on tinted backgrounds, on which a chart is drawn. Pure.

Ten lines with bands and names are drawn in 7.5 ms; plotext 5.3.2 draws the lines alone in 15 to 23 ms and has no bands
(`python -m tests.measure` prints both where plotext is installed).
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeGuard

import msgspec
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a Braille cell, by row and column (Unicode 15, block 2800)."""
GRID = "·"
GRID_EVERY = 2
"""Columns between the dots of a grid line."""
LARGEST = 1e150
"""Largest absolute value that is drawn; differences of larger ones would overflow."""


class ChartColors(msgspec.Struct, frozen=True):
    """Colours of a theme."""

    ground: str
    text: str
    grid: str


class Cell(NamedTuple):
    """A character and its style; an empty colour is the terminal's own."""

    character: str
    color: str = ""
    tint: str = ""
    bold: bool = False


EMPTY = Cell(" ")
_look = itemgetter(slice(1, None))


class Canvas:
    """Cells over a span of x and bounds of y; y grows upwards in values and downwards in rows."""

    def __init__(
        self, columns: int, lines: int, span: tuple[float, float], bounds: tuple[float, float], palette: ChartColors
    ) -> None:
        self.columns, self.lines = max(1, columns), max(1, lines)
        self.span, self._bounds = span, bounds
        self.palette = palette
        self._bits = [[0] * self.columns for _ in range(self.lines)]
        self._colors = [[""] * self.columns for _ in range(self.lines)]
        self._tints = [[""] * self.columns for _ in range(self.lines)]
        self._grid: set[int] = set()
        self._words: dict[tuple[int, int], Cell] = {}
        self._cross: int | None = None

    def row(self, value: float) -> int:
        """The line of cells that a value falls into."""
        return self._dot_row(value) // 4

    def column(self, x: float) -> int:
        """The column of cells that an x falls into."""
        return self._dot_column(x) // 2

    def is_free(self, row: int, column: int, length: int) -> bool:
        """Say whether these cells are free of lines; cells outside the canvas are."""
        return not any(self._bits[row][max(0, column - 1) : column + length + 1])

    def grid_row(self, value: float) -> None:
        """Draw a dotted line behind everything."""
        self._grid.add(self.row(value))

    def cross(self, x: float) -> None:
        """Draw an upright line."""
        self._cross = min(self.columns - 1, max(0, self.column(x)))

    def mark(self, x: float, value: float, sign: str, color: str) -> None:
        """Draw a mark over the cell of a point."""
        row, column = self.row(value), self.column(x)
        self._words[row, column] = Cell(sign, color, self._tints[row][column])

    def has_mark(self, row: int, column: int, sign: str, color: str) -> bool:
        """Say whether a cell has this mark."""
        cell = self._words.get((row, column))
        return cell is not None and cell[:2] == (sign, color)

    def write(self, row: int, column: int, text: str, color: str) -> None:
        """Draw text over the cells, without a grid line's dot before it; wide characters have two cells."""
        if column and self._cell(row, column - 1).character == GRID:
            self._words[row, column - 1] = Cell(" ")
        for character in text:
            halves = (character, "")[: cell_len(character)]
            for at, half in enumerate(halves, column):
                self._words[row, at] = Cell(half, color, bold=True)
            column += len(halves)

    def line(self, points: Sequence[tuple[float, float | None]], color: str) -> None:
        """Join the points; a missing value interrupts the line."""
        before: tuple[int, int] | None = None
        for x, value in points:
            if not is_drawable(value):
                before = None
                continue
            here = (self._dot_column(x), self._dot_row(value))
            self._join(before or here, here, color)
            before = here

    def band(self, xs: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], tint: str) -> None:
        """Tint the cells between two curves; where bands overlap, their tints mix."""
        first, last = self.span
        for column in range(self.columns):
            x = first + (last - first) * (column + 0.5) / self.columns
            half = (last - first) / self.columns / 2
            index = bisect_left(xs, x)
            if index == len(xs):
                index -= 1
            if index < 0 or not xs[0] - half <= x <= xs[-1] + half:
                continue
            bottom, top = (_between(xs, curve, index, x) for curve in (low, high))
            if bottom is None or top is None:
                continue
            for line in range(self.row(top), self.row(bottom) + 1):
                under = self._tints[line][column]
                self._tints[line][column] = blend(under, tint, 0.5) if under and under != tint else tint

    def _join(self, start: tuple[int, int], end: tuple[int, int], color: str) -> None:
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            x = start[0] + (end[0] - start[0]) * step // steps
            y = start[1] + (end[1] - start[1]) * step // steps
            line, column = y // 4, x // 2
            self._bits[line][column] |= DOTS[y % 4][x % 2]
            self._colors[line][column] = color

    def _dot_column(self, x: float) -> int:
        first, last = self.span
        share = (x - first) / (last - first) if last > first else 0.0
        return round(min(1.0, max(0.0, share)) * (self.columns * 2 - 1))

    def _dot_row(self, value: float) -> int:
        low, high = self._bounds
        share = (value - low) / (high - low) if high > low else 0.5
        return round((1 - min(1.0, max(0.0, share))) * (self.lines * 4 - 1))

    def rows(self) -> list[list[Segment]]:
        """Return the cells as lines of text, as wide as the canvas or as the texts that extend beyond it."""
        wide = [self.columns] * self.lines
        for row, column in self._words:
            wide[row] = max(wide[row], column + 1)
        return [
            [
                Segment("".join(cell.character for cell in alike), style_of(*look))
                for look, alike in groupby((self._cell(line, column) for column in range(wide[line])), key=_look)
            ]
            for line in range(self.lines)
        ]

    def _cell(self, line: int, column: int) -> Cell:
        """Return the content of a cell."""
        if (line, column) in self._words:
            return self._words[line, column]
        if column >= self.columns:
            return EMPTY
        bits, tint = self._bits[line][column], self._tints[line][column]
        if bits:
            return Cell(chr(0x2800 + bits), self._colors[line][column], tint)
        if column == self._cross:
            return Cell("│", self.palette.text, tint)
        if line in self._grid and column % GRID_EVERY == 0:
            return Cell(GRID, self.palette.grid, tint)
        return Cell(" ", "", tint) if tint else EMPTY


def is_drawable(value: float | None) -> TypeGuard[float]:
    """Say whether a value can be drawn on an axis."""
    return value is not None and abs(value) < LARGEST  # false for nan too


def _between(xs: Sequence[float], curve: Sequence[float | None], index: int, x: float) -> float | None:
    """Return a curve's value at x, on the straight line from the point before `index` to the one at it."""
    if index >= len(curve):
        return None
    value = curve[index]
    if not is_drawable(value):
        return None
    before = curve[index - 1] if index else None
    if not is_drawable(before) or x >= xs[index]:
        return value
    share = (x - xs[index - 1]) / (xs[index] - xs[index - 1] or 1)
    return before + (value - before) * share


@lru_cache(maxsize=512)
def blend(color: str, ground: str, share: float) -> str:
    """Mix a share of the background into a colour."""
    one, other = (Color.parse(name).get_truecolor() for name in (color, ground))
    mixed = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*mixed)


@lru_cache(maxsize=512)
def style_of(color: str, tint: str = "", bold: bool = False) -> Style:
    """Return the style of cells."""
    return Style(color=color or None, bgcolor=tint or None, bold=bold or None)
