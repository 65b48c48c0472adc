"""Commands that need NumPy or TensorFlow: each runs in a process of its own and answers in JSON."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from engine.protocol import DataSet
from svhn_tui.exit_codes import WRONG_USE
from svhn_tui.presets import Presets, Question
from svhn_tui.printing import Plain, say, tell
from svhn_tui.words import clean


def check_data(source: Sequence[str], *, as_json: bool) -> int:
    """Describe a data set on stdout; return the exit code."""
    return _describe([sys.executable, "-m", "engine.data", "describe", *source], as_json=as_json)


def make_demo_data(folder: Path, train: int, test: int, *, as_json: bool) -> int:
    """Write a demo data set into a folder and describe it; return the exit code."""
    sizes = ["--train", str(train), "--test", str(test)]
    return _describe([sys.executable, "-m", "engine.demo_data", str(folder), *sizes], as_json=as_json)


def verify(file: Path, source: Sequence[str], book: Presets, question: Question | None, *, as_json: bool) -> int:
    """Open a file in plain TensorFlow Keras and print what it is; return the exit code."""
    command = [sys.executable, "-m", "engine.verify", str(file), "--data", *source]
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
        command += ["--question", json.dumps(asked)]
    done = subprocess.run([*command, *(["--json"] if as_json else [])], capture_output=True, check=False)
    print(clean(done.stderr.decode(errors="replace"), newlines=True), end="", file=sys.stderr)
    if as_json and done.stdout:
        tell(msgspec.json.decode(done.stdout))
    elif done.stdout:
        say(done.stdout.decode(errors="replace").rstrip("\n"))
    return done.returncode


def _describe(command: list[str], *, as_json: bool) -> int:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        print(clean(done.stderr.decode(errors="replace").strip()), file=sys.stderr)
        return done.returncode
    if as_json:
        tell(msgspec.json.decode(done.stdout))
    else:
        Plain().print(_table(msgspec.json.decode(done.stdout, type=DataSet)))
    return 0


def _table(data: DataSet) -> Table:
    mark = "  demo data: drawn digits, not SVHN" if data.is_demo else ""
    title = Text(f"{clean(data.name)}{mark}")
    caption = Text(f"images {data.input_shape}, uint8 · fingerprint {data.fingerprint}")
    table = Table("digit", title=title, caption=caption, title_justify="left", caption_justify="left", box=None)
    for side in ("train", "test"):
        table.add_column(side, justify="right")
    for label, train, test in zip(data.labels, data.train_counts, data.test_counts, strict=True):
        table.add_row(Text(clean(label)), f"{train:,}", f"{test:,}")
    table.add_row("all", f"{data.train_images:,}", f"{data.test_images:,}", style="bold")
    return table
