"""Cards of machines that are not here: what is read of them, who uses them, and how busy they are."""

import os
import subprocess

import pytest

from engine.machine import card_lock, gpus, system
from tests.machine.conftest import Cards
from tests.support.fake_nvml import pynvml

GIB = 2**30


def test_without_a_driver_there_is_nothing_and_no_complaint(cards: Cards):
    assert gpus.read() == gpus.Inventory()
    assert gpus.GpuMonitor().sample() == ()


def test_a_driver_that_was_updated_under_us_is_told(cards: Cards):
    cards(fails="LibRmVersionMismatch")
    inventory = gpus.read()
    assert not inventory.gpus
    assert "reboot" in inventory.problem


def test_nvml_is_open_only_while_somebody_looks(cards: Cards):
    cards({}, {})
    gpus.read()
    assert (pynvml.CALLS.count("init"), pynvml.CALLS.count("shutdown")) == (1, 1)
    watch = gpus.GpuMonitor()
    watch.sample()
    watch.sample()
    assert (pynvml.CALLS.count("init"), pynvml.CALLS.count("shutdown")) == (2, 1)
    watch.close()
    watch.close()
    assert (pynvml.CALLS.count("init"), pynvml.CALLS.count("shutdown")) == (2, 2)
    assert len(watch.sample()) == 2


def test_a_driver_that_goes_away_is_looked_for_again(cards: Cards):
    cards({})
    watch = gpus.GpuMonitor()
    assert len(watch.sample()) == 1
    watch.close()
    cards(fails="DriverNotLoaded")
    assert watch.sample() == ()
    cards({})
    assert len(watch.sample()) == 1


def test_a_card_is_its_uuid_and_knows_what_it_can(cards: Cards):
    cards({"name": "Tesla T4", "capability": [7, 5], "total": 16, "free": 15}, driver="550.54", cuda=12040)
    inventory = gpus.read()
    assert (inventory.driver, inventory.cuda) == ("550.54", 12040)
    (card,) = inventory.gpus
    assert (card.uuid, card.label, card.name, card.capability) == ("GPU-00000000-aaaa", "gpu0", "Tesla T4", (7, 5))
    assert (card.memory_total, card.memory_free) == (16 * GIB, 15 * GIB)


@pytest.mark.parametrize("query", ["name", "total", "capability", "mode", "pci", "pids", "drawing"])
def test_a_query_that_fails_leaves_its_own_field_empty(cards: Cards, query: str):
    cards({"lacks": [query]}, {})
    first, second = gpus.read().gpus
    assert first.uuid and not first.problem
    assert second.name and second.memory_total and second.capability


def test_a_lost_card_hides_no_other(cards: Cards):
    cards({}, {"lost": True}, {})
    seen = gpus.read().gpus
    assert [bool(card.problem) for card in seen] == [False, True, False]
    assert "GPU is lost" in seen[1].problem
    assert [sample.name for sample in gpus.GpuMonitor().sample()] == ["gpu0", "gpu2"]


def test_slices_take_the_place_of_their_card(cards: Cards):
    cards({}, {"slices": [{"uuid": "MIG-a", "total": 10}, {"uuid": "MIG-b", "total": 20}]}, {"slices": []})
    seen = gpus.read().gpus
    assert [card.label for card in seen] == ["gpu0", "gpu1:0", "gpu1:1", "gpu2"]
    assert [card.memory_total for card in seen[1:3]] == [10 * GIB, 20 * GIB]
    assert {card.card for card in seen[1:3]} == {"GPU-10000000-aaaa"}
    assert "MIG" in seen[3].problem


def test_a_prohibited_card_is_left_out_and_an_exclusive_one_known(cards: Cards):
    cards({"mode": 0}, {"mode": 2}, {"mode": 3})
    seen = gpus.read().gpus
    assert [card.is_exclusive for card in seen] == [False, False, True]
    assert [bool(card.problem) for card in seen] == [False, True, False]


def test_what_a_card_cannot_tell_of_its_use_is_left_empty(cards: Cards):
    cards({"lacks": ["use"]}, {"lacks": ["temperature", "power"]}, {})
    slice_, virtual, whole = gpus.GpuMonitor().sample()
    assert (slice_.utilisation, slice_.temperature, slice_.power) == (None, 40, 100)
    assert (virtual.utilisation, virtual.temperature, virtual.power) == (0.5, None, None)
    assert whole.utilisation == 0.5
    assert [sample.name for sample in gpus.GpuMonitor().sample(["GPU-20000000-aaaa"])] == ["gpu2"]
    assert (whole.kind, whole.busy) == ("NVIDIA H100 80GB HBM3", "")


def test_a_card_that_is_left_to_others_says_why(cards: Cards):
    cards({"free": 1, "pids": [os.getpid()]})
    (others,), (ours,) = gpus.GpuMonitor().sample(), gpus.GpuMonitor().sample(own=[os.getpid()])
    assert others.busy
    assert ours.busy == "", "what fills it is a worker of ours"


def test_in_a_container_a_card_that_we_locked_is_ours(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "FIRST_PID_NAMESPACE", "pid:[1]")
    cards({"free": 10, "pids": [999_999]})
    lock = card_lock.acquire("GPU-00000000-aaaa", "host")
    assert lock is not None
    (others,), (ours,) = gpus.GpuMonitor().sample(), gpus.GpuMonitor().sample(own=[os.getpid()])
    os.close(lock)
    assert (bool(others.busy), ours.busy) == (True, "")


def test_a_card_on_which_another_process_computes_is_busy(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "FIRST_PID_NAMESPACE", str(system.PID_NAMESPACE.readlink()))
    other = subprocess.Popen(["sleep", "60"])
    try:
        cards({"pids": [other.pid]}, {"pids": [os.getpid()]}, {"pids": [other.pid], "drawing": [other.pid]})
        busy, ours, desktop = gpus.read().gpus
        others = gpus.users(busy, own=[os.getpid()])
        assert others == (other.pid,)
        assert f"process {other.pid} of" in gpus.busy(busy, others)
        for free in (ours, desktop):
            assert gpus.users(free, own=[os.getpid()]) == ()
            assert not gpus.busy(free, ())
    finally:
        other.kill()
        other.wait()


def test_in_a_container_pids_prove_nothing_and_memory_decides(cards: Cards, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "FIRST_PID_NAMESPACE", "pid:[1]")
    cards({"pids": [1, 999_999], "free": 79}, {"pids": [999_999], "free": 10}, {"lacks": ["pids"], "free": 10})
    for card, is_free in zip(gpus.read().gpus, (True, False, False), strict=True):
        assert gpus.users(card) is None
        assert bool(gpus.busy(card, None)) is not is_free


def test_a_full_card_is_busy_whoever_fills_it(cards: Cards):
    cards({"free": 1}, {"total": 2, "free": 1.5}, {"lacks": ["total"]})
    full, small, silent = gpus.read().gpus
    assert gpus.busy(full, ()) == "only 1.0 of 80 GiB of its memory are free"
    assert not gpus.busy(small, ())
    assert not gpus.busy(silent, ())
