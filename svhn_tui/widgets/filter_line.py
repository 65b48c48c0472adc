"""The line in which a filter is typed: it shows itself when it is wanted, and completes words."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from svhn_tui.analysis.run_filter import completed, without_last


class FilterLine(Input):
    """A filter as it is typed; `candidates` says what a text's last word may become."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", tooltip="complete the word that is typed"),
        Binding("enter", "submit", "done", tooltip="leave the line as it is typed"),
    ]

    def __init__(self, candidates: Callable[[str], tuple[str, ...]], *, id: str) -> None:
        super().__init__(placeholder="activation=relu hidden=256 test_accuracy>0.5 tag:final", id=id)
        self._candidates = candidates
        self.can_focus = False  # a hidden line gets no keys

    @property
    def is_open(self) -> bool:
        """Whether it stands on the screen."""
        return self.has_class("shown")

    @property
    def hints(self) -> tuple[str, ...]:
        """What the word that is being typed may become."""
        return self._candidates(self.value) if self.has_focus else ()

    def settled(self, hints: tuple[str, ...]) -> str:
        """Return the filter without a word that is still being typed and may become another one, one of the hints."""
        return without_last(self.value) if hints else self.value

    def open(self) -> None:
        """Show it, and type into it."""
        self.add_class("shown")
        self.display = self.can_focus = True
        self.screen.set_focus(self)

    def close(self) -> None:
        """Empty and hide it."""
        self.value = ""
        self.remove_class("shown")
        self.display = self.can_focus = False

    def action_complete(self) -> None:
        """Complete the word as far as it is certain, or leave the line where nothing is."""
        longer = completed(self.value, self._candidates(self.value))
        if longer == self.value:
            self.screen.focus_next()
        else:
            self.value = longer
            self.cursor_position = len(longer)
