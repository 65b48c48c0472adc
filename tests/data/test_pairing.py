"""The two files of a data set, as people have them: renamed, moved, unpacked, doubled, exchanged, among others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.data.dataset import describe, load
from engine.data.pairing import TEST_FILE, TRAIN_FILE, locate, role_of
from engine.storage.npz import DataError
from engine.storage.workspace import stamps_of
from tests.data.test_data import IMAGES, LABELS, OTHERS


def write_part(path: Path, *, test: bool = False, count: int = 20) -> Path:
    """Write one of the two files there: an archive, or what it unpacks into where the name has no `.npz`."""
    arrays = {"images": (OTHERS if test else IMAGES)[..., :count], "labels": LABELS[:count]}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".npz":
        with path.open("wb") as file:
            np.savez(file, **arrays)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return path


def both(folder: Path, train: str, test: str) -> tuple[Path, Path]:
    return write_part(folder / train), write_part(folder / test, test=True)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("p4_2026_svhn_train.npz", "train"),
        ("Train.NPZ", "train"),
        ("latest_train.npz", "train"),
        ("latest-test.npz", "test"),
        ("my svhn TEST set.npz", "test"),
        ("svhntest", "test"),
        ("latest.npz", ""),
        ("contest data.npz", ""),
        ("train_test_split.npz", ""),
        ("data.npz", ""),
    ],
)
def test_a_name_says_which_of_the_two_it_is_or_nothing(name: str, role: str):
    assert role_of(name) == role


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (TRAIN_FILE, TEST_FILE),
        ("p4_2025_svhn_train.npz", "p4_2025_svhn_test.npz"),
        ("p4_2027_svhn_train.npz", "p4_2027_svhn_test.npz"),
        ("Train.NPZ", "Test.Npz"),
        ("latest_train.npz", "latest_test.npz"),
        ("my train file.npz", "my test file.npz"),
        ("svhn-2026/train.npz", "svhn-2026/test.npz"),
        ("svhn/versions/p4_train.npz", "svhn/versions/p4_test.npz"),
        ("train/svhn.npz", "test/svhn.npz"),
        ("p4_2026_svhn_train", "p4_2026_svhn_test"),
        ("archive/p4_2026_svhn_train", "archive/p4_2026_svhn_test"),
        ("p4_2026_svhn_train", TEST_FILE),
    ],
)
def test_the_pair_is_found_however_it_is_named_and_laid_out(tmp_path: Path, train: str, test: str):
    files = both(tmp_path, train, test)
    for name in (".DS_Store", f"._{Path(train).name}", f"._{Path(test).name}"):
        (files[0].parent / name).write_bytes(b"\0\5\26\7")
    (tmp_path / "__MACOSX").mkdir()
    write_part(tmp_path / "__MACOSX" / "other_train.npz")
    (tmp_path / "notes.txt").write_text("train and test")
    assert locate([tmp_path]) == files == locate(files[::-1])
    data = describe([tmp_path])
    assert data.fingerprint == describe(both(tmp_path.with_name("as-handed-out"), TRAIN_FILE, TEST_FILE)).fingerprint
    assert (load(data).train_images == IMAGES.transpose(3, 2, 0, 1)).all()


def test_links_to_the_data_elsewhere_are_followed_and_two_names_of_one_file_are_one(tmp_path: Path):
    train, test = both(tmp_path / "elsewhere", TRAIN_FILE, TEST_FILE)
    (tmp_path / "here").mkdir()
    for name in ("train.npz", "again_train.npz"):
        (tmp_path / "here" / name).symlink_to(train)
    (tmp_path / "here" / "test.npz").symlink_to(test)
    assert locate([tmp_path / "here"])[1] == tmp_path / "here" / "test.npz"
    assert describe([tmp_path / "here"]) == describe([tmp_path / "here"])


def test_an_archive_wins_over_what_it_was_unpacked_into(tmp_path: Path):
    files = both(tmp_path, TRAIN_FILE, TEST_FILE)
    both(tmp_path, TRAIN_FILE.removesuffix(".npz"), TEST_FILE.removesuffix(".npz"))
    assert locate([tmp_path]) == files


def test_files_to_which_zip_was_added_are_read(tmp_path: Path):
    files = both(tmp_path, TRAIN_FILE, TEST_FILE)
    renamed = tuple(path.rename(path.with_name(f"{path.name}.zip")) for path in files)
    assert locate([tmp_path]) == renamed
    assert describe([tmp_path])


def test_a_folder_that_may_only_be_read_is_as_good(tmp_path: Path):
    files = both(tmp_path, TRAIN_FILE.removesuffix(".npz"), TEST_FILE.removesuffix(".npz"))
    before = sorted(tmp_path.rglob("*"))
    for folder in (*files, tmp_path):
        folder.chmod(0o500)
    try:
        assert describe([tmp_path])
    finally:
        for folder in (tmp_path, *files):
            folder.chmod(0o700)
    assert sorted(tmp_path.rglob("*")) == before


def complaint(*source: Path) -> str:
    with pytest.raises(DataError) as caught:
        describe(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


AMBIGUOUS: dict[str, Callable[[Path], object]] = {
    "2 files that may be the train file, a_train.npz and b_train.npz; give the two": lambda at: (
        both(at, "a_train.npz", "a_test.npz"), both(at, "b_train.npz", "b_test.npz")
    ),
    "2 files that may be the train file, a/train.npz and b/train.npz": lambda at: (
        both(at, "a/train.npz", "a/test.npz"), both(at, "b/train.npz", "b/test.npz")
    ),
    "are of different years": lambda at: both(at, "p4_2026_svhn_train.npz", "p4_2025_svhn_test.npz"),
    f"has no {TEST_FILE}": lambda at: (write_part(at / "latest_train.npz"), write_part(at / "latest.npz")),
    f"has no {TRAIN_FILE}": lambda at: (write_part(at / "test.npz"), (at / "._train.npz").write_bytes(b"x")),
    "unpack svhn.zip first": lambda at: shutil.make_archive(str(at / "svhn"), "zip", at),
    "train.npz.crdownload is neither .npz nor .mat": lambda at: (
        write_part(at / "test.npz", test=True), (at / "train.npz.crdownload").write_bytes(b"PK")
    ),
    "expected are images.npy and labels.npy, once each; it holds 'x.npy', 'y.npy'": lambda at: (
        write_part(at / "test.npz", test=True), np.savez(at / "train.npz", x=np.zeros(3), y=np.zeros(3))
    ),
    "train.npz is not a .npz file (it is a web page": lambda at: (
        write_part(at / "test.npz", test=True), (at / "train.npz").write_text("\n<!DOCTYPE html><p>Sign in")
    ),
    "they seem exchanged": lambda at: (write_part(at / "train.npz", count=10), write_part(at / "test.npz", test=True)),
    "hold the same images": lambda at: (write_part(at / "train.npz"), write_part(at / "test.npz")),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_not_clear_is_told_and_never_guessed(tmp_path: Path, name: str):
    AMBIGUOUS[name](tmp_path)
    assert name in complaint(tmp_path)


def test_two_files_that_are_no_pair_are_told(tmp_path: Path):
    train, test = both(tmp_path, "a_train.npz", "a_test.npz")
    other = write_part(tmp_path / "b_train.npz")
    assert "both a train file by their names" in complaint(train, other)
    assert "hold the same images" in complaint(train, shutil.copy(train, tmp_path / "x.npz"))
    assert "is a single file" in complaint(train)
    unpacked = write_part(tmp_path / "unpacked_test", test=True)
    assert "holds what one .npz file holds" in complaint(unpacked)
    assert describe([unpacked, train]).fingerprint == describe([train, test]).fingerprint
    packed = Path(shutil.make_archive(str(tmp_path / "both"), "zip", tmp_path, test.name))
    assert "unzip both.zip" in complaint(packed)


def test_labels_from_1_to_10_are_refused_with_what_they_mean(tmp_path: Path):
    train, test = both(tmp_path, TRAIN_FILE, TEST_FILE)
    for labels in (np.arange(20) % 10 + 1, (np.arange(20) % 10 + 1).astype(np.uint8).reshape(-1, 1)):
        np.savez(train, images=IMAGES, labels=labels)
        assert "10 stands for 0" in complaint(train, test)


def test_members_in_a_folder_are_looked_at_like_those_of_an_archive(tmp_path: Path):
    train, _ = both(tmp_path, "train", "test")
    (train / "images.npy").unlink()
    assert "has no images.npy" in complaint(tmp_path)
    os.mkfifo(train / "images.npy")
    assert "is not a regular file" in complaint(tmp_path)
    (train / "images.npy").unlink()
    (train / "images.npy").write_bytes(b"\x93NUMPY")
    assert "images.npy has no readable NumPy header" in complaint(tmp_path)


def test_a_change_inside_an_unpacked_folder_is_noticed(tmp_path: Path):
    files = both(tmp_path, "train", "test")
    before = stamps_of(map(str, files))
    content = (files[0] / "labels.npy").read_bytes()
    (files[0] / "labels.npy").write_bytes(content + b"\0")
    assert before != stamps_of(map(str, files))
    assert stamps_of([str(tmp_path / "gone")]) == ()


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path):
    train, _ = both(tmp_path, TRAIN_FILE, TEST_FILE)
    train.chmod(0)
    assert complaint(tmp_path) == f"{train} cannot be opened (Permission denied)."


def test_the_machine_is_blamed_for_what_it_lacks(tmp_path: Path):
    """With no file left to open, a good file is not called damaged."""
    both(tmp_path, TRAIN_FILE, TEST_FILE)
    code = (
        "import os, resource, sys; from engine.data import dataset; import engine.storage.npz\n"
        "lowest = os.dup(0); resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, lowest + 1))\n"
        "sys.exit(dataset.main())"
    )
    command = [sys.executable, "-c", code, "describe", str(tmp_path / TRAIN_FILE), str(tmp_path / TEST_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Too many open files" in done.stderr) == (1, True), done.stderr
    assert done.stderr.count("\n") == 1
