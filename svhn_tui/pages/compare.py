"""Page 4: configurations side by side; significant differences are listed before the curves."""

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.reactive import reactive
from textual.theme import Theme
from textual.widgets import Static

from engine import protocol as p
from engine.core.curve import Curve
from svhn_tui import words
from svhn_tui.analysis.comparison import (
    MOST,
    AccuracySample,
    Findings,
    Side,
    most_complete,
    names_of_sides,
    sides_chosen,
    sides_of_question,
)
from svhn_tui.analysis.metrics import METRICS, drawn_of, metric_named
from svhn_tui.analysis.progress import progress_of, shown_of
from svhn_tui.charts.curves import divergence_of, mean_band
from svhn_tui.charts.plot import Series
from svhn_tui.client.state import State
from svhn_tui.pages.compare_classes import Predictions, class_page
from svhn_tui.pages.compare_text import NARROW, TALL, figures_of, only_difference, sides_table
from svhn_tui.pages.findings import FindingsCache
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets, Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.chart_board import AXIS_KEY, CHART_KEYS, ChartBoard
from svhn_tui.widgets.colors import line_style
from svhn_tui.widgets.sheet import Sheet

WIDE = 120
VERDICTS = 3


class ComparePage(Page):
    """Shows a table, a verdict, and either curves with their spread or accuracies by class."""

    TITLE_IN_BAR = "Compare"
    CSS = """
    ComparePage #about { padding: 0 0 1 0; }
    ComparePage #classes { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "other(1)", "next question", tooltip="compare within the next question"),
        Binding("up,k", "other(-1)", "question before", show=False, tooltip="compare within the question before"),
        Binding("d", "classes", "by class", tooltip="class by class, or curves"),
        Binding("n", "pair", "next pair", tooltip="the difference of the next pair"),
        *CHART_KEYS,
        AXIS_KEY,
    ]
    selected: reactive[tuple[str, ...]] = reactive(())
    """The runs to compare; empty: the configurations of a question."""

    charts: ChartBoard

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self.charts = ChartBoard(tuple(METRICS), charts=2, id="curves")
        self._findings = FindingsCache(self, self.redraw)
        self._questions = [question for question in book.questions if len(question.networks) > 1]
        self._chosen: Question | None = None
        self._by_class = False
        self._pair = 1
        self._looked_at: set[str] = set()

    def body(self) -> ComposeResult:
        """Compose table, verdict, charts and classes."""
        with Vertical(id="live"):
            yield Sheet(id="about")
            yield self.charts
            with VerticalScroll(id="classes"):
                yield Static(id="matrix")

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Compare these runs."""
        self.selected = subjects

    def watch_selected(self) -> None:
        """Draw the comparison of other runs."""
        self.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer pairs if there are several, and classes if runs are finished."""
        if self.is_mounted and action in ("classes", "pair"):
            done = sum(bool(side.results) for side in self._sides(self.state))
            return bool(done) if action == "classes" else self._by_class and done > 2
        return super().check_action(action, parameters)

    def action_other(self, step: int) -> None:
        """Compare another question's configurations."""
        if self._questions:
            question = self._question(self.state)
            index = self._questions.index(question) + step if question is not None and not self.selected else 0
            self._chosen = self._questions[index % len(self._questions)]
            self.selected = ()
            self.redraw()

    def action_classes(self) -> None:
        """Switch between classes and curves."""
        self._by_class = not self._by_class
        self.redraw()

    def action_pair(self) -> None:
        """Compare the best run with the next of the others."""
        self._pair += 1
        self.redraw()

    def show(self, state: State) -> None:
        """Draw the comparison."""
        self.set_class(self.size.width < NARROW, "narrow")
        about = self.query_one("#about", Sheet)
        every, theme = self._sides(state), self.app.current_theme
        sides = every[:MOST]
        is_known = any(side.results or state.history(run_id).epochs for side in sides for run_id in side.runs)
        self.query_one("#classes").display = is_known and self._by_class
        self.charts.display = is_known and not self._by_class
        self.watch_histories(tuple(run_id for side in sides for run_id in side.runs))
        if not is_known:
            about.update(self._empty(state, theme))
            return
        names = names_of_sides(sides)
        findings = self._findings_of(sides, names)
        table = sides_table(sides, names, findings, theme, width=self.size.width)
        about.update(Stack(self._head(sides, len(every), state), "", table, "", self._verdicts(sides, names)))
        if self._by_class:
            self.query_one("#matrix", Static).update(self._class_page(sides, names, state))
        else:
            self._show_charts(sides, names, state)

    def _question(self, state: State) -> Question | None:
        return self._chosen or most_complete(self._questions, self.book, state)

    def _sides(self, state: State) -> tuple[Side, ...]:
        if self.selected:
            return sides_chosen(self.selected, state)
        question = self._question(state)
        return sides_of_question(question, self.book, state) if question else ()

    def _class_page(self, sides: Sequence[Side], names: Sequence[str], state: State) -> Table:
        """Compare the first run of each side, class by class; of several data sets, only those on the first one."""
        theme, fingerprint = self.app.current_theme, sides[0].data if sides else ""
        data = state.about(fingerprint).data
        labels = data.labels if data is not None else ()
        firsts = [side.results[0] if side.results and side.data == fingerprint else None for side in sides]
        done = [run for run in firsts if run is not None and not run.is_recorded]
        self._look_at([run.run_id for run in done], state)
        seen = [
            Predictions(name, line_style(index, theme), inspected.confusion)
            for index, (name, run) in enumerate(zip(names, firsts, strict=True))
            if run is not None and (inspected := state.inspected.get(run.run_id)) is not None
            if len(inspected.confusion) == len(labels)
        ]
        seeds = {run.spec.seed for run in done}
        note = f"Seed {done[0].spec.seed} of each. " if len(seeds) == 1 else ""
        problems = [
            inspected.problem for run in done if (inspected := state.inspected.get(run.run_id)) and inspected.problem
        ]
        note = "Looking at more… " if len(seen) + len(problems) < len(done) else note
        note = f"Not all can be looked at: {words.clean(problems[0])} " if problems else note
        if data is not None and any(side.data != fingerprint for side in sides):
            note = f"On {words.clean(data.name)} alone. {note}"
        return class_page(seen, labels, theme, pair=self._pair, note=note, width=self.size.width - 4)

    def _look_at(self, runs: Sequence[str], state: State) -> None:
        """Request the predictions of runs, one run at a time: each request starts a process that loads Keras."""
        unknown = [run_id for run_id in runs if run_id not in state.inspected]
        if unknown and not self._looked_at & set(unknown):
            self._looked_at.add(unknown[0])
            self.request(p.Inspect(run_id=unknown[0]))

    def _head(self, sides: Sequence[Side], every: int, state: State) -> Text:
        question = None if self.selected else self._question(state)
        title = f"{question.id}  {words.clean(question.title)}" if question else "the chosen runs"
        done, needed = sum(len(side.results) for side in sides), sum(len(side.runs) for side in sides)
        text = f"{done} of {words.plural(needed, 'run')}"
        if question and (data := self.book.data_of(question)):
            text += f" · on {words.clean(data)}"
        if every > MOST:
            text += f" · the first {MOST} of {every} configurations"
        if question and (other := shown_of(progress_of(question, self.book, state), state).other):
            text += f" · not as asked: {other}"
        if difference := only_difference(sides):
            text += f" · they differ only in the {difference}"
        line = Text.assemble((title, "bold"), (f"   {text}", dim_of(self.app.current_theme)))
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _findings_of(self, sides: Sequence[Side], names: Sequence[str]) -> Findings | None:
        clear = (f"({name})" if ", " in name and "(" not in name else name for name in names)
        return self._findings.of(
            [AccuracySample(name, side.accuracies, side.bests) for name, side in zip(clear, sides, strict=True)]
        )

    def _verdicts(self, sides: Sequence[Side], names: Sequence[str]) -> Text:
        theme = self.app.current_theme
        findings = self._findings_of(sides, names)
        if findings is None:
            return Text("Comparing…", dim_of(theme))
        if not findings.verdicts:
            return Text("The verdict needs two configurations with at least two finished runs each.", dim_of(theme))
        most = VERDICTS if self.size.height >= TALL else 1
        shown = findings.verdicts[:most]
        lines = [
            Text.assemble((sentence, "bold"), (f"  {figures_of(comparison)}", dim_of(theme)), no_wrap=True)
            for sentence, comparison in shown
        ]
        if len(findings.verdicts) > most:
            lines[-1].append(f"  and {len(findings.verdicts) - most} more below it", dim_of(theme))
        text = Text("\n").join(lines)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text

    def _show_charts(self, sides: Sequence[Side], names: Sequence[str], state: State) -> None:
        self.charts.charts[1].display = self.size.width >= WIDE
        self.charts.offer(drawn_of(state.history(run_id) for side in sides for run_id in side.runs))
        for chart, metric in self.charts.shown:
            series: list[Series] = []
            named: list[tuple[str, Curve]] = []
            for index, (side, name) in enumerate(zip(sides, names, strict=True)):
                histories = [history for run_id in side.runs if (history := state.history(run_id)).epochs]
                named += [(name, history) for history in histories]
                if histories:
                    look = line_style(index, self.app.current_theme)
                    series.append(mean_band(name, histories, metric, *look, by_seconds=self.charts.by_seconds))
            diverged, several = divergence_of(named), any(len(side.runs) > 1 for side in sides)
            epochs = max(side.configuration.training.epochs for side in sides)
            chart.show(
                metric_named(metric).title,
                series,
                length=None if self.charts.by_seconds else epochs,
                note=diverged or ("mean ± std" if several else ""),
                x_label="seconds" if self.charts.by_seconds else "epoch",
                empty=diverged,
            )

    def _empty(self, state: State, theme: Theme) -> Text:
        if not state.caught_up:
            return Text(words.clean(state.lacking), dim_of(theme))
        question = self._question(state)
        title = f"{question.id}  {words.clean(question.title)}\n" if question else ""
        others = "\n3 lists the finished runs: space selects runs, c compares them." if state.results else ""
        return Text.assemble(
            (title, "bold"),
            "No run to compare yet.\n",
            (f"1 opens the questions; enter there trains the missing runs.{others}", dim_of(theme)),
        )
