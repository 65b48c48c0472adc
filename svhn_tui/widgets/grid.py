"""A table of any length: only the lines that are seen are made."""

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
Head = tuple[str, int, bool]
"""A column's title, its width in cells, and whether it stands on the right."""


class Grid(ScrollView, can_focus=True):
    """Lines under a head; a cursor on one of them. The owner says what a line reads."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--head", "grid--cursor"}
    DEFAULT_CSS = """
    Grid { height: 1fr; overflow-x: auto; overflow-y: auto; }
    Grid > .grid--head { color: $text-muted; }
    Grid > .grid--cursor { background: $block-cursor-background; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "go(0)", "first", show=False),
        Binding("end", "go(-1)", "last", show=False),
        Binding("left", "scroll_left", "columns on the left", show=False),
        Binding("right", "scroll_right", "columns on the right", show=False),
    ]
    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor is on another line."""

    class HeadClicked(Message):
        """A column's title was clicked; `place` counts the columns."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self) -> None:
        super().__init__()
        self._heads: tuple[Head, ...] = ()
        self._count = 0
        self._line: Callable[[int], tuple[str, Sequence[str]]] = lambda place: ("", ())

    def show(
        self,
        heads: Sequence[Head],
        count: int,
        line: Callable[[int], tuple[str, Sequence[str]]],
        cursor: int,
    ) -> None:
        """Show so many lines; `line` returns a sign of two cells and a text a column, for a line that is seen."""
        self._heads, self._count, self._line = tuple(heads), count, line
        self.virtual_size = Size(2 + sum(width + GAP for _, width, _ in heads), count + 1)
        self.cursor = max(0, min(cursor, count - 1))
        self._keep_in_view()
        self.refresh()

    def watch_cursor(self) -> None:
        """Follow the cursor."""
        self._keep_in_view()
        self.refresh()
        self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        """Go up or down."""
        self._go(self.cursor + step)

    def action_page(self, step: int) -> None:
        """Go up or down by what is seen."""
        self._go(self.cursor + step * max(1, self.size.height - 2))

    def action_go(self, place: int) -> None:
        """Go to the first or the last line."""
        self._go(place if place >= 0 else self._count - 1)

    def _go(self, place: int) -> None:
        self.cursor = max(0, min(place, self._count - 1))

    def _keep_in_view(self) -> None:
        """Scroll so that the cursor is seen below the head, which stays where it is."""
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there, or tell which title was meant."""
        if event.y:
            self._go(self.scroll_offset.y + event.y - 1)
            return
        left = 2
        for place, (_, width, _) in enumerate(self._heads):
            if left <= event.x + self.scroll_offset.x < left + width + GAP:
                self.post_message(self.HeadClicked(place))
            left += width + GAP

    def render_line(self, y: int) -> Strip:
        """Make one line of what is seen."""
        place, width = self.scroll_offset.y + y - 1, self.size.width
        if not y:
            text, style = self._joined("", [title for title, _, _ in self._heads]), self._style("grid--head")
        elif place < self._count:
            sign, cells = self._line(place)
            text = self._joined(sign, cells)
            style = self._style("grid--cursor") if place == self.cursor else self.rich_style
        else:
            text, style = "", self.rich_style
        left = self.scroll_offset.x
        seen = set_cell_size(text, max(left + width, cell_len(text)))
        return Strip([Segment(seen, style)]).crop(left, left + width)

    def _joined(self, sign: str, cells: Sequence[str]) -> str:
        parts = [set_cell_size(sign, 2)]
        for (_, width, is_right), cell in zip(self._heads, cells, strict=True):
            short = cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + "…"
            parts.append(
                (" " * (width - cell_len(short)) + short if is_right else set_cell_size(short, width)) + " " * GAP
            )
        return "".join(parts)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name)
