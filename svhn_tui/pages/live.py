"""Page 2: what trains now, its curves, and what comes next."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.theme import Theme
from textual.widgets import OptionList

from engine import protocol as p
from svhn_tui import words
from svhn_tui.analysis.metrics import METRICS
from svhn_tui.analysis.queue_entries import Entry, entries_of, groups_of, last_group_of, moved
from svhn_tui.charts.curves import divergence_of, mean_band, trace
from svhn_tui.charts.plot import Series
from svhn_tui.client.state import Live, State
from svhn_tui.dialogs.dialogs import Confirm
from svhn_tui.pages.live_text import crew_lines, ended_line, entry_lines, group_line, outcome_page, title_of
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets, Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.chart import Chart
from svhn_tui.widgets.chart_board import AXIS_KEY, CHART_KEYS, TRACES_KEY, ChartBoard
from svhn_tui.widgets.colors import look_of
from svhn_tui.widgets.devices import DeviceHistory
from svhn_tui.widgets.lines import Lines
from svhn_tui.widgets.sheet import Sheet

NARROW, WIDE = 100, 120
TALL = 30
"""Rows from which there is room for the devices; below, the top bar alone tells of them."""
PAIRS = {"test_accuracy": ("accuracy", "test_accuracy"), "loss": ("loss", "test_loss")}
"""Metrics of train and test that are drawn together, by how the page calls them."""
TITLES = {"test_accuracy": "accuracy", "loss": "loss", "gap": METRICS["gap"].title}
REORDER = Binding.Group("reorder")
MEMBERS = 6
"""Workers elsewhere that have a line of their own where there is room."""
FOLLOWS_SECONDS = 1.0
"""Within which the second of two charts shows what the first one does."""
TRACES = 16
"""Single traces that are drawn at once; more could not be told apart."""


class LivePage(Page):
    """Groups above, curves in the middle, devices and the queue below."""

    TITLE_IN_BAR = "Live"
    CSS = """
    LivePage #devices { height: auto; max-height: 20%; padding: 1 0 0 0; }
    LivePage #crew { height: auto; padding: 1 0 0 0; text-wrap: nowrap; text-overflow: ellipsis; }
    LivePage.narrow #crew { padding: 0; }
    LivePage #outcome { height: auto; padding: 1 0 0 0; }
    LivePage.narrow #outcome { padding: 0; }
    LivePage #groups.single > .option-list--option-highlighted { background: $background; text-style: none; }
    LivePage #waiting:blur > .option-list--option-highlighted { background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "follow", "its question", priority=True, tooltip="go to the question that it is trained for"),
        Binding("space", "pause", "pause, resume", tooltip="pause or resume what the cursor is on"),
        Binding("S", "stop", "stop", tooltip="stop what the cursor is on"),
        Binding("l", "log_page", "log", tooltip="what was printed while it trained"),
        Binding("J", "move(1)", "later in the queue", group=REORDER),
        Binding("K", "move(-1)", "sooner in the queue", group=REORDER),
        TRACES_KEY,
        *CHART_KEYS,
        AXIS_KEY,
        Binding("P", "pause_all", "all", show=False, tooltip="pause or resume everything"),
    ]

    charts: ChartBoard

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.charts = ChartBoard(("test_accuracy", "gap", "loss"), charts=2, id="curves")
        self._devices = DeviceHistory()
        self._entries: tuple[Entry, ...] = ()
        self._possible: tuple[bool, ...] = ()
        self._charted = State()
        """That curves were drawn of."""
        self._turn = 0
        """Which of the two charts followed it."""

    def body(self) -> ComposeResult:
        """Groups, curves, devices, queue."""
        with Vertical(id="live"):
            yield Lines(id="groups")
            yield self.charts
            yield Sheet(id="outcome")
            yield Sheet(id="devices")
            yield Sheet(id="crew")
            yield Lines(id="waiting")
            yield Sheet(id="empty")

    @on(OptionList.OptionHighlighted, "#groups")
    def show_group(self) -> None:
        """Show another group's curves."""
        self.redraw()

    @on(Lines.Left)
    def leave_list(self, message: Lines.Left) -> None:
        """Go from the groups down into the queue, and back."""
        target = self.query_one("#waiting" if message.step > 0 else "#groups", Lines)
        if target.display and target is not message.lines:
            target.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what there is something to do it with."""
        if not self.is_mounted:
            return True
        has_lanes, has_entries, can_move = self._what_is_possible()
        if action == "follow":
            return self._followed is not None
        if action == "log_page":
            return bool(self._run_here)
        if action in ("pause", "pause_all", "stop"):
            return has_lanes or has_entries
        if action == "move":
            return can_move
        return super().check_action(action, parameters)

    def _what_is_possible(self) -> tuple[bool, bool, bool]:
        queued = sum(entry.status in ("waiting", "paused") for entry in self._entries)
        return bool(self.state.running), bool(self._entries), queued > 1

    @property
    def _followed(self) -> tuple[str, str] | None:
        """The page to which `enter` leads, and the question or run there."""
        entry, lanes = self._entry, self._lanes(self.state) or last_group_of(self.state)
        if entry is not None and (self._is_in_queue or not lanes):
            name = entry.title or title_of(entry.configuration, entry.data, self.state)
        elif lanes:
            spec = next(iter(lanes.values())).spec
            name = title_of(spec.configuration, spec.data, self.state)
        else:
            return None
        question, run = self._question(name), self._run_here
        return ("Questions", question.id) if question is not None else ("Run", run) if run else None

    @property
    def _run_here(self) -> str:
        """The first run of what the cursor stands on, or of what trained last."""
        entry, lanes = self._entry, self._lanes(self.state) or last_group_of(self.state)
        if entry is not None and (self._is_in_queue or not lanes):
            return entry.runs[0]
        return next(iter(lanes), "")

    def action_log_page(self) -> None:
        """Show what was printed for what the cursor stands on."""
        if self._run_here:
            self.post_message(self.Visit("Log", self._run_here))

    def _question(self, name: str) -> Question | None:
        return next((question for question in self.book.questions if question.id == name), None)

    def action_follow(self) -> None:
        """Go to the question of what the cursor stands on, or of what trained last."""
        if self._followed is not None:
            self.post_message(self.Visit(*self._followed))

    def action_pause(self) -> None:
        """Hold what the cursor stands on, or let it go on."""
        entry, lanes = self._entry, self._lanes(self.state)
        if entry is not None and (self._is_in_queue or not lanes):
            waits = entry.status == "waiting"
            self.want(p.Pause(runs=entry.runs) if waits else p.Resume(runs=entry.runs))
        elif lanes:
            self.want(p.Pause(runs=tuple(lanes)))
            self.notify("It is checkpointed and held; space on it in the queue lets it go on.")

    def action_pause_all(self) -> None:
        """Hold everything, or let everything go on that is held."""
        holds = bool(self.state.running) or any(entry.status == "waiting" for entry in self._entries)
        self.want(p.Pause() if holds else p.Resume())

    def action_stop(self) -> None:
        """Take what the cursor stands on out; what trains only after a question."""
        entry, lanes = self._entry, self._lanes(self.state)
        if entry is not None and (self._is_in_queue or not lanes):
            self.want(p.Cancel(runs=entry.runs))
            self.notify(f"{words.plural(len(entry.runs), 'run')} taken out; enter on the question brings them back.")
        elif lanes:
            runs = tuple(lanes)
            sentence = f"Stop {words.plural(len(runs), 'run')}? The checkpoint stays: enter on the question goes on."
            self.app.push_screen(Confirm(sentence), lambda yes: self.want(p.Cancel(runs=runs)) if yes else None)

    def action_move(self, step: int) -> None:
        """Let the chosen entry of the queue come later or sooner."""
        waiting = self.query_one("#waiting", Lines)
        waiting.focus()  # so that one sees what moves
        command = moved(self._entries, waiting.highlighted or 0, step)
        if command is not None:
            self.want(command)

    def show(self, state: State) -> None:
        """Draw groups, curves, devices and queue."""
        theme = self.app.current_theme
        self.set_class(self.size.width < NARROW, "narrow")
        self._devices.take(state.devices)
        self._entries = entries_of(state)
        groups, width = groups_of(state), self.query_one("#live").content_size.width
        is_short = len(groups) > 2 or self.size.height < 20
        lines = [(name, group_line(lanes, state, theme, width, is_short=is_short)) for name, lanes in groups.items()]
        ended = last_group_of(state) if not groups else {}
        if ended:
            lines = [("ended", ended_line(ended, state, theme, width))]
        listed = self.query_one("#groups", Lines)
        listed.show(lines)
        listed.set_class(len(lines) < 2, "single")
        self._show_charts(self._lanes(state) or ended)
        self._show_outcome(ended, state, theme)
        self._show_below(state, theme, width, is_empty=not groups and not ended and not self._entries)
        if (possible := self._what_is_possible()) != self._possible:
            self._possible = possible
            self.refresh_bindings()

    def _show_outcome(self, ended: Mapping[str, Live], state: State, theme: Theme) -> None:
        outcome = self.query_one("#outcome", Sheet)
        outcome.display = bool(ended)
        if ended:
            spec = next(iter(ended.values())).spec
            question = self._question(title_of(spec.configuration, spec.data, state))
            outcome.update(outcome_page(ended, question, self.book, state, theme))

    def _show_below(self, state: State, theme: Theme, width: int, *, is_empty: bool) -> None:
        devices, members = self.query_one("#devices", Sheet), self.query_one("#crew", Sheet)
        members.display = any(worker.where for worker in state.workers.values()) or not state.fleet.is_local
        members.update(crew_lines(state, theme, most=MEMBERS if self.size.height >= TALL else 0))
        devices.display = self.size.height >= TALL and bool(state.devices) and not members.display
        devices.update(self._devices.lines(dim_of(theme), str(theme.primary)))
        waiting, empty = self.query_one("#waiting", Lines), self.query_one("#empty", Sheet)
        waiting.show(entry_lines(self._entries, theme, width))
        empty.display = is_empty
        if empty.display:
            empty.update(self._empty(state))
        elif not state.running and self._entries and self.focused is not waiting:
            waiting.focus()

    @property
    def _is_in_queue(self) -> bool:
        return self.query_one("#waiting", Lines).has_focus

    @property
    def _entry(self) -> Entry | None:
        """The entry of the queue under its cursor."""
        chosen = self.query_one("#waiting", Lines).chosen
        return next((entry for entry in self._entries if entry.key == chosen), None)

    def _lanes(self, state: State) -> Mapping[str, Live]:
        groups = groups_of(state)
        chosen = self.query_one("#groups", Lines).chosen
        return groups.get(chosen or "") or next(iter(groups.values()), {})

    def _show_charts(self, lanes: Mapping[str, Live]) -> None:
        self.charts.display = bool(lanes)
        if not lanes:
            return
        self.charts.charts[1].display = self.size.width >= WIDE
        is_over = not any(run_id in self.state.running for run_id in lanes)  # then no more epochs come
        epochs = max(live.history.epochs if is_over else live.spec.configuration.training.epochs
                     for live in lanes.values())  # fmt: skip
        diverged = divergence_of((f"seed {live.spec.seed}", live.history) for live in lanes.values())
        several = f"mean ± std over {len(lanes)} seeds" if len(lanes) > 1 and not self.charts.shows_traces else ""
        for chart, metric in self._due(*self.charts.shown):
            chart.show(
                TITLES[metric],
                self._series(lanes, metric),
                length=None if self.charts.by_seconds else epochs,
                note=diverged or several,
                x_label="seconds" if self.charts.by_seconds else "epoch",
                empty=diverged,
            )

    def on_screen_suspend(self) -> None:
        """Draw both when it is seen again."""
        self._charted = State()

    def _due(self, *charts: tuple[Chart, str]) -> Sequence[tuple[Chart, str]]:
        """Return the charts to draw now: where two are seen, one in turn as long as the same runs only go on."""
        before, now = self._charted, self.state
        self._charted = now
        only_grew = now is not before and groups_of(now).keys() == groups_of(before).keys()
        if not only_grew or not all(chart.display for chart, _ in charts):
            return charts
        self._turn = 1 - self._turn
        self.set_timer(FOLLOWS_SECONDS, partial(self._follow, now))
        return (charts[self._turn],)

    def _follow(self, state: State) -> None:
        """Draw the chart whose turn it was not, if nothing has happened since."""
        if self.is_current and self.state is state:
            self._show_charts(self._lanes(state) or last_group_of(state))

    def _series(self, lanes: Mapping[str, Live], metric: str) -> list[Series]:
        theme, seconds = self.app.current_theme, self.charts.by_seconds
        histories = [live.history for live in lanes.values()]
        if self.charts.shows_traces:
            of = PAIRS.get(metric, (metric, metric))[1]
            return [
                trace(f"seed {live.spec.seed}", live.history, of, *look_of(index, theme), by_seconds=seconds)
                for index, live in enumerate(list(lanes.values())[:TRACES])
            ]
        if metric == "gap":
            return [mean_band("gap", histories, "gap", *look_of(0, theme), by_seconds=seconds)]
        train, test = PAIRS[metric]
        return [
            mean_band("train", histories, train, *look_of(2, theme), by_seconds=seconds),
            mean_band("test", histories, test, *look_of(0, theme), by_seconds=seconds),
        ]

    def _empty(self, state: State) -> Text:
        dim = dim_of(self.app.current_theme)
        if not state.caught_up:
            return Text(words.clean(state.lacking), dim)
        return Text.assemble(
            ("Nothing trains.\n", "bold"),
            ("1 opens the questions; enter there trains what is missing.\n", dim),
            (f"{words.plural(len(state.results), 'run')} finished so far: 3 lists them.", dim),
        )
