"""The Live page: what trains, what is next, and what its keys ask for."""

import asyncio

import msgspec
import pytest
from textual.widgets import OptionList

from engine import protocol as p
from svhn_tui.analysis.queue_entries import entries_of, moved, seeds_text
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import Confirm
from svhn_tui.pages.live import LivePage
from svhn_tui.widgets.devices import DeviceHistory
from tests.support.scenes import BOOK, GPU, Stage, attached, group_of, relu, specs_of, tanh, training, waiting

SIZES = [(80, 24), (120, 40), (200, 60)]


def staged(state: State) -> Stage:
    return Stage(LivePage(BOOK), state)


@pytest.mark.parametrize("size", SIZES)
async def test_progress_curves_and_queue_stand_on_one_screen(size: tuple[int, int]):
    app = staged(training())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = app.text
        for said in ("relu 256", "seeds 0 to 9 together", "1.42 M images/s", "epoch 71 of 100 · 9.0 s left"):
            assert said in text
        assert "■ train" in text and "● test" in text
        assert "next   Q9  relu 64    seeds 0 to 9" in text
        assert "1 m 05 s" in text
        assert text.count("epoch 71   train") == (2 if size[0] >= 120 else 1), "two charts where there is room"
        assert ("64 °C   310 W" in text) == (size[1] >= 30)


