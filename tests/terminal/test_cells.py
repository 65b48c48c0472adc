"""What is sent to the terminal is little, and leaves it looking as if everything had been sent."""

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import set_cell_size

from svhn_tui.terminal.screen_diff import SYNC_BEGAN, SYNC_ENDED, Cells
from tests.support.terminal import MODE_WITH_SIGN

WIDTH, PLACES, LINES = 7, 2, 4
"""Cells of a piece of text, pieces in a line, and lines."""
LOOKS = ["", "1", "1;4", "7", "31", "38;5;9;48;5;4", "38;2;1;2;3;48;2;9;9;9", "1;38;2;1;2;3", "48;2;9;9;9", "94;101"]
TEXTS = ["a", "b", " ", "ab cd", "ab  cd", "│⣿·", "你", "x你好y", "e\u0301", "░" * 5]


def piece(line: int, column: int, look: str, text: str, rest: str) -> str:
    return f"\x1b[{line};{column * WIDTH + 1}H\x1b[{look}m{set_cell_size(text, WIDTH)}\x1b[0m{rest}"


pieces = st.builds(
    piece, st.integers(1, LINES - 1), st.integers(0, PLACES - 1), st.sampled_from(LOOKS), st.sampled_from(TEXTS),
    st.sampled_from(["", "\n"]),
)  # fmt: skip
modes = st.sampled_from([SYNC_BEGAN, SYNC_ENDED, "\x1b[?25l", "\x1b[2J", "\x1b]2;title\x07", "\x07"])
updates = st.lists(st.lists(st.one_of(pieces, pieces, pieces, modes), max_size=8).map("".join), max_size=8)


class Shown:
    """A terminal."""

    def __init__(self) -> None:
        self._screen = pyte.Screen(WIDTH * PLACES, LINES)
        self._stream = pyte.Stream(self._screen)

    def write(self, content: str) -> None:
        self._stream.feed(MODE_WITH_SIGN.sub(b"", content.replace("\n", "\r\n").encode()).decode())

    @property
    def cells(self) -> list[list[tuple[object, ...]]]:
        """Each cell as one sees it: the colour of a blank is not seen."""
        return [
            [
                cell[:1] + cell[2:] if cell.data == " " and not (cell.underscore or cell.reverse) else cell
                for cell in (self._screen.buffer[line][column] for column in range(WIDTH * PLACES))
            ]
            for line in range(LINES)
        ]


@settings(max_examples=60, deadline=None)
@given(updates)
def test_the_terminal_looks_as_if_everything_had_been_sent(contents: list[str]):
    all_of_it, least, cells = Shown(), Shown(), Cells()
    for content in contents:
        all_of_it.write(content)
        least.write(cells.least_of(content))
        assert least.cells == all_of_it.cells


def test_what_stands_there_already_is_not_sent_again():
    cells, content = Cells(), "\x1b[3;5H\x1b[1;38;5;9mepoch 12\x1b[0m"
    cells.least_of(content)
    assert cells.least_of(content) == ""
    assert cells.least_of(SYNC_BEGAN + content + SYNC_ENDED) == "", "an update without news is none"
    assert cells.least_of(content.replace("12", "13")) == "\x1b[3;12H3", "in the look that the terminal writes in"


def test_after_others_wrote_everything_is_sent():
    cells, content = Cells(), "\x1b[1;1H\x1b[31mred\x1b[0m"
    first = cells.least_of(content)
    cells.forget()
    assert cells.least_of(content) == first
    cells.least_of("\x1b[?1049l")
    assert cells.least_of(content) == first


def test_leaving_gives_the_terminal_its_own_colours_back():
    cells = Cells()
    cells.least_of("\x1b[1;1H\x1b[31mred\x1b[0m")
    assert cells.least_of("\x1b[?1049l") == "\x1b[0m\x1b[?1049l"


def test_without_colours_only_signs_leave():
    cells = Cells(has_colors=False)
    sent = cells.least_of(
        "\x1b[1;1H\x1b[1;38;2;1;2;3;48;5;7mbold\x1b[0m\x1b[7;31;101mreversed\x1b[0m \x1b[32mgreen\x1b[0m"
    )
    assert sent == "\x1b[1;1H\x1b[0;1mbold\x1b[0;7mreversed\x1b[0m green"
