"""Every key of every page does something in the real program, and no nonsense typed at random ends it."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

import svhn_tui.export.exporting
from svhn_tui.app import SvhnApp
from svhn_tui.pages.page import Page
from svhn_tui.pages.registry import PAGES
from svhn_tui.widgets.key_bar import KeyBar, key_at
from tests.support.patience import PATIENCE
from tests.support.scenes import BOOK, screen_text

ENGINE = f"{sys.executable} -m tests.support.lively_engine"
ENDING = {"q", "ctrl+c", "ctrl+q"}
"""Keys that end the program."""


FIRST = {
    "minus": ("plus",), "shift+left": ("plus",), "shift+right": ("plus", "plus", "shift+left"), "right": ("left",),
    "up": ("down",), "k": ("down",), "home": ("end",), "end": ("home",), "pageup": ("pagedown",),
    "pagedown": ("pageup",), "escape": ("left",), "J": ("K", "up"), "K": ("J", "down"),
}  # fmt: skip
"""Keys that undo or go back, and what is pressed before them, so that there is something to undo."""


TEXTUALS = {"super+c", "tab", "shift+tab"}
"""Keys that every Textual program has."""
TOGGLES = {"d", "g", "f"}
"""Keys that change what other keys of the page do, until they are pressed again."""
LOOKS = 15
"""At the screen, until a key counts as one that does nothing."""
UNSEEN = {"pageup", "pagedown", "ctrl+l"}
"""Keys that do nothing where all is seen, and the one that draws everything anew."""


class Watched(SvhnApp):
    """The program, which also notes what it asks of the engine."""

    CSS_PATH = "../../svhn_tui/app.tcss"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked = 0

    async def on_page_command_requested(self, message: Page.CommandRequested) -> None:
        self.asked += 1
        await super().on_page_command_requested(message)


@asynccontextmanager
async def program(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, *options: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Watched, Pilot[None]]]:
    """The real program with a lively engine at the other end of its pipe, once all has been told."""
    monkeypatch.setenv("SVHN_TUI_ENGINE", " ".join([ENGINE, *options]))
    monkeypatch.setattr(svhn_tui.export.exporting, "exported", exported)
    monkeypatch.setenv("EDITOR", "true")
    app = Watched(workspace, (), None, BOOK)
    async with app.run_test(size=size) as pilot:
        async with asyncio.timeout(PATIENCE):
            while not app._state.caught_up:
                await asyncio.sleep(0.01)  # for the pipe, which says nothing of itself
        app._pages.draw(app._state)
        await pilot.pause()
        yield app, pilot
        app.workers.cancel_all()
        with suppress(WorkerCancelled):
            await app.workers.wait_for_complete()


async def press(app: Watched, pilot: Pilot[None], *keys: str) -> None:
    """Press keys as fast as a terminal sends them, and wait until all is drawn."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))
    await pilot.pause()
    while app._keyboard.is_busy and app.is_running:
        await pilot.pause()


async def until(met: Callable[[], bool], pilot: Pilot[None]) -> None:
    """Wait until something is so; dialogs open in tasks of their own."""
    async with asyncio.timeout(PATIENCE):
        while not met():
            await pilot.pause()


async def exported(folder: Path, workspace: Path, remote: object) -> svhn_tui.export.exporting.Export:
    """Stands in for an export, which takes seconds and has its own tests."""
    return svhn_tui.export.exporting.Export()


def noticed(app: Watched) -> tuple[object, ...]:
    """What a person, or the engine, could notice."""
    return type(app.screen), screen_text(app), len(app.notice_log), app.theme, app.asked


async def back_to(name: str, app: Watched, pilot: Pilot[None]) -> Page:
    """Close dialogs and the filter, open the page."""
    while not isinstance(app.screen, Page) or isinstance(app.focused, Input):
        await press(app, pilot, "escape")
    if name != app.screen.TITLE_IN_BAR:
        app.action_open_page(name)
        await pilot.pause()
    assert isinstance(app.screen, Page) and name == app.screen.TITLE_IN_BAR
    return app.screen


async def idle_keys(page: Page, app: Watched, pilot: Pilot[None]) -> set[str]:
    """Press every key that a page offers, and the program's own; return those that changed nothing."""
    offered = [key for key, active in page.active_bindings.items()
               if active.node in (page, app) and key not in TEXTUALS]  # fmt: skip
    idle = set()
    for key in offered:
        await back_to(page.TITLE_IN_BAR, app, pilot)
        if key in FIRST:
            await press(app, pilot, *FIRST[key])
        active = page.active_bindings.get(key)
        if key in ENDING or active is None or not active.enabled:
            continue
        before = noticed(app)
        await press(app, pilot, key)
        for _ in range(LOOKS):
            if noticed(app) != before and screen_text(app).strip():
                break
            await pilot.pause()
        else:
            idle.add(key)
            continue
        if key in TOGGLES:
            await press(app, pilot, key)
    return idle


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--fresh",)], ids=["at work", "at first"])
async def test_every_key_that_a_page_offers_does_something(options: tuple[str, ...], tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch, *options) as (app, pilot):
        for number, name, _ in PAGES:
            page = await back_to(name, app, pilot)
            await press(app, pilot, *["down"] * 6)  # to the seventh question, which has something of everything
            assert await idle_keys(page, app, pilot) <= {number, *UNSEEN}, name


async def test_keys_that_come_in_a_burst_mean_the_line_that_they_lead_to(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch, "--fresh") as (app, pilot):
        await press(app, pilot, "down", "down", "down", "down", "R")
        await until(lambda: not isinstance(app.screen, Page) and "Q5  fit it" in screen_text(app), pilot)


