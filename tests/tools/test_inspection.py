"""What a finished run says of each test image, from the real engine to cells on the screen."""

from pathlib import Path

import numpy as np
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.data import dataset as datasets
from svhn_tui.client.reducer import fold
from svhn_tui.client.state import State
from svhn_tui.pages.data import DataPage
from svhn_tui.widgets.pictures import SHADES, picture
from tests.support.bridge import Bridge
from tests.support.data_files import write_mnist
from tests.support.scenes import BOOK, DATA, Stage, finished, relu


@pytest.mark.slow
def test_the_confusion_matrix_agrees_with_the_recorded_accuracy(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path) as bridge:
        data = bridge.open(demo_folder)
        linear = Configuration(Network(), Training(epochs=3))
        bridge.send(p.Submit(sweep=Sweep("test", data.fingerprint, (linear,), (0,))))
        result = bridge.until_kind(p.RunFinished).result
        bridge.send(p.Inspect(run_id=result.run_id))
        seen = bridge.until_kind(p.Inspected)
        bridge.send(p.Inspect())
        samples = bridge.until(lambda state, event: isinstance(event, p.Inspected) and not event.run_id)
        bridge.send(p.OpenData(source=(str(write_mnist(tmp_path / "mnist.npz")),), is_beside=True))
        beside = bridge.until(lambda state, event: isinstance(event, p.DataOpened) and event.is_beside).data
        bridge.send(p.Inspect(data=beside.fingerprint))
        others = bridge.until(lambda state, event: isinstance(event, p.Inspected) and bool(event.data))
        assert others.data == beside.fingerprint and len(others.pictures[0].pixels) == 3 * 28 * 28
        bridge.send(p.Inspect(data="unknown"))
        assert "No data set" in bridge.until_kind(p.Refused).reason
        bridge.send(p.Inspect(run_id="0" * 12))
        assert "not a finished run" in bridge.until_kind(p.Refused).reason
        bridge.end()
    assert sum(map(sum, seen.confusion)) == result.test_images
    assert sum(seen.confusion[digit][digit] for digit in range(10)) == result.test_correct
    assert [sum(row) for row in seen.confusion] == list(data.test_counts)
    assert all(shown.predicted != shown.label for shown in seen.pictures)
    sure = [shown.confidence for shown in seen.pictures]
    assert sure == sorted(sure, reverse=True)
    assert len(seen.templates) == 10
    images = datasets.load(data)
    first = int(np.flatnonzero(images.train_labels == samples.pictures[0].label)[0])
    drawn = np.frombuffer(samples.pictures[0].pixels, np.uint8).reshape(32, 32, 3)
    assert (drawn == np.moveaxis(images.train_images[first], 0, -1)).all(), "colours last, as the screen draws them"


def test_a_picture_is_two_pixels_a_cell_and_shades_without_colours():
    top, bottom = bytes((255, 0, 0)) * 8, bytes((0, 0, 255)) * 8
    drawn = picture(top * 2 + bottom * 2, 4, 8, 2)
    assert drawn.plain == "▀▀"
    assert str(drawn.spans[0].style) == "#ff0000 on #0000ff"
    dark, bright = picture(bytes(48), 4, 4, 4, colored=False), picture(b"\xff" * 48, 4, 4, 4, colored=False)
    assert (dark.plain, bright.plain) == ("\n".join([SHADES[0] * 4] * 2), "\n".join([SHADES[-1] * 4] * 2))


def looked_at(state: State) -> p.Inspected:
    (first, *_) = state.results
    mistakes = tuple(p.Picture(digit, bytes(3072), (digit + 1) % 10, 0.97) for digit in range(10))
    counts = tuple(tuple(90 if row == column else column for column in range(10)) for row in range(10))
    return p.Inspected(run_id=first, confusion=counts, pictures=mistakes)


async def test_what_cannot_be_looked_at_says_why_and_is_tried_again_by_whoever_comes_back():
    state = finished((relu(256), 2, 0.55))
    stage = Stage(DataPage(BOOK), state)
    async with stage.run_test(size=(80, 24)) as pilot:
        await pilot.press("r", "enter")
        await pilot.pause()
        run_id = stage.wanted[-1].run_id
        refused = p.Inspected(run_id=run_id, problem="model.keras: Permission [denied].")
        stage.screen.state = fold((refused,), state)
        await pilot.pause()
        assert "It cannot be looked at: model.keras: Permission [denied]." in stage.text
        asked = stage.wanted.count(p.Inspect(run_id=run_id))
        await pilot.press("b", "r", "enter")
        await pilot.pause()
        assert (asked, stage.wanted.count(p.Inspect(run_id=run_id))) == (1, 2)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_run_is_picked_and_looked_at(size: tuple[int, int]):
    state = finished((relu(256), 2, 0.55))
    stage = Stage(DataPage(BOOK), state)
    async with stage.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("r", "enter")
        await pilot.pause()
        chosen = stage.wanted[-1]
        assert isinstance(chosen, p.Inspect) and chosen.run_id in state.results
        assert "Looking at what it says" in stage.text
        stage.screen.state = fold((p.Inspected(run_id=chosen.run_id, confusion=looked_at(state).confusion),), state)
        await pilot.pause()
        assert "true" in stage.text and "90" in stage.text
        await pilot.press("b")
        await pilot.pause()
        assert DATA.name in stage.text
