"""How fast the screen is: `make measure` runs the program in a pseudo terminal and prints a table.

A fake engine tells of 10,000 finished runs and then of 150 events a second: epochs of four groups, runs that finish,
checkpoints, devices. Times are wall times as a person would take them, from the byte typed until the bytes have come
that complete what this key changes on the screen. CPU is the user and system time of the program's process.

    python -m tests.measure --pages start Runs Compare --sizes 120x40 200x60

measures these alone, of the pages Questions, Live, Runs, Compare, Answers and Data.

    python -m tests.measure --compare cells

says what a part of the program's own around Textual buys: the program runs with it and without it in turn.
"""

import argparse
import asyncio
import compileall
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median, quantiles

import msgspec
import psutil
from textual.app import App, ComposeResult
from textual.widgets import DataTable

from svhn_tui import words
from svhn_tui.charts.canvas import ChartColors
from svhn_tui.charts.plot import Series, render
from svhn_tui.widgets.run_grid import Grid
from tests.support import busy_host
from tests.support.patience import PATIENCE
from tests.support.terminal import PROGRAM, Terminal
from tests.support.without import PARTS

Met = Callable[[str], bool]
ROOT = Path(__file__).parents[1]
SIZES = ("120x40", "80x24")
DOWN, UP, END, BACK, ESCAPE = "\x1b[B", "\x1b[A", "\x1b[F", "\x7f", "\x1b"
LISTED = re.compile(r"([\d,]+) of [\d,]+ runs")
"""How the Runs page says how many runs a filter lets through."""
OPENED = {"Questions": "Q11", "Live": r"epoch \d+ of", "Runs": LISTED.pattern, "Compare": r"\d+ of \d+ runs",
          "Answers": "missing|ready", "Data": "to train"}  # fmt: skip
"""What stands on a page once it is open."""
PAGES = {"Questions": "1", "Live": "2", "Runs": "3", "Compare": "4", "Answers": "5", "Data": "6"}
USUAL = ("start", "Questions", "Live", "Runs")
"""What is measured unless something else is asked for: the first frame, and the pages that are looked at most."""
STARTS, FILTERS, CHARTS, ROUNDS = 3, 8, 20, 2
NOTABLE = 0.05
"""Share of the runs that a letter takes away or brings back at least; those that finish meanwhile are fewer."""


class Load(msgspec.Struct, frozen=True):
    """What a page cost while nobody typed (share of a core, bytes a second), and what its keys took, in seconds."""

    page: str
    cpu: float
    output: float
    keys: tuple[float, ...]
    cpu_of_key: float
    """Seconds of CPU from one key to the next, less what the events cost meanwhile."""


def start(events: Path, rate: float, size: tuple[int, int], without: str = "") -> Terminal:
    """Open the program on a fake engine."""
    engine = f"{sys.executable} -m tests.support.fake_engine {events} --rate {rate}"
    program = [sys.executable, "-m", "tests.support.without", without] if without else PROGRAM
    return Terminal(events.parent / "w", *size, keeps_all=False, program=program, SVHN_TUI_ENGINE=engine)


def first_frame(events: Path, size: tuple[int, int], runs: int) -> tuple[float, float, float]:
    """Return seconds until the first question stands, and until all runs are counted; and the CPU seconds of that."""
    began = time.perf_counter()
    with start(events, 1e-3, size) as terminal:
        terminal.until(lambda text: "Q11" in text and "Q1  " in text)
        stands = terminal.seen_at - began
        terminal.until(lambda text: f"{words.count(runs)} runs" in text)
        used = psutil.Process(terminal.process.pid).cpu_times()
        return stands, terminal.seen_at - began, used.user + used.system


def wait(terminal: Terminal, seconds: float) -> None:
    """Read what comes, for so long."""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        terminal.read(left)


def seconds_until(terminal: Terminal, keys: str, met: Met) -> float:
    """Type, and return how long it takes until the screen shows what is waited for."""
    began = time.perf_counter()
    terminal.press(keys)
    terminal.read(PATIENCE)
    terminal.until(met)
    return terminal.seen_at - began


def keys_of(page: str) -> Iterator[tuple[str, Met]]:
    """Keys of a page without end, each with what stands there once it was obeyed."""
    match page:
        case "Questions":  # down to Q10, and up again
            for step in cycle(range(18)):
                yield (DOWN if step < 9 else UP), _says(f"Q{step + 2 if step < 9 else 18 - step}  ", after="│")
        case "Live" | "Compare":  # smoothing
            for weight in cycle(("0.6", "0.9", "")):
                yield "e", _says(f"smoothed {weight}") if weight else lambda text: "smoothed" not in text
        case "Answers" | "Data":  # they are watched alone
            return
        case _:  # from the oldest run upwards
            for index in count():
                accuracy = words.accuracy(busy_host.finished_run(index).test_accuracy)
                yield UP if index else END, _says(accuracy, after="▌.*")


