"""What clusters do to jobs: however a worker ends, its runs go on elsewhere and end as in a local sweep."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from svhn_tui.client.state import State
from tests.slurm.cluster import Cluster
from tests.slurm.gpu_worker import ON_GPUS
from tests.support.bridge import Bridge
from tests.support.shared import made_once
from tests.training.test_training import EventLog, train, weights_of

pytestmark = pytest.mark.slow
FREQUENT = {"SVHN_TUI_CHECKPOINT_SECONDS": "0", **ON_GPUS}
EPOCHS = 100
CONFIGURATION = Configuration(Network((32,), "relu"), Training(epochs=EPOCHS))
Fault = Callable[[Cluster, Bridge], None]


@pytest.fixture(scope="module")
def local(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """The weights of the same sweep, trained without a cluster, by run."""

    def make(workspace: Path) -> None:
        train(workspace, demo_folder, CONFIGURATION, [0, 1], EventLog())

    workspace = made_once(tmp_path_factory, "local", make)
    return {path.parent.name: weights_of(workspace, path.parent.name) for path in workspace.glob("runs/*/result.json")}


def begin(bridge: Bridge, demo_folder: Path, options: str = "--gres=gpu:1") -> None:
    """Ask for the sweep through Slurm."""
    bridge.send(p.SetFleet(fleet=p.Fleet(slurm=options)))
    data = bridge.open(demo_folder)
    bridge.send(p.Submit(sweep=Sweep("faults", data.fingerprint, (CONFIGURATION,), (0, 1))))


def has_got_somewhere(state: State, event: p.AnyEvent) -> bool:
    """Each lane has a checkpoint of epoch 20: they are written one by one, before the next epoch is trained."""
    return isinstance(event, p.EpochEnded) and event.epoch > 20


def end(bridge: Bridge) -> None:
    """Wait for both runs, and end the host."""
    bridge.until(lambda state, event: len(state.results) == 2)
    bridge.end()


def assert_equal(workspace: Path, local: dict[str, list], state: State) -> None:
    assert set(state.results) == set(local)
    for run_id, weights in local.items():
        pairs = zip(weights_of(workspace, run_id), weights, strict=True)
        assert all(np.allclose(one, other, rtol=0, atol=1e-6) for one, other in pairs)


def job_of(bridge: Bridge) -> str:
    return next(worker.job for worker in bridge.state.workers.values() if worker.job)


def cancel(cluster: Cluster, bridge: Bridge) -> None:
    cluster.ask("scancel", job_of(bridge))


def kill_srun(cluster: Cluster, bridge: Bridge) -> None:
    host = psutil.Process(bridge.events[0].host_pid)
    (srun,) = [child for child in host.children() if child.name() == "srun"]
    srun.kill()


def lose_node(cluster: Cluster, bridge: Bridge) -> None:
    cluster.ask("scontrol", "update", f"nodename={cluster.node}", "state=down", "reason=test")
    cluster.ask("scontrol", "update", f"nodename={cluster.node}", "state=resume")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(cancel, "Cancelled in Slurm."), (lose_node, "Its node was lost."), (kill_srun, "")],
    ids=["scancel", "a lost node", "a broken pipe"],
)
def test_a_worker_that_slurm_takes_away_is_replaced_and_nothing_is_lost(
    cluster: Cluster, demo_folder: Path, tmp_path: Path, local: dict[str, list], fault: Fault, reason: str
):
    with Bridge(tmp_path, **cluster.environment, **FREQUENT) as bridge:
        begin(bridge, demo_folder)
        bridge.until(has_got_somewhere)
        fault(cluster, bridge)
        ended = bridge.until(lambda state, event: isinstance(event, p.WorkerChanged) and event.state == "ended")
        assert reason in ended.text
        again = bridge.until(lambda state, event: isinstance(event, p.RunStarted))
        assert again.epoch >= 20
        end(bridge)
    assert not [event for event in bridge.events if isinstance(event, p.RunFailed)]
    assert_equal(tmp_path, local, bridge.state)


def test_the_end_of_an_allocation_costs_nothing_but_another_one(
    cluster: Cluster, demo_folder: Path, tmp_path: Path, local: dict[str, list]
):
    options = "--gres=gpu:1 --time=1 --signal=TERM@55"
    with Bridge(tmp_path, **cluster.environment, **FREQUENT) as bridge:
        begin(bridge, demo_folder, options)
        bridge.until(has_got_somewhere)
        cluster.ask("scancel", "--signal=TERM", job_of(bridge))  # Slurm itself sends it within half a minute
        end(bridge)
    starts = [event.epoch for event in bridge.events if isinstance(event, p.RunStarted)]
    assert starts == sorted(starts)
    assert starts[-1] >= 20, "an allocation ended before the training did"
    assert not [event for event in bridge.events if isinstance(event, p.RunFailed)]
    assert_equal(tmp_path, local, bridge.state)


def test_slurmctld_is_killed_three_seconds_after_a_submit_and_comes_back(
    cluster: Cluster, demo_folder: Path, tmp_path: Path, local: dict[str, list]
):
    with Bridge(tmp_path, **cluster.environment, **FREQUENT) as bridge:
        begin(bridge, demo_folder)
        time.sleep(3)  # the moment is the fault
        cluster.kill_controller()
        cluster.start_controller()
        end(bridge)
    assert_equal(tmp_path, local, bridge.state)


def test_the_host_is_killed_its_jobs_end_and_the_next_host_goes_on(
    cluster: Cluster, demo_folder: Path, tmp_path: Path, local: dict[str, list]
):
    with Bridge(tmp_path, **cluster.environment, **FREQUENT) as bridge:
        begin(bridge, demo_folder)
        bridge.until(has_got_somewhere)
        job = job_of(bridge)
        os.kill(bridge.events[0].host_pid, signal.SIGKILL)
    with Bridge(tmp_path, **cluster.environment, **FREQUENT) as bridge:
        started = bridge.until(lambda state, event: isinstance(event, p.RunStarted))
        assert started.epoch >= 20
        assert job not in cluster.ask("squeue", "-h", "-o", "%i", "-t", "RUNNING").split()
        end(bridge)
    assert_equal(tmp_path, local, bridge.state)
