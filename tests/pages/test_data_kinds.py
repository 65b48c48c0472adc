"""The Data page and the comparison by class, whatever the data is: grey, features, floats, a hundred classes."""

import msgspec
import numpy as np
import pytest
from rich.console import Console

from engine import protocol as p
from engine.data.dataset import Images, describe
from engine.tools import inspect_run
from svhn_tui.pages.compare_classes import Seen, class_page
from svhn_tui.pages.data_text import confusion_of, counts_of, facts_of
from svhn_tui.themes import DARK
from svhn_tui.widgets.colors import line_style
from tests.support.data_files import write_mnist
from tests.support.scenes import DATA

MANY = tuple(f"class {index}" for index in range(100))
RANDOM = np.random.default_rng(0)
CONFUSION = RANDOM.integers(0, 9, (100, 100)) + 50 * np.eye(100, dtype=int)


def drawn(what: object, width: int) -> str:
    console = Console(width=width, file=None, record=True, force_terminal=False)
    with console.capture() as said:
        console.print(what)
    return said.get()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_shape": (1, 28, 28)}, "28 x 28 pixels, grey, 10 classes"),
        ({"input_shape": (13,), "dtype": "float32"}, "13 features, float32, 10 classes"),
        ({"train_path": "/one.npz", "test_path": "/one.npz"}, "/one.npz"),
    ],
)
def test_facts_follow_from_the_data(change: dict[str, object], said: str):
    text = facts_of(msgspec.structs.replace(DATA, **change), DARK).plain
    assert text.count(said) == 1


@pytest.mark.parametrize("width", [76, 116])
def test_a_hundred_classes_fit(width: int):
    counts = tuple(range(1, 101))
    data = msgspec.structs.replace(DATA, labels=MANY, train_counts=counts, test_counts=counts)
    page = drawn(confusion_of(CONFUSION.tolist(), MANY, DARK, width), width)
    assert "most often taken for" in page and "class 99" in page
    assert max(map(len, page.splitlines())) <= width
    assert "class 99" in drawn(counts_of(data, DARK, width), width)
    seen = [Seen(name, line_style(index, DARK), CONFUSION.tolist()) for index, name in enumerate(("one", "two"))]
    compared = drawn(class_page(seen, MANY, DARK, pair=1, note="", width=width), width)
    assert "class 99" in compared and max(map(len, compared.splitlines())) <= width


def test_ten_classes_keep_their_matrix():
    page = drawn(confusion_of(CONFUSION[:10, :10].tolist(), DATA.labels, DARK, 76), 76)
    assert page.splitlines()[0].split() == ["true", *DATA.labels, "right"]


def test_grey_and_float_images_are_shown_and_features_are_not(tmp_path):
    data = describe([write_mnist(tmp_path / "mnist.npz")])
    found = inspect_run.inspect(inspect_run.InspectionTask(data))
    assert {len(picture.pixels) for picture in found.pictures} == {3 * 28 * 28}
    pixels = RANDOM.random((20, 1, 6, 5)).astype(np.float32)
    labels = np.arange(20, dtype=np.int32) % 2
    scale = inspect_run._scale_of(pixels)
    assert max(inspect_run._pixels(pixels[0], scale)) > 200
    rows = Images(pixels.reshape(20, -1), labels, pixels.reshape(20, -1), labels, ("no", "yes"))
    assert inspect_run._samples(rows, inspect_run._pixels) == ()
    assert p.Picture(0, inspect_run._pixels(rows.train_images[0])).pixels == b""
