"""The page of one run: outcome, curves, settings, file, questions, note, and the end of its log."""

from typing import ClassVar

from rich.console import Group as Stack
from rich.console import RenderableType
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from engine import protocol as p
from svhn_tui.analysis.usage import uses_of
from svhn_tui.client.state import Live, State
from svhn_tui.pages.page import Page
from svhn_tui.pages.run_charts import RunCharts
from svhn_tui.pages.run_notes import RunNotes
from svhn_tui.pages.run_text import facts_of, head_of, log_end, remedy_of, spec_of
from svhn_tui.presets import Presets
from svhn_tui.widgets.chart_board import AXIS_KEY, CHART_KEYS
from svhn_tui.widgets.sheet import Sheet

NARROW = 100
FOLLOW_SECONDS = 1.0
"""Interval at which the log of a run in training is requested."""
LOG_LINES, FAILED_LOG_LINES = 6, 15
"""Number of lines at the end of the log that are shown, and of a failed run's."""


class RunSubjectPage(Page):
    """A page about one run, which returns to the page from which it was opened."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.run = ""
        self._origin = "Runs"
        self._is_training = False

    def on_mount(self) -> None:
        """Follow its log."""
        self.set_interval(FOLLOW_SECONDS, self._follow)

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Show a run."""
        (self.run,), self._origin = subjects, origin
        self.request(p.ReadLog(run_id=self.run))
        self.redraw()

    def _follow(self) -> None:
        log, was_training = self.printed, self._is_training
        self._is_training = self.run in self.state.running
        if self.is_current and log is not None and (self._is_training or was_training):  # its last lines arrive late
            self.request(p.ReadLog(run_id=self.run, file=log.file, begins=log.ends))

    @property
    def printed(self) -> p.LogRead | None:
        """Its log, if it is known."""
        log = self.state.log
        return log if log is not None and log.run_id == self.run else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to train a failed run again."""
        if action == "again":
            return (live := self.state.live.get(self.run)) is not None and live.status in ("failed", "interrupted")
        return super().check_action(action, parameters)

    def action_again(self) -> None:
        """Train a run that failed again."""
        self.request(p.Resume(runs=(self.run,)))
        self.notify("It waits to be trained again; 2 shows it.")

    def action_back(self) -> None:
        """Return to the page from which it was opened."""
        self.post_message(self.Visit(self._origin))

    def show(self, state: State) -> None:
        """Fit the width of the window."""
        self.set_class(self.size.width < NARROW, "narrow")


class RunPage(RunSubjectPage):
    """Shows all facts of a run on one page that scrolls."""

    TITLE_IN_BAR = "Run"
    CSS = """
    RunPage #run { padding: 1 2 0 2; }
    RunPage.narrow #run { padding: 0 1; }
    RunPage #run > Sheet { height: auto; }
    RunPage RunCharts { height: 14; margin: 1 0; }
    RunPage.narrow ChartBoard { height: 9; margin: 0; }
    RunPage #log { padding: 1 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "whole", "back", tooltip="leave the full-screen chart, or the page"),
        Binding("l", "log_page", "log", tooltip="its log"),
        Binding("enter", "question", "its question", tooltip="go to its question"),
        Binding("i", "look", "images", tooltip="its predictions for the test images"),
        Binding("n", "note(False)", "note", tooltip="note and tags"),
        Binding("R", "again", "train again", tooltip="train a run that failed again"),
        Binding("c", "copy", "copy", tooltip="copy the file's path"),
        Binding("E", "note(True)", "edit", tooltip="edit the note in $EDITOR"),
        *(binding for binding in CHART_KEYS if binding.key != "escape"),
        AXIS_KEY,
    ]

    charts: RunCharts

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.charts = RunCharts()
        self._notes = RunNotes(self)

    def body(self) -> ComposeResult:
        """Compose one page that scrolls."""
        with VerticalScroll(id="run"):
            yield Sheet(id="head")
            yield self.charts
            yield Sheet(id="facts")
            yield Sheet(id="log")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions of a run that is finished, in training, or failed."""
        if action in ("note", "look", "copy"):
            return self.run in self.state.results
        if action == "question":
            return bool(self._uses)
        return True if action == "whole" else super().check_action(action, parameters)

    @property
    def _uses(self) -> tuple[str, ...]:
        spec = spec_of(self.run, self.state)
        return tuple(use.question.id for use in uses_of(spec, self.book, self.state)) if spec is not None else ()

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Show a run from its top, and request the hash of its file."""
        super().turn_to(subjects, origin)
        if self.is_mounted:
            self.query_one("#run", VerticalScroll).scroll_home(animate=False)
        self.request(p.CheckFiles(runs=subjects))

    def action_whole(self) -> None:
        """Leave the full-screen chart, or else the page."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.action_back()

    def action_log_page(self) -> None:
        """Show its log."""
        self.post_message(self.Visit("Log", self.run))

    def action_question(self) -> None:
        """Go to the question that it belongs to, or else to one about its network."""
        if self._uses:
            self.post_message(self.Visit("Questions", self._uses[0]))

    def action_note(self, in_editor: bool) -> None:
        """Edit the run's note and tags, or the note in the user's own editor."""
        self._notes.edit(self.run, in_editor=in_editor)

    def action_look(self) -> None:
        """Open the Data page with its predictions."""
        self.post_message(self.Visit("Data", self.run))

    def action_copy(self) -> None:
        """Copy its file's path."""
        self.copy(f"{self.state.workspace}/runs/{self.run}/model.keras")

    def show(self, state: State) -> None:
        """Draw the run."""
        self._notes.settle()
        super().show(state)
        theme = self.app.current_theme
        self.watch_histories((self.run,))
        self._show_chart(state)
        parts: list[RenderableType] = [head_of(self.run, state, theme)]
        remedy = remedy_of(self.run, state, theme)
        if remedy is not None:
            parts += [remedy, log_end(self.printed, state, theme, FAILED_LOG_LINES)]
        self.query_one("#head", Sheet).update(Stack(*parts))
        self.query_one("#facts", Sheet).update(facts_of(self.run, self.book, state, theme))
        end = self.query_one("#log", Sheet)
        end.display = remedy is None
        end.update(log_end(self.printed, state, theme, LOG_LINES))

    def _show_chart(self, state: State) -> None:
        spec, history = spec_of(self.run, state), state.history(self.run)
        lanes = {self.run: Live(spec, history=history)} if spec is not None and history.epochs else {}
        self.charts.show(lanes, state, epochs=spec.configuration.training.epochs if spec is not None else 0)
