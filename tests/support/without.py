"""The program without a part of its own around Textual, to see what the part buys.

    python -m tests.support.without cells,sheet [ARGUMENTS OF svhn-tui]

Where a part is left out, Textual's own stands in its place, in the same program.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

from textual.app import App
from textual.coordinate import Coordinate
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.message import Message
from textual.widgets import DataTable, Static

from svhn_tui.pages import run_charts, run_list
from svhn_tui.terminal.driver import ThriftyDriver
from svhn_tui.terminal.terminal_app import TerminalApp
from svhn_tui.widgets import chart, sheet
from svhn_tui.widgets.run_grid import CURSOR, SIGNS, Grid, Head


def without_cells() -> None:
    """Write what Textual wants written."""
    ThriftyDriver.write = LinuxDriver.write  # type: ignore[method-assign]


def without_keyboard() -> None:
    """Deliver keys the moment they come."""
    TerminalApp.on_event = App.on_event  # type: ignore[method-assign]


def without_sheet() -> None:
    """Draw words and tables with `Static`, all of them at each update."""
    for name in ("update", "get_content_height", "render_line", "virtual_size"):
        delattr(sheet.Sheet, name)
    sheet.Sheet.__init__ = lambda self, content="", *, id=None: Static.__init__(  # type: ignore[method-assign]
        self, content, id=id, markup=False
    )


def without_sheet_lines() -> None:
    """Draw all lines of a sheet at each update."""
    sheet.changed_regions = all_of


def without_chart_lines() -> None:
    """Draw all lines of a chart at each update."""
    chart.changed_regions = all_of


def without_turns() -> None:
    """Draw both charts of Live at each update."""
    run_charts.groups_of = lambda state: {id(state): ()}


def without_still_size() -> None:
    """Arrange the page anew whenever a sheet's or a chart's size is set, as Textual does."""
    for widget in (sheet.Sheet, chart.Chart):
        del widget.virtual_size


def without_grid() -> None:
    """List runs in a `DataTable`."""
    run_list.Grid = TextualGrid


def without_freeze() -> None:
    """Let the garbage collector look through all runs again and again."""
    gc.freeze = lambda: None


def all_of(before: Sequence[object], now: Sequence[object], width: int) -> list[Region]:
    return [Region(0, 0, width, max(len(before), len(now)))]


class TextualGrid(DataTable[str]):
    """Textual's table with the interface of `Grid`; it holds every line."""

    DEFAULT_CSS = "TextualGrid { height: 1fr; }"

    class Moved(Message):
        handler_name = "on_grid_moved"

    HeadClicked = Grid.HeadClicked
    hidden = passed = 0

    def __init__(self) -> None:
        super().__init__(cursor_type="row")
        self._marked = -1

    @property
    def cursor(self) -> int:
        return self.cursor_row

    def show(
        self, heads: Sequence[Head], count: int, line: Callable[[int], tuple[str, Sequence[str]]], cursor: int
    ) -> None:
        self.clear(columns=True)
        for title, width, _ in [("", SIGNS, False), *heads]:
            self.add_column(title, width=width)
        self.add_rows((signs, *cells) for signs, cells in map(line, range(count)))
        self.move_cursor(row=cursor)

    def action_move(self, step: int) -> None:
        self.move_cursor(row=self.cursor_row + step)

    def on_data_table_row_highlighted(self, message: DataTable.RowHighlighted) -> None:
        for row, sign in ((self._marked, " "), (message.cursor_row, CURSOR)):
            if self.is_valid_row_index(row):
                self.update_cell_at(Coordinate(row, 0), sign)
        self._marked = message.cursor_row
        self.post_message(self.Moved())


PARTS: dict[str, Callable[[], None]] = {
    "cells": without_cells,
    "keyboard": without_keyboard,
    "sheet": without_sheet,
    "sheet-lines": without_sheet_lines,
    "chart-lines": without_chart_lines,
    "turns": without_turns,
    "still-size": without_still_size,
    "grid": without_grid,
    "freeze": without_freeze,
}


def main() -> Any:
    _, parts, *arguments = sys.argv
    for part in parts.split(","):
        PARTS[part]()
    sys.argv = ["svhn-tui", *arguments]
    from svhn_tui.cli.main import main as program

    return program()


if __name__ == "__main__":
    main()