async def test_nothing_to_show_says_what_to_do():
    app = staged(fold(attached()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "Nothing trains." in app.text
        assert "1 opens the questions; enter there trains what is missing." in app.text
        await pilot.press("space", "S", "J", "K", "m", "y", "left", "plus", "f", "escape")
        assert app.wanted == []


async def test_space_holds_the_group_and_s_asks_before_it_stops():
    state = training()
    runs = tuple(state.running)
    app = staged(state)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("space")
        assert app.wanted == [p.Pause(runs=runs)]
        await pilot.press("S")
        assert isinstance(app.screen, Confirm)
        await pilot.press("n")
        assert len(app.wanted) == 1
        await pilot.press("S", "y")
        assert app.wanted[1:] == [p.Cancel(runs=runs)]
        await pilot.press("P")
        assert app.wanted[2:] == [p.Pause()]


async def test_the_queue_is_reached_by_arrow_and_changed_by_keys():
    state = training()
    first, second = (tuple(spec.run_id for spec in specs_of(relu(units), 10)) for units in (64, 1024))
    app = staged(state)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("down", "J")
        assert app.wanted == [p.Reprioritise(runs=first, place=10)]
        await pilot.press("down", "K", "space", "S")
        assert app.wanted[1:] == [p.Reprioritise(runs=second, place=0), p.Pause(runs=second), p.Cancel(runs=second)]
        await pilot.press("J")
        assert len(app.wanted) == 4, "nothing is below the last"
        await pilot.press("up", "up", "space")
        assert app.wanted[4:] == [p.Pause(runs=tuple(state.running))]


async def test_what_failed_is_told_as_plain_text_and_space_tries_it_again():
    (spec,) = specs_of(tanh(256), 1)
    events = (
        *attached(),
        *group_of("g", (spec,), 3, 0.5),
        p.RunFailed(run_id=spec.run_id, reason="[red]no memory\x1b"),
    )
    app = staged(fold(events))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "failed   tanh 256" in app.text and "[red]no memory�" in app.text
        await pilot.press("space")
        assert app.wanted == [p.Resume(runs=(spec.run_id,))]


async def test_the_cursor_stays_on_its_group_when_others_end():
    one, two = specs_of(relu(64), 2), specs_of(tanh(256), 2)
    both = fold((*attached(), *group_of("a", one, 5, 0.4), *group_of("b", two, 9, 0.5)))
    page = LivePage(BOOK)
    app = Stage(page, both)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("down")
        page.state = fold((p.RunFailed(run_id=one[0].run_id, reason="x"),), both)
        await pilot.pause()
        groups = page.query_one("#groups", OptionList)
        assert groups.highlighted == 1
        page.state = fold((p.RunFailed(run_id=one[1].run_id, reason="x"),), page.state)
        await pilot.pause()
        assert (groups.option_count, groups.highlighted) == (1, 0)
        assert "epoch 10 of 100" in app.text


async def test_traces_seconds_and_the_gap_are_a_key_away():
    app = staged(training())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("t")
        await pilot.pause()
        assert "seed 7" in app.text
        await pilot.press("t", "a")
        await pilot.pause()
        assert "22 s" in app.text.splitlines()[4], "71 epochs of 0.31 s"
        await pilot.press("m")
        await pilot.pause()
        assert "train − test accuracy" in app.text


async def test_two_charts_follow_in_turn_and_a_key_draws_both():
    app, state = staged(training()), training()
    epoch = p.EpochEnded(
        group="g0", runs=tuple(state.running), epoch=72, loss=(0.5,) * 10, accuracy=(0.8,) * 10,
        test_loss=(0.6,) * 10, test_accuracy=(0.7,) * 10, seconds=0.3, images_per_second=1e6,
    )  # fmt: skip
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.screen.state = fold((epoch,), state)
        await pilot.pause()
        assert (app.text.count("epoch 71   train"), app.text.count("epoch 72   train")) == (1, 1)
        async with asyncio.timeout(10):  # nothing else happens, and yet both stand there in the end
            while app.text.count("epoch 72   train") < 2:
                await pilot.pause(0.05)
        app.screen.state = fold((msgspec.structs.replace(epoch, epoch=73),), app.screen.state)
        await pilot.press("m")
        assert (app.text.count("epoch 73   gap"), app.text.count("epoch 73   train")) == (1, 1)


async def test_any_size_and_any_key_leaves_it_standing():
    app = staged(training())
    async with app.run_test(size=(80, 24)) as pilot:
        for size in ((20, 6), (1, 1), (200, 60), (40, 10), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.press("m", "y", "e", "left", "plus", "minus", "shift+left", "t", "a", "f", "escape", "tab")
            await pilot.pause()
        assert "relu 256" in app.text


def test_neighbours_in_the_queue_are_one_line_and_move_as_one():
    a, b = specs_of(relu(64), 3), specs_of(relu(1024), 2)
    places = waiting("Q9", a) + waiting("Q9", b, paused=True)
    times = (p.EpochTime(relu(64), 50_000, 0.01), p.EpochTime(relu(1024), 50_000, 0.05))
    state = fold((*attached(), p.RunsQueued(places=places), p.Timed(times=times)))
    entries = entries_of(state)
    assert [(entry.status, entry.seeds, entry.seconds) for entry in entries] == [
        ("waiting", (0, 1, 2), 3 * (1 + 100 * 0.01)),
        ("paused", (0, 1), 2 * (1 + 100 * 0.05)),
    ]
    assert state.seconds_waiting == entries[0].seconds, "what is paused is not waited for"
    assert moved(entries, 0, 1) == p.Reprioritise(runs=entries[0].runs, place=2)
    assert moved(entries, 1, -1) == p.Reprioritise(runs=entries[1].runs, place=0)
    assert moved(entries, 0, -1) is None and moved(entries, 1, 1) is None and moved((), 0, 1) is None


@pytest.mark.parametrize(
    ("seeds", "said"),
    [((3,), "seed 3"), ((2, 0, 1), "seeds 0 to 2"), ((0, 2, 5), "seeds 0, 2, 5"), (range(0, 80, 2), "40 seeds")],
)
def test_seeds_are_said_shortly(seeds: tuple[int, ...], said: str):
    assert seeds_text(seeds) == said


def test_devices_keep_a_short_history():
    history = DeviceHistory()
    for share in (0.0, 1.0, None):
        history.take((msgspec.structs.replace(GPU, utilisation=share),))
    assert history.lines("#ffffff", "#ffffff").plain.endswith("▁█ ")
    history.take(())
    assert history.lines("#ffffff", "#ffffff").plain == ""
