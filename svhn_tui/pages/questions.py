"""Page 1: the questions, each with its text, progress and results so far."""

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.core import sweep as plan
from svhn_tui.analysis.launches import Launch
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
from svhn_tui.assignment.keras_code import code_of
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import (
    chosen_finalists,
    chosen_overrides,
    chosen_run,
    is_confirmed,
    judged_statement,
)
from svhn_tui.pages.findings import FindingsCache
from svhn_tui.pages.page import Page
from svhn_tui.pages.question_list import outcome_of, question_line, summary_of
from svhn_tui.pages.question_pane import QuestionPane, is_fresh
from svhn_tui.pages.registry import PAGES
from svhn_tui.presets import Presets, Question
from svhn_tui.widgets.chart_board import CHART_KEYS, ChartBoard
from svhn_tui.widgets.options import MarkedOptions
from svhn_tui.widgets.sheet import Sheet

NARROW, ROOMY = 100, 160
"""Widths of the window, in cells: the list is small below the first, and large from the second."""
GREETING = f"""\
This trains the assignment's networks, and verifies each answer and each file.
↑ ↓ choose a question, enter trains it, A trains all, q leaves it running.
{PAGES[0].key} to {PAGES[-1].key} open the pages, ? lists a page's keys, ^p finds commands by name."""


class QuestionsPage(Page):
    """Shows the list on the left and the chosen question on the right."""

    TITLE_IN_BAR = "Questions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "train", priority=True, tooltip="train the missing runs"),
        Binding("R", "launch_with", "run with…", tooltip="run with other epochs and seeds"),
        Binding("A", "launch_all", "all", tooltip="train the whole assignment"),
        Binding("h", "hand_in", "hand in…", tooltip="choose the run whose file is handed in"),
        Binding("w", "finalists", "finalists…", tooltip="choose the finalists by hand"),
        Binding("w", "statements", "statements…", tooltip="statements of the grader, and a verdict on each"),
        Binding("c", "copy", "copy", tooltip="copy the answer or the code"),
        Binding("s", "app.sweep", "sweep…", tooltip="define a sweep of your own"),
        Binding("pagedown", "turn(1)", "further down", show=False, priority=True),
        Binding("pageup", "turn(-1)", "further up", show=False, priority=True),
        *CHART_KEYS,
    ]

    charts: ChartBoard

    def __init__(self, book: Presets, chosen: str = "") -> None:
        super().__init__(book)
        self._findings = FindingsCache(self, lambda: self._pane.show_about())
        self._pane = QuestionPane(book, self._findings)
        self.charts = self._pane.charts
        self._first = book.question(chosen) if chosen else book.questions[0]
        self._known: tuple[State, Mapping[str, Progress], Mapping[str, Answer]] | None = None

    def body(self) -> ComposeResult:
        """Compose list and question."""
        yield Static(GREETING, id="greeting", markup=False)
        with Horizontal():
            with Vertical(id="questions"):
                listed = MarkedOptions(
                    *(Option(Text(question.title), id=question.id) for question in self.book.questions)
                )
                listed.highlighted = self.book.questions.index(self._first)
                yield listed
                yield Sheet(id="summary")
            yield self._pane

    @property
    def chosen(self) -> Question:
        """The question under the cursor, as the list has it: its messages may arrive later."""
        index = self.query_one(OptionList).highlighted if self.is_mounted else None
        return self._first if index is None else self.book.questions[index]

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Put the cursor on this question."""
        self._first = self.book.question(subjects[0])
        if self.is_mounted:
            self.query_one(OptionList).highlighted = self.book.questions.index(self._first)

    def on_option_list_option_highlighted(self) -> None:
        """Show another question, and its keys."""
        if self.is_current:
            self._show_chosen(self.state)
            self.refresh_bindings()

    def action_launch(self) -> None:
        """Train the missing runs of the chosen question."""
        self._launch(Launch(self.chosen))

    @work
    async def action_launch_with(self) -> None:
        """Ask for other epochs and seeds, then train."""
        if (sweep := self.book.sweep(self.chosen, "")) is None:
            self.notify("This question needs no training.")
            return
        question = self.chosen
        overrides = await chosen_overrides(self.app, f"{question.id}  {question.title}", sweep)
        if overrides is not None:
            self._launch(Launch(question, overrides))

    def action_copy(self) -> None:
        """Copy the answer or the code through the terminal."""
        text = answer_of(self.chosen, self.book, self.state).text
        state = self.state.on(self.book.data_of(self.chosen))
        if self.chosen.kind == "code" and state.data is not None:
            text = code_of(self.chosen, self.book, state.shape, state.train_images)
        if text is None:
            self.notify("There is nothing to copy yet.")
            return
        self.copy(text)

    @work
    async def action_hand_in(self) -> None:
        """Choose the run whose file the question hands in."""
        self.request(await chosen_run(self.app, self.chosen, self.book, self.state))

    @work
    async def action_finalists(self) -> None:
        """Choose the finalists by hand."""
        self.request(await chosen_finalists(self.app, self.chosen, self.book, self.state))

    @work
    async def action_statements(self) -> None:
        """Paste a statement of the grader's, or edit one."""
        self.request(await judged_statement(self.app, self.chosen, self.book, self.state))

    def action_turn(self, pages: int) -> None:
        """Scroll the question on the right."""
        self._pane.scroll_relative(y=pages * (self._pane.size.height - 2), animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the actions of the chosen question: a file to hand in, finalists, statements."""
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
        """Train the missing runs of the whole assignment, the cheapest question first."""
        if not self.state.data_is_open:
            self.notify("The data is still being opened.", severity="warning")
            return
        all_sweeps = (sweep_for(question, self.book, self.state, Overrides()) for question in self.book.assignment)
        sweeps = cheapest_first(
            [*{sweep.sweep_id: sweep for sweep in all_sweeps if sweep is not None}.values()], self.state
        )
        if not any(plan.missing(sweep, self.state.accuracies) for sweep in sweeps):
            self.notify("Everything is trained.")
            return
        text = f"The whole assignment: {plan_text(sweeps, self.state)}."
        if await is_confirmed(self.app, text):
            for sweep in sweeps:
                self.request(self.book.submit(sweep))

    def _launch(self, launch: Launch) -> None:
        """Train the missing runs of a question, now or as soon as the data is open, and notify the user."""
        if launch.needs_data(self.book, self.state):
            self.post_message(self.LaunchDeferred(launch))
            return
        command, text = launch.command(self.book, self.state)
        self.request(command)
        self.notify(text)

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
        progress = progresses[self.chosen.id]
        self.watch_histories(tuple(run_id for row in shown_of(progress, state).rows for run_id in row.runs))
        self._pane.show(self.chosen, progress, answers[self.chosen.id], state)

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
        """Return progress and answer of all questions, computed once for each state, however often the cursor moves."""
        if self._known is None or self._known[0] is not state:
            progresses = {question.id: progress_of(question, self.book, state) for question in self.book.questions}
            answers = {question.id: answer_of(question, self.book, state) for question in self.book.questions}
            self._known = (state, progresses, answers)
        return self._known[1:]
