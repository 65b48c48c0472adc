"""Page 4: configurations side by side; what the runs can tell apart stands before the curves."""

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.reactive import reactive
from textual.theme import Theme
from textual.widgets import Static

from svhn_tui import words
from svhn_tui.comparison import (
    MOST,
    Findings,
    Side,
    most_complete,
    names_of,
    settings_that_differ,
    sides_of_question,
    sides_of_runs,
)
from svhn_tui.curves import METRICS, mean_band
from svhn_tui.presets import Presets, Question
from svhn_tui.screens.page import CHART_KEYS, ComparingPage
from svhn_tui.state import State
from svhn_tui.statistics import LEVEL, Comparison, Summary
from svhn_tui.themes import dim_of
from svhn_tui.widgets.chart import Chart
from svhn_tui.widgets.colors import look_of

NARROW, WIDE = 100, 120
TALL = 30
VERDICTS = 3
SETTINGS = 3
"""Settings that get a column each; where more differ, the configurations' names say it."""


class ComparePage(ComparingPage):
    """A table, a verdict, and curves with their spread."""

    TITLE_IN_BAR = "Compare"
    CSS = "ComparePage #second { margin: 0 0 0 3; } ComparePage #about { padding: 0 0 1 0; }"
    METRICS: ClassVar[tuple[str, ...]] = ("test_accuracy", "accuracy", "test_loss", "loss", "gap")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "other(1)", "next question"),
        Binding("up,k", "other(-1)", "question before", show=False),
        Binding("a", "axis", "epochs or seconds", show=False),
        *CHART_KEYS,
    ]
    selected: reactive[tuple[str, ...]] = reactive(())
    """Runs that were chosen to be compared; without any, a question's configurations are."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._questions = [question for question in book.questions if len(question.networks) > 1]
        self._chosen: Question | None = None
        self._by_seconds = False

    def body(self) -> ComposeResult:
        """Table and verdict, then the charts."""
        with Vertical(id="live"):
            yield Static(id="about")
            with Horizontal(id="curves"):
                yield Chart()
                yield Chart(id="second")

    def watch_selected(self) -> None:
        """Compare what was chosen."""
        self.redraw()

    def action_other(self, step: int) -> None:
        """Compare another question's configurations."""
        if self._questions:
            question = self._question(self.state)
            place = self._questions.index(question) + step if question is not None and not self.selected else 0
            self._chosen = self._questions[place % len(self._questions)]
            self.selected = ()
            self.redraw()

    def action_axis(self) -> None:
        """Count epochs or seconds."""
        self._by_seconds = not self._by_seconds
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
        """Draw the comparison."""
        self.set_class(self.size.width < NARROW, "narrow")
        about, curves = self.query_one("#about", Static), self.query_one("#curves")
        every = sides_of_runs(self.selected, state) if self.selected else self._sides(state)
        sides, theme = every[:MOST], self.app.current_theme
        known = [side for side in sides if any(state.history(run_id).epochs for run_id in side.runs)]
        curves.display = bool(known) or any(side.results for side in sides)
        self.watch_histories(tuple(run_id for side in sides for run_id in side.runs))
        if not sides or not curves.display:
            about.update(self._empty(state, theme))
            return
        names = names_of([side.configuration for side in sides])
        page = Table.grid(expand=True)
        page.add_row(self._head(sides, len(every), state))
        page.add_row(Text(""))
        page.add_row(self._table(sides, names))
        page.add_row(Text(""))
        page.add_row(self._verdicts(sides, names))
        about.update(page)
        self._show_charts(sides, names, state)

    def _question(self, state: State) -> Question | None:
        return self._chosen or most_complete(self._questions, self.book, state)

    def _sides(self, state: State) -> tuple[Side, ...]:
        question = self._question(state)
        return sides_of_question(question, self.book, state) if question else ()

    def _head(self, sides: Sequence[Side], every: int, state: State) -> Text:
        question = None if self.selected else self._question(state)
        title = f"{question.id}  {words.clean(question.title)}" if question else "the chosen runs"
        done, needed = sum(len(side.results) for side in sides), sum(len(side.runs) for side in sides)
        said = f"{done} of {words.plural(needed, 'run')}"
        if every > MOST:
            said += f" · the first {MOST} of {every} configurations"
        differing = [name for name, _ in settings_that_differ([side.configuration for side in sides])]
        if len(differing) == 1:
            said += f" · they differ only in the {differing[0]}"
        line = Text.assemble((title, "bold"), (f"   {said}", dim_of(self.app.current_theme)))
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _findings_of(self, sides: Sequence[Side], names: Sequence[str]) -> Findings | None:
        clear = (f"({name})" if ", " in name and "(" not in name else name for name in names)
        return self.findings_for([(name, side.accuracies) for name, side in zip(clear, sides, strict=True)])

    def _verdicts(self, sides: Sequence[Side], names: Sequence[str]) -> Text:
        theme = self.app.current_theme
        findings = self._findings_of(sides, names)
        if findings is None:
            return Text("Comparing…", dim_of(theme))
        if not findings.verdicts:
            return Text("The verdict needs two finished runs of two configurations.", dim_of(theme))
        most = VERDICTS if self.size.height >= TALL else 1
        shown = findings.verdicts[:most]
        lines = [
            Text.assemble((sentence, "bold"), (f"  {figures_of(found)}", dim_of(theme)), no_wrap=True)
            for sentence, found in shown
        ]
        if len(findings.verdicts) > most:
            lines[-1].append(f"  and {len(findings.verdicts) - most} more below it", dim_of(theme))
        text = Text("\n").join(lines)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text

    def _table(self, sides: Sequence[Side], names: Sequence[str]) -> Table:
        theme, is_wide = self.app.current_theme, self.size.width >= NARROW
        findings = self._findings_of(sides, names)
        summaries = findings.summaries if findings else (None,) * len(sides)
        differing = settings_that_differ([side.configuration for side in sides])
        if not 1 <= len(differing) <= SETTINGS or (not is_wide and len(differing) > 1):
            differing = (("configuration", tuple(names)),)
        table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, 2, 0, 0))
        for name, _ in differing:
            table.add_column(f"  {name}" if name == differing[0][0] else name, no_wrap=True)
        wide = ("95 % interval", "train − test", "parameters", "s a run") if is_wide else ("train − test",)
        for name in ("runs", "test accuracy", *wide):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("convergence", no_wrap=True)
        for index, (side, summary) in enumerate(zip(sides, summaries, strict=True)):
            color, mark = look_of(index, theme)
            settings = [column[index] for _, column in differing]
            first = Text.assemble((f"{mark} ", color), (settings[0], "bold"))
            table.add_row(first, *settings[1:], *_cells(side, summary, theme, is_wide=is_wide))
        return table

    def _show_charts(self, sides: Sequence[Side], names: Sequence[str], state: State) -> None:
        first, second = self.query(Chart)
        second.display = self.size.width >= WIDE
        other = "gap" if self.metric != "gap" else "test_accuracy"
        for chart, metric in ((first, self.metric), (second, other)):
            series = []
            for index, (side, name) in enumerate(zip(sides, names, strict=True)):
                histories = [history for run_id in side.runs if (history := state.history(run_id)).epochs]
                if histories:
                    look = look_of(index, self.app.current_theme)
                    series.append(mean_band(name, histories, metric, *look, by_seconds=self._by_seconds))
            epochs = max(side.configuration.training.epochs for side in sides)
            chart.show(
                METRICS[metric],
                series,
                length=None if self._by_seconds else epochs,
                note="mean ± std" if any(len(side.runs) > 1 for side in sides) else "",
                x_label="seconds" if self._by_seconds else "epoch",
            )

    def _empty(self, state: State, theme: Theme) -> Text:
        if not state.caught_up:
            return Text("Starting the engine…", dim_of(theme))
        question = self._question(state)
        title = f"{question.id}  {words.clean(question.title)}\n" if question else ""
        return Text.assemble(
            (title, "bold"),
            "No run to compare yet.\n",
            ("1 opens the questions; enter there trains what is missing.", dim_of(theme)),
        )


