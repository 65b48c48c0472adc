"""A scrolling text of any length: it is folded to the width and can be searched, and only visible lines are drawn."""

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from svhn_tui import words


class Pager(ScrollView, can_focus=True):
    """Shows lines of text; a view at the end stays there when lines are added."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pager--match", "pager--current"}
    DEFAULT_CSS = """
    Pager { height: 1fr; overflow-x: hidden; overflow-y: auto; }
    Pager > .pager--match { text-style: underline; color: $primary; }
    Pager > .pager--current { background: $block-cursor-background; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "up", show=False),
        Binding("down,j", "scroll_down", "down", show=False),
        Binding("home,g", "scroll_home", "to the first line", show=False),
        Binding("end,G", "scroll_end", "to the last line", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[str, ...] = ()
        self._rows: list[tuple[int, str]] = []
        """The index of the line and the text of each row."""
        self._width = 0
        """The width for which the lines were folded."""
        self._searched = ""
        self._matches: list[int] = []
        """Indices of the lines that match the search."""
        self._is_at_end = True
        self._current = -1
        """Index of the current match among them."""

    @property
    def position(self) -> str:
        """The number of matching lines, and which of them is shown: `2 of 5 lines`."""
        if not self._searched:
            return ""
        which = f"{self._matches.index(self._current) + 1} of " if self._current in self._matches else ""
        return f"{which}{words.plural(len(self._matches), 'line')}" if self._matches else "no line"

    def show(self, lines: Sequence[str], sought: str = "") -> None:
        """Show these lines without control sequences, and mark the matches of a search, which ignores case."""
        lines, is_new = tuple(lines), sought != self._searched
        if (lines, self.size.width, sought) == (self._lines, self._width, self._searched):
            return
        if lines != self._lines or self.size.width != self._width:
            self._fold(lines)
        self._searched = sought
        text = sought.lower()
        self._matches = [index for index, line in enumerate(self._lines) if text in line.lower()] if text else []
        if is_new:
            self._current = -1
            self.go(-1)
        elif self._is_at_end:
            self.call_after_refresh(self.scroll_end, animate=False)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Record whether the view is at the end."""
        super().watch_scroll_y(old_value, new_value)
        self._is_at_end = new_value + self.size.height >= len(self._rows) - 1

    def _fold(self, lines: tuple[str, ...]) -> None:
        self._lines, self._width = lines, self.size.width
        self._rows = [
            (index, row)
            for index, line in enumerate(lines)
            for row in _folded(words.clean(line.expandtabs(8)), max(1, self._width - 1))
        ]
        self.virtual_size = Size(self._width, len(self._rows))

    def go(self, step: int) -> None:
        """Go to the next matching line (`step` 1) or the previous one (-1), past the ends too."""
        if not self._matches:
            return
        after = [index for index in self._matches if index > self._current]
        before = [index for index in self._matches if self._current < 0 or index < self._current]
        self._current = (after or self._matches)[0] if step > 0 else (before or self._matches)[-1]
        row = next(row for row, (index, _) in enumerate(self._rows) if index == self._current)
        self.scroll_to(y=max(0, row - self.size.height // 2), animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one of the visible lines."""
        row, width = self.scroll_offset.y + y, self.size.width
        if row >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        index, text = self._rows[row]
        style = self._style("pager--current") if index == self._current and self._searched else self.rich_style
        return Strip(list(self._marked(text, style))).adjust_cell_length(width, style)

    def _marked(self, text: str, style: Style) -> Sequence[Segment]:
        """Split a row at its matches."""
        if not self._searched:
            return (Segment(text, style),)
        match_style, rest, lower = self._style("pager--match"), 0, text.lower()
        segments: list[Segment] = []
        while (begin := lower.find(self._searched.lower(), rest)) >= 0 and len(lower) == len(text):
            end = begin + len(self._searched)
            segments += [Segment(text[rest:begin], style), Segment(text[begin:end], match_style)]
            rest = end
        return (*segments, Segment(text[rest:], style))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name)


def _folded(line: str, width: int) -> Sequence[str]:
    return [line] if cell_len(line) <= width else chop_cells(line, width)
