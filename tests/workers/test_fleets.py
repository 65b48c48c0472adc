"""Where workers run: what is refused, and the command lines that start workers elsewhere."""

import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.core.sweep import Sweep
from engine.protocol import Fleet
from engine.scheduling.slot import Slot
from engine.scheduling.waiting_list import WaitingList
from engine.storage.workspace import HostState
from engine.workers import fleet as fleets
from engine.workers import user_config
from tests.support.bridge import Bridge
from tests.support.paced_worker import PACED
from tests.support.patience import PATIENCE

WORKER = ("python", "-m", "engine.training.worker", "--name", "slurm0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", []),
        ("--partition=gpu --gres=gpu:1 --time=4:00:00", ["--partition=gpu", "--gres=gpu:1", "--time=4:00:00"]),
        ("-p gpu -Qt 10 --exclusive", ["-p", "gpu", "-Qt", "10", "--exclusive"]),
        ("--comment='a b; $(c)'", ["--comment=a b; $(c)"]),
    ],
)
def test_options_of_srun_are_taken_as_they_are_typed(options: str, words: list[str]):
    (slot,) = fleets.slots(Fleet(slurm=options))
    line = fleets.command_line(slot, WORKER, job_name="svhn-1")
    assert line == ["srun", "-Q", "--unbuffered", "-n1", *words, "--job-name=svhn-1", *WORKER]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--output=x", "--output"), ("-o x", "--output"), ("-uo x", "--output"), ("--out x", "--output"),
        ("--pty", "--pty"), ("-l", "--label"), ("--label", "--label"), ("-i none", "--input"), ("-n 2", "--ntasks"),
        ("--ntasks=4", "--ntasks"), ("--job-name=x", "--job-name"), ("--test-only", "--test-only"),
        ("bash -c evil", "'bash' is not an option"), ("--gres=gpu:1 bash", "'bash' is not an option"),
        ("--time 5 bash", "'bash' is not an option"), ("-- bash", "'--' is not an option"),
        ("--comment='x", "cannot be read"),
    ],
)  # fmt: skip
def test_options_that_would_break_the_pipe_are_refused_in_a_sentence(options: str, why: str):
    with pytest.raises(ValueError, match=why):
        fleets.check(Fleet(slurm=options))


@pytest.mark.parametrize(
    "fleet",
    [Fleet(ssh=("-oProxyCommand=x",)), Fleet(ssh=("a b",)), Fleet(ssh=("",)), Fleet(ssh=("box:22",)),
     Fleet(ssh=("box:-c/x",)), Fleet(ssh=("box:python3;x",)), Fleet(ssh=("box:/x y/python",)), Fleet(ssh=("@box",)),
     Fleet(slurm="", workers=-1), Fleet(slurm="", workers=10_000), Fleet(workers=3)],
)  # fmt: skip
def test_what_is_no_fleet_is_refused(fleet: Fleet):
    with pytest.raises(ValueError, match=r"\.$"):
        fleets.check(fleet)


def test_boxes_are_reached_over_ssh_with_the_worker_s_own_command_line():
    fleet = Fleet(slurm="--gres=gpu:1", ssh=("me@box:~/a/python", "other", "other"))
    slurm, box, other, again = fleets.slots(fleet)
    assert fleets.command_line(slurm, WORKER) == ["srun", "-Q", "--unbuffered", "-n1", "--gres=gpu:1", *WORKER]
    line = fleets.command_line(box, WORKER)
    assert line[0] == "ssh"
    assert line[-2] == "me@box"
    assert "for python in a/python; do" in line[-1]
    assert line[-1].endswith("-m engine.training.worker --name slurm0")
    assert "BatchMode=yes" in line
    assert [(some.name, some.share) for some in (other, again)] == [("other", (0, 2)), ("other#2", (1, 2))]
    assert f"for python in {WORKER[0]}; do" in fleets.command_line(other, WORKER)[-1]
    assert fleets.command_line(Slot("core0", (0,)), WORKER) == list(WORKER)


def test_a_fleet_has_as_many_slots_as_workers():
    assert [slot.name for slot in fleets.slots(Fleet(slurm="", workers=3))] == ["slurm0", "slurm1", "slurm2"]
    assert [slot.name for slot in fleets.slots(Fleet(slurm=""))] == ["slurm0"]
    assert fleets.slots(Fleet()) == ()


SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do case "$1" in --job-name=*) name=${1#--job-name=};; esac; shift; done
echo "$name $(date +%s)" >> "$(dirname "$0")/jobs"
exec "$@"
"""
SQUEUE = """#!/bin/sh
number=0 state=RUNNING
case "$*" in *--states=all*) state=COMPLETED;; esac
while read name start; do
  number=$((number + 1)); echo "$number|$name|$state|$start|$((start + 20))|fake|None"
