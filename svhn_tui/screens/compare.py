"""Page 4: the configurations of a question side by side; what the runs can tell apart stands before the curves."""

from statistics import fmean
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from svhn_tui import words
from svhn_tui.curves import METRICS, mean_band
from svhn_tui.presets import Presets
from svhn_tui.progress import Row, progress_of
from svhn_tui.screens.page import CHART_KEYS, ChartPage
from svhn_tui.state import State
from svhn_tui.statistics import pairwise, summary_of
from svhn_tui.themes import dim_of, line_colors
from svhn_tui.widgets.chart import Chart

VERDICTS = 3


class ComparePage(ChartPage):
    """A table, a verdict, and curves with their spread."""

    TITLE_IN_BAR = "Compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "other(1)", "next question"),
        Binding("up,k", "other(-1)", "question before", show=False),
        *CHART_KEYS,
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._questions = [question for question in book.questions if len(question.networks) > 1]
        self._chosen = 0

    def body(self) -> ComposeResult:
        """Table and verdict, then the chart."""
        with Vertical(id="live"):
            yield Static(id="about")
            yield Chart()

    def action_other(self, step: int) -> None:
        """Compare another question's configurations."""
        if self._questions:
            self._chosen = (self._chosen + step) % len(self._questions)
            self.redraw()

    def show(self, state: State) -> None:
        """Draw the comparison."""
        self.set_class(self.size.width < 100, "narrow")
        chart = self.query_one(Chart)
        chart.display = bool(self._questions)
        if not self._questions:
            self.query_one("#about", Static).update("No question has several configurations to compare.")
            return
        question = self._questions[self._chosen]
        rows = progress_of(question, self.book, state).rows
        theme = self.app.current_theme
        page = Table.grid(expand=True)
        done = sum(row.done for row in rows)
        page.add_row(Text.assemble((f"{question.id}  {question.title}", "bold"), (f"   {done} runs", dim_of(theme))))
        page.add_row(self._table(rows, state))
        page.add_row(self._verdicts(rows))
        self.query_one("#about", Static).update(page)
        self.watch_histories(tuple(run_id for row in rows for run_id in row.runs))
        series = []
        for row, color in zip(rows, line_colors(theme) * 2, strict=False):
            histories = [history for run_id in row.runs if (history := state.history(run_id)).epochs]
            if histories:
                series.append(mean_band(row.configuration.network.label, histories, self.metric, color))
        epochs = rows[0].configuration.training.epochs
        chart.show(f"{METRICS[self.metric]}  mean ± std", series, length=epochs)

    def _verdicts(self, rows: tuple[Row, ...]) -> Text:
        found = pairwise([(row.configuration.network.label, row.accuracies) for row in rows])
        if not found:
            return Text("\nTwo runs of two configurations are needed to compare.", dim_of(self.app.current_theme))
        lines = [
            f"{sentence}  difference {comparison.difference:+.4f}, "
            f"interval {comparison.interval[0]:+.4f} to {comparison.interval[1]:+.4f}"
            for sentence, comparison in found[:VERDICTS]
        ]
        return Text("\n" + "\n".join(lines), "bold")

    def _table(self, rows: tuple[Row, ...], state: State) -> Table:
        theme, is_wide = self.app.current_theme, self.size.width >= 100
        table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, 2, 0, 0))
        table.add_column("configuration", no_wrap=True)
        wide = ("95 % interval", "train − test", "s a run", "last 10 epochs")
        for name in ("runs", "test accuracy", "parameters", *(wide if is_wide else ())):
            table.add_column(name, justify="right", no_wrap=True)
        for row, color in zip(rows, line_colors(theme) * 2, strict=False):
            accuracy = Text(words.accuracy(row.mean), "bold")
            accuracy.append(f" ± {words.accuracy(row.deviation)}" if row.deviation is not None else "", dim_of(theme))
            table.add_row(
                Text.assemble(("● ", color), row.configuration.network.label),
                f"{row.done}/{row.needed}",
                accuracy,
                words.count(row.parameters),
                *(self._wide(row, state) if is_wide else ()),
            )
        return table

    def _wide(self, row: Row, state: State) -> tuple[str, ...]:
        runs = [state.results[run_id] for run_id in row.runs if run_id in state.results]
        if not runs:
            return ("–", "–", "–", "–")
        interval = summary_of(row.accuracies).interval
        gaps = [run.accuracy - run.test_accuracy for run in runs if run.accuracy is not None]
        slopes = [run.slope for run in runs if run.slope is not None]
        errors = [run.slope_error for run in runs if run.slope_error is not None]
        return (
            f"{words.accuracy(interval[0])} to {words.accuracy(interval[1])}" if interval else "–",
            words.accuracy(fmean(gaps)) if gaps else "–",
            f"{fmean(run.seconds for run in runs):.1f}",
            trend(fmean(slopes), fmean(errors) / len(errors) ** 0.5) if slopes and errors else "–",
        )


def trend(slope: float, error: float) -> str:
    """Say in a word whether a curve still moves: its slope against two standard errors."""
    if abs(slope) <= 2 * error:
        return "flat"
    return "still rising" if slope > 0 else "falling"
