"""Sweeps on other machines over ssh: with a stand-in for ssh, and with a real sshd on loopback."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from engine import protocol as p
from engine.freight import sha256_of
from engine.journal import history
from engine.plan import Sweep
from engine.protocol import Fleet
from engine.spec import Configuration, Network, Training
from svhn_tui.crew import member_of
from tests.bridge import Bridge
from tests.test_relay import same_weights
from tests.test_training import Told, train

ROOT = Path(__file__).parents[1]
CONFIGURATION = Configuration(Network((32,), "relu"), Training(epochs=150))
STAND_IN = """#!/bin/sh
# The part of ssh that matters: options, `--`, a name, and a command for the shell of another machine.
while [ "$1" != -- ]; do shift; done
mkdir -p {there}/$2 && cd {there}/$2
exec env -i HOME={there}/$2 PATH=/usr/bin:/bin LANG=C sh -c "$3"
"""
PYTHON = """#!/bin/sh
export XDG_CACHE_HOME={there}/{box}/cache PYTHONPATH={there}:{root} JAX_PLATFORMS=cpu SVHN_TUI_CHECKPOINT_SECONDS=0
exec {executable} "$@"
"""
BLIND = """
import os, sys

def look(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        if os.fsdecode(arguments[0]).startswith(({hidden})):
            raise PermissionError(f"{{arguments[0]}} is not to be seen from here")

sys.addaudithook(look)
"""


SRUN = """#!/bin/sh
# The part of srun that matters: options, then a command that runs on a node.
while [ "$1" != {executable} ]; do shift; done
shift
cd {there}/node
exec env -i HOME={there}/node PATH=/usr/bin:/bin LANG=C {there}/node/python "$@"
"""


class There(NamedTuple):
    """Two boxes, boxA and boxB, and the environment in which ssh reaches them."""

    fleet: Fleet
    environment: dict[str, str]


class Here(NamedTuple):
    """Runs that were trained on this machine."""

    workspace: Path
    results: dict[str, p.RunResult]


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def machines(tmp_path: Path, *names: str, hidden: tuple[Path, ...], **tools: str) -> There:
    """Give each machine a Python of its own that sees neither the workspace nor the data, and us the tools."""
    there = tmp_path / "there"
    (there / "bin").mkdir(parents=True)
    (there / "sitecustomize.py").write_text(BLIND.format(hidden=" ".join(f"{str(path)!r}," for path in hidden)))
    named = []
    for name in names:
        (there / name).mkdir()
        text = PYTHON.format(there=there, box=name, root=ROOT, executable=sys.executable)
        python = executable(there / name / "python", text)
        look = f"open({str(hidden[0])!r})"
        blind = subprocess.run([str(python), "-c", look], capture_output=True, text=True, check=False)
        assert "is not to be seen from here" in blind.stderr
        named.append(f"{name}:{python}")
    for tool, text in tools.items():
        executable(there / "bin" / tool, text.format(there=there, executable=sys.executable))
    return There(Fleet(ssh=tuple(named)), {"PATH": f"{there / 'bin'}:{os.environ['PATH']}"})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Here:
    """The same runs, trained on this machine."""
    workspace = tmp_path_factory.mktemp("here")
    train(workspace, demo_folder, CONFIGURATION, [0, 1, 2], told := Told())
    return Here(workspace, {event.result.run_id: event.result for event in told.of(p.RunFinished)})


@pytest.fixture
def stand_in(tmp_path: Path, demo_folder: Path) -> There:
    return machines(tmp_path, "boxA", "boxB", ssh=STAND_IN, hidden=(tmp_path / "workspace", demo_folder))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sshd(tmp_path: Path, demo_folder: Path) -> Iterator[There]:
    """A daemon of our own on loopback: its keys, its port and its configuration are in the test's folder."""
    daemon = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if daemon is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH's server is not installed")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    port = free_port()
    server = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": folder / "pid",
        "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no", "UsePAM": "no", "PermitRootLogin": "yes",
        "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "LogLevel": "ERROR",
    }  # fmt: skip
    client = {
        "HostName": "127.0.0.1", "Port": port, "User": getpass.getuser(), "IdentityFile": folder / "user",
        "IdentitiesOnly": "yes", "UserKnownHostsFile": folder / "known", "StrictHostKeyChecking": "yes",
    }  # fmt: skip
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text("\n".join(f"{name} {value}" for name, value in server.items()))
    lines = (f"  {name} {value}" for name, value in client.items())
    (folder / "config").write_text("\n".join(["Host boxA boxB", *lines, ""]))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # an empty folder that sshd wants; its service would make it
    running = subprocess.Popen([daemon, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE)
    ssh = f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n'
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if running.poll() is not None:
                    pytest.skip(f"sshd does not start: {running.stderr.read().decode()}")
        yield machines(tmp_path, "boxA", "boxB", ssh=ssh, hidden=(tmp_path / "workspace", demo_folder))
    finally:
        running.terminate()
        running.wait()


def ssh_of(bridge: Bridge, box: str) -> psutil.Process:
    """Return the ssh client that a box is reached through."""
    host = psutil.Process(bridge.events[0].host_pid)
    return next(child for child in host.children(recursive=True) if f"--node {box}" not in " ".join(child.cmdline())
                and box in child.cmdline())  # fmt: skip


def until_begun(bridge: Bridge) -> None:
    """Wait step by step: on a busy machine each may take the better part of a minute."""
    bridge.until(lambda state, event: isinstance(event, p.WorkerChanged) and event.state == "ready")
    bridge.until_kind(p.RunStarted)
    bridge.until_kind(p.EpochEnded)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stand_in", "sshd"])
def test_a_sweep_over_ssh_equals_the_local_one_though_a_connection_is_cut(
    request: pytest.FixtureRequest, demo_folder: Path, tmp_path: Path, here: Here, kind: str
):
    there: There = request.getfixturevalue(kind)
    workspace = tmp_path / "workspace"
    with Bridge(workspace, **there.environment) as bridge:
        bridge.send(p.SetFleet(fleet=there.fleet))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("ssh", data.fingerprint, (CONFIGURATION,), (0, 1, 2))))
        until_begun(bridge)
        saved = bridge.until_kind(p.CheckpointSaved)
        box = bridge.state.running[saved.runs[0]].worker
        ssh_of(bridge, box).kill()
        interrupted = bridge.until_kind(p.RunInterrupted)
        assert interrupted.run_id in saved.runs
        assert interrupted.epoch >= saved.epoch
        bridge.until(lambda state, event: len(state.results) == 3)
        lost = next(notice.text for notice in bridge.state.notices if box in notice.text)
        bridge.end()
    assert lost.startswith(f"{box}: the connection was lost (")
    starts = [event for event in bridge.events if isinstance(event, p.RunStarted)]
    resumed = [event for event in starts if event.runs == saved.runs]
    assert [event.epoch for event in resumed] == [0, interrupted.epoch], "from its checkpoint, wherever it went on"
    assert {event.worker for event in starts} == {"boxA", "boxB"}
    are_as_here(workspace, bridge.state.results, here)
    assert {run.device for run in bridge.state.results.values()} <= {"cpu on boxA", "cpu on boxB"}


