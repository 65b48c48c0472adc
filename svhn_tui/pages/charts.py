"""Pages with charts, the keys that every chart has, and what runs can tell apart."""

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.binding import Binding
from textual.worker import get_current_worker

from svhn_tui.analysis.comparison import Findings, Group, findings_of
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets
from svhn_tui.widgets.chart import Chart

METRIC, READ, ZOOM, PAN = (Binding.Group(said) for said in ("metric", "read values", "zoom", "pan"))
CHART_KEYS: list[Binding] = [
    Binding("m", "metric", "the next metric", group=METRIC),
    Binding("M", "other_metric", "the next metric on the right", group=METRIC),
    Binding("f", "full", "full", tooltip="chart over the whole page, and back"),
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
AXIS_KEY = Binding("a", "axis", "seconds", tooltip="epochs or seconds")
CHART_ACTIONS = {binding.action.partition("(")[0] for binding in (*CHART_KEYS, AXIS_KEY)} | {"traces"}

FINDINGS_KEPT = 32
"""So that going to a question and back works nothing out again."""


class ChartPage(Page):
    """A page with a chart, or two side by side; what is done to one is done to both, but for what they draw."""

    METRICS: ClassVar[tuple[str, ...]] = ("test_accuracy", "gap", "loss")

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.metric, self.other_metric = self.METRICS[0], self.METRICS[-1]
        self.by_seconds = False
        self._charts: tuple[Chart, ...] = ()

    @property
    def chart(self) -> Chart:
        """The first of the charts."""
        return self.charts[0]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts of the page; asked for once, since every key's hint asks for them."""
        if not self._charts:
            self._charts = tuple(self.query(Chart))
        return self._charts

    @property
    def has_chart(self) -> bool:
        """Whether a chart is seen that something is drawn in."""
        return not self.chart.is_empty and all(
            widget.display for widget in self.chart.ancestors_with_self if widget is not self
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what charts do where there is one."""
        if action in CHART_ACTIONS and self.is_mounted:
            seen = sum(chart.display for chart in self.charts) if self.maximized is None else 1
            return self.has_chart and seen > (action == "other_metric")
        return super().check_action(action, parameters)

    def action_metric(self) -> None:
        """Draw the next metric."""
        self.metric = self._after(self.metric, but=self.other_metric)
        self.redraw()

    def action_other_metric(self) -> None:
        """Draw the next metric in the second chart."""
        self.other_metric = self._after(self.other_metric, but=self.metric)
        self.redraw()

    def _after(self, metric: str, *, but: str) -> str:
        """Return the next metric; two charts that are both seen do not draw the same one."""
        taken = but if sum(chart.display for chart in self.query(Chart)) > 1 else ""
        later = self.METRICS.index(metric) + 1
        return next(name for name in (*self.METRICS[later:], *self.METRICS) if name != taken)

    def action_axis(self) -> None:
        """Count epochs or seconds."""
        self.by_seconds = not self.by_seconds
        self.redraw()

    def action_log(self) -> None:
        """Logarithmic values."""
        for chart in self.query(Chart):
            chart.toggle_log()

    def action_smooth(self) -> None:
        """Smoothing."""
        for chart in self.query(Chart):
            chart.cycle_smoothing()

    def action_cross(self, steps: int) -> None:
        """Read values."""
        for chart in self.query(Chart):
            chart.move_cross(steps)

    def action_zoom(self, factor: float) -> None:
        """Zoom."""
        for chart in self.query(Chart):
            chart.zoom(factor)

    def action_pan(self, share: float) -> None:
        """Pan."""
        for chart in self.query(Chart):
            chart.pan(share)

    def action_full(self) -> None:
        """Give the chart the whole page, or take it back."""
        if self.maximized is None:
            self.maximize(self.chart, container=False)
        else:
            self.minimize()
        self.redraw()

    def action_whole(self) -> None:
        """Leave full screen, or show the whole chart again."""
        if self.maximized is not None:
            self.minimize()
            return
        for chart in self.query(Chart):
            chart.reset()


class ComparingPage(ChartPage):
    """A page that says what runs can tell apart; SciPy works it out in a thread, so that no key has to wait for it."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._asked_for: tuple[Group, ...] = ()
        self._findings: dict[tuple[Group, ...], Findings] = {(): Findings()}
        """The latest last."""

    def findings_for(self, groups: Sequence[Group]) -> Findings | None:
        """Return what named test accuracies say; what is not known yet is drawn as soon as it is.

        Until then the same names' findings from a moment ago stand there, so that nothing jumps.
        """
        asked = tuple(groups)
        if asked in self._findings:
            return self._findings[asked]
        if asked != self._asked_for:
            self._asked_for = asked
            self._find(asked)
        names = [group.name for group in asked]
        before = (known for known in reversed(self._findings) if [group.name for group in known] == names)
        return self._findings.get(next(before, asked))

    @work(thread=True, exclusive=True, group="statistics")
    def _find(self, groups: tuple[Group, ...]) -> None:
        findings = findings_of(groups)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._found, groups, findings)

    def _found(self, groups: tuple[Group, ...], findings: Findings) -> None:
        self._findings[groups] = findings
        if len(self._findings) > FINDINGS_KEPT:
            del self._findings[next(iter(self._findings))]
        if self.is_current:
            self.show_findings()

    def show_findings(self) -> None:
        """Draw what runs can tell apart, which is known now."""
        self.redraw()
