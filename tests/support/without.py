"""The program without a part of its own around Textual, to see what the part buys.

    python -m tests.support.without cells,sheet [ARGUMENTS OF svhn-tui]

Where a part is left out, Textual's own stands in its place, in the same program.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.widgets import Static

from svhn_tui.pages import run_charts
from svhn_tui.terminal.driver import DiffDriver
from svhn_tui.terminal.terminal_app import TerminalApp
from svhn_tui.widgets import sheet


def without_cells() -> None:
    """Write what Textual wants written."""
    DiffDriver.write = LinuxDriver.write  # type: ignore[method-assign]


def without_keyboard() -> None:
    """Deliver keys the moment they come."""
    TerminalApp.on_event = App.on_event  # type: ignore[method-assign]


def without_sheet() -> None:
    """Draw words and tables with `Static`, all of them at each update."""
    for name in ("update", "get_content_height", "render_line"):
        delattr(sheet.Sheet, name)
    sheet.Sheet.__init__ = lambda self, content="", *, id=None: Static.__init__(  # type: ignore[method-assign]
        self, content, id=id, markup=False
    )


def without_sheet_lines() -> None:
    """Draw all lines of a sheet at each update."""
    sheet.changed_regions = all_of


def without_turns() -> None:
    """Draw both charts of Live at each update."""
    run_charts.groups_of = lambda state: {id(state): ()}


def without_freeze() -> None:
    """Let the garbage collector look through all runs again and again."""
    gc.freeze = lambda: None


def all_of(before: Sequence[object], now: Sequence[object], width: int) -> list[Region]:
    return [Region(0, 0, width, max(len(before), len(now)))]


PARTS: dict[str, Callable[[], None]] = {
    "cells": without_cells,
    "keyboard": without_keyboard,
    "sheet": without_sheet,
    "sheet-lines": without_sheet_lines,
    "turns": without_turns,
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
