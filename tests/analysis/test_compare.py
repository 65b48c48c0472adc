"""The Compare page and the Data page: what differs, what the runs say about it, what they were trained on."""

import msgspec
import pytest
from rich.cells import cell_len

from engine import protocol as p
from engine.core.options import LISTED, Option
from engine.core.spec import Configuration, Network, OwnModel, RecordedModel, Recording, RunSpec
from svhn_tui.analysis.comparison import full_names_of, names_of, settings_that_differ, sides_of_runs
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.compare import ComparePage
from svhn_tui.pages.data import DataPage
from tests.support.scenes import BOOK, DATA, TRAINING, Stage, attached, finished, history, relu, result, specs_of, tanh

SIZES = [(80, 24), (120, 40), (200, 60)]


async def shown(app: Stage, size: tuple[int, int], *keys: str, selected: tuple[str, ...] = ()) -> str:
    """The page's text once the statistics have come back from their thread."""
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        if selected:
            app.screen.selected = selected
        for key in keys:
            await pilot.press(key)
        await app.workers.wait_for_complete()
        await pilot.pause()
        return app.text


@pytest.mark.parametrize("size", SIZES)
async def test_the_verdict_stands_before_the_charts(size: tuple[int, int]):
    text = await shown(Stage(ComparePage(BOOK), finished((tanh(256), 10, 0.4), (relu(256), 10, 0.6))), size)
    assert "Q7  tanh or ReLU?   20 of 20 runs · they differ only in the activation" in text
    assert text.index("relu beats tanh by") < text.index("test accuracy  mean ± std")
    assert "p < 0.001.  95 % interval" in text
    assert "▲ relu" in text and "still rising" in text and "flat" in text
    assert ("train − test accuracy  mean ± std" in text) == (size[0] >= 120)


async def test_the_most_complete_question_is_shown_and_arrows_show_others():
    state = finished((relu(64), 10, 0.4), (relu(256), 10, 0.5), (relu(1024), 10, 0.6))
    assert "Q9  64, 256, 1024 units" in await shown(Stage(ComparePage(BOOK), state), (120, 40))
    text = await shown(Stage(ComparePage(BOOK), state), (120, 40), "down")
    assert "Q10  two or three layers" in text and "No run to compare yet." in text


async def test_chosen_runs_are_compared_by_configuration():
    state = finished((relu(64), 3, 0.4), (tanh(256), 3, 0.5))
    text = await shown(Stage(ComparePage(BOOK), state), (120, 40), selected=tuple(state.results))
    assert "the chosen runs   6 of 6 runs" in text
    assert "hidden layers" in text and "activation" in text
    assert "tanh 256 beats relu 64" in text


async def test_runs_on_several_data_sets_are_called_so_and_their_classes_stand_on_one():
    runs = list(finished((relu(64), 3, 0.4)).results.values())
    other = msgspec.structs.replace(runs[2].spec, data="other")
    runs[2] = msgspec.structs.replace(runs[2], run_id=other.run_id, spec=other, data_name="other")
    seen = (p.Inspected(run_id=run.run_id, confusion=((1,) * 10,) * 10) for run in runs)
    state = fold((*attached(), *(p.RunFinished(result=run) for run in runs), *seen))
    text = await shown(Stage(ComparePage(BOOK), state), (120, 40), "d", selected=tuple(state.results))
    assert "3 of 3 runs · they differ only in the data set" in text
    assert "On p4_2026_svhn alone." in text


async def test_seeds_of_one_configuration_are_compared_with_each_other():
    state = finished((relu(64), 3, 0.4))
    text = await shown(Stage(ComparePage(BOOK), state), (120, 40), selected=tuple(state.results))
    assert "3 of 3 runs · they differ only in the seed" in text
    assert "● seed 0" in text and "■ seed 2" in text


async def test_long_names_leave_room_for_figures_and_what_differs_in_its_name_is_not_said_to_differ_in_the_seed():
    """Recorded trainings have any name, of wide characters too, and perhaps no settings."""
    state = finished()
    for index, name in enumerate(
        ("宽度与深度 " * 9, "a name that says more than anybody wants to read in a line of a table")
    ):
        recording = Recording(f"{index:016x}", 1.0, name)
        spec = RunSpec(Configuration(recorded=RecordedModel(name, 1234)), 0, "", recording=recording)
        state = fold(
            (p.RunFinished(result=result(spec, 0.9)), p.HistoryRead(run_id=spec.run_id, history=history(9, 0.9, 0))),
            state,
        )
    text = await shown(Stage(ComparePage(BOOK), state), (80, 24), selected=tuple(state.results))
    assert text.count("0.9000") == 2 and text.count("…") == 2
    assert "they differ" not in text
    assert {cell_len(line) for line in text.splitlines()} == {80}


async def test_runs_are_looked_at_one_after_the_other_however_often_it_is_drawn():
    stage = Stage(ComparePage(BOOK), finished((tanh(256), 2, 0.4), (relu(256), 2, 0.6)))
    async with stage.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        await pilot.press("d", "d", "d")
        await pilot.pause()
        looks = [wish.run_id for wish in stage.wanted if isinstance(wish, p.Inspect)]
        assert len(looks) == 1
        page = stage.screen
        page.state = fold((p.Inspected(run_id=looks[0], confusion=((1,) * 10,) * 10),), page.state)
        await pilot.pause()
        looks = [wish.run_id for wish in stage.wanted if isinstance(wish, p.Inspect)]
        assert len(looks) == len(set(looks)) == 2


