"""What holds on every page: contrast, small windows, every key, and nonsense typed at random."""

import random
from pathlib import Path

import pytest
from rich.color import Color
from textual.app import App

from engine import protocol as p
from svhn_tui.app import SvhnApp, page_of
from svhn_tui.screens.page import PAGES, Page
from svhn_tui.state import State, fold
from svhn_tui.themes import THEMES, dim_of, line_colors
from tests.scenes import BOOK, Stage, attached, finished, relu, tanh, training

NAMES = [name for _, name in PAGES]
STATES: dict[str, State] = {
    "nothing": State(),
    "attached": fold(attached()),
    "no data": fold(attached(None)),
    "training": training(),
    "finished": finished((tanh(256), 3, 0.5), (relu(256), 3, 0.55), (relu(64, 64), 2, 0.6)),
}


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2.1 defines it."""
    channels = [value / 255 for value in Color.parse(color).get_truecolor()]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_stands_out_from_every_ground_it_is_written_on(theme):
    inks = [theme.foreground, theme.primary, theme.warning, theme.error, theme.success, dim_of(theme)]
    grounds = [theme.background, theme.surface, theme.panel]
    for ground in grounds:
        for ink in inks:
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    for ink in line_colors(theme):
        assert contrast(ink, theme.background) >= 4.5, ink
    assert contrast(theme.foreground, theme.variables["block-cursor-background"]) >= 4.5


def test_the_contrast_formula_agrees_with_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
async def test_every_page_lives_through_every_size(name: str):
    for told, state in STATES.items():
        stage = Stage(page_of(name, BOOK), state)
        async with stage.run_test(size=(20, 6)) as pilot:
            await pilot.pause()
            for size in [(80, 24), (20, 6), (200, 60), (40, 10), (21, 50)]:
                await pilot.resize_terminal(*size)
                await pilot.pause()
                assert stage.text.strip(), (told, size)


@pytest.mark.parametrize("name", NAMES)
async def test_every_key_of_a_page_does_something_and_none_ends_in_an_error(name: str):
    for state in (STATES["attached"], STATES["training"], STATES["finished"]):
        stage = Stage(page_of(name, BOOK), state)
        async with stage.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            page = stage.screen
            assert isinstance(page, Page)
            keys = [key for key, active in page.active_bindings.items() if active.node is page and active.enabled]
            for key in keys:
                if key not in ("E", "s"):  # the editor wants the terminal, the form the program
                    await pilot.press(key, "escape")
                    await pilot.pause()
                    assert stage.text.strip(), key


KEYS = [
    *"123456rRAhwcmyefoOgpnvdtbkjaxs/?",
    "space",
    "enter",
    "escape",
    "tab",
    "up",
    "down",
    "left",
    "right",
    "pageup",
    "pagedown",
    "home",
    "end",
    "plus",
    "minus",
    "backspace",
    "shift+left",
    "shift+right",
    "ctrl+p",
]


class Nowhere(SvhnApp):
    """The program, without an engine and without an export."""

    CSS_PATH = "../svhn_tui/app.tcss"

    async def _follow(self) -> None:
        self._link = None

    def action_export(self) -> None:
        """Nothing is exported by a monkey."""


async def test_a_page_that_was_left_is_drawn_again_when_it_is_opened_again(tmp_path: Path):
    app = Nowhere(tmp_path, (), None, BOOK)
    app._state = STATES["finished"]
    async with app.run_test(size=(80, 24)) as pilot:
        for key in "231231":
            await pilot.press(key)
            await pilot.pause()
            shown = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
            assert {"1": "Q11", "2": "Nothing trains", "3": "8 of 8 runs"}[key] in shown


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_a_monkey_finds_no_way_to_crash_it(seed: int, tmp_path: Path):
    chance = random.Random(seed)
    app: App[None] = Nowhere(tmp_path, (), None, BOOK)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        pressed: list[str] = []
        for _ in range(150):
            if chance.random() < 0.06:
                app._state = chance.choice(list(STATES.values()))
                app._draw()
            if chance.random() < 0.06:
                await pilot.resize_terminal(chance.randint(20, 200), chance.randint(6, 60))
            if chance.random() < 0.05:
                app._take((p.Noticed(text="[b]\x1b[31m a notice [/x]", severity="warning"),))
            pressed.append(chance.choice(KEYS))
            await pilot.press(pressed[-1])
            await pilot.pause()
            assert app.is_running, pressed
        assert app.return_code in (None, 0), pressed
