"""Page 1: the eleven questions; what each asks, how far it is, and what its runs say so far."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine import protocol as p
from engine.core import sweep as plan
from engine.core.curve import Curve
from svhn_tui import words
from svhn_tui.analysis.comparison import Group
from svhn_tui.analysis.launches import Launch
from svhn_tui.analysis.metrics import METRICS
from svhn_tui.analysis.progress import (
    Overrides,
    Progress,
    cheapest_first,
    plan_text,
    progress_of,
    shown_of,
    sweep_for,
)
from svhn_tui.assignment.answers import Answer, answer_of
from svhn_tui.assignment.evidence import facts_of
from svhn_tui.assignment.keras_code import code_for
from svhn_tui.charts.curves import divergence_of, mean_band
from svhn_tui.charts.plot import Series
from svhn_tui.client.state import Live, State
from svhn_tui.dialogs.choosing import chosen_finalists, chosen_run, judged_statement
from svhn_tui.dialogs.dialogs import Confirm, RunWith
from svhn_tui.pages.findings import FindingsCache
from svhn_tui.pages.page import Page
from svhn_tui.pages.question_list import outcome_of, question_line, summary_of
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
from svhn_tui.widgets.chart_board import CHART_KEYS, ChartBoard
from svhn_tui.widgets.colors import look_of
from svhn_tui.widgets.options import MarkedOptions
from svhn_tui.widgets.sheet import Sheet

NARROW, ROOMY = 100, 160
"""Columns below which the list is made small, and from which it is made large."""
TALL = 30
VERDICTS = 3
"""Sentences that there is room for; all of them are on the Compare page."""
GREETING = """\
This trains the assignment's networks, and proves each answer and each file.
↑ ↓ choose a question, enter trains it, A trains all. Training outlives q.
1 to 6 open the pages, ? lists a page's keys, ^p finds everything by name."""


