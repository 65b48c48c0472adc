"""Commands that need NumPy or TensorFlow: each runs in a process of its own and answers in JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.machine import child_process, tool_process
from engine.machine.child_process import ChildCommand
from engine.protocol import DataSet
from svhn_tui.cli.exit_codes import WRONG_USE
from svhn_tui.presets import Presets, Question
from svhn_tui.terminal.printing import Plain, say, tell
from svhn_tui.words import clean


def check_data(source: Sequence[str], *, as_json: bool) -> int:
    """Describe a data set on stdout; return the exit code."""
    return _describe(child_process.tool("engine.data.dataset", "describe", "--", *source), as_json=as_json)


def make_demo_data(folder: Path, train: int, test: int, *, as_json: bool) -> int:
    """Write a demo data set into a folder and describe it; return the exit code."""
    sizes = ["--train", str(train), "--test", str(test)]
    return _describe(child_process.tool("engine.data.demo", *sizes, "--", str(folder.absolute())), as_json=as_json)


def verify(file: Path, source: Sequence[str], book: Presets, question: Question | None, *, as_json: bool) -> int:
    """Open a file in plain TensorFlow Keras and print what it is; return the exit code."""
    options = ["--data", *source]
    if question is not None and question.answer is not None and question.answer.of is not None:
        question = book.question(question.answer.of)  # it is about that one's file
    if question is not None:
        configurations = book.configurations(question)
        if len(configurations) != 1:
            print(
                f"svhn-tui: {question.id} is not about one network's file; verify it without --question.",
                file=sys.stderr,
            )
            return WRONG_USE
        asked = {
            "configuration": msgspec.to_builtins(configurations[0]),
            "limit_mib": question.upload.limit_mib if question.upload else None,
            "fitted": question.kind != "code",
        }
        options += ["--question", json.dumps(asked)]
    options += ["--json"] if as_json else []
    done = tool_process.run(child_process.tool("engine.tools.verify", *options, "--", str(file.absolute())))
    print(clean(done.complaint, newlines=True), end="", file=sys.stderr)
    if as_json and done.answer:
        tell(msgspec.json.decode(done.answer))
    elif done.answer:
        say(done.answer.decode(errors="replace").rstrip("\n"))
    return done.status


def _describe(command: ChildCommand, *, as_json: bool) -> int:
    done = tool_process.run(command)
    if done.status:
        print(clean(done.complaint.strip()), file=sys.stderr)
        return done.status
    if as_json:
        tell(msgspec.json.decode(done.answer))
    else:
        Plain().print(_described(msgspec.json.decode(done.answer, type=DataSet)))
    return 0


def _described(data: DataSet) -> Group:
    mark = "  demo data: drawn digits, not SVHN" if data.is_demo else ""
    paths = (Text(clean(path), overflow="fold") for path in (data.train_path, data.test_path))
    about = Text(f"images {data.input_shape}, uint8 · fingerprint {data.fingerprint}")
    return Group(Text(f"{clean(data.name)}{mark}"), *paths, _table(data), about)


def _table(data: DataSet) -> Table:
    table = Table("digit", box=None, pad_edge=False)
    for side in ("train", "test"):
        table.add_column(side, justify="right")
    for label, train, test in zip(data.labels, data.train_counts, data.test_counts, strict=True):
        table.add_row(Text(clean(label)), f"{train:,}", f"{test:,}")
    table.add_row("all", f"{data.train_images:,}", f"{data.test_images:,}", style="bold")
    return table
