"""The page of a run's log: it follows a run in training, can be searched, and control sequences have no effect."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from svhn_tui import words
from svhn_tui.client.state import State
from svhn_tui.pages.run_page import RunSubjectPage
from svhn_tui.pages.run_text import head_of, log_note, remedy_of
from svhn_tui.themes import dim_of
from svhn_tui.widgets.filter_line import FilterLine
from svhn_tui.widgets.pager import Pager
from svhn_tui.widgets.sheet import Sheet

SEARCH = Binding.Group("matches")


class LogPage(RunSubjectPage):
    """Shows the end of a log, with a line to search it."""

    TITLE_IN_BAR = "Log"
    CSS = """
    LogPage #log { padding: 1 1 0 2; }
    LogPage.narrow #log { padding: 0 0 0 1; }
    LogPage #head { padding: 0 0 1 0; }
    LogPage #note { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="end the search, or leave the page"),
        Binding("slash", "search", "search", tooltip="search the log for a word"),
        Binding("n", "match(1)", "next match", group=SEARCH),
        Binding("N", "match(-1)", "previous match", group=SEARCH),
        Binding("R", "again", "train again", tooltip="train a run that failed again"),
        Binding("c", "copy", "copy", tooltip="copy the shown part of the log"),
    ]

    def body(self) -> ComposeResult:
        """Compose the run's name, its log, and the search line."""
        with Vertical(id="log"):
            yield Sheet(id="head")
            line = FilterLine(lambda text: (), id="search")
            line.placeholder = "a word of the log; enter: its last line, then n and N: others"
            yield line
            yield Pager()
            yield Sheet(id="note")

    def on_mount(self) -> None:
        """Focus the log."""
        self.query_one(Pager).focus()

    @property
    def _line(self) -> FilterLine:
        return self.query_one(FilterLine)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions that apply now; while a search is typed, keys are letters."""
        if self.is_mounted and self._line.has_focus and action in ("search", "match", "copy", "again"):
            return False
        if action == "match":
            return self.is_mounted and bool(self._line.value)
        return super().check_action(action, parameters)

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Show a run's log, from its end."""
        if self.is_mounted and subjects != (self.run,):
            self._line.close()
        super().turn_to(subjects, origin)

    def action_search(self) -> None:
        """Focus the search line."""
        self._line.open()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Search while the text is typed."""
        self.redraw()

    def on_input_submitted(self) -> None:
        """Focus the log again."""
        if not self._line.value:
            self._line.close()
        self.query_one(Pager).focus()
        self.redraw()

    def action_match(self, step: int) -> None:
        """Go to another line that matches."""
        self.query_one(Pager).go(step)
        self._show_text(self.state)

    def action_back(self) -> None:
        """End the search, or leave."""
        if self._line.is_open:
            self._line.close()
            self.query_one(Pager).focus()
            self.redraw()
        else:
            super().action_back()

    def action_copy(self) -> None:
        """Copy the part of the log that is shown."""
        if (log := self.printed) is not None and log.text:
            self.copy(words.clean(log.text, newlines=True))

    def show(self, state: State) -> None:
        """Draw the log, and request it."""
        super().show(state)
        theme = self.app.current_theme
        head = head_of(self.run, state, theme)
        if remedy := remedy_of(self.run, state, theme):
            head.append("\n").append(remedy)
        self.query_one("#head", Sheet).update(head)
        log = self.printed
        lines = log.text.splitlines() if log is not None else []
        self.query_one(Pager).show(lines, self._line.value)
        self._show_text(state)

    def _show_text(self, state: State) -> None:
        theme, position = self.app.current_theme, self.query_one(Pager).position
        text = Text(log_note(self.printed, state), dim_of(theme))
        if position:
            text = Text.assemble((position, "bold"), f" with {words.clean(self._line.value)!r}   ", text)
        self.query_one("#note", Sheet).update(text)
