"""What all pages have in common: a bar above, keys below, and a state that flows down to them."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.screen import Screen
from textual.worker import get_current_worker

from engine import protocol as p
from svhn_tui import words
from svhn_tui.comparison import Findings, findings_of
from svhn_tui.presets import Presets
from svhn_tui.state import State
from svhn_tui.widgets.chart import Chart
from svhn_tui.widgets.frame import TopBar
from svhn_tui.widgets.keys import KeyBar

PAGES = (("1", "Questions"), ("2", "Live"), ("3", "Runs"), ("4", "Compare"), ("5", "Answers"), ("6", "Data"))


class Page(Screen[None]):
    """A screen of the program. The app sets `state`; what the user wants goes up as a message."""

    TITLE_IN_BAR: ClassVar[str] = ""
    state: reactive[State] = reactive(State, init=False)

    class Wanted(Message):
        """The user wants the engine to do something."""

        def __init__(self, command: p.AnyCommand) -> None:
            super().__init__()
            self.command = command

    class ComparisonWanted(Message):
        """These runs are to be compared."""

        def __init__(self, runs: tuple[str, ...]) -> None:
            super().__init__()
            self.runs = runs

    def __init__(self, book: Presets) -> None:
        super().__init__()
        self.book = book
        self._asked: set[str] = set()

    def compose(self) -> ComposeResult:
        """Bar, body, keys."""
        yield TopBar()
        yield from self.body()
        yield KeyBar()

    def body(self) -> ComposeResult:
        """Compose what stands between the bars."""
        raise NotImplementedError

    def show(self, state: State) -> None:
        """Draw a state."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Draw as soon as there is something to draw on."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.redraw())
        self.call_after_refresh(self.redraw)

    def watch_state(self) -> None:
        """Draw what changed, while the page is seen."""
        self.redraw()

    def on_resize(self) -> None:
        """Fit what is drawn to the new size."""
        self.call_after_refresh(self.redraw)

    def on_screen_resume(self) -> None:
        """Draw what happened while another page was open."""
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        """Draw the state as it is."""
        if self.is_current and self.is_mounted:
            self.query_one(TopBar).show(self.state, PAGES, self.TITLE_IN_BAR)
            self.show(self.state)
            self.refresh_bindings()

    def want(self, command: p.AnyCommand) -> None:
        """Ask for something."""
        self.post_message(self.Wanted(command))

    def copy(self, text: str) -> None:
        """Copy through the terminal (OSC 52), and into a file for terminals that don't take it; say where."""
        self.app.copy_to_clipboard(text)
        file, said = Path(self.state.workspace) / "copied.txt", "Copied, where the terminal allows it"
        with contextlib.suppress(OSError):  # the workspace may be on another machine
            file.write_text(text + "\n")
            said += f"; it also stands in {words.clean(str(file))}"
        self.notify(f"{said}.", markup=False)

    def watch_histories(self, runs: tuple[str, ...]) -> None:
        """Ask for curves of finished runs that are not known yet."""
        state = self.state
        unknown = tuple(run_id for run_id in runs if run_id in state.results and run_id not in state.histories)
        new = tuple(run_id for run_id in unknown if run_id not in self._asked)
        if new:
            self._asked.update(new)
            self.want(p.Watch(runs=new))


READ, ZOOM, PAN = (Binding.Group(said) for said in ("read values", "zoom", "pan"))
CHART_KEYS: list[Binding] = [
    Binding("m", "metric", "metric", tooltip="the next metric"),
    Binding("f", "full", "full", tooltip="chart over the whole page"),
    Binding("y", "log", "log", tooltip="logarithmic values"),
    Binding("e", "smooth", "smooth", tooltip="smooth the curves"),
    Binding("left", "cross(-1)", "read the values before", group=READ, priority=True),
    Binding("right", "cross(1)", "read the values after", group=READ, priority=True),
    Binding("plus", "zoom(0.5)", "zoom in", group=ZOOM),
    Binding("minus", "zoom(2.0)", "zoom out", group=ZOOM),
    Binding("equals_sign", "zoom(0.5)", "zoom in", show=False),
    Binding("shift+left", "pan(-0.25)", "pan to the left", group=PAN),
    Binding("shift+right", "pan(0.25)", "pan to the right", group=PAN),
    Binding("escape", "whole", "whole chart", show=False, tooltip="out of the full chart; show all of it again"),
]
CHART_ACTIONS = {binding.action.partition("(")[0] for binding in CHART_KEYS}


class ChartPage(Page):
    """A page with a chart, and the keys that every chart has."""

    METRICS: ClassVar[tuple[str, ...]] = ("test_accuracy", "gap", "loss")

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.metric = self.METRICS[0]

    @property
    def chart(self) -> Chart:
        """The page's chart."""
        return self.query_one(Chart)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what charts do where there is one."""
        if action in CHART_ACTIONS and self.is_mounted:
            return self.has_chart
        return super().check_action(action, parameters)

    @property
    def has_chart(self) -> bool:
        """Whether a chart is seen."""
        return all(widget.display for widget in self.chart.ancestors_with_self if widget is not self)

    def action_metric(self) -> None:
        """Draw the next metric."""
        self.metric = self.METRICS[(self.METRICS.index(self.metric) + 1) % len(self.METRICS)]
        self.redraw()

    def action_log(self) -> None:
        """Logarithmic values."""
        self.chart.toggle_log()

    def action_smooth(self) -> None:
        """Smoothing."""
        self.chart.cycle_smoothing()

    def action_cross(self, steps: int) -> None:
        """Read values."""
        self.chart.move_cross(steps)

    def action_zoom(self, factor: float) -> None:
        """Zoom."""
        self.chart.zoom(factor)

    def action_pan(self, share: float) -> None:
        """Pan."""
        self.chart.pan(share)

    def action_full(self) -> None:
        """Give the chart the whole page, or take it back."""
        if self.maximized is None:
            self.maximize(self.chart, container=False)
        else:
            self.minimize()

    def action_whole(self) -> None:
        """Leave full screen, or show the whole chart again."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.chart.reset()


Named = tuple[tuple[str, tuple[float, ...]], ...]


class ComparingPage(ChartPage):
    """A page that says what runs can tell apart; SciPy works it out in a thread, so that no key has to wait for it."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._asked_for: Named = ()
        self._findings: tuple[Named, Findings] = ((), Findings((), ()))

    def findings_for(self, groups: Sequence[tuple[str, tuple[float, ...]]]) -> Findings | None:
        """Return what named test accuracies say; what is not known yet is drawn as soon as it is.

        Until then the same names' findings from a moment ago stand there, so that nothing jumps.
        """
        named = tuple(groups)
        known, findings = self._findings
        if named not in (known, self._asked_for):
            self._asked_for = named
            self._find(named)
        return findings if [name for name, _ in known] == [name for name, _ in named] else None

    @work(thread=True, exclusive=True, group="statistics")
    def _find(self, named: Named) -> None:
        findings = findings_of(named)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._found, named, findings)

    def _found(self, named: Named, findings: Findings) -> None:
        self._findings = (named, findings)
        self.redraw()
