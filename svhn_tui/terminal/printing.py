"""Prints the output of commands, without control sequences."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from svhn_tui.terminal import streams
from svhn_tui.words import clean, fitted

NARROWEST = 20
"""Columns that are used where there are said to be fewer: lines wrap, and nothing is lost."""


class Plain(Console):
    """Rich's console, without control sequences and without markup in text."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)
        self.width = max(self.width, NARROWEST)  # COLUMNS and terminals may say 0, in which nothing is printed

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments without control sequences."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(fitted, segment.text.split("\n"))), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled, so that all commands end in the same way."""
        raise


def print_text(text: str) -> None:
    """Print for a person."""
    print(clean(text, newlines=True), flush=True)


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table; where stdout is not a terminal, a row a line, however long, with tabs between the columns."""
    if not sys.stdout.isatty():
        for row in (head, *rows):
            print_text("\t".join(clean(str(cell)) for cell in row))
        return
    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    Plain().print(table)


def print_error(sentence: str) -> None:
    """Print an error on stderr."""
    streams.write_error(f"svhn-tui: {clean(sentence)}")


def print_json(value: Any) -> None:
    """Print a line of JSON for scripts, in ASCII, so that it holds no control sequence."""
    print(json.dumps(msgspec.to_builtins(value)), flush=True)
