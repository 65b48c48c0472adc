"""Charts of the runs of a group: their metrics, train and test together, over epochs or seconds.

Two charts are drawn in turn, which cuts Live's CPU from 5.6 to 4.6 % of a core and its output from 6.7 to 5.1 KB/s
(`python -m tests.measure --compare turns`).
"""

from collections.abc import Mapping, Sequence
from functools import partial

from svhn_tui.analysis.metrics import METRICS, drawn_of, panels
from svhn_tui.analysis.queue_entries import groups_of
from svhn_tui.charts.curves import divergence_of, mean_band, trace
from svhn_tui.charts.plot import Series
from svhn_tui.client.state import Live, State
from svhn_tui.widgets.chart import Chart
from svhn_tui.widgets.chart_board import ChartBoard
from svhn_tui.widgets.colors import line_style

FOLLOWS_SECONDS = 1.0
"""Delay after which the second of two charts is drawn."""
TRACES = 16
"""Most single traces that are drawn; more could not be distinguished."""
COLORS = {"train": 2, "validation": 1}
"""Indices of the colours of curves by name; test images have the first one."""


class RunCharts(ChartBoard):
    """Draws one chart, or two with different metrics, of runs of one configuration."""

    def __init__(self, *, charts: int = 1, id: str | None = None) -> None:
        self._panels = panels(tuple(METRICS))
        super().__init__(tuple(self._panels), charts=charts, id=id)
        self._state = State()
        """The state that was drawn last."""
        self._latest = 0
        """Index of the chart that was drawn last."""

    def forget(self) -> None:
        """Draw all charts with the next state."""
        self._state = State()

    def show(self, lanes: Mapping[str, Live], state: State, *, epochs: int) -> None:
        """Draw the curves of these runs; the x axis ends at `epochs`, however many they have so far."""
        before, self._state = self._state, state
        self.display = bool(lanes)
        if not lanes:
            return
        self._panels = panels(drawn_of(live.history for live in lanes.values()))
        self.offer(tuple(self._panels))
        charts = tuple(self.shown)
        only_grew = state is not before and groups_of(state).keys() == groups_of(before).keys()
        if len(charts) > 1 and only_grew and all(chart.display for chart, _ in charts):
            self._latest = 1 - self._latest  # the other one is drawn later: a chart costs more than the page
            self.set_timer(FOLLOWS_SECONDS, partial(self._follow, lanes, state, epochs))
            charts = (charts[self._latest],)
        self._draw(charts, lanes, epochs)

    def _follow(self, lanes: Mapping[str, Live], state: State, epochs: int) -> None:
        """Draw the other chart, if no new state came since."""
        if self.screen.is_current and self._state is state:
            self._draw(tuple(self.shown), lanes, epochs)

    def _draw(self, charts: Sequence[tuple[Chart, str]], lanes: Mapping[str, Live], epochs: int) -> None:
        diverged = divergence_of((f"seed {live.spec.seed}", live.history) for live in lanes.values())
        several = f"mean ± std over {len(lanes)} seeds" if len(lanes) > 1 and not self.shows_traces else ""
        for chart, metric in charts:
            chart.show(
                self._panels[metric].title,
                self._series(lanes, metric),
                length=None if self.by_seconds else epochs,
                note=diverged or several,
                x_label="seconds" if self.by_seconds else "epoch",
                empty=diverged,
            )

    def _series(self, lanes: Mapping[str, Live], metric: str) -> list[Series]:
        theme, seconds = self.app.current_theme, self.by_seconds
        if self.shows_traces:
            return [
                trace(f"seed {live.spec.seed}", live.history, metric, *line_style(index, theme), by_seconds=seconds)
                for index, live in enumerate(list(lanes.values())[:TRACES])
            ]
        histories = [live.history for live in lanes.values()]
        return [
            mean_band(name, histories, of, *line_style(COLORS.get(name, 0), theme), by_seconds=seconds)
            for name, of in self._panels[metric].curves
        ]
