"""The smaller dialogs; each returns a value, or None if the user cancels it."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

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


class Confirm(Dialog[bool]):
    """Asks for a yes or no before something is lost."""

    BINDINGS: ClassVar[list[BindingType]] = [("y,enter", "answer(True)", "yes"), ("n,escape", "answer(False)", "no")]

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self._sentence = sentence

    def compose(self) -> ComposeResult:
        """Compose the sentence and the two keys."""
        with Vertical():
            yield Label(Text(self._sentence))
            yield Label(Text("\ny yes   n no", style="bold"))

    def action_answer(self, yes: bool) -> None:
        """Return the answer."""
        self.dismiss(yes)


class RunWith(Dialog[Overrides | None]):
    """Asks for other numbers of epochs and seeds than the question's."""

    def __init__(self, title: str, epochs: int, seeds: int) -> None:
        super().__init__()
        self._title, self._fields = title, {"epochs": epochs, "seeds": seeds}

    def compose(self) -> ComposeResult:
        """Compose the two numbers and the keys."""
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            for name, number in self._fields.items():
                yield Label(name)
                yield Input(str(number), id=name, type="integer", validators=[Integer(minimum=1, maximum=100_000)])
            yield Label("Runs with other numbers than the question's are marked `not as asked`.\n")
            yield Label("tab next   enter trains   esc goes back")

    def on_input_submitted(self) -> None:
        """Return the numbers if both are valid."""
        epochs, seeds = (self.query_one(f"#{name}", Input) for name in self._fields)
        if all(field.is_valid and field.value for field in (epochs, seeds)):
            self.dismiss(Overrides(int(epochs.value), int(seeds.value)))
            return
        self.notify("Epochs and seeds are whole numbers, from 1 to 100,000.", severity="warning")


class HandIn(Dialog[str | None]):
    """Asks for the finished run whose file a question hands in; an empty text means the first seed's."""

    def __init__(self, title: str, runs: Sequence[RunResult], chosen: str) -> None:
        super().__init__()
        self._title, self._runs, self._chosen = title, runs, chosen

    def compose(self) -> ComposeResult:
        """Compose a line a run, the first seed on top, and the keys."""
        mark = " " if self._chosen else "●"
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            yield Options(
                Option(f"{mark} the run of the first seed", id="first"),
                *(Option(self._line(run), id=run.run_id) for run in self._runs),
            )
            yield Label("The answer about the file follows the choice.\n")
            yield Label("enter chooses   esc goes back")

    def _line(self, run: RunResult) -> Text:
        mark = "●" if run.run_id == self._chosen else " "
        accuracy = words.accuracy(run.test_accuracy)
        return Text(f"{mark} seed {run.spec.seed:<4} test accuracy {accuracy}   {run.run_id}")

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the chosen run."""
        chosen = message.option_id or "first"
        self.dismiss("" if chosen == "first" else chosen)


class PickRun(Dialog[str | None]):
    """Asks for a finished run."""

    def __init__(self, runs: Sequence[RunResult]) -> None:
        super().__init__()
        self._runs = runs

    def compose(self) -> ComposeResult:
        """Compose a line a run, and the keys."""
        with Vertical():
            yield Label(Text("Inspect a run\n", style="bold"))
            yield Options(*(Option(Text(self.line(run), no_wrap=True), id=run.run_id) for run in self._runs))
            yield Label(Text("enter opens it   esc goes back"))

    @staticmethod
    def line(run: RunResult) -> str:
        """Describe a run: `0.5012  relu 256, seed 3`."""
        name = f"{run.spec.configuration.label}, seed {run.spec.seed}"
        return f"{words.accuracy(run.test_accuracy)}  {name}"

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Return the chosen run."""
        self.dismiss(message.option_id)


