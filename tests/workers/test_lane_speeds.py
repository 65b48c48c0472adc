"""How many seeds a card trains side by side: ten, and as many more as proved to gain while they trained."""

from pathlib import Path

import pytest

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.machine import Card, Machine
from engine.core.spec import Configuration, Network, OwnModel, RunSpec, Training
from engine.machine import devices, system
from engine.scheduling.lanes import compared, fastest, group_bytes, lanes_on, next_lanes, room_on
from engine.scheduling.slot import Occupant, Slot
from engine.workers.lane_speeds import MOST_CONFIGURATIONS, LaneSpeeds
from engine.workers.process import Worker
from tests.support.made_up_pool import DIGITS, MadeUpPool, Process

GIB = 2**30
H100 = Card("GPU-a", "gpu0", "NVIDIA H100", 80 * GIB)
ONE = Machine((0, 1), 64 * GIB, gpus=(H100,))
TWO = ONE._replace(gpus=(H100, H100._replace(uuid="GPU-b", label="gpu1")))
LINEAR, HIDDEN = Configuration(), Configuration(Network((64,), "relu"))
OWN = Configuration(Network(model=OwnModel("a" * 64, "build")))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(devices.LANES_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("rates", "lanes"),
    [({}, 10), ({10: 10.0, 20: 10.5}, 10), ({10: 10.0, 20: 15.0, 40: 15.5}, 40), ({10: 10.0, 20: 15.0, 40: 9.0}, 20),
     ({10: 1.0, 20: 0.0}, 10)],
)  # fmt: skip
def test_a_card_trains_as_many_seeds_as_proved_fastest(rates: dict[int, float], lanes: int):
    assert fastest(rates, 10) == lanes


@pytest.mark.parametrize(
    ("rates", "own", "waiting", "lanes"),
    [
        ({}, {}, 99, 10),
        ({}, {10: 3.0}, 20, 20),
        ({}, {10: 3.0}, 19, 10),
        ({10: 1, 20: 1.5}, {20: 4.0}, 40, 40),
        ({10: 1, 20: 1.5}, {10: 3.0}, 40, 20),
        ({10: 1, 20: 1.5}, {20: 4.0}, 39, 20),
        ({10: 1, 20: 1.05}, {10: 3.0, 20: 3.2}, 99, 10),
        ({10: 1, 20: 1.5, 40: 2.0}, {40: 9.0}, 99, 40),
    ],
    ids=["ten first", "enough wait", "too few wait", "one step more", "first what proved best, to compare", "not forty",
         "twenty gained little", "no more than forty"],
)  # fmt: skip
def test_twice_as_many_are_tried_where_enough_wait(
    rates: dict[int, float], own: dict[int, float], waiting: int, lanes: int
):
    assert next_lanes(rates, own, 10, waiting) == lanes


def test_each_number_of_lanes_is_compared_with_half_as_many_of_the_same_configuration():
    assert compared({}, {10: 3.0}, 10) == {10: 1.0}
    assert compared({}, {10: 3.0, 20: 4.5}, 10) == {10: 1.0, 20: 1.5}
    assert compared({10: 1.0, 20: 1.5}, {20: 8.0, 40: 10.0}, 10) == {10: 1.0, 20: 1.5, 40: 1.875}
    assert compared({}, {20: 8.0, 40: 10.0}, 10) == {10: 1.0}, "what twenty gain over ten is not known"


def test_a_card_trains_no_more_than_fit_and_half_as_many_where_twice_as_many_do_not():
    def lanes(wanted: int, fit: int) -> int:
        card = H100._replace(memory=1_200_000_000 + fit * 24 * 30_730)
        return lanes_on(card, ONE._replace(wanted_lanes={"NVIDIA H100": wanted}), LINEAR, ASSIGNMENT)

    assert [lanes(*some) for some in ((10, 3), (40, 40), (40, 39), (40, 13), (20, 3), (10, 0))] == [3, 40, 20, 10, 3, 1]
    assert lanes_on(H100._replace(kind="Tesla T4"), ONE._replace(wanted_lanes={"NVIDIA H100": 40}), LINEAR,
                    ASSIGNMENT) == 10, "of another kind nothing is known"  # fmt: skip


