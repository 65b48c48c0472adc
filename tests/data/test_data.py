"""The assignment's files: loaded with exactly its meaning, and refused in one sentence when they are wrong."""

import io
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from engine.core.data_shape import DataShape
from engine.data.dataset import describe, load, load_from
from engine.data.pairing import TEST_FILE, TRAIN_FILE, locate
from engine.protocol import DataSet
from engine.storage.npz import DataError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
OTHERS = IMAGES[..., ::-1].copy()
"""Of the test file, which is never the train file over again."""
LABELS = np.array([str(index % 10) for index in range(20)]).reshape(-1, 1)


def write(folder: Path, *, name: str = TRAIN_FILE, images: Any = IMAGES, labels: Any = LABELS, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    np.savez(folder / name, images=images, labels=labels, **more)
    return folder


def pair(folder: Path, **train: Any) -> Path:
    write(folder, name=TEST_FILE, images=OTHERS)
    return write(folder, **train)


def complaint(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        describe([folder])
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_files_mean_what_the_assignment_says(tmp_path: Path):
    labels = np.array(list("3141592653") * 2).reshape(-1, 1)
    write(tmp_path, name=TEST_FILE, images=OTHERS, labels=labels)
    images, data = load_from([write(tmp_path, labels=labels)])
    assert (images.train_images == IMAGES.transpose(3, 2, 0, 1)).all()
    order = sorted(set(labels.squeeze()))
    assert images.train_labels.tolist() == [order.index(label) for label in labels.squeeze()]
    assert images.train_images.dtype == np.uint8
    assert (data.input_shape, data.train_images, data.labels) == ((3, 32, 32), 20, tuple(order))
    assert sum(data.train_counts) == 20
    assert not data.is_demo


@pytest.mark.parametrize(
    "labels",
    [LABELS[:, 0], LABELS.astype("S1"), LABELS.astype(">i8"), LABELS.astype(np.uint8)[:, 0], LABELS.astype("<U21")],
)
def test_labels_in_any_form_are_the_same_data(tmp_path: Path, labels: Any):
    expected = describe([pair(tmp_path / "a")]).fingerprint
    folder = pair(tmp_path / "b", labels=labels)
    np.savez_compressed(folder / TRAIN_FILE, images=IMAGES, labels=labels)
    assert describe([folder]).fingerprint == expected
    changed = IMAGES.copy()
    changed[0, 0, 0, 0] ^= 1
    assert describe([pair(tmp_path / "c", images=changed)]).fingerprint != expected


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array([["cat"], ["dog"]] * 10), ("cat", "dog")),
        (np.array([b"yes", b"no"] * 10), ("no", "yes")),
        (np.arange(20) % 12, tuple(map(str, range(12)))),
        ((np.arange(20) % 12).astype(str), tuple(map(str, range(12)))),
        (np.eye(12, dtype=np.float32)[np.arange(20) % 12], tuple(map(str, range(12)))),
    ],
    ids=["text", "bytes", "numbers", "numbers as text", "one-hot"],
)
def test_classes_follow_from_the_labels(tmp_path: Path, labels: Any, names: tuple[str, ...]):
    write(tmp_path, name=TEST_FILE, images=OTHERS, labels=labels)
    images, data = load_from([write(tmp_path, labels=labels)])
    assert data.labels == images.names == names
    assert data.shape == images.shape == DataShape((3, 32, 32), len(names))
    expected = labels.argmax(1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
    assert [names[index] for index in images.train_labels] == [
        one.decode() if isinstance(one, bytes) else str(one) for one in expected.tolist()
    ]
    assert sum(data.train_counts) == 20 and len(data.train_counts) == len(names)


def test_a_described_data_set_is_loaded_only_while_it_is_the_same(tmp_path: Path):
    data = describe([pair(tmp_path)])
    assert (load(data).train_images == IMAGES.transpose(3, 2, 0, 1)).all()
    pair(tmp_path, labels=np.roll(LABELS, 1))
    with pytest.raises(DataError, match="changed since they were opened"):
        load(data)


def test_what_makes_a_test_accuracy_doubtful_is_said(tmp_path: Path):
    def doubts(**test: Any) -> tuple[str, ...]:
        write(tmp_path, name=TEST_FILE, **test)
        return describe([tmp_path]).doubts

    write(tmp_path)
    fresh = RANDOM.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    assert doubts(images=fresh) == ()
    (some,) = doubts(images=np.concatenate([fresh[..., :17], IMAGES[..., 4:7]], axis=-1))
    assert some.startswith("3 of 20 test images are among those to train on")
    assert doubts(images=fresh, labels=LABELS[:7].repeat(3, axis=0)[:20]) == (
        "No test image is of the class '7', '8', '9': nothing says whether it is recognised.",
    )
    write(tmp_path, images=IMAGES.astype(np.float32) / 255)
    assert doubts(images=fresh.astype(np.float32)) == (
        f"The largest value to train on is 1 and to test with {fresh.max()}; scale both alike.",
    )


def test_two_files_in_any_order_are_a_source(tmp_path: Path):
    pair(tmp_path)
    files = (tmp_path / TRAIN_FILE, tmp_path / TEST_FILE)
    assert locate(files) == locate(files[::-1]) == locate([tmp_path]) == files
    (tmp_path / TRAIN_FILE).rename(tmp_path / "my_train.npz")
    assert locate([tmp_path])[0].name == "my_train.npz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES.astype(np.float32)}, "holds float32 to train on and uint8 to test with"),
        ({"images": IMAGES.astype(complex)}, "images are complex128; numbers are expected"),
        ({"images": np.where(IMAGES == 0, np.nan, IMAGES)}, "values are not finite numbers (NaN or infinite)"),
        ({"images": IMAGES * 1e300}, "values are not finite numbers (NaN or infinite)"),
        ({"images": IMAGES[0]}, "images have the shape (32, 3, 20)"),
        ({"images": IMAGES.transpose(3, 0, 1, 2)}, "(height, width, channels, N) is expected"),
        ({"images": IMAGES[..., :7]}, "7 images but labels of shape (20, 1)"),
        ({"labels": LABELS.astype(object)}, "pickled Python objects"),
        ({"labels": LABELS.astype(float)}, "labels are float64"),
        (
            {"labels": LABELS.astype("M8[D]")},
            "labels are datetime64[D]; text or whole numbers are expected; if each is",
        ),
        ({"labels": LABELS.view([("digit", LABELS.dtype)])}, "holds records of several columns; save a column as"),
        ({"images": np.repeat(IMAGES, 60, 3), "labels": np.arange(1200)}, "has 1,200 different labels; 2 to 1,000 can"),
        ({"labels": np.arange(20) % 10 + 1}, "the label '10' is not a digit"),
        ({"labels": np.full(20, -1)}, "the label '-1' is negative"),
        ({"labels": np.array([""] * 20)}, "a label is empty"),
        ({"labels": LABELS.astype("<U300000")}, "the labels take 24,000,000 bytes"),
        ({"labels": np.arange(20) % 2}, "has the label '2', which"),
        ({"labels": np.zeros(20, int)}, "has only the label '0'"),
        ({"labels": np.eye(10)[np.arange(20) % 10] * 2}, "row 0 of the labels is not one 1 among 0"),
        ({"labels": np.eye(10)[np.arange(20) % 10].astype("U3")}, "one row of 0 and 1 for each image is expected"),
        ({"labels": np.array(["x" * 200, "y"] * 10)}, "names have at most 100 characters"),
        ({"images": IMAGES[:28]}, "images of different sizes"),
        ({"images": IMAGES[..., :0], "labels": LABELS[:0]}, "holds no image"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_expected(tmp_path: Path, change: dict[str, Any], message: str):
    assert message in complaint(pair(tmp_path / "d", **change))


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
    assert "is not a .npz file" in complaint(folder)
    (folder / TRAIN_FILE).write_bytes((folder / TEST_FILE).read_bytes()[:5_000])
    assert "is not a .npz file" in complaint(folder)
    for replace in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        (folder / TRAIN_FILE).rename(folder / f"before-{replace}")
        replace(folder / TRAIN_FILE)
        assert "is not a regular file" in complaint(folder)


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path: Path):
    folder, other = pair(tmp_path / "data"), tmp_path / "links"
    other.mkdir()
    for name in (TRAIN_FILE, TEST_FILE):
        (other / name).symlink_to(folder / name)
    assert describe([other]).fingerprint == describe([folder]).fingerprint


def test_the_command_prints_one_line_of_json_or_one_sentence(tmp_path: Path):
    command = [sys.executable, "-m", "engine.data.dataset", "describe", str(pair(tmp_path))]
    done = subprocess.run(command, capture_output=True, check=True)
    assert msgspec.json.decode(done.stdout, type=DataSet) == describe([tmp_path])
    (tmp_path / TRAIN_FILE).unlink()
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (1, "", 1)
    assert f"has no {TRAIN_FILE}" in failed.stderr


def member(shape: tuple[int, ...], content: bytes = b"", *, descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def headed(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")


def pack(
    folder: Path, *, images: bytes, labels: bytes = b"", extra: int = 0, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write a train file from the bytes of its members."""
    with zipfile.ZipFile(folder / TRAIN_FILE, "w", method) as archive:
        archive.writestr("images.npy", images)
        archive.writestr("labels.npy", labels or member((20, 1), LABELS.tobytes(), descr="<U1"))
        for number in range(extra):
            archive.writestr(f"{number}.npy", b"")
    return folder


class Canary:
    """Unpickling this would leave a folder behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.path),))


def test_pickled_members_are_refused_and_their_code_never_runs(tmp_path: Path):
    canary = tmp_path / "canary"
    bomb = pickle.dumps(np.array([Canary(canary)] * 20, dtype=object))
    good = member((32, 32, 3, 20), IMAGES.tobytes())
    folder = pair(tmp_path / "data")
    assert "pickled Python objects" in complaint(pack(folder, images=member((20,), bomb, descr="|O")))
    assert "pickled Python objects" in complaint(pack(folder, images=good, labels=member((20,), bomb, descr="|O")))
    assert "no readable NumPy header" in complaint(pack(folder, images=bomb))
    assert not canary.exists()
    pickle.loads(bomb)
    assert canary.exists()  # the bomb is live: it was our reader that did not set it off


HOSTILE: dict[str, Callable[[], dict[str, Any]]] = {
    "declares 3,072,000,000,000,000 bytes": lambda: {"images": member((32, 32, 3, 10**12))},
    "declares a negative size": lambda: {"images": member((32, 32, 3, -20))},
    "does not have the size that it declares": lambda: {"images": member((32, 32, 3, 20), bytes(10**8))},
    "it is cut off or too long": lambda: {"images": b"\x93NUMPY\x02\x00\x00\x00\x00\x06" + b" " * 10**8},
    "declares 1,000,000 images": lambda: {"images": member((1, 1, 1, 10**6), bytes(10**6))},
    "images of different sizes": lambda: {
        "images": member((90, 90, 3, 600), bytes(14_580_000)),
        "labels": member((600,), bytes(range(10)) * 60),
    },
    "unpacks to more than 100 times its size": lambda: {
        "images": member((32, 32, 3, 30_000), bytes(92_160_000)),
        "labels": member((30_000,), bytes(range(10)) * 3_000),
    },
    "thousands of members": lambda: {"images": member((32, 32, 3, 20)), "extra": 60_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_little_memory(tmp_path: Path, name: str):
    folder = pair(tmp_path / "data")
    pack(folder, **HOSTILE[name]())
    code = "import sys; from engine.data.dataset import main; code = main(); status = open('/proc/self/status')"
    code += "; print(code, status.read(), file=sys.stderr)"
    before = [sys.executable, "-c", code, "describe", str(tmp_path / "nowhere")]
    (idle, _), (peak, message) = peak_and_words(before), peak_and_words([*before[:-1], str(folder)])
    assert name in message
    assert peak - idle < 50e6


def peak_and_words(command: list[str]) -> tuple[float, str]:
    """Return a process's peak memory in bytes and what it complained of, before its status."""
    errors = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "Traceback" not in errors
    return int(errors.split("VmHWM:")[1].split()[0]) * 1024, errors.splitlines()[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path: Path, method: int):
    folder = pack(pair(tmp_path / "data"), images=member((32, 32, 3, 20), IMAGES.tobytes()), method=method)
    file = folder / TRAIN_FILE
    whole, expected = file.read_bytes(), describe([folder]).fingerprint
    for offset in RANDOM.integers(len(whole), size=60).tolist():
        file.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])
        try:
            assert describe([folder]).fingerprint == expected  # a byte that carries nothing, such as a date
        except DataError as error:
            assert str(file) in str(error)
    for end in RANDOM.integers(len(whole), size=20).tolist():
        file.write_bytes(whole[:end])
        assert "is not a .npz file" in complaint(folder)


HEADERS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=300),
    st.builds(
        "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}\n".format,
        st.sampled_from(["'|u1'", "'|O'", "'<U1'", "()", "('|u1', 3)", "[('a', '|O')]", "'|u1', 'a': 1", "-" * 2_000]),
        st.sampled_from(["False", "True", "None", "__import__('os').abort()"]),
        st.one_of(
            st.lists(st.integers(), max_size=6).map(lambda sides: str(tuple(sides))), st.text("()-0, 1L", max_size=9)
        ),
    ),
)


@given(text=HEADERS)
@example(text="{[]: 1}")
@example(text="{1: 1, 'a': 2}")
@example(text="{'a': '''")
@example(text="{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 80 + "), }")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_does_more_than_be_refused(tmp_path: Path, text: str):
    folder = pack(pair(tmp_path / "data"), images=headed(text))
    assert str(folder / TRAIN_FILE) in complaint(folder)
