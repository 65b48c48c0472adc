"""Where groups train, and how long they will: pure, so machines that are not here can be thought through."""

import asyncio
from pathlib import Path

import pytest

from engine import protocol as p
from engine.core import forecast
from engine.core.data_shape import ASSIGNMENT
from engine.core.forecast import EpochTimes, Forecast
from engine.core.layers import trainable_parameters
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.machine import devices, tool_process
from engine.scheduling import cores as core_choice
from engine.scheduling.placement import next_group
from engine.scheduling.rates import size_class
from engine.scheduling.slot import Occupant, Slot
from engine.scheduling.waiting_list import WaitingList
from engine.training.native import build
from engine.workers.arrangement import Arrangement
from engine.workers.process import WORKER_VARIABLE

SHAPE = ASSIGNMENT
LINEAR, WIDE = Configuration(), Configuration(Network((1024,), "relu"))
TWO_CORES = Machine((0, 1), 24 * 2**30)
TWO_GPUS = Machine((0, 1, 2, 3), 64 * 2**30, gpus=(Card("GPU-a", "gpu0"), Card("GPU-b", "gpu1")), lanes=4)


def places(configuration: Configuration, seeds: range) -> list[p.WaitingRun]:
    specs = (RunSpec(configuration, seed, "data") for seed in seeds)
    return [p.WaitingRun(spec.run_id, spec, "sweep", "Q9") for spec in specs]


def spread(queue: list[p.WaitingRun], machine: Machine) -> list[tuple[str, int]]:
    """Start groups until the head of the queue has to wait; return each slot's name and number of lanes."""
    busy: list[Slot] = []
    groups = []
    while group := next_group(WaitingList(queue), machine, SHAPE, busy):
        slot, chosen = group
        busy.append(slot)
        groups.append((slot.name, len(chosen)))
        queue = [run for run in queue if run not in chosen]
    return groups


def test_small_networks_train_side_by_side_and_large_ones_take_all_cores():
    assert spread(places(LINEAR, range(5)), TWO_CORES) == [("core0", 1), ("core1", 1)]
    assert spread(places(WIDE, range(5)), TWO_CORES) == [("cpu", 1)]


def test_a_large_run_waits_for_the_cores_and_is_not_overtaken():
    queue = [*places(LINEAR, range(1)), *places(WIDE, range(1)), *places(LINEAR, range(1, 3))]
    assert spread(queue, TWO_CORES) == [("core0", 1)]
    assert spread(queue[1:], TWO_CORES) == [("cpu", 1)]


def test_gpus_take_seeds_of_one_configuration_as_lanes():
    queue = [*places(WIDE, range(6)), *places(LINEAR, range(3))]
    assert spread(queue, TWO_GPUS) == [("gpu0", 4), ("gpu1", 2)]
    assert spread(queue[6:], TWO_GPUS) == [("gpu0", 3)]


def shared(queue: list[p.WaitingRun], machine: Machine) -> list[tuple[str, int]]:
    """Return the same as `spread` where it is known what each slot trains."""
    occupants: dict[Slot, Occupant] = {}
    groups = []
    while group := next_group(WaitingList(queue), machine, SHAPE, occupants, {}, occupants):
        slot, chosen = group
        occupants[slot] = Occupant(chosen[0].spec.configuration, len(chosen))
        groups.append((slot.name, len(chosen)))
        queue = [run for run in queue if run not in chosen]
    return groups


