"""Page 2: what trains now, its curves, and what comes next."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine import protocol as p
from svhn_tui import words
from svhn_tui.curves import METRICS, mean_band, metric_of
from svhn_tui.plot import Series
from svhn_tui.presets import Presets
from svhn_tui.screens.dialogs import Confirm
from svhn_tui.screens.page import CHART_KEYS, ChartPage
from svhn_tui.screens.questions import bar_of
from svhn_tui.state import Live, State
from svhn_tui.themes import dim_of, line_colors
from svhn_tui.widgets.chart import Chart

NARROW, WIDE = 100, 120
TITLES = {"test_accuracy": "accuracy", "loss": "loss", "gap": METRICS["gap"]}
QUEUE_LINES = 5


class LivePage(ChartPage):
    """Groups above, curves in the middle, the queue below."""

    TITLE_IN_BAR = "Live"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "pause or resume"),
        Binding("S", "stop", "stop"),
        Binding("K", "hurry", "next one first"),
        Binding("t", "traces", "single traces", show=False),
        *CHART_KEYS,
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._group = ""
        self._shows_traces = False

    def body(self) -> ComposeResult:
        """Groups, curves, queue."""
        with Vertical(id="live"):
            yield OptionList(id="groups")
            with Horizontal():
                yield Chart()
                yield Chart(id="second")
            yield Static(id="waiting")

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        """Show another group's curves."""
        self._group = message.option_id or ""
        self.redraw()

    def action_pause(self) -> None:
        """Hold the chosen group, or let go on what is held."""
        lanes = self._lanes(self.state)
        if lanes:
            self.want(p.Pause(runs=tuple(lanes)))
            self.notify("It is checkpointed and held; space lets it go on.")
        else:
            self.want(p.Resume())

    def action_stop(self) -> None:
        """Take the chosen group out, after a question."""
        lanes = self._lanes(self.state)
        if not lanes:
            self.notify("Nothing trains.")
            return
        sentence = (
            f"Stop {words.plural(len(lanes), 'run')}? The checkpoint stays; enter on the question goes on from it."
        )
        self.app.push_screen(Confirm(sentence), lambda yes: self.want(p.Cancel(runs=tuple(lanes))) if yes else None)

    def action_hurry(self) -> None:
        """Put the last sweep of the queue first."""
        if self.state.queue:
            last = self.state.queue[-1].sweep_id
            runs = tuple(place.run_id for place in self.state.queue if place.sweep_id == last)
            self.want(p.Reprioritise(runs=runs, place=0))

    def action_traces(self) -> None:
        """Draw each lane, or their mean and spread."""
        self._shows_traces = not self._shows_traces
        self.redraw()

    def action_log(self) -> None:
        """Logarithmic values, in both charts."""
        for chart in self.query(Chart):
            chart.toggle_log()

    def action_smooth(self) -> None:
        """Smoothing, in both charts."""
        for chart in self.query(Chart):
            chart.cycle_smoothing()

    def show(self, state: State) -> None:
        """Draw groups, curves and queue."""
        self.set_class(self.size.width < NARROW, "narrow")
        self._show_groups(state)
        lanes = self._lanes(state)
        charts = list(self.query(Chart))
        charts[1].display = self.size.width >= WIDE and bool(lanes)
        charts[0].display = bool(lanes)
        second = "loss" if self.metric != "loss" else "test_accuracy"
        for chart, metric in zip(charts, (self.metric, second), strict=True):
            if lanes:
                epochs = max(live.spec.configuration.training.epochs for live in lanes.values())
                several = f"  mean ± std over {len(lanes)} seeds" if len(lanes) > 1 and not self._shows_traces else ""
                chart.show(f"{TITLES[metric]}{several}", self._series(lanes, metric), length=epochs)
        self.query_one("#waiting", Static).update(self._queue(state))

    def _groups(self, state: State) -> dict[str, dict[str, Live]]:
        groups: dict[str, dict[str, Live]] = {}
        for run_id, live in state.running.items():
            groups.setdefault(live.group, {})[run_id] = live
        return groups

    def _lanes(self, state: State) -> dict[str, Live]:
        groups = self._groups(state)
        return groups.get(self._group) or next(iter(groups.values()), {})

    def _show_groups(self, state: State) -> None:
        listed, groups = self.query_one("#groups", OptionList), self._groups(state)
        listed.display = bool(groups)
        if [option.id for option in listed.options] != list(groups):
            listed.clear_options()
            listed.add_options(Option("", id=group) for group in groups)
        for group, lanes in groups.items():
            listed.replace_option_prompt(group, self._group_line(lanes))

    def _group_line(self, lanes: dict[str, Live]) -> Text:
        theme, first = self.app.current_theme, next(iter(lanes.values()))
        epochs, done = first.spec.configuration.training.epochs, first.history.epochs
        seeds = [str(live.spec.seed) for live in lanes.values()]
        name = f"{first.spec.configuration.label}  seed {', '.join(seeds)}"
        said = f"epoch {done} of {epochs} · {words.duration(first.seconds_left)} left"
        rate = f"  {words.rate(first.images_per_second)}" if first.images_per_second and self.size.width >= 78 else ""
        room = max(4, self.size.width - len(name) - len(said) - len(rate) - 10)
        bar = bar_of(done / epochs, min(room, 60))
        return Text.assemble(
            (name, "bold"), "  ", (bar, str(theme.primary)), f"  {said}", (rate, dim_of(theme)), no_wrap=True
        )

    def _series(self, lanes: dict[str, Live], metric: str) -> list[Series]:
        colors = line_colors(self.app.current_theme)
        histories = [live.history for live in lanes.values()]
        if self._shows_traces:
            names = [f"seed {live.spec.seed}" for live in lanes.values()]
            return [
                Series(name, metric_of(history, metric), colors[index % len(colors)])
                for index, (name, history) in enumerate(zip(names, histories, strict=True))
            ]
        if metric == "gap":
            return [mean_band("gap", histories, "gap", colors[0])]
        train, test = ("loss", "test_loss") if metric == "loss" else ("accuracy", "test_accuracy")
        return [mean_band("train", histories, train, colors[2]), mean_band("test", histories, test, colors[0])]

    def _queue(self, state: State) -> Table | Text:
        theme = self.app.current_theme
        held = [live for live in state.live.values() if live.status in ("failed", "paused")]
        if not state.running and not state.queue and not held:
            return self._empty(state)
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(style=dim_of(theme))
        table.add_column()
        table.add_column(ratio=1)
        table.add_column(justify="right")
        groups: dict[tuple[str, str, bool], list[p.Place]] = {}
        for place in state.queue:
            key = (place.title, place.spec.configuration.label, place.paused)
            groups.setdefault(key, []).append(place)
        for index, ((title, label, paused), places) in enumerate(list(groups.items())[:QUEUE_LINES]):
            seconds = sum(place.forecast_seconds or 0 for place in places)
            seeds = words.plural(len(places), "run") + (" paused, space resumes" if paused else "")
            table.add_row(
                "next" if index == 0 else "", words.clean(title), f"{label}  {seeds}", words.duration(seconds)
            )
        if len(groups) > QUEUE_LINES:
            table.add_row("", "", f"and {len(groups) - QUEUE_LINES} more configurations", "")
        for live in [live for live in held if live.status == "failed"][:2]:
            table.add_row("failed", "", Text(words.clean(f"{live.spec.configuration.label}: {live.reason}")), "")
        return table

    def _empty(self, state: State) -> Text:
        theme = self.app.current_theme
        if not state.caught_up:
            return Text("Starting the engine…", dim_of(theme))
        return Text.assemble(
            ("Nothing trains.\n", "bold"),
            ("1 opens the questions; enter there trains what is missing.\n", dim_of(theme)),
            (f"{words.plural(len(state.results), 'run')} finished so far: 3 lists them.", dim_of(theme)),
        )
