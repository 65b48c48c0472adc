"""A run's page and its log: what is said of it, what its keys ask for, and the way there and back."""

import msgspec
import pytest

from engine import protocol as p
from svhn_tui.analysis.usage import uses_of
from svhn_tui.client.reducer import MAX_LOG_CHARACTERS, fold
from svhn_tui.client.state import State
from svhn_tui.pages.page import Page
from svhn_tui.pages.run_log import LogPage
from svhn_tui.pages.run_page import RunPage
from svhn_tui.pages.runs import RunsPage
from tests.support.scenes import BOOK, Stage, attached, finished, group_of, relu, specs_of, tanh, until

SIZES = [(80, 24), (120, 40), (200, 60)]
STATE = finished((tanh(256), 2, 0.5), (relu(256, epochs=8), 1, 0.55))
RUN = next(iter(STATE.results))


class Visiting(Stage):
    """A stage that notes which pages were asked for."""

    def __init__(self, page: Page, state: State) -> None:
        super().__init__(page, state)
        self.visits: list[tuple[str, ...]] = []

    def on_page_visit(self, message: Page.Visit) -> None:
        self.visits.append((message.page, *message.subjects))


def log_of(run_id: str, text: str, file: str = "", begins: int = 0) -> p.LogRead:
    file = file or f"runs/{run_id}/engine.log"
    return p.LogRead(run_id=run_id, file=file, begins=begins, ends=begins + len(text.encode()), text=text)


def failed() -> tuple[State, str]:
    (spec,) = specs_of(tanh(256), 1)
    reason = "The worker ended with exit code 1: no memory."
    events = (*attached(), *group_of("g", (spec,), 3, 0.5), p.RunFailed(run_id=spec.run_id, reason=reason))
    printed = log_of(spec.run_id, "".join(f"line {index}\n" for index in range(40)) + "[red]no memory\u202e\n")
    return fold((*events, printed)), spec.run_id


