"""Page 6: what the runs are trained on: sizes, and how often each digit occurs."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.theme import Theme
from textual.widgets import Static

from engine.protocol import DataSet
from svhn_tui import words
from svhn_tui.screens.page import Page
from svhn_tui.state import State
from svhn_tui.themes import dim_of, line_colors

NARROW, TALL = 100, 30
LONGEST_BAR = 40
HALF = "╸"


class DataPage(Page):
    """The data set in words and bars."""

    TITLE_IN_BAR = "Data"
    CSS: ClassVar[str] = "DataPage #data { padding: 1 2 0 2; } DataPage.narrow #data { padding: 0 1; }"

    def body(self) -> ComposeResult:
        """One page that scrolls where it is too long."""
        with VerticalScroll(id="data"):
            yield Static(id="about")

    def show(self, state: State) -> None:
        """Draw the data set."""
        self.set_class(self.size.width < NARROW, "narrow")
        about, theme = self.query_one("#about", Static), self.app.current_theme
        if state.data is None:
            said = "Opening the data…" if state.connected else "Starting the engine…"
            about.update(Text(said, dim_of(theme)))
            return
        page = Table.grid(expand=True)
        page.add_row(facts_of(state.data, theme))
        page.add_row(Text(""))
        page.add_row(counts_of(state.data, theme, self.size.width - 4))
        if self.size.height >= TALL:
            page.add_row(Text(f"\n{guess_of(state.data)}", dim_of(theme)))
        about.update(page)


def facts_of(data: DataSet, theme: Theme) -> Text:
    """Name, sizes and files; and in plain words when it is not the assignment's data."""
    dim = dim_of(theme)
    channels, height, width = data.input_shape
    text = Text.assemble((words.clean(data.name), "bold"))
    if data.is_demo:
        text.append("   demo data", f"bold {theme.warning}")
        text.append("\nDrawn digits, not the assignment's pictures: ", str(theme.warning))
        text.append("good for trying things out, nothing to hand in. svhn-tui --data DIR opens the real files.")
    images = f"{words.count(data.train_images)} to train, {words.count(data.test_images)} to test"
    text.append(f"\n{images}", "bold")
    text.append(f"   {height} x {width} pixels, {channels} colours, {len(data.labels)} classes", dim)
    for path in (data.train_path, data.test_path):
        text.append(f"\n{words.clean(path)}", dim)
    text.append(f"\nfingerprint {words.clean(data.fingerprint)}", dim)
    return text


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
