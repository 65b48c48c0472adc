"""A table of any length, of which only the visible lines are made.

10,000 runs are shown in 4 to 13 ms of CPU, by Textual's `DataTable` in 1,100, at each run that finishes
(`python -m tests.measure` prints both).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

GAP = 2
SIGNS = 4
"""Cells before the first column: the cursor, two marks of the owner's, and a space."""
CURSOR = "▌"
Head = tuple[str, int, bool]
"""A column's title, its width in cells, and whether it is aligned to the right."""


class Grid(ScrollView, can_focus=True):
    """Shows lines under a head, with a cursor on one of them. The owner supplies a line's content.

    The first column is always shown; if not all others fit, left and right scroll through whole columns.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--head", "grid--line", "grid--cursor", "grid--mark"}
    DEFAULT_CSS = """
    Grid { height: 1fr; overflow-x: hidden; overflow-y: auto; }
    Grid > .grid--head { color: $text-muted; }
    Grid > .grid--mark { color: $primary; }
    Grid > .grid--cursor { background: $block-cursor-background; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "go(0)", "first", show=False),
        Binding("end", "go(-1)", "last", show=False),
        Binding("left", "turn(-1)", "columns on the left", show=False),
        Binding("right", "turn(1)", "columns on the right", show=False),
    ]
    cursor: reactive[int] = reactive(0)
    passed: reactive[int] = reactive(0)
    """Number of columns after the first one that are scrolled out on the left."""

    class Moved(Message):
        """The cursor is on another line, or other columns are visible."""

    class HeadClicked(Message):
        """A column's title was clicked; `index` counts the columns."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self) -> None:
        super().__init__()
        self._heads: tuple[Head, ...] = ()
        self._count = 0
        self._line: Callable[[int], tuple[str, Sequence[str]]] = lambda index: ("", ())

    def show(
        self,
        heads: Sequence[Head],
        count: int,
        line: Callable[[int], tuple[str, Sequence[str]]],
        cursor: int,
    ) -> None:
        """Show so many lines; `line` returns two cells of marks and a text for each column of a visible line."""
        self._heads, self._count, self._line = tuple(heads), count, line
        self._resize(count + 1)
        self.passed = min(self.passed, max(0, len(self._heads) - 2))
        self.cursor = max(0, min(cursor, count - 1))
        self._scroll_to_cursor()
        self.refresh()

    def _resize(self, height: int) -> None:
        """Set the number of lines; the page is laid out again only if that shows or hides the scrollbar."""
        size, fewest = Size(0, height), min(height, self.virtual_size.height)
        if self.show_vertical_scrollbar and fewest > self.container_size.height:
            self.set_reactive(Grid.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = height
        else:
            self.virtual_size = size

    def watch_cursor(self, before: int, now: int) -> None:
        """Follow the cursor; if nothing has to scroll, two lines are drawn."""
        self._scroll_to_cursor()
        for index in (before, now):
            self.refresh_line(index + 1)
        self.post_message(self.Moved())

    def watch_passed(self) -> None:
        """Show the columns that fit now."""
        self.refresh()
        self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        """Go up or down."""
        self._go(self.cursor + step)

    def action_page(self, step: int) -> None:
        """Go up or down by a page."""
        self._go(self.cursor + step * max(1, self.size.height - 2))

    def action_go(self, index: int) -> None:
        """Go to the first or the last line."""
        self._go(index if index >= 0 else self._count - 1)

    def action_turn(self, step: int) -> None:
        """Scroll through the columns that do not fit."""
        if step < 0 or self.hidden:
            self.passed = max(0, self.passed + step)

    @property
    def hidden(self) -> int:
        """The number of columns on the right that do not fit."""
        return len(self._heads) - 1 - self.passed - (len(self._seen) - 1) if self._heads else 0

    @property
    def _seen(self) -> list[int]:
        """The indices of the visible columns, the first one in any case."""
        right = SIGNS - GAP
        seen: list[int] = []
        for index in (0, *range(1 + self.passed, len(self._heads))):
            right += GAP + self._heads[index][1]
            if seen and right > self.size.width:
                break
            seen.append(index)
        return seen

    def _go(self, index: int) -> None:
        self.cursor = max(0, min(index, self._count - 1))

    def _scroll_to_cursor(self) -> None:
        """Scroll so that the cursor is visible below the fixed head."""
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the clicked line, or post which title was clicked."""
        if event.y:
            self._go(self.scroll_offset.y + event.y - 1)
            return
        left = SIGNS
        for index in self._seen if self._heads else ():
            width = self._heads[index][1]
            if left <= event.x < left + width + GAP:
                self.post_message(self.HeadClicked(index))
            left += width + GAP

    def render_line(self, y: int) -> Strip:
        """Return one of the visible lines."""
        index, width = self.scroll_offset.y + y - 1, self.size.width
        if not y:
            text, style = self._joined("", [title for title, _, _ in self._heads]), self._style("grid--head")
        elif index < self._count:
            text = self._joined(*self._line(index))
            style = self._style("grid--cursor" if index == self.cursor else "grid--line")
        else:
            text, style = "", self._style("grid--line")
        rest = Segment(set_cell_size(text, max(0, width - 1)), style)
        is_cursor = bool(y) and index == self.cursor and index < self._count
        mark = (
            Segment(CURSOR, style + Style(color=self._style("grid--mark").color)) if is_cursor else Segment(" ", style)
        )
        return Strip([mark, rest]).crop(0, width)

    def _joined(self, signs: str, cells: Sequence[str]) -> str:
        parts = [set_cell_size(signs, SIGNS - 1)]
        for index in self._seen if self._heads else ():
            _, width, is_right = self._heads[index]
            cell = cells[index]
            short = cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"
            parts.append(
                (" " * (width - cell_len(short)) + short if is_right else set_cell_size(short, width)) + " " * GAP
            )
        return "".join(parts)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name)
