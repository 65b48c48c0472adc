"""Page 6: the data set, and a finished run's predictions for it."""

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.reactive import reactive

from engine.protocol import DataSet, Inspect, Inspected, Picture, RunResult
from svhn_tui import words
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import PickRun
from svhn_tui.pages.data_text import caption_of, confusion_of, counts_of, facts_of, guess_of, line_of
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of
from svhn_tui.widgets.pictures import picture
from svhn_tui.widgets.sheet import Sheet

NARROW, WIDE, TALL = 100, 160, 30


class DataPage(Page):
    """Describes a data set in text and bars, or a run's predictions."""

    TITLE_IN_BAR = "Data"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "pick", "inspect a run…", tooltip="a finished run's predictions for the test images"),
        Binding("d", "next_set", "next data set", tooltip="the next data set that questions are about"),
        Binding("escape,b", "back", "back to the data"),
    ]
    CSS: ClassVar[str] = "DataPage #data { padding: 1 2 0 2; } DataPage.narrow #data { padding: 0 1; }"

    run: reactive[str] = reactive("")
    """The finished run that is shown; empty: the data set is."""
    other: reactive[str] = reactive("")
    """The fingerprint of a data set that is shown instead of the one in use."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._wanted: set[tuple[str, str]] = set()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to go back from a run, to choose a run, or to show another data set, where that is possible."""
        others = not self.run and len(self._sets(self.state)) > 1
        offered = {"back": bool(self.run), "pick": bool(self.state.results), "next_set": others}
        return offered.get(action, True)

    def action_pick(self) -> None:
        """Choose a finished run to inspect."""

        def look(run_id: str | None) -> None:
            if run_id is not None:
                self.run = run_id

        seen = self._seen(self.state)
        data = seen.fingerprint if seen else ""
        runs = [run for run in self.state.results.values() if run.spec.data == data and not run.is_recorded]
        runs.sort(key=lambda run: (-run.accuracy_or_nan, run.run_id))
        self.app.push_screen(PickRun(runs), look)

    def action_back(self) -> None:
        """Show the data again."""
        self.run = ""

    def action_next_set(self) -> None:
        """Show the next data set."""
        known = [data.fingerprint for data in self._sets(self.state)]
        seen = known.index(self.other) if self.other in known else 0
        self.other = known[seen + 1] if seen + 1 < len(known) else ""

    def _sets(self, state: State) -> tuple[DataSet, ...]:
        """Return the data set in use, then the others that `experiments.json` names and that are open."""
        named = [state.on(name).data for name in self.book.data]
        return tuple(dict.fromkeys(data for data in (state.data, *named) if data is not None))

    def _seen(self, state: State) -> DataSet | None:
        """Return the data set that is shown."""
        return state.known.get(self.other, state.data)

    def turn_to(self, subjects: tuple[str, ...], origin: str) -> None:
        """Inspect this run."""
        self.run = subjects[0]

    def watch_other(self) -> None:
        """Show another data set from its top."""
        self.watch_run()

    def watch_run(self) -> None:
        """Show another run from its top."""
        self._wanted.clear()
        if self.is_mounted:
            self.query_one("#data", VerticalScroll).scroll_home(animate=False)
            self.redraw()

    def _inspected(self, state: State) -> Inspected | None:
        """Return the inspection of the shown run or data set; request it once if it is missing."""
        data, subject = state.data.fingerprint if state.data else "", self.run or self.other
        inspected = state.inspected.get(subject)
        lacks = inspected is None or bool(inspected.problem)  # a failed one is requested again when the user comes back
        if lacks and (data, subject) not in self._wanted:
            self._wanted.add((data, subject))
            self.request(Inspect(run_id=self.run, data="" if self.run else self.other))
        return inspected

    def body(self) -> ComposeResult:
        """Compose one page that scrolls."""
        with VerticalScroll(id="data"):
            yield Sheet(id="about")

    def show(self, state: State) -> None:
        """Draw the data set."""
        self.set_class(self.size.width < NARROW, "narrow")
        about, theme = self.query_one("#about", Sheet), self.app.current_theme
        data = self._seen(state)
        if data is None:
            about.update(Text(words.clean(state.lacking), dim_of(theme)))
            return
        inspected = self._inspected(state)
        if self.run in state.results:
            run = state.results[self.run]
            about.update(self._run_page(run, inspected, state.known.get(run.spec.data, data)))
            return
        guess = [Text(f"\n{guess_of(data)}", dim_of(theme))] if self.size.height >= TALL else []
        counts = counts_of(data, theme, self.size.width - 4)
        pictures: list[RenderableType] = []
        if inspected is not None and inspected.problem:
            pictures.append(Text(f"No image can be shown: {words.clean(inspected.problem)}", str(theme.error)))
        elif inspected is not None:
            pictures.append(self._gallery(inspected.pictures, data))
        others = [other for other in self._sets(state) if other != data]
        beside = [Text("\n".join(map(line_of, others)), dim_of(theme))] if others else []
        about.update(Stack(facts_of(data, theme), *beside, "", counts, *guess, "", *pictures))

    def _run_page(self, run: RunResult, inspected: Inspected | None, data: DataSet) -> Stack:
        """Return the confusion matrix, the most confident errors, and the weights of a linear network."""
        theme = self.app.current_theme
        dim = dim_of(theme)
        name = f"{run.spec.configuration.label}, seed {run.spec.seed}"
        head = Text.assemble((name, "bold"), (f"   {run.run_id}", dim))
        right = f"{words.count(run.test_correct)} of {words.count(run.test_images)} test images right"
        parts: list[RenderableType] = [head, Text(f"{right}, accuracy {words.accuracy(run.test_accuracy)}\n")]
        if inspected is None:
            return Stack(*parts, Text("Looking at what it says of each test image…", dim))
        if inspected.problem:
            return Stack(*parts, Text(f"It cannot be looked at: {words.clean(inspected.problem)}", str(theme.error)))
        parts.append(confusion_of(inspected.confusion, data.labels, theme, self.size.width - 4))
        if inspected.templates:
            parts.append(Text("\nthe weights of each class", "bold"))
            templates = tuple(Picture(label, pixels) for label, pixels in enumerate(inspected.templates))
            parts.append(self._gallery(templates, data))
        parts.append(Text("\nthe most confident errors: prediction, true class, and probability", "bold"))
        parts.append(self._gallery(inspected.pictures, data))
        return Stack(*parts)

    @property
    def _has_colors(self) -> bool:
        """Whether the terminal has enough colours for pictures; sixteen are too few."""
        return not self.app.no_color and self.app.console.color_system in ("256", "truecolor")

    def _gallery(self, pictures: Sequence[Picture], data: DataSet) -> Table:
        """Draw as many pictures side by side as fit, with a caption under each."""
        height, width = data.input_shape[1:] or (0, 0)
        size = 32 if self.size.width >= WIDE else 16
        columns = max(1, (self.size.width - 4) // (size + 2))
        table = Table.grid(padding=(0, 2, 1, 0))
        for start in range(0, len(pictures), columns):
            row = []
            for shown in pictures[start : start + columns]:
                if len(shown.pixels) != 3 * height * width:
                    continue
                caption = caption_of(shown, data.labels)
                if not shown.pixels:  # a row of features
                    row.append(Text(caption))
                    continue
                drawn = picture(shown.pixels, height, width, size, colored=self._has_colors)
                row.append(Text.assemble(drawn, "\n", caption))
            table.add_row(*row)
        return table
