"""What the system may give a command line program for its input, output, home and locale."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import protocol as p
from engine.machine import os_errors
from svhn_tui import settings
from svhn_tui.terminal import crash_report
from svhn_tui.terminal.printing import Plain
from tests.cli.test_program import svhn_tui
from tests.support.bridge import Bridge
from tests.support.patience import PATIENCE
from tests.support.shared import made_once
from tests.support.terminal import PROGRAM, Terminal

COMMANDS = ("status", "answers", "runs", "doctor", "data check {data}", "evidence Q8")


@pytest.fixture(scope="module")
def workspace(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a finished run and a host."""

    def train(folder: Path) -> None:
        svhn_tui("run", "Q2", "--epochs", "1", "--data", str(demo_folder), workspace=folder / "w")
        svhn_tui("stop", workspace=folder / "w")

    folder = tmp_path_factory.mktemp("streams") / "w"
    shutil.copytree(made_once(tmp_path_factory, "trained", train) / "w", folder)
    with Bridge(folder, begins=False) as screen:
        screen.until_kind(p.CaughtUp)
        yield folder
        screen.end()


def shell(line: str, workspace: Path, demo: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `P` is the program."""
    program = " ".join(f"'{word}'" for word in PROGRAM)
    given = {**os.environ, "SVHN_TUI_WORKSPACE": str(workspace), **environment}
    script = f'P() {{ {program} "$@"; }}\n{line.replace("{data}", str(demo))}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, env=given, check=False, timeout=PATIENCE, text=True
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_stdout_is_a_sentence(command: str, workspace: Path, demo_folder: Path):
    done = shell(f"P {command} >/dev/full", workspace, demo_folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "No room is left on the disk" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_who_reads_only_the_start_gets_no_complaint(command: str, workspace: Path, demo_folder: Path):
    done = shell(f"P {command} | true; echo ${{PIPESTATUS[0]}}", workspace, demo_folder)
    assert (done.stdout, done.stderr) in (("1\n", ""), ("0\n", ""))  # 0: all was written before the reader left
    assert shell(f"P {command} | head -1", workspace, demo_folder).stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_if_nobody_listened(closed: str, workspace: Path, demo_folder: Path):
    for command in COMMANDS:
        done = shell(f"P {command} {closed}", workspace, demo_folder)
        assert (done.returncode, done.stderr) == (0, ""), command
    wrong = shell(f"P run Q22 {closed}", workspace, demo_folder)
    assert wrong.returncode == 2
    assert shell(f"P {closed}", workspace, demo_folder, TERM="xterm").returncode == 2


def test_a_full_disk_behind_stderr_changes_no_exit_code(workspace: Path, demo_folder: Path):
    assert shell("P run Q22 2>/dev/full", workspace, demo_folder).returncode == 2
    assert shell("P status 2>/dev/full", workspace, demo_folder).returncode == 0


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_output_is_utf8_or_has_replaced_characters(encoding: str, workspace: Path, demo_folder: Path):
    for command in COMMANDS:
        line = f"P {command} >/dev/null; echo $? >&2"
        done = shell(line, workspace, demo_folder, PYTHONIOENCODING=encoding)
        assert done.stderr == "0\n", command


@pytest.mark.parametrize("columns", ["0", "1"])
def test_where_no_column_is_said_to_be_there_the_output_wraps(columns: str, monkeypatch: Any, capsys: Any):
    monkeypatch.setenv("COLUMNS", columns)
    Plain().print("trained: Q2")
    assert capsys.readouterr().out == "trained: Q2\n"


def test_a_screen_that_cannot_be_drawn_is_a_sentence(tmp_path: Path):
    with Terminal(tmp_path, 80, 24, PYTHONIOENCODING="latin-1") as terminal:
        shown = terminal.until(lambda text: "LC_ALL=C.UTF-8" in text)
        assert "The screen is drawn in UTF-8" in shown
        assert terminal.ended() == 1


def test_without_a_home_settings_are_kept_in_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert settings.homeless() == ""
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    settings.save(theme="x")
    assert settings.load().theme == "x"
    folder = settings.settings_file().parent
    assert folder.parent == tmp_path
    assert str(folder) in settings.homeless()
    assert "Details:" in crash_report.sentence_of(ValueError("x"))
    folder.rename(tmp_path / "theirs")
    folder.symlink_to(tmp_path / "theirs")
    assert settings.load().theme == ""
    with pytest.raises(PermissionError):
        settings.save(theme="y")
    assert "Details:" not in crash_report.sentence_of(ValueError("x"))


@pytest.mark.parametrize("number", os_errors.MEANINGS)
def test_what_the_machine_lacks_is_no_defect(number: int):
    error = OSError(number, os.strerror(number), "/some/file")
    assert crash_report.sentence_of(error).startswith("/some/file: ")
    assert "efect" not in crash_report.sentence_of(error)
    try:
        raise ValueError("damaged") from error
    except ValueError as outer:
        assert os_errors.sentence_of(outer, "x").startswith("x: ")
    assert os_errors.sentence_of(ValueError("x")) == ""
    assert "memory" in crash_report.sentence_of(MemoryError())