def test_an_own_model_trains_on_a_card_by_itself_since_its_memory_is_not_known():
    assert lanes_on(H100, ONE, OWN, ASSIGNMENT) == 10
    seats = H100._replace(seats=2)
    assert group_bytes(OWN, 1, ASSIGNMENT) is None
    assert room_on(seats, [], OWN, ASSIGNMENT) == 80 * GIB
    assert room_on(seats, [Occupant(LINEAR, 10)], HIDDEN, ASSIGNMENT)
    assert room_on(seats, [Occupant(LINEAR, 10)], OWN, ASSIGNMENT) is None
    assert room_on(seats, [Occupant(OWN, 10)], LINEAR, ASSIGNMENT) is None


def test_what_was_measured_counts_for_all_networks_of_the_size_and_is_kept_for_the_version_of_jax(
    monkeypatch: pytest.MonkeyPatch,
):
    def trained(speeds: LaneSpeeds, configuration: Configuration, *seconds: tuple[int, float]) -> LaneSpeeds:
        for lanes, some in seconds:
            speeds.add("NVIDIA H100", configuration, DIGITS, lanes, some)
        return speeds

    def wanted(speeds: LaneSpeeds, configuration: Configuration = LINEAR, kind: str = "NVIDIA H100") -> int:
        return speeds.wanted(kind, configuration, DIGITS, 99)

    speeds = trained(LaneSpeeds(10), LINEAR, (10, 9.0), (10, 1.0), (10, 2.0), (20, 1.2))
    trained(speeds, LINEAR, (20, 9.0))
    assert wanted(speeds) == 40, "to compare; an epoch that others made slow counts for nothing"
    trained(speeds, LINEAR, (40, 2.5))
    assert wanted(speeds) == 20
    other = Configuration(Network(), Training(learning_rate=0.5, batch_size=64))
    assert wanted(speeds, other) == 20, "of the same size"
    assert (wanted(speeds, HIDDEN), wanted(speeds, LINEAR, "Tesla T4"), wanted(speeds, OWN)) == (10, 10, 10)
    assert wanted(LaneSpeeds(10)) == 20, "another host, or workspace"
    for _ in range(MOST_CONFIGURATIONS):
        trained(speeds, Configuration(Network((3 + _,), "relu")), (10, 1.0))
    assert len(speeds._by_configuration) == MOST_CONFIGURATIONS
    monkeypatch.setattr(system, "version", lambda package: "another")
    assert wanted(LaneSpeeds(10)) == 10


def test_what_says_nothing_of_lanes_is_not_measured():
    speeds = LaneSpeeds(10)
    plain = Configuration(Network(), Training(trainer="keras-fit"))
    for kind, configuration, lanes, seconds in (("", LINEAR, 10, 1.0), ("a", plain, 10, 1.0), ("a", LINEAR, 13, 1.0),
                                                ("a", LINEAR, 10, 0.0), ("a", OWN, 10, 1.0)):  # fmt: skip
        speeds.add(kind, configuration, DIGITS, lanes, seconds)
    assert not speeds._by_configuration


def test_who_sets_the_lanes_gets_as_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(devices.LANES_VARIABLE, "10")
    speeds = LaneSpeeds(10)
    speeds.add("a", LINEAR, DIGITS, 10, 1.0)
    assert (speeds.wanted("a", LINEAR, DIGITS, 99), speeds.most) == (10, 10)


async def test_no_card_waits_for_a_measurement_and_later_groups_have_as_many_lanes_as_proved_best(tmp_path: Path):
    box = MadeUpPool(tmp_path, TWO)
    box.want(LINEAR, range(59))
    box.ready()
    assert box.training == {"gpu0": 10, "gpu1": 10}, "both cards at once"
    box.finish("gpu0", 1.0)
    assert box.training == {"gpu0": 10, "gpu1": 10}, "less than twenty wait for each card"
    box.want(LINEAR, range(170))
    box.finish("gpu0", 1.0)
    assert box.training == {"gpu0": 20, "gpu1": 10}
    box.epoch("gpu0", 1.2)
    box.finish("gpu1", 1.0)
    assert box.training == {"gpu0": 20, "gpu1": 40}
    box.epoch("gpu1", 2.5)
    box.finish("gpu0", 1.2)
    assert box.training == {"gpu0": 20, "gpu1": 40}, "forty are no faster than twenty"
    await box.dispatch.leave()