def are_as_here(workspace: Path, found: Mapping[str, p.RunResult], here: Here) -> None:
    """See that runs are those that were trained on this machine, bit for bit, and each trained to its end once."""
    assert found.keys() <= here.results.keys()
    for run_id, run in found.items():
        twin = here.results[run_id]
        assert same_weights(workspace, here.workspace, run_id)
        assert (run.test_accuracy, run.loss) == (twin.test_accuracy, twin.loss)
        assert sha256_of(workspace / "runs" / run_id / "model.keras") == run.model_sha256
        journal = workspace / "runs" / run_id / "journal.jsonl"
        assert journal.read_bytes().count(b'"kind":"RunFinished"') == 1
        assert history(journal)[0].epochs == CONFIGURATION.training.epochs


@pytest.mark.slow
def test_staged_slurm_workers_see_neither_data_nor_workspace_and_train_the_same(
    demo_folder: Path, tmp_path: Path, here: Here
):
    workspace = tmp_path / "workspace"
    node = machines(tmp_path, "node", srun=SRUN, hidden=(workspace, demo_folder))
    with Bridge(workspace, **node.environment) as bridge:
        bridge.send(p.SetFleet(fleet=Fleet(slurm="--partition=none", workers=2, stage=True)))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("staged", data.fingerprint, (CONFIGURATION,), (0, 1))))
        until_begun(bridge)
        bridge.until(lambda state, event: len(state.results) == 2)
        bridge.end()
    are_as_here(workspace, bridge.state.results, here)
    starts = [event for event in bridge.events if isinstance(event, p.RunStarted)]
    assert sorted(event.worker for event in starts) == ["slurm0", "slurm1"]
    assert len(list((tmp_path / "there").rglob("data/*.npz"))) == 2, "two workers of a node share the data"


REFUSED = """#!/bin/sh
# Is refused twice, and then finds no way.
echo . >> {there}/tries
[ $(wc -l < {there}/tries) -lt 3 ] && why='Connection refused' || why='No route to host'
echo "ssh: connect to host boxA port 22: $why" >&2
exit 255
"""


def test_a_box_that_is_not_reached_is_tried_again_and_each_reason_told_once(demo_folder: Path, tmp_path: Path):
    there = machines(tmp_path, "boxA", ssh=REFUSED, hidden=(tmp_path / "workspace",))
    with Bridge(tmp_path / "workspace", **there.environment) as bridge:
        bridge.send(p.SetFleet(fleet=there.fleet))
        data = bridge.open(demo_folder)
        bridge.send(p.Submit(sweep=Sweep("ssh", data.fingerprint, (CONFIGURATION,), (0,))))
        bridge.until(lambda state, event: "No route" in getattr(event, "text", ""))
        assert len(bridge.state.queue) == 1, "what waits is not lost"
        bridge.end()
    told = [event for event in bridge.events if isinstance(event, p.WorkerChanged) and event.state == "waiting"]
    assert [member_of(event).sentence for event in told] == [
        f"boxA is not reached: no connection (ssh: connect to host boxA port 22: {why}). "
        "It is tried again, more and more rarely." for why in ("Connection refused", "No route to host")
    ]  # fmt: skip
    assert not bridge.state.notices
