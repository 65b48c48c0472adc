"""What holds on every page: contrast, small windows, every key, and nonsense typed at random."""

import pytest
from rich.color import Color

from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.navigation import page_of
from svhn_tui.pages.registry import PAGES
from svhn_tui.themes import THEMES, dim_of, line_colors
from tests.support.scenes import BOOK, Stage, attached, finished, relu, tanh, training

NAMES = [name for _, name, _ in PAGES]
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
    for title, state in STATES.items():
        stage = Stage(page_of(name, BOOK), state)
        async with stage.run_test(size=(20, 6)) as pilot:
            await pilot.pause()
            for size in [(80, 24), (20, 6), (200, 60), (40, 10), (21, 50)]:
                await pilot.resize_terminal(*size)
                await pilot.pause()
                assert stage.text.strip(), (title, size)
