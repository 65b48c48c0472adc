"""Page 5: the submissions, which are code, files and answers, each with its state."""

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engine import protocol as p
from svhn_tui import words
from svhn_tui.analysis.statistics import summary_of
from svhn_tui.assignment.submission import HandedIn, handed_in
from svhn_tui.client.state import State
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of
from svhn_tui.widgets.options import MarkedOptions
from svhn_tui.widgets.sheet import Sheet

NARROW = 100
TITLE = 22
LABELS = {
    "ready": "✓ ready",
    "demo": "! demo data",
    "missing": "○ missing",
    "partial": "◔ partial",
    "not-as-asked": "! not as asked",
    "stale": "✗ stale",
    "fragile": "! fragile",
    "diverged": "✗ diverged",
}


class AnswersPage(Page):
    """Lists the questions, a line each; below, the evidence of the chosen one."""

    TITLE_IN_BAR = "Answers"
    CSS = "AnswersPage #detail { padding: 0 1; max-height: 100%; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,enter", "copy", "copy", priority=True, tooltip="copy the answer, the code or the file's path"),
        Binding("r", "check", "check again", tooltip="check again whether the files of answers are unchanged"),
    ]

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._checked: tuple[str, ...] = ()

    def body(self) -> ComposeResult:
        """Compose the answers and the evidence."""
        with VerticalScroll(id="table", can_focus=False):
            yield MarkedOptions(*(Option(Text(question.title), id=question.id) for question in self.book.questions))
            yield Sheet(id="detail")

    @property
    def _chosen(self) -> int:
        """The index of the question under the cursor."""
        return self.query_one(OptionList).highlighted or 0

    def on_option_list_option_highlighted(self) -> None:
        """Show another answer's evidence."""
        self.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to check the files again where they were checked."""
        return bool(self._checked) if action == "check" else super().check_action(action, parameters)

    def action_copy(self) -> None:
        """Copy the submission through the terminal."""
        handed = handed_in(self.book.questions[self._chosen], self.book, self.state)
        if handed.copied is None:
            self.notify("There is nothing to copy yet.")
            return
        self.copy(handed.copied)

    def action_check(self) -> None:
        """Ask for new hashes of the files that answers refer to."""
        self.request(p.CheckFiles(runs=self._checked))
        self.notify("The files are hashed again.")

    def show(self, state: State) -> None:
        """Draw the answers."""
        self.set_class(self.size.width < NARROW, "narrow")
        every = [handed_in(question, self.book, state) for question in self.book.questions]
        listed = self.query_one(OptionList)
        for index, handed in enumerate(every):
            line = self._line(index, handed)
            if listed.get_option_at_index(index).prompt != line:
                listed.replace_option_prompt_at_index(index, line)
        self._check_files(every)
        self.query_one("#detail", Sheet).update(self._evidence(every[self._chosen]))

    def _check_files(self, every: Sequence[HandedIn]) -> None:
        bound = tuple(dict.fromkeys(run_id for handed in every if handed.is_bound for run_id in handed.answer.runs))
        if bound and self._checked != bound:
            self._checked = bound
            self.request(p.CheckFiles(runs=self._checked))

    def _line(self, index: int, handed: HandedIn) -> Text:
        theme = self.app.current_theme
        question, dim = self.book.questions[index], dim_of(theme)
        colors = {"ready": str(theme.success), "missing": dim, "stale": str(theme.error), "diverged": str(theme.error)}
        style = colors.get(handed.state, str(theme.warning))
        return Text.assemble(
            f" {question.id:<3} ",
            f"{words.in_cells(words.clean(question.title), TITLE)} ",
            (f"{handed.text:<32} ", "bold" if handed.copied else dim),
            (LABELS[handed.state], style),
            no_wrap=True,
            overflow="ellipsis",
        )

    def _evidence(self, handed: HandedIn) -> Stack:
        theme, answer = self.app.current_theme, handed.answer
        text = Text.assemble((f"\n{answer.question}  ", "bold"), f"{words.clean(handed.reason)}\n")
        parts: list[RenderableType] = [text]
        if self.book.questions[self._chosen].kind == "code" and handed.copied:
            parts.append(Text(handed.copied, overflow="fold"))
        if answer.parts:
            table = Table(box=None, pad_edge=False, header_style=dim_of(theme), padding=(0, 2, 0, 0))
            table.add_column("configuration")
            for name in ("n", "mean", "std", "std error", "95 % interval"):
                table.add_column(name, justify="right")
            for part in answer.parts:
                table.add_row(Text(part.configuration.label), *self._figures(part.accuracies, part.needed))
            parts.append(table)
        parts.extend(Text(f"\n! {flag}", str(theme.warning)) for flag in answer.flags)
        return Stack(*parts)

    def _figures(self, values: tuple[float, ...], needed: int) -> tuple[str, ...]:
        if not values:
            return (f"0/{needed}", "–", "–", "–", "–")
        summary = summary_of(values)
        interval = summary.interval
        between = f"{words.accuracy(interval[0])} to {words.accuracy(interval[1])}" if interval else "–"
        figures = (words.accuracy(summary.mean), words.accuracy(summary.deviation), words.accuracy(summary.error))
        return (f"{summary.n}/{needed}", *figures, between)