def figures_of(found: Comparison) -> str:
    """Write down the interval of a difference, and what the sentence lacks where nothing was told apart."""
    low, high = (words.accuracy(value).replace("-", words.MINUS) for value in found.interval)
    interval = f"95 % interval {low} to {high}"
    if found.p < LEVEL:
        return interval
    difference = words.accuracy(found.difference).replace("-", words.MINUS)
    return f"difference {difference}, {interval}, p = {found.p:.2f}"


def _cells(side: Side, summary: Summary | None, theme: Theme, *, is_wide: bool) -> list[Text | str]:
    dim = dim_of(theme)
    done = f"{len(side.results)}/{len(side.runs)}" if len(side.results) < len(side.runs) else f"{len(side.results)}"
    accuracy = Text.assemble((words.accuracy(summary.mean if summary else None), "bold"))
    if summary is not None and summary.deviation is not None:
        accuracy.append(f" ± {words.accuracy(summary.deviation)}", dim)
    cells: list[Text | str] = [done, accuracy]
    if is_wide:
        interval = summary.interval if summary else None
        cells.append(" – ".join(map(words.accuracy, interval)) if interval else "–")
    cells.append(words.accuracy(side.gap, 3).replace("-", words.MINUS))
    if is_wide:
        cells += [words.count(side.parameters), "–" if side.seconds is None else f"{side.seconds:.0f}"]
    cells.append(Text(side.convergence, str(theme.warning) if side.convergence == "still rising" else dim))
    return cells