def _says(words_: str, after: str = "") -> Met:
    pattern = re.compile(rf"{after} *{re.escape(words_)}")
    return lambda text: pattern.search(text) is not None


def open_page(terminal: Terminal, page: str) -> None:
    """Open a page, and wait until what that costs is over."""
    terminal.press(PAGES[page])
    terminal.until(lambda text: re.search(OPENED[page], text) is not None)
    wait(terminal, 2.0)


def load_of(terminal: Terminal, page: str, seconds: float, keys: int) -> Load:
    """Open a page, watch it, then type on it."""
    open_page(terminal, page)
    process = psutil.Process(terminal.process.pid)
    before, bytes_before, began = process.cpu_times(), terminal.count, time.perf_counter()
    wait(terminal, seconds)
    after, took = process.cpu_times(), time.perf_counter() - began
    cpu = (after.user + after.system - before.user - before.system) / took
    output = (terminal.count - bytes_before) / took
    chance, elapsed, began = random.Random(0), [], time.perf_counter()
    for key, met in islice(keys_of(page), keys):
        wait(terminal, chance.uniform(0.05, 0.25))  # anywhere between two frames
        elapsed.append(seconds_until(terminal, key, met))
    last, typed = process.cpu_times(), time.perf_counter() - began
    cpu_of_keys = last.user + last.system - after.user - after.system - cpu * typed
    return Load(page, cpu, output, tuple(elapsed), max(0.0, cpu_of_keys) / max(1, len(elapsed)))


def filter_times(terminal: Terminal) -> list[float]:
    """On the Runs page, return how long it takes from a letter of a filter until its count stands."""
    seconds = []
    for text in ("activation=sigmoid", "relu rate 0.0003"):
        terminal.press("/" + text[:-1])
        terminal.until(lambda shown, typed=text[:-1]: typed in shown)
        wait(terminal, 0.5)
        for key in islice(cycle((text[-1], BACK)), FILTERS):
            before, sign = _listed(terminal.text), 1 if key == BACK else -1
            seconds.append(seconds_until(terminal, key, _listing(before * (1 + sign * NOTABLE), sign)))
            wait(terminal, 0.1)
        terminal.press(ESCAPE)
        wait(terminal, 0.5)
    return seconds


def _listed(text: str) -> int:
    return int(match[1].replace(",", "")) if (match := LISTED.search(text)) else -1


def _listing(bound: float, sign: int) -> Met:
    return lambda text: sign * _listed(text) > sign * bound


def chart_time() -> float:
    """Return the seconds in which ten lines of a hundred points and their bands are drawn at 120x36."""
    palette = ChartColors("#101418", "#8a95a5", "#3a4250")
    curves = [tuple((epoch + 5 * index) / 100 for epoch in range(100)) for index in range(12)]
    series = [
        Series(str(index), curves[index], "#7cc7ff", curves[index - 1], curves[index + 1]) for index in range(1, 11)
    ]
    took = []
    for _ in range(CHARTS):
        began = time.perf_counter()
        render(series, 120, 36, palette)
        took.append(time.perf_counter() - began)
    return median(took)


def plotext_time() -> float | None:
    """Return the seconds in which plotext draws the same lines without bands; None where it is not installed."""
    try:
        import plotext
    except ImportError:
        return None
    took = []
    for _ in range(CHARTS):
        began = time.perf_counter()
        plotext.clear_figure()
        plotext.plotsize(120, 36)
        for index in range(1, 11):
            plotext.plot([(epoch + 5 * index) / 100 for epoch in range(100)], marker="braille")
        plotext.build()
        took.append(time.perf_counter() - began)
    return median(took)


async def list_times(runs: int) -> tuple[float, float]:
    """Return the CPU seconds in which a list of so many runs is shown: by `Grid`, and by Textual's `DataTable`."""

    class Lists(App[None]):
        def compose(self) -> ComposeResult:
            yield Grid()
            yield DataTable()

    heads = [("configuration", 40, False), *((f"column {index}", 10, True) for index in range(6))]
    cells = [tuple(f"{row * column}" for column in range(7)) for row in range(runs)]
    app, took = Lists(), list[float]()
    async with app.run_test(size=(120, 40)) as pilot:
        grid, table = app.query_one(Grid), app.query_one(DataTable)
        table.add_columns(*(title for title, _, _ in heads))
        for show in (lambda: grid.show(heads, runs, lambda row: ("", cells[row]), 0), lambda: table.add_rows(cells)):
            began = time.process_time()
            show()
            await pilot.pause()
            took.append(time.process_time() - began)
    return took[0], took[1]