async def test_jax_may_name_a_card_differently_than_nvml(tmp_path: Path):
    speeds = LaneSpeeds(10)
    for lanes, seconds in ((10, 1.0), (20, 1.2)):
        speeds.add("NVIDIA H100", LINEAR, DIGITS, lanes, seconds)
    box = MadeUpPool(tmp_path, ONE)
    box.want(LINEAR, range(100))
    box.ready("gpu NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    assert box.training == {"gpu0": 20}, "what was known before"
    box.finish("gpu0", 1.2)
    assert box.training == {"gpu0": 40}, "what was measured now"
    await box.dispatch.leave()


async def test_a_group_that_shares_its_card_measures_nothing(tmp_path: Path):
    shared = ONE._replace(gpus=(H100._replace(seats=2),))
    box = MadeUpPool(tmp_path, shared)
    box.want(LINEAR, range(60))
    box.ready()
    box.want(HIDDEN, range(10))
    box.queue.move([run.run_id for run in box.queue.waiting if run.spec.configuration == HIDDEN], 0)
    box.ready()
    box.ready()
    assert box.training == {"gpu0": 10, "gpu0#2": 10}
    box.epoch("gpu0", 1.0)
    assert not box.dispatch._lanes.speeds._by_configuration
    box.finish("gpu0#2", 1.0)
    box.epoch("gpu0", 1.0, 2)
    assert [*box.dispatch._lanes.speeds._by_configuration.values()] == [{10: 10.0}]
    await box.dispatch.leave()


async def test_a_group_that_began_with_other_lanes_continues_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    box = MadeUpPool(tmp_path, ONE)
    specs = [RunSpec(LINEAR, seed, DIGITS.fingerprint) for seed in range(60)]
    box.queue.groups |= {spec.run_id: "gpu0-before" for spec in specs[:20]}
    box.want(LINEAR, range(60))
    box.ready()
    assert box.training == {"gpu0": 20}
    box.finish("gpu0", 1.0)
    assert box.training == {"gpu0": 10}
    await box.dispatch.leave()


async def test_workers_elsewhere_train_as_many_as_their_kind_of_card_proved_to(tmp_path: Path):
    speeds = LaneSpeeds(10)
    for lanes, seconds in ((10, 1.0), (20, 1.2), (40, 1.5)):
        speeds.add("NVIDIA H100", LINEAR, DIGITS, lanes, seconds)
    box = MadeUpPool(tmp_path, Machine((0, 1), 64 * GIB))
    box.dispatch.fleet = p.Fleet(slurm="--gres=gpu:1", workers=2)
    box.want(LINEAR, range(70))
    assert [slot.name for slot in box.started] == ["slurm0", "slurm1"]
    box.ready("gpu NVIDIA H100")
    assert box.training == {"slurm0": 35, "slurm1": 35}, "the other job gets its share"
    await box.dispatch.leave()


@pytest.mark.parametrize(("device", "lanes"), [("gpu Tesla T4", 10), ("cpu", 1)])
async def test_of_a_worker_elsewhere_without_figures_or_card_less_is_asked(tmp_path: Path, device: str, lanes: int):
    box = MadeUpPool(tmp_path, Machine((0, 1), 64 * GIB))
    box.dispatch.fleet = p.Fleet(slurm="--gres=gpu:1", workers=1)
    box.want(LINEAR, range(70))
    box.ready(device)
    assert box.training == {"slurm0": lanes}
    await box.dispatch.leave()


async def test_a_group_in_which_some_have_ended_measures_nothing_and_what_did_not_fit_counts_elsewhere(tmp_path: Path):
    box = MadeUpPool(tmp_path, Machine((0, 1), 64 * GIB))
    box.dispatch.fleet = p.Fleet(slurm="--gres=gpu:1", workers=1)
    box.queue.retries.ran_out(LINEAR, 40)
    box.queue.groups |= {RunSpec(LINEAR, seed, DIGITS.fingerprint).run_id: "gpu0-before" for seed in range(40)}
    box.want(LINEAR, range(40))
    box.ready("gpu NVIDIA H100")
    assert box.training == {"slurm0": 20}
    worker = box.worker("slurm0")
    worker.training -= set(sorted(worker.training)[:10])
    box.epoch("slurm0", 1.0)
    assert not box.dispatch._lanes.speeds._by_configuration
    await box.dispatch.leave()


def test_a_worker_on_the_cpu_has_no_gpu_whatever_it_was_given(tmp_path: Path):
    worker = Worker(Slot("slurm0", slurm=()), Process(), tmp_path / "log")
    for device, gpu, has_gpu in (("", "0", True), ("", "", False), ("cpu", "0", False), ("gpu Tesla T4", "", True)):
        worker.changed = p.WorkerChanged(worker="slurm0", state="ready", device=device, gpu=gpu)
        assert worker.has_gpu == has_gpu
