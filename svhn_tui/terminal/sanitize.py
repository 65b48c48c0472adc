"""Strips control sequences from everything that widgets draw."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from svhn_tui.words import fitted


class Sanitizer(LineFilter):
    """A filter that removes control sequences and keeps the width of the text."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line without control sequences."""
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [Segment(fitted(segment.text), segment.style) for segment in segments]
