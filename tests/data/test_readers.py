"""Data sets in the files that people have: read as what they are, asked where it is open, refused if hostile."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.data_shape import DataShape
from engine.data import convert
from engine.data.dataset import describe, load, load_from
from engine.storage.npz import DataError
from tests.support.data_files import drawn, write_cifar, write_mnist, write_svhn

DIGITS = tuple("0123456789")


def complaint(*source: Path, layout: str = "") -> str:
    with pytest.raises(DataError) as caught:
        describe(source, layout)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one_file(path: Path, shape: tuple[int, ...] = (6, 5), **members: Any) -> Path:
    """Write the four members, of which some are replaced."""
    (x_train, y_train), (x_test, y_test) = drawn(30, shape, 3, 0), drawn(12, shape, 3, 1)
    np.savez(path, **{"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **members})
    return path


def test_mnist_cifar_and_svhn_are_read_as_they_are(tmp_path: Path):
    grey, about = load_from([write_mnist(tmp_path / "mnist.npz")])
    assert (about.name, about.shape, about.labels) == ("mnist", DataShape((1, 28, 28), 10), DIGITS)
    assert (grey.train_images[:, 0] == drawn(120, (28, 28), 10, 0)[0]).all()
    assert about.paths == (str(tmp_path / "mnist.npz"),)
    assert (load(about).test_images == grey.test_images).all()
    colour, about = load_from([write_cifar(tmp_path / "cifar10.npz")])
    assert about.shape == DataShape((3, 32, 32), 10)
    assert (colour.train_images == drawn(120, (32, 32, 3), 10, 0)[0].transpose(0, 3, 1, 2)).all()
    for is_compressed in (True, False):
        original, about = load_from([write_svhn(tmp_path / "svhn", compressed=is_compressed)])
        assert about.shape == DataShape((3, 32, 32), 10)
        assert (original.train_images == colour.train_images).all()
        assert original.train_labels.tolist() == colour.train_labels.tolist(), "10 is the digit 0"
    assert describe([tmp_path / "svhn"]).fingerprint == describe([tmp_path / "cifar10.npz"]).fingerprint
    assert describe([tmp_path / "svhn" / "test_32x32.mat", tmp_path / "svhn" / "train_32x32.mat"]) == about


def test_one_file_is_found_in_its_folder_and_below_and_unpacked(tmp_path: Path):
    file = write_mnist(tmp_path / "mnist.npz")
    expected = describe([file]).fingerprint
    assert describe([tmp_path]).fingerprint == expected
    assert describe([tmp_path / "mnist.npz", tmp_path / "mnist.npz"]).fingerprint == expected
    deeper = tmp_path / "in" / "datasets" / "mnist.npz"
    deeper.parent.mkdir(parents=True)
    file.rename(deeper)
    (deeper.parent / "._mnist.npz").write_bytes(b"\0\5\26\7")
    assert describe([tmp_path / "in"]).fingerprint == expected
    (tmp_path / "out" / "mnist").mkdir(parents=True)
    for name, array in np.load(deeper).items():
        np.save(tmp_path / "out" / "mnist" / f"{name}.npy", array)
    assert describe([tmp_path / "out"]).fingerprint == describe([tmp_path / "out" / "mnist"]).fingerprint == expected
    write_cifar(deeper.parent / "cifar10.npz")
    assert "has 2 data sets" in complaint(tmp_path / "in")


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "HWCN"])
def test_every_order_of_axes_is_the_same_data(tmp_path: Path, layout: str):
    arrays = {}
    for half, count, seed in (("train", 30, 0), ("test", 12, 1)):
        images, labels = drawn(count, (6, 5, 3), 3, seed)
        arrays |= {f"x_{half}": images.transpose(["NHWC".index(axis) for axis in layout]), f"y_{half}": labels}
    np.savez(tmp_path / "data.npz", **arrays)
    assert (
        describe([one_file(tmp_path / "as.npz", (6, 5, 3))]).fingerprint
        == describe([tmp_path / "data.npz"]).fingerprint
    )


def test_what_can_be_read_in_two_ways_is_asked(tmp_path: Path):
    file = one_file(tmp_path / "odd.npz", (3, 7, 3))
    sentence = complaint(file)
    assert "NHWC, (N, height, width, channels)," in sentence and "NCHW, (N, channels, height, width)," in sentence
    assert "--layout NHWC" in sentence
    last, first = (load_from([file], layout) for layout in ("NHWC", "NCHW"))
    assert (last[1].input_shape, first[1].input_shape) == ((3, 3, 7), (3, 7, 3))
    assert (load(first[1]).train_images == first[0].train_images).all(), "the answer is kept"
    assert "is not a layout; there are HWCN" in complaint(file, layout="XYZ")
    square = one_file(tmp_path / "square.npz", (30,), x_test=np.zeros((12, 30), np.uint8), y_test=np.arange(12) % 3)
    assert "images have the shape" in complaint(file, layout="NF") and describe([square]).input_shape == (30,)


def test_floats_stay_floats_and_features_are_rows(tmp_path: Path):
    random = np.random.default_rng(0)
    halves = {"x_train": random.random((30, 6, 5)), "x_test": random.random((12, 6, 5))}
    images, about = load_from([one_file(tmp_path / "float.npz", **halves)])
    assert images.train_images.dtype == np.float32
    assert about.shape == DataShape((1, 6, 5), 3, "float32")
    assert (images.train_images[:, 0] == halves["x_train"].astype(np.float32)).all()
    table = {"x_train": random.normal(size=(30, 13)), "x_test": random.normal(size=(12, 13))}
    assert describe([one_file(tmp_path / "table.npz", **table)]).shape == DataShape((13,), 3, "float32")
    whole = {name: (255 * array).astype(np.int64) for name, array in halves.items()}
    assert describe([one_file(tmp_path / "whole.npz", **whole)]).dtype == "uint8"
    large = {**whole, "x_train": 10 * whole["x_train"]}
    assert describe([one_file(tmp_path / "large.npz", **large)]).dtype == "float32", "as both halves need it"


def test_a_class_may_lack_test_images_and_labels_may_be_true_or_false(tmp_path: Path):
    data = describe([one_file(tmp_path / "lacks.npz", y_test=np.arange(12) % 2)])
    assert (data.labels, data.test_counts) == (("0", "1", "2"), (6, 6, 0))
    answers = {"y_train": np.arange(30) % 2 == 1, "y_test": np.arange(12) % 2 == 1}
    assert describe([one_file(tmp_path / "answers.npz", **answers)]).labels == ("False", "True")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.full((30, 6, 5), np.nan)}, "not finite numbers"),
        ({"x_train": np.full((30, 6, 5), np.inf)}, "not finite numbers"),
        ({"x_train": np.array([["a"] * 5] * 30)}, "numbers are expected"),
        ({"x_train": np.array([{}] * 30, dtype=object)}, "pickled Python objects"),
        ({"y_train": np.array(["a"] * 30, dtype=object)}, "pickled Python objects"),
        ({"y_train": np.arange(30) % 3 - 1}, "the label '-1' is negative"),
        ({"y_train": np.arange(29) % 3}, "30 images but labels of shape (29, 1)"),
        ({"y_train": np.arange(30) % 3 / 2}, "labels are float64"),
        ({"x_train": np.zeros((30, 2, 2, 2, 2))}, "images have the shape (30, 2, 2, 2, 2)"),
        ({"x_test": np.zeros((12, 6, 4), np.uint8)}, "images of different sizes"),
        ({"x_test": np.zeros((0, 6, 5), np.uint8), "y_test": np.zeros(0, int)}, "(x_test) holds no image"),
        ({"y_train": np.full(30, np.nan)}, "(y_train): labels are float64"),
        ({"y_test": np.arange(12) % 4}, "(y_test) has the label '3', which"),
        ({"y_train": np.eye(3)[np.arange(30) % 2], "y_test": np.eye(3)[np.arange(12) % 3]}, "has the label '2', which"),
        ({"y_train": np.eye(4)[np.arange(30) % 4], "y_test": np.eye(3)[np.arange(12) % 3]}, "one-hot rows of 4 and"),
        ({"x_train": np.zeros((30, 6, 5, 4)), "x_test": np.zeros((12, 6, 5, 4))}, "with 1 or 3 channels"),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path: Path, change: dict[str, Any], message: str):
    assert message in complaint(one_file(tmp_path / "data.npz", **change))


def test_a_file_that_lacks_a_half_or_is_cut_is_refused(tmp_path: Path):
    np.savez(tmp_path / "half.npz", x_train=np.zeros((3, 4, 4)), y_train=np.arange(3))
    assert "has no x_test.npy" in complaint(tmp_path / "half.npz")
    np.savez(tmp_path / "other.npz", train_images=np.zeros((3, 4, 4)), test_images=np.zeros((3, 4, 4)))
    assert "it holds 'train_images.npy', 'test_images.npy'" in complaint(tmp_path / "other.npz")
    file = write_mnist(tmp_path / "mnist.npz")
    file.write_bytes(file.read_bytes()[:-100])
    assert "is not a .npz file" in complaint(file)


def matrix(
    name: bytes, sides: tuple[int, ...], content: bytes, *, kind: int = 9, stored: int = 2, size: int | None = None
) -> bytes:
    """Return a variable as MATLAB writes it; `size` declares another number of bytes than there are."""
    shape = struct.pack(f"<{len(sides)}i", *sides)
    parts = [struct.pack("<IIII", 6, 8, kind, 0)]
    parts += [struct.pack("<II", 5, len(shape)) + shape.ljust(-(-len(shape) // 8) * 8, b"\0")]
    parts += [struct.pack("<II", 1, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0")]
    parts += [struct.pack("<II", stored, len(content) if size is None else size) + content]
    whole = b"".join(parts)
    whole = whole.ljust(-(-len(whole) // 8) * 8, b"\0")
    return struct.pack("<II", 14, len(whole) + (size or 0)) + whole


def packed(element: bytes) -> bytes:
    inside = zlib.compress(element, 9)
    return struct.pack("<II", 15, len(inside)) + inside


HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
LABELS = matrix(b"y", (30, 1), bytes(range(1, 11)) * 3)
GOOD = matrix(b"X", (2, 2, 3, 30), bytes(range(180)) * 2)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "is cut off": lambda: (HEAD + GOOD + LABELS)[:-50],
    "has no variable y": lambda: HEAD + GOOD,
    "has no variable X": lambda: HEAD + matrix(b"X", (2, 2), b"abcd" * 2, kind=4, stored=4) + LABELS,
    "does not have the size": lambda: HEAD + matrix(b"X", (32, 32, 3, 10**6), b"12345678") + LABELS,
    "declares 3,000,000,000 bytes": lambda: (
        HEAD + packed(matrix(b"X", (1000, 1000, 3, 1000), b"12345678", size=3_000_000_000)) + LABELS
    ),
    "negative size": lambda: HEAD + matrix(b"X", (2, 2, 3, -30), bytes(8)) + LABELS,
    "100 times its size": lambda: HEAD + packed(matrix(b"X", (32, 32, 3, 6000), bytes(18_432_000))) + LABELS,
    "MATLAB 7.3": lambda: b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + GOOD,
    "not a .mat file": lambda: b"hello" * 100,
    "more than 100 variables": lambda: HEAD + LABELS * 101 + GOOD,
    "is damaged": lambda: HEAD + struct.pack("<II", 15, 16) + b"0123456789abcdef",
    "a name or a shape is too long": lambda: (
        HEAD + struct.pack("<IIIIIIII", 14, 40, 6, 8, 9, 0, 5, 2**31) + bytes(16) + LABELS
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_mat_file_is_refused_before_it_is_unpacked(tmp_path: Path, name: str):
    write_svhn(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(HOSTILE[name]())
    assert name in complaint(tmp_path)


def test_our_own_header_and_scipy_agree_and_labels_of_float64_do(tmp_path: Path):
    (tmp_path / "train.mat").write_bytes(HEAD + GOOD + LABELS)
    doubles = struct.pack("<20d", *(list(range(1, 11)) * 2))
    images = matrix(b"X", (2, 2, 3, 20), bytes(range(240)))
    (tmp_path / "test.mat").write_bytes(HEAD + packed(images) + matrix(b"y", (20, 1), doubles, kind=6, stored=9))
    data = describe([tmp_path])
    assert (data.train_images, data.test_images, data.input_shape) == (30, 20, (3, 2, 2))
    assert data.labels == DIGITS


def test_any_byte_of_a_mat_file_may_be_wrong(tmp_path: Path):
    write_svhn(tmp_path, 30, 20)
    file = tmp_path / "train_32x32.mat"
    whole, random = file.read_bytes(), np.random.default_rng(3)
    places = [*range(124, 260, 3), *random.integers(len(whole), size=30).tolist()]
    for offset in places:
        file.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        try:
            describe([tmp_path])
        except DataError as error:
            assert "\n" not in str(error)


def test_convert_writes_the_assignments_layout(tmp_path: Path):
    write_mnist(tmp_path / "mnist.npz")
    data = convert.convert(tmp_path / "mnist.npz", tmp_path / "out")
    assert (
        data.fingerprint == describe([tmp_path / "mnist.npz"]).fingerprint == describe([tmp_path / "out"]).fingerprint
    )
    with np.load(tmp_path / "out" / "p4_2026_svhn_train.npz") as file:
        assert (file["images"].shape, file["labels"].shape) == ((28, 28, 1, 120), (120, 1))
    with pytest.raises(DataError, match="is there already"):
        convert.convert(tmp_path / "mnist.npz", tmp_path / "out")
    table = {"x_train": np.random.random((30, 13)), "x_test": np.random.random((12, 13))}
    with pytest.raises(DataError, match="rows of features"):
        convert.convert(one_file(tmp_path / "table.npz", **table), tmp_path / "other")
