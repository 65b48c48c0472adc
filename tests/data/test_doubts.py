"""What makes a test accuracy worthless is said, and what cannot be read is named with its reason."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.dataset import describe
from engine.data.pairing import TEST_FILE, TRAIN_FILE
from tests.data.test_data import IMAGES, LABELS, OTHERS, complaint, pair, write

NOBODY = 65_534
Arrays = dict[str, Any]
SAME = {"images": IMAGES[..., :1].repeat(20, axis=3)}
FEW = {"images": IMAGES[..., :4].repeat(5, axis=3), "labels": LABELS[:10].repeat(2, axis=0)}
DOUBLED = np.concatenate([IMAGES[..., :5], IMAGES[..., :15]], axis=3)
LOST = {"images": IMAGES * 1e-300}, {"images": OTHERS / 255}
"""Numbers that are 0 as float32, in which all is trained."""
DOUBTS: dict[str, tuple[Arrays, Arrays]] = {
    "All 20 images to train on are equal": (SAME, {}),
    "All 20 images to test with are equal": ({}, SAME),
    "All 20 images to train on are equal: there is nothing to tell classes by": LOST,
    "Of 20 images to train on only 4 differ": (FEW, {}),
    "20 images to train on are there again as another class": (FEW, {}),
    "10 images to train on are there again as another class": ({"images": DOUBLED}, {}),
    "Every test image is of the class '3'": ({}, {"labels": np.full(20, 3)}),
    "The largest value to train on is 255 and to test with 1;": ({}, {"images": OTHERS // 128}),
}


@pytest.mark.parametrize("doubt_begins", DOUBTS)
def test_data_that_nothing_can_be_learnt_from_is_used_with_a_warning(tmp_path: Path, doubt_begins: str):
    train, test = DOUBTS[doubt_begins]
    write(tmp_path, **train)
    write(tmp_path, name=TEST_FILE, **{"images": OTHERS, **test})
    assert any(doubt.startswith(doubt_begins) for doubt in describe([tmp_path]).doubts)


def test_rows_of_few_features_may_be_equal_and_of_several_classes(tmp_path: Path):
    rows = np.arange(40).reshape(-1, 1) % 2
    np.savez(tmp_path / "rows.npz", x_train=rows, y_train=np.arange(40) % 3, x_test=rows[:20], y_test=np.arange(20) % 3)
    (doubt,) = describe([tmp_path / "rows.npz"]).doubts
    assert doubt.startswith("20 of 20 test rows are among those")


def test_labels_that_are_no_text_are_not_taken_for_one_another(tmp_path: Path):
    labels = np.array([b"\xff", b"\xfe"] * 10)  # decoded with replacements, both would be one class of two
    sentence = complaint(pair(tmp_path / "d", labels=labels))
    assert r"the label b'\xfe' is not UTF-8 text" in sentence


def test_a_file_that_leads_nowhere_is_named_with_its_reason(tmp_path: Path):
    folder = pair(tmp_path / "d")
    train = folder / TRAIN_FILE
    train.unlink()
    (folder / f".{TRAIN_FILE}.icloud").write_bytes(b"bplist00")
    assert f"{train} is in iCloud and not on this machine" in complaint(folder)
    train.write_bytes(b"book\0\0\0\0mark\0\0\0\0" + bytes(900))
    assert "it is an alias of the Finder" in complaint(folder)
    train.unlink()
    train.symlink_to(train.name)
    assert "cannot be opened (Too many levels of symbolic links)" in complaint(folder)


def test_a_folder_beside_the_data_that_others_alone_may_enter_is_passed_over():
    """As `lost+found` on a stick; the folder that the user names has to be readable."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to all but one user
        folder = pair(Path(name) / "d")
        (folder / "lost+found").mkdir()
        for path, mode in ((folder.parent, 0o755), (folder, 0o755), (folder / "lost+found", 0)):
            path.chmod(mode)
        for path in folder.glob("*.npz"):
            path.chmod(0o644)
        try:
            os.seteuid(os.geteuid() or NOBODY)
            assert describe([folder]).train_path == str(folder / TRAIN_FILE)
            assert "permission denied" in complaint(folder / "lost+found")
        finally:
            os.seteuid(os.getuid())
            (folder / "lost+found").chmod(0o700)