async def test_one_run_each_gets_no_verdict():
    text = await shown(Stage(ComparePage(BOOK), finished((tanh(256), 1, 0.4), (relu(256), 1, 0.6))), (80, 24))
    assert "The verdict needs two configurations with at least two finished runs each." in " ".join(text.split())


async def test_histories_that_are_not_known_are_asked_for_once():
    state = msgspec.structs.replace(finished((tanh(256), 2, 0.4), (relu(256), 2, 0.6)), histories={})
    app = Stage(ComparePage(BOOK), state)
    await shown(app, (80, 24), "m", "m")
    assert [set(wish.runs) for wish in app.wanted if isinstance(wish, p.Watch)] == [set(state.results)]


async def test_compare_stands_at_any_size_without_a_run():
    app = Stage(ComparePage(BOOK), State())
    async with app.run_test(size=(80, 24)) as pilot:
        for size in ((1, 1), (20, 6), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.press("down", "m", "y", "left", "plus", "f", "escape")
        assert "Starting the engine" in app.text


def test_only_what_differs_is_told():
    assert settings_that_differ([relu(64), relu(64)]) == ()
    assert settings_that_differ([relu(64), relu(256, 64)]) == (("hidden layers", ("64", "256, 64")),)
    slow = Configuration(relu(64).network, msgspec.structs.replace(TRAINING, learning_rate=1e-4))
    assert settings_that_differ([relu(64), slow]) == (("learning rate", ("1e-05", "0.0001")),)
    assert settings_that_differ([]) == ()


def test_names_are_short_and_tell_configurations_apart():
    assert names_of([relu(64), relu(256, 64)]) == ("64", "256, 64")
    assert names_of([relu(64), tanh(256)]) == ("relu 64", "tanh 256")
    long = Configuration(relu(64).network, msgspec.structs.replace(TRAINING, epochs=5))
    assert names_of([relu(64), long]) == ("relu 64", "relu 64 · epochs 5")
    scaled = Configuration(msgspec.structs.replace(relu(64).network, input_scaling=0.5), TRAINING)
    assert len(set(names_of([relu(64), scaled]))) == 2


def test_runs_that_are_not_known_are_left_out():
    state = finished((relu(64), 2, 0.4))
    (side,) = sides_of_runs((*state.results, "unknown"), state)
    assert (len(side.results), side.convergence) == (2, "flat")
    assert side.gap == pytest.approx(0.05)


@pytest.mark.parametrize("size", SIZES)
async def test_the_data_page_tells_sizes_and_classes(size: tuple[int, int]):
    text = await shown(Stage(DataPage(BOOK), fold(attached())), size)
    assert "50,000 to train, 10,000 to test" in text
    assert "9,460  18.9 %" in text and "1,960  19.6 %" in text
    assert ("Always saying 1 would be right for 0.1960" in text) == (size[1] >= 30)


async def test_demo_data_is_plainly_called_so():
    demo = msgspec.structs.replace(DATA, is_demo=True, name="[bold]demo", train_counts=(), test_counts=())
    text = await shown(Stage(DataPage(BOOK), fold(attached(demo))), (80, 24))
    assert "[bold]demo   demo data" in text and "nothing to hand in" in text
    assert "Starting the" in await shown(Stage(DataPage(BOOK), State()), (20, 6))


def test_specs_of_a_scene_are_those_of_the_presets():
    assert set(BOOK.configurations(BOOK.question("Q7"))) == {tanh(256), relu(256)}
    assert len({spec.run_id for spec in specs_of(relu(64), 3)}) == 3


def test_intervals_of_accuracies_stay_between_0_and_1():
    from svhn_tui.analysis.statistics import compare, summary_of

    for values in ([0.01, 0.4], [0.99, 0.6], [0.0, 1.0], [0.5, 0.501]):
        low, high = summary_of(values).interval
        assert 0 <= low <= sum(values) / 2 <= high <= 1
    low, high = compare([0.99, 0.6], [0.01, 0.4]).interval
    assert -1 <= low <= high <= 1


@pytest.mark.parametrize("option", LISTED.values(), ids=LISTED)
def test_configurations_that_differ_in_any_option_are_named_apart(option: Option):
    values = {"switch": True, "integers": (7,), "choices": option.choices[:1], "reals": (1.0, 2.5), "integer": 7}
    plain = Configuration(Network((64,), "relu"))
    value = values.get(option.kind, next((some for some in option.choices if some != option.read(plain)), 0.25))
    part = msgspec.structs.replace(getattr(plain, option.part), **{option.name: value})
    changed = msgspec.structs.replace(plain, **{option.part: part})
    for names in (names_of([plain, changed]), full_names_of([plain, changed])):
        assert len(set(names)) == 2 and not any("(" in name and "(64" not in name for name in names), names
    (differing,) = settings_that_differ([plain, changed])
    assert len(set(differing[1])) == 2


def test_a_model_file_is_not_named_by_settings_that_it_does_not_have():
    scaled = {"input_scaling": 1 / 255, "kernel_initializer": "glorot_uniform"}
    dense = [Configuration(Network(hidden=(size,), activation="relu", **scaled)) for size in (32, 64)]
    own = Configuration(Network(model=OwnModel("0" * 64, "residual", (("width", 32),))))
    assert full_names_of([*dense, own]) == ("relu 32", "relu 64", own.network_label)
