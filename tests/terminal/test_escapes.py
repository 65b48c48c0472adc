"""Whatever stands in labels, notes, names and messages: a terminal, a page and a log get text, and nothing to obey."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.client.reducer import fold
from svhn_tui.export import export
from svhn_tui.pages.navigation import page_of
from svhn_tui.pages.registry import PAGES
from tests.support.hostile_engine import events, presets_text
from tests.support.patience import PATIENCE
from tests.support.scenes import BOOK
from tests.support.terminal import PROGRAM, Terminal

FAKE = f"{sys.executable} -m tests.support.hostile_engine"
OSC = re.compile(r"\x1b\](.*?)(?:\x07|\x1b\\)", re.DOTALL)
"""Operating system commands; 22, the shape of the mouse pointer, is Textual's."""
FORBIDDEN = re.compile("[\x80-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0041]")
"""C1 codes, bidi controls and what hides."""
OBEYED = ("\x1b[66;6H", "\x1b[41m")
"""Codes of the attack that the program itself never writes."""


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose presets, and whose engine, are attacks."""
    monkeypatch.setenv("SVHN_TUI_ENGINE", FAKE)
    workspace = tmp_path / "[b]\x1b]0;name\x07\x9b31m\u202e"
    workspace.mkdir()
    (workspace / "experiments.json").write_text(presets_text())
    return workspace


def assert_harmless(written: bytes) -> None:
    text = written.decode(errors="replace")
    assert FORBIDDEN.findall(text) == []
    assert [code for code in OBEYED if code in text] == []


def feet_of(name: str) -> set[str]:
    """What stands at the foot of this page alone."""
    described = {
        page: {binding.description for binding in page_of(page, BOOK).BINDINGS if getattr(binding, "show", False)}
        for _, page, _ in PAGES
    }
    return described.pop(name).difference(*described.values(), {"all", "train"})  # words that stand everywhere


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (140, 45)])
def test_no_attack_reaches_the_terminal_on_any_page(attacked: Path, columns: int, lines: int):
    with Terminal(attacked, columns, lines) as terminal:
        terminal.until(lambda text: "Q11" in text and "Opening" not in text and "[/x]" in text)
        for key, name, _ in (*PAGES[1:], PAGES[0]):
            terminal.press(key)
            feet = feet_of(name)
            terminal.until(lambda text, feet=feet: any(foot in text for foot in feet) and "[/x]" in text)
        for key, title in (("n", "tags, separated by spaces"), ("t", "Trash: tick")):
            terminal.press("3")
            terminal.until(lambda text: "g group" in text and "[/x]" in text)
            terminal.press(key)
            terminal.until(lambda text, title=title: title in text)
            terminal.press("\x1b")
            terminal.until(lambda text, title=title: title not in text and "[/x]" in text)
        terminal.press("q")
        assert terminal.ended() == 0
    assert_harmless(bytes(terminal.sent))
    codes = OSC.findall(bytes(terminal.sent).decode(errors="replace"))
    assert all(code.startswith(("22;", "9;svhn-tui")) for code in codes), "the pointer's shape, and our own notices"


COMMANDS = ["status", "answers", "runs", "run Q2", "evidence Q8", "choose Q2 0123456789ab", "doctor", "import x.zip"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_attack_reaches_the_terminal_from_the_command_line(attacked: Path, command: str):
    done = subprocess.run(
        [*PROGRAM, *command.split(), "--workspace", str(attacked)], capture_output=True, check=False, timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    written = done.stdout + done.stderr
    assert b"Traceback" not in written
    assert_harmless(written)
    assert b"\x1b" not in written, "no escape code at all, since this is not a terminal"


def test_exported_pages_hold_text_alone(tmp_path: Path):
    book = preset_file.parse(presets_text().encode(), "experiments.json")
    state = msgspec.structs.replace(fold(tuple(map(p.decode_event, events()))), workspace=str(tmp_path))
    items = export.export(tmp_path / "out", book, state)
    assert any(not thing.ok for thing in items), "the files are nowhere"
    pages = [tmp_path / "out" / name for name in ("answers.md", "answers.json", "runs.csv", "report.html")]
    for page in pages:
        assert_harmless(page.read_bytes())
        assert "\x1b" not in page.read_text()
    report = pages[-1].read_text()
    assert "[/x]" in report
    assert "<script" not in report
