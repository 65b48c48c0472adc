"""What leaves the program for terminals of every kind, and what stands there when their size changes at any moment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import busy_host, terminal
from tests.support.patience import PATIENCE
from tests.support.terminal import Terminal

SGR = re.compile(rb"\x1b\[([\d;]*)m")
TRUE_COLOUR, EIGHT_BIT = re.compile(r"[34]8;2;"), re.compile(r"[34]8;5;")
ANY_COLOUR = re.compile(r"(^|;)([34][0-8]|9[0-7]|10[0-7])(;|$)")
CTRL_L = "\x0c"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busy_host.write(tmp_path_factory.mktemp("busy") / "events.jsonl", 20, 3_000)


def opened(events: Path, columns: int = 80, lines: int = 24, **environment: str | None) -> Terminal:
    """The program on a fake engine, in a terminal that says nothing of colours but by its name."""
    engine = f"{sys.executable} -m tests.support.fake_engine {events} --rate 60"
    kind = {"COLORTERM": None, "NO_COLOR": None, **environment}
    return Terminal(events.parent / "w", columns, lines, SVHN_TUI_ENGINE=engine, **kind)


def looks_sent(terminal: Terminal) -> list[str]:
    """Every look that was asked for, once questions, curves and pictures were on the screen."""
    terminal.until(lambda text: "Q11" in text and "training" in text)
    terminal.press("2")
    terminal.until(lambda text: re.search(r"epoch \d+ of", text) is not None)
    terminal.press("6")
    terminal.until(lambda text: re.search(r"▀{3}|={5}", text) is not None)
    terminal.press("q")
    assert terminal.ended() == 0
    assert b"\x1b[?1049l" in terminal.sent[-200:], "it gives the terminal back"
    return [look.decode() for look in SGR.findall(bytes(terminal.sent))]


@pytest.mark.parametrize(
    ("kind", "has_true_colour", "has_256"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, True, False),
        ({"TERM": "tmux-256color"}, False, True),
        ({"TERM": "screen"}, False, False),
        ({"TERM": "xterm-16color"}, False, False),
    ],
    ids=lambda value: value.get("TERM", "") if isinstance(value, dict) else "",
)
def test_a_terminal_gets_the_colours_that_it_has(
    events: Path, kind: dict[str, str], has_true_colour: bool, has_256: bool
):
    with opened(events, **kind) as terminal:
        looks = looks_sent(terminal)
        assert ("▀" in terminal.sent.decode(errors="replace")) == (has_true_colour or has_256), "or else in shades"
    assert any(map(TRUE_COLOUR.search, looks)) == has_true_colour
    assert any(map(EIGHT_BIT.search, looks)) == has_256
    assert any(map(ANY_COLOUR.search, looks))


def test_without_colours_only_bold_and_reversed_leave(events: Path):
    with opened(events, NO_COLOR="1") as terminal:
        looks = looks_sent(terminal)
    assert not any(map(ANY_COLOUR.search, looks))
    assert any("7" in look.split(";") for look in looks), "the line under the cursor is seen all the same"


def is_whole(text: str) -> bool:
    """Whether the Questions page stands there from its first line to its last."""
    lines = text.splitlines()
    return "svhn-tui" in lines[0] and re.search(r"Q11 .*│", text) is not None and "? keys" in lines[-1]


def test_any_size_at_any_moment_and_what_others_wrote_over_it(events: Path):
    with opened(events, 120, 40, COLUMNS="80", LINES="24") as terminal:  # as a parent may leave them, long since wrong
        terminal.until(is_whole)
        for page, name in (("2", "2 Live"), ("3", "3 Runs"), ("6", "6 Data"), ("1", "1 Questions")):
            terminal.press(page)
            terminal.until(lambda text, name=name: name in text.splitlines()[0])
            for size in ((20, 6), (200, 60), (33, 9), (120, 40)):
                terminal.resize(*size)
        terminal.resize(80, 24)
        terminal.until(is_whole)
        terminal.scribble("somebody wrote over it")
        terminal.press(CTRL_L)
        terminal.until(lambda text: is_whole(text) and "somebody" not in text)
        terminal.scribble("what a terminal leaves of it")
        terminal.resize(100, 30)
        terminal.resize(80, 24)  # back before the program could have looked
        terminal.until(lambda text: is_whole(text) and "what a terminal" not in text)


LATE = """
import signal
from svhn_tui.terminal.driver import DiffDriver
read, calls = DiffDriver._get_terminal_size, []
def late(driver):
    calls.append(None)
    if len(calls) != 2:
        return read(driver)
    signal.raise_signal(signal.SIGWINCH)
    return 33, 9
