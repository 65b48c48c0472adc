"""The chosen question: its text, its runs' figures and curves, and its answer."""

from collections.abc import Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from engine.core.curve import Curve
from svhn_tui import words
from svhn_tui.analysis.comparison import AccuracySample
from svhn_tui.analysis.metrics import METRICS, drawn_of, metric_named
from svhn_tui.analysis.progress import (
    Progress,
    shown_of,
)
from svhn_tui.assignment.answers import Answer
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.assignment.keras_code import code_of
from svhn_tui.charts.curves import divergence_of, mean_band
from svhn_tui.charts.plot import Series
from svhn_tui.client.state import Live, State
from svhn_tui.pages.findings import FindingsCache
from svhn_tui.pages.question_text import (
    answer_line,
    beneath_rows,
    facts_page,
    head_of,
    names_in,
    rows_of,
    shared_settings,
)
from svhn_tui.presets import Presets, Question
from svhn_tui.themes import dim_of
from svhn_tui.widgets.bars import bar_of
from svhn_tui.widgets.chart_board import ChartBoard
from svhn_tui.widgets.colors import line_style
from svhn_tui.widgets.sheet import Sheet

NARROW, TALL = 100, 30
"""Width and height of the window, in cells, from which there is more room."""
VERDICTS = 3
"""Most sentences about differences; the Compare page has all of them."""


class QuestionPane(VerticalScroll, can_focus=False):
    """Shows one question; `findings` is the cache of its page."""

    def __init__(self, book: Presets, findings: FindingsCache) -> None:
        super().__init__(id="question")
        self._book, self._findings = book, findings
        self.charts = ChartBoard(tuple(METRICS))
        self._about, self._below = Sheet(id="about"), Sheet(id="below")
        self._shown: tuple[Question, Progress, State] | None = None

    def compose(self) -> ComposeResult:
        """Compose question, curves and answer."""
        yield self._about
        yield self.charts
        yield self._below

    def show(self, question: Question, progress: Progress, answer: Answer, state: State) -> None:
        """Draw a question."""
        shown = shown_of(progress, state)
        self._shown = question, shown, state
        self.show_about()
        self._show_chart(shown, state)
        self._below.update(self._text_below(progress, answer, state))

    def show_about(self) -> None:
        """Draw the part above the curves, since other findings are known."""
        if self._shown is not None:
            self._about.update(self._text_above(*self._shown))

    def _text_above(self, question: Question, progress: Progress, state: State) -> Stack:
        theme, is_wide = self.app.current_theme, self.screen.size.width >= NARROW
        data = words.clean(self._book.data_of(question))
        shared = ", ".join(filter(None, (f"data {data}" if data else "", shared_settings(progress))))
        parts: list[RenderableType] = [head_of(question, shared, theme, is_wide=is_wide)]
        if question.kind == "code" and state.data is not None:
            on = state.on(self._book.data_of(question))
            code = code_of(question, self._book, on.shape, on.train_images)
            parts.append(Text(f"\n{code}", overflow="fold"))
        if progress.rows:
            parts += ["", rows_of(progress, theme, is_wide=is_wide)]
            verdicts = self._verdicts(progress)
            parts.append(Text("\n".join(["", *verdicts]), "bold") if verdicts else "")
        is_short = self.screen.size.height < TALL
        parts.extend(Text(text, dim_of(theme)) for text in beneath_rows(progress, state, is_short=is_short))
        if question.evidence:
            parts.append(facts_page(question, facts_of(question, self._book, state), state, theme))
        return Stack(*parts)

    def _verdicts(self, progress: Progress) -> list[str]:
        """Return the significant differences; short windows have room for the first one only."""
        named = [
            AccuracySample(name, row.accuracies) for name, row in zip(names_in(progress), progress.rows, strict=True)
        ]
        findings = self._findings.of(named)
        sentences = [sentence for sentence, _ in findings.verdicts] if findings else []
        most = VERDICTS if self.screen.size.height >= TALL else 1
        more = len(sentences) - most
        return [*sentences[:most], *([f"and {more} more: 4 compares them"] if more > 0 and most > 1 else [])]

    def _show_chart(self, progress: Progress, state: State) -> None:
        self.charts.display = bool(progress.rows)
        if not progress.rows:
            return
        series: list[Series] = []
        runs = [run_id for row in progress.rows for run_id in row.runs]
        self.charts.offer(drawn_of(map(state.history, runs)))
        ((chart, metric),) = self.charts.shown
        named: list[tuple[str, Curve]] = []
        for index, (name, row) in enumerate(zip(names_in(progress), progress.rows, strict=True)):
            histories = [history for run_id in row.runs if (history := state.history(run_id)).epochs]
            named += [(name, history) for history in histories]
            if histories:
                series.append(mean_band(name, histories, metric, *line_style(index, self.app.current_theme)))
        several = "mean ± std over seeds" if any(row.needed > 1 for row in progress.rows) else ""
        epochs = progress.rows[0].configuration.training.epochs
        diverged = divergence_of(named)
        chart.show(metric_named(metric).title, series, length=epochs, note=diverged or several, empty=diverged)

    def _text_below(self, progress: Progress, answer: Answer, state: State) -> Text:
        theme = self.app.current_theme
        if not state.caught_up:
            return Text(words.clean(state.lacking), dim_of(theme))
        if state.data is None:
            return Text("Opening the data…", dim_of(theme))
        lines = []
        rows = shown_of(progress, state).rows
        running = [state.running[run_id] for row in rows for run_id in row.runs if run_id in state.running]
        if running:
            lines.append(self._running_line(running))
        if answer.text is not None:
            lines.append(answer_line(answer, theme))
        if not lines and progress.missing and not is_fresh(state):
            lines.append(Text("enter trains the missing runs", dim_of(theme)))
        return Text("\n").join(lines)

    def _running_line(self, running: Sequence[Live]) -> Text:
        theme, live = self.app.current_theme, running[0]
        epochs, done = live.spec.configuration.training.epochs, live.history.epochs
        others = f" and {len(running) - 1} more" if len(running) > 1 else ""
        name = f"{live.spec.configuration.network_label} seed {live.spec.seed}{others}"
        text = f"  epoch {done} of {epochs}, {words.duration(live.seconds_left)} left"
        room = self._below.content_size.width - len(name) - len(text) - 2
        line = Text.assemble(f"{name}  ", (bar_of(done / epochs, max(4, min(40, room))), str(theme.primary)), text)
        line.no_wrap, line.overflow = True, "ellipsis"
        return line


def is_fresh(state: State) -> bool:
    """Say whether nothing was ever trained in this workspace, so that the program introduces itself."""
    return state.caught_up and not (state.results or state.live or state.queue)