class Tick(Dialog[tuple[int, ...] | None]):
    """Asks for some of several lines; it returns their indices."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "accept", priority=True),
    ]
    KEYS: ClassVar[str] = "space ticks   enter accepts   esc goes back"

    def __init__(self, title: str, lines: Sequence[str], ticked: Iterable[int] = ()) -> None:
        super().__init__()
        self._title, self._lines, self._ticked = title, lines, tuple(ticked)

    def compose(self) -> ComposeResult:
        """Compose a box a line, and the keys."""
        with Vertical():
            yield Label(Text(f"{self._title}\n", style="bold"))
            yield TickList(self._lines, self._ticked)
            yield Label(Text(self.KEYS))

    def action_accept(self) -> None:
        """Return the ticked lines."""
        self.dismiss(self.query_one(TickList).ticked)


class Trash(Tick):
    """Asks which deleted runs to restore."""

    def __init__(self, runs: Sequence[RunResult]) -> None:
        super().__init__("Trash: tick the runs to restore", [PickRun.line(run) for run in runs])


class PickFinalists(Tick):
    """Asks for the finalists; none ticked means those of the rule."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "dismiss(())", "by the rule", priority=True)]
    KEYS = "space ticks   enter trains   r by the rule   esc goes back"

    def __init__(self, rows: Sequence[ProgressRow], rule: FinalistRule, finalists: tuple[int, ...]) -> None:
        super().__init__(rule_text(rule), [self._line(row) for row in rows], finalists)

    @staticmethod
    def _line(row: ProgressRow) -> str:
        runs = words.plural(row.done, "run")
        return f"{row.configuration.network.label:<22} {runs:>7}  {words.spread(row.mean, row.deviation)}"


class Annotation(Dialog[tuple[str, tuple[str, ...]] | None]):
    """Asks for a run's note and tags."""

    def __init__(self, text: str, tags: tuple[str, ...]) -> None:
        super().__init__()
        self._text, self._tags = text, tags

    def compose(self) -> ComposeResult:
        """Compose the two fields and the keys."""
        with Vertical():
            yield Label("note")
            yield Input(self._text, id="note", max_length=2_000)
            yield Label("tags, separated by spaces")
            yield Input(" ".join(self._tags), id="tags", max_length=500)
            yield Label(Text("tab next   enter saves   esc goes back"))

    def on_input_submitted(self) -> None:
        """Return note and tags."""
        note, tags = (self.query_one(f"#{name}", Input).value for name in ("note", "tags"))
        self.dismiss((note, tuple(tags.split())))


class WhereToTrain(Dialog[Fleet | None]):
    """Asks where to train: on this machine, in Slurm, or on other machines."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    def compose(self) -> ComposeResult:
        """Compose the four fields and the keys; empty fields mean this machine."""
        fleet = self._fleet
        slurm = "" if fleet.slurm is None else fleet.slurm or " "
        with Vertical():
            yield Label(Text("Where to train; empty fields: on this machine\n", style="bold"))
            yield Label("Slurm: options of srun; empty: without Slurm")
            yield Input(slurm, id="slurm", max_length=500, placeholder="--gres=gpu:1 --time=4:00:00")
            yield Label("Slurm workers at the same time")
            yield Input(str(max(1, fleet.workers)), id="workers", type="integer", validators=[Integer(1, 1_000)])
            yield Label("Other machines, as ssh knows them, separated by spaces")
            yield Input(" ".join(fleet.ssh), id="boxes", max_length=1_000)
            yield Label("GPUs of this machine: all, none, or numbers of nvidia-smi such as 1,3")
            yield Input(fleet.gpus, id="gpus", max_length=400, placeholder="all")
            yield Label(Text("tab next   enter saves   esc goes back"))

    def on_input_submitted(self) -> None:
        """Return the fleet, or notify what is wrong with it."""
        typed = {field.id: field.value for field in self.query(Input)}
        if not self.query_one("#workers", Input).is_valid:
            self.notify("Slurm workers: a whole number, from 1 to 1,000.", severity="error")
            return
        slurm = typed["slurm"].strip() if typed["slurm"] else None
        try:
            self.dismiss(fleets.parse(slurm, int(typed["workers"] or 1), typed["boxes"], typed["gpus"]))
        except ValueError as error:
            self.notify(str(error), severity="error", markup=False)