done < "$(dirname "$0")/jobs"
"""
"""A cluster of this very machine, where every job has twenty seconds."""


def cluster_here(folder: Path) -> dict[str, str]:
    """Put the two programs into a folder; return the environment in which they are found."""
    for name, script in (("srun", SRUN), ("squeue", SQUEUE)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return {"PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}


@pytest.mark.slow
def test_a_worker_leaves_before_its_time_is_over_and_the_next_one_goes_on(demo_folder: Path, tmp_path: Path):
    with Bridge(tmp_path / "workspace", **cluster_here(tmp_path), **PACED) as bridge:
        bridge.send(p.SetFleet(fleet=p.Fleet(slurm="--gres=gpu:1")))
        data = bridge.open(demo_folder)
        configuration = Configuration(Network((32,), "relu"), Training(epochs=100_000))
        bridge.send(p.Submit(sweep=Sweep("long", data.fingerprint, (configuration,), (0,))))
        interrupted = bridge.until_kind(p.RunInterrupted)
        ended = bridge.until(lambda state, event: isinstance(event, p.WorkerChanged) and event.state == "ended")
        again = bridge.until_kind(p.RunStarted)
        assert (ended.text, ended.job) == ("Its time was nearly over.", "1")
        assert again.epoch == interrupted.epoch > 0
        bridge.end()


def test_the_host_keeps_the_fleet_and_tells_whoever_attaches(tmp_path: Path):
    fleet = Fleet(slurm="--gres=gpu:1", workers=2)
    workspace, environment = tmp_path / "workspace", cluster_here(tmp_path)
    with Bridge(workspace, **environment) as bridge:
        bridge.send(p.SetFleet(fleet=Fleet(slurm="--pty"), request="bad"))
        refused = bridge.until(lambda state, event: getattr(event, "request", "") == "bad")
        assert "--pty is not for a worker" in refused.reason
        bridge.send(p.SetFleet(fleet=fleet))
        bridge.until(lambda state, event: state.fleet == fleet)
        bridge.end()
    with Bridge(workspace, **environment) as later:
        later.until_kind(p.CaughtUp)
        assert later.state.fleet == fleet
        later.end()


def test_a_free_worker_takes_what_its_kind_trains_and_groups_are_counted_by_kind():
    plain = Configuration(training=Training(trainer="keras-fit"))
    wanted = [(plain, 0), (plain, 1), *((Configuration(), seed) for seed in range(5))]
    specs = [RunSpec(configuration, seed, "data") for configuration, seed in wanted]
    waiting = WaitingList(p.WaitingRun(spec.run_id, spec, "sweep", "title") for spec in specs)
    assert waiting.groups(lanes=4, enough=100) == {"keras-fit": 2, "fast": 2}
    assert waiting.groups(lanes=1, enough=100) == {"keras-fit": 2, "fast": 5}
    first = waiting.first_for("fast")
    assert first.spec == specs[2]
    waiting.leave([spec.run_id for spec in specs[2:]])
    assert waiting.first_for("fast") is None


RUN_PROGRAMS = (
    "--task-prolog=x", "--task-epilog x", "--prolog=x", "--epilog=x", "--export=ALL,LD_PRELOAD=x.so", "--export A=b",
    "--export=NONE,A=b", "--exp=ALL", "--export-file=x", "--bcast=/x", "--bcast", "--task-pro=x", "--container=/x",
    "--container-image=x", "--chdir=/x", "-D /x", "-QD/x", "--error=/x", "-e /x", "--some-plugins-option=x",
)  # fmt: skip


@pytest.mark.parametrize("options", RUN_PROGRAMS)
def test_options_that_run_programs_are_taken_from_a_command_line_alone(options: str):
    with pytest.raises(ValueError, match=r"it is taken from a command line alone"):
        fleets.parse(options, 1, "")
    assert fleets.parse(options, 1, "", on_command_line=True).slurm == options


@pytest.mark.parametrize(
    "options",
    ["--export=NONE", "--export=ALL", "--export=ALL,HOME,MY_NAME", "--export NONE", "--part=gpu", "-c4 -t 10"],
)
def test_harmless_options_are_taken_from_anywhere(options: str):
    assert fleets.parse(options, 2, "a, b c") == Fleet(slurm=options, ssh=("a", "b", "c"), workers=2)


# --- whose choice it is ---


def host_json(workspace: Path, fleet: Fleet) -> None:
    """Leave a workspace as an earlier version, or somebody else, would."""
    workspace.mkdir(mode=0o700)
    (workspace / "host.json").write_bytes(msgspec.json.encode(HostState(fleet=fleet)))


@pytest.mark.parametrize("fleet", [Fleet(slurm="--task-prolog=/x/evil"), Fleet(ssh=("localhost:/x/evil",))])
def test_what_a_workspace_says_of_where_to_train_is_started_by_nobody_and_told_once(tmp_path: Path, fleet: Fleet):
    workspace, started = tmp_path / "w", tmp_path / "started"
    host_json(workspace, fleet)
    tools = {}
    for name in ("srun", "ssh", "squeue"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >> {started}\n")
        (tmp_path / name).chmod(0o755)
        tools["PATH"] = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    with Bridge(workspace, SVHN_TUI_WORKER=f"{sys.executable} -m tests.support.fake_worker", **tools) as bridge:
        bridge.send(p.OpenData(demo_train=100, demo_test=20, request="open"))
        data = bridge.until_kind(p.DataOpened).data
        bridge.send(p.Submit(sweep=Sweep("s", data.fingerprint, (Configuration(),), (0,))))
        bridge.until(lambda state, event: len(state.results) == 1)
        assert bridge.state.fleet == Fleet()
        (warning,) = [notice.text for notice in bridge.state.notices if "host.json" in notice.text]
        bridge.end()
    assert "Only your own settings decide that" in warning and "--slurm" in warning
    assert not started.exists()
    with Bridge(workspace) as later:
        later.until_kind(p.CaughtUp)
        assert not later.state.notices
        later.end()


def test_where_to_train_is_kept_for_each_workspace_and_read_only_if_it_is_ours_alone(tmp_path: Path):
    fleet = Fleet(slurm="--task-prolog=x", workers=3)
    user_config.save_fleet(tmp_path / "a", fleet)
    assert user_config.read_fleet(tmp_path / "a") == (fleet, "")
    assert user_config.read_fleet(tmp_path / "b") == (Fleet(), "")
    (file,) = (Path(os.environ["XDG_CONFIG_HOME"]) / "svhn-tui" / "fleets").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o666)
    stored, complaint = user_config.read_fleet(tmp_path / "a")
    assert (stored, "not yours alone" in complaint) == (Fleet(), True)
    file.chmod(0o600)
    file.write_bytes(b"{")
    stored, complaint = user_config.read_fleet(tmp_path / "a")
    assert (stored, "is not used" in complaint) == (Fleet(), True)
    user_config.save_fleet(tmp_path / "a", Fleet())
    assert user_config.read_fleet(tmp_path / "a") == (Fleet(), "")


# --- a host inside an allocation ---

RECORDING_SRUN = """#!/bin/sh
env > "$(dirname "$0")/srun.env"
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""
ALLOCATION = {
    "SLURM_JOB_ID": "77", "SLURM_JOBID": "77", "SLURM_STEP_ID": "0", "SLURM_NODELIST": "n1", "SLURM_NTASKS": "1",
    "SBATCH_GRES": "gpu:1", "PMIX_RANK": "0", "PMI_FD": "3", "SLURM_CONF": "/nowhere/slurm.conf",
    "OMP_NUM_THREADS": "1", "SLURM_CLUSTERS": "here",
}  # fmt: skip


