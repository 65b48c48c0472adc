"""The Runs page: what is listed in which order, and what its keys ask for."""

import contextlib
from pathlib import Path

import msgspec
import pytest
from textual.app import App, ComposeResult

from engine import protocol as p
from engine.core.spec import Network, Training
from svhn_tui import words
from svhn_tui.analysis import run_filter, run_table
from svhn_tui.analysis.run_filter import completed, completions
from svhn_tui.analysis.run_table import SortOrder, cells_of, lines_of
from svhn_tui.client import drafts
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import Results
from svhn_tui.pages.page import Page
from svhn_tui.pages.run_list import remembered_listing
from svhn_tui.pages.runs import RunsPage
from svhn_tui.terminal.editor import EditorError, edited
from svhn_tui.widgets.run_grid import Grid
from tests.host.test_stages import worker
from tests.support.bridge import Bridge
from tests.support.scenes import BOOK, Stage, attached, finished, relu, result, specs_of, tanh

STATE = finished((tanh(256), 2, 0.5), (relu(256), 3, 0.55), (relu(64), 1, 0.6))
RESULTS = tuple(STATE.results.values())


def labels(*lines: object) -> list[str]:
    return [f"{line.runs[0].spec.configuration.label} {len(line.runs)}" for line in lines]


def test_runs_are_sorted_by_any_column_either_way():
    seeds = [line.runs[0].spec.seed for line in lines_of(RESULTS, SortOrder("seed", descending=False))]
    assert seeds == [0, 0, 0, 1, 1, 2]
    best = lines_of(RESULTS, SortOrder("test"))
    assert [line.runs[0].test_accuracy for line in best] == sorted((run.test_accuracy for run in RESULTS), reverse=True)


def test_groups_say_n_mean_std_and_range_and_open_to_their_seeds():
    groups = lines_of(RESULTS, SortOrder("test"), grouped=True)
    assert labels(*groups) == ["relu 64 1", "relu 256 3", "tanh 256 2"]
    shown = cells_of(groups[1], ("configuration", "n", "seed", "test", "least", "most"))
    accuracies = sorted(run.test_accuracy for run in groups[1].runs)
    assert shown[:3] == ("relu 256", "3", "0 to 2")
    assert shown[3].startswith(f"{sum(accuracies) / 3:.4f} ± ")
    assert shown[4:] == (f"{accuracies[0]:.4f}", f"{accuracies[-1]:.4f}")
    assert cells_of(groups[0], ("test",))[0].index(".") == shown[3].index("."), "the points stand in line"
    assert len(cells_of(groups[0], ("test",))[0]) == len(shown[3])
    opened = lines_of(RESULTS, SortOrder("test"), grouped=True, opened={groups[1].key})
    assert [line.is_inside for line in opened] == [False, False, True, True, True, False]
    most = lines_of(RESULTS, SortOrder("n"), grouped=True)
    assert labels(*most) == ["relu 256 3", "tanh 256 2", "relu 64 1"]
    pinned = lines_of(RESULTS, SortOrder("test"), grouped=True, pinned={groups[2].key})
    assert labels(*pinned) == ["tanh 256 2", "relu 64 1", "relu 256 3"]


@pytest.mark.parametrize(
    ("typed", "text"),
    [("act", "activation="), ("hidden=64 te", "hidden=64 test_"), ("test_a", "test_accuracy="), ("ta", "tag:"),
     ("activation=r", "activation=relu"), ("hidden=", "hidden="), ("hidden!=6", "hidden!=64"), ("tag:f", "tag:final"),
     ("seed=", "seed="), ("zz", "zz"), ("", "")],
)  # fmt: skip
def test_tab_completes_as_far_as_it_is_certain(typed: str, text: str):
    notes = (p.Note("a", tags=("final",)), p.Note("b", tags=("draft",)))
    assert completed(typed, completions(typed, RESULTS, notes)) == text


def test_what_a_word_may_become_is_what_there_is():
    assert completions("hidden=", RESULTS) == ("hidden=256", "hidden=64")
    assert completions("test_acc") == ("test_accuracy",)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_group_open_select_and_compare(size: tuple[int, int]):
    wanted: list[tuple[str, ...]] = []

    class Listening(Stage):
        def on_page_visit(self, message: Page.Visit) -> None:
            assert message.page == "Compare"
            wanted.append(message.subjects)

    stage = Listening(RunsPage(BOOK), STATE)
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        assert "6 of 6 runs" in stage.text
        await pilot.press("g")
        await pilot.pause()
        assert "6 of 6 runs in 3 configurations" in stage.text
        assert "n 3" in stage.text
        await pilot.press("home", "enter")
        await pilot.pause()
        assert "▾" in stage.text
        await pilot.press("space", "end", "space", "c")
        await pilot.pause()
        assert len(wanted) == 1
        chosen = {STATE.results[run_id].spec.configuration.label for run_id in wanted[0]}
        assert len(chosen) == 2
        await pilot.press("slash", *"act", "tab", *"relu", "enter")
        await pilot.pause()
        assert "4 of 6 runs" in stage.text
        await pilot.press("escape", "slash", *"hiden=2")
        await pilot.pause()
        assert "did you mean hidden?" in stage.text


