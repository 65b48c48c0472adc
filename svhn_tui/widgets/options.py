"""A list to choose from that lives through windows in which there is no room for it."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widgets import OptionList

from svhn_tui.widgets.run_grid import CURSOR


class Options(OptionList):
    """Textual's list; where it has no cells, going by pages does nothing instead of ending the program."""

    def action_page_up(self) -> None:
        """Go up by what is seen."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Go down by what is seen."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]


class MarkedOptions(Options):
    """Options of one line each, with a cell free at their beginning: a mark stands there where the cursor is."""

    def render_line(self, y: int) -> Strip:
        """One of the options."""
        strip = super().render_line(y)
        if self.scroll_offset.y + y != self.highlighted or not strip:
            return strip
        style = (next(iter(strip)).style or Style()) + Style(color=self.app.current_theme.primary)
        return Strip.join([Strip([Segment(CURSOR, style)], 1), strip.crop(1)])
