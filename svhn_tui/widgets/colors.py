"""How the lines of charts differ: by a colour and, where there are few or no colours, by a mark."""

from typing import NamedTuple

from textual.theme import Theme

from svhn_tui.themes import line_colors

MARKS = "●▲■◆○△□◇"


class LineStyle(NamedTuple):
    """A line's colour and mark; the same stand before its name in a table."""

    color: str
    mark: str


def line_style(index: int, theme: Theme) -> LineStyle:
    """Return the look of the line at a place; it repeats after eight."""
    colors = line_colors(theme)
    return LineStyle(colors[index % len(colors)], MARKS[index % len(MARKS)])
