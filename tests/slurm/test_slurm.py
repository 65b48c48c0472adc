"""Training through a real Slurm, one node with two fake GPUs: the same results, whatever happens to the cluster."""

from pathlib import Path

import numpy as np
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.training.jax_trainer import FastTrainer
from svhn_tui import preset_file
from svhn_tui.analysis.progress import Overrides, sweep_for
from svhn_tui.client.state import State
from tests.slurm.cluster import Cluster
from tests.slurm.gpu_worker import ON_GPUS
from tests.support.bridge import Bridge
from tests.training.test_training import EventLog, train, weights_of

BOOK = preset_file.load(preset_file.find(Path("no workspace")))
ONE_GPU = "--gres=gpu:1"


@pytest.mark.slow
def test_the_whole_of_q9_trains_on_two_gpus_at_once(cluster: Cluster, demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **cluster.environment, **ON_GPUS) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm=ONE_GPU, workers=2)))
        data = bridge.open(demo_folder)
        sweep = sweep_for(BOOK.question("Q9"), BOOK, State(data=data), Overrides(epochs=1))
        endless = tuple(Configuration(Network((units,), "relu"), Training(epochs=100_000)) for units in (16, 24))
        bridge.send(p.Submit(sweep=Sweep("endless", data.fingerprint, endless, (0,))))
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: {run.worker for run in state.live.values()} == {"slurm0", "slurm1"})
        bridge.send(p.Cancel(runs=tuple(bridge.state.live)))  # both workers are there: each trains some of Q9
        while len(bridge.state.results) < 30:  # patient with a busy machine, as long as something happens
            bridge.until(lambda state, event: isinstance(event, p.EpochEnded | p.RunFinished))
        bridge.until(lambda state, event: all(worker.state == "ended" for worker in state.workers.values()))
        bridge.end()
    ready = {event.worker: event for event in bridge.events if isinstance(event, p.WorkerChanged) and event.device}
    assert {event.gpu for event in ready.values()} == {"0", "1"}, "Slurm gave each worker another GPU"
    assert {event.node for event in ready.values()} == {cluster.node}
    started = [event for event in bridge.events if isinstance(event, p.RunStarted)][2:]
    assert {event.worker for event in started} == {"slurm0", "slurm1"}
    assert [len(event.runs) for event in started] == [10, 10, 10], "on a GPU ten seeds train as one group"
    for configuration in sweep.configurations:
        log = EventLog()
        train(tmp_path / "local", demo_folder, configuration, [0], log, FastTrainer())  # JAX, as for ten lanes
        (local,) = (event.result for event in log.of(p.RunFinished))
        assert bridge.state.results[local.run_id].test_accuracy == local.test_accuracy
        pairs = zip(weights_of(tmp_path, local.run_id), weights_of(tmp_path / "local", local.run_id), strict=True)
        assert all(np.allclose(one, other, rtol=0, atol=1e-6) for one, other in pairs)


def test_what_slurm_refuses_is_said_once_and_tried_again(cluster: Cluster, demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **cluster.environment) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm="--partition=nowhere")))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("refused", data.fingerprint, (Configuration(),), (0,))))
        noticed = bridge.until_kind(p.Noticed)
        assert noticed.text.startswith("Slurm took no worker: Unable to allocate resources: Invalid partition name")
        assert "tried again" in noticed.text
        bridge.send(p.SetFleet(fleet=p.Fleet()))
        bridge.until(lambda state, event: len(state.results) == 1)
        assert {event.worker for event in bridge.events if isinstance(event, p.RunStarted)} == {"core0"}
        bridge.end()


def test_who_waits_in_slurms_queue_is_shown_with_the_reason_and_leaves_it_when_nothing_is_left(
    cluster: Cluster, demo_folder: Path, tmp_path: Path
):
    with Bridge(tmp_path, **cluster.environment, **ON_GPUS) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm="--gres=gpu:2 --time=5", workers=2)))
        data = bridge.open(demo_folder)
        networks = (Configuration(), Configuration(Network((16,), "relu"), Training(epochs=3000)))
        bridge.send(p.Submit(sweep=Sweep("waits", data.fingerprint, networks, (0,))))
        waits = bridge.until(lambda state, event: getattr(event, "text", "") == "the resources are in use")
        assert (waits.state, waits.job.isdigit()) == ("waiting", True)
        bridge.send(p.Cancel(runs=tuple(run.run_id for run in bridge.state.queue)))
        bridge.until(lambda state, event: state.workers[waits.worker].state == "ended")
        assert waits.job not in cluster.ask("squeue", "-h", "-o", "%i").split()
        bridge.end()
    assert not cluster.ask("squeue", "-h").strip(), "every allocation was given back"


@pytest.mark.slow
def test_a_host_started_inside_an_allocation_that_ended_gives_each_worker_a_job_of_its_own(
    cluster: Cluster, demo_folder: Path, tmp_path: Path
):
    printed = cluster.ask("salloc", "-Q", "-n1", "env")  # ends with `env`; what it set is what a shell in it passed on
    allocation = dict(
        line.split("=", 1) for line in printed.splitlines() if line.startswith(("SLURM", "SBATCH", "PMI"))
    )
    ended = allocation["SLURM_JOB_ID"]
    with Bridge(tmp_path, **{**allocation, **cluster.environment}) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm=ONE_GPU, workers=2)))
        data = bridge.open(demo_folder)
        long = Configuration(Network((32,), "relu"), Training(epochs=40))
        bridge.send(p.Submit(sweep=Sweep("own", data.fingerprint, (Configuration(), long), (0,))))
        bridge.until(lambda state, event: len(state.results) == 2)
        bridge.end()
    jobs = {event.job for event in bridge.events if isinstance(event, p.WorkerChanged) and event.job}
    assert jobs and ended not in jobs
    assert not [event for event in bridge.events if isinstance(event, p.Noticed) and "took no worker" in event.text]
