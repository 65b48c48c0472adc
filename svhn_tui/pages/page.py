"""The base of all pages: a bar above, keys below, and the state that the app sets."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen

from engine import protocol as p
from svhn_tui.analysis.launches import Launch
from svhn_tui.client.state import State
from svhn_tui.pages.registry import PAGES
from svhn_tui.presets import Presets
from svhn_tui.widgets.chart_board import ChartBoard
from svhn_tui.widgets.key_bar import KeyBar
from svhn_tui.widgets.top_bar import TopBar


class Page(Screen[None]):
    """A screen of the program. The app sets `state`; requests of the user are posted as messages."""

    TITLE_IN_BAR: ClassVar[str] = ""
    charts: ChartBoard | None = None
    """The page's charts, if it has any."""
    state: reactive[State] = reactive(State, init=False, repaint=False)

    class CommandRequested(Message):
        """A command for the engine, at the user's request."""

        def __init__(self, command: p.AnyCommand) -> None:
            super().__init__()
            self.command = command

    class LaunchDeferred(Message):
        """A request to train a question as soon as the data is open."""

        def __init__(self, launch: Launch) -> None:
            super().__init__()
            self.launch = launch

    class Visit(Message):
        """A request to open another page, at this question or these runs; without any, the page is unchanged."""

        def __init__(self, page: str, *subjects: str) -> None:
            super().__init__()
            self.page, self.subjects = page, subjects

    class Copied(Message):
        """A request to copy a text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, book: Presets) -> None:
        super().__init__()
        self.book = book
        self._asked: set[str] = set()

    def compose(self) -> ComposeResult:
        """Compose bar, body and keys."""
        yield TopBar()
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """Compose the part between the bars."""
        raise NotImplementedError

    def show(self, state: State) -> None:
        """Draw a state."""
        raise NotImplementedError

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Show this question, run or runs, at least one; `origin` is the title of the page that requests it."""

    def on_mount(self) -> None:
        """Draw after the first layout."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.redraw())
        self.call_after_refresh(self.redraw)

    def watch_state(self) -> None:
        """Draw the changes, if the page is shown."""
        self.redraw()

    def watch_maximized(self) -> None:
        """Draw for the new layout when a chart fills the whole page, or does no more."""
        self.call_after_refresh(self.redraw)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self.redraw)

    def on_screen_resume(self) -> None:
        """Draw the changes since the page was last shown."""
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Draw the current state."""
        if self.is_current and self.is_mounted:
            self.query_one(TopBar).show(self.state, [(key, name) for key, name, _ in PAGES], self.TITLE_IN_BAR)
            self.show(self.state)
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions of charts if there is one."""
        if action == "chart" and self.charts is not None and self.is_mounted:
            return self.charts.offers(str(parameters[0]))
        return super().check_action(action, parameters)

    def action_chart(self, verb: str, amount: float = 0) -> None:
        """Forward the action of a chart's key to the chart board."""
        if self.charts is not None:
            self.charts.do(verb, amount)

    def on_chart_board_changed(self) -> None:
        """Draw the charts' new content."""
        self.redraw()

    def request(self, command: p.AnyCommand | None) -> None:
        """Request a command; None, from a dialog that was cancelled, requests nothing."""
        if command is not None:
            self.post_message(self.CommandRequested(command))

    def copy(self, text: str) -> None:
        """Copy a text."""
        self.post_message(self.Copied(text))

    def watch_histories(self, runs: tuple[str, ...]) -> None:
        """Request the curves of finished runs that are not known yet."""
        state = self.state
        unknown = tuple(run_id for run_id in runs if run_id in state.results and run_id not in state.histories)
        new = tuple(run_id for run_id in unknown if run_id not in self._asked)
        if new:
            self._asked.update(new)
            self.request(p.Watch(runs=new))
