"""Small questions to the user; each returns a value."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.validation import Integer
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from engine.core.sweep import FinalistRule
from engine.protocol import Fleet, RunResult
from engine.workers import fleet as fleets
from svhn_tui import words
from svhn_tui.analysis.progress import Overrides, ProgressRow, rule_text
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.widgets.options import Options
from svhn_tui.widgets.ticks import TickList


class Field(NamedTuple):
    """One line to fill in."""

    name: str
    label: str
    value: str


class Confirm(Dialog[bool]):
    """Yes or no, where something would be lost."""

    BINDINGS: ClassVar[list[BindingType]] = [("y,enter", "answer(True)", "yes"), ("n,escape", "answer(False)", "no")]

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence

    def compose(self) -> ComposeResult:
        """The sentence and the two keys."""
        with Vertical():
            yield Label(Text(self._sentence))
            yield Label(Text("\ny yes   n no", style="bold"))

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


class RunWith(Dialog[Overrides | None]):
    """Other numbers of epochs and seeds than the question asks for."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "give_up", "back")]

    def __init__(self, title: str, epochs: int, seeds: int) -> None:
        super().__init__()
        self._title = title
        self._fields = (Field("epochs", "epochs", str(epochs)), Field("seeds", "seeds", str(seeds)))

    def compose(self) -> ComposeResult:
        """Two numbers; enter launches."""
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            for field in self._fields:
                yield Label(field.label)
                yield Input(
                    field.value, id=field.name, type="integer", validators=[Integer(minimum=1, maximum=100_000)]
                )
            yield Label("Runs with other numbers than the question's are not as asked.\n")
            yield Label("tab next   enter trains   esc goes back")

    def on_input_submitted(self) -> None:
        """Launch, if both are numbers."""
        inputs = {field.name: self.query_one(f"#{field.name}", Input) for field in self._fields}
        if all(field.is_valid and field.value for field in inputs.values()):
            self.dismiss(Overrides(int(inputs["epochs"].value), int(inputs["seeds"].value)))
            return
        self.notify("Epochs and seeds are whole numbers, from 1 to 100,000.", severity="warning")

    def action_give_up(self) -> None:
        """Go back without running."""
        self.dismiss(None)


class HandIn(Dialog[str | None]):
    """Which finished run's file a question hands in; an empty text means the first seed's again."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "give_up", "back")]

    def __init__(self, title: str, runs: Sequence[RunResult], chosen: str) -> None:
        super().__init__()
        self._title, self._runs, self._chosen = title, runs, chosen

    def compose(self) -> ComposeResult:
        """A line a run, the first seed's on top; enter takes it."""
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            yield Options(
                Option("the first seed's, whichever it is", id="first"),
                *(Option(self._line(run), id=run.run_id) for run in self._runs),
            )
            yield Label(Text("enter takes it, esc goes back. The answer about the file follows."))

    def _line(self, run: RunResult) -> Text:
        mark = "●" if run.run_id == self._chosen else " "
        accuracy = words.accuracy(run.test_accuracy)
        return Text(f"{mark} seed {run.spec.seed:<4} test accuracy {accuracy}   {run.run_id}")

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Take it."""
        chosen = message.option_id or "first"
        self.dismiss("" if chosen == "first" else chosen)

    def action_give_up(self) -> None:
        """Leave the choice as it was."""
        self.dismiss(None)


class PickRun(Dialog[str | None]):
    """A finished run, the most accurate on top."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "back")]

    def __init__(self, runs: Sequence[RunResult]) -> None:
        super().__init__()
        self._runs = runs

    def compose(self) -> ComposeResult:
        """A line a run."""
        with Vertical():
            yield Label(Text("Look at a run\n", style="bold"))
            yield Options(*(Option(Text(self.line(run), no_wrap=True), id=run.run_id) for run in self._runs))
            yield Label(Text("enter looks, esc goes back."))

    @staticmethod
    def line(run: RunResult) -> str:
        """`0.5012  relu 256, seed 3`."""
        name = f"{run.spec.configuration.label}, seed {run.spec.seed}"
        return f"{words.accuracy(run.test_accuracy)}  {name}"

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Take it."""
        self.dismiss(message.option_id)


class Tick(Dialog[tuple[int, ...] | None]):
    """Some of several lines, by their places."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "take these", priority=True),
        ("escape", "dismiss(None)", "back"),
    ]

    def __init__(self, title: str, lines: Sequence[str], ticked: Iterable[int] = ()) -> None:
        super().__init__()
        self._title, self._lines, self._ticked = title, lines, tuple(ticked)

    def compose(self) -> ComposeResult:
        """A box a line."""
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            yield TickList(self._lines, self._ticked)
            yield Label(Text("space ticks   enter takes these   esc goes back"))

    def action_accept(self) -> None:
        """Take what is ticked."""
        self.dismiss(self.query_one(TickList).ticked)


