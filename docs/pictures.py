"""Draws the README's pictures from recorded events: `make pictures`.

`recorded.jsonl.gz` is what `svhn-tui run all --epochs 20 --seeds 5 --json` printed on demo data, with one `Timed`, and
three looks at the data and at runs.
"""

import asyncio
import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from docs.drawing import Rows, moving, rows_of, still
from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.app import SvhnApp
from svhn_tui.assignment.answers import all_answers
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.export import report
from svhn_tui.presets import Presets
from svhn_tui.themes import DARK

HERE = Path(__file__).parent
SIZES = ((120, 40), (80, 24))
FRAMES, PACE, FRAME_SECONDS = 20, 2, 0.5
"""Of the moving picture: how many, epochs that end from one to the next, and how long each is seen."""


def shortened(book: Presets) -> Presets:
    """Return the assignment with the epochs and seeds of the recording."""
    change = msgspec.structs.replace
    questions = []
    for question in book.questions:
        rule = question.finalists and change(question.finalists, seeds=question.finalists.seeds[:5])
        questions.append(change(question, seeds=question.seeds[:5], finalists=rule))
    return change(book, training=change(book.training, epochs=20), questions=tuple(questions))


def recorded() -> tuple[p.AnyEvent, ...]:
    """Read the events."""
    with gzip.open(HERE / "recorded.jsonl.gz") as lines:
        return tuple(map(p.decode_event, lines))


def midway(events: tuple[p.AnyEvent, ...]) -> State:
    """Return the state while the second of two groups of 1024 units trains."""
    is_large = [isinstance(event, p.EpochEnded) and event.epoch == 14 for event in events]
    last = [index for index, is_there in enumerate(is_large) if is_there][-8]
    return fold(events[: last + 1])


class Scene(NamedTuple):
    """A page in a state, and the keys that bring it to what is drawn."""

    page: str
    state: State
    keys: tuple[str, ...] = ()


def scenes(events: tuple[p.AnyEvent, ...]) -> dict[str, Scene]:
    """Return what is drawn, by the name of its file."""
    whole = fold(events)
    return {
        "questions": Scene("Questions", whole, ("down",) * 6),
        "live": Scene("Live", midway(events)),
        "runs": Scene("Runs", whole, ("g",)),
        "compare": Scene("Compare", whole),
        "answers": Scene("Answers", whole, ("down",) * 6),
        "data": Scene("Data", whole),
    }


class Nobody(Connection):
    """A connection to no engine."""

    async def keep(self) -> None:
        """Reach nobody."""


class Offline(SvhnApp):
    """The program without an engine."""

    CSS_PATH = "../svhn_tui/app.tcss"

    def __init__(self, book: Presets) -> None:
        super().__init__(Path("svhn-workspace"), (), None, book)
        self._connection = Nobody(Path("svhn-workspace"), (), None, self._receive)

    def tell(self, state: State) -> None:
        """Be in this state."""
        self._state = state
        self._draw()


async def frames_of(scene: Scene, book: Presets, size: tuple[int, int], states: Sequence[State]) -> list[Rows]:
    """Show a page, and take down what stands there: in its own state, then in each of the others."""
    app = Offline(book)
    async with app.run_test(size=size) as pilot:
        app.theme = DARK.name
        app.tell(scene.state)
        await pilot.pause()
        app.action_open_page(scene.page)
        await pilot.pause()
        await pilot.press(*scene.keys)
        await app.workers.wait_for_complete()
        await pilot.pause()
        frames = [rows_of(app)]
        for state in states:
            app.tell(state)
            await pilot.pause()
            frames.append(rows_of(app))
    return frames


def keep(name: str, drawn: str) -> None:
    """Write a picture."""
    (HERE / name).write_text(drawn)
    print(f"docs/{name}  {len(drawn.encode()) / 1000:.0f} kB")


async def draw_pages(events: tuple[p.AnyEvent, ...], book: Presets) -> None:
    """Draw each page at two sizes, and Live as it moves."""
    for name, scene in scenes(events).items():
        for size in SIZES:
            (rows,) = await frames_of(scene, book, size, ())
            keep(file_of(name, size), still(rows, str(DARK.background)))
    states = [fold(events[: last + 1]) for last in ends_of_epochs(events)[-FRAMES * PACE :: PACE]]
    frames = await frames_of(Scene("Live", states[0]), book, SIZES[1], states[1:])
    keep("live-moving.svg", moving(frames, str(DARK.background), FRAME_SECONDS))


def file_of(name: str, size: tuple[int, int]) -> str:
    """`live-80x24.svg`."""
    return f"{name}-{size[0]}x{size[1]}.svg"


def ends_of_epochs(events: tuple[p.AnyEvent, ...]) -> list[int]:
    """Return the places of epochs that ended."""
    return [index for index, event in enumerate(events) if isinstance(event, p.EpochEnded)]


def draw_report(book: Presets, state: State) -> None:
    """Draw the top of the report with Chromium, where there is one."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("docs/report.png is left as it is: there is no Chromium here.")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(report.page(book, all_answers(book, state)[2:], state))
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=900,1050"]
        command = [browser, *options, f"--screenshot={HERE / 'report.png'}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)
    print("docs/report.png")


async def main() -> None:
    """Draw them all."""
    events, book = recorded(), shortened(preset_file.load(preset_file.find(Path("no workspace"))))
    await draw_pages(events, book)
    draw_report(book, fold(events))


if __name__ == "__main__":
    asyncio.run(main())
