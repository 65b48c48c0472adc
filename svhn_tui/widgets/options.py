"""A list to choose from, which works in windows that have no room for it."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widgets import OptionList

from svhn_tui.widgets.run_grid import CURSOR


class Options(OptionList):
    """Textual's list; if it has no cells, paging has no effect instead of ending the program."""

    def action_page_up(self) -> None:
        """Go up by a page."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Go down by a page."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]


class MarkedOptions(Options):
    """Options of one line each, whose first cell is free for the mark of the cursor."""

    def render_line(self, y: int) -> Strip:
        """Return one of the options."""
        strip = super().render_line(y)
        if self.scroll_offset.y + y != self.highlighted or not strip:
            return strip
        style = (next(iter(strip)).style or Style()) + Style(color=self.app.current_theme.primary)
        return Strip.join([Strip([Segment(CURSOR, style)], 1), strip.crop(1)])
