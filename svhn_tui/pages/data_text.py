"""The Data page's texts and bars, and a run's confusion matrix. Pure."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual.theme import Theme

from engine.protocol import DataSet, Picture
from svhn_tui import words
from svhn_tui.themes import dim_of, line_colors

LONGEST_BAR = 40
HALF = "╸"


def caption_of(shown: Picture, labels: Sequence[str]) -> str:
    """Format a wrong prediction, the true class and the prediction's probability: `1, not 5  97 %`."""
    true = words.clean(labels[shown.label])
    if shown.predicted is None or shown.confidence is None:
        return true
    return f"{words.clean(labels[shown.predicted])}, not {true}  {100 * shown.confidence:.0f} %"


def confusion_of(confusion: Sequence[Sequence[int]], labels: Sequence[str], theme: Theme, width: int) -> Table:
    """Return the confusion matrix: a row a true class, a column a predicted one, and the recall.

    If not all columns fit, each class has one column: the class with which it is most often confused.
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
    """Return the style of a count: the most frequent error of a row is underlined, rare ones are dim."""
    if count and count == worst:
        return f"underline {theme.warning}"
    return dim_of(theme) if count * 4 < worst or not count else ""


def facts_of(data: DataSet, theme: Theme) -> Text:
    """Return name, sizes and files of a data set, and a remark if it is not the assignment's."""
    dim = dim_of(theme)
    text = Text.assemble((words.clean(data.name), "bold"))
    if data.is_demo:
        text.append("   demo data", f"bold {theme.warning}")
        text.append("\nDrawn digits, not the assignment's pictures: ", str(theme.warning))
        text.append("good for trying things out, nothing to hand in. svhn-tui --data DIR opens the real files.")
    images = f"{words.count(data.train_images)} to train, {words.count(data.test_images)} to test"
    text.append(f"\n{images}", "bold")
    text.append(f"   {_inputs_of(data)}, {len(data.labels)} classes", dim)
    for doubt in data.doubts:
        text.append(f"\n{words.clean(doubt)}", str(theme.warning))
    for path in data.paths:
        text.append(f"\n{words.clean(path)}", dim)
    text.append(f"\nfingerprint {words.clean(data.fingerprint)}", dim)
    return text


def _inputs_of(data: DataSet) -> str:
    """Describe the inputs: `32 x 32 pixels, 3 colours`, or `13 features`, with their type if it is unusual."""
    kind = "" if data.dtype == "uint8" else f", {data.dtype}"
    if len(data.input_shape) == 1:
        return f"{words.plural(data.input_shape[0], 'feature')}{kind}"
    channels, height, width = data.input_shape
    return f"{height} x {width} pixels, {'grey' if channels == 1 else f'{channels} colours'}{kind}"


def line_of(data: DataSet) -> str:
    """Describe in a line another data set that questions are about."""
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
    """State the accuracy of always predicting the most frequent class, which any network has to exceed."""
    count = max(data.test_counts, default=0)
    if not count:
        return ""
    label = data.labels[data.test_counts.index(count)]
    share = words.accuracy(count / max(1, data.test_images))
    return f"Always saying {words.clean(label)} would be right for {share} of the test images."


def _bar(share: float, width: int) -> str:
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    return ("━" * (halves // 2) + HALF * (halves % 2)).ljust(width)