class Trash(Tick):
    """Deleted runs, to be brought back."""

    def __init__(self, runs: Sequence[RunResult]) -> None:
        super().__init__("In the trash: tick what to bring back", [PickRun.line(run) for run in runs])


class PickFinalists(Dialog[tuple[int, ...] | None]):
    """The finalists; none ticked means those that the rule names."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "take these", priority=True),
        Binding("r", "rule", "by the rule", priority=True),
        ("escape", "dismiss(None)", "back"),
    ]

    def __init__(self, rows: Sequence[ProgressRow], rule: FinalistRule, finalists: tuple[int, ...]) -> None:
        super().__init__()
        self._rows, self._rule, self._finalists = rows, rule, finalists

    def compose(self) -> ComposeResult:
        """The rule, and a line a configuration."""
        with Vertical():
            yield Label(Text(f"{rule_text(self._rule)}\n"))
            yield TickList([self._line(row) for row in self._rows], self._finalists)
            yield Label(Text("space ticks   enter trains these   r by the rule   esc goes back"))

    def _line(self, row: ProgressRow) -> str:
        return f"{row.configuration.network.label:<22} {row.done:>2} runs  {words.spread(row.mean, row.deviation)}"

    def action_accept(self) -> None:
        """Take what is ticked."""
        self.dismiss(self.query_one(TickList).ticked)

    def action_rule(self) -> None:
        """Take those that the rule names."""
        self.dismiss(())


class Annotation(Dialog[tuple[str, tuple[str, ...]] | None]):
    """A run's note and tags."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "give_up", "back")]

    def __init__(self, text: str, tags: tuple[str, ...]) -> None:
        super().__init__()
        self._text, self._tags = text, tags

    def compose(self) -> ComposeResult:
        """Two lines; enter keeps them."""
        with Vertical():
            yield Label("note")
            yield Input(self._text, id="note", max_length=2_000)
            yield Label("tags, with spaces between")
            yield Input(" ".join(self._tags), id="tags", max_length=500)
            yield Label(Text("enter keeps them, esc goes back."))

    def on_input_submitted(self) -> None:
        """Keep what was written."""
        note, tags = (self.query_one(f"#{name}", Input).value for name in ("note", "tags"))
        self.dismiss((note, tuple(tags.split())))

    def action_give_up(self) -> None:
        """Leave them as they were."""
        self.dismiss(None)


class WhereToTrain(Dialog[Fleet | None]):
    """This machine, Slurm or other boxes."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "back")]

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    def compose(self) -> ComposeResult:
        """Four lines; all of them empty means this machine."""
        fleet = self._fleet
        slurm = "" if fleet.slurm is None else fleet.slurm or " "
        with Vertical():
            yield Label(Text("Where it trains\n", style="bold"))
            yield Label("Slurm: options of srun, or empty")
            yield Input(slurm, id="slurm", max_length=500, placeholder="--gres=gpu:1 --time=4:00:00")
            yield Label("Slurm workers at a time")
            yield Input(str(max(1, fleet.workers)), id="workers", type="integer", validators=[Integer(1, 1_000)])
            yield Label("Other boxes, as you name them to ssh, with spaces between")
            yield Input(" ".join(fleet.ssh), id="boxes", max_length=1_000)
            yield Label("GPUs of this machine: all of them, or such as 1,3 as nvidia-smi has them, or none")
            yield Input(fleet.gpus, id="gpus", max_length=400, placeholder="all")
            yield Label(Text("enter keeps it, esc goes back. All empty: this machine."))

    def on_input_submitted(self) -> None:
        """Keep it, or say what is wrong with it."""
        typed = {field.id: field.value for field in self.query(Input)}
        if not self.query_one("#workers", Input).is_valid:
            self.notify("Slurm workers: a whole number, from 1 to 1,000.", severity="error")
            return
        slurm = typed["slurm"].strip() if typed["slurm"] else None
        try:
            self.dismiss(fleets.parse(slurm, int(typed["workers"] or 1), typed["boxes"], typed["gpus"]))
        except ValueError as error:
            self.notify(str(error), severity="error", markup=False)