async def test_what_is_chosen_before_the_list_is_drawn_anew_changes_no_half_of_it():
    stage = Stage(page := RunsPage(BOOK), STATE)
    async with stage.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("g", "slash")
        page.runs.filter.value = "seed=x"  # as if pasted; the list stays as it was until the filter is right
        await pilot.press("enter")
        await pilot.pause()
        shown = stage.text.splitlines()[4:10]
        await pilot.press("g", "down", "up")
        page.query_one("Grid").refresh()
        await pilot.pause()
        assert "3 configurations" not in stage.text and "seed is a number" in stage.text
        assert stage.text.splitlines()[4:10] == shown and any("▸" in line for line in shown)
        await pilot.press("escape")
        await pilot.pause()
        assert "6 of 6 runs" in stage.text and "configurations" not in stage.text


async def test_selected_runs_are_deleted_together_after_a_question_and_columns_are_chosen():
    stage = Stage(RunsPage(BOOK), STATE)
    async with stage.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("space", "space", "d")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause()
        (deleted,) = [command for command in stage.wanted if isinstance(command, p.Delete)]
        assert len(deleted.runs) == 2
        assert "test loss" not in stage.text
        await pilot.press("v", *["down"] * 5, "space", "enter")
        await pilot.pause()
        assert "test loss" in stage.text
        assert "loss" in remembered_listing().columns, "the next start shows it too"
        await pilot.press("t")
        await pilot.pause()
        assert isinstance(stage.wanted[-1], p.ReadTrash)


async def test_ten_thousand_runs_are_listed_and_only_what_is_seen_is_made():
    many = tuple(result(spec, 0.5 + spec.seed / 1e5) for spec in specs_of(relu(256), 10_000))
    state = msgspec.structs.replace(fold(attached()), results=Results({run.run_id: run for run in many}))
    stage = Stage(RunsPage(BOOK), state)
    async with stage.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "10,000 of 10,000 runs" in stage.text
        await pilot.press("o", "end")
        await pilot.pause()
        page = stage.screen
        assert isinstance(page, RunsPage)
        made: list[int] = []
        cells = page.runs.cells
        page.query_one("Grid")._line = lambda index: made.append(index) or cells(index)
        page.query_one("Grid").refresh()
        await pilot.pause()
        assert len(made) <= 2 * 40
        assert max(made) == 9_999


def test_what_was_deleted_lies_in_the_trash_for_every_screen(demo_folder: Path, tmp_path: Path):
    sweep = msgspec.structs.replace(BOOK.sweep(BOOK.question("Q7"), ""), title="some")
    with Bridge(tmp_path, **worker()) as bridge:
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=msgspec.structs.replace(sweep, data=data.fingerprint, seeds=(0,))))
        bridge.until(lambda state, event: len(state.results) == 2)
        gone = next(iter(bridge.state.results))
        bridge.send(p.Delete(runs=(gone,)))
        bridge.until_kind(p.RunDeleted)
        bridge.end()
    with Bridge(tmp_path, **worker()) as bridge:
        bridge.until_kind(p.CaughtUp)
        bridge.send(p.ReadTrash())
        assert [run.run_id for run in bridge.until_kind(p.TrashRead).results] == [gone]
        bridge.send(p.Restore(runs=(gone,)))
        bridge.until(lambda state, event: gone in state.results)
        bridge.send(p.ReadTrash())
        assert bridge.until_kind(p.TrashRead).results == ()
        bridge.end()


def test_the_editor_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (note := tmp_path / "note.txt").write_text("one")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/one/two/")
    assert edited(note) == "two"
    for command in ("false", "no-such-editor", "'"):
        monkeypatch.setenv("EDITOR", command)
        with pytest.raises(EditorError):
            edited(note)


async def test_what_an_editor_left_behind_and_what_a_cut_line_swallowed_is_offered_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run_id = RESULTS[0].run_id
    failing = tmp_path / "editor"
    failing.write_text("#!/bin/sh\necho written at length >> $1\nexit 1\n")
    failing.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(failing))
    state = fold((*attached(), p.RunFinished(result=RESULTS[0])))
    stage = Stage(RunsPage(BOOK), state)
    monkeypatch.setattr(stage, "suspend", contextlib.nullcontext)
    async with stage.run_test(size=(80, 24)) as pilot:
        await pilot.press("E")
        assert "written at length" in drafts.file_of(run_id).read_text()
        assert not [wish for wish in stage.wanted if isinstance(wish, p.Annotate)]
        monkeypatch.setenv("EDITOR", "true")
        await pilot.press("E")  # it is offered again, and kept this time; the line is cut, and the host hears nothing
        await pilot.pause()
        (wish,) = [wish for wish in stage.wanted if isinstance(wish, p.Annotate)]
        assert wish.text.endswith("written at length")
        assert drafts.read(run_id) == wish.text, "it waits on disk"
        page = stage.screen
        page.state = fold(
            (*attached(), p.RunFinished(result=RESULTS[0]), p.NoteChanged(note=p.Note(run_id, wish.text)))
        )
        await pilot.pause()
        assert drafts.read(run_id) is None, "the host has it"


