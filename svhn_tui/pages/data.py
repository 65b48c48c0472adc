"""Page 6: what the runs are trained on, and what a finished run makes of it."""

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
from textual.theme import Theme

from engine.protocol import DataSet, Inspect, Inspected, Picture, RunResult
from svhn_tui import words
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import PickRun
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets
from svhn_tui.themes import dim_of, line_colors
from svhn_tui.widgets.pictures import picture
from svhn_tui.widgets.sheet import Sheet

NARROW, WIDE, TALL = 100, 160, 30
LONGEST_BAR = 40
HALF = "╸"


class DataPage(Page):
    """The data set in words and bars."""

    TITLE_IN_BAR = "Data"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "pick", "look at a run…", tooltip="what a finished run says of the test images"),
        Binding("escape,b", "back", "back to the data"),
    ]
    CSS: ClassVar[str] = "DataPage #data { padding: 1 2 0 2; } DataPage.narrow #data { padding: 0 1; }"

    run: reactive[str] = reactive("")
    """The finished run that is looked at; without one, the data is."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._wanted: set[tuple[str, str]] = set()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the way back from a run, and runs where there are any."""
        offered = {"back": bool(self.run), "pick": bool(self.state.results)}
        return offered.get(action, True)

    def action_pick(self) -> None:
        """Choose a finished run to look at."""

        def look(run_id: str | None) -> None:
            if run_id is not None:
                self.run = run_id

        data = self.state.data.fingerprint if self.state.data else ""
        runs = [run for run in self.state.results.values() if run.spec.data == data and not run.is_recorded]
        runs.sort(key=lambda run: (-run.accuracy_or_nan, run.run_id))
        self.app.push_screen(PickRun(runs), look)

    def action_back(self) -> None:
        """Show the data again."""
        self.run = ""

    def watch_run(self) -> None:
        """Look at another run from its top."""
        self._wanted.clear()
        if self.is_mounted:
            self.query_one("#data", VerticalScroll).scroll_home(animate=False)
            self.redraw()

    def _inspected(self, state: State) -> Inspected | None:
        """Return what is known of what is looked at, and ask for it once when nothing is."""
        data = state.data.fingerprint if state.data else ""
        inspected = state.inspected.get(self.run)
        lacks = inspected is None or bool(inspected.problem)  # what failed is tried again by whoever comes back to it
        if lacks and (data, self.run) not in self._wanted:
            self._wanted.add((data, self.run))
            self.want(Inspect(run_id=self.run))
        return inspected

    def body(self) -> ComposeResult:
        """One page that scrolls where it is too long."""
        with VerticalScroll(id="data"):
            yield Sheet(id="about")

    def show(self, state: State) -> None:
        """Draw the data set."""
        self.set_class(self.size.width < NARROW, "narrow")
        about, theme = self.query_one("#about", Sheet), self.app.current_theme
        if state.data is None:
            about.update(Text(words.clean(state.lacking), dim_of(theme)))
            return
        inspected = self._inspected(state)
        if self.run in state.results:
            about.update(self._run_page(state.results[self.run], inspected, state.data))
            return
        guess = [Text(f"\n{guess_of(state.data)}", dim_of(theme))] if self.size.height >= TALL else []
        counts = counts_of(state.data, theme, self.size.width - 4)
        pictures: list[RenderableType] = []
        if inspected is not None and inspected.problem:
            pictures.append(Text(f"No image can be shown: {words.clean(inspected.problem)}", str(theme.error)))
        elif inspected is not None:
            pictures.append(self._gallery(inspected.pictures, state.data))
        others = [other for name in self.book.data if (other := state.on(name).data) and other != state.data]
        beside = [Text("\n".join(map(_line_of, others)), dim_of(theme))] if others else []
        about.update(Stack(facts_of(state.data, theme), *beside, "", counts, *guess, "", *pictures))

    def _run_page(self, run: RunResult, inspected: Inspected | None, data: DataSet) -> Stack:
        """Confusion matrix, the surest mistakes, and what a linear network looks for."""
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
            parts.append(Text("\nwhat each class looks for (its weights)", "bold"))
            templates = tuple(Picture(label, pixels) for label, pixels in enumerate(inspected.templates))
            parts.append(self._gallery(templates, data))
        parts.append(Text("\nthe surest mistakes: what it said, what is true, and how sure it was", "bold"))
        parts.append(self._gallery(inspected.pictures, data))
        return Stack(*parts)

    @property
    def _has_colors(self) -> bool:
        """Whether the terminal has colours enough for pictures; sixteen are too few."""
        return not self.app.no_color and self.app.console.color_system in ("256", "truecolor")

    def _gallery(self, pictures: Sequence[Picture], data: DataSet) -> Table:
        """Draw as many pictures side by side as there is room for, a line of words under each."""
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


def caption_of(shown: Picture, labels: Sequence[str]) -> str:
    """`1, not 5  97 %`: what was said, what is true, and how sure the run was."""
    true = words.clean(labels[shown.label])
    if shown.predicted is None or shown.confidence is None:
        return true
    return f"{words.clean(labels[shown.predicted])}, not {true}  {100 * shown.confidence:.0f} %"


