"""How many seeds a card trains side by side is measured, once for each kind, where many of one configuration wait."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT, DataShape
from engine.core.machine import Card, Machine
from engine.core.results import EpochRow
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.host.dispatcher import Dispatch
from engine.machine import child_process, devices, system, tool_process
from engine.machine.tool_process import Outcome
from engine.scheduling.lanes import lanes_on
from engine.scheduling.placement import next_group
from engine.scheduling.queue import Queue
from engine.scheduling.rates import size_class
from engine.storage.workspace import Workspace
from engine.training import lane_speed
from engine.workers import lane_measurement
from engine.workers.arrangement import Arrangement
from engine.workers.lane_measurement import Demand
from engine.workers.process import WORKER_VARIABLE
from tests.support.patience import PATIENCE

GIB = 2**30
H100 = Card("GPU-a", "gpu0", "NVIDIA H100", 80 * GIB)
ONE = Machine((0, 1), 64 * GIB, gpus=(H100,))
LINEAR, HIDDEN = Configuration(), Configuration(Network((64,), "relu"))
MANY = Demand(H100, 40, (50_000, 10_000), "host")
LINEAR_SIZE = size_class(30_730)


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The command lines that measured: ten lanes do an epoch a second, more of them nearly as many more."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (WORKER_VARIABLE, devices.LANES_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    asked: list[tuple[str, ...]] = []

    async def measure(command: child_process.ChildCommand, given: bytes = b"") -> Outcome:
        asked.append(command.argv)
        lanes = next(word for word in command.argv if word.startswith("--lanes="))[len("--lanes=") :].split(",")
        return Outcome(0, json.dumps({some: float(some) ** 0.9 for some in lanes}).encode(), "")

    monkeypatch.setattr(tool_process, "run_beside", measure)
    return asked


def with_rates(rates: dict[int, float]) -> Machine:
    return ONE._replace(lane_rates={"NVIDIA H100": {LINEAR_SIZE: rates}})


@pytest.mark.parametrize(
    ("rates", "lanes"),
    [({}, 10), ({10: 10.0, 20: 10.5}, 10), ({10: 10.0, 20: 15.0, 40: 15.5}, 40), ({10: 10.0, 20: 15.0, 40: 9.0}, 20)],
)
def test_a_card_trains_as_many_seeds_as_proved_fastest(rates: dict[int, float], lanes: int):
    machine = with_rates(rates)
    assert lanes_on(H100, machine, LINEAR, ASSIGNMENT) == lanes
    assert lanes_on(H100, machine, HIDDEN, ASSIGNMENT) == 10, "networks of another size are not like it"
    assert lanes_on(H100._replace(kind="Tesla T4"), machine, LINEAR, ASSIGNMENT) == 10, "nor other cards"
    assert lanes_on(H100._replace(memory=1_200_000_000 + 3 * 24 * 30_730), machine, LINEAR, ASSIGNMENT) == 3


@pytest.mark.parametrize(
    ("configuration", "demand", "lanes"),
    [
        (LINEAR, MANY, "10,20,40"),
        (LINEAR, MANY._replace(runs=39), "10,20"),
        (LINEAR, MANY._replace(runs=19), ""),
        (LINEAR, MANY._replace(card=H100._replace(kind="")), ""),
        (Configuration(Network((16384,), "relu")), MANY._replace(card=H100._replace(memory=30 * GIB)), "10,20"),
    ],
    ids=["many wait", "some wait", "few wait", "a card without a name", "memory for twenty"],
)
def test_lanes_are_measured_where_enough_runs_wait(
    answers: object, configuration: Configuration, demand: Demand, lanes: str
):
    command = lane_measurement.command_for(configuration, ASSIGNMENT, ONE, demand)
    assert [word for word in command.argv if "--lanes" in word] == [f"--lanes={lanes}"] if command else not lanes


def test_who_sets_the_lanes_wants_no_measurement(answers: object, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(devices.LANES_VARIABLE, "20")
    assert lane_measurement.command_for(LINEAR, ASSIGNMENT, ONE, MANY) is None


async def test_a_kind_of_card_is_measured_once_for_each_size_and_version_of_jax(
    answers: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
):
    async def measured(configuration: Configuration, demand: Demand = MANY) -> Arrangement:
        ended = asyncio.Event()
        arrangement = Arrangement(ONE, ended.set)
        if arrangement.is_open(configuration, ASSIGNMENT, demand):
            await asyncio.wait_for(ended.wait(), PATIENCE)
        return arrangement

    first = await measured(LINEAR, MANY._replace(runs=20))
    assert lanes_on(H100, first.machine, LINEAR, ASSIGNMENT) == 20
    again = await measured(LINEAR, MANY._replace(runs=20))
    assert (again.machine.lane_rates, len(answers)) == (first.machine.lane_rates, 1)
    third = await measured(LINEAR)
    assert lanes_on(H100, third.machine, LINEAR, ASSIGNMENT) == 40, "more wait now, and twenty was best"
    assert len(answers) == 2
    await measured(HIDDEN)
    assert len(answers) == 3
    await measured(LINEAR)
    assert len(answers) == 3
    monkeypatch.setattr(system, "version", lambda package: "another")
    await measured(LINEAR)
    assert len(answers) == 4


async def test_what_cannot_be_measured_trains_as_usual(answers: object, monkeypatch: pytest.MonkeyPatch):
    async def refused(command: object) -> Outcome:
        return Outcome(1, b"", "gpu0 is left to others")

    monkeypatch.setattr(tool_process, "run_beside", refused)
    ended = asyncio.Event()
    arrangement = Arrangement(ONE, ended.set)
    assert arrangement.is_open(LINEAR, ASSIGNMENT, MANY)
    await asyncio.wait_for(ended.wait(), PATIENCE)
    assert not arrangement.is_open(LINEAR, ASSIGNMENT, MANY)
    assert lanes_on(H100, arrangement.machine, LINEAR, ASSIGNMENT) == 10


async def test_the_host_measures_before_it_trains_and_says_so(
    answers: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[p.AnyEvent] = []
    queue = Queue(lambda event, line=None: told.append(event))
    dispatch = Dispatch(Workspace(tmp_path / "w"), ONE, queue, lambda event, line: told.append(event))
    started = asyncio.Event()
    monkeypatch.setattr(dispatch.pool, "start", lambda slot: started.set())
    queue.open(p.DataSet("f", "digits", "a", "b", 50_000, 10_000, (3, 32, 32), (), (), tuple("0123456789")))
    queue.want(Sweep("many", "f", (LINEAR,), tuple(range(25))))
    dispatch.begin()
    assert not started.is_set()
    await asyncio.wait_for(started.wait(), PATIENCE)
    (command,) = answers
    assert {"--gpu=GPU-a", f"--host={dispatch.pool.launcher.host}", "--images=50000,10000"} <= set(command)
    assert "best at a time is measured" in "".join(event.text for event in told if isinstance(event, p.Noticed))
    machine = dispatch.machine.available((), {})
    group = next_group(queue.waiting, machine, ASSIGNMENT, ())
    assert group is not None and len(group[1]) == 20
    await dispatch.leave()


class Group:
    def __init__(self, lanes: int) -> None:
        self.lanes = lanes

    def train_epoch(self) -> tuple[EpochRow, ...]:
        return (EpochRow(1.0, 0.5, 1.0, 5, 10, seconds={10: 1.0, 20: 1.2, 40: 2.4, 80: 4.0}[self.lanes]),) * self.lanes


class Trainer:
    fits = 80

    def group(self, specs, images, snapshots) -> Group:
        if len(specs) > self.fits:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.")
        return Group(len(specs))


def test_more_lanes_are_tried_as_long_as_they_gain_and_fit():
    images = lane_speed.noise(ASSIGNMENT, 3, 2)
    assert (images.shape, images.train_labels.shape) == (ASSIGNMENT, (3,))
    found = lane_speed.rates(Trainer(), LINEAR, images, (10, 20, 40, 80))
    assert {lanes: round(rate, 1) for lanes, rate in found.items()} == {10: 10.0, 20: 16.7, 40: 16.7}
    trainer = Trainer()
    trainer.fits = 10
    assert lane_speed.rates(trainer, LINEAR, images, (10, 20, 40)) == {10: 10.0, 20: 0.0}
    assert lane_measurement.is_over({10: 10.0, 20: 0.0}) and lane_measurement.is_over({10: 10.0, 20: 10.5})
    assert not lane_measurement.is_over({10: 10.0, 20: 12.0}) and not lane_measurement.is_over({})


def test_the_process_measures_on_a_cpu_what_it_would_on_a_card():
    shape = DataShape((6,), 3, "float32")
    options = {"gpu": "none", "lanes": "1,2", "images": "64,32", "shape": msgspec.json.encode(shape).decode(),
               "configuration": msgspec.json.encode(Configuration(Network(), Training(epochs=1))).decode()}  # fmt: skip
    command = child_process.tool("engine.training.lane_speed", *(f"--{name}={text}" for name, text in options.items()))
    done = subprocess.run(command.argv, env=command.environment, capture_output=True, timeout=PATIENCE)
    rates = json.loads(done.stdout)
    assert set(rates) <= {"1", "2"} and rates["1"] > 0, done.stderr.decode()
    assert sys.executable == command.argv[0]
