"""Charts side by side with the keys that they share: metric, axis, zoom, cross-hair and the full page."""

from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message

from svhn_tui.widgets.chart import Chart

METRIC, READ, ZOOM, PAN = (Binding.Group(name) for name in ("metric", "read values", "zoom", "pan"))
CHART_KEYS: list[Binding] = [
    Binding("m", "chart('metric')", "the next metric", group=METRIC),
    Binding("M", "chart('other_metric')", "the next metric on the right", group=METRIC),
    Binding("f", "chart('full')", "full", tooltip="full-screen chart, and back"),
    Binding("y", "chart('log')", "log", tooltip="logarithmic values"),
    Binding("e", "chart('smooth')", "smooth", tooltip="smooth the curves"),
    Binding("left", "chart('cross', -1)", "previous values", group=READ, priority=True),
    Binding("right", "chart('cross', 1)", "next values", group=READ, priority=True),
    Binding("plus", "chart('zoom', 0.5)", "zoom in", group=ZOOM),
    Binding("minus", "chart('zoom', 2.0)", "zoom out", group=ZOOM),
    Binding("equals_sign", "chart('zoom', 0.5)", "zoom in", show=False),
    Binding("shift+left", "chart('pan', -0.25)", "pan to the left", group=PAN),
    Binding("shift+right", "chart('pan', 0.25)", "pan to the right", group=PAN),
    Binding("escape", "chart('whole')", "whole chart", show=False,
            tooltip="leave the full-screen chart; show the whole chart again"),
]  # fmt: skip
"""Bindings of every page with charts, which forwards their actions to its board."""
AXIS_KEY = Binding("a", "chart('axis')", "seconds", tooltip="epochs or seconds")
TRACES_KEY = Binding("t", "chart('traces')", "traces", tooltip="single traces, or mean and spread")


class ChartBoard(Horizontal):
    """Shows one chart, or two with different metrics; actions apply to both."""

    DEFAULT_CSS = "ChartBoard #second { margin: 0 0 0 3; }"

    class Changed(Message):
        """Another metric or axis was chosen, and the charts have to be drawn."""

    def __init__(self, metrics: Sequence[str], *, charts: int = 1, id: str | None = None) -> None:
        super().__init__(id=id)
        self.charts = (Chart(), Chart(id="second"))[:charts]
        self.by_seconds = False
        """Whether the x axis is in seconds; epochs otherwise."""
        self.shows_traces = False
        """Whether runs are drawn one by one; mean and spread otherwise."""
        self._metrics = tuple(metrics)
        self._drawn = [metrics[0], metrics[-1]]

    def compose(self) -> ComposeResult:
        """Compose the charts side by side."""
        yield from self.charts

    def offer(self, metrics: Sequence[str]) -> None:
        """Set the metrics that keys can choose; a chart of another one changes to the first or the last of them."""
        self._metrics = tuple(metrics)
        ends = (metrics[0], metrics[-1])
        self._drawn = [name if name in metrics else end for name, end in zip(self._drawn, ends, strict=True)]

    @property
    def metric(self) -> str:
        """The metric of the first chart."""
        return self._drawn[0]

    @property
    def shown(self) -> Iterator[tuple[Chart, str]]:
        """All charts with their metrics."""
        return zip(self.charts, self._drawn, strict=False)

    @property
    def _seen(self) -> int:
        """The number of visible charts."""
        is_full = self.is_mounted and self.screen.maximized is not None
        return 1 if is_full else sum(chart.display for chart in self.charts)

    def offers(self, verb: str) -> bool:
        """Say whether a key of the charts has an effect now: a chart with points is visible, or two are."""
        chart = self.charts[0]
        if chart.is_empty or not all(widget.display for widget in (chart, self)):
            return False
        return self._seen > (verb == "other_metric")

    def do(self, verb: str, amount: float = 0) -> None:
        """Carry out the action of a key; `amount` is the cross-hair's steps, the zoom's factor or the pan's share."""
        match verb:
            case "metric" | "other_metric":
                self._turn(index=int(verb == "other_metric"))
                self.post_message(self.Changed())
            case "axis":
                self.by_seconds = not self.by_seconds
                self.post_message(self.Changed())
            case "traces":
                self.shows_traces = not self.shows_traces
                self.post_message(self.Changed())
            case "full" | "whole" if self.screen.maximized is not None:
                self.screen.minimize()
            case "full":
                self.screen.maximize(self.charts[0], container=False)
            case _:
                for chart in self.charts:
                    _do_to(chart, verb, amount)

    def _turn(self, *, index: int) -> None:
        """Draw the next metric in a chart; two visible charts never draw the same one."""
        other = self._drawn[1 - index] if sum(chart.display for chart in self.charts) > 1 else ""
        later = self._metrics.index(self._drawn[index]) + 1
        self._drawn[index] = next(name for name in (*self._metrics[later:], *self._metrics) if name != other)


def _do_to(chart: Chart, verb: str, amount: float) -> None:
    match verb:
        case "log":
            chart.toggle_log()
        case "smooth":
            chart.cycle_smoothing()
        case "cross":
            chart.move_cross(int(amount))
        case "zoom":
            chart.zoom(amount)
        case "pan":
            chart.pan(amount)
        case "whole":
            chart.reset()
