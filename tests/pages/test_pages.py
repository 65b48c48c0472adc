"""What stands on the screen, cell by cell, at three sizes: the recorded events of an assignment that was trained."""

from functools import cache
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from textual.binding import Binding

from docs.pictures import midway, recorded, shortened
from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.help import sections_of
from svhn_tui.pages.navigation import page_of
from svhn_tui.pages.registry import PAGES
from svhn_tui.presets import Presets
from svhn_tui.widgets.key_bar import ranked_bindings, sign_of
from tests.support.lively_engine import CONFUSION
from tests.support.scenes import Stage, attached, relu, specs_of, waiting

SMALL, GOOD, LARGE = (80, 24), (120, 40), (200, 60)
SIZES = (SMALL, GOOD, LARGE)


@cache
def book() -> Presets:
    return shortened(preset_file.load(preset_file.find(Path("no workspace"))))


@cache
def whole() -> State:
    return fold(recorded())


async def lines_of(name: str, state: State, size: tuple[int, int], *keys: str) -> list[str]:
    """The page's lines, once its threads have come back."""
    stage = Stage(page_of(name, book()), state)
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        await stage.workers.wait_for_complete()
        await pilot.pause()
        lines = stage.text.splitlines()
    assert [len(line) for line in lines] == [size[0]] * size[1]
    return lines


@pytest.mark.parametrize("size", SIZES)
async def test_questions_list_at_a_glance_and_answer_the_chosen_one(size: tuple[int, int]):
    lines = await lines_of("Questions", whole(), size, *["down"] * 6)
    text, left = "\n".join(lines), [line[: line.index("│")] for line in lines if "│" in line]
    assert sum("▌" in line for line in left) == 1
    chosen = next(line for line in left if "▌" in line)
    assert "Q7  ✓" in chosen and chosen.rstrip().endswith("0.2094, 0.3500")
    assert "49 of 49 runs" in text and "everything is trained" in text
    for row in ("● tanh 256", "▲ relu 256"):
        assert row in text
    verdict = " ".join(line[line.index("│") + 1 :].strip() for line in lines if "│" in line)
    assert "relu 256 beats tanh 256 by 0.141 ± 0.010, p < 0.001." in verdict
    assert text.index("relu 256 beats") < text.index("mean ± std over seeds" if size == SMALL else "epoch 20")
    assert "answer  0.2094, 0.3500  demo" in text
    points = [line.index(".", line.index("5/5")) for line in lines if "5/5" in line]
    assert len(set(points)) == 1, "the points of a column stand in line"
    assert ("789,258" in text) == (size != SMALL)


@pytest.mark.parametrize("size", SIZES)
async def test_the_first_start_greets_in_three_lines(size: tuple[int, int]):
    lines = await lines_of("Questions", fold(attached()), size)
    begin = next(index for index, line in enumerate(lines) if "This trains the assignment's networks" in line)
    assert "enter trains it, A trains all" in lines[begin + 1] and "? lists a page's keys" in lines[begin + 2]
    assert not any("…" in line for line in lines[begin : begin + 3])
    assert "This trains" not in "\n".join(await lines_of("Questions", whole(), size))


@pytest.mark.parametrize("size", SIZES)
async def test_keys_below_are_those_that_work_now(size: tuple[int, int]):
    code = (await lines_of("Questions", whole(), size))[-1]
    assert "enter train" not in code and "m metric" not in code and "c copy" in code
    trained = (await lines_of("Questions", whole(), size, *["down"] * 6))[-1]
    assert trained.startswith(" enter train  R run with…")
    assert ("e smooth" in trained) == (size != SMALL)
    assert trained.rstrip().endswith("? keys  q leave"), "there is always a way to see more, and out"


@pytest.mark.parametrize("size", SIZES)
async def test_answers_hold_all_that_is_handed_in(size: tuple[int, int]):
    lines = await lines_of("Answers", whole(), size, *["down"] * 6)
    text = "\n".join(lines)
    for expected in (
        "Q1  linear network",
        "file 387 kB",
        "30730, 0.2200",
        "4, 0.4546, 3411722",
        "! demo data",
        "✓ ready",
    ):
        assert expected in text
    assert sum("▌Q7" in line for line in lines) == 1
    assert "relu 256 · epochs 20  5/5  0.3500" in text


@pytest.mark.parametrize("size", SIZES)
async def test_runs_show_whole_columns_only(size: tuple[int, int]):
    lines = await lines_of("Runs", whole(), size)
    head = next(line for line in lines if "configuration" in line)
    assert ("finished ↓" in head) == (size != SMALL) and "parameters" in head
    assert ("→ 3 more columns" in "\n".join(lines)) == (size == SMALL)
    turned = await lines_of("Runs", whole(), size, *["right"] * 3)
    head = next(line for line in turned if "configuration" in line)
    assert ("test acc" in head) == (size != SMALL), "the first column stays, others go by"