def confusion_of(confusion: Sequence[Sequence[int]], labels: Sequence[str], theme: Theme, width: int) -> Table:
    """Return the matrix: a row a true class, a column for each said one, and the share that is right.

    Where there is no room for all columns, each class has the one that it is most often taken for.
    """
    dim = dim_of(theme)
    names = [words.clean(label) for label in labels]
    if max(map(len, names), default=0) + 10 + sum(max(4, len(name)) + 1 for name in names) > width:
        return _commonest_mistakes(confusion, names, theme)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=dim)
    table.add_column("true")
    for label in labels:
        table.add_column(words.clean(label), justify="right", min_width=4)
    table.add_column("right", justify="right")
    for index, counts in enumerate(confusion):
        worst = max((count for column, count in enumerate(counts) if column != index), default=0)
        cells = [
            Text.assemble((f"{count}" if count else "·", "bold" if column == index else _weight(count, worst, theme)))
            for column, count in enumerate(counts)
        ]
        share = counts[index] / sum(counts) if sum(counts) else 0.0
        table.add_row(Text(words.clean(labels[index]), "bold"), *cells, f"{100 * share:.1f} %")
    return table


def _commonest_mistakes(confusion: Sequence[Sequence[int]], names: Sequence[str], theme: Theme) -> Table:
    dim = dim_of(theme)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=dim)
    table.add_column("true")
    for head in ("images", "right"):
        table.add_column(head, justify="right")
    table.add_column("most often taken for")
    for index, counts in enumerate(confusion):
        images = sum(counts)
        others = [column for column, count in enumerate(counts) if column != index and count]
        worst = max(others, key=counts.__getitem__, default=None)
        commonest = "" if worst is None else f"{names[worst]}  {100 * counts[worst] / images:.1f} %"
        right = f"{100 * counts[index] / images:.1f} %" if images else "–"
        table.add_row(Text(names[index], "bold"), words.count(images), right, Text(commonest, dim))
    return table


def _weight(count: int, worst: int, theme: Theme) -> str:
    """Underline the commonest mistake of a row, dim the rare ones."""
    if count and count == worst:
        return f"underline {theme.warning}"
    return dim_of(theme) if count * 4 < worst or not count else ""


def facts_of(data: DataSet, theme: Theme) -> Text:
    """Name, sizes and files; and in plain words when it is not the assignment's data."""
    dim = dim_of(theme)
    text = Text.assemble((words.clean(data.name), "bold"))
    if data.is_demo:
        text.append("   demo data", f"bold {theme.warning}")
        text.append("\nDrawn digits, not the assignment's pictures: ", str(theme.warning))
        text.append("good for trying things out, nothing to hand in. svhn-tui --data DIR opens the real files.")
    images = f"{words.count(data.train_images)} to train, {words.count(data.test_images)} to test"
    text.append(f"\n{images}", "bold")
    text.append(f"   {_inputs_of(data)}, {len(data.labels)} classes", dim)
    for path in data.paths:
        text.append(f"\n{words.clean(path)}", dim)
    text.append(f"\nfingerprint {words.clean(data.fingerprint)}", dim)
    return text


def _inputs_of(data: DataSet) -> str:
    """`32 x 32 pixels, 3 colours`, or `13 features`; with their type where it is not the usual one."""
    kind = "" if data.dtype == "uint8" else f", {data.dtype}"
    if len(data.input_shape) == 1:
        return f"{words.plural(data.input_shape[0], 'feature')}{kind}"
    channels, height, width = data.input_shape
    return f"{height} x {width} pixels, {'grey' if channels == 1 else f'{channels} colours'}{kind}"


def _line_of(data: DataSet) -> str:
    """Say in a line what another data set is that questions are about."""
    images = f"{words.count(data.train_images)} to train, {words.count(data.test_images)} to test"
    return f"beside it {words.clean(data.name)}: {images}, {_inputs_of(data)}, {len(data.labels)} classes"


def counts_of(data: DataSet, theme: Theme, width: int) -> Table:
    """Return a table with two bars a class: images to train and to test, each as a share of its own set."""
    dim, colors = dim_of(theme), line_colors(theme)
    sets = ((data.train_counts, data.train_images), (data.test_counts, data.test_images))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=dim)
    table.add_column("class", no_wrap=True)
    for name in ("train", "test"):
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("share", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    room = max(4, min(LONGEST_BAR, (width - 46) // 2))
    largest = max((count / max(1, images) for counts, images in sets for count in counts), default=1.0) or 1.0
    for index, label in enumerate(data.labels):
        cells: list[Text | str] = [Text(words.clean(label), "bold")]
        for (counts, images), color in zip(sets, (colors[2], colors[0]), strict=True):
            count = counts[index] if index < len(counts) else 0
            share = count / max(1, images)
            cells += [words.count(count), Text(f"{100 * share:.1f} %", dim), Text(_bar(share / largest, room), color)]
        table.add_row(*cells)
    return table


def guess_of(data: DataSet) -> str:
    """Say what always guessing the commonest class would score: what any network has to beat."""
    count = max(data.test_counts, default=0)
    if not count:
        return ""
    label = data.labels[data.test_counts.index(count)]
    share = words.accuracy(count / max(1, data.test_images))
    return f"Always saying {words.clean(label)} would be right for {share} of the test images."


def _bar(share: float, width: int) -> str:
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    return ("━" * (halves // 2) + HALF * (halves % 2)).ljust(width)
