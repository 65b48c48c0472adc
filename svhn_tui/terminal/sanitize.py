"""The way out to the terminal: all that widgets draw passes here, and what a terminal would obey does not."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from svhn_tui.words import fitted


class Outlet(LineFilter):
    """Lets text through and nothing else, in the cells that it was given."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line, harmless."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [Segment(fitted(segment.text), segment.style) for segment in segments]
