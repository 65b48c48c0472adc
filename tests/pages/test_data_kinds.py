"""The Data page and the comparison by class, whatever the data is: grey, features, floats, a hundred classes."""

import msgspec
import numpy as np
import pytest
from rich.console import Console

from engine import protocol as p
from engine.core.data_source import DataSource
from engine.core.spec import RunSpec
from engine.data.dataset import describe
from engine.data.images import Images
from engine.tools import inspect_run
from svhn_tui.client.reducer import fold
from svhn_tui.pages.compare_classes import Predictions, class_page
from svhn_tui.pages.data import DataPage
from svhn_tui.pages.data_text import confusion_of, counts_of, facts_of
from svhn_tui.themes import DARK
from svhn_tui.widgets.colors import line_style
from tests.support.data_files import write_mnist
from tests.support.scenes import BOOK, DATA, Stage, attached, relu, result

MANY = tuple(f"class {index}" for index in range(100))
RANDOM = np.random.default_rng(0)
CONFUSION = RANDOM.integers(0, 9, (100, 100)) + 50 * np.eye(100, dtype=int)


def drawn(what: object, width: int) -> str:
    console = Console(width=width, file=None, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shape": (1, 28, 28)}, "28 x 28 pixels, grey, 10 classes"),
        ({"input_shape": (13,), "dtype": "float32"}, "13 features, float32, 10 classes"),
        ({"train_path": "/one.npz", "test_path": "/one.npz"}, "/one.npz"),
    ],
)
def test_facts_follow_from_the_data(change: dict[str, object], message: str):
    text = facts_of(msgspec.structs.replace(DATA, **change), DARK).plain
    assert text.count(message) == 1


@pytest.mark.parametrize("width", [76, 116])
def test_a_hundred_classes_fit(width: int):
    counts = tuple(range(1, 101))
    data = msgspec.structs.replace(DATA, labels=MANY, train_counts=counts, test_counts=counts)
    page = drawn(confusion_of(CONFUSION.tolist(), MANY, DARK, width), width)
    assert "most often taken for" in page and "class 99" in page
    assert max(map(len, page.splitlines())) <= width
    assert "class 99" in drawn(counts_of(data, DARK, width), width)
    seen = [Predictions(name, line_style(index, DARK), CONFUSION.tolist()) for index, name in enumerate(("one", "two"))]
    compared = drawn(class_page(seen, MANY, DARK, pair=1, note="", width=width), width)
    assert "class 99" in compared and max(map(len, compared.splitlines())) <= width


def test_ten_classes_keep_their_matrix():
    page = drawn(confusion_of(CONFUSION[:10, :10].tolist(), DATA.labels, DARK, 76), 76)
    assert page.splitlines()[0].split() == ["true", *DATA.labels, "right"]


def test_grey_and_float_images_are_shown_and_features_are_not(tmp_path):
    data = describe([write_mnist(tmp_path / "mnist.npz")])
    inspected = inspect_run.inspect(inspect_run.InspectionTask(data))
    assert {len(picture.pixels) for picture in inspected.pictures} == {3 * 28 * 28}
    pixels = RANDOM.random((20, 1, 6, 5)).astype(np.float32)
    labels = np.arange(20, dtype=np.int32) % 2
    scale = inspect_run._scale_of(pixels)
    assert max(inspect_run._pixels(pixels[0], scale)) > 200
    rows = Images(pixels.reshape(20, -1), labels, pixels.reshape(20, -1), labels, ("no", "yes"))
    assert inspect_run._samples(rows, inspect_run._pixels) == ()
    assert p.Picture(0, inspect_run._pixels(rows.train_images[0])).pixels == b""


async def test_each_data_set_is_looked_at_and_a_run_with_the_classes_of_its_own():
    pets = msgspec.structs.replace(DATA, fingerprint="pets", name="pets", labels=("cat", "dog"), train_counts=(3, 2),
                                   test_counts=(1, 1), input_shape=(1, 4, 4))  # fmt: skip
    book = msgspec.structs.replace(BOOK, data={DATA.name: DataSource("a"), "pets": DataSource("b")})
    run = result(RunSpec(relu(8), 0, "pets"), 0.5)
    state = fold((*attached(), p.DataOpened(data=pets, is_beside=True), p.RunFinished(result=run)))
    page = DataPage(book)
    stage = Stage(page, state)
    async with stage.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert "beside it pets: " in stage.text and stage.wanted[-1] == p.Inspect()
        await pilot.press("d")
        await pilot.pause()
        assert "4 x 4 pixels, grey, 2 classes" in stage.text and f"beside it {DATA.name}: " in stage.text
        assert stage.wanted[-1] == p.Inspect(data="pets")
        seen = p.Inspected(run_id="", data="pets", pictures=(p.Picture(1, bytes(48)),))
        stage.screen.state = fold((seen,), state)
        await pilot.pause()
        assert stage.text.count("dog") == 2, "among the counts, and below its picture"
        await pilot.press("d")
        await pilot.pause()
        assert "beside it pets: " in stage.text
        page.run = run.run_id
        stage.screen.state = fold((p.Inspected(run_id=run.run_id, confusion=((1, 0), (1, 0))),), state)
        await pilot.pause()
        assert "cat" in stage.text and "dog" in stage.text
