"""Every option and argument of every command, given what no one should: a sentence, an exit code, nothing started."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from svhn_tui.cli import main

NEEDED = {
    "run": ["Q2"], "evidence": ["Q8"], "choose": ["Q5"], "finalists": ["Q10"], "verify": ["{file}", "-d", "{folder}"],
    "pack": ["{folder}/new.zip"], "import": ["{file}"], "data check": ["{folder}"],
    "data demo": ["{folder}/demo"],
}  # fmt: skip
"""What a command needs beside what is tried."""
PATHS = {"workspace", "data", "folder", "file", "source", "plot", "parquet", "tensorboard"}
TEXTS = [
    "",
    " ",
    "garbage",
    "-1",
    "0",
    "9" * 30,
    "9" * 5_000,
    "1.5",
    "1e9",
    "nan",
    "inf",
    "½",
    "[/x]",
    "\x1b]52;c;x\x07",
]
FINE = {
    ("slurm", ""), ("slurm", " "),  # this machine alone
    ("slurm", "-1"),  # srun has such options
    *(("worker_ssh", name) for name in ("garbage", "0", "9" * 30, "1.5", "1e9", "nan", "inf")),  # as good as any name
    *(("configurations", number) for number in ("0",)),
    *(("only", text) for text in TEXTS),  # a filter may be any text
}  # fmt: skip
"""What is given there is right, or nothing tells that it is not before the work begins."""


class Started(AssertionError):
    """A process was about to be started."""


def commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and each of its parameters."""
    for parameter in command.params:
        yield names, parameter
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *names, name)


WALK = list(commands(typer.main.get_command(main.app)))


def paths(folder: Path, name: str) -> list[str]:
    """What is not a path, or one of another kind than is wanted."""
    pipe, file = folder / "pipe", folder / "file"
    os.mkfifo(pipe)
    file.write_text("x")
    none = ["", " ", "~nobody-of-this-name/x", "x" * 300, "y/" * 3_000, f"{file}/below"]
    links = [folder / "link to what is gone", folder / "link to itself, so gone"]
    for link, target in zip(links, ("nowhere", links[1].name), strict=True):
        link.symlink_to(target)
    wrong = [str(pipe), "/dev/null", "/dev/zero", *map(str, links)]
    gone = [str(folder / "gone")] if name in ("data", "file", "source") else []
    return [*none, *wrong, *gone, *([str(file)] if name not in ("file", "plot") else [])]


def outcome_of(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return the exit code and what stderr says."""
    monkeypatch.setattr(sys, "argv", ["svhn-tui", *arguments])
    code = main.carried_out()
    captured = capsys.readouterr()
    assert not captured.out
    return code, captured.err


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def start(*arguments: object, **options: object) -> NoReturn:
        raise Started(str(arguments))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "svhn-workspace").mkdir()
    for module, name in (
        (asyncio, "create_subprocess_exec"),
        (subprocess, "run"),
        (subprocess, "Popen"),
        (os, "execvp"),
    ):
        monkeypatch.setattr(module, name, start)


@pytest.mark.parametrize(("names", "parameter"), WALK, ids=[f"{' '.join(names)} {one.name}" for names, one in WALK])
def test_no_value_of_any_option_is_answered_with_more_than_a_sentence(
    names: tuple[str, ...], parameter: Any, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    values = paths(tmp_path, parameter.name) if parameter.name in PATHS else TEXTS
    if parameter.name == "file" and names == ("pack",):
        values.remove(str(tmp_path / "gone"))
    if getattr(parameter, "is_flag", False):
        values = ["", "garbage", "1"]
    (tmp_path / "model.keras").write_bytes(b"x")
    given = [word.format(folder=tmp_path, file=tmp_path / "model.keras") for word in NEEDED.get(" ".join(names), ())]
    if (*names, parameter.name) == ("verify", "data"):
        given = given[:1]
    for value in values:
        if (parameter.name, value) in FINE:
            continue
        if parameter.param_type_name == "option":
            arguments = [*names, f"{parameter.opts[0]}={value}", *given]
        else:
            others = [] if parameter.required else given[:1]
            arguments = [*names, *(given[1:] if parameter.required else ()), "--", *others, value]
        code, printed = outcome_of(arguments, monkeypatch, capsys)
        assert code in (1, 2), (arguments, printed)
        assert printed.startswith("svhn-tui: "), arguments
        assert printed.count("\n") == 1, printed
        assert len(printed) < 700, printed
        assert "defect" not in printed, printed
        assert printed.rstrip().endswith((".", "?")), printed
        assert "\x1b" not in printed
        is_gone = "gone" in value or "folder;" in printed or "below" in value
        assert code == 2 or is_gone, (arguments, printed)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frob"],
        ["run"],
        ["run", "--frob"],
        ["data"],
        ["verify"],
        ["choose"],
        ["status", "x"],
        ["-w"],
        ["run", "Q2", "-d"],
    ],
)
def test_wrong_commands_get_a_sentence_too(arguments: list[str], monkeypatch: Any, capsys: Any):
    code, printed = outcome_of(arguments, monkeypatch, capsys)
    assert (code, printed.count("\n")) == (2, 1)
    assert "--help" in printed


def test_what_is_no_text_is_named(monkeypatch: Any, capsys: Any):
    for names, parameter in WALK:
        words = [f"{parameter.opts[0]}=\udcff"] if parameter.param_type_name == "option" else ["\udcff"]
        code, printed = outcome_of([*names, *words], monkeypatch, capsys)
        assert (code, "is not UTF-8 text" in printed) == (2, True)


def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: Any, capsys: Any):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    code, printed = outcome_of(["status"], monkeypatch, capsys)
    assert (code, "current folder is gone" in printed) == (1, True)


def test_each_command_has_a_whole_line_in_the_help_and_each_option_says_what_it_takes():
    program = typer.main.get_command(main.app)
    groups = [program, *(program.commands[name] for name in ("data", "course"))]
    for command in (*groups, *(inner for group in groups for inner in group.commands.values())):
        text = command.get_help(command.context_class(command, info_name="svhn-tui", terminal_width=80))
        _, *lines = text.splitlines()
        assert not [line for line in lines if line.endswith("...") or re.match(r" +-.* <[a-z]", line)]


def test_what_is_no_command_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    code, error = outcome_of(["dat"], monkeypatch, capsys)
    assert code == 2
    assert "Did you mean 'data'? See `svhn-tui --help`." in error
