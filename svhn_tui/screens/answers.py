"""Page 5: the answers as they are handed in, each with how far it can be trusted."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine import protocol as p
from svhn_tui import words
from svhn_tui.answers import Answer, answer_of
from svhn_tui.presets import Presets
from svhn_tui.screens.page import Page
from svhn_tui.state import State
from svhn_tui.statistics import summary_of
from svhn_tui.themes import dim_of

WORDS = {"ready": "✓ ready", "demo": "! demo data", "missing": "○ missing", "partial": "◔ partial",
         "not-as-asked": "! not as asked", "stale": "✗ stale", "fragile": "! fragile"}  # fmt: skip


class AnswersPage(Page):
    """A line an answer; below, what stands behind the chosen one."""

    TITLE_IN_BAR = "Answers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,enter", "copy", "copy", priority=True),
        Binding("r", "check", "look at the files again"),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._asked_for = [question for question in book.questions if question.answer]
        self._chosen = 0
        self._checked: tuple[str, ...] = ()

    def body(self) -> ComposeResult:
        """Answers, then evidence."""
        with VerticalScroll(id="table"):
            yield OptionList(*(Option(Text(question.title), id=question.id) for question in self._asked_for))
            yield Static(id="detail")

    def on_option_list_option_highlighted(self, message: OptionList.OptionHighlighted) -> None:
        """Show another answer's evidence."""
        self._chosen = message.option_index
        self.redraw()

    def action_copy(self) -> None:
        """Copy the chosen answer through the terminal."""
        answer = answer_of(self._asked_for[self._chosen], self.book, self.state)
        if answer.text is None:
            self.notify("There is no answer to copy yet.")
            return
        self.copy(answer.text)

    def action_check(self) -> None:
        """Have the files hashed again that answers are bound to."""
        self._checked = ()
        self.redraw()

    def show(self, state: State) -> None:
        """Draw the answers."""
        self.set_class(self.size.width < 100, "narrow")
        answers = [answer_of(question, self.book, state) for question in self._asked_for]
        listed = self.query_one(OptionList)
        for index, answer in enumerate(answers):
            listed.replace_option_prompt_at_index(index, self._line(index, answer))
        self._check_files(answers)
        self.query_one("#detail", Static).update(self._evidence(answers[self._chosen]))

    def _check_files(self, answers: list[Answer]) -> None:
        bound = [
            run_id
            for question, answer in zip(self._asked_for, answers, strict=True)
            if question.answer and question.answer.format == "file"
            for run_id in answer.runs
        ]
        if bound and self._checked != tuple(bound):
            self._checked = tuple(bound)
            self.want(p.CheckFiles(runs=self._checked))

    def _line(self, index: int, answer: Answer) -> Text:
        theme = self.app.current_theme
        colors = {"ready": theme.success, "missing": dim_of(theme), "stale": theme.error}
        title = self._asked_for[index].title
        return Text.assemble(
            f"{answer.question:<4}",
            f"{title:<24}",
            (f"{answer.text or '–':<28}", "bold"),
            (WORDS[answer.state], colors.get(answer.state) or str(theme.warning)),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _evidence(self, answer: Answer) -> Table:
        theme = self.app.current_theme
        page = Table.grid(expand=True)
        page.add_row(Text(f"\n{answer.question}: {words.clean(answer.reason)}\n"))
        if answer.parts:
            table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, 2, 0, 0))
            table.add_column("configuration")
            for name in ("n", "mean", "std", "std error", "95 % interval"):
                table.add_column(name, justify="right")
            for part in answer.parts:
                table.add_row(Text(part.configuration.label), *self._figures(part.accuracies, part.needed))
            page.add_row(table)
        for flag in answer.flags:
            page.add_row(Text(f"\n! {flag}", str(theme.warning)))
        return page

    def _figures(self, values: tuple[float, ...], needed: int) -> tuple[str, ...]:
        if not values:
            return (f"0/{needed}", "–", "–", "–", "–")
        found = summary_of(values)
        interval = found.interval
        between = f"{words.accuracy(interval[0])} to {words.accuracy(interval[1])}" if interval else "–"
        figures = (words.accuracy(found.mean), words.accuracy(found.deviation), words.accuracy(found.error))
        return (f"{found.n}/{needed}", *figures, between)