@pytest.mark.parametrize("size", SIZES)
async def test_configurations_are_compared_class_by_class(size: tuple[int, int]):
    better = tuple(tuple(60 if seed == true else (true + seed) % 5 for seed in range(10)) for true in range(10))
    worse, best = (
        next(run_id for run_id, run in whole().results.items()
             if run.spec.seed == 0 and run.spec.configuration.label == f"{name} 256 · epochs 20")
        for name in ("tanh", "relu")
    )  # fmt: skip
    seen = (p.Inspected(run_id=worse, confusion=CONFUSION), p.Inspected(run_id=best, confusion=better))
    lines = await lines_of("Compare", fold(seen, whole()), size, "d")
    text = "\n".join(lines)
    assert "right, by class" in text and "▲ relu minus ● tanh" in text
    first = next(line for line in lines if line.strip().startswith("0 "))
    assert "62.5 %" in first and "75.0 %" in first, "40 of 64 images, and 60 of 80"
    assert "+12" in first and "−" in first
    assert "Seed 0 of each." in text


@pytest.mark.parametrize("size", SIZES)
async def test_live_shows_two_groups_and_what_is_next(size: tuple[int, int]):
    lines = await lines_of("Live", midway(recorded()), size)
    text = "\n".join(lines)
    for expected in ("relu (256, 1024) · epochs 20", "epoch 15 of 20", "11.9 k images/s", "■ train", "● test", "next"):
        assert expected in text
    assert ("loss" in text) == (size != SMALL), "a second chart where there is room"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [name for _, name, _ in PAGES])
async def test_an_empty_workspace_says_what_to_do(name: str, size: tuple[int, int]):
    text = "\n".join(await lines_of(name, fold(attached()), size))
    hints = {"Questions": "enter trains it", "Live": "No run is training.", "Runs": "No run is finished yet: 1 opens",
             "Compare": "1 opens the questions", "Answers": "not trained yet", "Data": "50,000 to train"}  # fmt: skip
    keys = ["down"] if name == "Answers" else []
    text = "\n".join(await lines_of(name, fold(attached()), size, *keys)) if keys else text
    assert hints[name] in text


@pytest.mark.parametrize("name", ["Questions", "Live", "Compare", "Data"])
async def test_a_page_that_has_nothing_to_show_says_what_keeps_it(name: str):
    begun = fold(())
    assert "Starting the engine…" in " ".join("\n".join(await lines_of(name, begun, SMALL)).split())
    refused = fold((p.HostEnded(reason="The workspace was written by a newer svhn-tui: update this one."),))
    assert "by a newer svhn-tui" in "\n".join(await lines_of(name, refused, GOOD))


@pytest.mark.parametrize("name", [name for _, name, _ in PAGES])
async def test_the_help_lists_every_key_of_the_page_also_those_that_do_nothing_now(name: str):
    stage = Stage(page := page_of(name, book()), fold(attached()))
    async with stage.run_test(size=SMALL) as pilot:
        await pilot.pause()
        sections = dict(sections_of(page, ranked_bindings(page)))
    listed = {key for keys in sections.values() for some in keys.values() for key in some}
    assert {sign_of(binding.key) for binding in Binding.make_bindings(type(page).BINDINGS)} <= listed
    assert not set(sections["this page"]) & set(sections["not now"])


@pytest.mark.parametrize(
    ("paused", "message"),
    [((), "idle · 0 runs"), ((True, True), "2 runs paused"), ((False, True), "2 runs waiting")],
    ids=str,
)
async def test_the_bar_says_why_nothing_is_trained(paused: tuple[bool, ...], message: str):
    runs = tuple(
        waiting("Q9", specs_of(relu(64), 2)[at : at + 1], paused=held)[0] for at, held in enumerate(paused)
    )  # fmt: skip
    text = (await lines_of("Live", fold((*attached(), p.RunsQueued(waiting=runs))), SMALL))[0]
    assert message in text


WIDE_TITLE = "実験 幅と学習率 with a title that never ends"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["Questions", "Answers"])
async def test_wide_characters_in_a_title_take_two_cells(name: str, size: tuple[int, int]):
    own = msgspec.structs.replace(book().questions[1], id="S1", title=WIDE_TITLE, own=True, upload=None)
    wide = msgspec.structs.replace(book(), questions=(*book().questions, own))
    stage = Stage(page_of(name, wide), whole())
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        lines = stage.text.splitlines()
    (line,) = (line for line in lines if "S1 " in line and "実験" in line)
    other = next(line for line in lines if "Q2 " in line)
    mark = "│" if name == "Questions" else "!"
    assert cell_len(line[: line.index(mark)]) == cell_len(other[: other.index(mark)])
    assert {cell_len(line) for line in lines} == {size[0]}