def test_different_configurations_share_a_card_while_its_memory_lasts():
    gib = 2**30
    queue = [run for units in (8, 16, 24, 32) for run in places(Configuration(Network((units,), "relu")), range(4))]
    roomy = tuple(Card(uuid, uuid, memory=16 * gib, seats=2) for uuid in ("gpu0", "gpu1"))
    both = TWO_GPUS._replace(gpus=roomy)
    assert shared(queue, both) == [("gpu0", 4), ("gpu1", 4), ("gpu0#2", 4), ("gpu1#2", 4)], "empty cards come first"
    assert shared(queue, both._replace(memory=5 * 10**9)) == [("gpu0", 4), ("gpu1", 4), ("gpu0#2", 4)]
    one = TWO_GPUS._replace(gpus=roomy[:1])
    assert shared(places(LINEAR, range(9)), one) == [("gpu0", 4)], "more seeds of it would only share the time"
    for card in (roomy[0]._replace(seats=1), roomy[0]._replace(memory=None), roomy[0]._replace(memory=2 * gib)):
        assert shared(queue, TWO_GPUS._replace(gpus=(card,))) == [("gpu0", 4)]
    large = [*places(WIDE, range(4)), *places(Configuration(Network((4096,), "relu")), range(4))]
    tight = roomy[0]._replace(memory=7 * gib // 2)
    assert shared(large, TWO_GPUS._replace(gpus=(tight,))) == [("gpu0", 4), ("gpu0#2", 3)], "as many as still fit"
    plain = [*places(Configuration(Network(), Training(trainer="keras-fit")), range(1)), *queue]
    assert shared(plain, one) == [("keras-fit", 1)], "TensorFlow has its card for itself"
    assert shared([*queue[:4], *plain[:1]], one) == [("gpu0", 4)]


def test_a_group_goes_on_with_the_lanes_it_had():
    queue = places(LINEAR, range(9))
    before = {run.run_id: "gpu0-a" if run.spec.seed < 3 else "gpu1-b" for run in queue[:5]}

    def seeds(*waiting: int, machine: Machine = TWO_GPUS) -> list[int]:
        row = WaitingList([queue[seed] for seed in waiting])
        group = next_group(row, machine, SHAPE, (), {}, {}, before)
        return [run.spec.seed for run in group[1]] if group else []

    assert seeds(*range(9)) == [0, 1, 2], "as many as before, not more"
    assert seeds(3, 4, 5, 6) == [3, 4]
    assert seeds(5, 0, 6, 7, 8, 1) == [5, 6, 7, 8], "new ones begin by themselves"
    assert seeds(0, 1, 2, machine=TWO_GPUS._replace(lanes=2)) == [0, 1], "fewer where more do not fit"
    six = {run.run_id: "gpu0-a" for run in queue[:6]}
    group = next_group(WaitingList(queue[:6]), TWO_GPUS._replace(lanes=10), SHAPE, (), {}, {}, six)
    assert group is not None and len(group[1]) == 6, "though two cards would share as many new ones"


def test_paused_runs_are_passed_over_and_little_memory_means_fewer_workers():
    paused = [p.WaitingRun(run.run_id, run.spec, "s", "t", paused=True) for run in places(WIDE, range(1))]
    assert spread([*paused, *places(LINEAR, range(2))], Machine((0, 1), 2 * 2**30)) == [("core0", 1)]


def test_plain_fit_has_a_slot_of_its_own_kind():
    plain = Configuration(Network(), Training(trainer="keras-fit"))
    assert spread(places(plain, range(2)), TWO_GPUS) == [("keras-fit", 1)]


def test_forecasts_follow_what_was_measured():
    hidden = Configuration(Network((256,), "relu"), Training(epochs=10))
    before = Forecast((), 50_000, SHAPE).run_seconds(hidden)
    assert 1 < before < 60
    measured = EpochTimes(())
    for seconds in (9.0, 0.5, 0.51, 0.49):  # the first is an outlier
        measured.add(p.EpochTime(hidden, 50_000, seconds))
    for times in (measured.times, measured.medians):
        after = Forecast(times, 50_000, SHAPE)
        assert after.run_seconds(hidden) == pytest.approx(1 + 10 * 0.5, rel=0.2)
        assert Forecast(times, 5_000, SHAPE).run_seconds(hidden) == pytest.approx(1 + 0.5, rel=0.2)
    larger = after.epoch_seconds(WIDE)
    assert 1.5 < larger < 3.0, "an unknown network is scaled from the nearest known one"
    assert (len(measured.times), len(measured.medians)) == (4, 1)
    for seconds in (0.5, 0.6):
        measured.add(p.EpochTime(hidden, 50_000, seconds))
    assert [time.seconds for time in EpochTimes(measured.times).times] == [0.5, 0.51, 0.49, 0.5, 0.6]
    for units in range(1, 2 * forecast.KINDS):
        measured.add(p.EpochTime(Configuration(Network((units,), "relu")), 50_000, 0.1))
    assert len(measured.medians) == forecast.KINDS, "a grid of thousands of networks does not fill every message"


def test_a_forecast_is_of_the_cards_that_train_and_of_as_many_lanes():
    hidden, other = Configuration(Network((256,), "relu")), Configuration(Network((512,), "relu"))
    fast, slow = "gpu NVIDIA H100", "gpu Tesla T4"
    times = [
        p.EpochTime(hidden, 50_000, seconds, device, lanes=lanes)
        for seconds, device, lanes in (
            (9.0, "core", 1),
            (0.4, fast, 1),
            (0.1, fast, 10),
            (1.2, slow, 1),
            (0.3, slow, 10),
        )
    ]

    def seconds(runs: int, *devices: str) -> float:
        return Forecast(times, 50_000, SHAPE, devices).epoch_seconds(hidden, runs)

    assert [seconds(runs, fast) for runs in (1, 8, 30)] == [0.4, 0.1, 0.1]
    assert seconds(10, slow) == 0.3
    assert seconds(10, fast, slow) == pytest.approx(0.15), "of the whole machine: a worker of each kind at a time"
    assert seconds(1, "cpu") == 9.0
    assert seconds(10) == seconds(10, "gpu of another box") == 0.3, "else what was measured last"
    forecast = Forecast(times, 50_000, SHAPE, [fast])
    assert forecast.epoch_seconds(other, 10) == pytest.approx(forecast.epoch_seconds(other, 1) / 4)
    assert forecast.total_seconds([hidden] * 10) == pytest.approx(10 * (1 + 100 * 0.1))
    measured = EpochTimes(times)
    assert len(measured.medians) == 5


def measured(machine: Machine, configuration: Configuration, *rates: float) -> Machine:
    """Return a machine on which runs of 1, 2, 4, ... cores train so many batches a second, all of them together."""
    by_cores = {2**index: rate for index, rate in enumerate(rates)}
    return machine._replace(measured={size_class(trainable_parameters(configuration.network, SHAPE)): by_cores})


def test_where_it_was_measured_a_run_takes_the_cores_that_proved_best():
    eight = Machine(tuple(range(8)), 64 * 2**30)
    wide_on_two = measured(eight, WIDE, 700, 1000, 900, 800)
    queue = places(WIDE, range(8))
    assert spread(queue, eight) == [("cpu", 1)]
    assert spread(queue, wide_on_two) == [("cores0-1", 1), ("cores2-3", 1), ("cores4-5", 1), ("cores6-7", 1)]
    assert spread(queue, measured(eight, WIDE, 750, 840, 820, 800)) == [("cpu", 1)], "little is gained"
    assert spread(queue, wide_on_two._replace(memory=4 * 10**9)) == [("cores0-3", 1), ("cores4-7", 1)], "room for two"
    assert spread(queue, wide_on_two._replace(cores=(3,))) == [("cpu", 1)]
    mixed = [*queue[:2], *places(LINEAR, range(9))]
    assert [name for name, _ in spread(mixed, wide_on_two)][:3] == ["cores0-1", "cores2-3", "core4"]


def test_few_runs_take_more_cores_each_than_many_and_fill_the_machine():
    """256 units: one core each, side by side, is best while there are runs for all cores."""
    middle = Configuration(Network((256,), "relu"))
    two = measured(TWO_CORES, middle, 3600, 3000)
    assert spread(places(middle, range(10)), two) == [("core0", 1), ("core1", 1)]
    assert spread(places(middle, range(1)), two) == [("cpu", 1)], "or one of two cores would be idle"
    assert spread(places(middle, range(3)), two) == [("core0", 1), ("core1", 1)], "the last one then has both"
    eight = measured(Machine(tuple(range(8)), 64 * 2**30), middle, 800, 780, 700, 400)
    assert [name for name, _ in spread(places(middle, range(3)), eight)] == ["cores0-1", "cores2-3", "cores4-5"]
    assert len(spread(places(middle, range(20)), eight)) == 8
    many = measured(Machine(tuple(range(64)), 2**38), middle, 70e3, 66e3, 60e3, 45e3, 25e3, 9e3, 3e3)
    assert [name for name, _ in spread(places(middle, range(10)), many)][:2] == ["cores0-3", "cores4-7"]
    assert len(spread(places(middle, range(100)), many)) == 64
    bound_by_memory = measured(Machine(tuple(range(64)), 2**38), WIDE, 5e3, 9e3, 16e3, 25e3, 24e3, 20e3, 12e3)
    assert len(spread(places(WIDE, range(100)), bound_by_memory)) == 8


@pytest.mark.parametrize("cores", [2, 6, 64])
def test_of_many_runs_only_those_left_at_the_end_count(cores: int, monkeypatch: pytest.MonkeyPatch):
    """The number of those that wait makes a decision no slower: a hundred thousand are looked at like some hundred."""
    rates = {count: 10 * (cores // count) ** 0.1 for count in (1, 2, 4) if count <= cores}
    machine = Machine(tuple(range(cores)), 2**50, measured={size_class(trainable_parameters(Network(), SHAPE)): rates})
    numbers = range(7 * cores, 8 * cores)
    chosen = [core_choice.cores_of(LINEAR, machine, SHAPE, runs) for runs in numbers]
    assert max(core_choice._few(100_000 + runs, cores) for runs in numbers) <= core_choice.FEW * cores
    monkeypatch.setattr(core_choice, "_few", lambda runs, cores: runs)
    assert [core_choice.cores_of(LINEAR, machine, SHAPE, runs) for runs in numbers] == chosen


def test_a_run_waits_for_no_more_cores_while_fewer_are_idle():
    """Five runs would take two cores each; four that began with one each are so spread that no pair is left."""
    middle = Configuration(Network((256,), "relu"))
    eight = measured(Machine(tuple(range(8)), 64 * 2**30), middle, 800, 780, 700, 400)
    busy = [Slot(f"core{core}", (core,)) for core in (0, 2, 4, 6)]
    group = next_group(WaitingList(places(middle, range(1))), eight, SHAPE, busy)
    assert group is not None and group[0].name == "core1"
    pairs = next_group(WaitingList(places(middle, range(1))), eight, SHAPE, busy[:2])
    assert pairs is not None and pairs[0].name == "cores4-5"


def test_cores_that_others_keep_busy_are_left_to_them():
    """Threads of one run wait for each other, so it takes no more than are free; alone on a core it loses its share."""
    eight = Machine(tuple(range(8)), 64 * 2**30)
    busy = eight._replace(load={0: 1.0, 1: 0.9, 6: 0.6, 7: 0.1})
    assert spread(places(WIDE, range(2)), eight) == [("cpu", 1)]
    assert spread(places(WIDE, range(2)), busy) == [("cores4-7", 1), ("cores0-3", 1)], "the emptier half first"
    assert spread(places(WIDE, range(2)), measured(busy, WIDE, 100, 300, 600, 900)) == [
        ("cores4-7", 1),
        ("cores0-3", 1),
    ]
    assert [name for name, _ in spread(places(LINEAR, range(9)), busy)][-3:] == ["core0", "core1", "core6"]
    assert spread(places(WIDE, range(2)), TWO_CORES._replace(load={0: 0.6})) == [("core1", 1), ("core0", 1)]
    assert spread(places(WIDE, range(1)), TWO_CORES._replace(load={0: 0.2, 1: 0.2})) == [("cpu", 1)]
    assert spread(places(WIDE, range(1)), TWO_CORES._replace(load={0: 1.0, 1: 1.0})) == [("core0", 1)]


async def test_a_size_is_measured_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a busy machine nothing can be measured: then it is placed as usual, and nothing waits either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    machine = devices.machine()._replace(gpus=())
    ended = asyncio.Event()
    arrangement = Arrangement(machine, ended.set)
    middle = Configuration(Network((128,), "relu"))
    if not arrangement.is_open(middle, SHAPE):
        pytest.skip("one core, or no compiler")
    assert arrangement.is_open(middle, SHAPE), "nothing trains meanwhile"
    await asyncio.wait_for(ended.wait(), 120)
    assert not arrangement.is_open(middle, SHAPE)
    if arrangement.machine.measured:
        assert Arrangement(machine, ended.set).machine == arrangement.machine
        assert all(len(machine.cores) in rates and 1 in rates for rates in arrangement.machine.measured.values())


async def test_what_others_kept_from_being_measured_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    monkeypatch.setattr(build, "absence", lambda: None)

    async def busy(command: object) -> tool_process.Outcome:
        return tool_process.Outcome(0, b"{}", "")

    monkeypatch.setattr(tool_process, "run_beside", busy)
    ended = asyncio.Event()
    arrangement = Arrangement(Machine((0, 1), 64 * 2**30), ended.set)
    middle = Configuration(Network((128,), "relu"))
    assert arrangement.is_open(middle, SHAPE)
    await asyncio.wait_for(ended.wait(), 60)
    assert not arrangement.machine.measured
    assert not arrangement.is_open(middle, SHAPE), "it is placed as usual meanwhile"
    monkeypatch.setattr("engine.workers.arrangement.AGAIN_SECONDS", 0)
    assert arrangement.is_open(middle, SHAPE)
    await arrangement.close()


@pytest.mark.parametrize(
    "configuration",
    [
        LINEAR,
        Configuration(WIDE.network, Training(trainer="jax")),
        Configuration(WIDE.network, Training(optimizer="sgd")),
    ],
)
async def test_what_is_small_or_not_trained_natively_is_not_measured(configuration: Configuration):
    assert not Arrangement(TWO_CORES, lambda: None).is_open(configuration, SHAPE)
