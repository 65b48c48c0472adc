"""The assignment's files: loaded with exactly its meaning, and refused in one sentence when they are wrong."""

import io
import os
import pickle
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from engine import demo_data
from engine.data import TEST_FILE, TRAIN_FILE, describe, load_from, locate
from engine.npz import DataError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
LABELS = np.array([str(index % 10) for index in range(20)]).reshape(-1, 1)


def write(folder: Path, *, name: str = TRAIN_FILE, images: Any = IMAGES, labels: Any = LABELS, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / name, images=images, labels=labels, **more)
    return folder


def pair(folder: Path, **train: Any) -> Path:
    write(folder, name=TEST_FILE)
    return write(folder, **train)


def complaint(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        describe([folder])
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_files_mean_what_the_assignment_says(tmp_path: Path):
    labels = np.array(list("3141592653") * 2).reshape(-1, 1)
    write(tmp_path, name=TEST_FILE, labels=labels)
    images, found = load_from([write(tmp_path, labels=labels)])
    assert (images.train_images == IMAGES.transpose(3, 2, 0, 1)).all()
    order = sorted(set(labels.squeeze()))
    assert images.train_labels.tolist() == [order.index(label) for label in labels.squeeze()]
    assert images.train_images.dtype == np.uint8
    assert (found.input_shape, found.train_images, found.labels) == ((3, 32, 32), 20, tuple(order))
    assert sum(found.train_counts) == 20
    assert not found.is_demo


@pytest.mark.parametrize(
    "labels", [LABELS[:, 0], LABELS.astype("S1"), LABELS.astype(int), LABELS.astype(np.uint8)[:, 0]]
)
def test_labels_in_any_form_are_the_same_data(tmp_path: Path, labels: Any):
    expected = describe([pair(tmp_path / "a")]).fingerprint
    folder = pair(tmp_path / "b", labels=labels)
    np.savez_compressed(folder / TRAIN_FILE, images=IMAGES, labels=labels)
    assert describe([folder]).fingerprint == expected
    changed = IMAGES.copy()
    changed[0, 0, 0, 0] ^= 1
    assert describe([pair(tmp_path / "c", images=changed)]).fingerprint != expected


def test_two_files_in_any_order_are_a_source(tmp_path: Path):
    pair(tmp_path)
    files = (tmp_path / TRAIN_FILE, tmp_path / TEST_FILE)
    assert locate(files) == locate(files[::-1]) == locate([tmp_path]) == files
    (tmp_path / TRAIN_FILE).rename(tmp_path / "my_train.npz")
    assert locate([tmp_path])[0].name == "my_train.npz"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": IMAGES.astype(np.float32)}, "images are float32; uint8 is expected"),
        ({"images": IMAGES[0]}, "images have the shape (32, 3, 20)"),
        ({"images": IMAGES.transpose(3, 0, 1, 2)}, "(height, width, channels, N) is expected"),
        ({"images": IMAGES[..., :7]}, "7 images but labels of shape (20, 1)"),
        ({"labels": LABELS.astype(object)}, "pickled Python objects"),
        ({"labels": LABELS.astype(float)}, "labels are float64"),
        ({"labels": np.array([*"abcdefghij"] * 2)}, "the label 'a' is no digit"),
        ({"labels": np.arange(20)}, "has 20 different labels"),
        ({"labels": np.zeros(20, int)}, "has 1 different labels"),
        ({"images": IMAGES[:28]}, "images of different sizes"),
        ({"images": IMAGES[..., :0], "labels": LABELS[:0]}, "holds no image"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_expected(tmp_path: Path, change: dict[str, Any], said: str):
    assert said in complaint(pair(tmp_path / "d", **change))


def test_members_are_checked(tmp_path: Path):
    assert describe([pair(tmp_path / "more", other=np.arange(3))])
    folder = pair(tmp_path / "lacks")
    np.savez(folder / TRAIN_FILE, images=IMAGES)
    assert "has no labels.npy" in complaint(folder)
    with warnings.catch_warnings(), zipfile.ZipFile(write(folder) / TRAIN_FILE, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("images.npy", b"")
    assert "has 2 members images.npy" in complaint(folder)


def test_what_is_no_data_file_is_said_so(tmp_path: Path):
    assert "is not there" in complaint(tmp_path / "nowhere")
    folder = write(tmp_path / "half", name=TEST_FILE)
    assert f"has no {TRAIN_FILE}" in complaint(folder)
    (folder / TRAIN_FILE).write_bytes(b"hello")
    assert "is no .npz file" in complaint(folder)
    (folder / TRAIN_FILE).write_bytes((folder / TEST_FILE).read_bytes()[:5_000])
    assert "is no .npz file" in complaint(folder)
    (folder / TRAIN_FILE).unlink()
    os.mkfifo(folder / TRAIN_FILE)
    assert "is not a regular file" in complaint(folder)


def member(array_header: dict[str, Any], content: bytes = b"") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, array_header)
    return file.getvalue() + content


class Canary:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def test_hostile_files_are_refused_without_memory_or_code(tmp_path: Path):
    folder = pair(tmp_path / "h")
    canary = tmp_path / "canary"
    huge = {"descr": "|u1", "fortran_order": False, "shape": (32, 32, 3, 10**12)}
    objects = {"descr": "|O", "fortran_order": False, "shape": (20,)}
    negative = {"descr": "|u1", "fortran_order": False, "shape": (32, 32, 3, -20)}
    cases = {
        "declares": member(huge),
        "pickled Python objects": member(objects, pickle.dumps([Canary(canary)] * 20)),
        "negative size": member(negative),
        "does not have the size that it declares": member({**huge, "shape": (32, 32, 3, 20)}, b"\0" * 50_000_000),
        "no readable NumPy header": b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 60_000,
    }
    for said, content in cases.items():
        with zipfile.ZipFile(folder / TRAIN_FILE, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", content)
            archive.writestr(
                "labels.npy", member({"descr": "<U1", "fortran_order": False, "shape": (20, 1)}, b"0" * 80)
            )
        tracemalloc.start()
        assert said in complaint(folder)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6, said
    assert not canary.exists()


def test_demo_data_is_the_same_each_time_and_says_what_it_is(tmp_path: Path):
    for name in ("one", "two"):
        demo_data.write(tmp_path / name, train=60, test=20, seed=4)
    one, two = (describe([tmp_path / name]) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.is_demo
    assert (one.train_images, one.test_images, one.labels) == (60, 20, tuple("0123456789"))
    demo_data.write(tmp_path / "other", train=60, test=20, seed=5)
    assert describe([tmp_path / "other"]).fingerprint != one.fingerprint
