"""Demo data: drawn the same each time, marked as drawn, learnable, and never written over a user's own files."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.data import demo
from engine.data.dataset import describe, load_from
from engine.data.pairing import TEST_FILE, TRAIN_FILE
from engine.protocol import DataSet
from engine.storage.npz import DataError


def test_demo_data_is_the_same_each_time_and_says_what_it_is(tmp_path: Path):
    for name in ("one", "two"):
        demo.write(tmp_path / name, train=60, test=20, seed=4)
    one, two = (describe([tmp_path / name]) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.is_demo
    assert (one.train_images, one.test_images, one.labels) == (60, 20, tuple("0123456789"))
    for name in (TRAIN_FILE, TEST_FILE):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    demo.write(tmp_path / "other", train=60, test=20, seed=5)
    assert describe([tmp_path / "other"]).fingerprint != one.fingerprint


def drawn(folder: Path, *options: str) -> DataSet:
    command = [sys.executable, "-m", "engine.data.demo", str(folder), "--train", "60", "--test", "20", *options]
    return msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout, type=DataSet)


def test_what_is_there_is_used_again_and_drawn_anew_for_another_seed(tmp_path: Path):
    first = drawn(tmp_path)
    written = (tmp_path / TRAIN_FILE).stat()
    assert drawn(tmp_path) == first
    assert (tmp_path / TRAIN_FILE).stat() == written
    assert drawn(tmp_path, "--seed", "3").fingerprint != first.fingerprint
    assert drawn(tmp_path, "--train", "70").train_images == 70
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([TRAIN_FILE, TEST_FILE])


@pytest.mark.parametrize("content", [b"not even a zip", None])
def test_files_that_are_not_demo_data_are_never_replaced(tmp_path: Path, content: bytes | None):
    file = tmp_path / TEST_FILE
    if content is None:
        np.savez(file, images=np.zeros((32, 32, 3, 20), np.uint8), labels=np.arange(20) % 10)
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(DataError, match="is not demo data; give another folder"):
        demo.write(tmp_path, train=60, test=20)
    assert file.read_bytes() == before
    assert not (tmp_path / TRAIN_FILE).exists()


def test_the_smallest_files_have_every_digit_and_ones_are_the_most_frequent(tmp_path: Path):
    demo.write(tmp_path / "small", train=10, test=10)
    assert describe([tmp_path / "small"]).test_counts == (1,) * 10
    _, digits = demo.draw(2_000, np.random.default_rng(0))
    assert np.bincount(digits).argmax() == 1


def test_a_linear_rule_on_the_ink_reads_some_demo_digits_and_not_all(tmp_path: Path):
    demo.write(tmp_path, train=2_000, test=500)
    images, _ = load_from([tmp_path])
    centred = [_standardised(pixels) for pixels in (images.train_images, images.test_images)]
    targets = np.eye(10)[images.train_labels]
    weights = np.linalg.solve(centred[0].T @ centred[0] + 300 * np.eye(1024), centred[0].T @ targets)
    accuracy = float(((centred[1] @ weights).argmax(axis=1) == images.test_labels).mean())
    assert 0.25 < accuracy < 0.9


def _standardised(pixels: np.ndarray) -> np.ndarray:
    """Grey images (N, 3, 32, 32) as rows (N, 1024), ink bright or dark alike: the mean is taken away, then squared."""
    grey = pixels.mean(axis=1).reshape(len(pixels), -1)
    grey = grey - grey.mean(axis=1, keepdims=True)
    return (grey / (grey.std(axis=1, keepdims=True) + 1e-6)) ** 2 - 1
