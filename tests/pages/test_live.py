"""The Live page: what trains, what is next, and what its keys ask for."""

import asyncio

import msgspec
import pytest
from textual.widgets import Input, OptionList

from engine import protocol as p
from engine.core.spec import Configuration, Network, OwnModel, RunSpec
from engine.core.sweep import Sweep
from svhn_tui.analysis.queue_entries import Target, last_group_of
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import Confirm, WhereToTrain
from svhn_tui.pages.live import LivePage
from svhn_tui.pages.live_text import way_back
from svhn_tui.pages.page import Page
from svhn_tui.widgets.devices import DeviceHistory
from tests.support.epochs import epoch_ended
from tests.support.scenes import (
    BOOK,
    DATA,
    GPU,
    Stage,
    attached,
    group_of,
    relu,
    result,
    specs_of,
    tanh,
    training,
    until,
    waiting,
)

SIZES = [(80, 24), (120, 40), (200, 60)]


def staged(state: State) -> Stage:
    return Stage(LivePage(BOOK), state)


@pytest.mark.parametrize("size", SIZES)
async def test_progress_curves_and_queue_stand_on_one_screen(size: tuple[int, int]):
    app = staged(training())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = app.text
        for expected in ("relu 256", "seeds 0 to 9 together", "1.42 M images/s", "epoch 71 of 100 · 9.0 s left"):
            assert expected in text
        assert "■ train" in text and "● test" in text
        assert "next   Q9  relu 64    seeds 0 to 9" in text
        assert "1 m 05 s" in text
        assert text.count("epoch 71   train") == (2 if size[0] >= 120 else 1), "two charts where there is room"
        assert ("64 °C   310 W" in text) == (size[1] >= 30)