async def test_a_damaged_journal_is_told_of_the_run_under_the_cursor():
    history = p.HistoryRead(run_id=RESULTS[0].run_id, history=p.History(), damaged_lines=2)
    stage = Stage(RunsPage(BOOK), fold((*attached(), p.RunFinished(result=RESULTS[0]), history)))
    async with stage.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "journal: 2 lines cannot be read" in stage.text


def test_configurations_are_sorted_by_the_numbers_in_their_names():
    runs = [
        result(specs_of(some, 1)[0], 0.5) for some in (relu(256), relu(64, 256), relu(1024), relu(64), relu(64, 64))
    ]
    lines = run_table.lines_of(runs, run_table.SortOrder("configuration", descending=False), grouped=True)
    labels = [line.runs[0].spec.configuration.label for line in lines]
    assert labels == ["relu (64, 64)", "relu (64, 256)", "relu 64", "relu 256", "relu 1024"]
    rates = ["relu 8 · learning rate 0.0001", "relu 8 · learning rate 0.001", "relu 8 · learning rate 0.01"]
    assert sorted(rates, key=words.in_order) == rates


def test_the_heads_of_columns_are_words_for_the_filter():
    """As they stand on the screen, in any case, or with an underscore."""
    run = msgspec.structs.replace(result(specs_of(relu(256), 1)[0], 0.5), finished_at=1e9)
    for name, column in run_table.COLUMNS.items():
        if name in run_table.OF_GROUPS - {"least", "most"}:
            continue
        value = {"finished": "1970"}.get(name, "x" if not column.is_number else "0.5")
        for word in (column.title, column.title.upper(), column.title.replace(" ", "_")):
            assert run_filter.parse(f"{word}!={value}")(run, None) in (True, False), word
    assert run_filter.parse("test acc>0.4 seed=0")(run, None)
    assert not run_filter.parse("Test_Acc>0.6")(run, None)
    assert run_filter.parse("test_accuracy=>0.4 seed=<0 activation==relu")(run, None)
    assert not run_filter.parse("test_accuracy=<0.4")(run, None)
    for name, default in {**msgspec.structs.asdict(Network()), **msgspec.structs.asdict(Training())}.items():
        if name not in ("convolutions", "hidden"):
            assert run_filter.parse(f"{name}={str(default).lower()}") is not None, name
    assert run_filter.parse("dropout=0 optimizer=adam batch_normalization=false")(run, None)
    assert run_filter.parse("finished>=2001 finished<2001-09-10")(run, None)
    with pytest.raises(run_filter.FilterError, match="is a date"):
        run_filter.parse("finished>yesterday")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_failed_runs_stand_beside_finished_ones_with_their_reason_and_are_tried_again(size: tuple[int, int]):
    (spec,) = specs_of(tanh(8), 1)
    began = p.RunStarted(group="g", runs=(spec.run_id,), specs=(spec,), worker="w", device="cpu")
    failed = p.RunFailed(run_id=spec.run_id, reason="The worker ran out of memory.")
    state = fold((began, failed), STATE)
    stage = Stage(page := RunsPage(BOOK), state)
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        shown = stage.text
        assert "tanh 8" in shown and "failed" in shown and "6 of 6 runs, 1 failed" in shown
        await pilot.press("home")
        await pilot.pause()
        assert "ran out of memory" in stage.text
        await pilot.press("space", "d", "enter", "g", "g", "p", "n", "R")
        await pilot.pause()
        assert stage.wanted == [p.Resume(runs=(spec.run_id,))]
        await pilot.press("slash", *"is:failed", "enter")
        await pilot.pause()
        assert "tanh 8" in stage.text and "relu 64" not in stage.text
        page.runs.filter.value = "seed=0"
        await pilot.pause()
        assert "tanh 8" not in stage.text
        page.state = msgspec.structs.replace(state, live={})
        await pilot.press("escape")
        await pilot.pause()
        assert "failed" not in stage.text


async def test_a_list_that_loses_lines_at_its_end_stays_full_and_a_short_one_has_no_scrollbar():
    def show(grid: Grid, lines: int) -> None:
        grid.show([("run", 10, False)], lines, lambda index: ("", (f"run {index}",)), grid.cursor)

    class OneGrid(App[None]):
        def compose(self) -> ComposeResult:
            yield Grid()

    app = OneGrid()
    async with app.run_test(size=(40, 12)) as pilot:
        grid = app.query_one(Grid)
        show(grid, 100)
        await pilot.press("end", *["up"] * 5)
        await pilot.pause()
        show(grid, 96)
        await pilot.pause()
        assert [grid.render_line(y).text.split()[-1] for y in range(1, 12)] == [str(line) for line in range(85, 96)]
        show(grid, 5)
        await pilot.pause()
        assert not grid.show_vertical_scrollbar
