"""The engine as real processes: what is asked for is trained once, and nothing that dies takes it along."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.core.sweep import FinalistRule, Sweep
from engine.storage import checkpoint
from tests.host.test_stages import worker
from tests.support.bridge import Bridge, worker_pids
from tests.support.epochs import losses
from tests.support.patience import PATIENCE
from tests.training.test_training import EventLog, train, weights_of

FREQUENT = {"SVHN_TUI_CHECKPOINT_SECONDS": "0"}
SMALL = Network((32,), "relu")


def sweep_of(data: p.DataSet, *, epochs: int = 3, seeds: int = 1, networks: tuple[Network, ...] = (SMALL,)) -> Sweep:
    configurations = tuple(Configuration(network, Training(epochs=epochs)) for network in networks)
    return Sweep("test", data.fingerprint, configurations, tuple(range(seeds)))


def test_a_sweep_is_trained_once_however_often_it_is_asked_for(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path) as first, Bridge(tmp_path) as second:
        sweep = sweep_of(first.open(demo_folder), seeds=3)
        second.until(lambda state, event: state.data is not None)
        for bridge in (first, second, first):
            bridge.send(p.Submit(sweep=sweep))
        for bridge in (first, second):
            bridge.until(lambda state, event: len(state.results) == 3)
        assert first.state.results == second.state.results
        assert sum(isinstance(event, p.RunStarted) for event in second.events) == 3
        first.send(p.Submit(sweep=sweep, request="again"))
        again = first.until(lambda state, event: getattr(event, "request", "") == "again")
        assert again.missing == ()
    with Bridge(tmp_path) as later:
        later.until_kind(p.CaughtUp)
        assert later.state.results == first.state.results
        later.end()


def test_a_second_stage_is_begun_by_the_host_alone(demo_folder: Path, tmp_path: Path):
    networks = (SMALL, Network((16,), "relu"), Network())
    with Bridge(tmp_path, **worker()) as bridge:
        data = bridge.open(demo_folder)
        first = sweep_of(data, seeds=2, networks=networks, epochs=2)
        rule = FinalistRule((0, 1, 2), at_least=1, at_most=1)
        bridge.send(p.Submit(sweep=Sweep(first.title, first.data, first.configurations, first.seeds, rule)))
        bridge.until_kind(p.SweepSubmitted)
        host = bridge.state
    psutil.Process(bridge.events[0].host_pid).wait(PATIENCE)  # nobody is attached; it ends when all is trained
    with Bridge(tmp_path) as bridge:
        bridge.until_kind(p.CaughtUp)
        seeds = [run.spec.seed for run in bridge.state.results.values()]
        assert sorted(seeds) == [0, 0, 0, 1, 1, 1, 2]
        bridge.end()
    assert host.caught_up


def test_pause_holds_resume_goes_on_and_cancel_takes_out(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **FREQUENT) as bridge:
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=sweep_of(data, epochs=20_000, seeds=1)))
        started = bridge.until_kind(p.EpochEnded)
        bridge.send(p.Pause(runs=started.runs))
        paused = bridge.until_kind(p.RunPaused)
        assert paused.run_id == started.runs[0]
        bridge.send(p.Resume())
        again = bridge.until(
            lambda state, event: isinstance(event, p.RunStarted) and event.runs == started.runs and event.epoch > 0
        )
        assert again.epoch == paused.epoch
        sweep = sweep_of(data, epochs=20_000, seeds=6)
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: len(state.queue) > 2)
        waiting = bridge.state.queue[-1].run_id
        bridge.send(p.Reprioritise(runs=(waiting,), index=0))
        bridge.until(lambda state, event: isinstance(event, p.RunsQueued) and state.queue[0].run_id == waiting)
        bridge.send(p.Cancel(runs=tuple(spec.run_id for spec in runs_of(sweep))))
        bridge.until(lambda state, event: not state.running and not state.queue)
        assert not bridge.state.results
        bridge.end()


def runs_of(sweep: Sweep) -> list[RunSpec]:
    return [RunSpec(some, seed, sweep.data) for some in sweep.configurations for seed in sweep.seeds]


@pytest.mark.parametrize("victim", ["worker", "host"])
def test_a_run_survives_kill_9_and_ends_as_if_nothing_had_happened(demo_folder: Path, tmp_path: Path, victim: str):
    workspace = tmp_path / "killed"
    with Bridge(workspace, **FREQUENT) as bridge:
        sweep = sweep_of(bridge.open(demo_folder), epochs=60)
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: isinstance(event, p.CheckpointSaved) and event.epoch >= 20)
        pids = worker_pids(bridge.state)
        os.kill(pids[0] if victim == "worker" else bridge.events[0].host_pid, signal.SIGKILL)
        if victim == "worker":
            resumed = bridge.until(lambda state, event: isinstance(event, p.RunStarted) and event.epoch > 0)
            assert resumed.epoch >= 20
            bridge.until(lambda state, event: bool(state.results))
            bridge.end()
    if victim == "host":
        psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=PATIENCE)
        assert not any(psutil.pid_exists(pid) for pid in pids), "a worker whose host died ends by itself"
        with Bridge(workspace, **FREQUENT) as bridge:
            bridge.until(lambda state, event: bool(state.results))
            starts = [event for event in bridge.events if isinstance(event, p.RunStarted)]
            assert all(event.epoch >= 20 for event in starts)
            bridge.end()
    (run_id,) = bridge.state.results
    assert checkpoint.load(workspace / "runs" / run_id) is None
    configuration = sweep.configurations[0]
    train(tmp_path / "whole", demo_folder, configuration, [0], EventLog())
    pairs = zip(weights_of(workspace, run_id), weights_of(tmp_path / "whole", run_id), strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)


@pytest.mark.slow
def test_keras_fit_trains_in_a_worker_of_its_own_and_resumes(demo_folder: Path, tmp_path: Path):
    configuration = Configuration(SMALL, Training(epochs=3, trainer="keras-fit"))
    with Bridge(tmp_path) as bridge:
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("test", data.fingerprint, (configuration,), (0,))))
        ended = bridge.until_kind(p.EpochEnded)
        bridge.send(p.Pause(runs=ended.runs))
        paused = bridge.until(lambda state, event: isinstance(event, p.RunPaused | p.RunFinished))
        bridge.send(p.Resume())
        bridge.until(lambda state, event: len(state.results) == 1)
        starts = [event.epoch for event in bridge.events if isinstance(event, p.RunStarted)]
        assert starts == ([0, paused.epoch] if isinstance(paused, p.RunPaused) else [0])
        bridge.end()
    (run,) = bridge.state.results.values()
    assert (run.trained_by, "tensorflow" in run.versions) == ("keras-fit", True)
    assert bridge.state.history(run.run_id).epochs == 3
    assert [array.shape for array in weights_of(tmp_path, run.run_id)] == [(3072, 32), (32,), (32, 10), (10,)]


def test_who_attaches_later_sees_the_whole_curve(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path) as first:
        first.send(p.Submit(sweep=sweep_of(first.open(demo_folder), epochs=2_000)))
        first.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch >= 20)
        first.process.kill()  # as the terminal does
        with Bridge(tmp_path) as second:
            second.until_kind(p.CaughtUp)
            (live,) = second.state.running.values()
            assert live.history.epochs >= 20
            assert None not in losses(live.history)
            second.end()


def test_nothing_that_a_client_says_harms_the_host(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **worker()) as bridge:
        data = bridge.open(demo_folder)
        for garbage in (
            b"\n",
            b"{}\n",
            b"\xff\xfe\n",
            b"[" * 10_000 + b"\n",
            b'{"kind":"Fly"}\n',
            b'{"kind":"Watch"}\n',
        ):
            bridge.write(garbage)
            assert "Not a command" in bridge.until_kind(p.Refused).reason
        bridge.send(p.Watch(runs=("../../etc",)))
        assert "twelve hexadecimal digits" in bridge.until_kind(p.Refused).reason
        bridge.send(p.Submit(sweep=Sweep("x", "unknown", (Configuration(),), (0,))))
        assert "open it first" in bridge.until_kind(p.Refused).reason
        bridge.send(p.OpenData(source=(str(tmp_path / "nowhere"),)))
        assert "is not there; give the folder" in bridge.until_kind(p.Refused).reason
        assert bridge.open(demo_folder) == data
        bridge.end()


def test_notes_choices_and_the_trash_are_kept(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **worker()) as bridge:
        sweep = sweep_of(bridge.open(demo_folder), seeds=2, epochs=1)
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: len(state.results) == 2)
        kept, gone = sorted(bridge.state.results)
        bridge.send(p.Annotate(run_id=kept, text="[/x] \x1b[31m", tags=("final",)))
        bridge.send(p.Choose(question="Q2", run_id=kept))
        bridge.send(p.Delete(runs=(gone,)))
        bridge.until_kind(p.RunDeleted)
        bridge.end()
    with Bridge(tmp_path) as bridge:
        bridge.until_kind(p.CaughtUp)
        assert set(bridge.state.results) == {kept}
        assert bridge.state.notes[kept].tags == ("final",)
        assert bridge.state.choices == {"Q2": kept}
        bridge.send(p.Restore(runs=(gone,)))
        bridge.until(lambda state, event: len(state.results) == 2)
        bridge.end()


def test_a_damaged_index_is_set_aside_and_rebuilt(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path, **worker()) as bridge:
        bridge.send(p.Submit(sweep=sweep_of(bridge.open(demo_folder), epochs=1)))
        bridge.until(lambda state, event: len(state.results) == 1)
        bridge.end()
    for number, damage in enumerate((b"", b"{", b'{"runs":[1]}'), start=1):
        (tmp_path / "runs.json").write_bytes(damage)
        with Bridge(tmp_path) as again:
            again.until_kind(p.CaughtUp)
            assert again.state.results == bridge.state.results
            assert f"set aside as runs.json.damaged-{number}" in again.state.notices[0].text
            again.end()
