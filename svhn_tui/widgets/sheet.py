"""Texts and tables that are laid out once, and of which only the changed lines are drawn again.

Against `Static` a key on Runs costs 4.8 instead of 16.7 ms of CPU and a letter of the filter takes 65 instead of 82 ms
(`python -m tests.measure --compare sheet`); drawing changed lines alone makes Questions cost 3.5 instead of 4.0 % of a
core (`--compare sheet-lines`).
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich.console import ConsoleRenderable, RenderableType, RichCast
from rich.segment import Segment
from rich.text import Text
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.visual import VisualType
from textual.widgets import Static

RENDERABLE = (str, ConsoleRenderable, RichCast)


class Sheet(Static):
    """A `Static` for content that is updated several times a second and changes little.

    Static lays its content out for its height and again for its lines, draws all of it at each update, and causes a
    layout of the whole page. A sheet lays it out once, and causes a layout of the page only if its height changes.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sheet: RenderableType = ""
        self._laid: list[Strip] = []
        self._width = 0
        """The width for which the content was laid out."""
        self._height = 0
        """The height for which the page was laid out."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show other content, one of Rich's renderables.

        Raises:
            TypeError: it is not one of them.
        """
        if not isinstance(content, RENDERABLE):
            raise TypeError(f"{type(content).__name__} is not one of Rich's renderables.")
        before, width = self._laid, self._width
        self._sheet, self._width = content, 0
        if not width:
            self.refresh(layout=layout)
            return
        now = self._lines(width)
        if layout and len(now) != self._height:
            self.refresh(layout=True)
        elif changed := changed_regions(before, now, width):
            self.refresh(*changed)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines at a width."""
        self._height = len(self._lines(width))
        return self._height

    def render_line(self, y: int) -> Strip:
        """Return one of the lines."""
        width = self.content_size.width
        lines = self._lines(width)
        return lines[y].apply_style(self.rich_style) if y < len(lines) else Strip.blank(width, self.rich_style)

    def _lines(self, width: int) -> list[Strip]:
        """Return the content's lines at a width, laid out once."""
        if width != self._width:
            options = self.app.console_options.update(width=max(1, width), height=None)
            text = Text(self._sheet) if isinstance(self._sheet, str) else self._sheet
            laid = self.app.console.render_lines(text, options)
            self._laid, self._width = [Strip(_plain(line), width) for line in laid], width
        return self._laid


def _plain(segments: Iterable[Segment]) -> list[Segment]:
    return [segment for segment in segments if segment.text and not segment.control]


def changed_regions(before: Sequence[Strip], now: Sequence[Strip], width: int) -> list[Region]:
    """Return the regions of the lines of this width that differ."""
    pairs = enumerate(zip_longest(before, now))
    return [Region(0, line, width, 1) for line, (one, other) in pairs if one != other]
