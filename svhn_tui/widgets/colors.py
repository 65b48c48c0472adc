"""Colours and marks of the lines in charts; marks distinguish them where colours are few."""

from typing import NamedTuple

from textual.theme import Theme

from svhn_tui.themes import line_colors

MARKS = "●▲■◆○△□◇"


class LineStyle(NamedTuple):
    """A line's colour and mark, which also precede its name in a table."""

    color: str
    mark: str


def line_style(index: int, theme: Theme) -> LineStyle:
    """Return the style of the line with this index; styles repeat after eight."""
    colors = line_colors(theme)
    return LineStyle(colors[index % len(colors)], MARKS[index % len(MARKS)])