class QuestionsPage(Page):
    """The list on the left, the chosen question on the right."""

    TITLE_IN_BAR = "Questions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "train", priority=True, tooltip="train what is missing"),
        Binding("R", "launch_with", "run with…", tooltip="run with other epochs and seeds"),
        Binding("A", "launch_all", "all", tooltip="train the whole assignment"),
        Binding("h", "hand_in", "hand in…", tooltip="choose the run whose file is handed in"),
        Binding("w", "finalists", "finalists…", tooltip="choose the finalists by hand"),
        Binding("w", "statements", "statements…", tooltip="statements of the grader, and a verdict on each"),
        Binding("c", "copy", "copy", tooltip="copy the answer or the code"),
        Binding("s", "app.sweep", "sweep…", tooltip="a sweep of one's own"),
        Binding("pagedown", "turn(1)", "further down", show=False, priority=True),
        Binding("pageup", "turn(-1)", "further up", show=False, priority=True),
        *CHART_KEYS,
    ]

    charts: ChartBoard

    def __init__(self, book: Presets, chosen: str = "") -> None:
        super().__init__(book)
        self.charts = ChartBoard(("test_accuracy", "gap", "loss"))
        self._findings = FindingsCache(self, lambda: self._show_about(self.state))
        self._first = book.question(chosen) if chosen else book.questions[0]
        self._known: tuple[State, Mapping[str, Progress], Mapping[str, Answer]] | None = None

    def body(self) -> ComposeResult:
        """List and question."""
        yield Static(GREETING, id="greeting", markup=False)
        with Horizontal():
            with Vertical(id="questions"):
                listed = MarkedOptions(
                    *(Option(Text(question.title), id=question.id) for question in self.book.questions)
                )
                listed.highlighted = self.book.questions.index(self._first)
                yield listed
                yield Sheet(id="summary")
            with VerticalScroll(id="question", can_focus=False):
                yield Sheet(id="about")
                yield self.charts
                yield Sheet(id="below")

    @property
    def chosen(self) -> Question:
        """The question under the cursor: read from the list, which may be ahead of the messages that it sends."""
        place = self.query_one(OptionList).highlighted if self.is_mounted else None
        return self._first if place is None else self.book.questions[place]

    def turn_to(self, subject: str, origin: str) -> None:
        """Put the cursor on this question."""
        self._first = self.book.question(subject)
        if self.is_mounted:
            self.query_one(OptionList).highlighted = self.book.questions.index(self._first)

    def on_option_list_option_highlighted(self) -> None:
        """Show another question, and the keys that go with it."""
        if self.is_current:
            self._show_chosen(self.state)
            self.refresh_bindings()

    def action_launch(self) -> None:
        """Train what the chosen question lacks."""
        self._launch(Launch(self.chosen))

    @work
    async def action_launch_with(self) -> None:
        """Ask for other epochs and seeds, then train."""
        if (sweep := self.book.sweep(self.chosen, "")) is None:
            self.notify("This question needs no training.")
            return
        epochs, seeds = sweep.configurations[0].training.epochs, len(sweep.seeds)
        question = self.chosen
        overrides = await self.app.push_screen_wait(RunWith(f"{question.id}  {question.title}", epochs, seeds))
        if overrides is not None:
            self._launch(Launch(question, overrides))

    def action_copy(self) -> None:
        """Copy the answer or the code through the terminal."""
        text = answer_of(self.chosen, self.book, self.state).text
        if self.chosen.kind == "code" and self.state.data is not None:
            text = code_for(self.book.configurations(self.chosen)[0], self.state.shape)
        if text is None:
            self.notify("There is nothing to copy yet.")
            return
        self.copy(text)

    @work
    async def action_hand_in(self) -> None:
        """Choose the run whose file the question hands in."""
        self.want(await chosen_run(self.app, self.chosen, self.book, self.state))

    @work
    async def action_finalists(self) -> None:
        """Choose by hand who goes on to the second stage."""
        self.want(await chosen_finalists(self.app, self.chosen, self.book, self.state))

    @work
    async def action_statements(self) -> None:
        """Paste a statement of the grader's, or look at one again."""
        self.want(await judged_statement(self.app, self.chosen, self.book, self.state))

    def action_turn(self, pages: int) -> None:
        """Scroll what stands on the right."""
        pane = self.query_one("#question", VerticalScroll)
        pane.scroll_relative(y=pages * (pane.size.height - 2), animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the chosen question has: a file to hand in, finalists, statements."""
        if not self.is_mounted:
            return True
        is_trained = self.book.sweep(self.chosen, "") is not None
        offered = {
            "launch": is_trained,
            "launch_with": is_trained,
            "copy": self.chosen.kind == "code" or self.chosen.answer is not None,
            "hand_in": self.chosen.kind == "training",
            "finalists": self.chosen.finalists is not None,
            "statements": bool(self.chosen.evidence),
        }
        return offered[action] if action in offered else super().check_action(action, parameters)

    @work
    async def action_launch_all(self) -> None:
        """Train what the whole assignment lacks, the cheapest question first."""
        if not self.state.data_is_open:
            self.notify("The data is still being opened.", severity="warning")
            return
        found = (sweep_for(question, self.book, self.state, Overrides()) for question in self.book.assignment)
        sweeps = cheapest_first([*{sweep.sweep_id: sweep for sweep in found if sweep is not None}.values()], self.state)
        if not any(plan.missing(sweep, self.state.accuracies) for sweep in sweeps):
            self.notify("Everything is trained.")
            return
        told = f"The whole assignment: {plan_text(sweeps, self.state)}."
        if await self.app.push_screen_wait(Confirm(told)):
            for sweep in sweeps:
                self.want(p.Submit(sweep=sweep))

    def _launch(self, launch: Launch) -> None:
        """Train what a question lacks, now or as soon as the data is open, and say so."""
        if launch.needs_data(self.book, self.state):
            self.post_message(self.LaunchDeferred(launch))
            return
        command, said = launch.command(self.book, self.state)
        self.want(command)
        self.notify(said)

    def show(self, state: State) -> None:
        """Draw the list and the chosen question."""
        width = self.size.width
        self.set_class(width < NARROW, "narrow")
        self.set_class(width >= ROOMY, "roomy")
        self.query_one("#greeting", Static).display = is_fresh(state)
        self._show_list(*self._worked_out(state), state)
        self._show_chosen(state)

    def _show_chosen(self, state: State) -> None:
        progresses, answers = self._worked_out(state)
        progress, answer = progresses[self.chosen.id], answers[self.chosen.id]
        self._show_about(state)
        self._show_chart(shown_of(progress, state), state)
        self.query_one("#below", Sheet).update(self._below(progress, answer, state))

    def _show_about(self, state: State) -> None:
        progresses, _ = self._worked_out(state)
        self.query_one("#about", Sheet).update(self._about(shown_of(progresses[self.chosen.id], state), state))

    def _show_list(self, progresses: Mapping[str, Progress], answers: Mapping[str, Answer], state: State) -> None:
        listed, theme = self.query_one(OptionList), self.app.current_theme
        width = self.query_one("#questions").content_size.width or 30
        for index, question in enumerate(self.book.questions):
            progress, answer = progresses[question.id], answers[question.id]
            outcome = outcome_of(question, progress, answer, self.book, state, theme)
            line = question_line(question, progress, outcome, theme, width)
            if listed.get_option_at_index(index).prompt != line:
                listed.replace_option_prompt_at_index(index, line)
        self.query_one("#summary", Sheet).update(summary_of(progresses, state, theme, width))

    def _worked_out(self, state: State) -> tuple[Mapping[str, Progress], Mapping[str, Answer]]:
        """How far all questions are, and their answers: once a state, however often the cursor moves meanwhile."""
        if self._known is None or self._known[0] is not state:
            progresses = {question.id: progress_of(question, self.book, state) for question in self.book.questions}
            answers = {question.id: answer_of(question, self.book, state) for question in self.book.questions}
            self._known = (state, progresses, answers)
        return self._known[1:]

    def _about(self, progress: Progress, state: State) -> Stack:
        question, theme, is_wide = self.chosen, self.app.current_theme, self.size.width >= NARROW
        parts: list[RenderableType] = [head_of(question, shared_settings(progress), theme, is_wide=is_wide)]
        if question.kind == "code" and state.data is not None:
            code = code_for(self.book.configurations(question)[0], state.shape)
            parts.append(Text(f"\n{code}", overflow="fold"))
        if progress.rows:
            parts += ["", rows_of(progress, theme, is_wide=is_wide)]
            verdicts = self._verdicts(progress)
            parts.append(Text("\n".join(["", *verdicts]), "bold") if verdicts else "")
        is_short = self.size.height < TALL
        parts.extend(Text(said, dim_of(theme)) for said in beneath_rows(progress, state, is_short=is_short))
        if question.evidence:
            parts.append(facts_page(question, facts_of(question, self.book, state), state, theme))
        return Stack(*parts)

    def _verdicts(self, progress: Progress) -> list[str]:
        """What the runs can tell apart; short windows have room for the first of it."""
        named = [Group(name, row.accuracies) for name, row in zip(names_in(progress), progress.rows, strict=True)]
        findings = self._findings.of(named)
        sentences = [sentence for sentence, _ in findings.verdicts] if findings else []
        most = VERDICTS if self.size.height >= TALL else 1
        more = len(sentences) - most
        return [*sentences[:most], *([f"and {more} more: 4 compares them"] if more > 0 and most > 1 else [])]

    def _show_chart(self, progress: Progress, state: State) -> None:
        self.charts.display = bool(progress.rows)
        if not progress.rows:
            return
        self.watch_histories(tuple(run_id for row in progress.rows for run_id in row.runs))
        ((chart, metric),) = self.charts.shown
        series: list[Series] = []
        named: list[tuple[str, Curve]] = []
        for index, (name, row) in enumerate(zip(names_in(progress), progress.rows, strict=True)):
            histories = [history for run_id in row.runs if (history := state.history(run_id)).epochs]
            named += [(name, history) for history in histories]
            if histories:
                series.append(mean_band(name, histories, metric, *look_of(index, self.app.current_theme)))
        several = "mean ± std over seeds" if any(row.needed > 1 for row in progress.rows) else ""
        epochs = progress.rows[0].configuration.training.epochs
        diverged = divergence_of(named)
        chart.show(METRICS[metric].title, series, length=epochs, note=diverged or several, empty=diverged)

    def _below(self, progress: Progress, answer: Answer, state: State) -> Text:
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
            lines.append(Text("enter trains what is missing", dim_of(theme)))
        return Text("\n").join(lines)

    def _running_line(self, running: Sequence[Live]) -> Text:
        theme, live = self.app.current_theme, running[0]
        epochs, done = live.spec.configuration.training.epochs, live.history.epochs
        others = f" and {len(running) - 1} more" if len(running) > 1 else ""
        name = f"{live.spec.configuration.network.label} seed {live.spec.seed}{others}"
        said = f"  epoch {done} of {epochs}, {words.duration(live.seconds_left)} left"
        room = self.query_one("#below").content_size.width - len(name) - len(said) - 2
        line = Text.assemble(f"{name}  ", (bar_of(done / epochs, max(4, min(40, room))), str(theme.primary)), said)
        line.no_wrap, line.overflow = True, "ellipsis"
        return line


def is_fresh(state: State) -> bool:
    """Say whether nothing was ever trained here: time to say what the program is for."""
    return state.caught_up and not (state.results or state.live or state.queue)
