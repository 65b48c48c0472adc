"""Draws the README's pictures from recorded events: `make pictures`.

`recorded.jsonl.gz` is what `svhn-tui run all --epochs 20 --seeds 5 --json` printed on demo data, with one `Timed`, and
three looks at the data and at runs.
"""

import asyncio
import gzip
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from engine import protocol as p
from svhn_tui import presets, report
from svhn_tui.answers import all_answers
from svhn_tui.presets import Presets
from svhn_tui.screens.compare import ComparePage
from svhn_tui.screens.data import DataPage
from svhn_tui.screens.live import LivePage
from svhn_tui.screens.page import Page
from svhn_tui.screens.questions import QuestionsPage
from svhn_tui.state import State, fold
from tests.scenes import Stage

HERE = Path(__file__).parent
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


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


async def draw(name: str, page: Page, state: State, *keys: str) -> None:
    """Draw a page as an SVG file, without the fonts that it would fetch."""
    stage = Stage(page, state)
    async with stage.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        drawn = stage.export_screenshot(title=f"svhn-tui: {name}")
    (HERE / f"{name}.svg").write_text(FONT.sub("", drawn))
    print(f"docs/{name}.svg")


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
    events, book = recorded(), shortened(presets.load(presets.find(Path("no workspace"))))
    whole = fold(events)
    await draw("questions", QuestionsPage(book), whole, *["down"] * 6)
    await draw("live", LivePage(book), midway(events))
    await draw("compare", ComparePage(book), whole)
    await draw("data", DataPage(book), whole)
    draw_report(book, whole)


if __name__ == "__main__":
    asyncio.run(main())
