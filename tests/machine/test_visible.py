"""CUDA_VISIBLE_DEVICES in each of its forms, and the user's own choice within it."""

import pytest

from engine.machine import visible
from engine.machine.gpus import Gpu

EIGHT = tuple(Gpu(f"GPU-{index}{index}-abc", index, "NVIDIA A100") for index in range(8))
MIXED = (
    Gpu("GPU-old", 0, "NVIDIA T400", capability=(7, 5), memory_total=4),
    Gpu("GPU-new", 1, "NVIDIA RTX 4090", capability=(8, 9), memory_total=24),
)
SLICED = (
    Gpu("GPU-whole", 0),
    Gpu("MIG-aa", 1, slice=0, card="GPU-cut"),
    Gpu("MIG-ab", 1, slice=1, card="GPU-cut"),
)


def labels(gpus_seen: tuple[Gpu, ...]) -> list[str]:
    return [gpu.label for gpu in gpus_seen]


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("5", [5]),
        ("5,6", [5, 6]),
        ("6, 5", [6, 5]),
        ("3,-1,4", [3]),
        ("3,8,4", [3]),
        ("3,,4", [3]),
        ("GPU-55-abc", [5]),
        ("GPU-55", [5]),
        ("GPU-5", [5]),
        ("GPU-", []),
        ("GPU-99,1", []),
        ("1,GPU-22", [1, 2]),
        ("0,0", []),
        ("²", []),
        ("0,GPU-00", []),
        ("MIG-aa", []),
    ],
)
def test_each_form_means_what_cuda_makes_of_it(setting: str | None, indices: list[int]):
    assert labels(visible.visible(setting, EIGHT)) == [f"gpu{index}" for index in indices]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, ["gpu0", "gpu1:0", "gpu1:1"]),
        ("MIG-ab", ["gpu1:1"]),
        ("MIG-ab,MIG-aa", ["gpu1:1", "gpu1:0"]),
        ("MIG-a", []),
        ("1", ["gpu1:0"]),
        ("GPU-cut", ["gpu1:0"]),
        ("MIG-GPU-cut/1/0", ["gpu1:0"]),
        ("0", ["gpu0"]),
    ],
)
def test_slices_are_named_by_their_own_uuid(setting: str | None, expected: list[str]):
    assert labels(visible.visible(setting, SLICED)) == expected


def test_unlike_cards_are_numbered_by_speed_unless_the_order_is_by_address():
    assert visible.depends_on_order("0", "", MIXED)
    assert visible.depends_on_order("0", "FASTEST_FIRST", MIXED)
    assert not visible.depends_on_order("0", "PCI_BUS_ID", MIXED)
    assert not visible.depends_on_order("GPU-old", "", MIXED)
    assert not visible.depends_on_order("0", "", EIGHT)
    assert visible.fastest_first(MIXED) == ("GPU-new", "GPU-old")
    assert labels(visible.visible("0", MIXED, ("GPU-new", "GPU-old"))) == ["gpu1"]
    assert labels(visible.visible("0", MIXED)) == ["gpu0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["gpu5", "gpu6"]),
        ("none", []),
        ("6", ["gpu6"]),
        ("gpu6,5", ["gpu6", "gpu5"]),
        ("GPU-55", ["gpu5"]),
        ("6,6", ["gpu6"]),
    ],
)
def test_the_user_chooses_among_those_that_are_allowed(text: str, expected: list[str]):
    assert labels(visible.chosen(text, EIGHT[5:7])) == expected


def test_a_choice_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no GPU '1' to be used; those that may be are: 5, 6"):
        visible.chosen("1", EIGHT[5:7])
    assert labels(visible.chosen("1", SLICED)) == ["gpu1:0", "gpu1:1"]
    assert labels(visible.chosen("1:1", SLICED)) == ["gpu1:1"]
    assert labels(visible.chosen("mig-ab", SLICED)) == ["gpu1:1"]
