"""A bell and a notice: the one that the terminal takes, through tmux too, and nothing in it that a terminal obeys."""

import subprocess
from pathlib import Path

import pytest

from svhn_tui import settings
from svhn_tui.terminal.attention import call_of
from tests.host.test_stages import worker
from tests.support.terminal import PROGRAM, Terminal

PLAIN = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        (PLAIN, "\x1b]9;svhn-tui: Q7 is done; 5\x1b\\\a"),
        ({**PLAIN, "TERM_PROGRAM": "iTerm.app"}, "\x1b]9;svhn-tui: Q7 is done; 5\x1b\\\a"),
        ({"TERM": "foot"}, "\x1b]777;notify;svhn-tui;Q7 is done, 5\x1b\\\a"),
        ({**PLAIN, "TERM_PROGRAM": "WezTerm"}, "\x1b]777;notify;svhn-tui;Q7 is done, 5\x1b\\\a"),
        (
            {"TERM": "xterm-kitty"},
            "\x1b]99;i=svhn-tui:d=0;svhn-tui\x1b\\\x1b]99;i=svhn-tui:p=body;Q7 is done; 5\x1b\\\a",
        ),
        ({"TERM": "linux"}, "\a"),
        (
            {"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0", "TERM_PROGRAM": "tmux"},
            "\x1bPtmux;\x1b\x1b]9;svhn-tui: Q7 is done; 5\x1b\x1b\\\x1b\\\a",
        ),
        (
            {"TERM": "tmux-256color", "TMUX": "x", "WEZTERM_PANE": "0"},
            "\x1bPtmux;\x1b\x1b]777;notify;svhn-tui;Q7 is done, 5\x1b\x1b\\\x1b\\\a",
        ),
    ],
)
def test_one_notice_that_the_terminal_takes_and_a_bell(environment: dict[str, str], sent: str):
    assert call_of("svhn-tui", "Q7 is done; 5", environment) == sent


@pytest.mark.parametrize("environment", [PLAIN, {"TERM": "xterm-kitty"}, {"TERM": "foot"}])
def test_text_from_outside_ends_no_sequence_and_begins_none(environment: dict[str, str]):
    plain = call_of("svhn-tui", "x", environment)
    text = "x\x07\x1b\\\x1b]52;c;aGk=\x07\x9c\x9d\u202e\n" + "y" * 10_000
    hostile = call_of("svhn-tui", text, environment)
    for control in ("\x07", "\x1b", "\x9c", "\x9d", "\n", "\u202e"):
        assert hostile.count(control) == plain.count(control)
    assert len(hostile) < 350


@pytest.mark.parametrize("wanted", [True, False], ids=["by default", "turned off"])
def test_the_program_calls_when_a_question_is_complete_unless_the_settings_say_no(
    demo_folder: Path, tmp_path: Path, wanted: bool
):
    if not wanted:
        settings.save(alerts=False)
    with Terminal(tmp_path / "w", 80, 24, "--data", str(demo_folder), TMUX=None, **worker()) as terminal:
        terminal.until(lambda text: "demo data" in text)
        terminal.press("?")
        terminal.until(lambda text: "Keys of Questions" in text)
        terminal.press("\x1b[F")
        terminal.until(
            lambda text: ("turns them off" if wanted else "turns it on") in " ".join(text.replace("│", " ").split())
        )
        terminal.press("q")
        terminal.until(lambda text: "Keys of" not in text)
        terminal.press("\x1b[B\r")
        terminal.until(lambda text: "every run is trained" in text)
        terminal.press("q")
        assert terminal.ended() == 0
        assert (b"\x1b]9;svhn-tui: Complete: Q2: every run is trained.\x1b\\\a" in terminal.sent) == wanted
        assert (b"\x1b]9;" in terminal.sent) == wanted
    subprocess.run([*PROGRAM, "stop", "--workspace", str(tmp_path / "w")], capture_output=True, check=False)