async def test_nothing_to_show_says_what_to_do():
    app = staged(fold(attached()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "No run is training." in app.text
        assert "1 opens the questions; enter there trains the missing runs." in app.text
        await pilot.press("space", "S", "J", "K", "m", "y", "left", "plus", "f", "escape")
        assert app.wanted == []


@pytest.mark.parametrize("size", [(60, 15), *SIZES])
async def test_a_trial_says_what_is_waited_for_and_s_ends_it(size: tuple[int, int]):
    model = OwnModel("0" * 64, "residual")
    runs = waiting("Q3", specs_of(Configuration(Network(model=model)), 2))
    trial = p.TrialStarted(model=model, data=runs[0].spec.data, file="[b]mine.py", started_at=0, seconds=300)
    app = staged(fold((*attached(), p.RunsQueued(waiting=runs), trial)))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = " ".join(app.text.split())
        assert "[b]mine.py: residual is being built, to try it, for" in text and "at most" in text
        assert "trying [b]mine.py" in text
        await pilot.press("S")
        assert app.wanted == [p.Cancel(runs=tuple(run.run_id for run in runs))]
        app.screen.state = fold((p.RunsUnqueued(runs=tuple(run.run_id for run in runs)),), app.screen.state)
        await until(pilot, lambda: "No run is training." in app.text)
        assert "mine.py" not in app.text


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
        assert app.wanted == [p.Reprioritise(runs=first, index=10)]
        await pilot.press("down", "K", "space", "S")
        assert app.wanted[1:] == [p.Reprioritise(runs=second, index=0), p.Pause(runs=second), p.Cancel(runs=second)]
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
    epoch = epoch_ended(
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


def test_what_was_stopped_comes_back_by_the_key_that_asked_for_it():
    def way(epochs: int, seed: int, title: str = "Q7") -> str:
        spec = RunSpec(relu(256, epochs=epochs), seed, DATA.fingerprint)
        sweep = Sweep(title, DATA.fingerprint, (spec.configuration,), tuple(range(10)))
        state = fold((*attached(), p.SweepSubmitted(sweep=sweep, missing=()), *group_of("g0", (spec,), 1, 0.5)))
        return way_back(Target(None, state.live), BOOK, state)

    assert way(100, 9) == "enter on Q7"
    assert way(8, 0) == "R on Q7 with 8 epochs"
    assert way(100, 10) == "R on Q7 with 100 epochs", "with more seeds"
    assert way(100, 9, "gone") == "asking for it again"


def test_devices_keep_a_short_history():
    history = DeviceHistory()
    for share in (0.0, 1.0, None):
        history.add((msgspec.structs.replace(GPU, utilisation=share),))
    assert history.lines("#ffffff", "#ffffff").plain.endswith("▁█ ")
    history.add(())
    assert history.lines("#ffffff", "#ffffff").plain == ""


def test_a_card_says_what_it_is_or_why_it_is_left_alone():
    history = DeviceHistory()
    card = msgspec.structs.replace(GPU, kind="NVIDIA H100", temperature=None, power=None)
    history.add((card, msgspec.structs.replace(card, name="gpu1", busy="process 7 of ada computes on it")))
    first, second = history.lines("#ffffff", "#ffffff").plain.splitlines()
    assert first.endswith("NVIDIA H100")
    assert second.endswith("left alone: process 7 of ada computes on it")
    assert "°C" not in first


async def test_the_cards_of_this_machine_are_chosen_where_to_train():
    app = staged(training())
    async with app.run_test(size=(100, 40)) as pilot:
        chosen = []
        app.push_screen(WhereToTrain(p.Fleet(gpus="1")), chosen.append)
        await pilot.pause()
        field = app.screen.query_one("#gpus", Input)
        assert field.value == "1"
        field.value = "half of them"
        field.focus()
        await pilot.press("enter")
        assert not chosen, "what is not a GPU is refused in words"
        field.value = "0, 2"
        await pilot.press("enter")
        await pilot.pause()
        assert chosen == [p.Fleet(gpus="0,2")]


def trained(state: State) -> State:
    """The ten runs in training end: eight are finished, one failed, one diverged."""
    runs = tuple(state.running)
    events: list[p.AnyEvent] = []
    for run_id in runs[:8]:
        events.append(p.RunFinished(result=result(state.live[run_id].spec, 0.55)))
    events.append(p.RunFailed(run_id=runs[8], reason="[red]no memory\x1b"))
    bad = msgspec.structs.replace(result(state.live[runs[9]].spec, 0.1), test_loss=None, loss=None, diverged=True)
    return fold([*events, p.RunFinished(result=bad)], state)


def alone() -> State:
    """Ten seeds in training, and nothing that waits."""
    sweep = BOOK.sweep(BOOK.question("Q7"), "f00d")
    assert sweep is not None
    return fold(
        (*attached(), p.SweepSubmitted(sweep=sweep, missing=()), *group_of("g0", specs_of(relu(256), 10), 70, 0.57))
    )


@pytest.mark.parametrize("size", SIZES)
async def test_the_curve_stays_with_its_outcome_when_the_run_ends(size: tuple[int, int]):
    page = LivePage(BOOK)
    app = Stage(page, alone())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        page.state = trained(page.state)
        await until(pilot, lambda: "This one trained last" in app.text)
        text = app.text
        for expected in (
            "Q7 relu 256",
            "✓ seeds 0 to 7 finished in 41 s, test accuracy 0.5500 ± 0.0000",
            "✗ seed 9 diverged",
            "✗ seed 8 failed: [red]no memory�",
            "■ train",
            "● test",
            "Q7  answer",
            "/model.keras",
            "This one trained last",
        ):
            assert expected in text, expected
        assert "No run is training.\n" not in text
        page.state = fold(group_of("g1", specs_of(tanh(256), 2), 5, 0.4), page.state)
        await until(pilot, lambda: "tanh 256" in app.text)
        assert "relu 256  seeds" not in app.text, "until something new trains"


async def test_enter_leads_on_to_the_question():
    visits: list[tuple[str, ...]] = []

    class Listening(Stage):
        def on_page_visit(self, message: Page.Visit) -> None:
            visits.append((message.page, *message.subjects))

    page = LivePage(BOOK)
    app = Listening(page, alone())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("enter")
        (older,) = specs_of(tanh(64), 1)
        failed = p.RunFailed(run_id=older.run_id, reason="no memory")
        page.state = trained(fold((*group_of("older", (older,), 3, 0.5), failed), page.state))
        await until(pilot, lambda: "enter leads on to Q7" in app.text)
        await pilot.press("enter", "l")
        assert visits == [("Questions", "Q7")] * 2 + [("Log", page.state.last_group[0])], "not to what failed before"


def test_the_group_that_ended_last_outlives_a_lost_connection_and_deleted_runs():
    state = trained(alone())
    assert len(state.last_group) == 10 and not state.groups
    again = fold((*attached(), p.RunsRead(results=tuple(state.results.values()))), state)
    assert len(last_group_of(again)) == 9, "what failed is told again by the host"
    left = fold((p.RunDeleted(run_id=state.last_group[0]),), again)
    assert state.last_group[0] not in last_group_of(left)
