"""Data sets: `data check` and `data demo`, each in a process of its own that loads NumPy."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.machine import child_process, tool_process
from engine.machine.child_process import ChildCommand
from engine.protocol import DataSet
from svhn_tui.cli.arguments import JsonOption, LayoutOption, folder_of, path_of, sources
from svhn_tui.cli.commands import command_group
from svhn_tui.terminal.printing import Plain, print_json
from svhn_tui.words import clean

app = command_group()
data_app = command_group("Check a data set, or make a demo one.")
app.add_typer(data_app, name="data")


@data_app.command("check")
def data_check(
    source: Annotated[
        list[Path], typer.Argument(help="A folder, or the data set's files.", parser=path_of, metavar="SOURCE...")
    ],
    layout: LayoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is in a data set's files, or what is wrong."""
    raise typer.Exit(check_data(sources(source), layout or "", as_json=as_json))


@data_app.command("convert")
def data_convert(
    source: Annotated[
        Path, typer.Argument(help="A folder, or a file with training and test images.", parser=path_of, metavar="IN")
    ],
    folder: Annotated[Path, typer.Argument(help="Where the two files go.", parser=folder_of, metavar="OUT")],
    layout: LayoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a data set of images in the assignment's layout."""
    given = [*_layout(layout or ""), "--", *sources([source]), str(folder.absolute())]
    raise typer.Exit(_describe(child_process.tool("engine.data.convert", *given), as_json=as_json))


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Where the two files go.", parser=folder_of, metavar="FOLDER")],
    train: Annotated[int, typer.Option(min=10, max=50_000, metavar="N", help="Training images.")] = 5_000,
    test: Annotated[int, typer.Option(min=10, max=10_000, metavar="N", help="Test images.")] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """Make a demo data set: drawn digits, in the assignment's layout."""
    raise typer.Exit(make_demo_data(folder, train, test, as_json=as_json))


def check_data(source: Sequence[str], layout: str = "", *, as_json: bool) -> int:
    """Describe a data set on stdout; return the exit code."""
    given = ["describe", *_layout(layout), "--", *source]
    return _describe(child_process.tool("engine.data.dataset", *given), as_json=as_json)


def _layout(layout: str) -> list[str]:
    return ["--layout", layout] if layout else []


def make_demo_data(folder: Path, train: int, test: int, *, as_json: bool) -> int:
    """Write a demo data set into a folder and describe it; return the exit code."""
    sizes = ["--train", str(train), "--test", str(test)]
    return _describe(child_process.tool("engine.data.demo", *sizes, "--", str(folder.absolute())), as_json=as_json)


def _describe(command: ChildCommand, *, as_json: bool) -> int:
    done = tool_process.run(command)
    if done.status:
        print(clean(done.stderr.strip()), file=sys.stderr)
        return done.status
    if as_json:
        print_json(msgspec.json.decode(done.stdout))
    else:
        Plain().print(_described(msgspec.json.decode(done.stdout, type=DataSet)))
    return 0


def _described(data: DataSet) -> Group:
    mark = "  demo data: drawn digits, not SVHN" if data.is_demo else ""
    paths = (Text(clean(path), overflow="fold") for path in data.paths)
    what = "images" if len(data.input_shape) == 3 else "rows of features"
    about = Text(f"{what} {data.input_shape}, {data.dtype} · fingerprint {data.fingerprint}")
    doubts = (Text(clean(doubt), "yellow") for doubt in data.doubts)
    return Group(Text(f"{clean(data.name)}{mark}"), *paths, _table(data), about, *doubts)


def _table(data: DataSet) -> Table:
    table = Table("class", box=None, pad_edge=False)
    for side in ("train", "test"):
        table.add_column(side, justify="right")
    for label, train, test in zip(data.labels, data.train_counts, data.test_counts, strict=True):
        table.add_row(Text(clean(label)), f"{train:,}", f"{test:,}")
    table.add_row("all", f"{data.train_images:,}", f"{data.test_images:,}", style="bold")
    return table