@pytest.mark.parametrize("size", SIZES)
async def test_a_runs_page_says_all_that_is_known_of_it(size: tuple[int, int]):
    page = RunPage(BOOK)
    note = p.NoteChanged(note=p.Note(RUN, "[b]seen\x1b", ("final",)))
    checked = p.FilesChecked(hashes={RUN: "00"})
    stage = Visiting(page, fold((note, checked, log_of(RUN, "compiled\n")), STATE))
    async with stage.run_test(size=size) as pilot:
        page.turn_to((RUN,), "Runs")
        await until(pilot, lambda: "✓ finished" in stage.text)
        assert p.ReadLog(run_id=RUN) in stage.wanted and p.CheckFiles(runs=(RUN,)) in stage.wanted
        shown = stage.text
        await pilot.press("end")
        await until(pilot, lambda: "compiled" in stage.text)
        shown = " ".join((shown + stage.text).split())
        for text in (
            "tanh 256, seed 0",
            RUN,
            "learning rate 1e-05",
            "optimizer adam",
            "9,500,000 bytes, sha256 00",
            "✓ as it was trained",
            "Q5 fit it: counts as asked",
            "[b]seen",
            "final",
            "engine.log",
        ):
            assert text in shown, text
        await pilot.press("enter", "l", "i", "escape")
        await pilot.pause()
        assert stage.visits == [("Questions", "Q5"), ("Log", RUN), ("Data", RUN), ("Runs",)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_failed_run_shows_the_end_of_its_log_and_what_to_do(size: tuple[int, int]):
    state, run_id = failed()
    page = RunPage(BOOK)
    stage = Visiting(page, state)
    async with stage.run_test(size=size) as pilot:
        page.turn_to((run_id,), "Runs")
        await until(pilot, lambda: "✗ failed" in stage.text)
        for text in ("exit code 1: no memory", "R trains it again", "[red]no memory�", "line 39"):
            assert text in stage.text, text
        await pilot.press("R")
        assert p.Resume(runs=(run_id,)) in stage.wanted


@pytest.mark.parametrize("size", SIZES)
async def test_a_log_is_searched_and_followed(size: tuple[int, int]):
    (spec,) = specs_of(tanh(256), 1)
    lines = "".join(f"step {index} {'warning' if index in (10, 500) else 'fine'}\n" for index in range(1000))
    state = fold((*attached(), *group_of("g", (spec,), 3, 0.5), log_of(spec.run_id, lines)))
    page = LogPage(BOOK)
    stage = Visiting(page, state)
    async with stage.run_test(size=size) as pilot:
        page.turn_to((spec.run_id,), "Live")
        await until(pilot, lambda: "step 999" in stage.text)
        assert "◐ epoch 4 of 100" in stage.text
        more = log_of(spec.run_id, "the end\n", begins=len(lines.encode()))
        await until(pilot, lambda: p.ReadLog(run_id=spec.run_id, file=more.file, begins=more.begins) in stage.wanted)
        page.state = fold((more,), page.state)
        await until(pilot, lambda: "the end" in stage.text)
        await pilot.press("slash", *"WARNING", "enter")
        await until(pilot, lambda: "2 of 2 lines" in stage.text)
        assert "step 500 warning" in stage.text
        await pilot.press("n")
        await until(pilot, lambda: "step 10 warning" in stage.text and "1 of 2 lines" in stage.text)
        await pilot.press("N", "escape")
        await pilot.pause()
        assert stage.visits == [], "the first escape ends the search"
        await pilot.press("escape")
        await pilot.pause()
        assert stage.visits == [("Live",)]


async def test_the_text_of_a_log_is_never_obeyed_nor_cut():
    state, run_id = failed()
    long = "x" * 300 + "END"
    page = LogPage(BOOK)
    stage = Visiting(page, fold((log_of(run_id, f"\x1b]52;c;aGk=\x07[bold]\tno {long}\n", "host.log"),), state))
    async with stage.run_test(size=(80, 24)) as pilot:
        page.turn_to((run_id,), "Runs")
        await until(pilot, lambda: "END" in stage.text)
        assert "[bold]" in stage.text and "\x1b" not in stage.text
        assert "It printed nothing itself" in stage.text and "w/host.log" in stage.text


async def test_runs_lead_to_pages_logs_and_images():
    state, run_id = failed()
    stage = Visiting(RunsPage(BOOK), msgspec.structs.replace(STATE, live=state.live))
    async with stage.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "failed" in stage.text)
        await pilot.press("home", "enter", "l", "i", "down", "i", "l", "enter")
        await pilot.pause()
        finished_run = stage.visits[2][1]
        assert finished_run in STATE.results
        assert stage.visits == [("Run", run_id), ("Log", run_id), ("Data", finished_run), ("Log", finished_run),
                                ("Run", finished_run)]  # fmt: skip


def test_a_growing_log_keeps_its_end_and_another_runs_replaces_it():
    state = fold((log_of("a", "one\n"), log_of("a", "two\n", begins=4)))
    assert state.log is not None and state.log.text == "one\ntwo\n"
    assert fold((log_of("a", "", begins=8),), state).log == state.log
    assert fold((log_of("a", "new\n", begins=100),), state).log.text == "new\n"
    assert fold((log_of("b", "other\n"),), state).log.text == "other\n"
    part = "x" * 99 + "\n"
    for index in range(30):
        state = fold((log_of("c", part * 500, begins=index * 50_000),), state)
    assert (
        state.log is not None
        and MAX_LOG_CHARACTERS - 100 <= len(state.log.text) <= MAX_LOG_CHARACTERS
        and state.log.begins > 0
    )


def test_a_run_counts_for_the_questions_that_ask_for_it():
    runs = {result.spec.configuration.label + str(result.spec.seed): result.spec for result in STATE.results.values()}
    uses = {use.question.id: use.other for use in uses_of(runs["tanh 2561"], BOOK, STATE)}
    assert uses == {"Q7": "", "Q5": "seed 1, which it does not ask for", "Q6": "seed 1, which it does not ask for"}
    short = uses_of(runs["relu 256 · epochs 80"], BOOK, STATE)
    assert {use.question.id: use.other for use in short}["Q7"] == "epochs 8 instead of 100"