def test_srun_hears_nothing_of_the_allocation_in_which_the_host_was_started(demo_folder: Path, tmp_path: Path):
    environment = cluster_here(tmp_path)
    (tmp_path / "srun").write_text(RECORDING_SRUN)
    worker = f"{sys.executable} -m tests.support.fake_worker"
    with Bridge(tmp_path / "w", SVHN_TUI_WORKER=worker, **environment, **ALLOCATION) as bridge:
        bridge.send(p.SetFleet(fleet=Fleet(slurm="")))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("s", data.fingerprint, (Configuration(),), (0,))))
        wait_for(tmp_path / "srun.env")
        bridge.end()
    given = dict(line.split("=", 1) for line in (tmp_path / "srun.env").read_text().splitlines() if "=" in line)
    assert {name for name in given if name in ALLOCATION} == {"SLURM_CONF", "SLURM_CLUSTERS"}


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < deadline, f"{file} never came"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        ("", False), ("--gres=gpu:1", True), ("--gres gpu:a100:2 -t 10", True), ("-G 1", True), ("-QG1", True),
        ("--gpus-per-task=1", True), ("--tres-per-task=cpu=4,gres/gpu=1", True), ("--gres=craynetwork:1,gpu", True),
        ("-p gpu", False), ("--partition gpu --mem=4G", False), ("--gres=shard:1", True), ("--comment=G -t 5", False),
    ],
)  # fmt: skip
def test_what_is_asked_of_slurm_says_whether_a_gpu_comes(options: str, asks: bool):
    assert fleets.asks_for_gpu(Fleet(slurm=options)) is asks


def test_gpus_of_this_machine_are_chosen_by_number_uuid_or_not_at_all():
    for text, kept in (("1,3", "1,3"), ("1 3", "1,3"), ("none", "none"), ("", ""), ("GPU-1f,gpu0:1", "GPU-1f,gpu0:1")):
        assert fleets.parse(None, 1, "", text) == p.Fleet(gpus=kept)
        assert fleets.parse(None, 1, "", text).is_local
    for text in ("1;2", "½", "\x1b[m"):
        with pytest.raises(ValueError, match="names no GPUs"):
            fleets.parse(None, 1, "", text)
    with pytest.raises(ValueError, match="chosen for this machine"):
        fleets.parse(None, 1, "boxA", "1")


def test_the_choice_of_gpus_is_the_users_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    chosen = p.Fleet(gpus="none")
    user_config.save_fleet(tmp_path, chosen)
    assert user_config.read_fleet(tmp_path) == (chosen, "")
    user_config.save_fleet(tmp_path, p.Fleet())
    assert user_config.read_fleet(tmp_path) == (p.Fleet(), "")
