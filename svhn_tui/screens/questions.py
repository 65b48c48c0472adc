"""Page 1: the eleven questions; what each asks, how far it is, and what its runs say so far."""

from collections.abc import Iterator
from itertools import cycle
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine import plan
from engine import protocol as p
from svhn_tui import words
from svhn_tui.answers import Answer, answer_of, file_run
from svhn_tui.comparison import full_names_of, sides_of_runs
from svhn_tui.curves import METRICS, mean_band
from svhn_tui.evidence import facts_of
from svhn_tui.presets import Presets, Question
from svhn_tui.progress import (
    MARKS,
    Overrides,
    Progress,
    Row,
    cheapest_first,
    plan_text,
    progress_of,
    rule_text,
    sweep_for,
    with_finalists,
)
from svhn_tui.screens.dialogs import Confirm, HandIn, PickFinalists, RunWith
from svhn_tui.screens.page import CHART_KEYS, ChartPage
from svhn_tui.screens.statements import EditStatement, PickStatement, line_of
from svhn_tui.snippet import code_for
from svhn_tui.state import State
from svhn_tui.statistics import pairwise
from svhn_tui.themes import dim_of, line_colors
from svhn_tui.widgets.chart import Chart

TRENDS = ("still rising", "flat", "falling")
NARROW = 100
"""Columns below which the list is made small."""