async def test_a_filter_that_is_typed_in_a_burst_is_typed_whole(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        await press(app, pilot, "3")
        await until(lambda: "runs" in screen_text(app) and app.screen.query("FilterLine"), pilot)
        await press(app, pilot, "slash", *"tanh")
        await until(lambda: app.screen.query_one("FilterLine").value == "tanh", pilot)


async def test_lines_that_are_pasted_into_a_field_become_one(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        await press(app, pilot, "W")
        await until(lambda: bool(app.screen.query("#slurm")), pilot)
        app.post_message(events.Paste("--mem=4G\r\n  \n--time=1:00\x1b[31m\n"))
        await until(lambda: app.screen.query_one("#slurm", Input).value == "--mem=4G --time=1:00�[31m", pilot)


async def test_a_dialog_is_left_once_however_often_a_burst_asks_for_it(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        for opened, left in (("A", "enter"), ("ctrl+p", "escape"), ("question_mark", "enter"), ("s", "escape")):
            await press(app, pilot, opened)
            await until(lambda: not isinstance(app.screen, Page), pilot)
            await press(app, pilot, *[left] * 4)
            while not isinstance(app.screen, Page):
                await press(app, pilot, "escape")
            await until(lambda: "Q1" in screen_text(app), pilot)
            assert app.is_running


@pytest.mark.parametrize("key", ["ctrl+p", "R", "s", "w", "question_mark", "h"])
async def test_a_dialog_lives_in_the_smallest_window(key: str, tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch, size=(20, 6)) as (app, pilot):
        await press(app, pilot, *["down"] * 6, key)
        await press(app, pilot, "pagedown", "pageup", "down", "up", "end", "home", "space", "tab")
        assert app.is_running


async def test_a_click_on_a_key_presses_it_and_a_click_on_a_name_opens_the_page(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch, size=(120, 40)) as (app, pilot):
        bar = app.screen.query_one(KeyBar)
        column = next(index for index in range(120) if key_at(bar.hints, index) == "s")
        await pilot.click(KeyBar, offset=(column + 1, 0))
        await until(lambda: "A sweep of your own" in screen_text(app), pilot)
        await pilot.press("escape")
        await until(lambda: "4 Compare" in screen_text(app), pilot)
        column = screen_text(app).index("4 Compare")
        await pilot.click("TopBar", offset=(column, 0))
        await until(lambda: isinstance(app.screen, Page) and app.screen.TITLE_IN_BAR == "Compare", pilot)


async def test_the_palette_finds_what_keys_do_and_a_theme_is_remembered(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        await pilot.press("ctrl+p", *"light")
        await until(lambda: "Theme: light" in screen_text(app), pilot)
        await pilot.press("enter")
        await until(lambda: app.theme == "svhn-light", pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Train the whole assignment", "Open Live", "Export everything that is handed in"} <= titles
    async with program(tmp_path, monkeypatch) as (app, pilot):
        assert app.theme == "svhn-light"
        await pilot.press("T")
        assert app.theme == "svhn-contrast"


async def test_what_was_said_can_be_read_again(tmp_path, monkeypatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        app.notify("[b]a full disk\x1b", severity="warning", markup=False)
        await pilot.press("exclamation_mark")
        await until(lambda: "! [b]a full disk�" in screen_text(app), pilot)


KEYS = [
    *"123456rRAhwcmMyefoOgpnvdtbkjaxsTPSJK/?!", "space", "enter", "escape", "tab", "up", "down", "left", "right",
    "pageup", "pagedown", "home", "end", "plus", "minus", "backspace", "shift+left", "shift+right", "ctrl+p", "ctrl+s",
    "E", "shift+tab",
]  # fmt: skip
AT_ONCE = 50
"""Keys between two looks at the screen; nobody sees more, and drawing is what takes the time."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_a_monkey_finds_no_way_to_crash_it(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(seed)
    async with program(tmp_path, monkeypatch, "--dies-after", "300") as (app, pilot):
        monkeypatch.setattr(app, "exit", lambda **options: None)  # a monkey that finds the way out stays
        for _ in range(2_500 // AT_ONCE):
            keys = chance.choices(KEYS, k=AT_ONCE)
            await press(app, pilot, *keys)
            if chance.random() < 0.3:
                await pilot.resize_terminal(chance.randint(20, 120), chance.randint(6, 40))
            assert app.is_running and app.return_code is None, keys
        page = await back_to("Questions", app, pilot)
        page.minimize()
        await until(lambda: "Q1" in screen_text(app), pilot)


async def test_leaving_asks_while_an_export_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with program(tmp_path, monkeypatch) as (app, pilot):
        may_end, left = asyncio.Event(), list[object]()

        async def endless(folder: Path, workspace: Path, remote: object) -> svhn_tui.export.exporting.Export:
            await may_end.wait()
            return svhn_tui.export.exporting.Export()

        monkeypatch.setattr(svhn_tui.export.exporting, "exported", endless)
        monkeypatch.setattr(app, "exit", lambda **options: left.append(options))
        await press(app, pilot, "x", "q")
        assert "The export is not finished" in screen_text(app)
        await press(app, pilot, "n", "q", "y")
        assert len(left) == 1
        may_end.set()
        await until(lambda: not any(worker.group == "export" for worker in app.workers if worker.is_running), pilot)
        await press(app, pilot, "q")
        assert len(left) == 2
