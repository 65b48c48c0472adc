"""How busy the machine is: said whatever the GPUs' driver does, and GPUs sleep while nobody looks."""

import threading
from collections.abc import Iterator

import pytest

from engine import protocol as p
from engine.host import device_watch
from engine.host.device_watch import DeviceWatch
from engine.machine import gpus
from engine.machine.gpus import Gpu, Inventory

CARD = Gpu("GPU-a", 0, "NVIDIA T400", utilisation=0.5)


class Driver:
    """In place of the process that asks NVML."""

    answers: Inventory = Inventory((CARD,))
    is_open = False
    hangs = threading.Event()

    def read(self) -> Inventory:
        type(self).is_open = True
        self.hangs.wait(60)
        return self.answers

    def close(self) -> None:
        type(self).is_open = False
        self.hangs.set()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Driver]]:
    class One(Driver):
        hangs = threading.Event()

    One.hangs.set()
    monkeypatch.setattr(gpus, "NvmlProcess", One)
    yield One
    One.hangs.set()


async def names(watch: DeviceWatch, *, is_training: bool = True) -> list[str]:
    return [sample.name for sample in await watch.samples(["GPU-a"], (), is_training=is_training)]


async def test_gpus_are_looked_at_while_something_trains_or_somebody_looks(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch
):
    watch = DeviceWatch(lambda event, line: None)
    assert (await names(watch, is_training=False), driver.is_open) == (["cpu"], False)
    assert (await names(watch), driver.is_open) == (["gpu0", "cpu"], True)
    assert (await names(watch, is_training=False), driver.is_open) == (["cpu"], False)
    watch.wanted()
    assert (await names(watch, is_training=False), driver.is_open) == (["gpu0", "cpu"], True)
    monkeypatch.setattr(device_watch, "WATCH_SECONDS", -1)
    watch.wanted()
    assert (await names(watch, is_training=False), driver.is_open) == (["cpu"], False), "a minute later it sleeps"


async def test_a_driver_that_hangs_delays_nothing_and_is_told_once(
    driver: type[Driver], monkeypatch: pytest.MonkeyPatch
):
    events: list[p.AnyEvent] = []
    watch = DeviceWatch(lambda event, line: events.append(event))
    monkeypatch.setattr(device_watch, "ANSWER_SECONDS", 0.01)
    driver.hangs.clear()
    assert [await names(watch) for _ in range(3)] == [["cpu"]] * 3
    driver.answers = Inventory(problem=gpus.HANGS)
    driver.hangs.set()
    monkeypatch.setattr(device_watch, "ANSWER_SECONDS", 60)
    for _ in range(3):
        assert await names(watch) == ["cpu"]
    (notice,) = events
    assert isinstance(notice, p.Noticed) and gpus.HANGS in notice.text
    driver.answers = Inventory((CARD,))
    assert await names(watch) == ["gpu0", "cpu"]


async def test_the_end_of_the_host_waits_for_no_driver(driver: type[Driver], monkeypatch: pytest.MonkeyPatch):
    watch = DeviceWatch(lambda event, line: None)
    monkeypatch.setattr(device_watch, "ANSWER_SECONDS", 0.01)
    driver.hangs.clear()
    await names(watch)
    watch.rest()
    monkeypatch.setattr(device_watch, "ANSWER_SECONDS", 60)
    assert driver.hangs.is_set(), "what asked was ended, and the look with it"
    assert await names(watch) == ["gpu0", "cpu"]