class QuestionsPage(ChartPage):
    """The list on the left, the chosen question on the right."""

    TITLE_IN_BAR = "Questions"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "launch", "run what is missing", priority=True),
        Binding("R", "launch_with", "run with…"),
        Binding("A", "launch_all", "run everything", show=False),
        Binding("s", "app.sweep", "new sweep…"),
        Binding("h", "hand_in", "hand in…"),
        Binding("w", "finalists", "finalists…"),
        Binding("w", "statements", "statements…"),
        Binding("c", "copy", "copy"),
        Binding("pagedown", "turn(1)", "further down", show=False, priority=True),
        Binding("pageup", "turn(-1)", "further up", show=False, priority=True),
        *CHART_KEYS,
    ]

    def __init__(self, book: Presets, chosen: str = "") -> None:
        super().__init__(book)
        self._chosen = book.question(chosen) if chosen else book.questions[0]

    def body(self) -> ComposeResult:
        """List and question."""
        with Horizontal():
            with Vertical(id="questions"):
                listed = OptionList(*(Option(question.title, id=question.id) for question in self.book.questions))
                listed.highlighted = self.book.questions.index(self._chosen)
                yield listed
                yield Static(id="summary")
            with VerticalScroll(id="question", can_focus=False):
                yield Static(id="about")
                yield Chart()
                yield Static(id="below")

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        """Show another question."""
        self._chosen = self.book.question(message.option_id or "")
        self.refresh_bindings()
        self.redraw()

    def action_launch(self) -> None:
        """Train what the chosen question lacks."""
        self._launch(Overrides())

    def action_launch_with(self) -> None:
        """Ask for other epochs and seeds, then train."""
        if self.state.data is None or (sweep := self.book.sweep(self._chosen, self.state.data.fingerprint)) is None:
            self.notify("This question needs no training.")
            return
        epochs, seeds = sweep.configurations[0].training.epochs, len(sweep.seeds)
        self.app.push_screen(RunWith(f"{self._chosen.id}  {self._chosen.title}", epochs, seeds), self._launch)

    def action_copy(self) -> None:
        """Copy the answer or the code through the terminal."""
        text = answer_of(self._chosen, self.book, self.state).text
        if self._chosen.kind == "code" and self.state.data is not None:
            text = code_for(self.book.configurations(self._chosen)[0], self.state.data.input_shape)
        if text is None:
            self.notify("There is nothing to copy yet.")
            return
        self.copy(text)

    def action_turn(self, pages: int) -> None:
        """Scroll what stands on the right."""
        pane = self.query_one("#question", VerticalScroll)
        pane.scroll_relative(y=pages * (pane.size.height - 2), animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the chosen question has: a file to hand in, finalists, statements."""
        offered = {
            "hand_in": self._chosen.kind == "training",
            "finalists": self._chosen.finalists is not None,
            "statements": bool(self._chosen.evidence),
        }
        return offered[action] if action in offered else super().check_action(action, parameters)

    def action_hand_in(self) -> None:
        """Choose the run whose file the question hands in."""
        configurations = self.book.configurations(self._chosen)
        data = self.state.data.fingerprint if self.state.data else ""
        runs = [
            run
            for run in self.state.results.values()
            if run.spec.configuration in configurations and run.spec.data == data
        ]
        if not runs:
            self.notify("None of its runs is done yet, as the question asks for them.")
            return
        runs.sort(key=lambda run: run.spec.seed)
        question = self._chosen.id
        title = f"{question}  The run whose file is handed in"

        def choose(run_id: str | None) -> None:
            if run_id is not None:
                self.want(p.Choose(question=question, run_id=run_id or None))

        self.app.push_screen(HandIn(title, runs, self.state.choices.get(question, "")), choose)

    def action_finalists(self) -> None:
        """Choose by hand who goes on to the second stage."""
        progress = progress_of(self._chosen, self.book, self.state)
        sweep = progress.sweep
        if self.state.data is None or sweep is None or sweep.finalists is None:
            return

        def choose(chosen: tuple[int, ...] | None) -> None:
            if chosen is not None:
                self.want(p.Submit(sweep=with_finalists(sweep, chosen)))

        finalists = plan.finalists(sweep, self.state.accuracies)
        self.app.push_screen(PickFinalists(progress.rows, sweep.finalists, finalists), choose)

    @work
    async def action_statements(self) -> None:
        """Paste a statement of the grader's, or look at one again."""
        question, known = self._chosen, self.state.statements.get(self._chosen.id, ())
        place = await self.app.push_screen_wait(PickStatement(known)) if known else -1
        if place is None:
            return
        facts = [fact.title for fact in facts_of(question, self.book, self.state)]
        edited = EditStatement(question.id, facts, known[place] if place >= 0 else None)
        judged = await self.app.push_screen_wait(edited)
        if judged is not None:
            self.want(judged)

    @work
    async def action_launch_all(self) -> None:
        """Train what the whole assignment lacks, the cheapest question first."""
        if self.state.data is None:
            self.notify("The data is still being opened.", severity="warning")
            return
        found = (sweep_for(question, self.book, self.state, Overrides()) for question in self.book.questions)
        sweeps = cheapest_first([*{sweep.sweep_id: sweep for sweep in found if sweep is not None}.values()], self.state)
        if not any(plan.missing(sweep, self.state.accuracies) for sweep in sweeps):
            self.notify("Everything is trained.")
            return
        told = f"The whole assignment: {plan_text(sweeps, self.state)}."
        if await self.app.push_screen_wait(Confirm(told)):
            for sweep in sweeps:
                self.want(p.Submit(sweep=sweep))

    def _launch(self, overrides: Overrides | None) -> None:
        if overrides is None:
            return
        if self.state.data is None:
            self.notify("The data is still being opened.", severity="warning")
            return
        sweep = sweep_for(self._chosen, self.book, self.state, overrides)
        if sweep is None:
            self.notify("This question needs no training.")
            return
        missing = progress_of(self._chosen, self.book, self.state, overrides).missing
        if not missing:
            self.notify("All of its runs are done.")
            return
        self.want(p.Submit(sweep=sweep))
        self.notify(f"{words.plural(len(missing), 'run')} to train. 2 shows them live; q leaves and they go on.")

    def show(self, state: State) -> None:
        """Draw the list and the chosen question."""
        self.set_class(self.size.width < NARROW, "narrow")
        self._show_list(state)
        question, progress = self._chosen, progress_of(self._chosen, self.book, state)
        answer = answer_of(question, self.book, state)
        self.query_one("#about", Static).update(self._about(question, progress, answer, state))
        self._show_chart(progress, state)
        self.query_one("#below", Static).update(self._below(progress, state))

    def _show_list(self, state: State) -> None:
        listed = self.query_one(OptionList)
        width = (44 if self.size.width >= NARROW else 31) - 4
        for index, question in enumerate(self.book.questions):
            listed.replace_option_prompt_at_index(index, self._line(question, state, width))
        done = sum(1 for question in self.book.questions if progress_of(question, self.book, state).status == "done")
        asked = sum(1 for question in self.book.questions if self.book.sweep(question, ""))
        text = Text(f"\n{done} of {asked} trained\n", dim_of(self.app.current_theme))
        if state.data is not None:
            sizes = f"{words.count(state.data.train_images)} / {words.count(state.data.test_images)}"
            name = "demo data (drawn digits)" if state.data.is_demo else words.clean(state.data.name)
            text.append(f"{name}  {sizes}\n")
        self.query_one("#summary", Static).update(text)

    def _line(self, question: Question, state: State, width: int) -> Text:
        progress, theme = progress_of(question, self.book, state), self.app.current_theme
        answer = answer_of(question, self.book, state)
        outcome, style = self._outcome(question, progress, answer, state)
        room = width - len(outcome) - 7
        title = question.title if len(question.title) <= room else question.title[: max(0, room - 1)] + "…"
        mark_style = {"done": theme.success, "code": theme.success, "running": theme.primary, "partial": theme.warning}
        mark = (f"{MARKS[progress.status]} ", mark_style.get(progress.status, dim_of(theme)) or "")
        return Text.assemble(
            f"{question.id:<4}", mark, f"{title:<{max(0, room)}} ", (outcome, style), no_wrap=True, overflow="crop"
        )

    def _outcome(self, question: Question, progress: Progress, answer: Answer, state: State) -> tuple[str, str]:
        theme = self.app.current_theme
        if progress.status == "code":
            return "code", str(theme.success)
        if progress.status == "evidence":
            return "evidence", dim_of(theme)
        if progress.status != "done":
            started = progress.done or progress.status == "running"
            is_narrow = self.size.width < NARROW
            text = f"{progress.done} of {progress.needed}" if started or is_narrow else "not begun"
            return text, str(theme.warning) if started else dim_of(theme)
        if answer.text and question.answer:
            return answer.text if len(answer.text) <= 15 else "answer", str(theme.success)
        result = file_run(question, self.book, state)
        return f"file {words.size(result.model_bytes)}" if result else "done", str(theme.success)

    def _about(self, question: Question, progress: Progress, answer: Answer, state: State) -> Table:
        theme = self.app.current_theme
        points = f"test question, {question.points} points" if question.points else ""
        head = Table.grid(expand=True)
        head.add_column(ratio=1)
        title = Text.assemble((f"{question.id}  {question.title}", "bold"), (f"   {points}", dim_of(theme)))
        head.add_row(title)
        head.add_row(Text(question.text, dim_of(theme)))
        if question.kind == "code" and state.data is not None:
            head.add_row(Text("\n" + code_for(self.book.configurations(question)[0], state.data.input_shape)))
        if progress.rows:
            head.add_row(Text(""))
            head.add_row(self._rows(progress.rows))
            for sentence in self._beneath_rows(progress):
                head.add_row(Text(sentence, dim_of(theme)))
        if question.evidence:
            head.add_row(self._evidence(question, state))
        if answer.text is not None:
            head.add_row(self._answer(answer))
        names = full_names_of([row.configuration for row in progress.rows])
        for sentence, _ in pairwise([(name, row.accuracies) for name, row in zip(names, progress.rows, strict=True)]):
            head.add_row(Text(sentence, "bold"))
        return head

    def _beneath_rows(self, progress: Progress) -> Iterator[str]:
        """Say who goes on to a second stage, and whether the curves still move at their end."""
        sweep = progress.sweep
        if sweep is not None and sweep.finalists is not None:
            names = [progress.rows[index].configuration.network.label
                     for index in plan.finalists(sweep, self.state.accuracies)]  # fmt: skip
            yield rule_text(sweep.finalists) + (f" Finalists: {', '.join(names)}." if names else "")
        trends: dict[str, list[str]] = {}
        for side in sides_of_runs((run_id for row in progress.rows for run_id in row.runs), self.state):
            if side.convergence in TRENDS:
                trends.setdefault(side.convergence, []).append(side.configuration.network.label)
        if trends:
            told = "; ".join(f"{trend}: {', '.join(names)}" for trend, names in sorted(trends.items()))
            yield f"Test accuracy over the last 10 epochs: {told}."

    def _answer(self, answer: Answer) -> Text:
        theme = self.app.current_theme
        colors = {"ready": theme.success, "demo": theme.warning, "partial": theme.warning, "stale": theme.error}
        style = f"bold {colors.get(answer.state, theme.warning)}"
        return Text.assemble(
            "\nanswer  ", (answer.text or "", style), (f"  {answer.state}", style), f"  {words.clean(answer.reason)}"
        )

    def _rows(self, rows: tuple[Row, ...]) -> Table:
        theme = self.app.current_theme
        dim, is_wide = dim_of(theme), self.size.width >= NARROW
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=dim)
        table.add_column("configuration", no_wrap=True)
        for name in ("runs", "test accuracy", *(["parameters", "left"] if is_wide else [])):
            table.add_column(name, justify="right", no_wrap=True)
        for row, color in zip(rows, cycle(line_colors(theme)), strict=False):
            accuracy = Text(words.accuracy(row.mean), "bold")
            accuracy.append(f" ± {words.accuracy(row.deviation)}" if row.deviation is not None else "", dim)
            left = "done" if row.done == row.needed else words.duration(row.seconds_left)
            table.add_row(
                Text.assemble(("● ", color), row.configuration.label),
                f"{row.done}/{row.needed}",
                accuracy,
                *([words.count(row.parameters), left] if is_wide else []),
            )
        return table

    def _evidence(self, question: Question, state: State) -> Table:
        """What the runs of the questions before say: a title, sentences, and a line of figures a configuration."""
        dim, page = dim_of(self.app.current_theme), Table.grid(padding=(0, 2, 0, 0))
        facts = facts_of(question, self.book, state)
        statements = state.statements.get(question.id, ())
        if not statements:
            page.add_row(Text("\nw pastes a statement, notes a verdict and ticks the facts behind it.", dim))
        for statement in statements:
            page.add_row(Text(f"\n{line_of(statement)}", "bold"))
            if statement.facts:
                page.add_row(Text(f"  {words.clean(', '.join(statement.facts))}", dim))
        if not facts:
            page.add_row(Text(f"\nNone of the runs of {', '.join(question.evidence)} is done yet.", dim))
        for fact in facts:
            page.add_row(Text(f"\n{fact.title}", "bold"))
            for sentence in fact.sentences:
                page.add_row(Text(f"  {sentence}"))
            figures = Table.grid(padding=(0, 2, 0, 0))
            for name, figure in fact.figures:
                figures.add_row(Text(f"  {name}", no_wrap=True), Text(figure, dim))
            page.add_row(figures)
        return page

    def _show_chart(self, progress: Progress, state: State) -> None:
        chart = self.query_one(Chart)
        chart.display = bool(progress.rows)
        if not progress.rows:
            return
        runs = tuple(run_id for row in progress.rows for run_id in row.runs)
        self.watch_histories(runs)
        colors = line_colors(self.app.current_theme)
        series = []
        names = full_names_of([row.configuration for row in progress.rows])
        for name, row, color in zip(names, progress.rows, cycle(colors), strict=False):
            histories = [history for run_id in row.runs if (history := state.history(run_id)).epochs]
            if histories:
                series.append(mean_band(name, histories, self.metric, color))
        several = "  mean ± std over seeds" if any(row.needed > 1 for row in progress.rows) else ""
        epochs = progress.rows[0].configuration.training.epochs
        chart.show(f"{METRICS[self.metric]}{several}", series, length=epochs)

    def _below(self, progress: Progress, state: State) -> Text:
        theme = self.app.current_theme
        if not state.caught_up:
            return Text("Starting the engine…", dim_of(theme))
        if state.data is None:
            return Text("Opening the data…", dim_of(theme))
        running = [state.running[run_id] for row in progress.rows for run_id in row.runs if run_id in state.running]
        if running:
            live, epochs = running[0], running[0].spec.configuration.training.epochs
            others = f" and {len(running) - 1} more" if len(running) > 1 else ""
            done, left = live.history.epochs, words.duration(live.seconds_left)
            bar = bar_of(done / epochs, 20)
            name = f"{live.spec.configuration.network.label} seed {live.spec.seed}{others}"
            return Text.assemble(f"{name}  ", (bar, str(theme.primary)), f"  epoch {done} of {epochs}, {left} left")
        if not state.results and not state.queue and progress.rows:
            return Text("enter trains this question · arrows choose another · ? shows all keys", dim_of(theme))
        return Text("")


def bar_of(share: float, width: int) -> str:
    """A bar of text."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "━" * full + "╌" * (width - full)