DiffDriver._get_terminal_size = late
from svhn_tui.cli.main import main
main()
"""
"""The program, whose window changes again the moment after a size of it was read."""


def test_the_last_of_two_sizes_counts_though_the_window_changes_while_the_first_is_read(
    events: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(terminal, "PROGRAM", [sys.executable, "-c", LATE])
    with opened(events, 120, 40) as shown:
        shown.until(is_whole)
        shown.resize(80, 24)
        assert not is_whole(shown.text), "the terminal has cut off the first lines"
        shown.until(is_whole)


@pytest.mark.parametrize("kind", ["dumb", "unknown", None])
def test_a_terminal_that_cannot_show_it_is_told_what_to_use_instead(events: Path, kind: str | None):
    with opened(events, TERM=kind) as terminal:
        assert terminal.ended() == 2
        assert "svhn-tui run Q2" in terminal.text.replace("\n", " ")
        assert not SGR.findall(bytes(terminal.sent))


def test_what_comes_in_one_burst_is_obeyed_in_its_order(events: Path):
    with opened(events, 120, 40) as shown:
        shown.until(lambda text: "training" in text)
        shown.press("\x1b[B" * 6 + "R5\t3\r" + "\x1b[A" * 5 + "\r" + "3/activation=relu\rc")
        shown.until(lambda text: "d by class" in text)
        shown.press("!")
        screen = shown.until(lambda text: "esc goes back" in text)
        assert "6 runs to train" in screen, "Q7 with 5 epochs and 3 seeds"
        assert "1 run to train" in screen, "Q2"


BROKEN = "from {0} import {1}; {1}.{2} = lambda *given, **named: 1 / 0; from svhn_tui.cli.main import main; main()"


@pytest.mark.parametrize(
    ("defect", "keys"),
    [(("svhn_tui.pages.runs", "RunsPage", "show"), "3"), (("svhn_tui.analysis.notices", "Notices", "of"), "")],
)
def test_a_defect_is_a_sentence_and_gives_the_terminal_back(
    defect: tuple[str, str, str], keys: str, events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(terminal, "PROGRAM", [sys.executable, "-c", BROKEN.format(*defect)])
    with opened(events, XDG_CONFIG_HOME=str(tmp_path)) as shown:
        if keys:
            shown.until(lambda text: "training" in text)
            shown.press(keys)
        assert shown.ended() == 1
        screen = shown.text
        assert "\x1b[?1049l" in shown.sent.decode(errors="replace")
    log = tmp_path / "svhn-tui" / "defects.log"
    assert "ZeroDivisionError" in screen and "defects.log" in screen.replace("\n", "")
    assert "Traceback" not in screen and "1 / 0" not in screen
    assert "in <lambda>" in log.read_text(), "where it happened"


def test_a_defect_of_a_command_is_a_sentence(tmp_path: Path):
    broken = BROKEN.format("svhn_tui.cli", "report", "print_status")
    home = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    for environment in (home, {**home, "XDG_CONFIG_HOME": "/proc"}):
        done = subprocess.run(
            [sys.executable, "-c", broken, "status", "--workspace", str(tmp_path)], env=environment,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith("svhn-tui: A defect of svhn-tui ended it: ZeroDivisionError")
        assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert "Traceback" in (tmp_path / "svhn-tui" / "defects.log").read_text()
