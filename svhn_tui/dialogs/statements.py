"""The statements of a multiple-choice question: each has a text, a verdict, and the facts that support it."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Label, OptionList, TextArea
from textual.widgets.option_list import Option

from engine.protocol import MAX_STATEMENT, Judge, Statement
from svhn_tui import words
from svhn_tui.assignment.evidence import VERDICTS, statement_line
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.widgets.options import Options
from svhn_tui.widgets.ticks import TickList


class PickStatement(Dialog[int | None]):
    """Asks which statement to edit; it returns the index, or -1 for a new one."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        super().__init__()
        self._statements = statements

    def compose(self) -> ComposeResult:
        """Compose a line a statement, the new one on top, and the keys."""
        with Vertical():
            yield Label(Text("Statements\n", style="bold"))
            yield Options(
                Option("a new statement"), *(Option(Text(statement_line(statement))) for statement in self._statements)
            )
            yield Label(Text("enter opens it   esc goes back"))

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the index of the statement."""
        self.dismiss(message.option_index - 1)


class EditStatement(Dialog[Judge | None]):
    """Edits a statement's text, the verdict on it, and the facts that support the verdict."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", "save", priority=True),
        Binding("ctrl+d", "remove", "delete", priority=True),
        Binding("escape", "dismiss(None)", "back", priority=True),
    ]

    def __init__(self, question: str, facts: Sequence[str], known: Statement | None) -> None:
        super().__init__()
        self._question, self._known = question, known
        self._facts = tuple(dict.fromkeys((*facts, *(known.facts if known else ()))))

    def compose(self) -> ComposeResult:
        """Compose text, verdict, facts, and the keys."""
        known = self._known
        with Vertical():
            yield Label("the statement, as the grader shows it")
            yield TextArea(known.text if known else "", id="text", tab_behavior="focus")
            yield Label("verdict")
            yield Options(*(Option(words_for, id=verdict) for verdict, words_for in VERDICTS.items()), id="verdict")
            yield Label("facts that support it (space ticks)" if self._facts else "no facts yet: no run is finished")
            ticked = known.facts if known else ()
            yield TickList(self._facts, (index for index, fact in enumerate(self._facts) if fact in ticked))
            yield Label(Text("tab next   ctrl+s saves   ctrl+d deletes   esc goes back"))

    def on_mount(self) -> None:
        """Put the cursor on the verdict that was given."""
        listed = self.query_one("#verdict", OptionList)
        listed.highlighted = list(VERDICTS).index(self._known.verdict) if self._known else 0

    def action_accept(self) -> None:
        """Save the statement."""
        text = words.clean(self.query_one(TextArea).text, newlines=True).strip()
        if not text:
            self.notify("Paste the statement first.", severity="warning")
            return
        if len(text) > MAX_STATEMENT:
            self.notify(f"{len(text):,} characters; at most {MAX_STATEMENT:,}.", severity="warning")
            return
        verdict = list(VERDICTS)[self.query_one("#verdict", OptionList).highlighted or 0]
        facts = tuple(self._facts[index] for index in self.query_one(TickList).ticked)
        self._leave(Statement(text, verdict, facts))

    def action_remove(self) -> None:
        """Delete the statement."""
        self._leave(None)

    def _leave(self, statement: Statement | None) -> None:
        self.dismiss(
            Judge(question=self._question, statement=statement, replaces=self._known.text if self._known else "")
        )
