"""The line in which a filter is typed: it is hidden until it is opened, and completes words."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from svhn_tui.analysis.run_filter import completed, without_last


class FilterLine(Input):
    """The filter's input; `candidates` returns the completions of a text's last word."""

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
        """Whether it is shown."""
        return self.has_class("shown")

    @property
    def hints(self) -> tuple[str, ...]:
        """The completions of the word that is being typed."""
        return self._candidates(self.value) if self.has_focus else ()

    def settled(self, hints: tuple[str, ...]) -> str:
        """Return the filter without an incomplete last word, which is one that has other completions."""
        return without_last(self.value) if hints else self.value

    def open(self) -> None:
        """Show and focus it."""
        self.add_class("shown")
        self.display = self.can_focus = True
        self.screen.set_focus(self)

    def close(self) -> None:
        """Empty and hide it."""
        self.value = ""
        self.remove_class("shown")
        self.display = self.can_focus = False

    def action_complete(self) -> None:
        """Complete the word as far as it is unambiguous, or move the focus if there is nothing to complete."""
        longer = completed(self.value, self._candidates(self.value))
        if longer == self.value:
            self.screen.focus_next()
        else:
            self.value = longer
            self.cursor_position = len(longer)