def rows_of(folder: Path, wish: argparse.Namespace, size: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """Measure at one size: what, its figure, and its target."""
    few, many = folder / "few.jsonl", folder / "many.jsonl"
    for events, runs in ((few, 20), (many, wish.runs)) if "start" in wish.pages else ():
        starts = [first_frame(events, size, runs) for _ in range(STARTS)]
        stands, counted, cpu = (median(column) for column in zip(*starts, strict=True))
        yield f"first frame, {runs:,} runs", f"{stands:.2f} s", "0.8 s"
        yield f"all {runs:,} runs counted", f"{counted:.2f} s, {cpu:.2f} s of CPU", ""
    pages = [page for page in wish.pages if page in PAGES]
    if not pages:
        return
    with start(many, wish.rate, size) as terminal:
        terminal.until(lambda text: "training" in text)
        for page in pages:
            load = load_of(terminal, page, wish.seconds, wish.keys)
            if load.keys:
                yield f"{page}: key, median and p95", _times(load.keys), "50 ms"
                yield f"{page}: CPU of a key", f"{1000 * load.cpu_of_key:.0f} ms", ""
            yield f"{page}: CPU of one core", f"{100 * load.cpu:.1f} %", "10 %"
            yield f"{page}: terminal output", f"{load.output / 1000:.1f} KB/s", "15 KB/s"
        if "Runs" in pages:
            open_page(terminal, "Runs")
            yield "filter, median and p95", _times(filter_times(terminal)), "100 ms"


def compare(folder: Path, wish: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Run with a part and without it in turn: what, and its figures with and without; each the least disturbed."""
    events, loads = folder / "many.jsonl", dict[str, list[Load]]()
    pages = [page for page in wish.pages if page in PAGES and next(keys_of(page), None)]
    busy_host.write(events, wish.runs, int(wish.rate * 60 * len(pages) * ROUNDS))
    filters: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for without in ("", wish.compare):
            with start(events, wish.rate, (120, 40), without) as terminal:
                terminal.until(lambda text: "training" in text)
                for page in pages:
                    load = load_of(terminal, page, wish.seconds, wish.keys)
                    loads.setdefault(f"{page} {without}", []).append(load)
                if "Runs" in pages:
                    filters.setdefault(without, []).append(median(filter_times(terminal)))
    for page in pages:
        both = [loads[f"{page} {without}"] for without in ("", wish.compare)]
        yield f"{page}: key, median", *(f"{min(1000 * median(one.keys) for one in some):.0f} ms" for some in both)
        yield f"{page}: CPU of a key", *(f"{min(1000 * one.cpu_of_key for one in some):.1f} ms" for some in both)
        yield f"{page}: CPU of one core", *(f"{min(100 * one.cpu for one in some):.1f} %" for some in both)
        yield f"{page}: terminal output", *(f"{min(one.output for one in some) / 1000:.2f} KB/s" for some in both)
    if filters:
        yield "filter, median", *(f"{1000 * min(filters[without]):.0f} ms" for without in ("", wish.compare))


def _times(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * median(ordered):.0f} ms, {1000 * quantiles(ordered, n=20)[-1]:.0f} ms"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=150.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a page is watched")
    parser.add_argument("--keys", type=int, default=30, help="typed on a page")
    parser.add_argument("--compare", choices=PARTS, help="run with and without this part, at 120x40")
    parser.add_argument("--pages", nargs="+", choices=("start", *PAGES), default=USUAL, help="what is measured")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="of the terminal, such as 120x40")
    wish = parser.parse_args()
    for package in ("svhn_tui", "engine"):  # as it is from the second start on
        compileall.compile_dir(ROOT / package, quiet=1)
    sys.setswitchinterval(1e-4)  # the thread that notes when bytes come does not wait for the one that reads them
    print(f"{wish.runs:,} runs, {wish.rate:g} events a second; Python {platform.python_version()}, "
          f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")  # fmt: skip
    other = plotext_time()
    beside = f" ({1000 * other:.0f} ms with plotext, without bands)" if other is not None else ""
    print(f"{'a chart of ten lines, 120x36':<32}{1000 * chart_time():.0f} ms{beside}")
    grid, table = (1000 * seconds for seconds in asyncio.run(list_times(wish.runs)))
    print(f"{f'a list of {wish.runs:,} runs':<32}{grid:.0f} ms of CPU ({table:.0f} ms with DataTable)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wish.compare:
            print(f"{'':<32}{'with ' + wish.compare:<24}without")
            for what, figure, other in compare(folder, wish):
                print(f"{what:<32}{figure:<24}{other}", flush=True)
            return
        events = int(wish.rate * (60 + len(wish.pages) * (wish.seconds + wish.keys)))
        busy_host.write(folder / "few.jsonl", 20, events)
        busy_host.write(folder / "many.jsonl", wish.runs, events)
        for size in wish.sizes:
            columns, lines = map(int, size.split("x"))
            print(f"\n{size:<32}{'measured':<24}target")
            for what, figure, target in rows_of(folder, wish, (columns, lines)):
                print(f"{what:<32}{figure:<24}{target}", flush=True)


if __name__ == "__main__":
    main()
